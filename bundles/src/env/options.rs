//! podman's options in a template (`defaultRunArgs`), as far as they mean something to the
//! engine of one's own.

use super::template::{Bind, Mount};
use crate::error::{Error, Kind, Result};
use crate::spec::rights;

/// What they come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// `-t`: a terminal, where the caller has one.
    pub tty: bool,
    /// All rights that there are.
    pub privileged: bool,
    /// `NAME=VALUE`, or a name whose value is the caller's.
    pub environment: Vec<String>,
    /// More mounts.
    pub mounts: Vec<Bind>,
    /// `USER[:GROUP]`.
    pub user: Option<String>,
    /// Where it starts.
    pub directory: Option<String>,
    /// The host's name inside.
    pub hostname: Option<String>,
    /// Instead of the image's program.
    pub entrypoint: Option<Vec<String>>,
    /// Capabilities that it has, too.
    pub cap_add: Vec<String>,
    /// Capabilities that it has not.
    pub cap_drop: Vec<String>,
    /// Nothing can be written to the root.
    pub read_only: bool,
}

/// Reads podman's words.
///
/// # Errors
/// One that is not known here, with what to do.
pub fn parse(words: &[String]) -> Result<RunOptions> {
    let mut options = RunOptions::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (name, mut value) = match word.split_once('=') {
            Some((name, value)) if word.starts_with("--") => (name, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        if flag(&mut options, name, value.as_deref()) {
            continue;
        }
        let mut take = || {
            value.take().or_else(|| words.next().cloned()).ok_or_else(|| {
                Error::new(
                    Kind::Refused,
                    format!("template: defaultRunArgs: {word}: a value is missing"),
                )
            })
        };
        match name {
            "-e" | "--env" => options.environment.push(take()?),
            "-v" | "--volume" => options.mounts.push(Mount::Text(take()?).bind()?),
            "-u" | "--user" => options.user = Some(take()?),
            "-w" | "--workdir" => options.directory = Some(take()?),
            "-h" | "--hostname" => options.hostname = Some(take()?),
            "--entrypoint" => {
                options.entrypoint = Some(take()?.split_whitespace().map(str::to_owned).collect());
            }
            "--cap-add" => options.cap_add.push(capability(take()?)?),
            "--cap-drop" => options.cap_drop.push(capability(take()?)?),
            // What is so here anyway, or has no meaning in a pod.
            "--security-opt" | "--pull" | "--name" | "--network" | "--net" => drop(take()?),
            _ => {
                return Err(Error::new(
                    Kind::Refused,
                    format!(
                        "template: defaultRunArgs: {word} is not known here; leave it out, or use \
                         --engine podman"
                    ),
                ));
            }
        }
    }
    Ok(options)
}

/// Takes an option without a value.
fn flag(options: &mut RunOptions, name: &str, value: Option<&str>) -> bool {
    let on = value != Some("false");
    match name {
        "--privileged" => options.privileged = on,
        "--tty" => options.tty = on,
        "--read-only" => options.read_only = on,
        "--interactive" | "--rm" | "--init" => {}
        // `-it` and the like.
        _ => {
            let letters = name.strip_prefix('-').filter(|rest| !rest.is_empty());
            match letters {
                Some(letters) if letters.bytes().all(|letter| matches!(letter, b'i' | b't')) => {
                    options.tty |= letters.contains('t');
                }
                _ => return false,
            }
        }
    }
    true
}

fn capability(name: String) -> Result<String> {
    if rights::is_known(&name) {
        return Ok(name);
    }
    let words = format!("template: defaultRunArgs: nobody knows the capability {name:?}");
    Err(Error::new(Kind::Refused, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn podmans_words() {
        let options = parse(&words("-it --rm --privileged")).unwrap();
        assert!(options.tty && options.privileged);
        let options =
            parse(&words("-e A=1 --env=B=2 -v /a:/b:ro --user 1:2 --cap-add net_admin -w /x"))
                .unwrap();
        assert_eq!(options.environment, ["A=1", "B=2"]);
        assert_eq!((options.mounts[0].target.as_str(), options.mounts[0].read_only), ("/b", true));
        assert_eq!(options.cap_add, ["net_admin"]);
        assert_eq!(
            (options.user.as_deref(), options.directory.as_deref()),
            (Some("1:2"), Some("/x"))
        );
        assert!(!options.tty);
        for bad in ["--gpus all", "--cap-add nosuch", "-e", "-x", "word"] {
            assert!(parse(&words(bad)).is_err(), "{bad}");
        }
    }
}
