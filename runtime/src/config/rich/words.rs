//! Command lines as text.

use std::fmt;

/// Whether a text is something for a shell to do.
pub fn is_line(text: &str) -> bool {
    !text.trim().is_empty() && !text.contains('\0')
}

/// Why a text is no list of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadWords {
    /// A quotation mark without its partner.
    OpenQuote,
    /// Nothing there.
    Empty,
    /// A NUL byte.
    Nul,
}

impl fmt::Display for BadWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadWords::OpenQuote => "a quotation mark is not closed",
            BadWords::Empty => "no file given",
            BadWords::Nul => "contains a NUL byte",
        })
    }
}

/// Splits a command line into words as a shell does: blanks, quotes of both
/// sorts, backslashes; nothing is expanded.
///
/// # Errors
/// A quotation mark that is not closed; no word at all.
pub fn split_words(text: &str) -> std::result::Result<Vec<String>, BadWords> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\0' => return Err(BadWords::Nul),
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(chars.next()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or(BadWords::OpenQuote)? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or(BadWords::OpenQuote)? {
                        '"' => break,
                        '\\' => match chars.next().ok_or(BadWords::OpenQuote)? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if words.first().is_none_or(String::is_empty) { Err(BadWords::Empty) } else { Ok(words) }
}
