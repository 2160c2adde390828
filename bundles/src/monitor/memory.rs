//! What the kernel has killed for memory in a container's control group, and which processes.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::store::Victim;

/// The longest message of the kernel's log.
const LONGEST: usize = 8 << 10;
/// The log is not read without end while somebody writes to it.
const MESSAGES: usize = 1 << 20;

/// How many processes of the group the kernel has killed for memory.
pub fn oom_kills(cgroup: &Path) -> u64 {
    let count = |file: &str| {
        let text = fs::read_to_string(cgroup.join(file)).ok()?;
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
    };
    count("memory.events").or_else(|| count("memory.oom_control")).unwrap_or(0)
}

/// Which processes of the group these were, by the kernel's log; none where that may not be read
/// (it takes CAP_SYSLOG).
pub fn victims(cgroup: &Path, kills: u64) -> Vec<Victim> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let log = File::options().read(true).custom_flags(flags).open("/dev/kmsg");
    let (Ok(mut log), true) = (log, kills > 0) else { return Vec::new() };
    let mut all = Vec::new();
    let mut message = [0; LONGEST];
    for _ in 0..MESSAGES {
        match log.read(&mut message) {
            Ok(0) => break,
            Ok(count) => all.extend(victim(&message[..count], cgroup)),
            // EPIPE: older messages have made room meanwhile.
            Err(error)
                if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::BrokenPipe) => {}
            Err(_) => break,
        }
    }
    // Those of an earlier run in a group of this name come before.
    let earlier = all.len().saturating_sub(usize::try_from(kills).unwrap_or(usize::MAX));
    all.split_off(earlier)
}

/// The process of which a message says that it was killed in this group, or in one below it:
/// `...oom-kill:...,task_memcg=PATH,task=NAME,pid=PID,uid=UID`.
fn victim(message: &[u8], cgroup: &Path) -> Option<Victim> {
    let text = std::str::from_utf8(message).ok()?.lines().next()?;
    let (_, rest) = text.split_once("oom-kill:")?.1.split_once(",task_memcg=")?;
    let (rest, _) = rest.rsplit_once(",uid=")?;
    let (rest, pid) = rest.rsplit_once(",pid=")?;
    let (group, name) = rest.split_once(",task=")?;
    // The kernel's path begins at the top of the hierarchy, ours where that is mounted.
    let own = cgroup.file_name()?;
    let within = Path::new(group).ancestors().any(|one| {
        one.file_name() == Some(own) && cgroup.ends_with(one.strip_prefix("/").unwrap_or(one))
    });
    within.then_some(Victim { pid: pid.parse().ok()?, name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_word_names_the_process() {
        let of = |group: &str| {
            let text = format!(
                "6,1234,99,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,mems_allowed=0,oom_memcg=/a,task_memcg={group},task=a,b c,pid=77,uid=0\n SUBSYSTEM=x\n"
            );
            victim(text.as_bytes(), Path::new("/sys/fs/cgroup/memory/top/richctl-1"))
        };
        let named = Some(Victim { pid: 77, name: "a,b c".into() });
        assert_eq!((of("/top/richctl-1"), of("/top/richctl-1/inner/more")), (named.clone(), named));
        for other in ["/top", "/top/richctl-12", "/other/richctl-1", "/richctl-2/top", ""] {
            assert_eq!(of(other), None, "{other}");
        }
        for odd in [&b""[..], b"6,1,1,-;hello", b"oom-kill:,task_memcg=/x", b"\xff"] {
            assert_eq!(victim(odd, Path::new("/x")), None);
        }
    }
}
