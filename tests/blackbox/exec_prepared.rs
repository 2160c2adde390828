//! `exec --prepare` and `exec --start`: a process that is there before its program runs.

use richrun_tests::command::wait_until;
use richrun_tests::suite::{ALL, BOTH, ROOT};
use richrun_tests::{Suite, Trial};

pub fn register(suite: &mut Suite) {
    suite
        .on(ALL, "prepared_and_started", prepared_and_started)
        .on(BOTH, "a_program_that_is_missing", a_program_that_is_missing)
        .on(BOTH, "ends_with_the_container", ends_with_the_container)
        .on(ROOT, "nobody_looks_into_it", nobody_looks_into_it)
        .on(BOTH, "nobody_waits", nobody_waits)
        .on(BOTH, "options_that_contradict", options_that_contradict);
}

/// The pid that `--prepare` prints.
fn prepared(t: &Trial, id: &str, words: &[&str]) -> i32 {
    let line = [&["exec", "--prepare", id][..], words].concat();
    let out = t.rt(&line).ok().out;
    out.trim().parse().expect("a pid")
}

fn start(t: &Trial, pid: i32, id: &str) -> richrun_tests::command::Output {
    t.rt(&["exec", "--start", &pid.to_string(), id]).run()
}

fn lives(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.contains(") Z ") && !stat.contains(") X "))
}

fn prepared_and_started(t: &Trial) {
    let c = t.idle_with(|c| c["root"]["readonly"] = false.into());
    let file = c.bundle.rootfs().join("ran");
    let pid = prepared(t, &c.id, &["sh", "-c", "echo $$ > /ran; exec sleep 1000"]);
    if t.is_root() {
        // It is the container's already. Another user may not look at it yet.
        let listed = t.rt(&["ps", "--format", "json", &c.id]).ok().json();
        assert!(listed.as_array().is_some_and(|all| all.contains(&pid.into())), "{listed}");
    }
    assert!(lives(pid) && !file.exists());
    start(t, pid, &c.id).exits(0);
    wait_until("the program", || file.exists());
    let program = std::fs::read_link(format!("/proc/{pid}/exe"));
    assert!(program.is_ok_and(|path| path.ends_with("busybox")), "the same process goes on");
    let file = t.root().join("next.pid");
    let words = ["exec", "--prepare", "--pid-file", file.to_str().expect("utf-8"), &c.id, "true"];
    assert_eq!(t.rt(&words).ok().out, "");
    let next = std::fs::read_to_string(&file).expect("the pid").trim().parse().expect("a pid");
    start(t, next, &c.id).exits(0);
    std::fs::remove_file(&file).expect("remove");
    // Once only.
    start(t, pid, &c.id).fails().says("no prepared process");
    c.remove();
}

fn a_program_that_is_missing(t: &Trial) {
    let c = t.idle();
    // What can be known before is told before.
    t.rt(&["exec", "--prepare", &c.id, "/no/such"]).run().fails().says("no such file");
    assert_eq!(gates(t, &c.id), Vec::<String>::new());
    let c2 = t.idle_with(|c| c["root"]["readonly"] = false.into());
    let path = c2.bundle.rootfs().join("prog");
    std::fs::copy(c2.bundle.rootfs().join("bin/busybox"), &path).expect("copy");
    let pid = prepared(t, &c2.id, &["/prog", "true"]);
    std::fs::remove_file(&path).expect("remove");
    start(t, pid, &c2.id).fails().says("no such file");
    wait_until("its end", || !lives(pid));
    assert_eq!(gates(t, &c2.id), Vec::<String>::new());
    c.remove();
    c2.remove();
}

/// The gates in the container's directory.
fn gates(t: &Trial, id: &str) -> Vec<String> {
    let directory = std::fs::read_dir(t.root().join(id)).expect("the directory");
    let names = directory.map(|entry| entry.expect("a file").file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("exec-")).collect()
}

fn ends_with_the_container(t: &Trial) {
    let c = t.idle();
    let one = prepared(t, &c.id, &["true"]);
    let two = prepared(t, &c.id, &["true"]);
    // One alone is ended by a signal, as any process.
    t.cmd("kill", &[one.to_string()]).as_root().ok();
    wait_until("its end", || !lives(one));
    start(t, one, &c.id).fails().says("no prepared process");
    assert!(lives(two));
    t.rt(&["delete", "--force", &c.id]).ok();
    wait_until("its end", || !lives(two));
    assert!(!t.root().join(&c.id).exists());
}

/// Not even the container's root, who has no right to trace what is not his to look at.
fn nobody_looks_into_it(t: &Trial) {
    let c = t.idle();
    let pid = prepared(t, &c.id, &["sleep", "1000"]);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the status");
    let inside = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let inside = inside.and_then(|pids| pids.split_whitespace().next_back()).expect("a pid");
    let look = format!(
        "cd /proc/{inside}; for link in exe root cwd fd/* ns/*; do readlink $link; done; \
         cat environ; echo nothing more"
    );
    assert_eq!(c.exec(&look).out, "nothing more\n");
    start(t, pid, &c.id).exits(0);
    wait_until("the program", || c.exec(&look).out.contains("busybox"));
    c.remove();
}

fn nobody_waits(t: &Trial) {
    let c = t.idle();
    start(t, c.pid(), &c.id).fails().says("no prepared process");
    start(t, 4_000_000, &c.id).fails().says("no prepared process");
    c.verb("pause", &[]).run();
    if c.status() == "paused" {
        start(t, c.pid(), &c.id).fails().says("paused");
        c.verb("resume", &[]).ok();
    }
    c.remove();
    start(t, 1, "no-such").fails().says("does not exist");
}

fn options_that_contradict(t: &Trial) {
    for line in [
        &["exec", "--prepare", "--start", "7", "x"][..],
        &["exec", "--start", "7", "x", "true"],
        &["exec", "--start", "0", "x"],
        &["exec", "--prepare", "--serve", "x"],
    ] {
        t.rt(line).run().fails();
    }
}
