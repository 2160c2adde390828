//! Devices: the default ones, the spec's, and who may open what.

use std::fs;

use richrun_tests::bundle::{caps, sh};
use richrun_tests::suite::{BOTH, ONE, ROOT, ROOTLESS};
use richrun_tests::{Kind, Suite, Trial, View};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite
        .on(BOTH, "default_devices", default_devices)
        .on(BOTH, "default_devices_work", default_devices_work)
        .on(ONE, "spec_devices", spec_devices)
        .on(ONE, "fifo_and_block", fifo_and_block)
        .on(ONE, "outside_dev", outside_dev)
        .on(ROOTLESS, "bound_for_a_user", bound_for_a_user)
        .on(ROOT, "denied_unless_allowed", denied_unless_allowed)
        .on(ROOT, "allowed_by_rule", allowed_by_rule)
        .on(ROOT, "rule_order", rule_order)
        .on(ROOT, "ten_thousand_rules", ten_thousand_rules)
        .on(ROOT, "mknod_any_then_open_none", mknod_any_then_open_none)
        .on(ROOT, "access_parts", access_parts)
        .on(ROOT, "no_rules_still_denied", no_rules_still_denied)
        .on(ONE, "dev_not_mounted", dev_not_mounted)
        .on(ONE, "existing_mismatch", existing_mismatch)
        .on(ONE, "console_absent_without_terminal", console_absent_without_terminal);
}

fn default_devices(t: &Trial) {
    let script =
        "for d in null zero full random urandom tty; do stat -L -c '%n %F %t:%T %a' /dev/$d; done";
    let out = t.sh(script).ok();
    let wanted = "/dev/null character special file 1:3 666\n\
                  /dev/zero character special file 1:5 666\n\
                  /dev/full character special file 1:7 666\n\
                  /dev/random character special file 1:8 666\n\
                  /dev/urandom character special file 1:9 666\n\
                  /dev/tty character special file 5:0 666";
    assert_eq!(out.trimmed(), wanted);
}

fn default_devices_work(t: &Trial) {
    let script = "echo x > /dev/null && head -c 3 /dev/zero | wc -c && head -c 3 /dev/urandom | wc -c; \
                  echo x > /dev/full; ls -d /dev/ptmx /dev/pts/ptmx";
    let out = t.sh(script).ok();
    out.says("No space left").prints("3\n3\n/dev/ptmx\n/dev/pts/ptmx");
}

fn add(c: &mut Value, device: Value) {
    if c["linux"]["devices"].is_null() {
        c["linux"]["devices"] = json!([]);
    }
    c["linux"]["devices"].as_array_mut().expect("devices").push(device);
}

