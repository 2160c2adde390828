//! Every scenario, under every engine, in every cgroup layout of this host:
//! first with the peer (crun or runc), then with richrun, same expectations.
//!
//! `podman::v1::crun::stop` is such a trial; `rootless::` is podman as an
//! ordinary user, `containerd::` is `ctr`, `cri::` a pod's life as a
//! kubelet asks for it. Rich containers have no peer:
//! `docker::v2::richrun::rich::stop`. What the machine lacks is ignored,
//! and the reason stands before the trial's name. A trial of a peer, or of
//! Docker or containerd, has a second attempt, and the failure of the first one is printed.
//!
//! RICHRUN   the runtime under test (default: this build's)
//! PEERS_DIR where the newer crun is (default: build/peers)
//! TEST_USER the ordinary user (default: richrun-test)

mod configured;
mod containerd;
mod cri;
mod lifecycle;
mod network;
mod rich;
mod rich_boot;
mod rich_ctr;
mod rootless;
mod streams;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::Trial;
use richrun_engines::containerd::Ctr;
use richrun_engines::cri::Cri;
use richrun_engines::engine::Engine;
use richrun_engines::kind::Kind;
use richrun_engines::runtimes::{self, Runtime};
use richrun_engines::sandbox::TRUSTING;
use richrun_engines::system::System;
use richrun_engines::view::View;
use richrun_engines::world::{self, World};
use richrun_engines::{Verdict, docker};

/// A behaviour, shown by a function `F` of an engine with a runtime.
struct Scenario<F> {
    name: &'static str,
    /// The cgroup controllers without which it cannot be seen.
    controllers: &'static [&'static str],
    /// A view in which no runtime can show it, and why.
    not_in: Option<(View, &'static str)>,
    /// Whether it needs cgroup2 alone.
    only_v2: bool,
    /// Whether one view is enough: the first that the host can show.
    one_view: bool,
    /// The system in the image that it needs.
    boots: Option<System>,
    run: F,
}

