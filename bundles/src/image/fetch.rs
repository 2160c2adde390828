//! From a reference to a record: what is missing is fetched by the program that knows how,
//! and unpacked with the rights that it takes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::FlockOperation;

use super::digest::Digest;
use super::layout::{self, Found};
use super::store::{Record, Store};
use super::unpack::remove;
use super::unpack::tree::Lost;
use super::userns;
use crate::error::{Error, Kind, Result};
use crate::source::Reference;

/// The beginning of a name that says which of podman's images it is, since their names move.
pub const ALIAS: &str = "containers-storage-id:";

/// How an image is got.
#[derive(Debug, Clone)]
pub struct Options {
    /// Ask the registry even where its image is there.
    pub always: bool,
    /// Whether a registry must show a certificate; `None`: unless it is on this machine.
    pub tls_verify: Option<bool>,
    /// `richctl`: it is started again in a user namespace by an ordinary user.
    pub program: PathBuf,
}

impl Default for Options {
    fn default() -> Options {
        Options { always: false, tls_verify: None, program: richctl() }
    }
}

/// This program where it is `richctl`, else the one beside it, else the one on the PATH.
fn richctl() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    if own.file_name().is_some_and(|name| name == "richctl") {
        return own;
    }
    let beside = own.with_file_name("richctl");
    if beside.is_file() { beside } else { "richctl".into() }
}

/// The image's record; its layers are unpacked where they were not.
///
/// # Errors
/// The image is not there, is broken or hostile; a program that is needed is missing.
pub fn ensure(store: &Store, reference: &Reference, options: &Options) -> Result<Record> {
    let name = reference.to_string();
    let lock = store.lock(FlockOperation::LockShared)?;
    let record = match reference {
        Reference::Podman(image) => {
            let id = format!("{ALIAS}{}", podman_id(image)?);
            if let Some(record) = store.find(&id)? {
                return Ok(record);
            }
            let fetched = Fetched::new(store);
            podman_save(image, fetched.path())?;
            let record = unpack(store, &fetched.reference(), &name, options)?;
            store.alias(record, id)?
        }
        Reference::Registry(image) => {
            if let Some(record) = store.find(&name)?.filter(|_| !options.always) {
                return Ok(record);
            }
            let fetched = Fetched::new(store);
            skopeo_copy(image, fetched.path(), options)?;
            unpack(store, &fetched.reference(), &name, options)?
        }
        local => unpack(store, local, &name, options)?,
    };
    drop(lock);
    Ok(record)
}

/// A directory in the store's scratch place, gone when it is dropped.
struct Fetched(PathBuf);

