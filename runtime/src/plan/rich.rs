//! What a rich container adds to a plan, as data.

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
}
