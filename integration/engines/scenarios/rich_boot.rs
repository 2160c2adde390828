//! podman and Docker: rich containers whose PID 1 is the image's own, systemd or SysV's init.

use std::path::Path;
use std::process::Command;

use richrun_engines::command::{PATIENCE, run};
use richrun_engines::engine::{Container, Engine};
use richrun_engines::system::System;
use richrun_engines::view::View;
use richrun_engines::{Verdict, ensure, within};

use crate::rich::{ask, with};
use crate::streams::size;
use crate::{EngineScenario, scenario};

/// podman as the superuser, and Docker.
pub const BOTH: &[EngineScenario] = &[
    scenario("systemd::run", run_and_exit).boots(),
    scenario("systemd::streams", streams).boots(),
    scenario("systemd::stop", stop).boots(),
    scenario("systemd::kill", kill).boots(),
    scenario("systemd::exec", exec).boots(),
    scenario("systemd::restart_and_pause", restart_and_pause).boots(),
    scenario("systemd::terminal", terminal).boots(),
    scenario("systemd::is_the_command", is_the_command).boots(),
    scenario("systemd::remove_forced", remove_forced).boots(),
    scenario("sysv::run", run_and_exit).boots_with(System::SysV).in_one_view(),
    scenario("sysv::streams", streams).boots_with(System::SysV).in_one_view(),
    scenario("sysv::stop", stop).boots_with(System::SysV).in_one_view(),
    scenario("sysv::kill", kill).boots_with(System::SysV).in_one_view(),
    scenario("sysv::exec", exec).boots_with(System::SysV).in_one_view(),
    scenario("sysv::restart_and_pause", restart_and_pause).boots_with(System::SysV),
    scenario("sysv::terminal", terminal).boots_with(System::SysV).in_one_view(),
    scenario("sysv::is_the_command", is_the_command).boots_with(System::SysV).in_one_view(),
    scenario("sysv::remove_forced", remove_forced).boots_with(System::SysV),
    scenario("openrc::exec_and_stop", exec_and_stop).boots_with(System::OpenRc).in_one_view(),
];

pub const PODMAN: &[EngineScenario] =
    &[scenario("systemd::podmans_own_systemd_mode", podmans_own_systemd_mode).boots()];

/// SysV's init takes no groups of its own.
pub const ROOTLESS: &[EngineScenario] = &[
    scenario("systemd::needs_delegation", needs_delegation).boots(),
    scenario("systemd::delegated", delegated).boots().only_in_v2(),
    scenario("sysv::run", run_and_exit).boots_with(System::SysV).in_one_view(),
    scenario("sysv::stop", stop).boots_with(System::SysV).in_one_view(),
    scenario("sysv::exec", exec).boots_with(System::SysV).in_one_view(),
    scenario("sysv::restart", restart).boots_with(System::SysV).in_one_view(),
    scenario("sysv::is_the_command", is_the_command).boots_with(System::SysV).in_one_view(),
    scenario("openrc::exec_and_stop", exec_and_stop).boots_with(System::OpenRc).in_one_view(),
];

/// Ends with 3 when TERM comes; prints `ready` before.
const OBEDIENT: [&str; 3] =
    ["sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done"];

/// The options that ask for the image's init beside the payload.
fn boots(engine: &Engine<'_>) -> Result<Vec<String>, String> {
    Ok(ask(engine.system()?.mode()))
}

/// A container in the background whose payload has said that it is ready.
fn booted<'a>(engine: &'a Engine<'_>, what: &str) -> Result<Container<'a>, String> {
    let options = boots(engine)?;
    let container = engine.detached(&engine.unique(what), &with(&options, &[]), &OBEDIENT)?;
    container.logs("ready")?;
    Ok(container)
}

/// Waits until the init has started everything.
fn up(system: System, container: &Container<'_>) -> Verdict {
    let (ask, answers): (&[_], &[_]) = match system {
        System::Systemd => (&["systemctl", "is-system-running"], &["running", "degraded"]),
        System::SysV | System::OpenRc => (&["runlevel"], &["N 2"]),
    };
    within("the init has started everything", || {
        let state = container.exec(&[], ask).ok()?;
        answers.contains(&state.stdout.trim()).then_some(())
    })
}

/// PID 1 is the init.
fn is_first(system: System, container: &Container<'_>) -> Verdict {
    container.exec(&[], &["cat", "/proc/1/comm"])?.prints(system.first())
}

