//! A profile that denies one system call, any of them: where runc's container comes up
//! all the same, the runtime's does too. Whatever a runtime calls after it has loaded the
//! payload's filter is at the mercy of the profile.

use std::fs;
use std::path::Path;

use richrun::plan::seccomp::calls;
use richrun_tests::bundle::{args, sh};
use richrun_tests::runtime::Runtime;
use richrun_tests::{Bundle, Kind, Output, Trial};
use serde_json::{Value, json};

/// What a filter says: EPERM, or that there is no such call.
const ERRNOS: [i32; 2] = [libc::EPERM, libc::ENOSYS];

/// How a payload comes to run.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Run,
    CreateAndStart,
    Exec,
    Rich,
}

/// What PID 1 of a rich container cannot do without (docs/rich.md): it is executed from
/// memory, starts the payload in a session, and waits for signals and ends.
const OF_ANY_INIT: &[&str] =
    &["execveat", "clone", "setsid", "rt_sigprocmask", "rt_sigtimedwait", "wait4"];

/// What it cannot do without where it runs services: what it hears of them by, and the time.
const OF_SERVICES: &[&str] = &[
    "execveat",
    "clone",
    "setsid",
    "rt_sigprocmask",
    "wait4",
    "waitid",
    "ppoll",
    "signalfd4",
    "read",
    "clock_gettime",
];

pub fn one_call_denied(t: &Trial) {
    t.only(&[Kind::Richrun], "is the peer here");
    let Some(peer) = Runtime::peer("runc") else { t.skip("runc is not installed") };
    let bundle = t.bundle(|_| {});
    // The payload's own is not the runtime's.
    let names = calls().map(|(name, _)| name).filter(|name| *name != "execve");
    let ways = [
        (Way::Run, false),
        (Way::Run, true),
        (Way::CreateAndStart, false),
        (Way::Exec, false),
        (Way::Rich, false),
        (Way::Rich, true),
    ];
    let mut worse = Vec::new();
    for name in names {
        for errno in ERRNOS {
            for (way, no_new_privileges) in ways {
                if way == Way::Rich && OF_ANY_INIT.contains(&name) {
                    continue;
                }
                bundle.edit(|c| {
                    c["process"]["noNewPrivileges"] = json!(no_new_privileges);
                    c["linux"]["seccomp"] = denying(&[name], errno);
                });
                let Err(said) = comes_up(t, &t.runtime_path(), &bundle, way) else { continue };
                // Only what fails needs the peer's answer.
                let plain = if way == Way::Rich { Way::Run } else { way };
                if comes_up(t, &peer.path, &bundle, plain).is_ok() {
                    let line = format!("{name} {errno} {way:?} nnp {no_new_privileges}: {said}");
                    eprintln!("{line}");
                    worse.push(line);
                }
            }
        }
    }
    assert!(worse.is_empty(), "runc survives:\n{}", worse.join("\n"));
}

fn denying(names: &[&str], errno: i32) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno}],
    })
}

/// A PID 1 that lacks a call says so and ends, before the payload has run: it never waits for
/// what it cannot hear of. Where a filter answers 0, it ends at least.
pub fn pid_1_lacks_a_call(t: &Trial) {
    t.only(&[Kind::Richrun], "PID 1 is the payload");
    let bundle = t.bundle(|c| sh(c, "echo ran"));
    let services = t.dir.join("services.toml");
    fs::write(&services, "[service.a]\ncommand = \"sleep 1000\"\nrestart = \"never\"\n")
        .expect("write");
    let services = ["--services", services.to_str().expect("utf-8 path")];
    for (options, names) in [(&[][..], OF_ANY_INIT), (&services[..], OF_SERVICES)] {
        for (name, errno) in names.iter().flat_map(|name| ERRNOS.map(|errno| (*name, errno))) {
            let out = rich_run(t, &bundle, options, denying(&[name], errno));
            let word = match name {
                "read" => "the plan cannot be read",
                "execveat" => "exec",
                "setsid" => "session",
                "signalfd4" => "signalfd",
                _ => name,
            };
            assert!(out.code != 0 && !hung(&out), "{name} {errno}: {out:?}");
            assert!(out.err.contains(word) && !out.out.contains("ran"), "{name} {errno}: {out:?}");
        }
        for name in names {
            let out = rich_run(t, &bundle, options, denying(&[name], 0));
            assert!(!hung(&out), "{name} 0: {out:?}");
        }
    }
}

/// However much of it is denied, PID 1 ends, and with its payload's status where it can.
pub fn pid_1_ends_without_leave(t: &Trial) {
    t.only(&[Kind::Richrun], "PID 1 is the payload");
    // The payload's shell cannot end either: by a signal, then.
    let bundle = t.bundle(|c| sh(c, "kill -ABRT $$"));
    let trapped = 128 + if cfg!(target_arch = "aarch64") { libc::SIGTRAP } else { libc::SIGILL };
    let ended = 128 + libc::SIGABRT;
    for (names, code) in [(&["exit_group"][..], ended), (&["exit_group", "exit"], trapped)] {
        for errno in ERRNOS.into_iter().chain([0]) {
            let out = rich_run(t, &bundle, &[], denying(names, errno));
            assert_eq!(out.code, code, "{names:?} {errno}: {out:?}");
        }
    }
}

/// What `timeout` says when its bound against hanging was needed: TERM was enough, or KILL,
/// which it also sends to itself.
fn hung(out: &Output) -> bool {
    [124, 137].contains(&out.code) || out.code > 255
}

fn rich_run(t: &Trial, bundle: &Bundle, options: &[&str], seccomp: Value) -> Output {
    bundle.edit(|c| c["linux"]["seccomp"] = seccomp);
    let (program, root) = (t.runtime_path(), t.root());
    let (program, root) = (program.to_str().expect("utf-8"), root.to_str().expect("utf-8"));
    let words = ["-k", "5", "60", program, "--root", root, "run", "--rich"];
    let out = t.cmd("/usr/bin/timeout", &words).args(options);
    let out = out.args(&["-b", bundle.path(), &bundle.id]).timeout(90).run();
    t.rt(&["delete", "--force", &bundle.id]).run();
    out
}

/// Whether a payload runs to a good end; or what was said.
fn comes_up(t: &Trial, runtime: &Path, bundle: &Bundle, way: Way) -> Result<(), String> {
    let root = t.dir.join("denied");
    let root = root.to_str().expect("utf-8 path");
    let rt = |line: &[&str]| {
        let runtime = runtime.to_str().expect("utf-8 path");
        // A bound against hanging only.
        let words = ["-s", "KILL", "30", runtime, "--root", root];
        let out = t.cmd("/usr/bin/timeout", &words).args(line).run();
        if out.code == 0 { Ok(()) } else { Err(format!("{}: {}", out.code, out.err)) }
    };
    let words: &[&str] = if way == Way::Exec { &["sleep", "100"] } else { &["true"] };
    bundle.edit(|c| args(c, words));
    let (dir, id) = (bundle.path(), bundle.id.as_str());
    let came = match way {
        Way::Run => rt(&["run", "-b", dir, id]),
        Way::Rich => rt(&["run", "--rich", "-b", dir, id]),
        Way::CreateAndStart => rt(&["create", "-b", dir, id]).and_then(|()| rt(&["start", id])),
        Way::Exec => rt(&["run", "-d", "-b", dir, id]).and_then(|()| rt(&["exec", id, "true"])),
    };
    t.cmd(runtime.to_str().expect("utf-8 path"), &["--root", root, "delete", "--force", id]).run();
    came
}
