//! Who a process is: ids, groups, capabilities, limits, labels. Shared by the
//! container's first process and by `exec`.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability, CapsHashSet};
use rustix::fs::{Access, AtFlags, CWD, FileType, Gid, OFlags, Uid};
use rustix::io::Errno;

use super::restrict::own_procfs;
use crate::error::{Error, Result, Step};
use crate::plan::process::{CapPlan, ProcessPlan, Rlimit, home_of, variable};
use crate::sys::process::CapSets;
use crate::sys::{inroot, process};

/// Sets the limits. Those that rise above the hard limit were raised by the
/// runtime, which may have the right to ([`raise_limits`]).
pub fn set_limits(limits: &[Rlimit]) -> Result<()> {
    for limit in limits {
        process::prlimit(0, limit.resource, limit.soft, limit.hard).step(|| limit_step(limit))?;
    }
    Ok(())
}

/// Runtime: raises the hard limits of process `pid` where more is asked for
/// than there is; a user namespace would take the right away.
pub fn raise_limits(pid: i32, limits: &[Rlimit]) -> Result<()> {
    for limit in limits {
        let (soft, hard) = process::limit_of(limit.resource).step(|| limit_step(limit))?;
        if limit.hard > hard {
            process::prlimit(pid, limit.resource, soft, limit.hard).step(|| limit_step(limit))?;
        }
    }
    Ok(())
}

fn limit_step(limit: &Rlimit) -> String {
    format!("process.rlimits: set {} to {}:{}", limit.name, limit.soft, limit.hard)
}

/// Enters the working directory; `None`: not allowed yet (EPERM, EACCES), to
/// be tried again as the user. With `make` a missing one is made.
pub fn enter_directory(path: &Path, make: bool) -> Result<Option<()>> {
    match rustix::process::chdir(path) {
        Ok(()) => Ok(Some(())),
        Err(Errno::PERM | Errno::ACCESS) => Ok(None),
        Err(Errno::NOENT) if make => {
            make_directory(path).step(|| format!("process.cwd: make {}", path.display()))?;
            rustix::process::chdir(path)
                .map(Some)
                .step(|| format!("process.cwd: chdir to {}", path.display()))
        }
        Err(errno) => Err(Error::os(format!("process.cwd: chdir to {}", path.display()), errno)),
    }
}

/// Nobody but its owner may write into it, though the umask is empty by now.
fn make_directory(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
}

/// The working directory must be inside the root: a descriptor of the host's
/// that leaked could have led outside (CVE-2024-21626).
pub fn check_directory() -> Result<()> {
    let cwd = rustix::process::getcwd(Vec::new())
        .step(|| "process.cwd: the working directory is outside the container")?;
    match cwd.as_bytes().first() {
        Some(b'/') => Ok(()),
        _ => Err(Error::system("process.cwd: the working directory is outside the container")),
    }
}

/// Becomes the user: groups, gid, uid. Capabilities are kept across it.
pub fn become_user(process: &ProcessPlan) -> Result<()> {
    let user = &process.user;
    rustix::thread::set_keep_capabilities(true).step(|| "keep capabilities")?;
    let groups: Vec<Gid> = user.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    match rustix::thread::set_thread_groups(&groups) {
        // A user namespace of an ordinary user's own making.
        Err(Errno::PERM) if groups.is_empty() && setgroups_denied()? => {}
        set => set.step(|| format!("process.user.additionalGids: setgroups {:?}", user.groups))?,
    }
    let gid = Gid::from_raw(user.gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid)
        .step(|| format!("process.user.gid: setresgid {}", user.gid))?;
    let uid = Uid::from_raw(user.uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid)
        .step(|| format!("process.user.uid: setresuid {}", user.uid))?;
    rustix::thread::set_keep_capabilities(false).step(|| "keep capabilities")
}

/// Whether this user namespace has given setgroups(2) up (user_namespaces(7)).
fn setgroups_denied() -> Result<bool> {
    let proc = own_procfs()?;
    let own = rustix::process::getpid().as_raw_nonzero();
    let path = PathBuf::from(own.to_string()).join("setgroups");
    let step = || "read /proc/self/setgroups";
    let file = inroot::open_exact(proc.as_fd(), &path, OFlags::RDONLY).step(step)?;
    let mut text = [0; 8];
    let count = rustix::io::read(&file, &mut text).step(step)?;
    Ok(text[..count].starts_with(b"deny"))
}

