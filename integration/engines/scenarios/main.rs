//! Every scenario, under every engine, in every cgroup layout of this host:
//! first with the peer (crun or runc), then with richrun, same expectations.
//!
//! `podman::v1::crun::stop` is such a trial; `rootless::` is podman as an
//! ordinary user, `containerd::` is `ctr`. What the machine lacks is ignored,
//! and the reason stands before the trial's name.
//!
//! RICHRUN   the runtime under test (default: this build's)
//! PEERS_DIR where the newer crun is (default: build/peers)
//! TEST_USER the ordinary user (default: richrun-test)

mod configured;
mod containerd;
mod lifecycle;
mod network;
mod rootless;
mod streams;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use richrun_engines::Verdict;
use richrun_engines::containerd::Ctr;
use richrun_engines::podman::{Podman, User};
use richrun_engines::view::View;
use richrun_engines::world::{self, Runtime, World};

/// A behaviour, shown by a function `F` of an engine with a runtime.
struct Scenario<F> {
    name: &'static str,
    /// The cgroup controllers without which it cannot be seen.
    controllers: &'static [&'static str],
    /// A view in which no runtime can show it, and why.
    not_in: Option<(View, &'static str)>,
    run: F,
}

type PodmanScenario = Scenario<fn(&Podman<'_>) -> Verdict>;
type CtrScenario = Scenario<fn(&Ctr<'_>) -> Verdict>;

/// A scenario of podman that needs no controllers.
const fn scenario(name: &'static str, run: fn(&Podman<'_>) -> Verdict) -> PodmanScenario {
    Scenario { name, controllers: &[], not_in: None, run }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    richrun_engines::sandbox::sweep();
    let mut worlds = Vec::new();
    let mut trials = Vec::new();
    for view in View::available() {
        let world = Arc::new(World::new(view));
        for runtime in world::runtimes(view) {
            trials.extend(podman_trials(&world, &runtime));
            trials.extend(rootless_trials(&world, &runtime));
            trials.extend(containerd_trials(&world, &runtime));
        }
        worlds.push(world);
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Sandboxes end, and say what they could not remove, before the verdict.
    let mut left = Vec::new();
    for world in worlds.into_iter().filter_map(Arc::into_inner) {
        left.extend(world.close().err());
    }
    left.iter().for_each(|what| eprintln!("{what}"));
    if left.is_empty() { conclusion.exit_code() } else { ExitCode::FAILURE }
}

fn podman_trials(world: &Arc<World>, runtime: &Runtime) -> Vec<Trial> {
    let lacks =
        world::lacks(&["podman", "conmon", "busybox"], &[]).or_else(|| runtime.lacks.clone());
    [lifecycle::PODMAN, streams::PODMAN, configured::PODMAN, network::PODMAN]
        .into_iter()
        .flatten()
        .map(|scenario| {
            trial("podman", world, runtime, scenario, lacks.clone(), podman_run(User::Root))
        })
        .collect()
}

fn rootless_trials(world: &Arc<World>, runtime: &Runtime) -> Vec<Trial> {
    let files = ["/dev/fuse", "/dev/net/tun"];
    let lacks = world::lacks(
        &["podman", "conmon", "busybox", "newuidmap", "slirp4netns", "setpriv"],
        &files,
    )
    .or_else(world::lacks_user)
    .or_else(|| runtime.lacks.clone());
    rootless::PODMAN
        .iter()
        .map(|scenario| {
            trial("rootless", world, runtime, scenario, lacks.clone(), podman_run(User::Ordinary))
        })
        .collect()
}

fn containerd_trials(world: &Arc<World>, runtime: &Runtime) -> Vec<Trial> {
    let lacks = world::lacks(&["containerd", "ctr", "containerd-shim-runc-v2", "busybox"], &[])
        .or_else(|| runtime.lacks.clone());
    containerd::CTR
        .iter()
        .map(|scenario| {
            trial(
                "containerd",
                world,
                runtime,
                scenario,
                lacks.clone(),
                |world, runtime, run: fn(&Ctr<'_>) -> Verdict| {
                    let inside = world.inside()?;
                    let path = inside.stage(runtime)?;
                    run(&Ctr {
                        sandbox: &inside.sandbox,
                        containerd: inside.containerd()?,
                        runtime: &path,
                    })
                },
            )
        })
        .collect()
}

fn podman_run(
    user: User,
) -> impl Fn(&World, &Runtime, fn(&Podman<'_>) -> Verdict) -> Verdict + Send + 'static {
    move |world, runtime, run| {
        let inside = world.inside()?;
        let path = inside.stage(runtime)?;
        inside.podman_image(user)?;
        run(&Podman { sandbox: &inside.sandbox, runtime: &path, user })
    }
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
    let excluded = scenario.not_in.filter(|(excluded, _)| *excluded == view);
    let lacks = lacks.or_else(|| excluded.map(|(_, reason)| reason.to_owned()));
    let (world, owned, run) = (Arc::clone(world), runtime.clone(), scenario.run);
    let name = format!("{engine}::{}::{}::{}", view.name(), runtime.name, scenario.name);
    let trial = Trial::test(name, move || act(&world, &owned, run).map_err(Into::into));
    match lacks {
        Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
        None => trial,
    }
}
