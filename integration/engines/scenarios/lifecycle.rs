//! podman and Docker: a container's life.

use richrun_engines::engine::Engine;
use richrun_engines::runtimes;
use richrun_engines::{Verdict, command, ensure, within};

use crate::{EngineScenario, scenario};

/// Payload: ends with 3 when TERM comes, says `ready` before.
pub const OBEDIENT: [&str; 3] = [
    "sh",
    "-c",
    "trap 'exit 3' TERM; trap 'exit 4' USR1; echo ready; while :; do sleep 0.05; done",
];
/// Payload: does not care for TERM.
pub const STUBBORN: [&str; 3] =
    ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"];
/// Payload: counts in `/shared/count`.
const COUNTER: [&str; 3] = [
    "sh",
    "-c",
    "n=0; while :; do n=$((n+1)); echo $n >/shared/next; mv /shared/next /shared/count; sleep 0.05; done",
];

pub const BOTH: &[EngineScenario] = &[
    scenario("run", run),
    scenario("exit_codes", exit_codes),
    scenario("not_found", not_found),
    scenario("detached", detached),
    scenario("stop", stop),
    scenario("stop_kills_in_the_end", stop_kills_in_the_end),
    scenario("kill", kill),
    scenario("restart", restart),
    scenario("stop_and_start", stop_and_start),
    scenario("pause", pause),
    scenario("remove_forced", remove_forced),
    scenario("init", init),
    scenario("twenty_in_a_row", twenty_in_a_row),
];

pub const PODMAN: &[EngineScenario] =
    &[scenario("remove_created", remove_created), scenario("init_path", init_path)];

fn run(engine: &Engine<'_>) -> Verdict {
    let outcome = engine.run(&[], &["echo", "a word", "$HOME"])?.exits(0)?;
    ensure(outcome.stdout == "a word $HOME\n", || format!("stdout: {outcome}"))?;
    ensure(outcome.stderr.is_empty(), || format!("stderr is not empty: {outcome}"))
}

fn exit_codes(engine: &Engine<'_>) -> Verdict {
    engine.run(&[], &["sh", "-c", "exit 7"])?.exits(7)?;
    engine.run(&[], &["sh", "-c", "exit 255"])?.exits(255)?;
    engine.run(&["--init"], &["sh", "-c", "kill -9 $$"])?.exits(137).map(drop)
}

fn not_found(engine: &Engine<'_>) -> Verdict {
    let outcome = engine.run(&[], &["no-such-program"])?.exits(127)?;
    ensure(outcome.stderr.contains("no-such-program"), || {
        format!("the program's name in the message: {outcome}")
    })?;
    engine.run(&[], &["/no/such/program"])?.exits(127)?;
    engine.run(&[], &["/etc/passwd"])?.exits(126)?;
    engine.run(&[], &["/etc"])?.exits(126).map(drop)
}

fn detached(engine: &Engine<'_>) -> Verdict {
    let container = engine.detached(&engine.unique("detached"), &[], &OBEDIENT)?;
    container.logs("ready")?;
    ensure(container.field(".State.Status")? == "running", || "running".into())?;
    let pid = container.pid()?;
    ensure(pid > 1, || format!("pid {pid}"))?;
    let mut comm = engine.sandbox.command("cat");
    comm.arg(format!("/proc/{pid}/comm"));
    let first = if engine.is_rich() { "rich-init" } else { "sh" };
    command::run(comm, b"", command::PATIENCE)?.prints(first)?;
    let list = engine.call(&["ps", "--format", "{{.Names}}"])?.text()?;
    ensure(list.lines().any(|name| name == container.name), || format!("ps: {list}"))
}

fn stop(engine: &Engine<'_>) -> Verdict {
    let container = engine.detached(&engine.unique("stop"), &[], &OBEDIENT)?;
    container.logs("ready")?;
    engine.call(&["stop", "-t", "1000", &container.name])?.exits(0)?;
    ensure(container.field(".State.ExitCode")? == "3", || "exit code 3".into())?;
    ensure(container.field(".State.Status")? == "exited", || "exited".into())
}

fn stop_kills_in_the_end(engine: &Engine<'_>) -> Verdict {
    let container = engine.detached(&engine.unique("stubborn"), &[], &STUBBORN)?;
    container.logs("ready")?;
    engine.call(&["stop", "-t", "1", &container.name])?.exits(0)?;
    ensure(container.field(".State.ExitCode")? == "137", || "exit code 137".into())
}

fn kill(engine: &Engine<'_>) -> Verdict {
    let container = engine.detached(&engine.unique("kill"), &[], &OBEDIENT)?;
    container.logs("ready")?;
    engine.call(&["kill", "-s", "USR1", &container.name])?.exits(0)?;
    let code = container.wait()?;
    ensure(code == 4, || format!("USR1: exit code 4 expected, {code} got"))?;
    let refused = engine.call(&["kill", &container.name])?;
    ensure(refused.code != 0, || format!("killing the dead: {refused}"))?;
    let container = engine.detached(&engine.unique("kill9"), &[], &STUBBORN)?;
    container.logs("ready")?;
    engine.call(&["kill", &container.name])?.exits(0)?;
    let code = container.wait()?;
    ensure(code == 137, || format!("KILL: exit code 137 expected, {code} got"))
}

