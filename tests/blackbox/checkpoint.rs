//! `checkpoint` and `restore`: what was running goes on, here or elsewhere, and nothing is left
//! where that fails.

mod failures;
mod options;
mod outside;
mod rich;

use std::fs;
use std::path::{Path, PathBuf};

use richrun_tests::bundle::sh;
use richrun_tests::command::{Cmd, wait_until};
use richrun_tests::container::Container;
use richrun_tests::suite::{ONE, ROOT, V1};
use richrun_tests::terminal::{FdSocket, Terminal};
use richrun_tests::{Bundle, Kind, Suite, Trial};
use serde_json::{Value, json};

/// Counts in a variable, and says so in a file.
const COUNTER: &str = "i=0; while :; do i=$((i+1)); echo $i > /tmp/n.new; mv /tmp/n.new /tmp/n; \
    sleep 0.02; done";

pub fn register(suite: &mut Suite) {
    suite
        .on(ROOT, "life_goes_on_under_another_id", life_goes_on)
        .compare(ROOT, "the_same_id", the_same_id)
        .on(ROOT, "leave_running", leave_running)
        .on(V1, "limits_are_the_configurations", limits)
        .on(ONE, "foreground_with_streams_and_status", foreground)
        .on(ONE, "terminal_by_a_console_socket", terminal)
        .on(ONE, "memory_file_systems_keep_their_content", memory)
        .on(ONE, "a_copy_of_a_copy", twice)
        .on(ONE, "paused", paused);
    outside::register(suite);
    failures::register(suite);
    options::register(suite);
    rich::register(suite);
}

/// The directory of a CRIU that works here, as it goes before `PATH`'s others.
fn criu(t: &Trial) -> PathBuf {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../build/peers/criu");
    let found = std::iter::once(unpacked)
        .chain(["/usr/local/sbin", "/usr/sbin", "/usr/bin"].map(PathBuf::from))
        .find(|directory| directory.join("criu").exists());
    let Some(directory) = found else {
        t.skip("there is no criu: integration/peers.sh criu");
    };
    let program = directory.join("criu");
    let check = t.cmd(program.to_str().expect("utf-8 path"), &["check"]).as_root().run();
    if check.code != 0 {
        let said = check.err.lines().last().unwrap_or_default().to_owned();
        t.skip(&format!("criu check: {said}"));
    }
    directory
}

/// A command of the runtime's with CRIU in its `PATH`.
fn rt<'t>(t: &'t Trial, words: &[&str]) -> Cmd<'t> {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    t.rt(words).env("PATH", &format!("{}:{path}", criu(t).display()))
}

/// Where a trial's images are.
fn images(t: &Trial) -> String {
    t.dir.join("run/images").to_str().expect("utf-8 path").to_owned()
}

/// Writes a container.
fn checkpoint<'t>(t: &'t Trial, c: &Container<'_>, options: &[&str]) -> Cmd<'t> {
    rt(t, &["checkpoint", "--image-path", &images(t)]).args(options).arg(&c.id)
}

/// Restores images in a bundle under an id, detached.
fn restore<'t>(t: &'t Trial, bundle: &Bundle, options: &[&str], id: &str) -> Cmd<'t> {
    let place = images(t);
    let words = ["restore", "-d", "--image-path", &place, "--bundle", bundle.path()];
    rt(t, &words).args(options).arg(id)
}

/// The same container under another id.
fn restored<'t>(t: &'t Trial, c: &Container<'_>) -> Container<'t> {
    let mut bundle = c.bundle.clone();
    bundle.id = t.name("again");
    restore(t, &bundle, &[], &bundle.id).ok();
    t.take(&bundle)
}

/// The count in a container's file.
fn count(c: &Container<'_>) -> u64 {
    let file = c.bundle.rootfs().join("tmp/n");
    fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// A container that counts, its configuration changed.
fn counting<'t>(t: &'t Trial, edit: impl FnOnce(&mut Value)) -> Container<'t> {
    let bundle = t.bundle(|config| {
        sh(config, COUNTER);
        edit(config);
    });
    rt(t, &["run", "-d", "--bundle", bundle.path(), &bundle.id]).ok();
    let c = t.take(&bundle);
    wait_until("the count to begin", || count(&c) > 3);
    c
}

/// It counts on from what it has counted, and not anew.
fn goes_on(c: &Container<'_>, before: u64) {
    assert!(count(c) >= before, "it began anew: {} after {before}", count(c));
    wait_until("the count to go on", || count(c) > before + 3);
    assert_eq!(c.status(), "running");
}

fn gone(t: &Trial, id: &str) {
    t.rt(&["state", id]).run().fails().says("does not exist");
    for directory in t.cgroup_dirs(id) {
        assert!(!directory.exists(), "{} is left", directory.display());
    }
}

fn life_goes_on(t: &Trial) {
    let c = counting(t, |_| {});
    checkpoint(t, &c, &[]).ok();
    let before = count(&c);
    gone(t, &c.id);
    assert!(Path::new(&images(t)).join("dump.log").exists());
    let mut bundle = c.bundle.clone();
    bundle.id = t.name("again");
    let file = t.dir.join("run/pid");
    restore(t, &bundle, &["--pid-file", file.to_str().expect("utf-8 path")], &bundle.id).ok();
    let again = t.take(&bundle);
    goes_on(&again, before);
    let pid = fs::read_to_string(&file).expect("the pid file");
    assert_eq!(pid, again.pid().to_string());
    // It is a container like any other.
    let inside = again.exec("cat /tmp/n; hostname").ok();
    inside.shows("richrun");
    let groups = again.proc_file("cgroup");
    assert!(groups.lines().any(|line| line.ends_with(&c.id)), "{groups}");
    again.verb("pause", &[]).ok();
    assert_eq!(again.status(), "paused");
    again.verb("resume", &[]).ok();
    again.kill("KILL");
    again.wait("stopped");
    again.verb("delete", &[]).ok();
    gone(t, &again.id);
}

