//! From a hook's definition to what `execve` takes.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use oci_spec::runtime::Hook;

/// What `execve(2)` takes for one hook.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) path: CString,
    pub(crate) argv: Vec<CString>,
    pub(crate) envp: Vec<CString>,
}

impl Command {
    /// `inherited` is the environment of a hook whose definition has no `env`.
    /// An error says what is wrong with the definition.
    pub(crate) fn new(
        hook: &Hook,
        inherited: impl FnOnce() -> Vec<CString>,
    ) -> Result<Self, String> {
        let path = hook.path().as_os_str();
        if path.is_empty() {
            return Err("path: is empty".into());
        }
        if !hook.path().is_absolute() {
            return Err(format!("path: {}: must be absolute", path.display()));
        }
        let path = c_string(path, "path")?;
        let mut argv = c_strings(hook.args().as_deref().unwrap_or_default(), "args")?;
        if argv.is_empty() {
            argv.push(path.clone());
        }
        let envp = match hook.env() {
            Some(env) => c_strings(env, "env")?,
            None => inherited(),
        };
        Ok(Command { path, argv, envp })
    }
}

/// A hook's own time limit; an error says what is wrong with it.
pub(crate) fn limit(hook: &Hook) -> Result<Option<Duration>, String> {
    match hook.timeout() {
        None => Ok(None),
        Some(seconds) if seconds > 0 => Ok(Some(Duration::from_secs(seconds.unsigned_abs()))),
        Some(seconds) => Err(format!("timeout: {seconds}: must be greater than zero")),
    }
}

/// Whether the specification allows this definition, by itself: an absolute
/// path, a timeout greater than zero, no NUL bytes. The error is one line that
/// starts with the field's name (`timeout: 0: must be greater than zero`).
/// Whether the program exists is not asked: it may exist only when the hook runs.
pub fn check_hook(hook: &Hook) -> Result<(), String> {
    Command::new(hook, Vec::new)?;
    limit(hook)?;
    Ok(())
}

fn c_string(text: &OsStr, field: &str) -> Result<CString, String> {
    CString::new(text.as_bytes()).map_err(|_| format!("{field}: contains a NUL byte"))
}

fn c_strings(list: &[String], field: &str) -> Result<Vec<CString>, String> {
    let items = list.iter().enumerate();
    items.map(|(at, text)| c_string(text.as_ref(), &format!("{field}[{at}]"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(json: &str) -> Hook {
        serde_json::from_str(json).unwrap()
    }

    fn command(json: &str) -> Result<Command, String> {
        Command::new(&hook(json), || vec![c"FROM=caller".to_owned()])
    }

    #[test]
    fn argv_is_exact_and_defaults_to_the_path() {
        assert_eq!(command(r#"{"path":"/h"}"#).unwrap().argv, [c"/h".to_owned()]);
        assert_eq!(command(r#"{"path":"/h","args":[]}"#).unwrap().argv, [c"/h".to_owned()]);
        let odd = command(r#"{"path":"/h","args":["", " a b", "%$\\"]}"#).unwrap();
        assert_eq!(odd.argv, [c"".to_owned(), c" a b".to_owned(), c"%$\\".to_owned()]);
    }

    #[test]
    fn no_env_inherits_and_an_empty_env_is_empty() {
        assert_eq!(command(r#"{"path":"/h"}"#).unwrap().envp, [c"FROM=caller".to_owned()]);
        assert!(command(r#"{"path":"/h","env":[]}"#).unwrap().envp.is_empty());
        let given = command(r#"{"path":"/h","env":["A=1","A=2","odd"]}"#).unwrap();
        assert_eq!(given.envp, [c"A=1".to_owned(), c"A=2".to_owned(), c"odd".to_owned()]);
    }

    #[test]
    fn what_the_specification_forbids_is_named() {
        for (json, message) in [
            (r#"{"path":""}"#, "path: is empty"),
            (r#"{"path":"bin/h"}"#, "path: bin/h: must be absolute"),
            (r#"{"path":"/h\u0000"}"#, "path: contains a NUL byte"),
            (r#"{"path":"/h","args":["a","\u0000"]}"#, "args[1]: contains a NUL byte"),
            (r#"{"path":"/h","env":["\u0000"]}"#, "env[0]: contains a NUL byte"),
            (r#"{"path":"/h","timeout":0}"#, "timeout: 0: must be greater than zero"),
            (r#"{"path":"/h","timeout":-1}"#, "timeout: -1: must be greater than zero"),
        ] {
            assert_eq!(check_hook(&hook(json)), Err(message.to_owned()));
        }
        assert_eq!(check_hook(&hook(r#"{"path":"/h","timeout":9223372036854775807}"#)), Ok(()));
    }
}
