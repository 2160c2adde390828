//! The lines that engines send all day, read without building clap's tables.
//!
//! clap takes two fifths of all instructions between the start of `run` and its
//! clone. What is not in the tables below, or
//! stands there in any unusual way, is [`super::parse`]'s to read, and to refuse: a
//! line read here is read as clap would (the tests compare the two).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::{
    CreateArgs, DeleteArgs, ExecArgs, Global, KillArgs, LaunchArgs, LogFormat, RunArgs, StartArgs,
    StateArgs, Verb,
};

/// An option's name and its letter (or nothing).
type Name = (&'static str, &'static str);

/// Which options a command may have here.
struct Table {
    valued: &'static [Name],
    switches: &'static [Name],
    /// Whether options end at the first argument.
    first_argument: bool,
}

const GLOBAL: Table = Table {
    valued: &[("root", ""), ("log", ""), ("log-format", "")],
    switches: &[("debug", "")],
    first_argument: true,
};

const LAUNCH: Table = Table {
    valued: &[("bundle", "b"), ("pid-file", ""), ("console-socket", ""), ("preserve-fds", "")],
    switches: &[("detach", "d"), ("no-pivot", ""), ("no-new-keyring", ""), ("rich", "")],
    first_argument: false,
};

const EXEC: Table = Table {
    valued: &[("process", "p"), ("pid-file", ""), ("console-socket", ""), ("preserve-fds", "")],
    switches: &[("detach", "d"), ("tty", "t")],
    first_argument: true,
};

const KILL: Table = Table { valued: &[], switches: &[("all", "a")], first_argument: false };
const DELETE: Table = Table { valued: &[], switches: &[("force", "f")], first_argument: false };
const BARE: Table = Table { valued: &[], switches: &[], first_argument: false };

/// Reads a command line (without the program's own name), if it is a usual one.
pub fn read(words: &[OsString]) -> Option<(Global, Verb)> {
    let before = Line::read(&GLOBAL, words)?;
    let global = Global {
        root: before.value("root").map(Into::into),
        log: before.value("log").map(Into::into),
        log_format: match before.value("log-format").map(OsStr::as_bytes) {
            None | Some(b"text") => LogFormat::Text,
            Some(b"json") => LogFormat::Json,
            Some(_) => return None,
        },
        debug: before.has("debug"),
        ..Global::default()
    };
    let (name, rest) = before.rest.split_first()?;
    Some((global, verb(name.as_bytes(), rest)?))
}

fn verb(name: &[u8], words: &[OsString]) -> Option<Verb> {
    Some(match name {
        b"create" => {
            let line = Line::read(&LAUNCH, words)?;
            if line.has("detach") {
                return None;
            }
            Verb::Create(CreateArgs { launch: line.launch()? })
        }
        b"run" => {
            let line = Line::read(&LAUNCH, words)?;
            Verb::Run(RunArgs {
                detach: line.has("detach"),
                keep: false,
                no_subreaper: false,
                launch: line.launch()?,
            })
        }
        b"start" => Verb::Start(StartArgs { id: Line::read(&BARE, words)?.only_argument()? }),
        b"state" => Verb::State(StateArgs { id: Line::read(&BARE, words)?.only_argument()? }),
        b"delete" => {
            let line = Line::read(&DELETE, words)?;
            let (force, id) = (line.has("force"), line.only_argument()?);
            Verb::Delete(DeleteArgs { wait: false, force, id })
        }
        b"kill" => {
            let line = Line::read(&KILL, words)?;
            let [id, signal] = line.arguments[..] else { return None };
            Verb::Kill(KillArgs { all: line.has("all"), id: text(id)?, signal: text(signal)? })
        }
        b"exec" => {
            let line = Line::read(&EXEC, words)?;
            let (id, command) = line.rest.split_first()?;
            if command.first().is_some_and(|word| word == "--") {
                return None;
            }
            Verb::Exec(ExecArgs {
                process: line.value("process").map(Into::into),
                pid_file: line.value("pid-file").map(Into::into),
                console_socket: line.value("console-socket").map(Into::into),
                preserve_fds: line.number("preserve-fds")?,
                detach: line.has("detach"),
                tty: line.has("tty"),
                id: text(id)?,
                command: command.iter().map(|word| text(word)).collect::<Option<_>>()?,
                ..ExecArgs::default()
            })
        }
        _ => return None,
    })
}

