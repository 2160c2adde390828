//! Pods, as a kubelet asks a machine's containerd for them, with its cgroup driver systemd.

use std::path::PathBuf;

use richrun_engines::cri::{Cri, Message, OBEDIENT, Pod, Site, Wish};
use richrun_engines::machine::{Machine, Who};
use richrun_engines::sandbox::Sandbox;
use richrun_engines::view::View;
use richrun_engines::{Verdict, ensure, within};

/// Where a machine's containerd writes the pods' logs.
const LOGS: &str = "/run/pod-logs";

/// The slice of the pods, as a kubelet names it; systemd makes it and those above.
const SLICE: &str = "kubepods-besteffort-podtrial.slice";

/// A machine's containerd, and the runtime of its pods.
pub struct Pods<'a> {
    sandbox: &'a Sandbox,
    machine: &'a Machine,
    runtime: &'a str,
    site: Site,
}

impl<'a> Pods<'a> {
    /// Sees to it that containerd runs, with these images.
    pub fn new(
        sandbox: &'a Sandbox,
        machine: &'a Machine,
        runtime: &'a str,
        images: &[PathBuf],
    ) -> Result<Self, String> {
        let files = machine.files(sandbox)?;
        let site = Site {
            socket: files.join("run/containerd/containerd.sock"),
            logs: LOGS.into(),
            logs_seen: files.join(LOGS.trim_start_matches('/')),
            parent: SLICE.to_owned(),
        };
        let pods = Self { sandbox, machine, runtime, site };
        pods.tell("start", "systemctl start containerd")?;
        pods.site.is_up(sandbox)?;
        for image in images {
            let name = image.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // Imported once.
            let mark = format!("/run/{name}");
            let import = format!("ctr -n k8s.io image import /srv/share/{name} && touch {mark}");
            pods.tell("import", &format!("[ -e {mark} ] || {{ {import}; }}"))?;
        }
        Ok(pods)
    }

    fn cri(&self) -> Cri<'_> {
        Cri { sandbox: self.sandbox, site: &self.site, handler: self.runtime }
    }

    /// What a command prints in the machine.
    fn tell(&self, what: &str, command: &str) -> Result<String, String> {
        let script = format!("set -eu\n{command}\n");
        let said = self.machine.script(self.sandbox, Who::Root, &script, &["pods", what])?;
        Ok(said.trim().to_owned())
    }

    /// The folder of the container's group, which is a scope's in the pod's slice.
    fn group(&self, pod: &Pod<'_>) -> Result<String, String> {
        let scope = format!("cri-containerd-{}.scope", pod.container());
        let group = format!("systemctl show -p ControlGroup --value {scope}");
        let group = self.tell("group", &group)?;
        ensure(group.ends_with(&format!("/{SLICE}/{scope}")), || {
            format!("{scope} in {SLICE} expected, {group:?} found")
        })?;
        Ok(format!("/sys/fs/cgroup{group}"))
    }
}

/// Waits for the payload's word.
fn ready(pod: &Pod<'_>) -> Verdict {
    within("the payload", || pod.log().ok().filter(|log| log.contains("ready"))).map(drop)
}

fn stops(pod: &Pod<'_>) -> Verdict {
    let code = pod.stop(40)?;
    ensure(code == 3, || format!("exit code 3 expected, {code} got"))
}

/// A pod from start to end: scope and slice, exec, stats; nothing of it is left.
pub fn life(pods: &Pods<'_>) -> Verdict {
    let cri = pods.cri();
    let pod = cri.pod("life", OBEDIENT)?;
    ready(&pod)?;
    let inside = pod.exec(&["sh", "-c", "echo inside; exit 9"])?;
    ensure(inside == (9, "inside\n".to_owned()), || format!("exec: {inside:?}"))?;
    let group = pods.group(&pod)?;
    // crun puts them into a group below.
    let procs = format!("find {group} -name cgroup.procs -exec cat {{}} +");
    let procs = pods.tell("procs", &procs)?;
    ensure(!procs.is_empty(), || format!("nobody is in {group}"))?;
    pod.has_stats()?;
    stops(&pod)?;
    drop(pod);
    let left = "systemctl list-units --all --no-legend 'cri-containerd-*'";
    within("no scope is left", || pods.tell("left", left).ok().filter(String::is_empty))?;
    Ok(())
}

