//! A container whose PID 1 is the image's own init: what its configuration
//! becomes, and the files that the init finds, as data.
//!
//! systemd's container interface (systemd.io/CONTAINER_INTERFACE) says what it
//! looks for. The payload is a unit (or an inittab line) that is always the
//! same and starts rich-init, which reads the payload from a file: no text of
//! the user's is ever quoted for another program's syntax.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    LinuxIdMapping, LinuxNamespaceBuilder, LinuxNamespaceType as Kind, Process, Spec,
};

use super::cgroup::Mode;
use super::grant::{self, Lack};
use super::process::{CapPlan, ProcessPlan, variable};
use crate::config::rich::{RichConfig, RichMode};
use crate::error::{Error, Result};

/// Where the runtime's own files are in such a container.
pub const DIRECTORY: &str = "/run/richrun";
/// rich-init in it.
pub const INIT: &str = "/run/richrun/rich-init";
/// The payload in it.
const PAYLOAD: &str = "/run/richrun/payload";
/// The payload's exit status, for when the init does not pass it on.
const STATUS: &str = "/run/richrun/status";
/// The payload's unit.
const UNIT: &str = "richrun-payload.service";

/// SIGRTMIN+3: systemd halts (systemd(1), "Signals").
pub const SYSTEMD_STOP: i32 = 37;
/// Whose rules an init follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// systemd.
    Systemd,
    /// busybox's init.
    Busybox,
    /// SysV's init, whatever runs its scripts (sysv-rc, OpenRC).
    SysV,
}

impl Family {
    /// The signal that asks such an init to end.
    fn stop(self) -> i32 {
        match self {
            Family::Systemd => SYSTEMD_STOP,
            Family::Busybox => inittab::BUSYBOX_STOP,
            Family::SysV => inittab::SYSV_STOP,
        }
    }
}

/// The init of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundInit {
    /// Its path in the container.
    pub path: PathBuf,
    /// What it is.
    pub family: Family,
    /// The image's inittab, if it has one.
    pub inittab: Option<String>,
    /// Its version, if it is systemd and says so by the name of its library.
    pub version: Option<u32>,
}

/// What boots.
#[derive(Debug, Clone, PartialEq)]
pub struct BootPlan {
    /// Whose rules it follows.
    pub family: Family,
    /// The payload beside it; `None`: the init is the payload itself.
    pub payload: Option<ProcessPlan>,
    /// What the init finds, in order.
    pub files: Vec<BootFile>,
    /// What of the image's is covered, in order.
    pub covers: Vec<Cover>,
    /// What asks it to end.
    pub stop: i32,
}

/// Something in the container's `/run`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootFile {
    /// Its absolute path.
    pub path: PathBuf,
    /// What it is.
    pub what: BootWhat,
}

/// What a [`BootFile`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootWhat {
    /// A file with this text, for everybody to read.
    Text(String),
    /// The same, to be run.
    Script(String),
    /// A symbolic link to this.
    Link(String),
    /// A node that nobody can open: `S_IFMT` bits.
    Inaccessible(u32),
}

/// A file that is bound over another, which stays as it is below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cover {
    /// What is seen.
    pub source: PathBuf,
    /// What is not.
    pub place: PathBuf,
    /// Where nothing is, there is nothing to cover; or it is made.
    pub make: bool,
}

/// What the host adds.
#[derive(Debug, Clone, Default)]
pub struct BootHost {
    /// The text of the host's os-release.
    pub os_release: Option<String>,
}

/// At most so many supplementary groups has a payload beside an init.
pub const MAX_GROUPS: usize = 256;

