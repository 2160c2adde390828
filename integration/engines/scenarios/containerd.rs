//! containerd, through `ctr`.

use richrun_engines::containerd::Ctr;
use richrun_engines::view::View;
use richrun_engines::{Verdict, ensure, within};

use crate::{CtrScenario, Scenario};

/// containerd sets CPU shares and reads processor and memory statistics.
pub const NEEDS: &[&str] = &["cpu", "memory", "pids"];

const OBEDIENT: [&str; 3] =
    ["sh", "-c", "trap 'exit 3' TERM; touch /ready; while :; do sleep 0.05; done"];

const fn scenario(name: &'static str, run: fn(&Ctr<'_>) -> Verdict) -> CtrScenario {
    Scenario::new(name, run).needs(NEEDS)
}

pub const CTR: &[CtrScenario] = &[
    scenario("run", run),
    scenario("exit_codes", exit_codes),
    scenario("not_found", not_found),
    scenario("stdin", stdin),
    scenario("terminal", terminal),
    scenario("options", options),
    scenario("detached", detached),
    scenario("exec", exec),
    scenario("kill", kill),
    scenario("kill_all", kill_all),
    scenario("pause", pause),
    scenario("processes", processes),
    scenario("metrics", metrics),
    scenario("remove_forced", remove_forced),
];

/// An id that no other trial of the sandbox uses.
pub fn id(ctr: &Ctr<'_>, what: &str) -> String {
    format!("{}-{what}", ctr.runtime.file_name().unwrap_or_default().to_string_lossy())
}

fn run(ctr: &Ctr<'_>) -> Verdict {
    ctr.run(&id(ctr, "run"), &[], &["echo", "a word"])?.prints("a word")
}

fn exit_codes(ctr: &Ctr<'_>) -> Verdict {
    ctr.run(&id(ctr, "seven"), &[], &["sh", "-c", "exit 7"])?.exits(7)?;
    let pid_one = ctr.run(&id(ctr, "signal"), &[], &["sh", "-c", "sh -c 'kill -9 $$'; exit $?"])?;
    pid_one.exits(137).map(drop)
}

fn not_found(ctr: &Ctr<'_>) -> Verdict {
    let outcome = ctr.run(&id(ctr, "nothing"), &[], &["no-such-program"])?.exits(1)?;
    ensure(outcome.stderr.contains("no-such-program"), || {
        format!("the program's name in the message: {outcome}")
    })?;
    ensure(outcome.stderr.contains("not found") || outcome.stderr.contains("no such file"), || {
        format!("{outcome}")
    })
}

fn stdin(ctr: &Ctr<'_>) -> Verdict {
    let outcome = ctr.run_with(&id(ctr, "stdin"), &[], &["head", "-n", "1"], "typed\n")?;
    outcome.prints("typed")
}

fn terminal(ctr: &Ctr<'_>) -> Verdict {
    let mut terminal = ctr.terminal(&id(ctr, "tty"), &["sh"])?;
    terminal.shows("/ #")?;
    // ctr sets the size after the start.
    terminal.types("tty; until stty size 2>/dev/null; do sleep 0.1; done\r")?;
    terminal.shows("/dev/pts/")?;
    terminal.shows("40 100")?;
    terminal.types("exit 5\r")?;
    let code = terminal.ends()?;
    ensure(code == 5, || format!("exit 5 expected, {code} got"))
}

fn options(ctr: &Ctr<'_>) -> Verdict {
    let shared = ctr.sandbox.work.join(id(ctr, "shared"));
    std::fs::create_dir_all(&shared)
        .and_then(|()| std::fs::write(shared.join("f"), "from host\n"))
        .map_err(|error| error.to_string())?;
    let mount = format!("type=bind,src={},dst=/mnt,options=rbind:ro", shared.display());
    let script = "echo $A $(pwd); cat /mnt/f; touch /mnt/x /x 2>/dev/null && echo wrote; true";
    let options = ["--env", "A=b", "--cwd", "/srv", "--read-only", "--mount", &mount];
    ctr.run(&id(ctr, "options"), &options, &["sh", "-c", script])?.prints("b /srv\nfrom host")
}

fn detached(ctr: &Ctr<'_>) -> Verdict {
    let task = ctr.detached(&id(ctr, "detached"), &[], &OBEDIENT)?;
    let (pid, state) = task.status()?;
    ensure(pid > 1 && state == "RUNNING", || format!("{pid} {state}"))
}

