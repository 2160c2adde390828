//! What a container's first process sees of itself and around it: a line each,
//! what it is, a tab, and the value.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// System calls that do nothing when all arguments are 0.
pub const CALLS: [(&str, i64); 8] = [
    ("getppid", libc::SYS_getppid),
    ("sysinfo", libc::SYS_sysinfo),
    ("uname", libc::SYS_uname),
    ("sched_yield", libc::SYS_sched_yield),
    ("getpgid", libc::SYS_getpgid),
    ("clock_getres", libc::SYS_clock_getres),
    ("times", libc::SYS_times),
    ("chroot", libc::SYS_chroot),
];

/// Files whose text is shown.
const FILES: &[&str] = &[
    "/proc/self/uid_map",
    "/proc/self/gid_map",
    "/proc/self/setgroups",
    "/proc/self/oom_score_adj",
    "/proc/self/personality",
    "/proc/self/coredump_filter",
    "/proc/self/timerslack_ns",
    "/proc/self/timens_offsets",
    "/proc/self/limits",
    "/proc/self/cgroup",
    "/proc/self/attr/current",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/domainname",
    "/proc/sys/kernel/msgmax",
    "/proc/sys/kernel/shmmax",
    "/proc/sys/kernel/sem",
    "/proc/sys/kernel/shm_rmid_forced",
    "/proc/sys/fs/mqueue/msg_max",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv4/ping_group_range",
    "/proc/sys/net/ipv4/ip_unprivileged_port_start",
    "/proc/sys/net/core/somaxconn",
    "/sys/class/net/lo/flags",
];

/// Files of cgroups, below `/sys/fs/cgroup`.
const KNOBS: &[&str] = &[
    "memory/memory.limit_in_bytes",
    "memory/memory.soft_limit_in_bytes",
    "memory/memory.memsw.limit_in_bytes",
    "memory/memory.kmem.limit_in_bytes",
    "memory/memory.kmem.tcp.limit_in_bytes",
    "memory/memory.swappiness",
    "memory/memory.oom_control",
    "memory/memory.use_hierarchy",
    "cpu/cpu.shares",
    "cpu/cpu.cfs_quota_us",
    "cpu/cpu.cfs_period_us",
    "cpu/cpu.cfs_burst_us",
    "cpu/cpu.idle",
    "cpuset/cpuset.cpus",
    "cpuset/cpuset.mems",
    "cpuset/cpuset.cpu_exclusive",
    "pids/pids.max",
    "blkio/blkio.bfq.weight",
    "blkio/blkio.throttle.read_bps_device",
    "blkio/blkio.throttle.write_iops_device",
    "freezer/freezer.state",
    "devices/devices.list",
    "cgroup.type",
    "cgroup.max.depth",
    "cgroup.max.descendants",
    "cgroup.subtree_control",
    "cgroup.freeze",
];

/// Places that a configuration may change.
const PLACES: &[&str] = &[
    "/",
    "/proc",
    "/proc/keys",
    "/proc/bus",
    "/proc/sys",
    "/proc/sys/kernel/domainname",
    "/proc/timer_list",
    "/sys",
    "/sys/firmware",
    "/sys/fs/cgroup",
    "/tmp",
    "/etc",
    "/etc/passwd",
    "/etc/group",
    "/home",
    "/home/app",
    "/var/run",
    "/new",
    "/new/dir",
    "/m",
    "/m/0",
    "/m/1",
    "/m/2",
    "/m/3",
];

/// Prints everything; ends with the status asked for.
pub fn observe(status: &str) -> ! {
    show("pid 1", if std::process::id() == 1 { "yes" } else { "no" });
    own_status();
    numbers();
    environment();
    descriptors();
    links();
    for path in FILES {
        show(path, fs::read_to_string(path).unwrap_or_else(|error| word(&error)));
    }
    for name in KNOBS {
        if let Ok(text) = fs::read_to_string(Path::new("/sys/fs/cgroup").join(name)) {
            let mut lines: Vec<&str> = text.lines().collect();
            lines.sort_unstable();
            show(&format!("cgroup {name}"), lines.join("\n"));
        }
    }
    mounts();
    for path in PLACES {
        place(path);
    }
    devices(Path::new("/dev"));
    show("keyring", crate::sys::session_keyring());
    for (name, number) in CALLS {
        show(&format!("call {name}"), crate::sys::call(number).to_string());
    }
    show("whole", "yes");
    std::process::exit(status.parse().expect("an exit status"))
}

fn show(what: &str, value: impl AsRef<str>) {
    println!("{what}\t{}", value.as_ref().trim_end().replace('\n', "; ").replace('\t', " "));
}

fn word(error: &std::io::Error) -> String {
    format!("errno {}", error.raw_os_error().unwrap_or(0))
}

/// `/proc/self/status`, but for what differs between any two processes.
fn own_status() {
    const PASSING: [&str; 17] = [
        "Name",
        "State",
        "Tgid",
        "Ngid",
        "Pid",
        "PPid",
        "FDSize",
        "Vm",
        "Rss",
        "Hugetlb",
        "NStgid",
        "NSpid",
        "NSpgid",
        "NSsid",
        "SigQ",
        "voluntary",
        "nonvoluntary",
    ];
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for line in text.lines().filter(|line| !PASSING.iter().any(|word| line.starts_with(word))) {
        if let Some((name, value)) = line.split_once(':') {
            show(&format!("status {name}"), value.trim());
        }
    }
}

