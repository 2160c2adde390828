//! How engines spell options: Go's `flag` package, brought to GNU's form.
//!
//! Go takes `-long`, `--long`, `--switch=false` and any word as an option's
//! value, and stops reading options at the first argument. containerd sends
//! `-no-subreaper`; go-runc and conmon send the rest.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::{ArgAction, Command, Id};

/// Options that runc does not have: an empty value is a mistake there, often a variable that is not
/// set, and the command would do without what it asked for.
const OWN: [&[u8]; 7] =
    [b"caps", b"hooks-dir", b"initcmd", b"initscript", b"needs", b"rich-mode", b"services"];

/// Where reading options ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// At `--` only: options and arguments may be mixed.
    End,
    /// At the first argument.
    FirstArgument,
}

/// What an option is to the command that is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Switch,
    /// A switch whose `=false` says more than its absence.
    Chosen,
    Valued,
    /// Each one counts.
    Repeated,
}

/// Rewrites the words of `words` up to where options end; returns the
/// rewritten words and the number of words that were read. With
/// [`Until::FirstArgument`] the first argument itself is not read. Of an option that is
/// given several times the last counts, as with Go: engines add theirs to the user's.
pub fn to_gnu(command: &Command, words: &[OsString], until: Until) -> (Vec<OsString>, usize) {
    let mut out: Vec<(OsString, Option<Id>)> = Vec::with_capacity(words.len() + 1);
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
            out.push((words[at].clone(), None));
            at += 1;
            continue;
        }
        let (name, value) = split(word);
        let Some((known, dashes, id)) = find(command, name) else {
            out.push((words[at].clone(), None));
            at += 1;
            continue;
        };
        at += 1;
        if known != Known::Repeated {
            out.retain(|earlier| earlier.1.as_ref() != Some(&id));
        }
        let bare = &name[name.iter().take_while(|byte| **byte == b'-').count()..];
        let option = OsString::from_vec([dashes, bare].concat());
        let takes = matches!(known, Known::Valued | Known::Repeated);
        let value = match (takes, value) {
            (true, None) if at < words.len() => {
                at += 1;
                Some(words[at - 1].as_bytes())
            }
            (_, value) => value,
        };
        if let Some(word) = gnu(known, option, value) {
            out.push((word, Some(id)));
        }
    }
    let mut out: Vec<OsString> = out.into_iter().map(|word| word.0).collect();
    if until == Until::End {
        out.extend_from_slice(&words[at..]);
        at = words.len();
    }
    (out, at)
}

/// An option in GNU's form; nothing where it says what its absence says.
fn gnu(known: Known, mut option: OsString, value: Option<&[u8]>) -> Option<OsString> {
    let Some(value) = value else { return Some(option) };
    let value = match (known, go_bool(value)) {
        (Known::Switch, Some(yes)) => return yes.then_some(option),
        (Known::Chosen, Some(true)) => &b"true"[..],
        (Known::Chosen, Some(false)) => b"false",
        // Go's empty string is the option's default: not given.
        (Known::Valued | Known::Repeated, _) if value.is_empty() && !is_own(&option) => {
            return None;
        }
        _ => value,
    };
    option.push("=");
    option.push(OsStr::from_bytes(value));
    Some(option)
}

fn is_own(option: &OsStr) -> bool {
    option.as_bytes().strip_prefix(b"--").is_some_and(|name| OWN.contains(&name))
}

/// `--name=value` to (`--name`, `value`).
fn split(word: &[u8]) -> (&[u8], Option<&[u8]>) {
    match word.iter().position(|byte| *byte == b'=') {
        Some(at) => (&word[..at], Some(&word[at + 1..])),
        None => (word, None),
    }
}

/// The option of `command` that `name` (with its dashes) means, the dashes that it has
/// in GNU's form, and what it is by whatever name.
fn find(command: &Command, name: &[u8]) -> Option<(Known, &'static [u8], Id)> {
    let bare = name.strip_prefix(b"--").or_else(|| name.strip_prefix(b"-"))?;
    match bare {
        b"help" => return Some((Known::Switch, b"--", Id::from("help"))),
        b"version" => return Some((Known::Switch, b"--", Id::from("version"))),
        _ => {}
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
        ArgAction::Set => Known::Valued,
        ArgAction::Append => Known::Repeated,
        _ => Known::Switch,
    };
    Some((known, dashes, arg.get_id().clone()))
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
            .arg(Arg::new("needs").long("needs").action(ArgAction::Append))
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
    fn the_last_of_several_counts() {
        for (given, read_as) in [
            ("-t --tty id -t", "id -t"),
            ("--bundle a -b b", "-b=b"),
            ("-b a --bundle=", ""),
            ("-t -tty=false", ""),
            ("-tty=false -t", "-t"),
            ("-e A -e B", "-e=A -e=B"),
            ("--rich --rich=0", "--rich=false"),
            ("-b a -- -b b", "-b=a -- -b b"),
        ] {
            assert_eq!(read(given, Until::End).0, read_as, "{given}");
        }
    }

    #[test]
    fn an_empty_value_is_no_value() {
        assert_eq!(read("--bundle= id", Until::End).0, "id");
        let words = ["--bundle", "", "id"].map(OsString::from);
        assert_eq!(to_gnu(&command(), &words, Until::End).0, ["id"]);
        // Where runc has no such option it is left for whoever refuses it.
        let words = ["--needs", "", "id"].map(OsString::from);
        assert_eq!(to_gnu(&command(), &words, Until::End).0, ["--needs=", "id"]);
    }

    #[test]
    fn reading_stops_at_the_first_argument() {
        assert_eq!(read("-t -b x id -t -bundle", Until::FirstArgument), ("-t -b=x".into(), 3));
        assert_eq!(read("-t -- id", Until::FirstArgument), ("-t".into(), 1));
        assert_eq!(read("-t", Until::FirstArgument), ("-t".into(), 1));
    }
}