/// Rewrites a configuration so that `init` is PID 1; what the configuration
/// names as process becomes the payload beside it.
///
/// # Errors
/// What the init would need and the configuration does not give, in Pouch's
/// words where Pouch has any.
pub fn boot(
    spec: &Spec,
    rich: &RichConfig,
    init: &FoundInit,
    id: &str,
    mode: Mode,
    host: &BootHost,
) -> Result<(Spec, BootPlan)> {
    let process = spec.process().as_ref().ok_or_else(|| Error::config("process: missing"))?;
    let mut payload = ProcessPlan::new(process)?;
    // It has nothing that its init does not have.
    payload.caps = grant::without_audit(payload.caps);
    check(spec, &payload, rich, init, mode)?;
    let groups = payload.user.groups.len();
    if groups > MAX_GROUPS {
        return Err(Error::config(format!(
            "process.user.additionalGids: {groups} groups, beside an init at most {MAX_GROUPS}"
        )));
    }
    let own = process.args().as_deref().unwrap_or_default();
    let beside = crate::config::rich::init_named(own).is_none();
    let uuid = uuid(id);
    let mut changed = spec.clone();
    changed.set_process(Some(first_process(
        process,
        &payload,
        (rich, init),
        beside,
        (&uuid, host),
    )));
    changed.set_mounts(Some(mounts::mounts(spec, rich, init.family, mode)?));
    if mode != Mode::None
        && let Some(linux) = changed.linux_mut()
    {
        let mut namespaces = linux.namespaces().clone().unwrap_or_default();
        if !namespaces.iter().any(|namespace| namespace.typ() == Kind::Cgroup) {
            let made = LinuxNamespaceBuilder::default().typ(Kind::Cgroup).build();
            namespaces.push(made.map_err(|error| Error::config(error.to_string()))?);
        }
        linux.set_namespaces(Some(namespaces));
    }
    let own = init.inittab.as_deref();
    let (files, covers) = match init.family {
        Family::Systemd => {
            (systemd::files(&payload, beside, init.version, (&uuid, host)), Vec::new())
        }
        Family::Busybox => inittab::busybox(own, beside),
        Family::SysV => inittab::sysv(own, beside, &init.path),
    };
    let (family, stop) = (init.family, init.family.stop());
    Ok((changed, BootPlan { family, payload: beside.then_some(payload), files, covers, stop }))
}

fn check(
    spec: &Spec,
    payload: &ProcessPlan,
    rich: &RichConfig,
    init: &FoundInit,
    mode: Mode,
) -> Result<()> {
    let linux = spec.linux().as_ref().ok_or_else(|| Error::config("linux: must be specified"))?;
    let namespaces = linux.namespaces().as_deref().unwrap_or_default();
    let new = |kind| namespaces.iter().any(|ns| ns.typ() == kind && ns.path().is_none());
    let mut missing = Vec::new();
    for (kind, name) in [(Kind::Pid, "pid"), (Kind::Mount, "mount")] {
        if !new(kind) {
            missing.push(Lack::of(format!("a new {name} namespace (linux.namespaces)")));
        }
    }
    if new(Kind::User) && !(maps_root(linux.uid_mappings()) && maps_root(linux.gid_mappings())) {
        let what = "user and group 0 in the user namespace (linux.uidMappings)";
        missing.push(Lack::of(what));
    }
    if init.family == Family::Systemd {
        missing.extend(systemd::version_lack(init.version, mode).map(Lack::of));
        missing.extend(grant::cgroup_lack(spec, rich, mode));
    }
    missing.extend(grant::run_lack(spec, rich));
    missing.extend(grant::identity_lacks(payload, rich));
    if missing.is_empty() {
        return Ok(());
    }
    let kind = if rich.mode == RichMode::Systemd { "systemd" } else { "sbin-init" };
    Err(Error::config(format!(
        "must using privileged mode when create {kind} rich container: missing {}",
        grant::refusal(&missing, rich)
    )))
}

fn maps_root(mappings: &Option<Vec<LinuxIdMapping>>) -> bool {
    mappings.iter().flatten().any(|mapping| mapping.container_id() == 0 && mapping.size() > 0)
}