/// Exit codes and signal deaths come out; user, directory and environment go in.
fn run_and_exit(engine: &Engine<'_>) -> Verdict {
    let options = boots(engine)?;
    let outcome =
        engine.run(&with(&options, &[]), &["sh", "-c", "cat /proc/1/comm; exit 42"])?.exits(42)?;
    let first = format!("{}\n", engine.system()?.first());
    ensure(outcome.stdout == first, || format!("{outcome}"))?;
    engine.run(&with(&options, &[]), &["sh", "-c", "kill -KILL $$"])?.exits(137)?;
    let settings = ["-u", "1000:2000", "-w", "/tmp", "-e", "PLACE=it's $here"];
    let script = "echo $(id -u):$(id -g) $PWD \"$PLACE\"";
    engine
        .run(&with(&options, &settings), &["sh", "-c", script])?
        .prints("1000:2000 /tmp it's $here")
}

/// The payload's streams are the engine's own: nothing of the init's between them.
fn streams(engine: &Engine<'_>) -> Verdict {
    let options = boots(engine)?;
    let text = "line\n".repeat(5000);
    let mut line = vec!["run", "--rm", "-i"];
    line.extend(with(&options, &[engine.image, "cat"]));
    let outcome = engine.call_with(&line, &text)?.exits(0)?;
    ensure(outcome.stdout == text, || {
        format!("{} bytes in, {} out: {}", text.len(), outcome.stdout.len(), outcome.stderr)
    })?;
    let script = ["sh", "-c", "echo to-stdout; echo to-stderr >&2; exit 6"];
    let container = engine.detached(&engine.unique("bootlogs"), &with(&options, &[]), &script)?;
    ensure(container.wait()? == 6, || "exit code 6".into())?;
    let logs = engine.call(&["logs", &container.name])?.exits(0)?;
    ensure(logs.stdout == "to-stdout\n" && logs.stderr == "to-stderr\n", || format!("logs: {logs}"))
}

/// The engine's TERM shuts the system down, which stops the payload.
fn stop(engine: &Engine<'_>) -> Verdict {
    let container = booted(engine, "bootstop")?;
    stops_with(engine, &container, "3")
}

/// It stops by itself, long before the engine kills it.
fn stops_with(engine: &Engine<'_>, container: &Container<'_>, expected: &str) -> Verdict {
    engine.call(&["stop", "-t", "1000", &container.name])?.exits(0)?;
    let code = container.field(".State.ExitCode")?;
    ensure(code == expected, || format!("exit code {expected} expected, {code} got"))
}

fn kill(engine: &Engine<'_>) -> Verdict {
    let container = booted(engine, "bootkill")?;
    engine.call(&["kill", &container.name])?.exits(0)?;
    let code = container.wait()?;
    ensure(code == 137, || format!("exit code 137 expected, {code} got"))
}

/// What joins the container talks to its init.
fn exec(engine: &Engine<'_>) -> Verdict {
    let container = booted(engine, "bootexec")?;
    let system = engine.system()?;
    up(system, &container)?;
    is_first(system, &container)?;
    container.exec(&[], &["sh", "-c", "exit 9"])?.exits(9)?;
    if system != System::Systemd {
        return container.exec(&[], &["telinit", "q"])?.exits(0).map(drop);
    }
    let failed = container.exec(&[], &["systemctl", "--failed", "--no-legend", "--plain"])?;
    failed.prints("")?;
    container.exec(&[], &["systemctl", "is-active", "richrun-payload"])?.prints("active")?;
    let unit = ["systemd-run", "--wait", "--quiet", "sh", "-c", "exit 8"];
    container.exec(&[], &unit)?.exits(8).map(drop)
}

/// All that one boot of an init shows.
fn exec_and_stop(engine: &Engine<'_>) -> Verdict {
    let container = booted(engine, "bootwhole")?;
    let system = engine.system()?;
    up(system, &container)?;
    is_first(system, &container)?;
    stops_with(engine, &container, "3")
}

fn restart_and_pause(engine: &Engine<'_>) -> Verdict {
    let container = booted(engine, "bootagain")?;
    engine.call(&["pause", &container.name])?.exits(0)?;
    ensure(container.field(".State.Status")? == "paused", || "paused".into())?;
    engine.call(&["unpause", &container.name])?.exits(0)?;
    starts_again(engine, &container)
}

