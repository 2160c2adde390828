//! Regular expressions as Go's `regexp` reads them, because the engines that
//! hooks.d files are written for are Go programs.
//!
//! The `regex` crate matches; this module translates. Both descend from RE2, and what
//! differs is small: Go's `\d \w \s \b` are ASCII, `\Q..\E` quotes, `\123` is octal,
//! a `{` that begins no repetition is literal, brackets do not nest and know no `&&`,
//! repetitions do not stack, and only the flags `imsU` exist
//! (<https://pkg.go.dev/regexp/syntax>).

use std::iter::Peekable;
use std::str::Chars;

use regex::bytes::{Regex, RegexBuilder};

/// Go's limit to a repetition count.
const MOST_REPEATS: u32 = 1000;

/// A regular expression in Go's syntax.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    source: String,
    regex: Regex,
}

impl Pattern {
    /// An error says what is wrong, in Go's words where it has some.
    pub(crate) fn new(source: &str) -> Result<Self, String> {
        let translated = translate(source)?;
        let regex = RegexBuilder::new(&translated).build();
        let regex = regex.map_err(|_| format!("cannot be used: `{source}`"))?;
        Ok(Pattern { source: source.to_owned(), regex })
    }

    /// Whether it matches anywhere in `text`: it is not anchored.
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text.as_bytes())
    }

    /// As it was written.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }
}

/// `source` in the syntax of the `regex` crate.
fn translate(source: &str) -> Result<String, String> {
    let mut translation = Translation {
        rest: source.chars().peekable(),
        out: String::with_capacity(source.len() * 2),
        repeated: false,
    };
    while translation.step()? {}
    Ok(translation.out)
}

struct Translation<'a> {
    rest: Peekable<Chars<'a>>,
    out: String,
    /// Whether what was read last is a repetition: another may not follow.
    repeated: bool,
}

