//! Whether a definition is meant for a container: pure.

use oci_spec::runtime::Spec;

use super::pattern::Pattern;

/// Destinations that engines bind for themselves: podman, Docker and containerd's CRI plugin do
/// not count them as mounts that a user asked for.
const ENGINES_OWN: [&str; 10] = [
    "/dev/shm",
    "/dev/mqueue",
    "/dev/termination-log",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/run/.containerenv",
    "/run/secrets",
    "/run/notify",
    "/sys/fs/cgroup",
];

/// What the conditions look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// `process.args[0]`: `None` without a process, empty where it has no arguments.
    pub command: Option<String>,
    /// The container's annotations.
    pub annotations: Vec<(String, String)>,
    /// Whether a directory or file of the host was asked to be bound into the container.
    pub has_bind_mounts: bool,
}

impl Facts {
    /// What `config.json` says. Of bind mounts, those that engines make on their own account (`/etc/hosts`
    /// and the like) do not count.
    pub fn of(spec: &Spec) -> Self {
        let command = spec.process().as_ref().map(|process| {
            process.args().as_ref().and_then(|args| args.first()).cloned().unwrap_or_default()
        });
        let annotations = spec.annotations().iter().flatten();
        let mut annotations: Vec<(String, String)> =
            annotations.map(|(key, value)| (key.clone(), value.clone())).collect();
        annotations.sort();
        let has_bind_mounts = spec.mounts().iter().flatten().any(|mount| {
            let bind = |word: &str| word == "bind" || word == "rbind";
            let is_bind = mount.typ().as_deref().is_some_and(bind)
                || mount.options().iter().flatten().any(|option| bind(option));
            is_bind && !ENGINES_OWN.iter().any(|own| mount.destination().as_os_str() == *own)
        });
        Facts { command, annotations, has_bind_mounts }
    }
}

/// The conditions of a definition: all that are set must hold, and at least one must be set.
#[derive(Debug, Clone, Default)]
pub struct When {
    pub(super) always: Option<bool>,
    pub(super) has_bind_mounts: Option<bool>,
    /// Key and value patterns: each pair must match an annotation.
    pub(super) annotations: Vec<(Pattern, Pattern)>,
    /// One must match the command.
    pub(super) commands: Vec<Pattern>,
}

/// Whether a definition applies, and why: for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether its hook is to run.
    pub applies: bool,
    /// The condition that decided.
    pub why: String,
}

impl When {
    /// Decides as podman's and CRI-O's `hooks` package does. An error says what keeps it from deciding.
    pub fn decide(&self, facts: &Facts) -> Result<Verdict, String> {
        let mut held = Vec::new();
        let no = |why: String| Ok(Verdict { applies: false, why });
        match self.always {
            Some(true) => held.push("always".to_owned()),
            Some(false) => return no("always is false".into()),
            None => {}
        }
        match (self.has_bind_mounts, facts.has_bind_mounts) {
            (Some(true), true) => held.push("it has bind mounts".to_owned()),
            (Some(true), false) => return no("it has no bind mounts".into()),
            // Not "has none": the engines read `false` as a condition that never holds.
            (Some(false), _) => return no("hasBindMounts is false".into()),
            (None, _) => {}
        }
        for (key, value) in &self.annotations {
            let fits = |(k, v): &&(String, String)| key.matches(k) && value.matches(v);
            match facts.annotations.iter().find(fits) {
                Some((key, value)) => held.push(format!("annotation {key}={value}")),
                None => {
                    return no(format!("no annotation {}={}", key.source(), value.source()));
                }
            }
        }
        match &facts.command {
            Some(command) if !self.commands.is_empty() => {
                if command.is_empty() {
                    return Err("process.args must have at least one entry".into());
                }
                match self.commands.iter().find(|pattern| pattern.matches(command)) {
                    Some(pattern) => held.push(format!("command matches {}", pattern.source())),
                    None => return no(format!("command {command} matches none")),
                }
            }
            _ => {}
        }
        if held.is_empty() { no("no condition is set".into()) } else { yes(&held) }
    }
}

