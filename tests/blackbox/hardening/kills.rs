//! The runtime killed, and calls made to fail, one after the other: by strace,
//! which counts the runtime's calls.

use richrun_tests::bundle::{bind, namespaces, sh, user_namespace, without_mount};
use richrun_tests::container::IDLE;
use richrun_tests::injection::{calls, strace};
use richrun_tests::suite::{ONE, ROOT};
use richrun_tests::{Bundle, Kind, Suite, Trial};
use serde_json::json;

use super::Dice;

pub fn register(suite: &mut Suite) {
    suite
        .on(ROOT, "killed_at_any_call_of_create", |t| killed(t, Verb::Create))
        .on(ONE, "killed_at_any_call_of_run", |t| killed(t, Verb::Run))
        .on(ONE, "killed_at_any_call_of_start", |t| killed(t, Verb::Start))
        .on(ONE, "killed_at_any_call_of_delete", |t| killed(t, Verb::Delete))
        .on(ONE, "killed_at_any_time", killed_at_any_time)
        .on(ONE, "calls_that_are_missing", calls_that_are_missing)
        .on(ONE, "calls_that_are_interrupted", calls_that_are_interrupted)
        .on(ONE, "clones_that_run_ahead", clones_that_run_ahead);
}

#[derive(Clone, Copy, PartialEq)]
enum Verb {
    Create,
    Run,
    Start,
    Delete,
}

fn with_hooks(t: &Trial) -> Bundle {
    t.bundle(|c| {
        sh(c, IDLE);
        for kind in ["createRuntime", "poststart", "poststop"] {
            c["hooks"][kind] = json!([{"path": "/bin/true"}]);
        }
    })
}

/// R22: killed at its first call, its second and so on (each third, and each
/// verb in another phase, for time's sake): `delete --force` takes all away.
fn killed(t: &Trial, verb: Verb) {
    t.only(&[Kind::Richrun], "leaves something behind, or has threads");
    let bundle = with_hooks(t);
    let (dir, id) = (bundle.path(), bundle.id.as_str());
    let line: &[&str] = match verb {
        Verb::Create => &["create", "-b", dir, id],
        Verb::Run => &["run", "-d", "-b", dir, id],
        Verb::Start => &["start", id],
        Verb::Delete => &["delete", "--force", id],
    };
    let prepare = || {
        if verb == Verb::Start || verb == Verb::Delete {
            t.rt(&["create", "-b", dir, id]).ok();
        }
    };
    prepare();
    let calls = calls(t, line);
    t.rt(&["delete", "--force", id]).ok();
    assert!(calls.len() > 50, "only {} calls: {calls:?}", calls.len());
    let mut killed = 0;
    for (index, (name, nth)) in calls.iter().enumerate().skip(verb as usize % 3).step_by(3) {
        prepare();
        let out = strace(t, name, &format!("signal=KILL:when={nth}"), false, line).run();
        eprintln!("call {index}: {name} {nth}: {}", out.code);
        let after = t.rt(&["state", id]).run();
        assert!(after.code == 0 || after.err.contains("does not exist"), "{after:?}");
        t.rt(&["list"]).ok();
        t.rt(&["delete", "--force", id]).ok();
        t.finish();
        // The id is free again, and everything works.
        if killed % 7 == 0 {
            t.detach(&bundle).remove();
        }
        killed += usize::from(out.code == 1009);
    }
    assert!(killed > calls.len() / 4, "only {killed} of {} calls were its last", calls.len());
}

