//! Programs are killed and replaced: containers and their logs go on.

use std::fs;

use richrun_tests::command::wait_until;
use richrun_tests::suite::{BOTH, ONE};
use richrun_tests::{Suite, Trial};

use super::setup::Direct;

pub fn register(suite: &mut Suite) {
    suite.on(BOTH, "a_killed_monitor_is_replaced", a_killed_monitor_is_replaced);
    suite.on(BOTH, "an_end_without_a_monitor", an_end_without_a_monitor);
    suite.on(BOTH, "a_terminal_survives", a_terminal_survives);
    suite.on(BOTH, "monitor_and_keeper_killed", monitor_and_keeper_killed);
    suite.on(BOTH, "a_code_after_a_take_over", a_code_after_a_take_over);
    suite.on(BOTH, "the_caller_ends", the_caller_ends);
    suite.on(ONE, "programs_are_replaced", programs_are_replaced);
    suite.on(BOTH, "a_monitor_is_small_and_sleeps", a_monitor_is_small_and_sleeps);
    suite.on(ONE, "strangers_are_refused", strangers_are_refused);
}

/// Lines `N` from 0 on, without a gap.
pub fn check_lines(text: &str) -> usize {
    for (wanted, line) in text.lines().enumerate() {
        assert_eq!(line, format!("line {wanted}"), "of {} lines", text.lines().count());
    }
    text.lines().count()
}

pub const COUNT: &str = "i=0; while :; do echo line $i; i=$((i+1)); usleep 3000; done";

fn a_killed_monitor_is_replaced(t: &Trial) {
    let d = Direct::new(t);
    d.background("c", &[], COUNT);
    d.wait_for_log("c", "line 5");
    let before = d.inspect("c")["State"].clone();
    d.kill(before["Monitor"].as_i64().expect("a monitor"));
    let seen = d.ctl(&["list", "--format", "{{.Name}} {{.Status}}"]).ok();
    seen.says("container c had lost its monitor: a new one takes over").prints("c running");
    let after = d.inspect("c")["State"].clone();
    assert_eq!(after["Pid"], before["Pid"]);
    assert_ne!(after["Monitor"], before["Monitor"]);
    let lines = d.ctl(&["logs", "c"]).ok().out.lines().count();
    d.wait_for_log("c", &format!("line {}\n", lines + 20));
    d.ctl(&["stop", "-t", "0", "c"]).ok();
    check_lines(&d.ctl(&["logs", "c"]).ok().out);
    d.clean();
}

fn an_end_without_a_monitor(t: &Trial) {
    let d = Direct::new(t);
    d.background("c", &[], "echo up; while [ ! -e /go ]; do usleep 5000; done; echo last; exit 3");
    d.wait_for_log("c", "up");
    let state = d.inspect("c")["State"].clone();
    d.kill(state["Monitor"].as_i64().expect("a monitor"));
    fs::write(d.bundle.rootfs().join("go"), "").expect("say go");
    let pid = state["Pid"].as_i64().expect("a process");
    wait_until("the end of the payload", || {
        !std::path::Path::new(&format!("/proc/{pid}")).exists()
    });
    // The keeper has the process; the kernel tells its code since Linux 6.15.
    d.ctl(&["wait", "c"]).ok().prints(if codes_are_told() { "3" } else { "unknown" });
    // What it wrote last has waited in the FIFO.
    assert!(d.ctl(&["logs", "c"]).ok().out.ends_with("last\n"));
    d.clean();
}

