//! A container whose PID 1 is the image's own init: what its configuration
//! becomes, and the files that the init finds, as data.
//!
//! systemd's container interface (systemd.io/CONTAINER_INTERFACE) says what it
//! looks for. The payload is a unit (or an inittab line) that is always the
//! same and starts rich-init, which reads the payload from a file: no text of
//! the user's is ever quoted for another program's syntax.

use std::path::{Path, PathBuf};

use caps::{Capability, CapsHashSet};
use oci_spec::runtime::{
    LinuxIdMapping, LinuxNamespaceBuilder, LinuxNamespaceType as Kind, Mount, MountBuilder,
    Process, Spec, User,
};

use super::cgroup::Mode;
use super::process::{CapPlan, ProcessPlan, variable};
use super::rich::whole;
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

/// Capabilities without which an init cannot do its work: whose processes it
/// starts, ends and gives files to.
const NEEDED: &[Capability] = &[
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_KILL,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
];

/// At most so many supplementary groups has a payload beside an init.
pub const MAX_GROUPS: usize = 256;

/// What an init in a container must not have: there is one audit for all.
const NOT_TAKEN: &[Capability] =
    &[Capability::CAP_AUDIT_CONTROL, Capability::CAP_AUDIT_READ, Capability::CAP_AUDIT_WRITE];

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
    payload.caps = payload.caps.map(without_audit);
    check(spec, &payload, rich.mode, init.family, mode)?;
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
    changed.set_process(Some(first_process(process, &payload, init, beside, (&uuid, host))?));
    changed.set_mounts(Some(mounts(spec, init.family, mode)?));
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
        Family::Systemd => (systemd_files(&payload, beside, &uuid, host), Vec::new()),
        Family::Busybox => inittab::busybox(own, beside),
        Family::SysV => inittab::sysv(own, beside, &init.path),
    };
    let (family, stop) = (init.family, init.family.stop());
    Ok((changed, BootPlan { family, payload: beside.then_some(payload), files, covers, stop }))
}

