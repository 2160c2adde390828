//! How engines spell options: Go's `flag` package, brought to GNU's form.
//!
//! Go takes `-long`, `--long`, `--switch=false` and any word as an option's
//! value, and stops reading options at the first argument. containerd sends
//! `-no-subreaper`; go-runc and conmon send the rest.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::{ArgAction, Command};

/// Where reading options ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// At `--` only: options and arguments may be mixed.
    End,
    /// At the first argument.
    FirstArgument,
}

/// What an option is to the command that is being read.
enum Known {
    Switch,
    /// A switch whose `=false` says more than its absence.
    Chosen,
    Valued,
}

/// Rewrites the words of `words` up to where options end; returns the
/// rewritten words and the number of words that were read. With
/// [`Until::FirstArgument`] the first argument itself is not read.
pub fn to_gnu(command: &Command, words: &[OsString], until: Until) -> (Vec<OsString>, usize) {
    let mut out = Vec::with_capacity(words.len() + 1);
    let mut at = 0;
    while at < words.len() {
        let word = words[at].as_bytes();
        if word == b"--" {
            break;
        }
        if word.len() < 2 || word[0] != b'-' {
            if until == Until::FirstArgument {
                break;
            }
            out.push(words[at].clone());
            at += 1;
            continue;
        }
        let (name, value) = split(word);
        let Some((known, dashes)) = find(command, name) else {
            out.push(words[at].clone());
            at += 1;
            continue;
        };
        at += 1;
        let bare = &name[name.iter().take_while(|byte| **byte == b'-').count()..];
        let mut option = OsString::from_vec([dashes, bare].concat());
        match (known, value) {
            (Known::Switch, None) => out.push(option),
            (Known::Switch, Some(value)) => match go_bool(value) {
                Some(true) => out.push(option),
                Some(false) => {}
                None => out.push(words[at - 1].clone()),
            },
            (Known::Chosen, value) => {
                if let Some(value) = value {
                    let chosen = go_bool(value).map(|yes| if yes { "true" } else { "false" });
                    option.push("=");
                    option.push(chosen.map_or(OsStr::from_bytes(value), OsStr::new));
                }
                out.push(option);
            }
            (Known::Valued, given) => {
                let value = match given {
                    Some(value) => value,
                    None if at < words.len() => {
                        at += 1;
                        words[at - 1].as_bytes()
                    }
                    None => {
                        out.push(option);
                        continue;
                    }
                };
                // Go's empty string is the option's default: not given.
                if value.is_empty() {
                    continue;
                }
                option.push("=");
                option.push(OsStr::from_bytes(value));
                out.push(option);
            }
        }
    }
    if until == Until::End {
        out.extend_from_slice(&words[at..]);
        at = words.len();
    }
    (out, at)
}

/// `--name=value` to (`--name`, `value`).
fn split(word: &[u8]) -> (&[u8], Option<&[u8]>) {
    match word.iter().position(|byte| *byte == b'=') {
        Some(at) => (&word[..at], Some(&word[at + 1..])),
        None => (word, None),
    }
}

/// The option of `command` that `name` (with its dashes) means, and the
/// dashes that it has in GNU's form.
fn find(command: &Command, name: &[u8]) -> Option<(Known, &'static [u8])> {
    let bare = name.strip_prefix(b"--").or_else(|| name.strip_prefix(b"-"))?;
    if bare == b"help" || bare == b"version" {
        return Some((Known::Switch, b"--"));
    }
    let (arg, dashes): (_, &[u8]) = match bare {
        [letter] if !name.starts_with(b"--") => (
            command.get_arguments().find(|arg| arg.get_short() == Some(char::from(*letter)))?,
            b"-",
        ),
        _ => (
            command
                .get_arguments()
                .find(|arg| arg.get_long().is_some_and(|long| long.as_bytes() == bare))?,
            b"--",
        ),
    };
    let known = match arg.get_action() {
        ArgAction::Set if arg.get_num_args().is_some_and(|n| n.min_values() == 0) => Known::Chosen,
        ArgAction::Set | ArgAction::Append => Known::Valued,
        _ => Known::Switch,
    };
    Some((known, dashes))
}

/// What Go's `strconv.ParseBool` takes.
fn go_bool(value: &[u8]) -> Option<bool> {
    match value {
        b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" => Some(true),
        b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    fn command() -> Command {
        Command::new("x")
            .arg(Arg::new("bundle").long("bundle").short('b'))
            .arg(Arg::new("env").long("env").short('e').action(ArgAction::Append))
            .arg(Arg::new("tty").long("tty").short('t').action(ArgAction::SetTrue))
            .arg(Arg::new("rich").long("rich").num_args(0..=1).require_equals(true))
            .arg(Arg::new("rest").num_args(0..))
    }

    fn read(line: &str, until: Until) -> (String, usize) {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let (out, read) = to_gnu(&command(), &words, until);
        let out: Vec<_> = out.iter().map(|word| word.to_str().unwrap()).collect();
        (out.join(" "), read)
    }

    #[test]
    fn go_spellings_become_gnu_ones() {
        for (go, gnu) in [
            ("-bundle /b id", "--bundle=/b id"),
            ("--bundle /b id", "--bundle=/b id"),
            ("-bundle=/b -tty", "--bundle=/b --tty"),
            ("-b /b -t", "-b=/b -t"),
            ("-e A=-b -e -x", "-e=A=-b -e=-x"),
            ("--tty=false id", "id"),
            ("-tty=1 id", "--tty id"),
            ("--tty=perhaps id", "--tty=perhaps id"),
            ("--rich id", "--rich id"),
            ("-rich=F id", "--rich=false id"),
            ("--rich=1 id", "--rich=true id"),
            ("--rich=x id", "--rich=x id"),
            ("-help", "--help"),
            ("-unknown x", "-unknown x"),
            ("--bundle", "--bundle"),
            ("id -- -bundle x", "id -- -bundle x"),
            ("-", "-"),
        ] {
            assert_eq!(read(go, Until::End).0, gnu, "{go}");
        }
    }

    #[test]
    fn an_empty_value_is_no_value() {
        assert_eq!(read("--bundle= id", Until::End).0, "id");
        let words = ["--bundle", "", "id"].map(OsString::from);
        assert_eq!(to_gnu(&command(), &words, Until::End).0, ["id"]);
    }

    #[test]
    fn reading_stops_at_the_first_argument() {
        assert_eq!(read("-t -b x id -t -bundle", Until::FirstArgument), ("-t -b=x".into(), 3));
        assert_eq!(read("-t -- id", Until::FirstArgument), ("-t".into(), 1));
        assert_eq!(read("-t", Until::FirstArgument), ("-t".into(), 1));
    }
}