fn exec(ctr: &Ctr<'_>) -> Verdict {
    let task = ctr.detached(&id(ctr, "exec"), &[], &OBEDIENT)?;
    task.exec(&[], &["echo", "inside"])?.prints("inside")?;
    task.exec(&[], &["sh", "-c", "exit 9"])?.exits(9)?;
    task.exec(&["--cwd", "/srv", "--user", "1000"], &["sh", "-c", "echo $(pwd) $(id -u)"])?
        .prints("/srv 1000")?;
    let outcome = task.exec(&[], &["no-such-program"])?.exits(1)?;
    ensure(outcome.stderr.contains("no-such-program"), || format!("{outcome}"))?;
    // rich-init shows itself to nobody (docs/inits.md); its child is where it is.
    let first = if ctr.is_rich() { "2" } else { "1" };
    let script = "readlink /proc/self/ns/pid; readlink /proc/$0/ns/pid";
    let text = task.exec(&[], &["sh", "-c", script, first])?.text()?;
    let mut lines = text.lines();
    ensure(lines.next() == lines.next(), || text.clone())
}

fn kill(ctr: &Ctr<'_>) -> Verdict {
    let task = ctr.detached(&id(ctr, "term"), &[], &OBEDIENT)?;
    within("the payload's trap", || task.exec(&[], &["test", "-e", "/ready"]).ok()?.exits(0).ok())?;
    task.does("kill", &[])?.exits(0)?;
    task.becomes("STOPPED")?;
    let code = task.delete()?;
    ensure(code == 3, || format!("TERM: exit code 3 expected, {code} got"))?;
    drop(task);
    let task = ctr.detached(
        &id(ctr, "kill"),
        &[],
        &["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"],
    )?;
    task.does("kill", &["--signal", "SIGKILL"])?.exits(0)?;
    task.becomes("STOPPED")?;
    let refused = task.does("kill", &["--signal", "SIGKILL"])?;
    ensure(refused.code == 0 || refused.stderr.contains("not found"), || {
        format!("killing the dead: {refused}")
    })?;
    let code = task.delete()?;
    ensure(code == 137, || format!("KILL: exit code 137 expected, {code} got"))
}

fn kill_all(ctr: &Ctr<'_>) -> Verdict {
    let task =
        ctr.detached(&id(ctr, "all"), &[], &["sh", "-c", "sleep 1000 & sleep 1000 & wait"])?;
    task.does("kill", &["--all", "--signal", "SIGKILL"])?.exits(0)?;
    task.becomes("STOPPED")
}

fn pause(ctr: &Ctr<'_>) -> Verdict {
    let task = ctr.detached(&id(ctr, "pause"), &[], &OBEDIENT)?;
    task.does("pause", &[])?.exits(0)?;
    let (pid, state) = task.status()?;
    ensure(state == "PAUSED", || state.clone())?;
    let (file, frozen) = match ctr.sandbox.view {
        View::V2 => ("cgroup.events", "frozen 1"),
        View::V1 | View::Hybrid => ("freezer.state", "FROZEN"),
    };
    let knob = ctr.sandbox.knob(pid, "freezer", file)?;
    let is_frozen = || std::fs::read_to_string(&knob).is_ok_and(|found| found.contains(frozen));
    if ctr.is_peer() {
        // crun does not wait for the kernel on cgroup v1.
        within("the freezing", || is_frozen().then_some(()))?;
    }
    ensure(is_frozen(), || format!("{}: not {frozen}", knob.display()))?;
    task.does("resume", &[])?.exits(0)?;
    task.becomes("RUNNING")?;
    task.exec(&[], &["echo", "awake"])?.prints("awake")
}

fn processes(ctr: &Ctr<'_>) -> Verdict {
    let task =
        ctr.detached(&id(ctr, "ps"), &[], &["sh", "-c", "sleep 1000 & sleep 1000 & wait"])?;
    // A heading, a shell and two others, and PID 1 where that is an init.
    let lines = if ctr.is_rich() { 5 } else { 4 };
    within("all processes in `task ps`", || {
        let list = task.does("ps", &[]).ok()?.text().ok()?;
        (list.lines().count() == lines).then_some(())
    })
}

fn metrics(ctr: &Ctr<'_>) -> Verdict {
    let task = ctr.detached(&id(ctr, "metrics"), &["--memory-limit", "67108864"], &OBEDIENT)?;
    let text = task.does("metrics", &["--format", "json"])?.text()?;
    let data: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    let limit = match ctr.sandbox.view {
        View::V2 => &data["memory"]["usage_limit"],
        View::V1 | View::Hybrid => &data["memory"]["usage"]["limit"],
    };
    ensure(limit.as_u64() == Some(67_108_864), || format!("memory limit {limit} in {text}"))?;
    ensure(data["pids"]["current"].as_u64().is_some_and(|count| count >= 1), || text.clone())
}

fn remove_forced(ctr: &Ctr<'_>) -> Verdict {
    let task = ctr.detached(
        &id(ctr, "force"),
        &[],
        &["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"],
    )?;
    let directory = ctr.sandbox.knob(task.status()?.0, "pids", "")?;
    task.does("rm", &["-f"])?;
    ensure(task.status().is_err(), || "the task is still there".into())?;
    ensure(!directory.exists(), || format!("{} is left", directory.display()))
}
