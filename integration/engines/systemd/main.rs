//! Engines on a host where systemd manages the cgroups: every scenario under the engines of a
//! Debian that richrun has booted, one machine a runtime, first with crun or runc as the
//! default runtime of all engines, then with richrun, same expectations.
//!
//! `podman::rootless::crun::life` is such a trial: a script of `scenarios/`, run in a machine as a
//! service of the system or in a login session of an ordinary user. What the machine lacks is
//! ignored, with the reason. The short ones run by default; `SYSTEMD_TRIALS=all` runs all.
//! A whole run writes what came of it as a table, to `build/test/engines.md`.
//!
//! RICHRUN   the runtime under test (default: this build's)

mod scenarios;
mod table;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock};

use libtest_mimic::Trial;
use richrun_engines::machine::{self, Machine, Who};
use richrun_engines::runtimes::{self, Runtime};
use richrun_engines::transcript::Transcript;
use richrun_engines::view::View;
use richrun_engines::world::{self, World};

use scenarios::{SCENARIOS, Scenario};
use table::{Cell, Table};

/// The runtimes of the table, richrun last: the machine's faults show first.
const RUNTIMES: [&str; 3] = ["crun", "runc", "richrun"];

/// What a machine finds in the sandbox's directory: the set-up that administrators copy,
/// and what makes the images of the deployments' page.
const FILES: [(&str, &str); 3] = [
    ("50-richrun.conf", include_str!("../../setup/podman/50-richrun.conf")),
    ("daemon.json", include_str!("../../setup/docker/daemon.json")),
    ("images.sh", include_str!("images.sh")),
];

/// A machine for each runtime, booted when the first trial needs it.
#[derive(Default)]
struct Machines([OnceLock<Result<Machine, String>>; RUNTIMES.len()]);

impl Machines {
    fn get(&self, world: &World, richrun: &Runtime, which: usize) -> Result<&Machine, String> {
        let boot = || {
            let inside = world.inside()?;
            let program = inside.stage(richrun)?;
            for (name, text) in FILES {
                std::fs::write(inside.sandbox.work.join(name), text)
                    .map_err(|error| format!("{name}: {error}"))?;
            }
            Machine::boot(&inside.sandbox, &program, RUNTIMES[which], include_str!("setup.sh"))
        };
        self.0[which].get_or_init(boot).as_ref().map_err(Clone::clone)
    }
}

/// What the trials have in common.
struct Tier {
    world: Arc<World>,
    richrun: Runtime,
    machines: Machines,
    table: Arc<Mutex<Table>>,
}

fn main() -> ExitCode {
    let table = Arc::new(Mutex::new(Table::default()));
    let code = world::run(|world| {
        if world.view != View::V2 {
            return Vec::new();
        }
        let [_, richrun, _] = runtimes::runtimes(View::V2);
        let (world, table) = (Arc::clone(world), Arc::clone(&table));
        let tier = Arc::new(Tier { world, richrun, machines: Machines::default(), table });
        trials(&tier)
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
    let debian = machine::debian().is_none();
    let of_peer = scenario.peer_needs.iter().filter(|(peer, _)| *peer == runtime);
    let mut needs = scenario.controllers.iter().chain(of_peer.map(|(_, name)| name));
    let missing = needs.find(|name| !View::V2.has(name));
    let cannot = scenario.cannot.iter().find(|cannot| cannot.is_for(runtime, who));
    let all = std::env::var("SYSTEMD_TRIALS").is_ok_and(|which| which == "all");
    world::lacks(&[], &["/dev/fuse", "/dev/net/tun"])
        .or_else(|| tier.richrun.lacks.clone())
        .or_else(|| debian.then(|| "no Debian with engines: integration/peers.sh host".to_owned()))
        .or_else(|| missing.map(|name| format!("no {name} controller in the v2 view")))
        .or_else(|| cannot.map(|cannot| cannot.reason.to_owned()))
        .or_else(|| {
            let second = runtime == "runc" && !scenario.of_docker();
            let peers = scenario.is_page && !runtimes::is_richrun(runtime);
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
    let name = format!("{engine}::{runtime}::{}", scenario.name);
    let lacks = lacks(tier, runtime, scenario, who);
    let place = (scenario, who, which);
    if let Some(reason) = lacks {
        tier.table.lock().map(|mut table| table.set(place, Cell::Ignored(reason.clone()))).ok();
        return Trial::test(name, || Ok(())).with_kind(reason).with_ignored_flag(true);
    }
    let tier = Arc::clone(tier);
    let again = (!runtimes::is_richrun(runtime)).then(|| name.clone());
    Trial::test(name, move || {
        let act = || act(&tier, which, scenario, number, who);
        let verdict = act().or_else(|first| {
            // A peer's own races say nothing of richrun.
            let Some(name) = &again else { return Err(first) };
            eprintln!("{name} failed, and is tried once more: {first}");
            act()
        });
        let cell = if verdict.is_ok() { Cell::Good } else { Cell::Bad };
        tier.table.lock().map(|mut table| table.set(place, cell)).ok();
        verdict.map_err(Into::into)
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
    let machine = tier.machines.get(&tier.world, &tier.richrun, which)?;
    let sandbox = &tier.world.inside()?.sandbox;
    if scenario.is_page {
        // The peers have no rich containers.
        let plain = scenario.script.split("\n## Rich containers").next().unwrap_or_default();
        let own = runtimes::is_richrun(RUNTIMES[which]);
        let page = Transcript::of_two(if own { scenario.script } else { plain });
        let script = page.script_of_two("runuser -l -s /bin/bash hedgedoc -c");
        return page.compare(&machine.script(sandbox, who, &script, &[])?);
    }
    let script = [include_str!("lib.sh"), scenario.script].concat();
    let port = (20_000 + 20 * number + 10 * (who as usize)).to_string();
    machine.script(sandbox, who, &script, &[scenario.name, &port])?;
    Ok(())
}
