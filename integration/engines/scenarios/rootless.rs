//! podman as an ordinary user with subordinate ids.

use richrun_engines::engine::Engine;
use richrun_engines::{Verdict, ensure};

use crate::{EngineScenario, network, scenario};

const OBEDIENT: [&str; 3] =
    ["sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done"];

pub const PODMAN: &[EngineScenario] = &[
    scenario("run", run),
    scenario("exit_codes", exit_codes),
    scenario("ids", ids),
    scenario("keep_id", keep_id),
    scenario("lifecycle", lifecycle),
    scenario("terminal", terminal),
    scenario("volume_owner", volume_owner),
    scenario("devices_and_mounts", devices_and_mounts),
    scenario("published_port", network::published_port),
    scenario("init", init),
];

fn run(engine: &Engine<'_>) -> Verdict {
    engine.run(&[], &["id", "-u"])?.prints("0")?;
    engine.run(&["-u", "user"], &["sh", "-c", "id -u; id -G"])?.prints("1000\n1000 2000")
}

fn exit_codes(engine: &Engine<'_>) -> Verdict {
    engine.run(&[], &["sh", "-c", "exit 7"])?.exits(7)?;
    engine.run(&[], &["no-such-program"])?.exits(127)?;
    engine.run(&[], &["/etc/passwd"])?.exits(126).map(drop)
}

fn ids(engine: &Engine<'_>) -> Verdict {
    let table = engine.run(&[], &["cat", "/proc/self/uid_map"])?.text()?;
    let lines: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    ensure(
        lines.len() == 2 && lines[0][0] == "0" && lines[0][2] == "1" && lines[1][0] == "1",
        || table.clone(),
    )
}

fn keep_id(engine: &Engine<'_>) -> Verdict {
    let own = engine.call(&["unshare", "awk", "NR==1{print $2}", "/proc/self/uid_map"])?.text()?;
    engine.run(&["--userns", "keep-id"], &["id", "-u"])?.prints(&own)
}

fn lifecycle(engine: &Engine<'_>) -> Verdict {
    let container = engine.detached(&engine.unique("life"), &[], &OBEDIENT)?;
    container.logs("ready")?;
    container.exec(&["-e", "A=b"], &["sh", "-c", "echo $A; exit 4"])?.exits(4)?;
    engine.call(&["stop", "-t", "20", &container.name])?.exits(0)?;
    ensure(container.field(".State.ExitCode")? == "3", || "exit code 3".into())?;
    engine.call(&["start", &container.name])?.exits(0)?;
    container.exec(&[], &["echo", "again"])?.prints("again")?;
    engine.call(&["kill", &container.name])?.exits(0)?;
    let code = container.wait()?;
    ensure(code == 137, || format!("137 expected, {code} got"))?;
    engine.call(&["rm", "-f", &container.name])?.exits(0).map(drop)
}

fn terminal(engine: &Engine<'_>) -> Verdict {
    let mut terminal = engine.terminal(&[], &["sh"])?;
    terminal.shows("/ #")?;
    terminal.types("stty size; tty\r")?;
    terminal.shows("40 100")?;
    terminal.shows("/dev/pts/")?;
    terminal.types("exit 5\r")?;
    let code = terminal.ends()?;
    ensure(code == 5, || format!("exit 5 expected, {code} got"))
}

fn volume_owner(engine: &Engine<'_>) -> Verdict {
    let volume = engine.shared("volume")?;
    let script = "touch /shared/root && touch /shared/other && chown 1:1 /shared/other && stat -c %u /shared/root /shared/other";
    engine.run(&["-v", &volume], &["sh", "-c", script])?.prints("0\n1")
}

fn devices_and_mounts(engine: &Engine<'_>) -> Verdict {
    let script = "echo x >/dev/null; head -c 4 /dev/zero | wc -c; [ -c /dev/random ] && [ -d /dev/pts ] && touch /dev/shm/x && \
                  ls /sys/fs/cgroup >/dev/null && echo fine";
    let outcome = engine.run(&["--tmpfs", "/srv"], &["sh", "-c", script])?.exits(0)?;
    ensure(outcome.stdout == "4\nfine\n", || format!("{outcome}"))
}

fn init(engine: &Engine<'_>) -> Verdict {
    engine.run(&["--init"], &["sh", "-c", "[ $$ != 1 ] && exit 6"])?.exits(6).map(drop)
}