/// Session, terminal and scheduling of `/proc/self/stat` (proc(5): fields 6, 5, 7, 19, 41).
fn numbers() {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let (_, rest) = stat.rsplit_once(") ").unwrap_or_default();
    let field = |number: usize| rest.split(' ').nth(number - 3).unwrap_or_default().to_owned();
    let own = std::process::id().to_string();
    show("leads its session", if field(6) == own { "yes" } else { "no" });
    show("leads its group", if field(5) == own { "yes" } else { "no" });
    show("has a terminal", if field(7) == "0" { "no" } else { "yes" });
    show("nice", field(19));
    show("policy", field(41));
    show("io priority", crate::sys::io_priority().to_string());
}

fn environment() {
    let text = fs::read("/proc/self/environ").unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut list: Vec<&str> = text.split('\0').filter(|word| !word.is_empty()).collect();
    list.sort_unstable();
    show("environment", list.join(" "));
}

fn descriptors() {
    for number in 0..256 {
        if let Ok(target) = fs::read_link(format!("/proc/self/fd/{number}")) {
            let target = target.display().to_string();
            let kind = target.split(":[").next().unwrap_or_default();
            show(&format!("descriptor {number}"), kind);
        }
    }
}

fn links() {
    for name in ["cwd", "root"] {
        let target = fs::read_link(format!("/proc/self/{name}"));
        show(name, target.map_or_else(|error| word(&error), |path| path.display().to_string()));
    }
    for entry in fs::read_dir("/proc/self/ns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let target = fs::read_link(entry.path()).unwrap_or_default();
        show(&format!("namespace {name}"), target.display().to_string());
    }
}

/// The mount table; several at one place are numbered.
fn mounts() {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut seen: Vec<&str> = Vec::new();
    for line in text.lines() {
        let (left, right) = line.split_once(" - ").unwrap_or_default();
        let fields: Vec<&str> = left.split(' ').collect();
        let [_, _, _, root, point, options, shared @ ..] = &fields[..] else { continue };
        let count = seen.iter().filter(|other| *other == point).count();
        seen.push(point);
        let shared: Vec<&str> =
            shared.iter().map(|word| word.split(':').next().unwrap_or_default()).collect();
        let name =
            if count == 0 { format!("mount {point}") } else { format!("mount {point} #{count}") };
        show(&name, format!("{root} | {options} | {} | {right}", shared.join(" ")));
    }
}

/// What is there, whether it may be written to, and whether anything is in it.
fn place(path: &str) {
    let data = match fs::metadata(path) {
        Ok(data) => data,
        Err(error) => return show(&format!("place {path}"), word(&error)),
    };
    let writable = rustix::fs::access(path, rustix::fs::Access::WRITE_OK);
    let filled = match data.is_dir() {
        true => fs::read_dir(path).map(|mut list| list.next().is_some()),
        false => first_byte(path),
    };
    let filled =
        filled.map_or_else(|error| word(&error), |any| if any { "filled" } else { "empty" }.into());
    let writable = writable
        .map_or_else(|error| format!("errno {}", error.raw_os_error()), |()| "writable".into());
    show(&format!("place {path}"), format!("{} {filled} {writable}", kind(&data)));
}

fn first_byte(path: &str) -> std::io::Result<bool> {
    use std::io::Read;
    fs::File::open(path)?.read(&mut [0]).map(|length| length > 0)
}

fn kind(data: &fs::Metadata) -> String {
    let file = data.file_type();
    let kind = match () {
        () if file.is_dir() => "directory",
        () if file.is_char_device() => "character",
        () if file.is_block_device() => "block",
        () if file.is_fifo() => "fifo",
        () => "file",
    };
    let rights = data.mode() & 0o7777;
    format!("{kind} {rights:o} {}:{}", data.uid(), data.gid())
}

/// All below /dev, and whether devices can be opened.
fn devices(dir: &Path) {
    let mut names: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().collect();
    names.sort_by_key(fs::DirEntry::file_name);
    for entry in names {
        let path = entry.path();
        let name = format!("device {}", path.display());
        let Ok(data) = path.symlink_metadata() else { continue };
        if data.is_symlink() {
            show(&name, fs::read_link(&path).unwrap_or_default().display().to_string());
            continue;
        }
        let number = rustix::fs::major(data.rdev());
        let opens = match data.file_type().is_char_device() || data.file_type().is_block_device() {
            true => opens(&path),
            false => String::new(),
        };
        show(&name, format!("{} {number}:{} {opens}", kind(&data), rustix::fs::minor(data.rdev())));
        if data.is_dir() {
            devices(&path);
        }
    }
}

fn opens(path: &Path) -> String {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let way = |write: bool| {
        let file = fs::OpenOptions::new().read(!write).write(write).custom_flags(flags).open(path);
        file.map_or_else(|error| word(&error), |_| "opens".into())
    };
    format!("r {} w {}", way(false), way(true))
}