/// An ordinary user cannot pause on v1.
fn restart(engine: &Engine<'_>) -> Verdict {
    starts_again(engine, &booted(engine, "bootagain")?)
}

fn starts_again(engine: &Engine<'_>, container: &Container<'_>) -> Verdict {
    container.exec(&[], &["touch", "/var/tmp/kept"])?.exits(0)?;
    engine.call(&["restart", "-t", "1000", &container.name])?.exits(0)?;
    container.logs("ready\nready\n")?;
    container.exec(&[], &["stat", "/var/tmp/kept"])?.exits(0)?;
    is_first(engine.system()?, container)
}

fn terminal(engine: &Engine<'_>) -> Verdict {
    let options = boots(engine)?;
    let mut terminal = engine.terminal(&with(&options, &[]), &["sh"])?;
    terminal.shows("# ")?;
    terminal.types(&format!("{}; tty\r", size(engine)))?;
    terminal.shows("40 100")?;
    terminal.shows("/dev/")?;
    terminal.types("exit 5\r")?;
    let code = terminal.ends()?;
    ensure(code == 5, || format!("exit 5 expected, {code} got"))
}

/// `/sbin/init` as the command, as images with an init have it.
fn is_the_command(engine: &Engine<'_>) -> Verdict {
    let options = ask("auto");
    let container =
        engine.detached(&engine.unique("bootinit"), &with(&options, &[]), &["/sbin/init"])?;
    comes_up_and_stops(engine, &container)
}

/// podman prepares such a container itself, and so does richrun: neither is in the other's way.
/// And since podman gives it its control groups, richrun need not trust anybody.
fn podmans_own_systemd_mode(engine: &Engine<'_>) -> Verdict {
    let engine = &engine.with_runtime(Path::new("richrun"));
    let options = boots(engine)?;
    let container = engine.detached(
        &engine.unique("bootboth"),
        &with(&options, &["--systemd", "always"]),
        &["/sbin/init"],
    )?;
    comes_up_and_stops(engine, &container)?;
    drop(container);
    let outcome = engine.run(
        &with(&options, &["--systemd", "always"]),
        &["sh", "-c", "cat /proc/1/comm; exit 4"],
    )?;
    outcome.exits(4).map(drop)
}

fn comes_up_and_stops(engine: &Engine<'_>, container: &Container<'_>) -> Verdict {
    let system = engine.system()?;
    up(system, container)?;
    is_first(system, container)?;
    stops_with(engine, container, "0")
}

/// No process and no cgroup is left of a whole system.
fn remove_forced(engine: &Engine<'_>) -> Verdict {
    let container = booted(engine, "bootgone")?;
    let controller = if engine.sandbox.view == View::V2 { "" } else { "pids" };
    let pid = container.pid()?;
    let knob = engine.sandbox.knob(pid, controller, "")?;
    engine.remove(&container.name)?.exits(0)?;
    ensure(!knob.exists(), || format!("{} is left", knob.display()))?;
    let mut look = engine.sandbox.command("test");
    look.args(["-e", &format!("/proc/{pid}")]);
    let alive = run(look, b"", PATIENCE)?;
    ensure(alive.code == 1, || format!("process {pid} lives on"))
}

/// systemd needs a cgroup of its own; an ordinary user without one is told so.
fn needs_delegation(engine: &Engine<'_>) -> Verdict {
    let options = boots(engine)?;
    let outcome = engine.run(&with(&options, &[]), &["true"])?;
    ensure(outcome.code > 124 && outcome.stderr.contains("missing a cgroup of its own"), || {
        format!("{outcome}")
    })
}

/// With a delegated group, as a login session's is, it boots.
fn delegated(engine: &Engine<'_>) -> Verdict {
    let group = engine.sandbox.delegated("login")?;
    let options = boots(engine)?;
    let mut line = vec!["run", "--rm"];
    line.extend(with(&options, &[engine.image, "sh", "-c", "cat /proc/1/comm; exit 11"]));
    let command = engine.command(&line);
    let mut inside = Command::new("sh");
    inside.args(["-ec", "echo $$ >$0; exec \"$@\""]).arg(group.join("cgroup.procs"));
    inside.arg(command.get_program()).args(command.get_args());
    let outcome = run(inside, b"", PATIENCE)?.exits(11)?;
    ensure(outcome.stdout == "systemd\n", || format!("{outcome}"))
}