impl Fetched {
    fn new(store: &Store) -> Fetched {
        Fetched(store.scratch().join(format!("fetched-{}", std::process::id())))
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn reference(&self) -> Reference {
        Reference::Oci { dir: self.0.clone(), tag: None }
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        let _ = remove::at(&self.0);
    }
}

fn find(store: &Store, reference: &Reference) -> Result<Found> {
    let limits = store.limits();
    match reference {
        Reference::Oci { dir, tag } => layout::oci(layout::directory(dir)?, tag.as_deref(), limits),
        Reference::OciArchive { file, tag } => {
            let files = layout::archive(file, &store.scratch(), limits)?;
            layout::oci(files, tag.as_deref(), limits)
        }
        Reference::DockerArchive { file, tag } => {
            let files = layout::archive(file, &store.scratch(), limits)?;
            layout::docker(files, tag.as_deref(), limits)
        }
        Reference::Podman(_) | Reference::Registry(_) => {
            Err(Error::new(Kind::Refused, format!("image {reference}: it is to be fetched first")))
        }
    }
}

fn unpack(store: &Store, reference: &Reference, name: &str, options: &Options) -> Result<Record> {
    let within = |error: Error| Error::new(Kind::Refused, format!("{name}: {error}"));
    let found = find(store, reference).map_err(within)?;
    if let Some(record) = store.record(&found.id)
        && record.names.iter().any(|known| known == name)
    {
        return Ok(record);
    }
    if userns::is_root() {
        return unpack_here(store, &found, name).map_err(within);
    }
    let id = found.id.clone();
    let mut command = Command::new(&options.program);
    command.args(["image", "unpack", "--store"]).arg(store.dir());
    command.arg("--name").arg(name).arg("--").arg(reference.to_string());
    command.stderr(Stdio::inherit());
    let output = userns::output(command).map_err(within)?;
    if !output.status.success() {
        return Err(Error::new(
            Kind::Refused,
            format!("{name}: the image was not unpacked ({})", output.status),
        ));
    }
    store
        .record(&id)
        .ok_or_else(|| Error::new(Kind::Refused, format!("{name}: its record is missing")))
}

/// Unpacks an image where the process has the rights for it already: what an ordinary
/// user's `richctl` does once it is in its user namespace.
///
/// # Errors
/// As [`ensure`].
pub fn unpack_as_root(store: &Store, reference: &Reference, name: &str) -> Result<Record> {
    unpack_here(store, &find(store, reference)?, name)
}

fn unpack_here(store: &Store, found: &Found, name: &str) -> Result<Record> {
    let mut lost = Lost::default();
    let record = store.add(found, name, &mut lost)?;
    for (count, what, way) in [
        (
            lost.owners,
            "files belong to you and not to their owner",
            "add a line for you to /etc/subuid and /etc/subgid",
        ),
        (lost.devices, "devices are left out", "only the superuser can make them"),
        (lost.xattrs, "extended attributes are left out", "only the superuser can set them"),
    ] {
        if count > 0 {
            eprintln!("richctl: warning: {name}: {count} {what}; {way}");
        }
    }
    Ok(record)
}

fn run(program: &str, package: &str, what: &str, command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            Error::new(
                Kind::Refused,
                format!("{what}: {program} is not installed; install the package {package}"),
            )
        } else {
            Error::new(Kind::Refused, format!("{what}: run {program}: {error}"))
        }
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().lines().last().unwrap_or("it says nothing");
        let said = said.split_once("msg=").map_or(said, |(_, message)| message.trim_matches('"'));
        return Err(Error::new(Kind::Refused, format!("{what}: {program}: {said}")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn podman_id(image: &str) -> Result<String> {
    let mut command = Command::new("podman");
    command.args(["image", "inspect", "--format", "{{.Id}}", "--", image]);
    let what = format!("containers-storage:{image}");
    let id = run("podman", "podman", &what, &mut command)?;
    Digest::parse(&format!("sha256:{id}")).map(|digest| digest.hex().to_owned())
}

/// Its store's directories may be another namespace's, and go when the image is removed:
/// the image is copied once.
fn podman_save(image: &str, into: &Path) -> Result<()> {
    let mut command = Command::new("podman");
    command.args(["image", "save", "--quiet", "--format", "oci-dir", "--output"]).arg(into);
    command.arg("--").arg(image);
    run("podman", "podman", &format!("containers-storage:{image}"), &mut command).map(drop)
}

fn skopeo_copy(image: &str, into: &Path, options: &Options) -> Result<()> {
    let mut command = Command::new("skopeo");
    command.arg("copy");
    let verify = options.tls_verify.unwrap_or(!is_loopback(image));
    command.arg(format!("--src-tls-verify={verify}"));
    let mut target = std::ffi::OsString::from("oci:");
    target.push(into);
    target.push(":image");
    command.arg(format!("docker://{image}")).arg(target);
    if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        // Its own progress, of each layer.
        command.stdout(std::io::stderr()).stderr(Stdio::inherit());
    }
    run("skopeo", "skopeo", &format!("docker://{image}"), &mut command).map(drop)
}

/// A registry on this machine, which rarely has a certificate.
fn is_loopback(image: &str) -> bool {
    let host = image.split('/').next().unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name == "[::1]" || name.starts_with("127.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback() {
        for image in ["localhost/x", "localhost:5000/x:1", "127.0.0.1:5000/x", "[::1]:5000/x"] {
            assert!(is_loopback(image), "{image}");
        }
        for image in ["docker.io/library/busybox", "localhost.example.org/x", "quay.io:443/127.1"] {
            assert!(!is_loopback(image), "{image}");
        }
    }
}
