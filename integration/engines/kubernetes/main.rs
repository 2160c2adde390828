//! Pods of a real Kubernetes of one node, the runtime chosen by a RuntimeClass: first
//! runc's, then richrun's, then that of `richrun-rich`, same expectations.
//!
//! `v1::runc::life` is such a trial. What only a rich container has has no peer:
//! `v1::richrun::rich::by_annotation`. Without Kubernetes
//! (`integration/peers.sh kubernetes`) all are ignored, with the reason. A trial of the
//! peer has a second attempt, and the failure of the first one is printed.

mod pods;
mod rich;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::Trial;
use richrun_engines::Verdict;
use richrun_engines::kubernetes::{self, Kube};
use richrun_engines::runtimes::{self, Runtime};
use richrun_engines::sandbox::TRUSTING;
use richrun_engines::system::System;
use richrun_engines::world::{self, World};

/// A behaviour of pods.
#[derive(Clone, Copy)]
struct Scenario {
    name: &'static str,
    /// The system in the image that it needs.
    boots: Option<System>,
    run: fn(&Kube<'_>) -> Verdict,
}

impl Scenario {
    const fn new(name: &'static str, run: fn(&Kube<'_>) -> Verdict) -> Self {
        Self { name, boots: None, run }
    }

    /// The same where it needs the image with this system.
    const fn boots(self, system: System) -> Self {
        Self { boots: Some(system), ..self }
    }
}

fn main() -> ExitCode {
    world::run(|world| {
        let mut trials = Vec::new();
        for runtime in runtimes::docker_runtimes() {
            let rich = if runtime.name == "richrun" { rich::PODS } else { &[] };
            let all = pods::PODS.iter().chain(rich);
            trials.extend(all.map(|scenario| trial(world, &runtime, *scenario)));
        }
        trials
    })
}

fn trial(world: &Arc<World>, runtime: &Runtime, scenario: Scenario) -> Trial {
    let view = world.view;
    let programs = ["containerd", "containerd-shim-runc-v2", "busybox", "curl"];
    let missing = kubernetes::CONTROLLERS.iter().find(|controller| !view.has(controller));
    let lacks = world::lacks(&programs, &[])
        .or_else(kubernetes::lacks)
        .or_else(|| runtime.lacks.clone())
        .or_else(|| missing.map(|name| format!("no {name} controller in the {} view", view.name())))
        .or_else(|| scenario.boots.and_then(System::lacks));
    let name = format!("{}::{}::{}", view.name(), runtime.name, scenario.name);
    let (world, class) = (Arc::clone(world), runtime.name);
    let again = runtime.is_peer().then(|| name.clone());
    let trial = Trial::test(name, move || {
        let act = || {
            let inside = world.inside()?;
            let cluster = inside.cluster()?;
            scenario.boots.map_or(Ok(()), |system| inside.import_for_pods(system))?;
            let class = if scenario.boots.is_some() { TRUSTING } else { class };
            (scenario.run)(&Kube { sandbox: &inside.sandbox, cluster, class })
        };
        let verdict = act().or_else(|first| {
            let Some(name) = &again else { return Err(first) };
            eprintln!("{name} failed, and is tried once more: {first}");
            act()
        });
        verdict.map_err(Into::into)
    });
    match lacks {
        Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
        None => trial,
    }
}
