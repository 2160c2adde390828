//! What only a rich container has.

use richrun_engines::kubernetes::Kube;
use richrun_engines::runtimes;
use richrun_engines::system::System;
use richrun_engines::{Verdict, ensure};
use serde_json::{Value, json};

use crate::Scenario;
use crate::pods::{OBEDIENT, container, ends, first_is, once, terminate};

pub const PODS: &[Scenario] = &[
    Scenario::new("rich::by_annotation", by_annotation),
    Scenario::new("rich::init_script", init_script),
    Scenario::new("rich::services", services),
    Scenario::new("rich::not_by_annotation", not_by_annotation),
    Scenario::new("rich::every_container", every_container),
    Scenario::new("systemd::life", systemd).boots(System::Systemd),
];

fn annotations(more: &[(&str, &str)]) -> Value {
    let mut all = json!({"io.richrun.rich": "true"});
    for (name, value) in more {
        all[format!("io.richrun.{name}")] = json!(value);
    }
    all
}

fn by_annotation(kube: &Kube<'_>) -> Verdict {
    let pod = kube.pod("rich", annotations(&[]), once(OBEDIENT))?;
    pod.says("ready")?;
    first_is(&pod, "rich-init")?;
    terminate(&pod)?;
    ends(&pod, 3)
}

fn init_script(kube: &Kube<'_>) -> Verdict {
    let asked = annotations(&[("initcmd", "echo first, >/tmp/order")]);
    let pod = kube.pod("script", asked, once("cat /tmp/order"))?;
    ends(&pod, 0)?;
    let log = pod.logs(&[])?;
    ensure(log.ends_with("first,"), || format!("the log is {log:?}"))
}

/// The payload waits for the service that says when it is up.
fn services(kube: &Kube<'_>) -> Verdict {
    let asked = annotations(&[("services", "/srv/services.json")]);
    let pod = kube.pod("services", asked, once("cat /tmp/web"))?;
    ends(&pod, 0)?;
    let log = pod.logs(&[])?;
    ensure(log.ends_with("up"), || format!("the log is {log:?}"))
}

/// A pod may do without what its RuntimeClass gives.
fn not_by_annotation(kube: &Kube<'_>) -> Verdict {
    let kube = Kube { class: runtimes::RICH_NAME, ..*kube };
    let pod = kube.pod("plain", json!({"io.richrun.rich": "false"}), once(OBEDIENT))?;
    pod.says("ready")?;
    first_is(&pod, "sh")
}

/// Init containers and each of the others, but not the pod's holder.
fn every_container(kube: &Kube<'_>) -> Verdict {
    let kube = Kube { class: runtimes::RICH_NAME, ..*kube };
    let first = "cat /proc/1/comm";
    let spec = json!({"restartPolicy": "Never",
        "initContainers": [container("before", first)],
        "containers": [container("main", first), container("other", first)]});
    let pod = kube.pod("every", json!({}), spec)?;
    pod.becomes(".status.phase", "Succeeded")?;
    for name in ["before", "main", "other"] {
        let log = pod.logs(&["-c", name])?;
        ensure(log == "rich-init", || format!("PID 1 of {name} is {log:?}"))?;
    }
    Ok(())
}

/// A whole system, its payload a unit of it.
fn systemd(kube: &Kube<'_>) -> Verdict {
    let system = System::Systemd;
    let mut spec = once(OBEDIENT);
    spec["containers"][0]["image"] = json!(system.image());
    let pod = kube.pod("systemd", annotations(&[("mode", system.mode())]), spec)?;
    pod.says("ready")?;
    first_is(&pod, system.first())?;
    pod.exec(&[], &["systemctl", "is-active", "richrun-payload"])?.prints("active")?;
    // Its end ends the system, and with it the command that asks for it.
    let kill = ["systemctl", "kill", "--signal=TERM", "richrun-payload"];
    let said = pod.exec(&[], &kill)?;
    ensure([0, 137].contains(&said.code), || said.to_string())?;
    ends(&pod, 3)
}
