//! Pages with commands and their output, run and compared.

/// A command of a page, and what it prints.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    /// Whether the prompt is the superuser's, in a page where there are two.
    root: bool,
    command: String,
    output: Vec<String>,
}

/// The commands of a page's `console` blocks: `$ ` begins one; the lines up to
/// the next are its output, where `...` stands for anything.
#[derive(Debug)]
pub struct Transcript {
    steps: Vec<Step>,
}

/// What separates the output of one command from the next one's.
const END: &str = "--- end of a command ---";

impl Transcript {
    /// Reads a page.
    pub fn parse(page: &str) -> Self {
        Self::read(page, false)
    }

    /// Reads a page in which `# ` is the superuser's prompt beside the user's, and `> ` begins
    /// a command's next line.
    pub fn of_two(page: &str) -> Self {
        Self::read(page, true)
    }

    fn read(page: &str, of_two: bool) -> Self {
        let mut steps: Vec<Step> = Vec::new();
        let mut inside = false;
        for line in page.lines() {
            match (inside, line) {
                (false, "```console") => inside = true,
                (true, "```") => inside = false,
                (true, _) => Self::line(&mut steps, line, of_two),
                _ => {}
            }
        }
        Self { steps }
    }

    fn line(steps: &mut Vec<Step>, line: &str, of_two: bool) {
        let as_root = line.strip_prefix("# ").filter(|_| of_two);
        let root = as_root.is_some();
        let more = line.strip_prefix("> ").filter(|_| of_two);
        match (line.strip_prefix("$ ").or(as_root), more, steps.last_mut()) {
            (Some(command), ..) => {
                steps.push(Step { root, command: command.to_owned(), output: Vec::new() });
            }
            (None, Some(more), Some(step)) => step.command = format!("{}\n{more}", step.command),
            (None, None, Some(step)) => step.output.push(line.to_owned()),
            (None, _, None) => {}
        }
    }

    /// How many commands the page has.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The page as a shell script.
    pub fn script(&self) -> String {
        let body: String =
            self.steps.iter().map(|step| format!("{}\necho '{END}'\n", step.command)).collect();
        format!("exec 2>&1\n{body}")
    }

    /// A page of two users as a script of the superuser's, in which `user`, a command that
    /// takes a shell's command line as its last word, makes one the other.
    pub fn script_of_two(&self, user: &str) -> String {
        let steps = self.steps.iter().map(|step| {
            let command = match step.root {
                true => step.command.clone(),
                false => format!("{user} '{}'", step.command.replace('\'', r"'\''")),
            };
            format!("{{ {command}\n}} </dev/null\necho '{END}'\n")
        });
        format!("exec 2>&1\n{}", steps.collect::<String>())
    }

    /// Compares what the script printed with the page.
    pub fn compare(&self, printed: &str) -> crate::Verdict {
        let end = format!("{END}\n");
        let mut parts = printed.split(&end).map(|part| part.lines().collect());
        for Step { command, output, .. } in &self.steps {
            let found: Vec<&str> = parts.next().unwrap_or_default();
            let expected: Vec<&str> = output.iter().map(String::as_str).collect();
            if !lines_match(&expected, &found) {
                return Err(format!(
                    "$ {command}\n--- expected\n{}\n--- found\n{}\n--- all\n{printed}",
                    expected.join("\n"),
                    found.join("\n")
                ));
            }
        }
        Ok(())
    }
}

/// Whether the lines match; a line `...` stands for any lines, none too.
fn lines_match(expected: &[&str], found: &[&str]) -> bool {
    match (expected, found) {
        ([], []) => true,
        (["...", rest @ ..], _) => (0..=found.len()).any(|skip| lines_match(rest, &found[skip..])),
        ([first, rest @ ..], [line, others @ ..]) => {
            line_matches(first, line) && lines_match(rest, others)
        }
        _ => false,
    }
}

/// Whether a line matches; `...` in it stands for anything.
fn line_matches(expected: &str, found: &str) -> bool {
    let mut parts = expected.trim_end().split("...");
    let found = found.trim_end();
    let Some(mut rest) = parts.next().and_then(|first| found.strip_prefix(first)) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    match last {
        None => rest.is_empty(),
        Some(part) => part.is_empty() || rest.is_empty() || found.ends_with(part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str =
        "text\n```console\n$ echo a\na\n$ true\n```\n$ not this\n```console\n$ ls\n...\nz\n```\n";

    #[test]
    fn commands_and_outputs_are_found() {
        let page = Transcript::parse(PAGE);
        let commands: Vec<&str> = page.steps.iter().map(|step| step.command.as_str()).collect();
        assert_eq!(commands, ["echo a", "true", "ls"]);
        assert_eq!(page.steps[0].output, ["a"]);
    }

    #[test]
    fn a_page_may_have_two_users() {
        let page = Transcript::of_two("```console\n# id\nroot\n$ cat <<'E'\n> x\n> E\nx\n```\n");
        let script = page.script_of_two("as user");
        let user = r"as user 'cat <<'\''E'\''";
        assert!(script.contains("{ id\n}"), "{script}");
        assert!(script.contains(&format!("{user}\nx\nE'\n")), "{script}");
        assert_eq!(page.compare(&format!("root\n{END}\nx\n{END}\n")), Ok(()));
    }

    #[test]
    fn output_is_compared_command_by_command() {
        let page = Transcript::parse(PAGE);
        let good = format!("a\n{END}\n{END}\nx\ny\nz\n{END}\n");
        assert_eq!(page.compare(&good), Ok(()));
        assert!(page.compare(&good.replace("a\n-", "b\n-")).is_err());
        assert!(page.compare(&good.replace('z', "zz")).is_err());
        assert!(page.compare("").is_err());
    }

    #[test]
    fn dots_stand_for_anything() {
        assert!(line_matches("demo ... created ...", "demo 12 created 2020 /b"));
        assert!(line_matches("...stopped...", "  \"status\": \"stopped\","));
        assert!(line_matches("a...b", "a b b"));
        assert!(!line_matches("a...b", "a b c"));
        assert!(!line_matches("a", "ab"));
    }
}
