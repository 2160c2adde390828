//! podman and Docker: standard streams, terminals, logs, and processes that join.

use std::time::Duration;

use richrun_engines::engine::Engine;
use richrun_engines::kind::Kind;
use richrun_engines::terminal::Terminal;
use richrun_engines::{Verdict, ensure};

use crate::{EngineScenario, scenario};

const SLEEPER: [&str; 3] = ["sh", "-c", "echo ready; while :; do sleep 1; done"];

pub const BOTH: &[EngineScenario] = &[
    scenario("stdin", stdin),
    scenario("big_output", big_output),
    scenario("terminal", terminal),
    scenario("terminal_interrupt", terminal_interrupt),
    scenario("terminal_detach", terminal_detach),
    scenario("logs", logs),
    scenario("exec", exec),
    scenario("exec_environment", exec_environment),
    scenario("exec_terminal", exec_terminal),
    scenario("exec_detached", exec_detached),
    scenario("exec_many", exec_many),
];

/// Docker's `exec` has exit statuses of its own for a program that is not there.
pub const PODMAN: &[EngineScenario] = &[scenario("exec_failures", exec_failures)];

fn stdin(engine: &Engine<'_>) -> Verdict {
    let text = "line\n".repeat(5000);
    let outcome = engine.call_with(&["run", "--rm", "-i", engine.image, "cat"], &text)?.exits(0)?;
    ensure(outcome.stdout == text, || {
        format!("{} bytes in, {} out: {}", text.len(), outcome.stdout.len(), outcome.stderr)
    })
}

fn big_output(engine: &Engine<'_>) -> Verdict {
    let outcome = engine
        .run(&[], &["sh", "-c", "dd if=/dev/zero bs=65536 count=64 2>/dev/null; echo end >&2"])?
        .exits(0)?;
    ensure(outcome.stdout.len() == 64 * 65536, || format!("{} bytes", outcome.stdout.len()))?;
    ensure(outcome.stderr == "end\n", || format!("stderr {:?}", outcome.stderr))
}