fn check(
    spec: &Spec,
    payload: &ProcessPlan,
    asked: RichMode,
    family: Family,
    mode: Mode,
) -> Result<()> {
    let linux = spec.linux().as_ref().ok_or_else(|| Error::config("linux: must be specified"))?;
    let namespaces = linux.namespaces().as_deref().unwrap_or_default();
    let new = |kind| namespaces.iter().any(|ns| ns.typ() == kind && ns.path().is_none());
    let mut missing = Vec::new();
    for (kind, name) in [(Kind::Pid, "pid"), (Kind::Mount, "mount")] {
        if !new(kind) {
            missing.push(format!("a new {name} namespace (linux.namespaces)"));
        }
    }
    if new(Kind::User) && !(maps_root(linux.uid_mappings()) && maps_root(linux.gid_mappings())) {
        missing.push("user and group 0 in the user namespace (linux.uidMappings)".to_owned());
    }
    if mode == Mode::None && family == Family::Systemd {
        missing.push("control groups".to_owned());
    }
    if let Some(caps) = &payload.caps {
        let lacking = NEEDED.iter().filter(|cap| !caps.bounding.contains(*cap));
        let names: Vec<String> = lacking.map(ToString::to_string).collect();
        if !names.is_empty() {
            missing.push(format!("{} (process.capabilities.bounding)", names.join(" ")));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let kind = if asked == RichMode::Systemd { "systemd" } else { "sbin-init" };
    Err(Error::config(format!(
        "must using privileged mode when create {kind} rich container: missing {}",
        missing.join(", ")
    )))
}

fn without_audit(caps: CapPlan) -> CapPlan {
    let without = |set: CapsHashSet| -> CapsHashSet {
        set.into_iter().filter(|cap| !NOT_TAKEN.contains(cap)).collect()
    };
    CapPlan {
        bounding: without(caps.bounding),
        effective: without(caps.effective),
        permitted: without(caps.permitted),
        inheritable: without(caps.inheritable),
        ambient: without(caps.ambient),
    }
}

fn maps_root(mappings: &Option<Vec<LinuxIdMapping>>) -> bool {
    mappings.iter().flatten().any(|mapping| mapping.container_id() == 0 && mapping.size() > 0)
}

/// The init as the configuration's process: root, in `/`, with all that the
/// bounding set has but the audit.
fn first_process(
    process: &Process,
    payload: &ProcessPlan,
    init: &FoundInit,
    beside: bool,
    (uuid, host): (&str, &BootHost),
) -> Result<Process> {
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
    first.set_user(User::default());
    if init.family == Family::Systemd {
        // Its units have limits of their own.
        first.set_rlimits(None).set_oom_score_adj(None);
    }
    if let (Some(plan), Some(sets)) = (&payload.caps, process.capabilities()) {
        let mut sets = sets.clone();
        let names = whole(plan).bounding;
        let set = sets.bounding().as_ref().map(|all| {
            let kept = all.iter().filter(|name| {
                format!("CAP_{name}").parse().is_ok_and(|cap: Capability| names.contains(&cap))
            });
            kept.copied().collect::<std::collections::HashSet<_>>()
        });
        sets.set_bounding(set.clone()).set_effective(set.clone()).set_permitted(set);
        sets.set_inheritable(None).set_ambient(None);
        first.set_capabilities(Some(sets));
    }
    Ok(first)
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

/// The file systems of memory that systemd wants: place and permissions.
const MEMORY: &[(&str, &str)] = &[
    ("/run", "mode=755"),
    ("/run/lock", "mode=755"),
    ("/tmp", "mode=1777"),
    ("/var/log/journal", "mode=755"),
];

fn mounts(spec: &Spec, family: Family, mode: Mode) -> Result<Vec<Mount>> {
    let mut mounts: Vec<Mount> = spec.mounts().clone().unwrap_or_default();
    let memory = match family {
        Family::Systemd => MEMORY,
        // What others expect of /tmp and the journal is theirs to say.
        Family::Busybox | Family::SysV => &MEMORY[..1],
    };
    for (place, permissions) in memory {
        if !mounts.iter().any(|mount| mount.destination() == Path::new(place)) {
            let at = mounts.iter().position(|mount| {
                mount.destination().starts_with(place) && mount.destination() != Path::new(place)
            });
            let fresh = tmpfs(place, &["tmpcopyup", permissions])?;
            mounts.insert(at.unwrap_or(mounts.len()), fresh);
        }
    }
    mounts.push(tmpfs(DIRECTORY, &["mode=755"])?);
    cgroup_mount(&mut mounts, family, mode)?;
    for mount in mounts.iter_mut().filter(|mount| mount.typ().as_deref() == Some("sysfs")) {
        // Where /sys can be written to, systemd starts udevd.
        read_only(mount, true);
    }
    Ok(mounts)
}

/// The container's own groups, to be written to by its init: on v2 all of its
/// subtree, on v1 (see `cgroup_view`) the named hierarchy of systemd only.
fn cgroup_mount(mounts: &mut Vec<Mount>, family: Family, mode: Mode) -> Result<()> {
    let place = Path::new("/sys/fs/cgroup");
    let is_own = |mount: &&mut Mount| {
        mount.destination() == place
            && mount.typ().as_deref().is_some_and(|kind| kind.starts_with("cgroup"))
    };
    let writable = mode == Mode::V2 && family == Family::Systemd;
    match mounts.iter_mut().find(is_own) {
        Some(mount) if writable => read_only(mount, false),
        Some(_) => {}
        None if mode != Mode::None && family == Family::Systemd => {
            let access = if writable { "rw" } else { "ro" };
            let options = ["nosuid", "noexec", "nodev", "relatime", access].map(str::to_owned);
            mounts.push(mount_of("/sys/fs/cgroup", "cgroup", options.to_vec())?);
        }
        None => {}
    }
    Ok(())
}

fn read_only(mount: &mut Mount, yes: bool) {
    let mut options = mount.options().clone().unwrap_or_default();
    options.retain(|option| option != "ro" && option != "rw");
    options.push(if yes { "ro" } else { "rw" }.to_owned());
    mount.set_options(Some(options));
}

fn tmpfs(place: &str, options: &[&str]) -> Result<Mount> {
    let all = ["nosuid", "nodev"].iter().chain(options).map(|option| (*option).to_owned());
    mount_of(place, "tmpfs", all.collect())
}

fn mount_of(place: &str, kind: &str, options: Vec<String>) -> Result<Mount> {
    MountBuilder::default()
        .destination(place)
        .typ(kind)
        .source(kind)
        .options(options)
        .build()
        .map_err(|error| Error::config(error.to_string()))
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

/// Units that cannot work here: the hardware is the host's.
const HARDWARE: &[&str] =
    &["systemd-udevd.service", "systemd-udev-trigger.service", "systemd-modules-load.service"];
/// Units that ask on a terminal: it is the payload's.
const PROMPTS: &[&str] = &[
    "console-getty.service",
    "container-getty@.service",
    "getty@.service",
    "serial-getty@.service",
    "systemd-firstboot.service",
];

/// Ways to go down. While they are under way systemd takes no unit's exit
/// status for its own, so that each of them fetches the payload's.
const ENDS: &[(&str, &str)] = &[
    ("systemd-halt.service", STATUS),
    ("systemd-poweroff.service", STATUS),
    ("systemd-reboot.service", REBOOT),
];
/// What a reboot ends with, in a file as [`STATUS`]: as if the kernel had done
/// it, which needs CAP_SYS_BOOT (pid_namespaces(7): a death by SIGHUP).
const REBOOT: &str = "/run/richrun/reboot";
/// What an emergency comes to: an end, and no prompt that waits for ever.
const EMERGENCIES: &[&str] = &["emergency.service", "rescue.service"];
/// A unit whose end, whatever it is, ends the container with its exit status.
const END: &str = "[Unit]\nSuccessAction=exit-force\nFailureAction=exit-force\n";

fn systemd_files(
    payload: &ProcessPlan,
    beside: bool,
    uuid: &str,
    host: &BootHost,
) -> Vec<BootFile> {
    let units = "/run/systemd/system";
    let file = |path: String, what| BootFile { path: PathBuf::from(path), what };
    let text = |path: String, text: String| file(path, BootWhat::Text(text));
    let mut files = vec![
        text("/run/host/container-manager".to_owned(), "richrun\n".to_owned()),
        text("/run/host/container-uuid".to_owned(), format!("{uuid}\n")),
    ];
    if let Some(release) = &host.os_release {
        files.push(text("/run/host/os-release".to_owned(), release.clone()));
    }
    for (name, kind) in
        [("dir", 0o040_000), ("reg", 0o100_000), ("fifo", 0o010_000), ("sock", 0o140_000)]
    {
        files.push(file(format!("/run/host/inaccessible/{name}"), BootWhat::Inaccessible(kind)));
    }
    let masked = HARDWARE.iter().chain(if beside { PROMPTS } else { &[] });
    for unit in masked {
        files.push(file(format!("{units}/{unit}"), BootWhat::Link("/dev/null".to_owned())));
    }
    for unit in EMERGENCIES {
        files.push(text(format!("{units}/{unit}.d/richrun.conf"), END.to_owned()));
    }
    if beside {
        files.push(text(format!("{units}/{UNIT}"), unit(payload)));
        let wants = format!("{units}/default.target.wants/{UNIT}");
        files.push(file(wants, BootWhat::Link(format!("../{UNIT}"))));
        for (unit, status) in ENDS {
            let fetch =
                format!("{END}[Service]\nType=oneshot\nExecStart={INIT} --exit-as {status}\n");
            files.push(text(format!("{units}/{unit}.d/richrun.conf"), fetch));
        }
        files.push(text(REBOOT.to_owned(), "129".to_owned()));
        // Up to the end these files are needed.
        let kept = format!("{units}/run-richrun.mount.d/richrun.conf");
        files.push(text(kept, "[Unit]\nDefaultDependencies=no\n".to_owned()));
    }
    files
}

/// The payload's unit: only numbers of the configuration are in it, for what a
/// process cannot give itself.
fn unit(payload: &ProcessPlan) -> String {
    let mut text = format!(
        "# Written by richrun.\n\
         [Unit]\n\
         Description=Payload of this container\n\
         Documentation=man:rich-init(8)\n\
         SuccessAction=exit\n\
         FailureAction=exit\n\
         \n\
         [Service]\n\
         Type=exec\n\
         ExecStart={INIT} --payload {PAYLOAD}\n\
         KillMode=mixed\n\
         Delegate=yes\n\
         IgnoreSIGPIPE=no\n\
         TasksMax=infinity\n"
    );
    if let Some(score) = payload.oom_score_adj {
        text.push_str(&format!("OOMScoreAdjust={score}\n"));
    }
    for limit in &payload.rlimits {
        let name = limit.name.strip_prefix("RLIMIT_").unwrap_or(&limit.name);
        let value = |value: u64| match value {
            u64::MAX => "infinity".to_owned(),
            value => value.to_string(),
        };
        text.push_str(&format!("Limit{name}={}:{}\n", value(limit.soft), value(limit.hard)));
    }
    text
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
    let caps = payload.caps.as_ref().map(masks).unwrap_or_default();
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

mod inittab;
#[cfg(test)]
mod tests;