impl Translation<'_> {
    /// Translates the next element; false at the end.
    fn step(&mut self) -> Result<bool, String> {
        let Some(c) = self.rest.next() else { return Ok(false) };
        let repeats = match c {
            '*' | '+' | '?' => Some(c.to_string()),
            '{' => self.counted_repeat()?,
            _ => None,
        };
        if let Some(operator) = repeats {
            if self.repeated {
                return Err("invalid nested repetition operator".into());
            }
            self.out.push_str(&operator);
            if self.rest.next_if_eq(&'?').is_some() {
                self.out.push('?');
            }
            self.repeated = true;
            return Ok(true);
        }
        self.repeated = false;
        match c {
            '\\' => self.escape()?,
            '[' => self.class()?,
            '(' => self.group()?,
            '.' | '^' | '$' | '|' | ')' => self.out.push(c),
            literal => self.literal(literal),
        }
        Ok(true)
    }

    fn literal(&mut self, c: char) {
        self.out.push_str(&code(c));
    }

    /// After a `{`: `n}`, `n,}` or `n,m}`, or `None` if the brace is literal.
    fn counted_repeat(&mut self) -> Result<Option<String>, String> {
        let ahead: String = self.rest.clone().take_while(|c| *c != '}').collect();
        let closed = self.rest.clone().nth(ahead.chars().count()) == Some('}');
        let (least, most) = match ahead.split_once(',') {
            None => (ahead.as_str(), None),
            Some((least, most)) => (least, Some(most)),
        };
        let number = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            plain && (text.len() == 1 || !text.starts_with('0'))
        };
        if !closed || !number(least) || most.is_some_and(|most| !most.is_empty() && !number(most)) {
            return Ok(None);
        }
        let value = |text: &str| text.parse().unwrap_or(u32::MAX);
        let ends = (value(least), most.filter(|most| !most.is_empty()).map(value));
        if ends.0 > MOST_REPEATS || ends.1.is_some_and(|most| most > MOST_REPEATS || most < ends.0)
        {
            return Err(format!("invalid repeat count: `{{{ahead}}}`"));
        }
        for _ in 0..=ahead.chars().count() {
            self.rest.next();
        }
        Ok(Some(format!("{{{ahead}}}")))
    }

    /// After a backslash, outside brackets.
    fn escape(&mut self) -> Result<(), String> {
        match self.rest.peek() {
            Some('Q') => {
                self.rest.next();
                self.quoted();
            }
            Some(c @ ('A' | 'z')) => {
                self.out.push('\\');
                self.out.push(*c);
                self.rest.next();
            }
            Some(c @ ('b' | 'B')) => {
                self.out.push_str(&format!("(?-u:\\{c})"));
                self.rest.next();
            }
            _ => match self.class_escape()? {
                Some(class) => self.out.push_str(&format!("[{class}]")),
                None => {
                    let c = self.char_escape()?;
                    self.literal(c);
                }
            },
        }
        Ok(())
    }

    /// After `\Q`: literal up to `\E` or the end.
    fn quoted(&mut self) {
        while let Some(c) = self.rest.next() {
            if c == '\\' && self.rest.next_if_eq(&'E').is_some() {
                return;
            }
            self.literal(c);
        }
    }

    /// After a backslash: a class such as `\d` or `\pL`, as the inside of brackets.
    fn class_escape(&mut self) -> Result<Option<String>, String> {
        let class = match self.rest.peek() {
            Some('d') => "0-9",
            Some('D') => "[^0-9]",
            Some('s') => "\\t\\n\\x0C\\r ",
            Some('S') => "[^\\t\\n\\x0C\\r ]",
            Some('w') => "0-9A-Za-z_",
            Some('W') => "[^0-9A-Za-z_]",
            Some('p' | 'P') => return self.unicode_class().map(Some),
            _ => return Ok(None),
        };
        self.rest.next();
        Ok(Some(class.to_owned()))
    }

    /// `pL`, `p{Greek}`, `p{^Greek}`, and `P` for the opposite.
    fn unicode_class(&mut self) -> Result<String, String> {
        let mut negated = self.rest.next() == Some('P');
        let mut name = match self.rest.next() {
            Some('{') => self.until('}')?,
            Some(c) => c.to_string(),
            None => return Err("invalid character class range: `\\p`".into()),
        };
        if let Some(positive) = name.strip_prefix('^') {
            negated = !negated;
            name = positive.to_owned();
        }
        // Go spells categories and scripts with a capital; the crate also takes other names.
        if !name.starts_with(|c: char| c.is_ascii_uppercase()) || name.contains(['=', ':', '!']) {
            return Err(format!("invalid character class range: `\\p{{{name}}}`"));
        }
        Ok(format!("\\{}{{{name}}}", if negated { 'P' } else { 'p' }))
    }

    fn until(&mut self, end: char) -> Result<String, String> {
        let mut text = String::new();
        loop {
            match self.rest.next() {
                Some(c) if c == end => return Ok(text),
                Some(c) => text.push(c),
                None => return Err(format!("missing closing {end}")),
            }
        }
    }

    /// After a backslash: one character.
    fn char_escape(&mut self) -> Result<char, String> {
        let Some(c) = self.rest.next() else {
            return Err("trailing backslash at end of expression".into());
        };
        let invalid = || format!("invalid escape sequence: `\\{c}`");
        match c {
            '1'..='7' if !self.rest.peek().is_some_and(|c| c.is_digit(8)) => Err(invalid()),
            '0'..='7' => {
                let mut value = c.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = self.rest.next_if(|c| c.is_digit(8)) else { break };
                    value = value * 8 + digit.to_digit(8).unwrap_or(0);
                }
                char::from_u32(value).ok_or_else(invalid)
            }
            'x' => {
                let braced = self.rest.next_if_eq(&'{').is_some();
                let digits: String = if braced {
                    self.until('}')?
                } else {
                    (0..2).filter_map(|_| self.rest.next()).collect()
                };
                let enough = if braced { !digits.is_empty() } else { digits.len() == 2 };
                let plain = enough && digits.bytes().all(|b| b.is_ascii_hexdigit());
                let value = u32::from_str_radix(&digits, 16).ok().filter(|_| plain);
                value.and_then(char::from_u32).ok_or_else(invalid)
            }
            'a' => Ok('\x07'),
            'f' => Ok('\x0c'),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'v' => Ok('\x0b'),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok(c),
            _ => Err(invalid()),
        }
    }

    /// After a `[`: up to the matching `]`.
    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let Some(&c) = self.rest.peek() else { return Err("missing closing ]".into()) };
            if c == ']' && !first {
                self.rest.next();
                self.out.push(']');
                return Ok(());
            }
            first = false;
            if let Some(name) = self.posix_class()? {
                self.out.push_str(&name);
                continue;
            }
            self.class_item()?;
        }
    }

    /// `[:alpha:]` inside brackets; `None` if the bracket is literal.
    fn posix_class(&mut self) -> Result<Option<String>, String> {
        let ahead: String = self.rest.clone().collect();
        let Some(end) = ahead.strip_prefix("[:").and_then(|name| name.find(":]")) else {
            return Ok(None);
        };
        let whole = &ahead[..end + 4];
        let name = whole[2..end + 2].trim_start_matches('^');
        if !POSIX_CLASSES.contains(&name) || whole[2..].starts_with("^^") {
            return Err(format!("invalid character class range: `{whole}`"));
        }
        for _ in whole.chars() {
            self.rest.next();
        }
        Ok(Some(whole.to_owned()))
    }

    /// One character, range or escape inside brackets.
    fn class_item(&mut self) -> Result<(), String> {
        if self.rest.next_if_eq(&'\\').is_some() {
            if let Some(class) = self.class_escape()? {
                self.out.push_str(&class);
                return Ok(());
            }
            let low = self.char_escape()?;
            return self.class_range(low);
        }
        match self.rest.next() {
            Some(low) => self.class_range(low),
            None => Err("missing closing ]".into()),
        }
    }

    /// After the first character of what may be a range.
    fn class_range(&mut self, low: char) -> Result<(), String> {
        let mut ahead = self.rest.clone();
        let is_range = ahead.next() == Some('-') && ahead.next().is_some_and(|c| c != ']');
        self.out.push_str(&code(low));
        if !is_range {
            return Ok(());
        }
        self.rest.next();
        let high = match self.rest.next() {
            Some('\\') => self.char_escape()?,
            Some(c) => c,
            None => return Err("missing closing ]".into()),
        };
        if high < low {
            return Err(format!("invalid character class range: `{low}-{high}`"));
        }
        self.out.push('-');
        self.out.push_str(&code(high));
        Ok(())
    }

    /// After a `(`.
    fn group(&mut self) -> Result<(), String> {
        self.out.push('(');
        if self.rest.next_if_eq(&'?').is_none() {
            return Ok(());
        }
        if self.rest.peek() == Some(&'P') || self.rest.peek() == Some(&'<') {
            self.rest.next_if_eq(&'P');
            if self.rest.next() != Some('<') {
                return Err("invalid or unsupported Perl syntax".into());
            }
            let name = self.until('>')?;
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            // What the group is called plays no part in whether it matches.
            let named = !name.is_empty() && name.chars().all(word);
            return named.then_some(()).ok_or_else(|| "invalid named capture".to_owned());
        }
        let flags = self.flags()?;
        if flags == ")" {
            self.out.pop(); // `(?)` says nothing
        } else {
            self.out.push('?');
            self.out.push_str(&flags);
        }
        Ok(())
    }

    /// After `(?`: flags, with the `:` or `)` that ends them.
    fn flags(&mut self) -> Result<String, String> {
        let invalid = || "invalid or unsupported Perl syntax".to_owned();
        let mut flags = String::new();
        loop {
            let c = self.rest.next().ok_or_else(invalid)?;
            match c {
                'i' | 'm' | 's' | 'U' if !flags.contains(c) => {}
                'i' | 'm' | 's' | 'U' => continue,
                '-' if !flags.contains('-') => {}
                ':' | ')' if !flags.ends_with('-') => {
                    flags.push(c);
                    return Ok(flags);
                }
                _ => return Err(invalid()),
            }
            flags.push(c);
        }
    }
}

const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// A character without any special meaning.
fn code(c: char) -> String {
    if c.is_ascii_alphanumeric() || !c.is_ascii() {
        c.to_string()
    } else {
        format!("\\x{:02X}", u32::from(c))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Go's `regexp.MatchString` says; checked against podman by tests/podman.rs.
    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, text, expected) in crate::hooks_d::pattern_cases::CASES {
            let matched = Pattern::new(pattern).map(|pattern| pattern.matches(text));
            assert_eq!(matched.ok(), *expected, "{pattern} on {text:?}");
        }
    }
}
