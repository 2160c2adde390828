//! podman: a container's life.

use richrun_engines::podman::Podman;
use richrun_engines::{Verdict, command, ensure, within};

use crate::{PodmanScenario, scenario};

/// Payload: ends with 3 when TERM comes, says `ready` before.
const OBEDIENT: [&str; 3] = [
    "sh",
    "-c",
    "trap 'exit 3' TERM; trap 'exit 4' USR1; echo ready; while :; do sleep 0.05; done",
];
/// Payload: does not care for TERM.
const STUBBORN: [&str; 3] = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"];
/// Payload: counts in `/shared/count`.
const COUNTER: [&str; 3] = [
    "sh",
    "-c",
    "n=0; while :; do n=$((n+1)); echo $n >/shared/next; mv /shared/next /shared/count; sleep 0.05; done",
];

pub const PODMAN: &[PodmanScenario] = &[
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
    scenario("remove_created", remove_created),
    scenario("init", init),
    scenario("twenty_in_a_row", twenty_in_a_row),
];

fn run(podman: &Podman<'_>) -> Verdict {
    let outcome = podman.run(&[], &["echo", "a word", "$HOME"])?.exits(0)?;
    ensure(outcome.stdout == "a word $HOME\n", || format!("stdout: {outcome}"))?;
    ensure(outcome.stderr.is_empty(), || format!("stderr is not empty: {outcome}"))
}

fn exit_codes(podman: &Podman<'_>) -> Verdict {
    podman.run(&[], &["sh", "-c", "exit 7"])?.exits(7)?;
    podman.run(&[], &["sh", "-c", "exit 255"])?.exits(255)?;
    podman.run(&["--init"], &["sh", "-c", "kill -9 $$"])?.exits(137).map(drop)
}

fn not_found(podman: &Podman<'_>) -> Verdict {
    let outcome = podman.run(&[], &["no-such-program"])?.exits(127)?;
    ensure(outcome.stderr.contains("no-such-program"), || {
        format!("the program's name in the message: {outcome}")
    })?;
    podman.run(&[], &["/no/such/program"])?.exits(127)?;
    podman.run(&[], &["/etc/passwd"])?.exits(126)?;
    podman.run(&[], &["/etc"])?.exits(126).map(drop)
}

fn detached(podman: &Podman<'_>) -> Verdict {
    let container = podman.detached(&podman.unique("detached"), &[], &OBEDIENT)?;
    container.logs("ready")?;
    ensure(container.field(".State.Status")? == "running", || "running".into())?;
    let pid = container.pid()?;
    ensure(pid > 1, || format!("pid {pid}"))?;
    let mut comm = podman.sandbox.command("cat");
    comm.arg(format!("/proc/{pid}/comm"));
    command::run(comm, b"", command::PATIENCE)?.prints("sh")?;
    let list = podman.call(&["ps", "--format", "{{.Names}}"])?.text()?;
    ensure(list.lines().any(|name| name == container.name), || format!("ps: {list}"))
}

fn stop(podman: &Podman<'_>) -> Verdict {
    let container = podman.detached(&podman.unique("stop"), &[], &OBEDIENT)?;
    container.logs("ready")?;
    let begun = std::time::Instant::now();
    let outcome = podman.call(&["stop", "-t", "20", &container.name])?.exits(0)?;
    ensure(begun.elapsed().as_secs() < 10, || format!("TERM did not arrive: {outcome}"))?;
    ensure(container.field(".State.ExitCode")? == "3", || "exit code 3".into())?;
    ensure(container.field(".State.Status")? == "exited", || "exited".into())
}

fn stop_kills_in_the_end(podman: &Podman<'_>) -> Verdict {
    let container = podman.detached(&podman.unique("stubborn"), &[], &STUBBORN)?;
    container.logs("ready")?;
    podman.call(&["stop", "-t", "1", &container.name])?.exits(0)?;
    ensure(container.field(".State.ExitCode")? == "137", || "exit code 137".into())
}

fn kill(podman: &Podman<'_>) -> Verdict {
    let container = podman.detached(&podman.unique("kill"), &[], &OBEDIENT)?;
    container.logs("ready")?;
    podman.call(&["kill", "-s", "USR1", &container.name])?.exits(0)?;
    let code = container.wait()?;
    ensure(code == 4, || format!("USR1: exit code 4 expected, {code} got"))?;
    let refused = podman.call(&["kill", &container.name])?;
    ensure(refused.code != 0, || format!("killing the dead: {refused}"))?;
    let container = podman.detached(&podman.unique("kill9"), &[], &STUBBORN)?;
    container.logs("ready")?;
    podman.call(&["kill", &container.name])?.exits(0)?;
    let code = container.wait()?;
    ensure(code == 137, || format!("KILL: exit code 137 expected, {code} got"))
}

