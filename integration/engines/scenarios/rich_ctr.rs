//! containerd: rich containers, through `ctr`.

use richrun_engines::containerd::{Ctr, Task};
use richrun_engines::system::System;
use richrun_engines::{Verdict, ensure, within};

use crate::containerd::{NEEDS, id};
use crate::{CtrScenario, Scenario};

const fn scenario(name: &'static str, run: fn(&Ctr<'_>) -> Verdict) -> CtrScenario {
    Scenario::new(name, run).needs(NEEDS)
}

pub const CTR: &[CtrScenario] = &[
    scenario("rich::modes", modes),
    scenario("rich::variables", variables),
    scenario("rich::by_settings", by_settings),
    scenario("rich::init_scripts", init_scripts),
    scenario("rich::services", services),
    scenario("rich::refusals", refusals),
    scenario("systemd::run", systemd).boots(),
    scenario("systemd::life", systemd_life).boots(),
    scenario("sysv::run", sysv).boots_with(System::SysV).in_one_view(),
    scenario("sysv::kill", kill).boots_with(System::SysV).in_one_view(),
    scenario("sysv::life", sysv_life).boots_with(System::SysV).in_one_view(),
    scenario("sysv::is_the_command", is_the_command).boots_with(System::SysV).in_one_view(),
    scenario("openrc::life", openrc).boots_with(System::OpenRc).in_one_view(),
];

/// Prints PID 1's name.
const FIRST: [&str; 3] = ["sh", "-c", "read -r name </proc/1/comm; echo $name; exit 5"];
/// Ends with 3 when TERM comes; writes `/var/tmp/up` before.
const OBEDIENT: [&str; 3] =
    ["sh", "-c", "trap 'exit 3' TERM; echo up >/var/tmp/up; while :; do sleep 0.05; done"];

fn modes(ctr: &Ctr<'_>) -> Verdict {
    for mode in ["dumb-init", "init", "auto"] {
        let mode = format!("io.richrun.mode={mode}");
        let options = ["--annotation", "io.richrun.rich=true", "--annotation", &mode];
        let outcome = ctr.run(&id(ctr, "rich"), &options, &FIRST)?.exits(5)?;
        ensure(outcome.stdout == "rich-init\n", || format!("{mode}: {outcome}"))?;
    }
    Ok(())
}

fn variables(ctr: &Ctr<'_>) -> Verdict {
    let options = ["--env", "rich_mode=true"];
    let outcome = ctr.run(&id(ctr, "variable"), &options, &FIRST)?.exits(5)?;
    ensure(outcome.stdout == "rich-init\n", || format!("{outcome}"))
}

fn by_settings(ctr: &Ctr<'_>) -> Verdict {
    let runtime = &ctr.sandbox.configured(ctr.runtime)?;
    let ctr = &Ctr { runtime, ..*ctr };
    ctr.run(&id(ctr, "settings"), &[], &["cat", "/proc/1/comm", "/tmp/order"])?
        .prints("rich-init\nby file")?;
    let options = ["--annotation", "io.richrun.rich=false"];
    ctr.run(&id(ctr, "plain"), &options, &["cat", "/proc/1/comm"])?.prints("cat")
}

fn init_scripts(ctr: &Ctr<'_>) -> Verdict {
    let options = [
        "--annotation",
        "io.richrun.rich=true",
        "--annotation",
        "io.richrun.initscript=/srv/first.sh word",
    ];
    ctr.run(&id(ctr, "script"), &options, &["cat", "/tmp/order"])?.prints("script: word")
}

fn services(ctr: &Ctr<'_>) -> Verdict {
    let options = [
        "--annotation",
        "io.richrun.rich=true",
        "--annotation",
        "io.richrun.services=/srv/services.json",
    ];
    ctr.run(&id(ctr, "service"), &options, &["cat", "/tmp/web"])?.prints("up")
}

fn refusals(ctr: &Ctr<'_>) -> Verdict {
    let options = ["--annotation", "io.richrun.mode=systemd"];
    let outcome = ctr.run(&id(ctr, "refused"), &options, &["true"])?.exits(1)?;
    ensure(outcome.stderr.contains("must first enable rich mode"), || format!("{outcome}"))
}