/// Drops what the bounding set does not have: while it is still allowed to. What it is to
/// have and is not there any more comes back.
pub fn bound_capabilities(caps: &CapPlan) -> Result<CapsHashSet> {
    let mut missing = CapsHashSet::new();
    for cap in caps::all() {
        if caps.bounding.contains(&cap) {
            if process::is_bounded(cap.index()) != Ok(true) {
                missing.insert(cap);
            }
            continue;
        }
        match process::drop_bounding(cap.index()) {
            // The kernel is older than the capability.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => {
                let step = format!("process.capabilities.bounding: drop {cap}");
                return Err(Error::os(step, errno));
            }
        }
    }
    Ok(missing)
}

/// Sets permitted, effective, inheritable and ambient exactly, but for what this process has
/// no right to: that warns (config.md, "capabilities"), with what is `missing` already.
pub fn set_capabilities(caps: &CapPlan, mut missing: CapsHashSet) -> Result<()> {
    let step = || "process.capabilities: capset";
    let asked = CapSets {
        effective: mask(&caps.effective),
        permitted: mask(&caps.permitted),
        inheritable: mask(&caps.inheritable),
    };
    let set = match process::set_capabilities(asked) {
        Err(Errno::PERM) => {
            let able = grantable(asked, process::capabilities().step(step)?, mask(&caps.bounding));
            process::set_capabilities(able).step(step)?;
            missing.extend(caps::all().into_iter().filter(|cap| {
                let bit = cap.bitmask();
                bit & (asked.all() ^ able.all()) != 0
                    || bit & (asked.effective ^ able.effective) != 0
            }));
            able
        }
        set => set.step(step).map(|()| asked)?,
    };
    if !missing.is_empty() {
        let names = names(&missing);
        crate::log::warn(format!("process.capabilities: {names} cannot be granted here"));
    }
    // Others cannot be ambient (capabilities(7)).
    let able = |cap: &Capability| cap.bitmask() & set.permitted & set.inheritable != 0;
    let (able, unable): (CapsHashSet, CapsHashSet) = caps.ambient.iter().partition(|cap| able(cap));
    if !unable.is_empty() {
        let names = names(&unable);
        crate::log::warn(format!(
            "process.capabilities.ambient: {names} cannot be raised: not both permitted and inheritable"
        ));
    }
    ambient(&able)
}

/// What of the `asked` sets a process with these sets may have (capset(2)).
fn grantable(asked: CapSets, own: CapSets, bounding: u64) -> CapSets {
    let permitted = asked.permitted & own.permitted;
    let inheritable =
        asked.inheritable & (own.inheritable | own.permitted) & (own.inheritable | bounding);
    CapSets { effective: asked.effective & permitted, permitted, inheritable }
}

/// What the kernel refuses of the ambient set only warns (as runc has it).
fn ambient(wanted: &CapsHashSet) -> Result<()> {
    match caps::clear(None, CapSet::Ambient) {
        Ok(()) => {}
        // Before Linux 4.3 there is no ambient set to clear.
        Err(_) if wanted.is_empty() => return Ok(()),
        Err(error) => crate::log::warn(format!("process.capabilities.ambient: {error}")),
    }
    for cap in sorted(wanted) {
        if let Err(error) = caps::raise(None, CapSet::Ambient, cap) {
            crate::log::warn(format!("process.capabilities.ambient: {cap}: {error}"));
        }
    }
    Ok(())
}

fn sorted(set: &CapsHashSet) -> Vec<Capability> {
    let mut all: Vec<Capability> = set.iter().copied().collect();
    all.sort_by_key(Capability::index);
    all
}

