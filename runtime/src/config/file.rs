//! The administrator's settings: `/etc/richrun/config.toml`.

use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::Deserialize;

use super::rich::Request;
use crate::error::{Error, Result};

/// Where they are, unless `RICHRUN_CONFIG` names another file; most hosts have none.
pub const PATH: &str = "/etc/richrun/config.toml";

/// What the administrator has set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Directories of hook definitions (hooks.d) for every container, lowest
    /// precedence first; none unless set.
    pub hooks_dirs: Vec<PathBuf>,
    /// Defaults for rich containers, or for all of them to be rich.
    pub rich: Request,
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

    fn parse(path: &Path, text: &str) -> Result<Settings> {
        let wrong = |what: &str| Error::config(format!("parse {}: {what}", path.display()));
        let settings: Settings = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
            let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            wrong(&format!("{place}{}", error.message().replace('\n', " ")))
        })?;
        settings.rich.check().map_err(|what| wrong(&format!("rich.{what}")))?;
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