/// A line whose every option is in a table, with a value where it takes one; the last of
/// several counts.
struct Line<'a> {
    given: Vec<(&'static str, &'a OsStr)>,
    arguments: Vec<&'a OsStr>,
    /// From the first argument on, where options end there.
    rest: &'a [OsString],
}

impl<'a> Line<'a> {
    fn read(table: &Table, words: &'a [OsString]) -> Option<Self> {
        let mut line = Self { given: Vec::new(), arguments: Vec::new(), rest: &[] };
        let mut at = 0;
        while let Some(word) = words.get(at) {
            let bytes = word.as_bytes();
            if bytes.first() != Some(&b'-') {
                if table.first_argument {
                    line.rest = &words[at..];
                    break;
                }
                line.arguments.push(word);
                at += 1;
                continue;
            }
            at += 1;
            let (name, mut value) = match bytes.iter().position(|byte| *byte == b'=') {
                Some(end) => (&bytes[..end], Some(OsStr::from_bytes(&bytes[end + 1..]))),
                None => (bytes, None),
            };
            let option = if let Some(option) = find(table.valued, name) {
                if value.is_none() {
                    value = Some(words.get(at)?);
                    at += 1;
                }
                // An empty value is the same as none to some, and a mistake to others.
                value.filter(|value| !value.is_empty())?;
                option
            } else {
                find(table.switches, name).filter(|_| value.is_none())?
            };
            line.given.push((option, value.unwrap_or_default()));
        }
        Some(line)
    }

    fn has(&self, name: &str) -> bool {
        self.given.iter().any(|given| given.0 == name)
    }

    fn value(&self, name: &str) -> Option<&'a OsStr> {
        self.given.iter().rfind(|given| given.0 == name).map(|given| given.1)
    }

    /// A number, 0 if it is not given; nothing if it is none.
    fn number(&self, name: &str) -> Option<u32> {
        self.value(name).map_or(Some(0), |value| value.to_str()?.parse().ok())
    }

    fn only_argument(&self) -> Option<String> {
        let [argument] = self.arguments[..] else { return None };
        text(argument)
    }

    fn launch(&self) -> Option<LaunchArgs> {
        Some(LaunchArgs {
            bundle: self.value("bundle").map(Into::into),
            pid_file: self.value("pid-file").map(Into::into),
            console_socket: self.value("console-socket").map(Into::into),
            preserve_fds: self.number("preserve-fds")?,
            no_pivot: self.has("no-pivot"),
            no_new_keyring: self.has("no-new-keyring"),
            rich: self.has("rich").then_some(true),
            id: self.only_argument()?,
            ..LaunchArgs::default()
        })
    }
}

/// The option that a word means: `--long`, Go's `-long`, or `-l`.
fn find(names: &[Name], word: &[u8]) -> Option<&'static str> {
    let (bare, long) = match word.strip_prefix(b"--") {
        Some(bare) => (bare, true),
        None => (word.strip_prefix(b"-")?, false),
    };
    let means = |name: &&Name| match bare {
        [_] => !long && name.1.as_bytes() == bare,
        _ => name.0.as_bytes() == bare,
    };
    names.iter().find(means).map(|name| name.0)
}