fn spec_devices(t: &Trial) {
    let out = t.sh_with("stat -c '%t:%T %a %u:%g' /dev/fuse /dev/kmsg", |c| {
        add(c, json!({"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 1, "gid": 2}));
        add(c, json!({"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o600}));
    });
    out.ok().prints("a:e5 640 1:2\n1:b 600 0:0");
}

fn fifo_and_block(t: &Trial) {
    let out = t.sh_with("stat -c '%F %a' /dev/queue /dev/disk; stat -c %t:%T /dev/disk", |c| {
        add(c, json!({"path": "/dev/queue", "type": "p", "fileMode": 0o622}));
        add(
            c,
            json!({"path": "/dev/disk", "type": "b", "major": 7, "minor": 3, "fileMode": 0o660}),
        );
    });
    out.ok().prints("fifo 622\nblock special file 660\n7:3");
}

fn outside_dev(t: &Trial) {
    let out = t.sh_with("stat -c '%t:%T' /srv/deep/null", |c| {
        add(c, json!({"path": "/srv/deep/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}));
    });
    out.ok().prints("1:3");
}

/// Without mknod, a device of the spec is the host's own, bound.
fn bound_for_a_user(t: &Trial) {
    let out = t.sh_with("stat -c '%t:%T' /dev/zero /dev/fuse; head -c 2 /dev/zero | wc -c", |c| {
        add(
            c,
            json!({"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666}),
        );
    });
    out.ok().prints("1:5\na:e5\n2");
}

/// Makes the node at will and tries to open it: reading, writing, both.
const TRY: &str = "mknod /tmp/d c 10 229; \
    (: < /tmp/d) 2>/dev/null && echo r || echo no r; \
    (: >> /tmp/d) 2>/dev/null && echo w || echo no w";

fn rules(c: &mut Value, rules: Value) {
    caps(c, &["CAP_MKNOD", "CAP_DAC_OVERRIDE"]);
    c["linux"]["resources"]["devices"] = rules;
}

fn denied_unless_allowed(t: &Trial) {
    let out = t.sh_with(TRY, |c| rules(c, json!([{"allow": false, "access": "rwm"}])));
    out.prints("no r\nno w");
}

fn allowed_by_rule(t: &Trial) {
    let out = t.sh_with(TRY, |c| {
        rules(
            c,
            json!([
                {"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
            ]),
        );
    });
    out.prints("r\nw");
}

fn rule_order(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Crun], "refuses exceptions from a wildcard");
    let out = t.sh_with(TRY, |c| {
        rules(
            c,
            json!([
                {"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "major": 10, "access": "rwm"},
                {"allow": false, "type": "c", "major": 10, "minor": 229, "access": "w"},
            ]),
        );
    });
    if t.view == View::V2 {
        out.prints("r\nno w");
    }
}

/// More of them than a program has room for that asks one after the other: on v2 runc's and
/// crun's is refused by the kernel.
fn ten_thousand_rules(t: &Trial) {
    t.only(&[Kind::Richrun], "the kernel does not take its program");
    for (access, wanted) in [("rwm", "r\nw"), ("rm", "r\nno w")] {
        let out = t.sh_with(TRY, |c| {
            let rule = |n: u32, access: &str| json!({"allow": true, "type": "c", "major": 10 + n / 200, "minor": n % 200 * 2 + 1, "access": access});
            let parts = ["r", "w", "rw"];
            let mut list = vec![json!({"allow": false, "access": "rwm"})];
            list.extend((0..10_000).map(|n| rule(n, parts[n as usize % 3])));
            list.push(json!({"allow": true, "type": "c", "major": 10, "minor": 229, "access": access}));
            // The device that is tried is an odd one of the list.
            rules(c, json!(list));
        });
        out.prints(wanted);
    }
}

fn mknod_any_then_open_none(t: &Trial) {
    // Making a node is allowed by default, opening it is not.
    let out = t.sh_with("mknod /tmp/d c 1 2 && echo made; : < /tmp/d", |c| {
        rules(c, json!([{"allow": false, "access": "rwm"}]));
    });
    let out = out.fails();
    out.shows("made").says("not permitted");
}

fn access_parts(t: &Trial) {
    for (access, wanted) in [("r", "r\nno w"), ("w", "no r\nw"), ("rw", "r\nw")] {
        let out = t.sh_with(TRY, |c| {
            rules(
                c,
                json!([
                    {"allow": false, "access": "rwm"},
                    {"allow": true, "type": "c", "major": 10, "minor": 229, "access": access},
                ]),
            );
        });
        assert_eq!(out.trimmed(), wanted, "{access}: {}", out.err);
    }
}

/// The list is a list of what is allowed: empty or missing, nothing is.
fn no_rules_still_denied(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Crun], "takes a missing list as everything allowed");
    for value in [json!([]), Value::Null] {
        let out = t.sh_with(TRY, |c| {
            caps(c, &["CAP_MKNOD", "CAP_DAC_OVERRIDE"]);
            if value.is_null() {
                c["linux"]["resources"].as_object_mut().expect("resources").remove("devices");
            } else {
                c["linux"]["resources"]["devices"] = value.clone();
            }
        });
        if t.kind() == Kind::Richrun {
            out.prints("no r\nno w");
        }
    }
}

/// Without a mount on /dev the devices are made in the root file system itself.
fn dev_not_mounted(t: &Trial) {
    let bundle = t.bundle(|c| {
        sh(c, "echo x > /dev/null && stat -c %t:%T /dev/null /dev/zero");
        for point in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
            richrun_tests::bundle::without_mount(c, point);
        }
    });
    t.run(&bundle).ok().prints("1:3\n1:5");
}

fn existing_mismatch(t: &Trial) {
    t.only(&[Kind::Richrun], "takes what is there");
    let bundle = t.bundle(|c| {
        sh(c, "true");
        add(c, json!({"path": "/srv/thing", "type": "c", "major": 1, "minor": 3}));
    });
    bundle.file("srv/thing", "a plain file");
    t.run(&bundle).exits(1).says("/srv/thing");
    assert_eq!(
        fs::read_to_string(bundle.rootfs().join("srv/thing")).expect("kept"),
        "a plain file"
    );
}

fn console_absent_without_terminal(t: &Trial) {
    t.sh("ls /dev/console").fails();
}
