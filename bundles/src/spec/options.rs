//! What a container is asked to be, and the words for it on a command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use caps::Capability;
use oci_spec::runtime::{Hooks, LinuxNamespaceType};

use super::{Identity, Ids};
use crate::error::{Error, Result};

/// What a container is asked to be. What is not said is the source's, else the usual.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The command and its arguments.
    pub args: Vec<String>,
    /// `KEY=VALUE`; a later word replaces an earlier one.
    pub env: Vec<String>,
    /// The directory.
    pub cwd: Option<String>,
    /// Who.
    pub user: Option<Identity>,
    /// The name of the host that is seen inside.
    pub hostname: Option<String>,
    /// A terminal.
    pub terminal: bool,
    /// Nobody may write to the root file system.
    pub readonly: bool,
    /// More mounts; they replace what the source has at their places.
    pub mounts: Vec<Bind>,
    /// The network namespace.
    pub network: Option<NetworkNamespace>,
    /// Namespaces that are joined; without a path: the host's.
    pub join: Vec<(LinuxNamespaceType, Option<PathBuf>)>,
    /// Bytes of memory.
    pub memory: Option<i64>,
    /// Processors.
    pub cpus: Option<f64>,
    /// Processes and threads.
    pub pids: Option<i64>,
    /// The control group.
    pub cgroup: Option<PathBuf>,
    /// Instead of the usual capabilities.
    pub capabilities: Option<Vec<Capability>>,
    /// No program gives more rights than its caller has.
    pub no_new_privileges: bool,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Hooks, instead of the source's.
    pub hooks: Option<Hooks>,
    /// An ordinary user's ids.
    pub rootless: Option<Ids>,
}

/// Which network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkNamespace {
    /// A new one.
    New,
    /// The host's.
    Host,
    /// One that is there.
    Path(PathBuf),
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// `bind`, `tmpfs`, ...
    pub kind: String,
    /// What.
    pub source: PathBuf,
    /// Where, inside.
    pub target: PathBuf,
    /// How.
    pub options: Vec<String>,
}

/// `HOST:CONTAINER[:OPTION,...]`; a relative HOST is below `cwd`.
///
/// # Errors
/// Anything else.
pub fn parse_volume(word: &str, cwd: &Path) -> Result<Bind> {
    let wrong = |why: &str| Error::usage(format!("volume {word:?}: {why} (HOST:CONTAINER[:ro])"));
    let parts: Vec<&str> = word.split(':').collect();
    let (source, target, rest) = match parts[..] {
        [source, target] => (source, target, ""),
        [source, target, rest] => (source, target, rest),
        _ => return Err(wrong("two or three parts are wanted")),
    };
    if source.is_empty() || !target.starts_with('/') {
        return Err(wrong("the place inside begins with /"));
    }
    let mut options = vec!["rbind".to_owned()];
    options.extend(rest.split(',').filter(|option| !option.is_empty()).map(str::to_owned));
    Ok(Bind { kind: "bind".into(), source: cwd.join(source), target: target.into(), options })
}

/// `type=bind,source=A,target=B[,ro][,OPTION...]`, as engines have it.
///
/// # Errors
/// Anything else.
pub fn parse_mount(word: &str, cwd: &Path) -> Result<Bind> {
    let wrong =
        |why: &str| Error::usage(format!("mount {word:?}: {why} (type=bind,source=A,target=B)"));
    let (mut kind, mut source, mut target, mut options) = (None, None, None, Vec::new());
    for part in word.split(',') {
        match part.split_once('=') {
            Some(("type", value)) => kind = Some(value),
            Some(("source" | "src", value)) => source = Some(value),
            Some(("target" | "dst" | "destination", value)) => target = Some(value),
            Some(("readonly" | "ro", "true")) | None
                if matches!(part.split('=').next(), Some("readonly" | "ro")) =>
            {
                options.push("ro".to_owned());
            }
            Some(("readonly" | "ro", "false")) => {}
            Some(("tmpfs-size", value)) => options.push(format!("size={value}")),
            Some(("tmpfs-mode", value)) => options.push(format!("mode={value}")),
            _ => options.push(part.to_owned()),
        }
    }
    let target = target.filter(|target| target.starts_with('/'));
    let target = target.ok_or_else(|| wrong("target=, which begins with /, is missing"))?;
    let kind = kind.unwrap_or("bind");
    let source = match (kind, source) {
        ("bind", None) => return Err(wrong("source= is missing")),
        ("bind", Some(source)) => cwd.join(source),
        (_, source) => source.unwrap_or(kind).into(),
    };
    if kind == "bind" && !options.iter().any(|option| option == "bind" || option == "rbind") {
        options.insert(0, "rbind".to_owned());
    }
    Ok(Bind { kind: kind.into(), source, target: target.into(), options })
}

/// Bytes: a number with b, k, m, g, Ki, Mi, Gi or nothing behind it; all are powers of 1024.
///
/// # Errors
/// Anything else.
pub fn memory_size(word: &str) -> Result<i64> {
    let wrong = || Error::usage(format!("size {word:?}: a number with b, k, m or g is wanted"));
    let digits = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
    let number: i64 = word[..digits].parse().map_err(|_| wrong())?;
    let factor = match word[digits..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "ki" | "kib" => 1 << 10,
        "m" | "mb" | "mi" | "mib" => 1 << 20,
        "g" | "gb" | "gi" | "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).filter(|size| *size > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes() {
        let found = parse_volume("data:/data:ro,nosuid", Path::new("/home")).expect("a volume");
        assert_eq!(found.source, Path::new("/home/data"));
        assert_eq!(found.options, ["rbind", "ro", "nosuid"]);
        for wrong in ["/a", "/a:b", ":/b", "/a:/b:ro:x"] {
            assert!(parse_volume(wrong, Path::new("/")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn mounts() {
        let parse = |word| parse_mount(word, Path::new("/"));
        let found = parse("type=bind,src=/a,dst=/b,ro,rslave").expect("a mount");
        assert_eq!(found.options, ["rbind", "ro", "rslave"]);
        let found = parse("type=tmpfs,target=/t,tmpfs-size=1m").expect("a mount");
        assert_eq!((found.source, found.options), ("tmpfs".into(), vec!["size=1m".to_owned()]));
        for wrong in ["", "type=bind,target=/b", "source=/a", "source=/a,target=b"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        for (word, size) in [("1", 1), ("2k", 2048), ("64m", 64 << 20), ("1Gi", 1 << 30)] {
            assert_eq!(memory_size(word).expect(word), size);
        }
        for wrong in ["", "m", "0", "1x", "-1", "9999999999999g"] {
            assert!(memory_size(wrong).is_err(), "{wrong}");
        }
    }
}
