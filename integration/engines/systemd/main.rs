//! Engines on a host where systemd manages the cgroups: every scenario under the engines of a
//! Debian that richrun has booted, one machine a release and runtime, first with crun or runc as the
//! default runtime of all engines, then with richrun, same expectations.
//!
//! `trixie::podman::rootless::crun::life` is such a trial: a script of `scenarios/`, run in a machine as a
//! service of the system or in a login session of an ordinary user. What the machine lacks is
//! ignored, with the reason; so is a release whose archive moves and gives no machine today.
//! A whole run writes what came of it as tables, to `build/test/engines.md`.
//!
//! RICHRUN         the runtime under test (default: this build's)
//! SYSTEMD_HOSTS   the releases, by name (default: trixie)
//! SYSTEMD_TRIALS  `all` for the long ones too

mod pods;
mod scenarios;
mod table;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock};

use libtest_mimic::{Completion, Trial};
use richrun_engines::host::Host;
use richrun_engines::machine::{Machine, Who};
use richrun_engines::runtimes::{self, Runtime};
use richrun_engines::transcript::Transcript;
use richrun_engines::view::View;
use richrun_engines::world::{self, World};

use pods::Pods;
use scenarios::{How, SCENARIOS, Scenario};
use table::{Cell, Table};

/// The runtimes of the table, richrun last: the machine's faults show first.
const RUNTIMES: [&str; 3] = ["crun", "runc", "richrun"];

/// What a machine finds in the sandbox's directory: the set-up that administrators copy,
/// and what makes the images of the deployments' page.
const FILES: [(&str, &str); 5] = [
    ("config-1.toml", include_str!("../../setup/containerd/config-1.toml")),
    ("config-2.toml", include_str!("../../setup/containerd/config-2.toml")),
    ("50-richrun.conf", include_str!("../../setup/podman/50-richrun.conf")),
    ("daemon.json", include_str!("../../setup/docker/daemon.json")),
    ("images.sh", include_str!("images.sh")),
];

/// A machine for each runtime, booted when the first trial needs it.
#[derive(Default)]
struct Machines([OnceLock<Result<Machine, String>>; RUNTIMES.len()]);

/// What the trials on one host have in common.
struct Tier {
    world: Arc<World>,
    host: Host,
    richrun: Runtime,
    machines: Machines,
    /// One trial at a time has a machine's containerd, which some restart.
    containerd: [Mutex<()>; RUNTIMES.len()],
    table: Arc<Mutex<Table>>,
}

/// What a host has, in one line.
const VERSIONS: &str = r#"
of() { "$@" 2>/dev/null | grep -oE '[0-9]+\.[0-9]+(\.[0-9]+)?' | sed -n 1p; }
echo "podman $(of podman --version), buildah $(of buildah --version), Docker $(of dockerd --version)," \
    "containerd $(of containerd --version), crun $(of crun --version), runc $(of runc --version)," \
    "systemd $(systemctl --version | sed -n 's/^systemd \([0-9]*\).*/\1/p')"
"#;

impl Tier {
    /// Why the release to come has no machine with a peer's runtime: its archive moves, and what it
    /// has today may not fit together. With richrun the same would be richrun's fault.
    fn has_no_machine(&self, which: usize) -> Option<String> {
        let moves = self.host == Host::Forky && !runtimes::is_richrun(RUNTIMES[which]);
        self.machine(which).err().filter(|_| moves).map(|why| {
            let why = why.lines().next().unwrap_or_default().to_owned();
            format!("no machine of {}: {why}", self.host.name())
        })
    }

    fn machine(&self, which: usize) -> Result<&Machine, String> {
        let boot = || {
            let inside = self.world.inside()?;
            let program = inside.stage(&self.richrun)?;
            for (name, text) in FILES {
                std::fs::write(inside.sandbox.work.join(name), text)
                    .map_err(|error| format!("{name}: {error}"))?;
            }
            let setup = concat!(include_str!("setup.sh"), include_str!("pods.sh"));
            let machine =
                Machine::boot(&inside.sandbox, self.host, &program, RUNTIMES[which], setup)?;
            let versions = machine.script(&inside.sandbox, Who::Root, VERSIONS, &["versions"])?;
            self.table.lock().map(|mut table| table.host(self.host, versions.trim())).ok();
            Ok(machine)
        };
        self.machines.0[which].get_or_init(boot).as_ref().map_err(Clone::clone)
    }
}

fn main() -> ExitCode {
    let table = Arc::new(Mutex::new(Table::default()));
    let code = world::run(|world| {
        if world.view != View::V2 {
            return Vec::new();
        }
        let [_, richrun, _] = runtimes::runtimes(View::V2);
        let tiers = Host::wanted().into_iter().map(|host| {
            let (world, richrun) = (Arc::clone(world), richrun.clone());
            let (machines, containerd) = Default::default();
            Arc::new(Tier { world, host, richrun, machines, containerd, table: Arc::clone(&table) })
        });
        tiers.flat_map(|tier| trials(&tier)).collect()
    });
    if std::env::args().len() == 1 {
        table::write(&table);
    }
    code
}