/// As scripts have it that were written for runc.
fn the_same_id(t: &Trial) {
    let c = counting(t, |_| {});
    let out = checkpoint(t, &c, &[]).run();
    if !t.is_richrun() && out.code != 0 {
        c.remove();
        t.skip(&format!("it says {}", out.err.lines().last().unwrap_or_default()));
    }
    assert_eq!(out.code, 0, "{out:?}");
    let before = count(&c);
    t.rt(&["state", &c.id]).run().fails();
    let out = restore(t, &c.bundle, &[], &c.id).run();
    if !t.is_richrun() && out.code != 0 {
        t.rt(&["delete", "-f", &c.id]).run();
        t.skip(&format!("it says {}", out.err.lines().last().unwrap_or_default()));
    }
    assert_eq!(out.code, 0, "{out:?}");
    goes_on(&c, before);
    c.remove();
}

fn leave_running(t: &Trial) {
    let c = counting(t, |_| {});
    let pid = c.pid();
    checkpoint(t, &c, &["--leave-running"]).ok();
    goes_on(&c, count(&c));
    assert_eq!(c.pid(), pid);
    c.remove();
    let again = restored(t, &c);
    goes_on(&again, 3);
    again.remove();
}

fn limits(t: &Trial) {
    let c = counting(t, |c| c["linux"]["resources"]["pids"] = json!({"limit": 77}));
    checkpoint(t, &c, &[]).ok();
    c.bundle.edit(|c| c["linux"]["resources"]["pids"]["limit"] = json!(88));
    let again = restored(t, &c);
    let limit = t.cgroup("pids", &c.id).join("pids.max");
    assert_eq!(fs::read_to_string(&limit).expect("pids.max").trim(), "88");
    let procs = fs::read_to_string(limit.with_file_name("cgroup.procs")).expect("cgroup.procs");
    assert!(procs.lines().any(|pid| pid == again.pid().to_string()), "{procs}");
    again.remove();
}

fn foreground(t: &Trial) {
    let script = "echo before; touch /tmp/up; while [ ! -e /tmp/go ]; do sleep 0.02; done; \
        echo after; echo oops >&2; exit 7";
    let bundle = t.bundle(|c| sh(c, script));
    let running = rt(t, &["run", "--bundle", bundle.path(), &bundle.id]).spawn();
    wait_until("the payload", || bundle.rootfs().join("tmp/up").exists());
    let c = t.take(&bundle);
    checkpoint(t, &c, &[]).ok();
    running.wait().exits(137).prints("before");
    gone(t, &c.id);
    bundle.file("tmp/go", "");
    let words = ["restore", "--image-path", &images(t), "--bundle", bundle.path(), &bundle.id];
    rt(t, &words).run().exits(7).prints("after").says("oops");
    gone(t, &c.id);
}

fn terminal(t: &Trial) {
    let socket = FdSocket::new(&t.dir.join("run/console"));
    let bundle = t.bundle(|c| {
        sh(c, "while read word; do echo got:$word; done");
        c["process"]["terminal"] = json!(true);
    });
    let line = ["run", "-d", "--console-socket", socket.path(), "-b", bundle.path(), &bundle.id];
    rt(t, &line).ok();
    let mut first = Terminal::from(socket.receive().1);
    first.send("one\n");
    first.expect("got:one");
    let c = t.take(&bundle);
    checkpoint(t, &c, &[]).ok();
    restore(t, &bundle, &["--console-socket", socket.path()], &bundle.id).ok();
    let mut second = Terminal::from(socket.receive().1);
    second.send("two\n");
    second.expect("got:two");
    c.exec("[ -c /dev/console ] && tty </dev/console").ok();
    c.remove();
}

fn memory(t: &Trial) {
    let c = counting(t, |_| {});
    c.exec("echo kept > /dev/shm/file; ln -s file /dev/shm/link; chmod 640 /dev/shm/file").ok();
    let mounts = |c: &Container<'_>| {
        let all = c.proc_file("mountinfo");
        let mut all: Vec<String> = all
            .lines()
            .map(|line| line.split(' ').skip(4).take(2).collect::<Vec<_>>().join(" "))
            .collect();
        all.sort();
        all
    };
    let before = mounts(&c);
    checkpoint(t, &c, &[]).ok();
    let again = restored(t, &c);
    again.exec("cat /dev/shm/link; stat -c %a /dev/shm/file").ok().prints("kept\n640");
    assert_eq!(mounts(&again), before);
    again.remove();
}

fn twice(t: &Trial) {
    let c = counting(t, |_| {});
    checkpoint(t, &c, &[]).ok();
    let again = restored(t, &c);
    let before = count(&again);
    checkpoint(t, &again, &[]).ok();
    restore(t, &again.bundle, &[], &again.id).ok();
    goes_on(&again, before);
    again.remove();
}

/// The peers take it too, whatever its state is afterwards.
fn paused(t: &Trial) {
    t.only(&[Kind::Richrun], "the others were not tried");
    let c = counting(t, |_| {});
    c.verb("pause", &[]).ok();
    let before = count(&c);
    checkpoint(t, &c, &[]).ok();
    let again = restored(t, &c);
    if again.status() == "paused" {
        again.verb("resume", &[]).ok();
    }
    goes_on(&again, before);
    again.remove();
}