/// The options for a system, in this mode.
fn boots(mode: &str) -> [String; 6] {
    let mode = format!("io.richrun.mode={mode}");
    let rich = "io.richrun.rich=true";
    let path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    ["--annotation", rich, "--annotation", &mode, "--env", path].map(str::to_owned)
}

/// PID 1 is the init, and the exit code comes out.
fn ends_with(ctr: &Ctr<'_>, system: System) -> Verdict {
    let options = boots(system.mode());
    let options = options.each_ref().map(String::as_str);
    let root = ctr.root_of(system, "run")?;
    let script = ["sh", "-c", "cat /proc/1/comm; exit 42"];
    let outcome = ctr.run_in(&root, &id(ctr, system.name()), &options, &script)?.exits(42)?;
    ensure(outcome.stdout == format!("{}\n", system.first()), || format!("{outcome}"))
}

/// containerd's TERM shuts it down, which ends the payload.
fn life_of(ctr: &Ctr<'_>, system: System) -> Verdict {
    let options = boots(system.mode());
    let options = options.each_ref().map(String::as_str);
    let root = ctr.root_of(system, "life")?;
    let id = id(ctr, &format!("{}-life", system.name()));
    let task = ctr.detached_in(&root, &id, &options, &OBEDIENT)?;
    up(&task, &["cat", "/var/tmp/up"], "up")?;
    task.exec(&[], &["cat", "/proc/1/comm"])?.prints(system.first())?;
    task.does("pause", &[])?.exits(0)?;
    task.does("resume", &[])?.exits(0)?;
    task.does("metrics", &["--format", "json"])?.exits(0)?;
    stops_with(&task, 3)
}

fn up(task: &Task<'_>, ask: &[&str], answer: &str) -> Verdict {
    within("the payload or the runlevel", || {
        task.exec(&[], ask).ok().filter(|said| said.stdout.trim() == answer)
    })
    .map(drop)
}

fn stops_with(task: &Task<'_>, expected: i32) -> Verdict {
    task.does("kill", &[])?.exits(0)?;
    task.becomes("STOPPED")?;
    let code = task.delete()?;
    ensure(code == expected, || format!("exit code {expected} expected, {code} got"))
}

fn systemd(ctr: &Ctr<'_>) -> Verdict {
    ends_with(ctr, System::Systemd)
}

fn systemd_life(ctr: &Ctr<'_>) -> Verdict {
    life_of(ctr, System::Systemd)
}

fn sysv(ctr: &Ctr<'_>) -> Verdict {
    ends_with(ctr, System::SysV)
}

fn sysv_life(ctr: &Ctr<'_>) -> Verdict {
    life_of(ctr, System::SysV)
}

fn openrc(ctr: &Ctr<'_>) -> Verdict {
    life_of(ctr, System::OpenRc)
}

/// KILL ends it at once, and leaves no process.
fn kill(ctr: &Ctr<'_>) -> Verdict {
    let options = boots(System::SysV.mode());
    let options = options.each_ref().map(String::as_str);
    let root = ctr.root_of(System::SysV, "kill")?;
    let task = ctr.detached_in(&root, &id(ctr, "sysv-kill"), &options, &OBEDIENT)?;
    up(&task, &["cat", "/var/tmp/up"], "up")?;
    task.does("kill", &["--signal", "KILL"])?.exits(0)?;
    task.becomes("STOPPED")?;
    let code = task.delete()?;
    ensure(code == 137, || format!("exit code 137 expected, {code} got"))
}

/// `/sbin/init` as the command: TERM ends it with 0.
fn is_the_command(ctr: &Ctr<'_>) -> Verdict {
    let options = boots("auto");
    let options = options.each_ref().map(String::as_str);
    let root = ctr.root_of(System::SysV, "command")?;
    let task = ctr.detached_in(&root, &id(ctr, "sysv-command"), &options, &["/sbin/init"])?;
    up(&task, &["runlevel"], "N 2")?;
    stops_with(&task, 0)
}