/// R22: at random times, without strace: whoever else is running at that time.
fn killed_at_any_time(t: &Trial) {
    t.only(&[Kind::Richrun], "leaves something behind");
    let mut dice = Dice::new(22);
    let bundle = with_hooks(t);
    for round in 0..60 {
        let verb = *dice.pick(&["create", "run"]);
        let more: &[&str] = if verb == "run" { &["-d"] } else { &[] };
        let making = t.rt(&[verb]).args(more).args(&["-b", bundle.path(), &bundle.id]).spawn();
        std::thread::sleep(std::time::Duration::from_micros(dice.roll(25_000)));
        making.kill(libc::SIGKILL);
        let deleting = match dice.roll(2) {
            0 => {
                // The lock of who was killed is gone with it.
                let deleting = t.rt(&["delete", "--force", &bundle.id]).spawn();
                std::thread::sleep(std::time::Duration::from_micros(dice.roll(8_000)));
                deleting.kill(libc::SIGKILL);
                Some(deleting)
            }
            _ => None,
        };
        making.wait();
        deleting.map(|one| one.wait());
        t.rt(&["delete", "--force", &bundle.id]).ok();
        eprintln!("round {round}");
        t.finish();
    }
}

/// R27: older kernels, and filters of container hosts, do not have these.
fn calls_that_are_missing(t: &Trial) {
    t.only(&[Kind::Richrun], "is an other program with other calls");
    let groups = [
        "openat2",
        "clone3",
        "close_range",
        "faccessat2",
        "mount_setattr",
        "fsopen,fsconfig,fsmount,move_mount,open_tree,mount_setattr",
        "openat2,clone3,close_range,fsopen,fsconfig,fsmount,move_mount,open_tree,mount_setattr",
    ];
    for calls in groups {
        let bundle = t.bundle(|c| {
            sh(c, "echo $(id -u) $(pwd) $(ls /proc/self/fd | wc -l); touch /data/x 2>/dev/null");
            bind(c, &t.dir.join("home"), "/data", &["rbind", "ro", "nosuid"]);
        });
        let line = ["run", "-b", bundle.path(), &bundle.id];
        strace(t, calls, "error=ENOSYS", true, &line).run().exits(1).prints("0 / 4");
        let c = t.idle();
        let line = ["exec", &c.id, "echo", "entered"];
        strace(t, calls, "error=ENOSYS", true, &line).run().ok().prints("entered");
        c.remove();
    }
}

/// R27: every second call is interrupted.
fn calls_that_are_interrupted(t: &Trial) {
    t.only(&[Kind::Richrun], "is an other program with other calls");
    for calls in ["read", "write", "recvmsg,sendmsg,recvfrom,sendto", "poll,ppoll", "waitid,wait4"]
    {
        let bundle = t.bundle(|c| sh(c, "exit 5"));
        let line = ["run", "-b", bundle.path(), &bundle.id];
        strace(t, calls, "error=EINTR:when=1+2", false, &line).run().exits(5);
        let c = t.idle();
        let line = ["exec", &c.id, "sh", "-c", "exit 6"];
        strace(t, calls, "error=EINTR:when=1+2", false, &line).run().exits(6);
        strace(t, calls, "error=EINTR:when=1+2", false, &["delete", "--force", &c.id]).run().ok();
    }
}

/// Whoever clones is slow to go on, and its child fast: the conversations do not
/// depend on who is first. With user namespaces there is a process between.
fn clones_that_run_ahead(t: &Trial) {
    t.only(&[Kind::Richrun], "is an other program with other calls");
    let late = "delay_exit=100000";
    let c = t.idle_with(user_namespace);
    let line = ["exec", &c.id, "echo", "entered"];
    strace(t, "clone3", late, true, &line).run().ok().prints("entered");
    let pid = c.pid();
    let guest = t.bundle(|config| {
        sh(config, "echo joined");
        config["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "pid"}]);
        for kind in ["user", "ipc", "uts"] {
            let path = format!("/proc/{pid}/ns/{kind}");
            namespaces(config).push(json!({"type": kind, "path": path}));
        }
        let network = format!("/proc/{pid}/ns/net");
        namespaces(config).push(json!({"type": "network", "path": network}));
        without_mount(config, "/dev/mqueue");
    });
    let line = ["run", "-b", guest.path(), &guest.id];
    strace(t, "clone3", late, true, &line).run().ok().prints("joined");
    c.remove();
}
