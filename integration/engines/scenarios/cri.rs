//! Kubernetes' way: pods of containerd's CRI plugin, the runtime chosen by its handler.

use richrun_engines::cri::{Cri, Pod, Wish};
use richrun_engines::{Verdict, ensure, image, within, world};

use crate::containerd::NEEDS;
use crate::{CriScenario, Scenario};

const fn scenario(name: &'static str, run: fn(&Cri<'_>) -> Verdict) -> CriScenario {
    Scenario { name, controllers: NEEDS, not_in: None, only_v2: false, systemd: false, run }
}

pub const CRI: &[CriScenario] =
    &[scenario("life", life), scenario("stop_kills_in_the_end", stop_kills_in_the_end)];

pub const RICH: &[CriScenario] = &[
    scenario("rich::by_annotation", by_annotation),
    scenario("rich::init_script", init_script),
    scenario("rich::holder_stays_plain", holder_stays_plain),
    scenario("systemd::life", systemd).boots(),
];

const RICH_POD: (&str, &str) = ("io.richrun.rich", "true");

/// A pod of the small image whose payload ends with 3 when TERM comes.
const OBEDIENT: Wish<'static> = Wish {
    annotations: &[],
    image: image::NAME,
    command: &["sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done"],
    shares_pids: false,
};

/// Waits for the payload's word.
fn ready(pod: &Pod<'_>) -> Verdict {
    within("the payload", || pod.log().ok().filter(|log| log.contains("ready"))).map(drop)
}

fn first_is(pod: &Pod<'_>, name: &str) -> Verdict {
    let first = pod.exec(&["cat", "/proc/1/comm"])?;
    ensure(first.1.trim() == name, || format!("PID 1: {name} expected, {first:?} found"))
}

fn stops(pod: &Pod<'_>) -> Verdict {
    let code = pod.stop(40)?;
    ensure(code == 3, || format!("exit code 3 expected, {code} got"))
}

fn life(cri: &Cri<'_>) -> Verdict {
    let pod = cri.pod("life", OBEDIENT)?;
    ready(&pod)?;
    first_is(&pod, if cri.handler == world::RICH_NAME { "rich-init" } else { "sh" })?;
    let joined = pod.exec(&["sh", "-c", "echo inside; exit 9"])?;
    ensure(joined == (9, "inside\n".to_owned()), || format!("exec: {joined:?}"))?;
    stops(&pod)
}

fn stop_kills_in_the_end(cri: &Cri<'_>) -> Verdict {
    let command = &["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"];
    let pod = cri.pod("stubborn", Wish { command, ..OBEDIENT })?;
    ready(&pod)?;
    let code = pod.stop(1)?;
    ensure(code == 137, || format!("exit code 137 expected, {code} got"))
}

fn by_annotation(cri: &Cri<'_>) -> Verdict {
    let pod = cri.pod("rich", Wish { annotations: &[RICH_POD], ..OBEDIENT })?;
    ready(&pod)?;
    first_is(&pod, "rich-init")?;
    stops(&pod)
}

fn init_script(cri: &Cri<'_>) -> Verdict {
    let annotations = &[RICH_POD, ("io.richrun.initcmd", "echo first, >/tmp/order")];
    let pod = cri.pod("script", Wish { annotations, ..OBEDIENT })?;
    ready(&pod)?;
    let order = pod.exec(&["cat", "/tmp/order"])?;
    ensure(order.1 == "first,\n", || format!("{order:?}"))
}

/// The container of the pod's namespaces gets no init, though everything asks for one.
fn holder_stays_plain(cri: &Cri<'_>) -> Verdict {
    let cri = Cri { handler: world::RICH_NAME, ..*cri };
    let annotations = &[RICH_POD];
    let pod = cri.pod("shared", Wish { annotations, shares_pids: true, ..OBEDIENT })?;
    ready(&pod)?;
    first_is(&pod, "sleep")?;
    stops(&pod)
}

/// A whole system as a pod's container.
fn systemd(cri: &Cri<'_>) -> Verdict {
    let annotations = &[RICH_POD, ("io.richrun.mode", "systemd")];
    let pod = cri.pod("boot", Wish { annotations, image: image::SYSTEMD, ..OBEDIENT })?;
    ready(&pod)?;
    first_is(&pod, "systemd")?;
    let unit = pod.exec(&["systemctl", "is-active", "richrun-payload"])?;
    ensure(unit == (0, "active\n".to_owned()), || format!("{unit:?}"))?;
    stops(&pod)
}
