//! Who asks, and how much of what is asked for beyond config.json he is given.
//!
//! An engine copies the image's variables and annotations into config.json: so an image can
//! ask for a rich container. *What* runs in front of the payload may be asked for by anybody;
//! *who it is* is never more than the payload itself was given ([`crate::plan::grant`]), unless
//! whoever asks is the administrator, or trusted by him: `[rich] trust` of
//! `/etc/richrun/config.toml`.

use serde::{Deserialize, Serialize};

use super::nearest::did_you_mean;

/// Where a request comes from; the order is the precedence.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// `--rich` and its kin.
    CommandLine,
    /// `io.richrun.*` of config.json.
    Annotations,
    /// `rich_mode` and `rich_mode_launch_manner` of `process.env`.
    Environment,
    /// The same two in the runtime's own environment.
    Runtime,
    /// `/etc/richrun/config.toml`.
    File,
    /// The program was started as `richrun-rich`.
    Name,
    /// Mode `auto`: the command of config.json names an init.
    #[default]
    Command,
}

impl Origin {
    /// How it is called in messages.
    pub fn shown(self) -> &'static str {
        match self {
            Origin::CommandLine => "the command line",
            Origin::Annotations => "an annotation",
            Origin::Environment => "a variable of process.env",
            Origin::Runtime => "the runtime's environment",
            Origin::File => "the administrator's file",
            Origin::Name => "the program's name",
            Origin::Command => "the container's command",
        }
    }

    /// The word of `trust` for it; the administrator's own ways need none.
    pub fn word(self) -> Option<&'static str> {
        WORDS.iter().find(|row| row.1 == self).map(|row| row.0)
    }
}

/// The ways that anybody can ask by who has a say in config.json, as `trust` names them.
const WORDS: [(&str, Origin); 3] = [
    ("annotations", Origin::Annotations),
    ("environment", Origin::Environment),
    ("command", Origin::Command),
];

/// What may be given beyond what the payload has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// To be the container's root with all that the bounding set has, whoever the payload
    /// is; and to write `/etc/profile.d` as such.
    Root,
    /// Control groups that can be written to, and a namespace of them.
    Cgroups,
    /// File systems of memory in a root that is read-only.
    Mounts,
    /// An init without the payload's resource limits and `oomScoreAdj`.
    Limits,
}

/// Every right, as `trust` names it.
pub const RIGHTS: [(&str, Right); 4] = [
    ("root", Right::Root),
    ("cgroups", Right::Cgroups),
    ("mounts", Right::Mounts),
    ("limits", Right::Limits),
];

/// A set of rights.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rights(Vec<Right>);

impl Rights {
    /// The administrator's.
    pub fn all() -> Rights {
        Rights(RIGHTS.iter().map(|row| row.1).collect())
    }

    /// Whether it has this one.
    pub fn has(&self, right: Right) -> bool {
        self.0.contains(&right)
    }
}

/// Who is trusted with what beyond the payload's own; nobody with anything by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Trust(Vec<(Origin, Option<Right>)>);

impl TryFrom<Vec<String>> for Trust {
    type Error = String;

    fn try_from(words: Vec<String>) -> Result<Trust, String> {
        words.iter().map(|word| read(word)).collect::<Result<_, _>>().map(Trust)
    }
}

/// `ORIGIN` or `ORIGIN:RIGHT`.
fn read(word: &str) -> Result<(Origin, Option<Right>), String> {
    let (origin, right) = match word.split_once(':') {
        Some((origin, right)) => (origin, Some(right)),
        None => (word, None),
    };
    let known = WORDS.iter().find(|row| row.0 == origin).map(|row| row.1);
    let origin = known.ok_or_else(|| unknown(word, origin, WORDS.map(|row| row.0)))?;
    let right = right.map(|right| {
        let known = RIGHTS.iter().find(|row| row.0 == right).map(|row| row.1);
        known.ok_or_else(|| unknown(word, right, RIGHTS.map(|row| row.0)))
    });
    Ok((origin, right.transpose()?))
}

fn unknown<const N: usize>(word: &str, part: &str, known: [&str; N]) -> String {
    let place = if word == part { String::new() } else { format!("{word}: ") };
    let meant = did_you_mean(part, known);
    format!("trust: {place}{part:?} is none of {}{meant}", known.join(", "))
}

impl Trust {
    /// What something is given that all of these have had a say in: what each of them is.
    pub fn rights(&self, origins: &[Origin]) -> Rights {
        let given = |right: Right, origin: Origin| match origin {
            Origin::CommandLine | Origin::Runtime | Origin::File | Origin::Name => true,
            Origin::Annotations | Origin::Environment | Origin::Command => {
                self.0.iter().any(|(of, what)| *of == origin && what.is_none_or(|is| is == right))
            }
        };
        let all = RIGHTS.iter().map(|row| row.1);
        Rights(all.filter(|right| origins.iter().all(|origin| given(*right, *origin))).collect())
    }

    /// Of those who have had a say, the one that is given least.
    pub fn weakest(&self, origins: &[Origin]) -> Origin {
        let given = |origin: &&Origin| self.rights(&[**origin]).0.len();
        origins.iter().min_by_key(given).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(words: &[&str]) -> Result<Trust, String> {
        Trust::try_from(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    use Origin::{Annotations, Command, CommandLine, Environment, File, Name, Runtime};

    #[test]
    fn nobody_but_the_administrator_is_given_anything_by_default() {
        let none = Trust::default();
        for origin in [CommandLine, Runtime, File, Name] {
            assert_eq!(none.rights(&[origin]), Rights::all(), "{origin:?}");
        }
        for origin in [Annotations, Environment, Command] {
            assert_eq!(none.rights(&[origin]), Rights::default(), "{origin:?}");
        }
    }

    #[test]
    fn the_weakest_of_those_who_have_a_say_counts() {
        let some = trust(&["annotations:cgroups", "annotations:root", "environment:root"]).unwrap();
        assert_eq!(some.rights(&[Annotations]).0, [Right::Root, Right::Cgroups]);
        assert_eq!(some.rights(&[File, Annotations]).0, [Right::Root, Right::Cgroups]);
        assert_eq!(some.rights(&[Annotations, Environment]).0, [Right::Root]);
        assert_eq!(some.rights(&[Name, Command]), Rights::default());
        assert_eq!(some.weakest(&[CommandLine, Annotations, Environment]), Environment);
        let all = trust(&["annotations", "environment", "command"]).unwrap();
        assert_eq!(all.rights(&[Annotations, Environment, Command]), Rights::all());
    }

    #[test]
    fn words_that_are_none_are_named() {
        for (word, what) in [
            ("anotations", "did you mean annotations?"),
            ("image", "\"image\" is none of annotations, environment, command"),
            ("annotations:rot", "did you mean root?"),
            ("environment:", "\"\" is none of root, cgroups, mounts, limits"),
            ("Annotations", "did you mean annotations?"),
        ] {
            let error = trust(&[word]).unwrap_err();
            assert!(error.contains(what), "{word}: {error}");
        }
    }
}