type EngineScenario = Scenario<fn(&Engine<'_>) -> Verdict>;
type CriScenario = Scenario<fn(&Cri<'_>) -> Verdict>;
type CtrScenario = Scenario<fn(&Ctr<'_>) -> Verdict>;

impl<F: Copy> Scenario<F> {
    const fn new(name: &'static str, run: F) -> Self {
        Self {
            name,
            controllers: &[],
            not_in: None,
            only_v2: false,
            one_view: false,
            boots: None,
            run,
        }
    }

    /// The same where it needs these controllers.
    const fn needs(self, controllers: &'static [&'static str]) -> Self {
        Self { controllers, ..self }
    }

    /// The same where an ordinary user must be given a group.
    const fn only_in_v2(self) -> Self {
        Self { only_v2: true, ..self }
    }

    /// The same in one view: what a cgroup layout has no part in, where a boot takes long.
    const fn in_one_view(self) -> Self {
        Self { one_view: true, ..self }
    }

    /// The same where it needs the image with systemd.
    const fn boots(self) -> Self {
        self.boots_with(System::Systemd)
    }

    /// The same where it needs the image with this system.
    const fn boots_with(self, system: System) -> Self {
        Self { boots: Some(system), ..self }
    }

    /// Whether it is among this view's.
    fn is_of(&self, view: View) -> bool {
        !self.one_view || View::available().first() == Some(&view)
    }
}

/// A scenario of podman or Docker that needs no controllers.
const fn scenario(name: &'static str, run: fn(&Engine<'_>) -> Verdict) -> EngineScenario {
    Scenario::new(name, run)
}

fn main() -> ExitCode {
    world::run(|world| {
        let mut trials = Vec::new();
        for runtime in runtimes::runtimes(world.view) {
            trials.extend(podman_trials(world, &runtime));
            trials.extend(rootless_trials(world, &runtime));
            trials.extend(containerd_trials(world, &runtime));
            trials.extend(cri_trials(world, &runtime));
        }
        for runtime in runtimes::docker_runtimes() {
            trials.extend(docker_trials(world, &runtime));
        }
        trials
    })
}

fn podman_trials(world: &Arc<World>, runtime: &Runtime) -> Vec<Trial> {
    let lacks =
        world::lacks(&["podman", "conmon", "busybox"], &[]).or_else(|| runtime.lacks.clone());
    let plain: &[_] = match runtime.name {
        runtimes::RICH_NAME => {
            &[lifecycle::BOTH, lifecycle::PODMAN, streams::BOTH, streams::PODMAN]
        }
        _ => &[
            lifecycle::BOTH,
            lifecycle::PODMAN,
            streams::BOTH,
            streams::PODMAN,
            configured::BOTH,
            configured::PODMAN,
            network::BOTH,
            network::PODMAN,
        ],
    };
    engine_trials(
        Kind::Podman,
        world,
        runtime,
        &lacks,
        plain,
        &[rich::VARIABLES, rich::BOTH, rich_boot::BOTH, rich_boot::PODMAN],
    )
}

fn rootless_trials(world: &Arc<World>, runtime: &Runtime) -> Vec<Trial> {
    let files = ["/dev/fuse", "/dev/net/tun"];
    let lacks = world::lacks(
        &["podman", "conmon", "busybox", "newuidmap", "slirp4netns", "setpriv"],
        &files,
    )
    .or_else(world::lacks_user)
    .or_else(|| runtime.lacks.clone());
    let rich = [rich::ROOTLESS, rich_boot::ROOTLESS];
    engine_trials(Kind::Rootless, world, runtime, &lacks, &[rootless::PODMAN], &rich)
}

fn docker_trials(world: &Arc<World>, runtime: &Runtime) -> Vec<Trial> {
    let no_docker = || {
        docker::programs().is_none().then(|| "no dockerd: integration/peers.sh docker".to_owned())
    };
    let lacks = world::lacks(&["containerd", "iptables", "busybox"], &[])
        .or_else(no_docker)
        .or_else(|| runtime.lacks.clone());
    let plain: &[_] = match runtime.name {
        runtimes::RICH_NAME => &[lifecycle::BOTH, streams::BOTH],
        _ => &[lifecycle::BOTH, streams::BOTH, configured::BOTH, network::BOTH],
    };
    let mut all = engine_trials(Kind::Docker, world, runtime, &lacks, plain, &[rich::VARIABLES]);
    let lacks = lacks.or_else(docker::lacks_annotations);
    let rich = [rich::BOTH, rich_boot::BOTH];
    all.extend(engine_trials(Kind::Docker, world, runtime, &lacks, &[], &rich));
    all
}

/// The trials of podman or Docker: what every runtime shows, and what richrun alone can.
fn engine_trials(
    kind: Kind,
    world: &Arc<World>,
    runtime: &Runtime,
    lacks: &Option<String>,
    plain: &[&'static [EngineScenario]],
    rich: &[&'static [EngineScenario]],
) -> Vec<Trial> {
    let rich = if runtime.name == "richrun" { rich } else { &[] };
    let all = plain.iter().chain(rich).flat_map(|table| table.iter());
    let all = all.filter(|scenario| scenario.is_of(world.view));
    all.map(|scenario| {
        let boots = scenario.boots;
        let act = move |world: &World, runtime: &Runtime, run: fn(&Engine<'_>) -> Verdict| {
            let inside = world.inside()?;
            let path = inside.stage(runtime)?;
            let engine = inside.engine(kind, &path)?;
            let Some(system) = boots else { return run(&engine) };
            inside.import(system, &engine)?;
            // What an engine does not give by itself: groups to write to, root beside others.
            let path = inside.sandbox.trusting(&path)?;
            run(&engine.with_image(system.image()).with_runtime(&path))
        };
        trial(kind.name(), world, runtime, scenario, lacks.clone(), act)
    })
    .collect()
}

fn containerd_trials(world: &Arc<World>, runtime: &Runtime) -> Vec<Trial> {
    let lacks = world::lacks(&["containerd", "ctr", "containerd-shim-runc-v2", "busybox"], &[])
        .or_else(|| runtime.lacks.clone());
    let rich: &[CtrScenario] = if runtime.name == "richrun" { rich_ctr::CTR } else { &[] };
    let all = containerd::CTR.iter().chain(rich).filter(|scenario| scenario.is_of(world.view));
    all.map(|scenario| {
        let boots = scenario.boots.is_some();
        let act = move |world: &World, runtime: &Runtime, run: fn(&Ctr<'_>) -> Verdict| {
            let inside = world.inside()?;
            let path = inside.stage(runtime)?;
            let path = if boots { inside.sandbox.trusting(&path)? } else { path };
            run(&Ctr { sandbox: &inside.sandbox, containerd: inside.containerd()?, runtime: &path })
        };
        trial("containerd", world, runtime, scenario, lacks.clone(), act)
    })
    .collect()
}

fn cri_trials(world: &Arc<World>, runtime: &Runtime) -> Vec<Trial> {
    let lacks = world::lacks(&["containerd", "containerd-shim-runc-v2", "busybox", "curl"], &[])
        .or_else(|| runtime.lacks.clone());
    let rich: &[CriScenario] = if runtime.name == "richrun" { cri::RICH } else { &[] };
    let all = cri::CRI.iter().chain(rich).filter(|scenario| scenario.is_of(world.view));
    all.map(|scenario| {
        let boots = scenario.boots;
        let act = move |world: &World, runtime: &Runtime, run: fn(&Cri<'_>) -> Verdict| {
            let inside = world.inside()?;
            boots.map_or(Ok(()), |system| inside.import_for_pods(system))?;
            let handler = if boots.is_some() { TRUSTING } else { runtime.name };
            run(&Cri { sandbox: &inside.sandbox, site: inside.pods()?.site(), handler })
        };
        trial("cri", world, runtime, scenario, lacks.clone(), act)
    })
    .collect()
}

/// A trial of one scenario; ignored, with the reason, if the machine lacks something.
fn trial<F: Copy + Send + 'static>(
    engine: &str,
    world: &Arc<World>,
    runtime: &Runtime,
    scenario: &Scenario<F>,
    lacks: Option<String>,
    act: impl Fn(&World, &Runtime, F) -> Verdict + Send + 'static,
) -> Trial {
    let view = world.view;
    let missing = scenario.controllers.iter().find(|controller| !view.has(controller));
    let lacks = lacks.or_else(|| {
        missing.map(|controller| format!("no {controller} controller in the {} view", view.name()))
    });
    let lacks = lacks.or_else(|| scenario.boots.and_then(System::lacks));
    let lacks = lacks.or_else(|| {
        (scenario.only_v2 && view != View::V2)
            .then(|| "no delegation to an ordinary user on cgroup v1".to_owned())
    });
    let excluded = scenario.not_in.filter(|(excluded, _)| *excluded == view);
    let lacks = lacks.or_else(|| excluded.map(|(_, reason)| reason.to_owned()));
    let (world, owned, run) = (Arc::clone(world), runtime.clone(), scenario.run);
    let name = format!("{engine}::{}::{}::{}", view.name(), runtime.name, scenario.name);
    // A peer's own races, on a busy machine, say nothing of richrun. And Docker, and the shim
    // under it and under containerd, drop the output of what has ended where they cannot read
    // it within two seconds: there a trial may fail for that, whatever the runtime.
    let over_shim = ![Kind::Podman.name(), Kind::Rootless.name()].contains(&engine);
    let twice = runtime.is_peer() || over_shim;
    let again = twice.then(|| name.clone());
    let trial = Trial::test(name, move || {
        let verdict = act(&world, &owned, run).or_else(|first| {
            let Some(name) = &again else { return Err(first) };
            eprintln!("{name} failed, and is tried once more: {first}");
            act(&world, &owned, run)
        });
        verdict.map_err(Into::into)
    });
    match lacks {
        Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
        None => trial,
    }
}
