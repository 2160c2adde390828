//! `check`: all findings at once, and nothing is made.

use richrun_tests::bundle::{mounts, sh};
use richrun_tests::suite::BOTH;
use richrun_tests::{Kind, Suite, Trial};
use serde_json::json;

pub fn register(suite: &mut Suite) {
    suite
        .on(BOTH, "a_good_bundle_is_good", a_good_bundle_is_good)
        .on(BOTH, "all_that_is_wrong_is_told", all_that_is_wrong_is_told)
        .on(BOTH, "services_against_the_image", services_against_the_image)
        .on(BOTH, "what_cannot_be_read", what_cannot_be_read);
}

const WHY: &str = "has no such command";

fn a_good_bundle_is_good(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let bundle = t.bundle(|c| sh(c, "true"));
    let good = format!("{}/config.json: good", bundle.path());
    t.rt(&["check", "-b", bundle.path()]).ok().prints(&good);
    // A container that nobody would want to lose its pid namespace by accident: a warning is no error.
    bundle.edit(|c| richrun_tests::bundle::without_namespace(c, "pid"));
    t.rt(&["check", "-b", bundle.path()]).ok().shows("warning: linux.namespaces: no pid");
}

fn all_that_is_wrong_is_told(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let bundle = t.bundle(|c| {
        sh(c, "true");
        c["hostnam"] = json!("x");
        c["process"]["cwd"] = json!("relative");
        c["process"]["noNewPrivilege"] = json!(true);
        c["annotations"] = json!({"io.richrun.mod": "systemd"});
        c["linux"]["sysctl"] = json!({"kernel.banana": "1"});
        c["hooks"] = json!({"poststop": [{"path": "relative"}]});
        c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO",
                "args": [{"index": 9, "value": 1, "op": "SCMP_CMP_EQ"}]}]});
        mounts(c).push(json!({"destination": "/proc/x", "type": "tmpfs"}));
        mounts(c).push(json!({"destination": "/y", "type": "tmpfs", "options": ["nosiud"]}));
    });
    let out = t.rt(&["check", "-b", bundle.path()]).run().exits(1).says("errors");
    for what in [
        "error: hostnam: unknown field; did you mean hostname?",
        "error: process.noNewPrivilege: unknown field; did you mean process.noNewPrivileges?",
        "error: process.cwd: ",
        "error: annotations: unknown annotation io.richrun.mod; did you mean io.richrun.mode?",
        "error: linux.sysctl[\"kernel.banana\"]: ",
        "error: hooks.poststop[0].path: ",
        "error: linux.seccomp",
        "destination: /proc/x ",
        "\"nosiud\" is no option that is known; did you mean nosuid?",
    ] {
        let lines = out.out.lines().filter(|line| line.contains(what)).count();
        assert_eq!(lines, 1, "{what}\n{}", out.out);
    }
    assert!(t.rt(&["list", "-q"]).ok().out.is_empty());
}

fn services_against_the_image(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let bundle = t.bundle(|c| sh(c, "true"));
    let file = bundle.dir.join("services.toml");
    let path = file.to_str().expect("utf-8");
    let check = |text: &str| {
        std::fs::write(&file, text).expect("write");
        t.rt(&["check", "-b", bundle.path(), path])
    };
    let good = "[service.a]\ncommand = [\"true\"]\n";
    check(good).ok().prints(&format!("{path}: good"));
    let both = "[service.a]\ncommand = [\"true\"]\nusr = 1\n\
                [service.b]\ncommand = [\"true\"]\nuser = \"stranger\"\n";
    let out = check(both).run().exits(1);
    for what in ["line 3: service.a.usr: ", "line 6: service.b.user: ", "\"stranger\""] {
        assert!(out.out.contains(what), "{what}: {}", out.out);
    }
    let lacks = "[service.a]\ncommand = [\"true\"]\nneeds = [\"zz\"]\n";
    check(lacks).run().exits(1).shows("no service is named \"zz\"");
    check("[service").run().exits(1).shows("services.toml: error: line 1");
}

fn what_cannot_be_read(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let bundle = t.bundle(|c| sh(c, "true"));
    let other = bundle.dir.join("other.json");
    let path = other.to_str().expect("utf-8");
    t.rt(&["check", path]).run().exits(1).shows("no such file");
    std::fs::write(&other, "{ oops").expect("write");
    t.rt(&["check", path]).run().exits(1).shows("at line 1 column");
    std::fs::rename(bundle.rootfs(), bundle.dir.join("elsewhere")).expect("rename");
    t.rt(&["check", "-b", bundle.path()]).run().exits(1).shows("error: root.path: ");
}
