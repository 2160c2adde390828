//! containerd: rich containers, through `ctr`.

use richrun_engines::containerd::Ctr;
use richrun_engines::{Verdict, ensure};

use crate::containerd::{NEEDS, id};
use crate::{CtrScenario, Scenario};

const fn scenario(name: &'static str, run: fn(&Ctr<'_>) -> Verdict) -> CtrScenario {
    Scenario { name, controllers: NEEDS, not_in: None, only_v2: false, systemd: false, run }
}

pub const CTR: &[CtrScenario] = &[
    scenario("rich::modes", modes),
    scenario("rich::variables", variables),
    scenario("rich::init_scripts", init_scripts),
    scenario("rich::services", services),
    scenario("rich::refusals", refusals),
    scenario("systemd::run", systemd).boots(),
    scenario("systemd::life", systemd_life).boots(),
];

/// Prints PID 1's name.
const FIRST: [&str; 3] = ["sh", "-c", "read -r name </proc/1/comm; echo $name; exit 5"];
/// Ends with 3 when TERM comes.
const OBEDIENT: [&str; 3] =
    ["sh", "-c", "trap 'exit 3' TERM; touch /ready; while :; do sleep 0.05; done"];

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

const SYSTEMD: [&str; 6] = [
    "--annotation",
    "io.richrun.rich=true",
    "--annotation",
    "io.richrun.mode=systemd",
    "--env",
    "PATH=/usr/sbin:/usr/bin",
];

fn systemd(ctr: &Ctr<'_>) -> Verdict {
    let outcome = ctr
        .run_in(
            &ctr.systemd_root("run")?,
            &id(ctr, "boot"),
            &SYSTEMD,
            &["sh", "-c", "cat /proc/1/comm; exit 42"],
        )?
        .exits(42)?;
    ensure(outcome.stdout == "systemd\n", || format!("{outcome}"))
}

/// containerd's TERM shuts it down.
fn systemd_life(ctr: &Ctr<'_>) -> Verdict {
    let task =
        ctr.detached_in(&ctr.systemd_root("life")?, &id(ctr, "bootlife"), &SYSTEMD, &OBEDIENT)?;
    richrun_engines::within("the payload's trap", || {
        task.exec(&[], &["test", "-e", "/ready"]).ok()?.exits(0).ok()
    })?;
    richrun_engines::within("the payload's unit", || {
        let state = task.exec(&[], &["systemctl", "is-active", "richrun-payload"]).ok()?;
        (state.stdout.trim() == "active").then_some(())
    })?;
    task.does("pause", &[])?.exits(0)?;
    task.does("resume", &[])?.exits(0)?;
    task.does("metrics", &["--format", "json"])?.exits(0)?;
    task.does("kill", &[])?.exits(0)?;
    task.becomes("STOPPED")?;
    let code = task.delete()?;
    ensure(code == 3, || format!("the payload's exit code 3 expected, {code} got"))
}
