//! What `doctor` reads of the host; what it means is `plan::doctor`'s to say.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::engines;
use crate::cli::Global;
use crate::error::{Result, errno_text};
use crate::plan::cgroup::layout::{Layout, Mode};
use crate::plan::doctor::{Facts, Helper, Subordinate, UserNamespaces};
use crate::plan::kernel::{FEATURES, Feature, Probe, release};
use crate::sys::kernel::{has_call, try_user_namespace};

/// Reads everything.
///
/// # Errors
/// `/proc` cannot be read.
pub fn facts(global: &Global) -> Result<Facts> {
    let host = super::probe(global)?;
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let no_group = no_group(&host.cgroups, host.unprivileged);
    Ok(Facts {
        program: std::env::current_exe().map_or_else(
            |_| "/usr/local/bin/richrun".to_owned(),
            |path| path.to_string_lossy().into_owned(),
        ),
        uid: host.uid,
        unprivileged: host.unprivileged,
        absent: absent(&release),
        release,
        mode: host.cgroups.mode,
        controllers: controllers(&host.cgroups, host.unprivileged),
        no_group: no_group.map(errno_text),
        systemd: Path::new("/run/systemd/system").is_dir(),
        user_namespaces: user_namespaces(),
        subordinate: (host.uid != 0).then(|| subordinate(host.uid)),
        modules: words("/sys/kernel/security/lsm", ','),
        seccomp: Path::new("/proc/sys/kernel/seccomp").is_dir(),
        state: state(global),
        engines: engines::installed(),
    })
}

fn text(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn words(path: &str, between: char) -> Vec<String> {
    let text = text(path);
    let words = text.trim().split(between).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

/// The features that are not there; with whether the kernel itself was asked.
fn absent(found: &str) -> Vec<(&'static Feature, bool)> {
    let found = release(found);
    let lacks = |feature: &&Feature| match feature.probe {
        Probe::Calls(calls) => !calls.iter().all(|call| has_call(*call)),
        Probe::File(path) => !Path::new(path).exists(),
        Probe::Release => found.is_some_and(|found| found < feature.release()),
    };
    let absent = FEATURES.iter().filter(lacks);
    absent.map(|feature| (feature, feature.probe != Probe::Release)).collect()
}

/// The group below which containers' groups are made: the hierarchy's own top for the
/// superuser, else the one that this process is in.
fn parent(mount: &str, own: &str, unprivileged: bool) -> PathBuf {
    PathBuf::from(if unprivileged { own } else { mount })
}

fn controllers(layout: &Layout, unprivileged: bool) -> Vec<String> {
    if let (Mode::V2, Some(unified)) = (layout.mode, &layout.unified) {
        let parent = parent(&unified.mount, &unified.own, unprivileged);
        return words(&parent.join("cgroup.controllers").to_string_lossy(), ' ');
    }
    let names = layout.v1.iter().flat_map(|hierarchy| &hierarchy.controllers);
    // v1's name of what v2 calls io.
    let names = names.map(|name| if name == "blkio" { "io" } else { name.as_str() });
    names.map(str::to_owned).collect()
}

/// Why no group can be made, in the first hierarchy where it cannot.
fn no_group(layout: &Layout, unprivileged: bool) -> Option<Errno> {
    let hierarchies = match layout.mode {
        Mode::V2 => layout.unified.iter().collect::<Vec<_>>(),
        _ => layout.v1.iter().collect(),
    };
    hierarchies.iter().find_map(|hierarchy| {
        access(parent(&hierarchy.mount, &hierarchy.own, unprivileged), Access::WRITE_OK).err()
    })
}

fn user_namespaces() -> UserNamespaces {
    let is = |path: &str, value: &str| text(path).trim() == value;
    UserNamespaces {
        refused: try_user_namespace().err().map(errno_text),
        switched_off: is("/proc/sys/kernel/unprivileged_userns_clone", "0"),
        restricted: is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
        none_allowed: is("/proc/sys/user/max_user_namespaces", "0"),
    }
}

fn subordinate(uid: u32) -> Subordinate {
    let passwd = text("/etc/passwd");
    let named = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid.to_string()).then(|| name.to_owned())
    });
    let number = uid.to_string();
    let user = named.unwrap_or_else(|| number.clone());
    let given = |file: &str| -> u64 {
        let text = text(file);
        let lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let own = lines.filter(|line| [&user, &number].iter().any(|name| line[0] == **name));
        own.filter_map(|line| line.get(2)?.trim().parse::<u64>().ok()).sum()
    };
    let ids = [given("/etc/subuid"), given("/etc/subgid")];
    Subordinate { ids, helpers: ["newuidmap", "newgidmap"].map(helper), user }
}

/// A program for id maps: root's with the set-user-ID bit, or with capabilities of its own.
fn helper(name: &str) -> Helper {
    let Some(path) = engines::on_path(name) else { return Helper::Absent };
    let set_user_id = std::fs::metadata(&path)
        .is_ok_and(|found| found.uid() == 0 && found.permissions().mode() & 0o4000 != 0);
    let mut value = [0_u8; 64];
    let has_capabilities =
        rustix::fs::getxattr(&path, "security.capability", &mut value).is_ok_and(|size| size > 0);
    if set_user_id || has_capabilities { Helper::Works } else { Helper::Powerless }
}

/// The state directory, and what is wrong with it: it, or the nearest directory that is
/// there, must be this user's to write.
fn state(global: &Global) -> (String, Option<String>) {
    let root = global.root();
    let existing = root.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let wrong = match access(existing, Access::WRITE_OK | Access::EXEC_OK) {
        _ if !existing.is_dir() => Some("not a directory".to_owned()),
        Err(errno) => Some(errno_text(errno)),
        Ok(()) => None,
    };
    let wrong = wrong.map(|why| format!("{}: {why}", existing.display()));
    (root.display().to_string(), wrong)
}