/// The init as the configuration's process, in `/`; who it is, is [`grant`]'s to say.
fn first_process(
    process: &Process,
    payload: &ProcessPlan,
    (rich, init): (&RichConfig, &FoundInit),
    beside: bool,
    (uuid, host): (&str, &BootHost),
) -> Process {
    let given = process.args().clone().unwrap_or_default();
    let path = match init.family {
        // Its own name leads to what stands in for it.
        Family::SysV => Path::new(inittab::REAL_INIT),
        _ => &init.path,
    };
    let mut args = vec![path.to_string_lossy().into_owned()];
    if !beside {
        args.extend(given.into_iter().skip(1));
    }
    if init.family == Family::Systemd {
        // Its progress would stand between the payload's lines.
        args.push("--show-status=no".to_owned());
        if beside {
            args.push(format!("--unit={}", systemd::TARGET));
        }
    }
    let mut env = vec![
        format!("container={}", variable(&payload.env, "container").unwrap_or("richrun")),
        format!("container_uuid={uuid}"),
    ];
    // The last is where an engine has put the container's credentials.
    for name in ["PATH", "TERM", "LANG", "TZ", "CREDENTIALS_DIRECTORY"] {
        env.extend(variable(&payload.env, name).map(|value| format!("{name}={value}")));
    }
    env.extend(host.os_release.iter().flat_map(|release| host_variables(release)));
    let mut first = process.clone();
    first.set_args(Some(args)).set_env(Some(env)).set_cwd(PathBuf::from("/"));
    grant::init_process(&mut first, rich, init.family == Family::Systemd);
    first
}

/// What the container interface tells of the host, from its os-release(5).
fn host_variables(release: &str) -> Vec<String> {
    let field = |line: &str| {
        let (name, value) = line.trim().split_once('=')?;
        let name = match name {
            "ID" => "id",
            "VERSION_ID" => "version_id",
            "BUILD_ID" => "build_id",
            "VARIANT_ID" => "variant_id",
            _ => return None,
        };
        let value = value.trim_matches(|quote| quote == '"' || quote == '\'');
        (!value.is_empty()).then(|| format!("container_host_{name}={value}"))
    };
    release.lines().filter_map(field).collect()
}

/// A stable id of the machine that the container is: an engine's id is one
/// itself; of any other name, its 128-bit FNV-1a hash.
fn uuid(id: &str) -> String {
    let hex = id.len() >= 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digits = match hex {
        true => id[..32].to_ascii_lowercase(),
        false => {
            let (basis, prime) =
                (0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, 0x1_0000_0000_0000_0000_0000_013b);
            let step = |hash: u128, byte: u8| (hash ^ u128::from(byte)).wrapping_mul(prime);
            format!("{:032x}", id.bytes().fold(basis, step))
        }
    };
    let [a, b, c, d, e] =
        [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    format!("{a}-{b}-{c}-{d}-{e}")
}

/// The payload as rich-init reads it (init/src/payload_unit.rs); `env` is complete.
pub fn payload_file(payload: &ProcessPlan, env: &[String], family: Family) -> BootPayload {
    let signal = match family {
        // The unit's end is enough.
        Family::Systemd => 0,
        other => other.stop(),
    };
    let user = &payload.user;
    let groups: Vec<String> = user.groups.iter().map(u32::to_string).collect();
    let caps = masks(&payload.caps);
    let head = [
        "1".to_owned(),
        payload.cwd.to_string_lossy().into_owned(),
        user.uid.to_string(),
        user.gid.to_string(),
        groups.join(","),
        user.umask.map(|umask| format!("{umask:o}")).unwrap_or_default(),
        u8::from(payload.no_new_privs).to_string(),
        caps,
        STATUS.to_owned(),
        signal.to_string(),
        "0".to_owned(),
        payload.args.len().to_string(),
        env.len().to_string(),
    ];
    let mut bytes = Vec::new();
    let args = payload.args.iter().map(|arg| arg.as_bytes());
    let all = head.iter().map(String::as_bytes).chain(args).chain(env.iter().map(String::as_bytes));
    for text in all {
        bytes.extend_from_slice(text);
        bytes.push(0);
    }
    BootPayload { path: PathBuf::from(PAYLOAD), bytes }
}

/// The payload's file: it holds the environment, so nobody else reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootPayload {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub bytes: Vec<u8>,
}

fn masks(caps: &CapPlan) -> String {
    let sets = [&caps.bounding, &caps.effective, &caps.permitted, &caps.inheritable, &caps.ambient];
    let masks =
        sets.map(|set| format!("{:x}", set.iter().fold(0, |mask, cap| mask | cap.bitmask())));
    masks.join(",")
}

pub mod inittab;
mod mounts;
pub mod systemd;
#[cfg(test)]
mod tests;
