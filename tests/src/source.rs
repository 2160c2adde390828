//! Rust source text as words and comments: enough for checks of the source
//! tree, which must not stumble over strings and comments.

/// A word or a sign of the code, strings left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// An identifier or keyword, or one punctuation character.
    pub text: String,
    /// The line it stands on, from 1.
    pub line: usize,
}

/// A comment without its signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// What it says.
    pub text: String,
    /// The line it begins on, from 1.
    pub line: usize,
}

/// One file's code, taken apart.
#[derive(Debug, Default)]
pub struct Source {
    /// Its code.
    pub tokens: Vec<Token>,
    /// Its comments.
    pub comments: Vec<Comment>,
    /// Its string literals, as written between the quotes.
    pub strings: Vec<String>,
    /// How many lines it has.
    pub lines: usize,
}

impl Source {
    /// Takes a text apart.
    pub fn parse(text: &str) -> Source {
        let chars: Vec<char> = text.chars().collect();
        let mut reader = Reader { chars: &chars, at: 0, line: 1, source: Source::default() };
        while reader.at < chars.len() {
            reader.step();
        }
        reader.source.lines = text.lines().count();
        reader.source
    }

    /// Whether these tokens stand one after the other somewhere; the line of
    /// the first of each such place.
    pub fn find(&self, words: &[&str]) -> Vec<usize> {
        let matches = |window: &&[Token]| window.iter().map(|t| &t.text).eq(words.iter());
        self.tokens.windows(words.len()).filter(matches).map(|window| window[0].line).collect()
    }
}

struct Reader<'a> {
    chars: &'a [char],
    at: usize,
    line: usize,
    source: Source,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    /// Goes over `count` characters.
    fn take(&mut self, count: usize) -> String {
        let end = (self.at + count).min(self.chars.len());
        let taken: String = self.chars[self.at..end].iter().collect();
        self.line += taken.matches('\n').count();
        self.at = end;
        taken
    }

    /// Reads one token, comment, string or blank.
    fn step(&mut self) {
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => self.line_comment(),
            ('/', '*') => self.block_comment(),
            ('"', _) => self.string(),
            ('\'', _) => self.quote(),
            (c, _) if c.is_alphanumeric() || c == '_' => self.word(),
            (c, _) if c.is_whitespace() => drop(self.take(1)),
            _ => self.push(1),
        }
    }

    fn push(&mut self, count: usize) {
        let line = self.line;
        let text = self.take(count);
        self.source.tokens.push(Token { text, line });
    }

    fn line_comment(&mut self) {
        let line = self.line;
        let length = self.chars[self.at..].iter().take_while(|c| **c != '\n').count();
        let text = self.take(length);
        let text = text.trim_start_matches(['/', '!']).trim().to_owned();
        self.source.comments.push(Comment { text, line });
    }

    fn block_comment(&mut self) {
        let line = self.line;
        let mut text = self.take(2);
        let mut depth = 1;
        while depth > 0 && self.at < self.chars.len() {
            let step = match (self.peek(0), self.peek(1)) {
                ('/', '*') => (1, 2),
                ('*', '/') => (-1, 2),
                _ => (0, 1),
            };
            depth += step.0;
            text.push_str(&self.take(step.1));
        }
        let text = text.trim_matches(['/', '*', '!', ' ']).to_owned();
        self.source.comments.push(Comment { text, line });
    }

    fn string(&mut self) {
        self.take(1);
        let mut text = String::new();
        while self.at < self.chars.len() && self.peek(0) != '"' {
            let count = if self.peek(0) == '\\' { 2 } else { 1 };
            text.push_str(&self.take(count));
        }
        self.take(1);
        self.source.strings.push(text);
    }

    /// `r"..."`, `r#"..."#` and so on, after their letters.
    fn raw_string(&mut self) {
        let hashes = self.chars[self.at..].iter().take_while(|c| **c == '#').count();
        self.take(hashes + 1);
        let mut text = String::new();
        let ends =
            |reader: &Self| reader.peek(0) == '"' && (1..=hashes).all(|n| reader.peek(n) == '#');
        while self.at < self.chars.len() && !ends(self) {
            text.push_str(&self.take(1));
        }
        self.take(hashes + 1);
        self.source.strings.push(text);
    }

    /// A character literal, or a lifetime.
    fn quote(&mut self) {
        if self.peek(1) == '\\' {
            self.take(3);
            while self.at < self.chars.len() && self.peek(0) != '\'' {
                self.take(1);
            }
            self.take(1);
        } else if self.peek(2) == '\'' {
            self.take(3);
        } else {
            self.take(1);
            self.word();
            self.source.tokens.pop();
        }
    }

    fn word(&mut self) {
        let is_word = |c: &&char| c.is_alphanumeric() || **c == '_';
        let length = self.chars[self.at..].iter().take_while(is_word).count();
        let word: String = self.chars[self.at..self.at + length].iter().collect();
        let next = self.peek(length);
        let raw = matches!(word.as_str(), "r" | "br" | "cr");
        let opens = next == '"' || (next == '#' && matches!(self.peek(length + 1), '"' | '#'));
        if raw && opens {
            self.take(length);
            self.raw_string();
        } else if matches!(word.as_str(), "b" | "c") && next == '"' {
            self.take(length);
        } else {
            self.push(length.max(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        Source::parse(text).tokens.into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn strings_comments_and_lifetimes_are_no_words() {
        assert_eq!(words("a /* b /* c */ d */ e // f\ng"), ["a", "e", "g"]);
        assert_eq!(
            words(r##"x("a\"b", r#"c"d"#, b"e", r"f", c"g") y"##),
            ["x", "(", ",", ",", ",", ",", ")", "y"]
        );
        assert_eq!(
            words("fn f<'a>(x: &'a str) { '{'; '\\''; '\\u{7f}'; b'x' }").concat(),
            "fnf<>(x:&str){;;;b}"
        );
        assert_eq!(words("r#type"), ["r", "#", "type"]);
    }

    #[test]
    fn lines_are_counted_through_everything() {
        let source = Source::parse("\"a\nb\" /*\n*/ x // y\nr\"\n\" z");
        assert_eq!(
            source.tokens,
            [Token { text: "x".into(), line: 3 }, Token { text: "z".into(), line: 5 }]
        );
        assert_eq!(source.comments[1], Comment { text: "y".into(), line: 3 });
        assert_eq!(source.lines, 5);
        assert_eq!(source.strings, ["a\nb", "\n"]);
        assert_eq!(source.find(&["x", "z"]), [3]);
    }
}