fn restart(podman: &Podman<'_>) -> Verdict {
    let container = podman.detached(&podman.unique("restart"), &[], &OBEDIENT)?;
    container.logs("ready")?;
    let before = container.pid()?;
    container.exec(&[], &["touch", "/tmp/kept"])?.exits(0)?;
    podman.call(&["restart", "-t", "5", &container.name])?.exits(0)?;
    let after = container.pid()?;
    ensure(after > 1 && after != before, || format!("pid {before}, then {after}"))?;
    container.exec(&[], &["stat", "/tmp/kept"])?.exits(0)?;
    ensure(container.field(".State.Status")? == "running", || "running again".into())
}

fn stop_and_start(podman: &Podman<'_>) -> Verdict {
    let container = podman.detached(&podman.unique("again"), &[], &OBEDIENT)?;
    for _ in 0..3 {
        podman.call(&["stop", "-t", "5", &container.name])?.exits(0)?;
        podman.call(&["start", &container.name])?.exits(0)?;
        container.exec(&[], &["echo", "up"])?.prints("up")?;
    }
    Ok(())
}

fn pause(podman: &Podman<'_>) -> Verdict {
    let container =
        podman.detached(&podman.unique("pause"), &["-v", &podman.shared("pause")?], &COUNTER)?;
    let count =
        || std::fs::read_to_string(podman.shared_dir("pause").join("count")).unwrap_or_default();
    within(10, "the counter counts", || (!count().is_empty()).then_some(()))?;
    podman.call(&["pause", &container.name])?.exits(0)?;
    ensure(container.field(".State.Status")? == "paused", || "paused".into())?;
    let frozen = count();
    std::thread::sleep(std::time::Duration::from_millis(300));
    ensure(count() == frozen, || format!("the counter went on from {frozen} to {}", count()))?;
    let refused = container.exec(&[], &["true"])?;
    ensure(refused.code != 0, || format!("exec into a paused container: {refused}"))?;
    podman.call(&["unpause", &container.name])?.exits(0)?;
    within(10, "the counter goes on", || (count() != frozen).then_some(()))?;
    ensure(container.field(".State.Status")? == "running", || "running".into())
}

fn remove_forced(podman: &Podman<'_>) -> Verdict {
    for paused in [false, true] {
        let container = podman.detached(&podman.unique("gone"), &[], &STUBBORN)?;
        container.logs("ready")?;
        let pid = container.pid()?;
        if paused {
            podman.call(&["pause", &container.name])?.exits(0)?;
        }
        podman.call(&["rm", "-f", "-t", "0", &container.name])?.exits(0)?;
        let mut look = podman.sandbox.command("test");
        look.args(["-e", &format!("/proc/{pid}")]);
        let alive = command::run(look, b"", command::PATIENCE)?;
        ensure(alive.code == 1, || format!("process {pid} lives on (paused: {paused})"))?;
        let known = podman.call(&["container", "exists", &container.name])?;
        ensure(known.code == 1, || format!("still known: {known}"))?;
    }
    Ok(())
}

fn remove_created(podman: &Podman<'_>) -> Verdict {
    let name = podman.unique("created");
    podman
        .call(&["create", "--name", &name, richrun_engines::image::NAME, "sleep", "1000"])?
        .exits(0)?;
    podman.call(&["init", &name])?.exits(0)?;
    let status = podman.call(&["inspect", "--format", "{{.State.Status}}", &name])?.text()?;
    ensure(status == "initialized", || format!("initialized expected: {status}"))?;
    podman.call(&["rm", "-f", "-t", "0", &name])?.exits(0).map(drop)
}

fn init(podman: &Podman<'_>) -> Verdict {
    let script = "read -r name </proc/1/comm; echo $name; (sh -c 'sleep 0.1 & exit 0' &); sleep 0.4; \
                  for stat in /proc/[0-9]*/stat; do grep -q ') Z ' $stat && echo zombie; done; exit 5";
    let outcome = podman.run(&["--init"], &["sh", "-c", script])?.exits(5)?;
    let first = outcome.stdout.lines().next().unwrap_or_default().to_owned();
    ensure(first.ends_with("init") || first == "catatonit", || {
        format!("PID 1 is not an init: {outcome}")
    })?;
    ensure(!outcome.stdout.contains("zombie"), || format!("a zombie: {outcome}"))
}

fn twenty_in_a_row(podman: &Podman<'_>) -> Verdict {
    (0..20).try_for_each(|number| {
        podman.run(&[], &["sh", "-c", &format!("exit {number}")])?.exits(number).map(drop)
    })
}