fn restart(engine: &Engine<'_>) -> Verdict {
    let container = engine.detached(&engine.unique("restart"), &[], &OBEDIENT)?;
    container.logs("ready")?;
    let before = container.pid()?;
    container.exec(&[], &["touch", "/tmp/kept"])?.exits(0)?;
    engine.call(&["restart", "-t", "5", &container.name])?.exits(0)?;
    let after = container.pid()?;
    ensure(after > 1 && after != before, || format!("pid {before}, then {after}"))?;
    container.exec(&[], &["stat", "/tmp/kept"])?.exits(0)?;
    ensure(container.field(".State.Status")? == "running", || "running again".into())
}

fn stop_and_start(engine: &Engine<'_>) -> Verdict {
    let container = engine.detached(&engine.unique("again"), &[], &OBEDIENT)?;
    for _ in 0..3 {
        engine.call(&["stop", "-t", "5", &container.name])?.exits(0)?;
        engine.call(&["start", &container.name])?.exits(0)?;
        container.exec(&[], &["echo", "up"])?.prints("up")?;
    }
    Ok(())
}

fn pause(engine: &Engine<'_>) -> Verdict {
    let container =
        engine.detached(&engine.unique("pause"), &["-v", &engine.shared("pause")?], &COUNTER)?;
    let count =
        || std::fs::read_to_string(engine.shared_dir("pause").join("count")).unwrap_or_default();
    within("the counter counts", || (!count().is_empty()).then_some(()))?;
    engine.call(&["pause", &container.name])?.exits(0)?;
    ensure(container.field(".State.Status")? == "paused", || "paused".into())?;
    let frozen = count();
    std::thread::sleep(std::time::Duration::from_millis(300));
    ensure(count() == frozen, || format!("the counter went on from {frozen} to {}", count()))?;
    let refused = container.exec(&[], &["true"])?;
    ensure(refused.code != 0, || format!("exec into a paused container: {refused}"))?;
    engine.call(&["unpause", &container.name])?.exits(0)?;
    within("the counter goes on", || (count() != frozen).then_some(()))?;
    ensure(container.field(".State.Status")? == "running", || "running".into())
}

fn remove_forced(engine: &Engine<'_>) -> Verdict {
    for paused in [false, true] {
        let container = engine.detached(&engine.unique("gone"), &[], &STUBBORN)?;
        container.logs("ready")?;
        let pid = container.pid()?;
        if paused {
            engine.call(&["pause", &container.name])?.exits(0)?;
        }
        engine.remove(&container.name)?.exits(0)?;
        let mut look = engine.sandbox.command("test");
        look.args(["-e", &format!("/proc/{pid}")]);
        let alive = command::run(look, b"", command::PATIENCE)?;
        ensure(alive.code == 1, || format!("process {pid} lives on (paused: {paused})"))?;
        let known = engine.call(&["inspect", &container.name])?;
        ensure(known.code != 0, || format!("still known: {known}"))?;
    }
    Ok(())
}

fn remove_created(engine: &Engine<'_>) -> Verdict {
    let name = engine.unique("created");
    engine
        .call(&["create", "--name", &name, richrun_engines::image::NAME, "sleep", "1000"])?
        .exits(0)?;
    engine.call(&["init", &name])?.exits(0)?;
    let status = engine.call(&["inspect", "--format", "{{.State.Status}}", &name])?.text()?;
    ensure(status == "initialized", || format!("initialized expected: {status}"))?;
    engine.remove(&name)?.exits(0).map(drop)
}

fn init(engine: &Engine<'_>) -> Verdict {
    let script = "read -r name </proc/1/comm; echo $name; \
                  orphan=$(sh -c 'sleep 0.1 >/dev/null & echo $!'); \
                  while [ -e /proc/$orphan ]; do sleep 0.02; done; exit 5";
    let outcome = engine.run(&["--init"], &["sh", "-c", script])?.exits(5)?;
    let first = outcome.stdout.lines().next().unwrap_or_default().to_owned();
    ensure(first.ends_with("init") || first == "catatonit", || {
        format!("PID 1 is not an init: {outcome}")
    })
}

/// rich-init as the init that podman brings, under any runtime.
fn init_path(engine: &Engine<'_>) -> Verdict {
    let program = runtimes::rich_init().ok_or("no rich-init: make build")?;
    let program = engine.sandbox.stage("rich-init", &program)?.to_string_lossy().into_owned();
    let script = "read -r name </proc/1/comm; echo $name; exit 5";
    let options = ["--init", "--init-path", &program];
    let outcome = engine.run(&options, &["sh", "-c", script])?.exits(5)?;
    let first = if engine.is_rich() { "rich-init" } else { "podman-init" };
    ensure(outcome.stdout.trim() == first, || format!("{outcome}"))?;
    engine.run(&options, &["sh", "-c", "kill -TERM $$"])?.exits(143)?;
    let container = engine.detached(&engine.unique("initpath"), &options, &OBEDIENT)?;
    container.logs("ready")?;
    engine.call(&["stop", "-t", "20", &container.name])?.exits(0)?;
    ensure(container.field(".State.ExitCode")? == "3", || "exit code 3".into())
}

fn twenty_in_a_row(engine: &Engine<'_>) -> Verdict {
    (0..20).try_for_each(|number| {
        engine.run(&[], &["sh", "-c", &format!("exit {number}")])?.exits(number).map(drop)
    })
}
