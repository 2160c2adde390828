//! A profile that denies one system call, any of them: where runc's container comes up
//! all the same, the runtime's does too. Whatever a runtime calls after it has loaded the
//! payload's filter is at the mercy of the profile.

use std::path::Path;

use richrun::plan::seccomp::calls;
use richrun_tests::bundle::args;
use richrun_tests::runtime::Runtime;
use richrun_tests::{Bundle, Kind, Trial};
use serde_json::json;

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
/// memory, starts the payload in a session, waits for signals and ends, and ends.
const OF_ANY_INIT: &[&str] =
    &["execveat", "clone", "setsid", "rt_sigprocmask", "rt_sigtimedwait", "wait4", "exit_group"];

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
                    c["linux"]["seccomp"] = json!({
                        "defaultAction": "SCMP_ACT_ALLOW",
                        "syscalls": [{"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": errno}],
                    });
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