/// Prints the window's size. Docker's client sets it some time after the start.
pub fn size(engine: &Engine<'_>) -> &'static str {
    match engine.kind {
        Kind::Podman | Kind::Rootless => "stty size",
        Kind::Docker => "until stty size 2>/dev/null | grep -v '^0 0$'; do sleep 0.1; done",
    }
}

fn terminal(engine: &Engine<'_>) -> Verdict {
    let mut terminal = engine.terminal(&[], &["sh"])?;
    terminal.shows("/ #")?;
    terminal.types(&format!("tty; {}\r", size(engine)))?;
    terminal.shows("/dev/pts/")?;
    terminal.shows("40 100")?;
    terminal.types("until stty size | grep '^50.120'; do sleep 0.1; done; echo $((6*7))\r")?;
    // Docker's client sets the first size before it listens for the next one.
    let mut verdict = Ok(());
    for _ in 0..10 {
        terminal.resize(51, 120)?;
        terminal.resize(50, 120)?;
        verdict = terminal.shows_within(Duration::from_secs(2), "50 120");
        if verdict.is_ok() {
            break;
        }
    }
    verdict?;
    terminal.shows("42")?;
    terminal.types("exit 5\r")?;
    let code = terminal.ends()?;
    ensure(code == 5, || format!("exit 5 expected, {code} got"))
}

fn terminal_interrupt(engine: &Engine<'_>) -> Verdict {
    let mut terminal = engine.terminal(
        &[],
        &["sh", "-c", "trap 'exit 130' INT; echo ready; while :; do sleep 0.1; done"],
    )?;
    terminal.shows("ready")?;
    terminal.types("\x03")?;
    let code = terminal.ends()?;
    ensure(code == 130, || format!("130 after ^C expected, {code} got"))
}

fn terminal_detach(engine: &Engine<'_>) -> Verdict {
    let name = engine.unique("leave");
    let mut terminal = Terminal::start(&engine.command(&[
        "run",
        "-it",
        "--name",
        &name,
        richrun_engines::image::NAME,
        "sh",
    ]))?;
    terminal.shows("/ #")?;
    // podman takes the keys of the sequence only one by one.
    terminal.types("\x10")?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    terminal.types("\x11")?;
    terminal.ends()?;
    let status = engine.call(&["inspect", "--format", "{{.State.Status}}", &name])?.text()?;
    let removed = engine.remove(&name)?;
    ensure(status == "running", || format!("running after detaching expected: {status}"))?;
    removed.exits(0).map(drop)
}

fn logs(engine: &Engine<'_>) -> Verdict {
    let container = engine.detached(
        &engine.unique("logs"),
        &[],
        &["sh", "-c", "echo to-stdout; echo to-stderr >&2; exit 6"],
    )?;
    ensure(container.wait()? == 6, || "exit code 6".into())?;
    container.logs("to-stdout")?;
    let outcome = engine.call(&["logs", &container.name])?.exits(0)?;
    ensure(outcome.stdout == "to-stdout\n" && outcome.stderr == "to-stderr\n", || {
        format!("logs: {outcome}")
    })
}

fn exec(engine: &Engine<'_>) -> Verdict {
    let container = engine.detached(&engine.unique("exec"), &[], &SLEEPER)?;
    container.exec(&[], &["echo", "inside"])?.prints("inside")?;
    container.exec(&[], &["sh", "-c", "exit 9"])?.exits(9)?;
    container.exec(&[], &["sh", "-c", "kill -TERM $$"])?.exits(143)?;
    let script = "for n in pid mnt net ipc uts cgroup; do readlink /proc/$0/ns/$n; done";
    let here = container.exec(&[], &["sh", "-c", script, "self"])?.text()?;
    // rich-init shows itself to nobody (docs/inits.md); its child is where it is.
    let first = if engine.is_rich() { "2" } else { "1" };
    let there = container.exec(&[], &["sh", "-c", script, first])?.text()?;
    ensure(here == there, || format!("namespaces differ: {here}, {there}"))?;
    let piped = engine.call_with(&["exec", "-i", &container.name, "cat"], "through\n")?.exits(0)?;
    ensure(piped.stdout == "through\n", || format!("{piped}"))
}

fn exec_environment(engine: &Engine<'_>) -> Verdict {
    let container = engine.detached(&engine.unique("execenv"), &["-e", "FROM=run"], &SLEEPER)?;
    container
        .exec(
            &["-e", "MINE=x y", "-w", "/tmp", "-u", "1000:2000"],
            &["sh", "-c", "echo $FROM,$MINE,$PWD,$(id -u):$(id -g)"],
        )?
        .prints("run,x y,/tmp,1000:2000")?;
    container.exec(&["-u", "user"], &["id", "-G"])?.prints("1000 2000")?;
    let caps = container.exec(&["-u", "user"], &["grep", "CapEff", "/proc/self/status"])?.text()?;
    ensure(caps.ends_with("0000000000000000"), || {
        format!("an ordinary user's capabilities: {caps}")
    })
}

fn exec_failures(engine: &Engine<'_>) -> Verdict {
    let container = engine.detached(&engine.unique("execfail"), &[], &SLEEPER)?;
    container.exec(&[], &["no-such-program"])?.exits(127)?;
    container.exec(&[], &["/etc/passwd"])?.exits(126)?;
    container.exec(&[], &["true"])?.exits(0).map(drop)
}

fn exec_terminal(engine: &Engine<'_>) -> Verdict {
    let container = engine.detached(&engine.unique("exectty"), &[], &SLEEPER)?;
    let mut terminal = Terminal::start(&engine.command(&["exec", "-it", &container.name, "sh"]))?;
    terminal.shows("/ #")?;
    terminal.types(&format!("{}; tty\r", size(engine)))?;
    terminal.shows("40 100")?;
    terminal.shows("/dev/pts/")?;
    terminal.types("exit 8\r")?;
    let code = terminal.ends()?;
    ensure(code == 8, || format!("exit 8 expected, {code} got"))
}

fn exec_detached(engine: &Engine<'_>) -> Verdict {
    let container = engine.detached(&engine.unique("execd"), &[], &SLEEPER)?;
    container.exec(&["-d"], &["sh", "-c", "echo done >/tmp/mark; sleep 100"])?.exits(0)?;
    richrun_engines::within("the detached process wrote", || {
        container.exec(&[], &["cat", "/tmp/mark"]).ok().filter(|outcome| outcome.stdout == "done\n")
    })
    .map(drop)
}

fn exec_many(engine: &Engine<'_>) -> Verdict {
    let container = engine.detached(&engine.unique("execmany"), &[], &SLEEPER)?;
    (0..10).try_for_each(|number| {
        container
            .exec(&[], &["sh", "-c", &format!("echo {number}; exit {number}")])?
            .exits(number)
            .map(drop)
    })
}
