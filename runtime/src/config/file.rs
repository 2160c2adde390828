//! The administrator's settings: `/etc/richrun/config.toml`.

use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::Deserialize;

use super::annotations::Annotations;
use super::properties::check_property;
use super::rich::Request;
use crate::error::{Error, Result};

/// Where they are, unless `RICHRUN_CONFIG` names another file; most hosts have none.
pub const PATH: &str = "/etc/richrun/config.toml";

/// A key of the file, for who writes one.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name, after its table's.
    pub name: &'static str,
    /// What it may be.
    pub value: &'static str,
    /// What it is without a word.
    pub default: &'static str,
    /// What it does.
    pub text: &'static str,
}

const fn key(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    text: &'static str,
) -> Key {
    Key { name, value, default, text }
}

/// Every key that [`Settings`] and [`Request`] read: for the manual page.
pub const KEYS: &[Key] = &[
    key(
        "hooks_dirs",
        "[\"/DIR\", ...]",
        "none",
        "Directories of hook definitions (hooks.d), the weakest first; --hooks-dir replaces them.",
    ),
    key("rich.rich", "true | false", "false", "Whether every container is rich."),
    key(
        "rich.mode",
        "\"dumb-init\" | \"init\" | \"systemd\" | \"sbin-init\" | \"auto\"",
        "\"dumb-init\"",
        "Which init a rich container gets; auto: the one that its command names, else rich-init.",
    ),
    key(
        "rich.initscript",
        "\"FILE ARGUMENT...\"",
        "none",
        "A file of the container's root that runs before the payload, split as a shell does.",
    ),
    key("rich.initcmd", "\"CMD\"", "none", "A line for the container's shell, after that."),
    key("rich.init-timeout", "SECONDS", "60", "How long each of the two may take; 0: for ever."),
    key(
        "rich.environment-file",
        "true | false",
        "true",
        "Whether /etc/profile.d/richrun.sh keeps the environment for logins.",
    ),
    key(
        "rich.stop-signal",
        "\"SIGNAL\"",
        "what the init needs",
        "What kill sends in the place of TERM; TERM: itself.",
    ),
    key(
        "rich.trust",
        "[\"WAY\" | \"WAY:RIGHT\", ...]",
        "[]",
        "Who of those that have a say in config.json, images among them, gets more than the \
         payload has. WAY: annotations, environment (process.env), command (that of the \
         container, under auto). RIGHT: root (user 0 with the bounding set), cgroups (its own \
         control groups, writable), mounts (file systems of memory in a read-only root), limits \
         (an init without the payload's limits); without one, all four.",
    ),
    key(
        "annotations.allow",
        "[\"ANNOTATION\", ...]",
        "[]",
        "Which annotations count that give a payload more than config.json does; whoever writes \
         annotations, images among them, decides on these. run.oci.keep_original_groups (podman's \
         --group-add keep-groups): the payload keeps the supplementary groups of who runs the engine. \
         run.oci.pidfd_receiver: a socket of the host's gets a pidfd of the first process. \
         run.oci.seccomp_bpf_data: a filter in base64 stands in the place of linux.seccomp. \
         org.criu.config: the file that CRIU is configured by at checkpoint and restore; CRIU runs as \
         root what it names.",
    ),
    key(
        "devices.mknod",
        "true | false",
        "true",
        "Whether a container with CAP_MKNOD may make any device node, as runc and every engine's \
         images expect (using one is another matter). false: none but those that config.json lists \
         in linux.devices or allows in linux.resources.devices.",
    ),
    key(
        "systemd.properties",
        "[\"PROPERTY\", ...]",
        "[]",
        "Which properties of a container's scope an annotation org.systemd.property.PROPERTY may \
         set, with the systemd cgroup manager; whoever writes annotations decides on these.",
    ),
];

/// What the administrator has set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Directories of hook definitions (hooks.d) for every container, lowest
    /// precedence first; none unless set.
    pub hooks_dirs: Vec<PathBuf>,
    /// Defaults for rich containers, or for all of them to be rich.
    pub rich: Request,
    /// What systemd's scopes may have.
    pub systemd: Systemd,
    /// Which annotations may grant something.
    pub annotations: Annotations,
    /// What containers may do with devices.
    pub devices: Devices,
}

/// The table `devices`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Devices {
    /// Any node may be made.
    pub mknod: bool,
}

impl Default for Devices {
    fn default() -> Self {
        Devices { mknod: true }
    }
}

/// The table `systemd`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Systemd {
    /// The properties that `org.systemd.property.NAME` annotations may set.
    pub properties: Vec<String>,
}

