//! Files that services watch.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use richrun_tests::command::wait_until;
use richrun_tests::container::IDLE;
use richrun_tests::suite::ONE;
use richrun_tests::{Suite, Trial};

use super::{bundle, content, end, start, told};

pub fn register(suite: &mut Suite) {
    suite
        .on(ONE, "watched_files_restart", watched_files_restart)
        .on(ONE, "watched_volumes_of_kubernetes_restart", watched_volumes_restart)
        .on(ONE, "watched_directories_may_come_and_go", watched_directories_may_come_and_go)
        .on(ONE, "a_lost_change_restarts_who_watches", a_lost_change_restarts_who_watches)
        .on(ONE, "who_writes_where_it_watches_is_seen", who_writes_where_it_watches_is_seen);
}

/// A service that notes each start and watches these paths.
fn watching(paths: &str) -> String {
    format!(
        "[service.a]\ncommand = [\"sleep\", \"100\"]\n[service.b]\n\
         command = \"echo start >> /tmp/log; exec sleep 100\"\nwatch = [{paths}]\n\
         watch-delay = \"1ms\"\nrestart-max-delay = \"1ms\"\n"
    )
}

/// Waits for so many starts.
fn starts(bundle: &richrun_tests::Bundle, count: usize) {
    wait_until(&format!("{count} starts"), || content(bundle, "tmp/log").lines().count() == count);
}

fn watched_files_restart(t: &Trial) {
    let text = "[service.a]\ncommand = \"cat /etc/a.conf /etc/d/x >> /tmp/log; exec sleep 100\"\n\
                watch = [\"/etc/a.conf\", \"/etc/d\"]\nwatch-delay = \"500ms\"\n";
    let bundle = bundle(t, IDLE, text);
    bundle.file("/etc/a.conf", "one\n");
    bundle.file("/etc/d/x", "in\n");
    let (c, running) = start(t, &bundle);
    wait_until("the first start", || content(&bundle, "tmp/log") == "one\nin\n");
    // Replaced, as most programs do.
    c.exec("echo two > /etc/.new; mv /etc/.new /etc/a.conf").ok();
    wait_until("a restart", || content(&bundle, "tmp/log").ends_with("two\nin\n"));
    assert_eq!(told(t, &c, "a")["restarts"], 1);
    c.exec("echo new > /etc/d/x").ok();
    wait_until("another restart", || content(&bundle, "tmp/log").ends_with("two\nnew\n"));
    // What is beside it does not count.
    c.exec("echo x > /etc/other").ok();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(told(t, &c, "a")["restarts"], 2);
    end(&c, running);
}

/// Every file of a ConfigMap's volume is a link through `..data`, and only that is replaced.
fn watched_volumes_restart(t: &Trial) {
    let bundle = bundle(t, IDLE, &watching("\"/etc/map/key\""));
    let map = bundle.rootfs().join("etc/map");
    let put = |version: &str| {
        fs::create_dir_all(map.join(version)).expect("a directory");
        fs::write(map.join(version).join("key"), version).expect("a file");
        symlink(version, map.join("..data_tmp")).expect("a link");
        fs::rename(map.join("..data_tmp"), map.join("..data")).expect("rename");
    };
    put("..1");
    symlink("..data/key", map.join("key")).expect("a link");
    let (c, running) = start(t, &bundle);
    starts(&bundle, 1);
    put("..2");
    starts(&bundle, 2);
    end(&c, running);
}

fn watched_directories_may_come_and_go(t: &Trial) {
    let bundle = bundle(t, IDLE, &watching("\"/srv/app/conf\""));
    let root = bundle.rootfs();
    let (c, running) = start(t, &bundle);
    starts(&bundle, 1);
    fs::create_dir_all(root.join("srv/next/conf")).expect("a directory");
    // Neither it nor what it is in was there; it comes whole.
    fs::rename(root.join("srv/next"), root.join("srv/app")).expect("rename");
    starts(&bundle, 2);
    fs::write(root.join("srv/app/conf/x"), "new").expect("a file");
    wait_until("a change inside", || content(&bundle, "tmp/log").lines().count() > 2);
    let settled = || {
        let count = content(&bundle, "tmp/log").lines().count();
        std::thread::sleep(Duration::from_millis(300));
        (content(&bundle, "tmp/log").lines().count() == count).then_some(count)
    };
    let mut before = settled();
    wait_until("quiet", || {
        before = settled();
        before.is_some()
    });
    // Replaced by another one: that is what is looked into from now on.
    fs::create_dir(root.join("srv/app/other")).expect("a directory");
    fs::rename(root.join("srv/app/conf"), root.join("srv/app/old")).expect("rename");
    fs::rename(root.join("srv/app/other"), root.join("srv/app/conf")).expect("rename");
    wait_until("a restart", || content(&bundle, "tmp/log").lines().count() > before.unwrap_or(0));
    wait_until("quiet", || {
        before = settled();
        before.is_some()
    });
    fs::write(root.join("srv/app/conf/y"), "new").expect("a file");
    wait_until("a restart", || content(&bundle, "tmp/log").lines().count() > before.unwrap_or(0));
    end(&c, running);
}

/// More changes than the kernel keeps: whoever watches anything may have missed one.
fn a_lost_change_restarts_who_watches(t: &Trial) {
    let bundle = bundle(t, IDLE, &watching("\"/etc/d/file\""));
    let dir = bundle.rootfs().join("etc/d");
    fs::create_dir_all(&dir).expect("a directory");
    let (c, running) = start(t, &bundle);
    starts(&bundle, 1);
    kill(Pid::from_raw(c.pid()), Signal::SIGSTOP).expect("stop PID 1");
    let most = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("a limit");
    for number in 0..most.trim().parse::<usize>().expect("a number") {
        fs::write(dir.join(number.to_string()), "").expect("a file");
    }
    kill(Pid::from_raw(c.pid()), Signal::SIGCONT).expect("continue PID 1");
    starts(&bundle, 2);
    assert_eq!(told(t, &c, "a")["restarts"], 0);
    end(&c, running);
}

fn who_writes_where_it_watches_is_seen(t: &Trial) {
    let text = "[service.a]\ncommand = \"echo x >> /tmp/watched/log; exec sleep 100\"\n\
                watch = [\"/tmp/watched\"]\nwatch-delay = \"10ms\"\n";
    let bundle = bundle(t, IDLE, text);
    fs::create_dir_all(bundle.rootfs().join("tmp/watched")).expect("a directory");
    let (c, running) = start(t, &bundle);
    wait_until("unhealthy", || c.verb("health", &[]).run().trimmed() == "unhealthy");
    end(&c, running).says("what a service watches changes again and again: /tmp/watched");
}
