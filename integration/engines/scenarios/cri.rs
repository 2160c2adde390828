//! Kubernetes' way: pods of containerd's CRI plugin, the runtime chosen by its handler.

use richrun_engines::cri::{Cri, OBEDIENT, Pod, Wish};
use richrun_engines::runtimes;
use richrun_engines::system::System;
use richrun_engines::{Verdict, ensure, within};

use crate::containerd::NEEDS;
use crate::{CriScenario, Scenario};

const fn scenario(name: &'static str, run: fn(&Cri<'_>) -> Verdict) -> CriScenario {
    Scenario::new(name, run).needs(NEEDS)
}

pub const CRI: &[CriScenario] =
    &[scenario("life", life), scenario("stop_kills_in_the_end", stop_kills_in_the_end)];

pub const RICH: &[CriScenario] = &[
    scenario("rich::by_annotation", by_annotation),
    scenario("rich::init_script", init_script),
    scenario("rich::holder_stays_plain", holder_stays_plain),
    scenario("rich::by_variable", by_variable),
    scenario("rich::by_settings", by_settings),
    scenario("rich::services", services),
    scenario("systemd::life", systemd).boots(),
    scenario("sysv::life", sysv).boots_with(System::SysV).in_one_view(),
    scenario("sysv::is_the_command", is_the_command).boots_with(System::SysV).in_one_view(),
    scenario("openrc::life", openrc).boots_with(System::OpenRc).in_one_view(),
];

const RICH_POD: (&str, &str) = ("io.richrun.rich", "true");

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
    first_is(&pod, if cri.handler == runtimes::RICH_NAME { "rich-init" } else { "sh" })?;
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
    let cri = Cri { handler: runtimes::RICH_NAME, ..*cri };
    let annotations = &[RICH_POD];
    let pod = cri.pod("shared", Wish { annotations, shares_pids: true, ..OBEDIENT })?;
    ready(&pod)?;
    first_is(&pod, "sleep")?;
    stops(&pod)
}

fn by_variable(cri: &Cri<'_>) -> Verdict {
    let environment = &[("rich_mode", "true")];
    let pod = cri.pod("variable", Wish { environment, ..OBEDIENT })?;
    ready(&pod)?;
    first_is(&pod, "rich-init")?;
    let seen = pod.exec(&["env"])?;
    ensure(!seen.1.contains("rich_mode"), || format!("{seen:?}"))
}

fn by_settings(cri: &Cri<'_>) -> Verdict {
    let cri = Cri { handler: "richrun-configured", ..*cri };
    let pod = cri.pod("settings", OBEDIENT)?;
    ready(&pod)?;
    first_is(&pod, "rich-init")?;
    let order = pod.exec(&["cat", "/tmp/order"])?;
    ensure(order.1 == "by file\n", || format!("{order:?}"))?;
    let annotations = &[("io.richrun.rich", "false")];
    let pod = cri.pod("plain", Wish { annotations, ..OBEDIENT })?;
    ready(&pod)?;
    first_is(&pod, "sh")
}

/// A file of the image, or the document itself; the payload waits for what says when it is up.
fn services(cri: &Cri<'_>) -> Verdict {
    let document = r#"{"service": {"web": {"command": "echo up >/tmp/web; sleep 1000",
        "readiness": {"exec": {"command": ["test", "-e", "/tmp/web"]}}}}}"#;
    for (name, asked) in [("file", "/srv/services.json"), ("document", document)] {
        let annotations = &[RICH_POD, ("io.richrun.services", asked)];
        let pod = cri.pod(name, Wish { annotations, ..OBEDIENT })?;
        ready(&pod)?;
        first_is(&pod, "rich-init")?;
        let up = pod.exec(&["cat", "/tmp/web"])?;
        ensure(up == (0, "up\n".to_owned()), || format!("{name}: {up:?}"))?;
        stops(&pod)?;
    }
    Ok(())
}

/// A whole system as a pod's container, which ends as its payload does.
fn life_of(cri: &Cri<'_>, system: System, ask: &[&str], answer: &str) -> Verdict {
    let annotations = &[RICH_POD, ("io.richrun.mode", system.mode())];
    let pod = cri.pod(system.name(), Wish { annotations, image: system.image(), ..OBEDIENT })?;
    ready(&pod)?;
    first_is(&pod, system.first())?;
    let said = pod.exec(ask)?;
    ensure(said == (0, format!("{answer}\n")), || format!("{said:?}"))?;
    stops(&pod)
}

fn systemd(cri: &Cri<'_>) -> Verdict {
    life_of(cri, System::Systemd, &["systemctl", "is-active", "richrun-payload"], "active")
}

fn sysv(cri: &Cri<'_>) -> Verdict {
    life_of(cri, System::SysV, &["runlevel"], "N 2")
}

fn openrc(cri: &Cri<'_>) -> Verdict {
    life_of(cri, System::OpenRc, &["runlevel"], "N 2")
}

/// The image's command, when the pod names none, is its init.
fn is_the_command(cri: &Cri<'_>) -> Verdict {
    let annotations = &[RICH_POD, ("io.richrun.mode", "auto")];
    let image = System::SysV.image();
    let pod = cri.pod("command", Wish { annotations, image, command: &[], ..OBEDIENT })?;
    within("the runlevel", || pod.exec(&["runlevel"]).ok().filter(|said| said.1.trim() == "N 2"))?;
    first_is(&pod, "init")?;
    let code = pod.stop(40)?;
    ensure(code == 0, || format!("exit code 0 expected, {code} got"))
}
