//! Inits that read an inittab: busybox's and SysV's. The image's inittab is
//! covered with its own lines but those that cannot work here, the payload,
//! and an end that has the payload's exit status.

use std::path::{Path, PathBuf};

use super::{BootFile, BootWhat, Cover, INIT, PAYLOAD, STATUS};

/// What the inittab is covered with.
const INITTAB: &str = "/run/richrun/inittab";
/// Where SysV's init is while something stands in for it.
pub const REAL_INIT: &str = "/run/richrun/init";
/// What stands in for it.
const STAND_IN: &str = "/run/richrun/stand-in";

/// What tells Debian's scripts that `/run` is in memory and not to be cleaned,
/// and what it is covered with: they may remove it, but for a place where
/// something is mounted.
const IN_MEMORY: &str = "/run/.tmpfs";
const MARK: &str = "/run/richrun/in-memory";

/// SIGQUIT: busybox's init runs what its inittab says for shutdown, ends all
/// processes, and becomes what is said for restart.
pub const BUSYBOX_STOP: i32 = 3;
/// SIGPWR: SysV's init runs what its inittab says for a power failure
/// (init(8)).
pub const SYSV_STOP: i32 = 30;
/// How many seconds SysV's init waits for the payload between TERM and KILL:
/// whoever stops a container has a bound of his own.
const PATIENCE: u32 = 3600;

/// busybox's inittab (its `init` and `examples/inittab`). An init without a
/// payload ends with 0, which stands in the file from the beginning.
pub fn busybox(own: Option<&str>, beside: bool) -> (Vec<BootFile>, Vec<Cover>) {
    let mut lines: Vec<String> = match own {
        Some(own) => {
            let keeps = |action: &str| match action {
                "restart" | "ctrlaltdel" => false,
                "askfirst" => !beside,
                _ => true,
            };
            entries(own).filter(|line| keeps(field(line, 2))).map(str::to_owned).collect()
        }
        None => vec!["::sysinit:-/etc/init.d/rcS".to_owned()],
    };
    let mut files = Vec::new();
    match beside {
        true => lines.push(format!("::once:{INIT} --payload {PAYLOAD}")),
        false => files.push(text(STATUS, "0".to_owned())),
    }
    lines.push(format!("::restart:{INIT} --exit-as {STATUS}"));
    files.push(text(INITTAB, joined(&lines)));
    (files, vec![cover(INITTAB, "/etc/inittab", true)])
}

/// Scripts of sysv-rc and Debian's OpenRC that are the host's business: they
/// power off, take network interfaces down, set the clock, or make the file
/// systems read-only below the container, where they may.
const SKIPPED: &[&str] = &[
    "halt",
    "reboot",
    "umountfs",
    "umountroot",
    "checkroot.sh",
    "hwclock.sh",
    "udev",
    "kmod",
    "brightness",
];

/// SysV's inittab (inittab(5)). Such an init has no end, but `telinit u` makes
/// it execute `/sbin/init` anew: after the last script of runlevel 0 or 6, what
/// stands in for that exits with the status.
pub fn sysv(own: Option<&str>, beside: bool, init: &Path) -> (Vec<BootFile>, Vec<Cover>) {
    let mut lines: Vec<String> = match own {
        Some(own) => entries(own).filter(|line| kept(line, beside)).map(str::to_owned).collect(),
        None => {
            let levels =
                (0..=6).map(|level| format!("l{level}:{level}:wait:/etc/init.d/rc {level}"));
            ["si::sysinit:/etc/init.d/rcS".to_owned()].into_iter().chain(levels).collect()
        }
    };
    if !lines.iter().any(|line| field(line, 2) == "initdefault") {
        lines.insert(0, "id:2:initdefault:".to_owned());
    }
    let stop = format!("{} -t {PATIENCE} 0", init.display());
    lines.push(format!("rr01::ctrlaltdel:{stop}"));
    lines.push(format!("rr02::powerfail:{stop}"));
    let status = match beside {
        true => {
            lines.push(format!("rr03:12345:once:{INIT} --payload {PAYLOAD}"));
            ":"
        }
        false => "echo 0",
    };
    let end = format!("{status} >>{STATUS}; exec {} u", init.display());
    lines.push(format!("rr04:06:wait:/bin/sh -c \"{end}\""));
    let mut files = vec![
        text(INITTAB, joined(&lines)),
        script(STAND_IN, format!("#!{INIT} --stand-in\n")),
        text(MARK, String::new()),
    ];
    let mut covers = vec![
        Cover { source: init.to_owned(), place: PathBuf::from(REAL_INIT), make: true },
        Cover { source: PathBuf::from(STAND_IN), place: init.to_owned(), make: false },
        cover(INITTAB, "/etc/inittab", true),
        cover(MARK, IN_MEMORY, true),
    ];
    for name in SKIPPED {
        let path = format!("/run/richrun/skipped/{name}");
        covers.push(cover(&path, &format!("/etc/init.d/{name}"), false));
        files.push(script(&path, skipped(name)));
    }
    (files, covers)
}

/// Whether an entry of the image's stays: none that says how to end, and
/// beside a payload none that asks on its terminal.
fn kept(line: &str, beside: bool) -> bool {
    let program = field(line, 3).trim_start_matches('+').split_whitespace().next();
    let name = program.and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let asks = name.ends_with("getty") || name.ends_with("login");
    let ends = matches!(
        field(line, 2),
        "ctrlaltdel" | "powerwait" | "powerfail" | "powerfailnow" | "powerokwait"
    );
    !(ends || beside && asks)
}

/// A script that does nothing, with what dependencies are made of.
fn skipped(name: &str) -> String {
    format!(
        "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: {name}\n# Required-Start:\n\
         # Required-Stop:\n# Default-Start:\n# Default-Stop:\n\
         # Short-Description: Not in a container\n### END INIT INFO\nexit 0\n"
    )
}

/// The lines of an inittab that say something.
fn entries(inittab: &str) -> impl Iterator<Item = &str> {
    inittab.lines().filter(|line| {
        let line = line.trim_start();
        !line.is_empty() && !line.starts_with('#')
    })
}

/// One of an entry's four fields, counted from 0.
fn field(line: &str, at: usize) -> &str {
    line.splitn(4, ':').nth(at).unwrap_or_default().trim()
}

fn joined(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

fn text(path: &str, text: String) -> BootFile {
    BootFile { path: PathBuf::from(path), what: BootWhat::Text(text) }
}

fn script(path: &str, text: String) -> BootFile {
    BootFile { path: PathBuf::from(path), what: BootWhat::Script(text) }
}

fn cover(source: &str, place: &str, make: bool) -> Cover {
    Cover { source: PathBuf::from(source), place: PathBuf::from(place), make }
}
