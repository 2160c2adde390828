//! What a rich container adds to a plan, as data.

use super::process::{CapPlan, ProcessPlan, UserPlan, c_string};
use crate::config::rich::InitScript;
use crate::error::Result;

/// Who an init script is: the container's root, with all that the container's
/// bounding set has, in `/`.
///
/// # Errors
/// A word contains a NUL byte.
pub fn script_process(script: &InitScript, payload: &ProcessPlan) -> Result<ProcessPlan> {
    let name = script.name();
    let args = script.words().iter().map(|word| c_string(word, &name)).collect::<Result<_>>()?;
    Ok(ProcessPlan {
        args,
        cwd: "/".into(),
        user: UserPlan { uid: 0, gid: 0, groups: Vec::new(), umask: Some(0o022) },
        caps: payload.caps.as_ref().map(whole),
        terminal: false,
        console_size: None,
        scheduler: None,
        io_priority: None,
        ..payload.clone()
    })
}

/// All that a bounding set allows, for root.
pub fn whole(caps: &CapPlan) -> CapPlan {
    CapPlan {
        bounding: caps.bounding.clone(),
        effective: caps.bounding.clone(),
        permitted: caps.bounding.clone(),
        ..CapPlan::default()
    }
}

/// Variables that a login sets by itself, for another user or another terminal.
const LOGINS_OWN: &[&str] = &["HOME", "PWD", "OLDPWD", "SHLVL", "TERM", "USER", "LOGNAME", "_"];
/// Variables that a shell takes for its own state, not from its environment: one
/// that is read-only, or a number, ends a shell that goes by POSIX.
const SHELLS_OWN: &[&str] = &[
    "UID",
    "EUID",
    "GID",
    "EGID",
    "PPID",
    "IFS",
    "OPTIND",
    "SHELLOPTS",
    "BASHOPTS",
    "BASH_VERSINFO",
];

/// The text of `/etc/profile.d/richrun.sh`: the environment for later logins.
/// What a shell could not name is left out.
pub fn profile(env: &[String]) -> String {
    let mut text =
        String::from("# Written by richrun at every start: the container's environment.\n");
    for entry in env {
        let Some((name, value)) = entry.split_once('=') else { continue };
        if !is_name(name) || [LOGINS_OWN, SHELLS_OWN].iter().any(|names| names.contains(&name)) {
            continue;
        }
        text.push_str("export ");
        text.push_str(name);
        text.push_str("='");
        text.push_str(&value.replace('\'', "'\\''"));
        text.push_str("'\n");
    }
    text
}

fn is_name(name: &str) -> bool {
    let first = name.bytes().next();
    first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_quoted_for_a_shell() {
        let env = [
            "PATH=/bin",
            "QUOTE=it's \"$x\" `y` \\",
            "LINES=a\nb",
            "EQ=a=b",
            "EMPTY=",
            "HOME=/root",
            "UID=1000",
            "OPTIND=x",
            "1X=no",
            "A-B=no",
            "lonely",
        ]
        .map(str::to_owned);
        let text = profile(&env);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "export PATH='/bin'",
                "export QUOTE='it'\\''s \"$x\" `y` \\'",
                "export LINES='a",
                "b'",
                "export EQ='a=b'",
                "export EMPTY=''",
            ]
        );
    }

    #[test]
    fn a_script_is_the_containers_root_and_no_more() {
        let text = r#"{"cwd":"/w","user":{"uid":5,"gid":6,"additionalGids":[7]},"args":["x"],
            "env":["A=1"],"noNewPrivileges":true,
            "capabilities":{"bounding":["CAP_KILL"],"ambient":["CAP_KILL"],"effective":[]}}"#;
        let payload = ProcessPlan::new(&serde_json::from_str(text).unwrap()).unwrap();
        let script = InitScript::Command("echo hi".to_owned());
        let plan = script_process(&script, &payload).unwrap();
        assert_eq!(plan.args, [c"/bin/sh", c"-c", c"echo hi"].map(std::ffi::CStr::to_owned));
        assert_eq!((plan.user.uid, plan.user.groups.len(), plan.cwd.to_str()), (0, 0, Some("/")));
        assert!(plan.no_new_privs && plan.env == ["A=1"]);
        let caps = plan.caps.unwrap();
        assert_eq!(caps.effective, caps.bounding);
        assert!(caps.ambient.is_empty() && caps.effective.len() == 1);
    }
}