/// containerd restarts while a pod lives, and finds it again.
pub fn restart(pods: &Pods<'_>) -> Verdict {
    let cri = pods.cri();
    let pod = cri.pod("restart", OBEDIENT)?;
    ready(&pod)?;
    let lock = "exec 9>/run/docker-use; flock -x 9";
    pods.tell("restart", &format!("{lock}; systemctl restart containerd"))?;
    pods.site.is_up(pods.sandbox)?;
    let inside = within("it is found again", || pod.exec(&["echo", "inside"]).ok())?;
    ensure(inside == (0, "inside\n".to_owned()), || format!("exec: {inside:?}"))?;
    stops(&pod)
}

/// Limits change in place; what cannot be set leaves what there was.
pub fn update(pods: &Pods<'_>) -> Verdict {
    let cri = pods.cri();
    let pod = cri.pod("update", OBEDIENT)?;
    ready(&pod)?;
    let group = pods.group(&pod)?;
    let knobs = [
        ("hugetlb", "hugetlb.2MB.max", "4194304"),
        ("memory", "memory.max", "209715200"),
        ("cpu", "cpu.max", "50000 100000"),
    ];
    let knobs: Vec<_> = knobs.iter().filter(|(of, ..)| View::V2.has(of)).collect();
    let pairs: Vec<_> = knobs.iter().map(|(_, name, value)| (*name, *value)).collect();
    pod.update(&pairs)?;
    let holds = || {
        pairs.iter().try_for_each(|(name, value)| {
            let found = pods.tell("knob", &format!("cat {group}/{name}"))?;
            ensure(found == *value, || format!("{name}: {value} expected, {found} found"))
        })
    };
    holds()?;
    ensure(pod.update(&[("no.such.knob", "1")]).is_err(), || "an unknown knob is taken".into())?;
    holds()?;
    pods.tell("reload", "systemctl daemon-reload")?;
    holds()?;
    stops(&pod)
}

/// What containerd takes from `features`: mounts for reading only all the way down, and users
/// of the pod's own, which it asks for only where the runtime says that it can.
pub fn features(pods: &Pods<'_>) -> Verdict {
    let cri = pods.cri();
    let status = cri.call("Status", &Message::default())?;
    let handlers = status.parts(3);
    let own = handlers.iter().find(|handler| handler.string(1) == pods.runtime);
    let features = own.ok_or_else(|| format!("no handler {}", pods.runtime))?.part(2);
    let told = (features.value(1), features.value(2));
    ensure(told == (1, 1), || format!("read-only mounts and users: {told:?}"))?;

    pods.tell("mounts", "mkdir -p /run/frozen/below; mountpoint -q /run/frozen/below || mount -t tmpfs below /run/frozen/below")?;
    let pod = cri.pod("frozen", Wish { frozen: Some("/run/frozen"), ..OBEDIENT })?;
    ready(&pod)?;
    let written = pod.exec(&["sh", "-c", "touch /run/frozen/x /run/frozen/below/x 2>/dev/null"])?;
    let seen = pods.tell("seen", "find /run/frozen -name x")?;
    ensure(written.0 != 0 && seen.is_empty(), || format!("written: {written:?} {seen}"))?;
    drop(pod);

    let pod = cri.pod("users", Wish { users: Some(500_000_000), ..OBEDIENT })?;
    ready(&pod)?;
    let map = pod.exec(&["cat", "/proc/self/uid_map"])?.1;
    let map: Vec<&str> = map.split_whitespace().collect();
    ensure(map == ["0", "500000000", "65536"], || format!("{map:?}"))?;
    let owner = pod.exec(&["stat", "-c", "%u", "/srv/index.html"])?.1;
    ensure(owner.trim() == "0", || format!("the image's files are {owner:?}'s"))?;
    stops(&pod)
}
