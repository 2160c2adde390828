//! Whose sd_notify(3) datagrams are a container's.
//!
//! The wall is the directory: nobody but the container and root can reach the socket in it.
//! This is the second look, at whoever has come in by another way.

use super::host_path;
use std::path::PathBuf;

/// How a container's processes are known.
#[derive(Debug, Default)]
pub struct Senders {
    /// Its pid namespace, where that is not ours.
    namespace: Option<PathBuf>,
    /// The lines of cgroups(7)'s `/proc/PID/cgroup` that are not ours.
    groups: Vec<String>,
}

impl Senders {
    /// Those of the container whose first process has this pid, and waits for its start.
    pub fn of(init: i32) -> Senders {
        let ours = (namespace("self"), groups("self").unwrap_or_default());
        let name = init.to_string();
        let mut groups = groups(&name).unwrap_or_default();
        groups.retain(|line| !ours.1.contains(line));
        Senders { namespace: namespace(&name).filter(|_| namespace(&name) != ours.0), groups }
    }

    /// Whether a process is one of them, as far as can be known: one that has ended since it
    /// sent cannot be looked at, as the shell's short `systemd-notify --ready`.
    pub fn include(&self, pid: i32) -> bool {
        if self.namespace.is_none() && self.groups.is_empty() {
            return true;
        }
        if pid <= 0 {
            return false;
        }
        let name = pid.to_string();
        let its = namespace(&name);
        if its.is_some() && its == self.namespace {
            return true;
        }
        match groups(&name) {
            None => true,
            Some(lines) => lines.iter().any(|line| self.holds(line)) || has_ended(&name),
        }
    }

    /// Whether a group is one of the container's, or below one.
    fn holds(&self, line: &str) -> bool {
        let below = |group: &String| {
            line.strip_prefix(group.as_str()).is_some_and(|rest| {
                rest.is_empty() || group.ends_with('/') || rest.starts_with('/')
            })
        };
        self.groups.iter().any(below)
    }
}

fn namespace(process: &str) -> Option<PathBuf> {
    host_path::link(format!("/proc/{process}/ns/pid")).ok()
}

fn groups(process: &str) -> Option<Vec<String>> {
    let text = host_path::read_text(format!("/proc/{process}/cgroup")).ok()?;
    Some(text.lines().map(str::to_owned).collect())
}

/// Whether it waits for its parent only (proc_pid_stat(5)): it has left its groups on v1.
fn has_ended(process: &str) -> bool {
    let text = host_path::read(format!("/proc/{process}/stat")).unwrap_or_default();
    let behind = text.iter().rposition(|byte| *byte == b')').unwrap_or(text.len());
    matches!(text.get(behind + 2), None | Some(b'Z' | b'X'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_holds_what_is_below_it_and_nothing_beside() {
        let of = |group: &str| Senders { groups: vec![group.to_owned()], ..Senders::default() };
        let senders = of("0::/a/box");
        assert!(senders.holds("0::/a/box") && senders.holds("0::/a/box/init.scope"));
        for other in ["0::/a/box2", "0::/a", "4:cpu:/a/box", "0::/"] {
            assert!(!senders.holds(other), "{other}");
        }
        let me = std::process::id() as i32;
        assert!(!senders.include(me) && !senders.include(0));
        assert!(Senders::default().include(me), "nothing to tell them by");
        assert!(senders.include(i32::MAX), "gone");
    }
}
