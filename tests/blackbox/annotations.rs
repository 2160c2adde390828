//! crun's annotations that count where the administrator allows them (`annotations.allow`).

use std::fs;
use std::path::PathBuf;

use nix::libc;
use richrun_tests::bundle::sh;
use richrun_tests::suite::{BOTH, ONE};
use richrun_tests::terminal::{FdSocket, pid_behind};
use richrun_tests::{Kind, Output, Suite, Trial};
use serde_json::json;

pub fn register(suite: &mut Suite) {
    suite.on(BOTH, "a_filter_as_the_kernel_has_it", a_filter_as_the_kernel_has_it).on(
        ONE,
        "a_receiver_of_the_pidfd",
        a_receiver_of_the_pidfd,
    );
}

const BPF: &str = "run.oci.seccomp_bpf_data";
const RECEIVER: &str = "run.oci.pidfd_receiver";

/// The settings with these annotations allowed.
fn settings(t: &Trial, allowed: &[&str]) -> PathBuf {
    let path = t.dir.join("settings.toml");
    fs::write(&path, format!("[annotations]\nallow = {allowed:?}\n")).expect("write");
    path
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        let letter = |at: usize| match at <= three.len() {
            true => char::from(LETTERS[(bits >> (18 - 6 * at) & 63) as usize]),
            false => '=',
        };
        (0..4).map(letter).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

/// A filter that denies uname(2) alone, with EXDEV.
fn without_uname() -> Vec<u8> {
    let deny = libc::SECCOMP_RET_ERRNO | libc::EXDEV as u32;
    let program = [
        (0x20, 0, 0, 0),
        (0x15, 0, 1, libc::SYS_uname as u32),
        (0x06, 0, 0, deny),
        (0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let bytes = |(code, jt, jf, k): (u16, u8, u8, u32)| {
        [&code.to_ne_bytes()[..], &[jt, jf], &k.to_ne_bytes()].concat()
    };
    program.into_iter().flat_map(bytes).collect()
}

fn a_filter_as_the_kernel_has_it(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Crun], "does not know it");
    let run = |data: &str, allowed: &[&str]| -> Output {
        let bundle = t.bundle(|c| {
            sh(c, "grep Seccomp: /proc/self/status; uname");
            c["annotations"] = json!({BPF: data});
        });
        let settings = settings(t, allowed);
        let settings = settings.to_str().expect("utf-8");
        t.run_cmd(&bundle, &[]).env("RICHRUN_CONFIG", settings).run()
    };
    let data = base64(&without_uname());
    // busybox prints what it has not learnt as nothing.
    run(&data, &[BPF]).exits(0).prints("Seccomp:\t2");
    if t.kind() == Kind::Crun {
        return;
    }
    // An image would choose its filter.
    let out = run(&data, &["run.oci.pidfd_receiver"]).exits(0);
    out.says("seccomp_bpf_data: ignored: annotations.allow").prints("Seccomp:\t0\nLinux");
    for wrong in ["?", "BgAA", ""] {
        run(wrong, &[BPF]).exits(1).says("annotations: run.oci.seccomp_bpf_data");
    }
    // A jump out of it is the kernel's to refuse.
    run(&base64(&[0x05, 0, 0, 0, 9, 0, 0, 0]), &[BPF]).exits(1).says("invalid argument");
    let bundle = t.bundle(|c| {
        sh(c, "sleep 100");
        c["annotations"] = json!({BPF: data});
    });
    let settings = settings(t, &[BPF]);
    let settings = settings.to_str().expect("utf-8");
    let options = ["run", "-d", "-b", bundle.path(), &bundle.id];
    t.rt(&options).env("RICHRUN_CONFIG", settings).ok();
    let c = t.take(&bundle);
    c.exec_cmd(&[], &["uname"]).env("RICHRUN_CONFIG", settings).ok().prints("");
    c.remove();
}

fn a_receiver_of_the_pidfd(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Crun], "does not know it");
    let socket = FdSocket::new(&t.dir.join("run/receiver"));
    let detach = |path: &str, allowed: &[&str]| {
        let bundle = t.bundle(|c| {
            sh(c, "sleep 100");
            c["annotations"] = json!({RECEIVER: path});
        });
        let settings = settings(t, allowed);
        let settings = settings.to_str().expect("utf-8");
        let options = ["run", "-d", "-b", bundle.path(), &bundle.id];
        (t.rt(&options).env("RICHRUN_CONFIG", settings).run(), bundle)
    };
    let (out, bundle) = detach(socket.path(), &[RECEIVER]);
    out.exits(0);
    let c = t.take(&bundle);
    assert_eq!(pid_behind(socket.receive().1), c.pid());
    c.remove();
    if t.kind() == Kind::Crun {
        return;
    }
    // Nobody is there to be called, and nobody calls.
    let gone = t.dir.join("run/nobody").display().to_string();
    let (out, bundle) = detach(&gone, &[]);
    out.exits(0).says("pidfd_receiver: ignored: annotations.allow");
    t.take(&bundle).remove();
    detach(&gone, &[RECEIVER]).0.exits(1).says(RECEIVER);
    detach("here", &[RECEIVER]).0.exits(1).says("is no absolute path");
}