fn names(set: &CapsHashSet) -> String {
    sorted(set).iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn mask(set: &CapsHashSet) -> u64 {
    set.iter().fold(0, |mask, cap| mask | cap.bitmask())
}

/// `HOME` from the container's passwd where the environment has none.
pub fn complete_environment(env: &mut Vec<String>, uid: u32, root: BorrowedFd<'_>) {
    if variable(env, "HOME").is_some_and(|home| !home.is_empty()) {
        return;
    }
    env.retain(|entry| !entry.starts_with("HOME="));
    let passwd = read_passwd(root).unwrap_or_default();
    env.push(format!("HOME={}", home_of(&passwd, uid).unwrap_or("/")));
}

/// The container's passwd; a very long one is cut.
fn read_passwd(root: BorrowedFd<'_>) -> Option<String> {
    use std::io::Read;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = inroot::open(root, Path::new("/etc/passwd"), flags).ok()?;
    let stat = rustix::fs::fstat(&file).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let mut bytes = Vec::new();
    std::fs::File::from(file).take(1 << 20).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Finds the program that `args[0]` means, as execvp(3) would: by its path if
/// it has a slash, else along `PATH`. In the words that engines match on.
pub fn find_program(args: &[CString], env: &[String]) -> Result<CString> {
    let name = args.first().map(|arg| arg.as_bytes()).unwrap_or_default();
    let shown = String::from_utf8_lossy(name).into_owned();
    if name.contains(&b'/') {
        let path = Path::new(OsStr::from_bytes(name));
        return match executable(path) {
            Ok(()) => Ok(args[0].clone()),
            Err(Errno::NOENT) => {
                Err(Error::os(format!("exec: {shown:?}: stat {shown}"), Errno::NOENT))
            }
            // What execve(2) would say; engines know the status 126 by these words.
            Err(Errno::ISDIR) => {
                Err(Error::os(format!("exec: {shown:?}: is a directory"), Errno::ACCESS))
            }
            Err(errno) => Err(Error::os(format!("exec: {shown:?}"), errno)),
        };
    }
    let mut denied = None;
    let search = variable(env, "PATH").unwrap_or_default();
    for directory in search.split(':').filter(|_| !name.is_empty()) {
        let directory = if directory.is_empty() { "." } else { directory };
        let path = PathBuf::from(directory).join(OsStr::from_bytes(name));
        match executable(&path) {
            Ok(()) => {
                return crate::plan::process::c_string(&path.to_string_lossy(), "process.args");
            }
            Err(errno @ Errno::ACCESS) => denied = Some(errno),
            Err(_) => {}
        }
    }
    match denied {
        Some(errno) => Err(Error::os(format!("exec: {shown:?}"), errno)),
        None => Err(Error::system(format!("exec: {shown:?}: executable file not found in $PATH"))),
    }
}

/// Whether a path names a file that we may execute.
fn executable(path: &Path) -> std::result::Result<(), Errno> {
    let stat = rustix::fs::stat(path)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    // Root may execute anything that anybody may.
    if stat.st_mode & 0o111 == 0 {
        return Err(Errno::ACCESS);
    }
    match rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS) {
        // An old kernel without faccessat2: execve will say.
        Err(Errno::NOSYS | Errno::INVAL) => Ok(()),
        checked => checked,
    }
}

/// Sets the labels that the next execve takes on, through a procfs that
/// nobody else can have changed (CVE-2019-16884, CVE-2025-52881).
pub fn set_labels(plan: &ProcessPlan) -> Result<()> {
    if plan.apparmor.is_none() && plan.selinux.is_none() {
        return Ok(());
    }
    let proc = own_procfs()?;
    let own = rustix::process::getpid().as_raw_nonzero();
    let write = |file: &str, text: &str| -> std::result::Result<(), Errno> {
        let path = PathBuf::from(own.to_string()).join(file);
        let open = inroot::open_exact(proc.as_fd(), &path, OFlags::PATH)?;
        let open = inroot::reopen(open.as_fd(), OFlags::WRONLY)?;
        rustix::io::write(&open, text.as_bytes()).map(drop)
    };
    if let Some(profile) = &plan.apparmor {
        let step = || format!("process.apparmorProfile: apply {profile:?}");
        let text = format!("exec {profile}");
        match write("attr/apparmor/exec", &text) {
            Err(Errno::NOENT) => write("attr/exec", &text).step(step)?,
            written => written.step(step)?,
        }
    }
    if let Some(label) = &plan.selinux {
        write("attr/exec", label)
            .step(|| format!("process.selinuxLabel: write {label:?} to /proc/self/attr/exec"))?;
    }
    Ok(())
}
