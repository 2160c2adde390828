//! What a trial must not leave behind: processes, cgroups, mounts, state.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::runtime::Kind;
use crate::sys;

/// Where hybrid hosts mount cgroup2.
const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// The mount points of this process's mount namespace, with their ids.
pub fn mounts() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let id = words.next()?;
            Some(format!("{id} {}", words.nth(3)?))
        })
        .collect()
}

/// Every pid of this pid namespace except the first and the caller's.
pub fn processes() -> Vec<(i32, String)> {
    let own = std::process::id() as i32;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if pid != 1 && pid != own {
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            found.push((pid, stat.split(' ').take(4).collect::<Vec<_>>().join(" ")));
        }
    }
    found
}

/// Every cgroup directory whose name holds `id`, children before parents.
pub fn cgroups(id: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), id, false, &mut found);
    found
}

fn walk(dir: &Path, id: &str, inside: bool, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let inside = inside || entry.file_name().to_string_lossy().contains(id);
            walk(&entry.path(), id, inside, found);
            if inside {
                found.push(entry.path());
            }
        }
    }
}

/// Waits for `probe` to find nothing.
fn settle<T: std::fmt::Debug>(what: &str, probe: impl Fn() -> Vec<T>) -> Result<(), String> {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let left = probe();
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!("left behind: {what}: {left:?}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Checks that nothing of the trial `id` is left that was not there `before`: mounts, processes.
pub fn check(
    kind: Kind,
    id: &str,
    root: &Path,
    (mounts_before, processes_before): (&BTreeSet<String>, &BTreeSet<i32>),
) -> Result<(), String> {
    let stays = |(pid, _): &(i32, String)| processes_before.contains(pid);
    settle("processes", || processes().into_iter().filter(|one| !stays(one)).collect())?;
    // crun 1.8 forgets the directory it makes under "unified" on a hybrid host.
    let forgotten = |path: &PathBuf| kind == Kind::Crun && path.starts_with(UNIFIED);
    settle("cgroups", || {
        cgroups(id).into_iter().filter(|path| !forgotten(path)).collect::<Vec<_>>()
    })?;
    settle("mounts", || mounts().difference(mounts_before).cloned().collect())?;
    settle("state", || state(root))
}

/// Entries of the runtime's root directory, except lock files and the like,
/// whose names start with a dot.
pub fn state(root: &Path) -> Vec<String> {
    fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect()
}

/// Called by the trial's pid 1 at its end: thaws, kills and removes whatever is left.
pub fn sweep(id: &str) {
    let groups = cgroups(id);
    for group in &groups {
        let _ = fs::write(group.join("cgroup.freeze"), "0");
        let _ = fs::write(group.join("freezer.state"), "THAWED");
    }
    sys::kill(-1, libc::SIGKILL);
    while sys::wait_any().is_some() {}
    remove_groups(id);
}

/// Removes the trial's cgroups, once their processes are gone.
pub fn remove_groups(id: &str) {
    for _ in 0..1000 {
        let groups = cgroups(id);
        if groups.is_empty() {
            break;
        }
        for group in groups {
            // What crun makes where a hybrid host's cgroup2 tree is not mounted are plain files.
            let plain =
                group.starts_with(UNIFIED) && !Path::new(UNIFIED).join("cgroup.procs").exists();
            let _ = if plain { fs::remove_dir_all(group) } else { fs::remove_dir(group) };
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