fn trials(tier: &Arc<Tier>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for which in 0..RUNTIMES.len() {
        for (number, scenario) in SCENARIOS.iter().enumerate() {
            let who = scenario.who.iter();
            trials.extend(who.map(|who| trial(tier, which, scenario, number, *who)));
        }
    }
    trials
}

/// Why a scenario is not tried with this runtime.
fn lacks(tier: &Tier, runtime: &str, scenario: &Scenario, who: Who) -> Option<String> {
    let of_peer = scenario.peer_needs.iter().filter(|(peer, _)| *peer == runtime);
    let mut needs = scenario.controllers.iter().chain(of_peer.map(|(_, name)| name));
    let missing = needs.find(|name| !View::V2.has(name));
    let cannot = scenario.cannot.iter().find(|cannot| cannot.is_for(runtime, who));
    let all = std::env::var("SYSTEMD_TRIALS").is_ok_and(|which| which == "all");
    world::lacks(&[], &["/dev/fuse", "/dev/net/tun"])
        .or_else(|| tier.richrun.lacks.clone())
        .or_else(|| tier.host.root().err())
        .or_else(|| missing.map(|name| format!("no {name} controller in the v2 view")))
        .or_else(|| cannot.map(|cannot| cannot.reason.to_owned()))
        .or_else(|| {
            let not_on = scenario.not_on.filter(|(host, _)| *host == tier.host);
            not_on.map(|(_, reason)| reason.to_owned())
        })
        .or_else(|| {
            let second = runtime == "runc" && !scenario.of_docker();
            let is_page = matches!(scenario.how, How::Page(_));
            let peers = is_page && !runtimes::is_richrun(runtime);
            let later = !all && (!scenario.short || second || peers);
            later.then(|| "in a long run only: make test-systemd".to_owned())
        })
}

fn trial(
    tier: &Arc<Tier>,
    which: usize,
    scenario: &'static Scenario,
    number: usize,
    who: Who,
) -> Trial {
    let runtime = RUNTIMES[which];
    let engine = match scenario.who {
        [_] => scenario.engine.to_owned(),
        _ => format!("{}::{}", scenario.engine, who.name()),
    };
    let name = format!("{}::{engine}::{runtime}::{}", tier.host.name(), scenario.name);
    let lacks = lacks(tier, runtime, scenario, who);
    let place = (tier.host, scenario, who, which);
    if let Some(reason) = lacks {
        tier.table.lock().map(|mut table| table.set(place, Cell::Ignored(reason.clone()))).ok();
        return Trial::test(name, || Ok(())).with_kind(reason).with_ignored_flag(true);
    }
    let tier = Arc::clone(tier);
    let again = (!runtimes::is_richrun(runtime)).then(|| name.clone());
    Trial::ignorable_test(name, move || {
        if let Some(reason) = tier.has_no_machine(which) {
            tier.table.lock().map(|mut table| table.set(place, Cell::Ignored(reason.clone()))).ok();
            return Ok(Completion::ignored_with(reason));
        }
        let act = || act(&tier, which, scenario, number, who);
        let verdict = act().or_else(|first| {
            // A peer's own races say nothing of richrun.
            let Some(name) = &again else { return Err(first) };
            eprintln!("{name} failed, and is tried once more: {first}");
            act()
        });
        let cell = if verdict.is_ok() { Cell::Good } else { Cell::Bad };
        tier.table.lock().map(|mut table| table.set(place, cell)).ok();
        verdict.map(|()| Completion::Completed).map_err(Into::into)
    })
}

/// Runs a scenario's script in a machine.
fn act(
    tier: &Tier,
    which: usize,
    scenario: &Scenario,
    number: usize,
    who: Who,
) -> Result<(), String> {
    let machine = tier.machine(which)?;
    let sandbox = &tier.world.inside()?.sandbox;
    let script = match scenario.how {
        How::Page(text) => {
            // The peers have no rich containers.
            let plain = text.split("\n## Rich containers").next().unwrap_or_default();
            let own = runtimes::is_richrun(RUNTIMES[which]);
            let page = Transcript::of_two(if own { text } else { plain });
            let script = page.script_of_two("runuser -l -s /bin/bash hedgedoc -c");
            return page.compare(&machine.script(sandbox, who, &script, &[])?);
        }
        How::Pods(run) => {
            let _alone = tier.containerd[which].lock();
            let images = tier.world.inside()?.pod_images()?;
            return run(&Pods::new(sandbox, machine, RUNTIMES[which], &images)?);
        }
        How::Script(script) => [include_str!("lib.sh"), script].concat(),
    };
    let _alone = (scenario.engine == "containerd").then(|| tier.containerd[which].lock());
    let port = (20_000 + 20 * number + 10 * (who as usize)).to_string();
    machine.script(sandbox, who, &script, &[scenario.name, &port])?;
    Ok(())
}