fn yes(held: &[String]) -> Result<Verdict, String> {
    Ok(Verdict { applies: true, why: held.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::super::definition::Definition;
    use super::*;

    fn decide(when: &str, facts: &Facts) -> Result<bool, String> {
        let json = format!(
            r#"{{"version":"1.0.0","hook":{{"path":"/bin/sh"}},"when":{when},"stages":["prestart"]}}"#
        );
        let definition = Definition::parse("x.json".as_ref(), json.as_bytes()).unwrap();
        definition.when.decide(facts).map(|verdict| verdict.applies)
    }

    fn facts() -> Facts {
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        Facts {
            command: Some("/usr/bin/app".into()),
            annotations: vec![pair("com.x", "one"), pair("com.y", "two")],
            has_bind_mounts: true,
        }
    }

    #[test]
    fn all_conditions_must_hold_and_one_must_be_set() {
        for (when, expected) in [
            ("{}", false),
            (r#"{"always":true}"#, true),
            (r#"{"always":false}"#, false),
            (r#"{"always":false,"commands":[".*"]}"#, false),
            (r#"{"hasBindMounts":true}"#, true),
            (r#"{"hasBindMounts":false}"#, false),
            (r#"{"commands":["nothing","app$"]}"#, true),
            (r#"{"commands":["^app$"]}"#, false),
            (r#"{"commands":[]}"#, false),
            (r#"{"always":true,"commands":["nothing"]}"#, false),
            (r#"{"annotations":{"^com\\.x$":"^one$"}}"#, true),
            (r#"{"annotations":{"^com\\.":"^two$"}}"#, true),
            (r#"{"annotations":{"^com\\.x$":"^one$","^com\\.y$":"^one$"}}"#, false),
            (r#"{"annotations":{"com.x":"one","com.y":"t"},"commands":["a"]}"#, true),
            (r#"{"annotations":{}}"#, false),
        ] {
            assert_eq!(decide(when, &facts()), Ok(expected), "{when}");
        }
    }

    #[test]
    fn without_binds_process_or_arguments() {
        let none = Facts { has_bind_mounts: false, command: None, ..facts() };
        assert_eq!(decide(r#"{"hasBindMounts":true}"#, &none), Ok(false));
        assert_eq!(decide(r#"{"hasBindMounts":false}"#, &none), Ok(false));
        assert_eq!(decide(r#"{"always":true,"commands":["x"]}"#, &none), Ok(true));
        assert_eq!(decide(r#"{"commands":["x"]}"#, &none), Ok(false));
        let empty = Facts { command: Some(String::new()), ..facts() };
        let error = Err("process.args must have at least one entry".to_owned());
        assert_eq!(decide(r#"{"commands":["x"]}"#, &empty), error);
    }

    #[test]
    fn engines_own_mounts_are_not_a_users() {
        let spec = |mounts: &str| -> Spec {
            let json = format!(r#"{{"ociVersion":"1.2.0","mounts":[{mounts}]}}"#);
            serde_json::from_str(&json).unwrap()
        };
        let bind = |to: &str| {
            format!(r#"{{"destination":"{to}","type":"bind","source":"/x","options":["rbind"]}}"#)
        };
        assert!(!Facts::of(&spec(&bind("/etc/hosts"))).has_bind_mounts);
        assert!(Facts::of(&spec(&bind("/data"))).has_bind_mounts);
        let tmpfs = r#"{"destination":"/t","type":"tmpfs","source":"tmpfs"}"#;
        assert!(!Facts::of(&spec(tmpfs)).has_bind_mounts);
        let by_option = r#"{"destination":"/t","source":"/x","options":["ro","bind"]}"#;
        assert!(Facts::of(&spec(by_option)).has_bind_mounts);
    }
}
