//! Descendants that no group or session holds together, found in /proc.

use crate::sys::{self, File};
use core::ffi::CStr;

/// A process as /proc/PID/stat tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its parent's id; 0 when that is outside of the pid namespace.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
}

/// Reads a line of /proc/PID/stat (proc_pid_stat(5)): `pid (comm) state ppid pgrp ...`,
/// where comm may have any character, `)` too.
pub fn parse_stat(line: &[u8]) -> Option<Process> {
    let open = line.iter().position(|byte| *byte == b' ')?;
    let close = line.iter().rposition(|byte| *byte == b')')?;
    let mut fields = line.get(close + 2..)?.split(|byte| *byte == b' ');
    fields.next()?;
    Some(Process {
        pid: id(line.get(..open)?)?,
        parent: id(fields.next()?)?,
        group: id(fields.next()?)?,
    })
}

fn id(digits: &[u8]) -> Option<i32> {
    i32::try_from(crate::time::number(digits)?).ok()
}

/// Calls `each` for every descendant of this process, for all others in the pid namespace
/// when it is PID 1. False when /proc is missing or shows another pid namespace.
pub fn each_descendant(me: i32, mut each: impl FnMut(Process)) -> bool {
    let Some(proc) = File::open_procfs() else { return false };
    if proc.link(c"self", &mut [0; 16]).map(id) != Ok(Some(me)) {
        return false;
    }
    let mut buffer = Aligned([0; 2048]);
    while let Ok(len @ 1..) = proc.entries(&mut buffer.0) {
        let mut rest = &buffer.0[..len];
        // struct linux_dirent64: inode 8, offset 8, length 2, type 1, name (ends in NUL).
        while let [_, ..] = rest {
            let Some(size) = rest.get(16..18).map(|size| u16::from_le_bytes([size[0], size[1]]))
            else {
                break;
            };
            let (entry, next) = rest.split_at(usize::from(size).clamp(1, rest.len()));
            rest = next;
            let name = entry.get(19..).and_then(|name| CStr::from_bytes_until_nul(name).ok());
            if let Some(process) =
                name.and_then(|name| id(name.to_bytes())).and_then(|pid| stat_of(&proc, pid))
                && process.pid != me
                && (me == 1 || descends(&proc, process, me))
            {
                each(process);
            }
        }
    }
    true
}

/// Directory entries begin with 64-bit numbers.
#[repr(align(8))]
struct Aligned([u8; 2048]);

fn descends(proc: &File, mut process: Process, ancestor: i32) -> bool {
    // The chain is bounded, in case that pids are reused under it.
    for _ in 0..1000 {
        if process.parent == ancestor {
            return true;
        }
        match process.parent {
            0 | 1 => return false,
            parent => match stat_of(proc, parent) {
                Some(next) => process = next,
                None => return false,
            },
        }
    }
    false
}

fn stat_of(proc: &File, pid: i32) -> Option<Process> {
    let mut path = [0; 16];
    let (mut digits, mut at, mut rest) = ([0; 10], 10, pid);
    while rest > 0 {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let digits = &digits[at..];
    path[..digits.len()].copy_from_slice(digits);
    path[digits.len()..][..5].copy_from_slice(b"/stat");
    let path = CStr::from_bytes_until_nul(&path).ok()?;
    let mut line = [0; 512];
    let len = proc.open_below(path).ok()?.read(&mut line).ok()?;
    parse_stat(&line[..len])
}

/// Sends a signal to every descendant that `wanted` accepts; false as [`each_descendant`].
pub fn signal_descendants(me: i32, signal: u8, wanted: impl Fn(Process) -> bool) -> bool {
    each_descendant(me, |process| {
        if wanted(process) {
            // One that has ended meanwhile needs no signal.
            let _ = sys::kill(process.pid, signal);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_lines() {
        let want = Process { pid: 12, parent: 3, group: 11 };
        assert_eq!(parse_stat(b"12 (sh) S 3 11 11 0 -1 4194560"), Some(want));
        assert_eq!(parse_stat(b"12 (a) b) (c) R 3 11 11 0"), Some(want));
        assert_eq!(parse_stat(b"12 (sh) S"), None);
        assert_eq!(parse_stat(b""), None);
        assert_eq!(parse_stat(b"12 (sh)"), None);
    }

    #[test]
    fn finds_a_grandchild_in_its_own_session() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "setsid sleep 30 & echo $!; wait"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(
            &mut std::io::BufReader::new(child.stdout.take().unwrap()),
            &mut line,
        )
        .unwrap();
        let grandchild: i32 = line.trim().parse().unwrap();
        let mut found = Vec::new();
        assert!(each_descendant(std::process::id() as i32, |process| found.push(process.pid)));
        assert!(found.contains(&grandchild), "{found:?} lacks {grandchild}");
        assert!(!found.contains(&1));
        assert!(
            !each_descendant(999_999_999, |_| ()),
            "a pid that is not ours means a foreign /proc"
        );
        sys::kill(grandchild, 9).unwrap();
        child.wait().unwrap();
    }
}