impl Settings {
    /// Reads the file; without one at [`PATH`] nothing is set, and one that
    /// `RICHRUN_CONFIG` names must be there.
    ///
    /// # Errors
    /// It cannot be read, or line and column of what is wrong in it.
    pub fn load() -> Result<Settings> {
        let named = std::env::var_os("RICHRUN_CONFIG").map(PathBuf::from);
        let path = named.as_deref().unwrap_or(Path::new(PATH));
        match super::read_bounded(path) {
            Ok(bytes) => Settings::parse(path, &String::from_utf8_lossy(&bytes)),
            Err(error) if error.errno() == Some(Errno::NOENT) && named.is_none() => {
                Ok(Settings::default())
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the text of the file at `path`.
    ///
    /// # Errors
    /// Line and column of what is wrong in it.
    pub fn parse(path: &Path, text: &str) -> Result<Settings> {
        let wrong = |what: &str| Error::config(format!("parse {}: {what}", path.display()));
        let settings: Settings = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
            let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            wrong(&format!("{place}{}", error.message().replace('\n', " ")))
        })?;
        settings.rich.check().map_err(|what| wrong(&format!("rich.{what}")))?;
        settings.annotations.check().map_err(|what| wrong(&what))?;
        for name in &settings.systemd.properties {
            check_property(name).map_err(|what| wrong(&format!("systemd.properties: {what}")))?;
        }
        match settings.hooks_dirs.iter().find(|dir| !dir.is_absolute()) {
            Some(dir) => Err(wrong(&format!("hooks_dirs: {}: must be absolute", dir.display()))),
            None => Ok(settings),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings> {
        Settings::parse(Path::new(PATH), text)
    }

    #[test]
    fn rich_containers_have_a_table() {
        let text =
            "[rich]\nrich = true\nmode = \"systemd\"\ninit-timeout = 5\nenvironment-file = false\n";
        let rich = parse(text).unwrap().rich;
        assert_eq!((rich.rich, rich.mode.as_deref()), (Some(true), Some("systemd")));
        assert_eq!((rich.init_timeout, rich.environment_file), (Some(5), Some(false)));
        for (text, what) in [
            ("[rich]\nmood = 1\n", "line 2: unknown field `mood`"),
            ("[rich]\n\nrich = 7\n", "line 3: invalid type"),
            ("[rich]\nmode = \"upstart\"\n", "rich.mode: not supported rich mode: upstart"),
            ("[rich]\ninitscript = \"'/x\"\n", "rich.initscript: a quotation mark is not closed"),
            ("[rich]\ninitcmd = \" \"\n", "rich.initcmd: no command"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("parse {PATH}: {what}")), "{error}");
        }
    }

    /// The parser names all that it knows when it meets something else.
    #[test]
    fn every_key_is_documented_and_no_other() {
        let tables = [("x_x = 1", ""), ("[rich]\nx_x = 1", "rich.")];
        let more = [("[systemd]\nx_x = 1", "systemd."), ("[annotations]\nx_x = 1", "annotations.")];
        let more = more.into_iter().chain([("[devices]\nx_x = 1", "devices.")]);
        for (text, prefix) in tables.into_iter().chain(more) {
            let error = parse(text).unwrap_err().to_string();
            let mut known: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
            known.retain(|name| {
                !prefix.is_empty() || !["rich", "systemd", "annotations", "devices"].contains(name)
            });
            let mut told: Vec<&str> = KEYS
                .iter()
                .filter_map(|key| match (prefix, key.name.split_once('.')) {
                    ("", None) => Some(key.name),
                    (prefix, Some((table, name))) if prefix.strip_suffix('.') == Some(table) => {
                        Some(name)
                    }
                    _ => None,
                })
                .collect();
            known.sort_unstable();
            told.sort_unstable();
            assert_eq!(known, told, "{error}");
        }
    }

    #[test]
    fn nothing_is_set_by_default() {
        assert_eq!(parse("").unwrap(), Settings::default());
        assert!(Settings::default().hooks_dirs.is_empty());
    }

    #[test]
    fn directories_are_listed_lowest_first() {
        let settings = parse("# hooks\nhooks_dirs = [\"/usr/a\", \"/etc/b\"]\n").unwrap();
        assert_eq!(settings.hooks_dirs, [Path::new("/usr/a"), Path::new("/etc/b")]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, what) in [
            ("hooks_dirs = [\"rel\"]", "hooks_dirs: rel: must be absolute"),
            ("\nhook_dirs = []", "line 2: unknown field `hook_dirs`"),
            ("\n\nhooks_dirs = 7", "line 3: invalid type"),
            ("hooks_dirs = [", "line 1: "),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("parse {PATH}: {what}")), "{text}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
