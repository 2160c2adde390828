//! Which of the namespaces that a configuration lists are none of the container's own.

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType as Kind, Spec};
use rustix::io::Errno;

use crate::error::{Error, Result, Step};

/// The name of a kind below `/proc/PID/ns`.
pub fn proc_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Mount => "mnt",
        Kind::Cgroup => "cgroup",
        Kind::Uts => "uts",
        Kind::Ipc => "ipc",
        Kind::User => "user",
        Kind::Pid => "pid",
        Kind::Network => "net",
        Kind::Time => "time",
    }
}

/// What a namespace is, however it is named: device and inode of its file (namespaces(7)).
pub type Identity = (u64, u64);

/// The runtime's own namespace of a kind; none on a kernel without it.
///
/// # Errors
/// `/proc` cannot be read.
pub fn own(kind: Kind) -> Result<Option<Identity>> {
    let path = format!("/proc/self/ns/{}", proc_name(kind));
    match rustix::fs::stat(path.as_str()) {
        Ok(stat) => Ok(Some((stat.st_dev, stat.st_ino))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::os(format!("stat {path}"), errno)),
    }
}

/// Takes the namespaces out of the list that are the runtime's own, although a path names
/// them: a container that joins one has none of its own, and no rule may take it for one that
/// has. Whether there were any.
///
/// # Errors
/// What such a path leads to cannot be found out.
pub fn drop_inherited(spec: &mut Spec) -> Result<bool> {
    let listed = spec.linux().as_ref().and_then(|linux| linux.namespaces().clone());
    let Some(mut listed) = listed else { return Ok(false) };
    let count = listed.len();
    let mut failed = None;
    listed.retain(|namespace| match is_inherited(namespace) {
        Ok(inherited) => !inherited,
        Err(error) => {
            failed = Some(error);
            true
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    let changed = listed.len() != count;
    if let (true, Some(linux)) = (changed, spec.linux_mut()) {
        linux.set_namespaces(Some(listed));
    }
    Ok(changed)
}

fn is_inherited(namespace: &LinuxNamespace) -> Result<bool> {
    let path = namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty());
    let Some(path) = path else { return Ok(false) };
    match rustix::fs::stat(path) {
        Ok(stat) => Ok(own(namespace.typ())? == Some((stat.st_dev, stat.st_ino))),
        Err(errno) => Err(errno).step(|| format!("linux.namespaces: open {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_to_the_runtimes_own_is_no_namespace_of_the_containers() {
        let pid = std::process::id();
        let text = format!(
            r#"{{"ociVersion":"1.0.0","linux":{{"namespaces":[{{"type":"mount"}},
            {{"type":"network","path":"/proc/{pid}/ns/net"}},{{"type":"uts","path":"/proc/self/ns/ipc"}},
            {{"type":"ipc","path":"/proc/thread-self/ns/ipc"}},{{"type":"pid","path":""}}]}}}}"#
        );
        let mut spec: Spec = serde_json::from_str(&text).unwrap();
        assert!(drop_inherited(&mut spec).unwrap());
        let left = spec.linux().as_ref().unwrap().namespaces().as_ref().unwrap();
        let kinds: Vec<Kind> = left.iter().map(LinuxNamespace::typ).collect();
        assert_eq!(kinds, [Kind::Mount, Kind::Uts, Kind::Pid]);
        assert!(!drop_inherited(&mut spec).unwrap());
    }
}