fn text(word: &OsStr) -> Option<String> {
    word.to_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::{Asked, parse_with_clap};
    use super::*;

    fn words(line: &[&str]) -> Vec<OsString> {
        line.iter().map(OsString::from).collect()
    }

    /// What both read, as text; nothing where it is left to clap.
    fn same(line: &[&str]) -> bool {
        let line = words(line);
        let Some((global, verb)) = read(&line) else { return false };
        let (by_clap, asked) = parse_with_clap(&line);
        let Ok(Asked::Run(other)) = asked else { panic!("{line:?}: clap refuses it") };
        assert_eq!(format!("{global:?} {verb:?}"), format!("{by_clap:?} {other:?}"), "{line:?}");
        true
    }

    #[test]
    fn the_lines_of_engines_are_read_here() {
        let containerd = ["--root", "/run/c", "--log", "/l/log.json", "--log-format", "json"];
        let conmon = ["--root=/run/crun"];
        let twice = ["--root", "/a", "--debug", "--log=/l", "--debug", "--root", "/b"];
        for before in [&containerd[..], &conmon[..], &twice[..], &[]] {
            for after in [
                &["create", "--bundle", "/b", "--pid-file", "/b/init.pid", "ID"][..],
                &["create", "--bundle", "/b", "--pid-file", "/p", "--console-socket", "/s", "ID"],
                &["start", "ID"],
                &["state", "ID"],
                &["kill", "ID", "15"],
                &["kill", "--all", "ID", "9"],
                &["delete", "--force", "ID"],
                &["delete", "ID"],
                &["run", "ID"],
                &["run", "-b", "/a", "-d", "--bundle", "/b", "-detach", "ID"],
                &["exec", "-t", "-p", "/p", "--tty", "--process=/q", "ID"],
                &["run", "-d", "-b", "/b", "--rich", "ID"],
                &["exec", "--process", "/p", "--detach", "--pid-file", "/f", "ID"],
                &["exec", "--pid-file", "/f", "--process", "/p", "--tty", "-d", "ID"],
                &["exec", "-t", "ID", "sh", "-c", "--help", "--", "x"],
            ] {
                let line = [before, after].concat();
                assert!(same(&line), "{line:?}");
            }
        }
    }

    /// Every line of up to four of these words after a command is read as clap does, or left to it.
    #[test]
    fn no_line_is_read_otherwise_than_by_clap() {
        let pool = [
            "ID",
            "9",
            "-d",
            "-detach",
            "--detach=false",
            "--bundle",
            "--bundle=b",
            "-b",
            "--rich",
            "--preserve-fds=3",
            "--preserve-fds",
            "--",
            "--force",
            "-f",
            "-a",
            "--all",
            "",
            "-",
            "--help",
            "--no-such",
            "--pid-file=",
            "-p",
            "--tty",
            "--process=/p",
            "-KILL",
            "--b",
        ];
        let mut read_here = 0;
        for verb in ["create", "run", "start", "state", "kill", "delete", "exec", "list"] {
            for first in pool {
                for second in pool {
                    for third in pool {
                        read_here += usize::from(same(&[verb, first, second, third]));
                    }
                    read_here += usize::from(same(&["--debug", verb, first, second]));
                    read_here += usize::from(same(&["--root", first, "--log", second, verb, "ID"]));
                }
                read_here += usize::from(same(&[verb, first]));
            }
        }
        assert!(read_here > 200, "{read_here}");
    }

    #[test]
    fn unusual_lines_are_left_to_clap() {
        for line in [
            &["run"][..],
            &["run", "--bundle", "/b"],
            &["run", "--bundle=", "ID"],
            &["run", "--bundle", "a", "--bundle=", "ID"],
            &["run", "--preserve-fds", "many", "ID"],
            &["kill", "ID"],
            &["--version"],
            &["--log-format", "xml", "state", "ID"],
            &["state", "--help"],
            &["exec", "ID", "--", "true"],
            &["no-such", "ID"],
            &[],
        ] {
            assert!(read(&words(line)).is_none(), "{line:?}");
        }
    }
}