/// Whether the kernel tells the exit code of a process that is not one's child.
pub fn codes_are_told() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the release");
    let mut numbers = release.split(['.', '-']).filter_map(|word| word.trim().parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

fn a_code_after_a_take_over(t: &Trial) {
    let d = Direct::new(t);
    d.background("c", &[], "echo up; while [ ! -e /go ]; do usleep 5000; done; exit 3");
    d.wait_for_log("c", "up");
    d.kill(d.inspect("c")["State"]["Monitor"].as_i64().expect("a monitor"));
    d.ctl(&["list"]).ok().says("had lost its monitor");
    fs::write(d.bundle.rootfs().join("go"), "").expect("say go");
    d.ctl(&["wait", "c"]).ok().prints(if codes_are_told() { "3" } else { "unknown" });
    d.clean();
}

fn a_terminal_survives(t: &Trial) {
    let d = Direct::new(t);
    let rootfs = d.rootfs();
    let script = "echo up; read a; echo got $a; exec sleep 1000";
    let (name, options) = ("t", "-dit");
    d.ctl(&["run", options, "--name", name, &rootfs, "sh", "-c", script]).ok();
    d.wait_for_log(name, "up");
    d.kill(d.inspect(name)["State"]["Monitor"].as_i64().expect("a monitor"));
    d.ctl(&["list"]).ok().says("had lost its monitor");
    let (typed, type_in) = rustix::pipe::pipe().expect("a pipe");
    let attached = d.ctl(&["attach", name]).stdio(0, typed).spawn();
    rustix::io::write(&type_in, b"word\n").expect("type");
    attached.wait_for("got word");
    attached.kill(9);
    attached.wait();
    d.clean();
}

fn monitor_and_keeper_killed(t: &Trial) {
    let d = Direct::new(t);
    d.background("c", &[], COUNT);
    d.wait_for_log("c", "line 5");
    let keepers = || {
        let all = richrun_tests::leftovers::processes().into_iter();
        all.filter(|(_, stat)| stat.contains("(rich-keeper)"))
            .map(|(pid, _)| pid)
            .collect::<Vec<_>>()
    };
    // A keeper alone is replaced at once.
    let first = keepers();
    d.kill(i64::from(first[0]));
    wait_until("another keeper", || keepers().iter().any(|pid| !first.contains(pid)));
    let monitor = d.inspect("c")["State"]["Monitor"].as_i64().expect("a monitor");
    let last = keepers();
    d.kill(monitor);
    d.kill(i64::from(last[0]));
    d.ctl(&["list", "--format", "{{.Status}}"]).ok().prints("running");
    d.ctl(&["stop", "-t", "0", "c"]).ok();
    check_lines(&d.ctl(&["logs", "c"]).ok().out);
    d.clean();
}

/// The session that started it ends, with KILL for everything in it.
fn the_caller_ends(t: &Trial) {
    let d = Direct::new(t);
    let rootfs = d.rootfs();
    let richctl = d.bin.join("richctl");
    let line = format!(
        "{} --root {} run -d --name c {rootfs} sh -c '{COUNT}' && kill -9 0",
        richctl.display(),
        d.place.display()
    );
    t.cmd("setsid", &["-w", "sh", "-c", &line]).run();
    d.wait_for_log("c", "line 20");
    check_lines(&d.ctl(&["logs", "c"]).ok().out);
    d.clean();
}

/// Every program is replaced while 20 containers write to their logs.
fn programs_are_replaced(t: &Trial) {
    let d = Direct::new(t);
    let names: Vec<String> = (0..20).map(|number| format!("c{number}")).collect();
    for name in &names {
        d.background(name, &[], COUNT);
    }
    for round in 0..3 {
        for program in ["richrun", "rich-monitor", "richctl"] {
            let (old, new) = (d.bin.join(program), d.bin.join(format!("{program}.new")));
            fs::copy(&old, &new).expect("copy");
            fs::rename(&new, &old).expect("replace");
        }
        for name in &names {
            d.wait_for_log(name, &format!("line {}\n", (round + 1) * 20));
        }
    }
    for name in &names {
        d.ctl(&["stop", "-t", "0", name]).ok();
        check_lines(&d.ctl(&["logs", name]).ok().out);
        assert_eq!(d.inspect(name)["State"]["ExitCode"], 137);
    }
    d.clean();
}

fn a_monitor_is_small_and_sleeps(t: &Trial) {
    let d = Direct::new(t);
    d.background("c", &[], "seq 1 20000; exec sleep 1000");
    d.wait_for_log("c", "20000");
    let monitor = d.inspect("c")["State"]["Monitor"].as_i64().expect("a monitor");
    let read = |name: &str| fs::read_to_string(format!("/proc/{monitor}/{name}")).expect("read");
    let rollup = read("smaps_rollup");
    // Its text is shared by all monitors (and on a tmpfs, as here, counts as dirty).
    let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:")).expect("a line");
    let private: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kibibytes");
    assert!(private <= 500, "{private} KiB\n{rollup}");
    let switches = || {
        let status = read("status");
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt")).expect("a line");
        line.split_whitespace().nth(1).expect("a number").to_owned()
    };
    // It is still busy with the start for a while.
    wait_until("two seconds without a wake", || {
        let before = switches();
        std::thread::sleep(std::time::Duration::from_secs(2));
        switches() == before
    });
    d.clean();
}

fn strangers_are_refused(t: &Trial) {
    let d = Direct::new(t);
    d.background("c", &[], "exec sleep 1000");
    let id = d.inspect("c")["Id"].as_str().expect("an id").to_owned();
    let run = d.place.join("run/containers/default").join(id);
    let socket = run.join("monitor.sock");
    // Even where somebody opens the directories to all.
    for dir in socket.ancestors().take(6).chain([socket.as_path()]) {
        let _ = fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o777));
    }
    let script =
        format!("printf '\\010\\000\\000\\000\\006kill 9' | nc local:{} ", socket.display());
    t.cmd("setpriv", &["--reuid=65534", "--clear-groups", "sh", "-c", &script]).run();
    // Nor does nonsense from its own user disturb it.
    use std::io::Write;
    let mut own = std::os::unix::net::UnixStream::connect(&socket).expect("connect");
    own.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("write");
    drop(own);
    assert_eq!(d.inspect("c")["State"]["Status"], "running");
    d.ctl(&["kill", "c"]).ok();
    d.clean();
}
