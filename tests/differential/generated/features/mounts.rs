//! Mounts and the root file system.

use richrun_tests::bundle::{mounts, without_mount};
use serde_json::{Value, json};

use super::{Feature, anywhere};
use crate::dice::Dice;
use crate::generated::place::Place;

pub const ALL: &[Feature] = &[
    anywhere("read-only root", |_, _, c| c["root"]["readonly"] = json!(true)),
    anywhere("root propagation", |dice, _, c| {
        let words = ["private", "rprivate", "slave", "rslave", "shared", "rshared"];
        c["linux"]["rootfsPropagation"] = json!(dice.pick(&words));
    }),
    anywhere("tmpfs", |dice, _, c| tmpfs(dice, c, "/m/0")),
    anywhere("tmpfs within", |dice, _, c| {
        tmpfs(dice, c, "/new");
        tmpfs(dice, c, "/new/dir");
    }),
    anywhere("tmpfs over", |dice, _, c| {
        let place = dice.pick(&["/tmp", "/home", "/var/run", "/etc", "/dev/shm"]);
        tmpfs(dice, c, place);
    }),
    anywhere("bind of a directory", |dice, _, c| bind(dice, c, "/mnt/source", "/m/1")),
    anywhere("bind of a file", |dice, _, c| bind(dice, c, "/mnt/source/file", "/m/2")),
    anywhere("bind over a file", |dice, _, c| bind(dice, c, "/mnt/source/file", "/etc/group")),
    anywhere("bind with mounts below", |dice, _, c| bind(dice, c, "/mnt/source", "/m/3")),
    anywhere("bind through a link", |dice, _, c| bind(dice, c, "/mnt/source/link", "/m/link")),
    anywhere("bind of a device", |_, _, c| {
        push(c, "/dev/other", "bind", "/dev/zero", &["bind", "rw"]);
    }),
    anywhere("stock mounts less", |dice, _, c| {
        for place in dice.some(&["/dev/shm", "/dev/mqueue", "/sys/fs/cgroup"]) {
            without_mount(c, place);
        }
    }),
    anywhere("stock mounts otherwise", stock_otherwise),
    anywhere("masked paths", |dice, _, c| {
        let paths = [
            "/proc/keys",
            "/proc/bus",
            "/etc/passwd",
            "/home",
            "/none",
            "/proc/timer_list",
            "/sys/firmware",
            "/proc/keys",
        ];
        c["linux"]["maskedPaths"] = json!(dice.some(&paths));
    }),
    anywhere("read-only paths", |dice, _, c| {
        let paths = ["/proc/sys", "/proc/bus", "/etc", "/etc/group", "/none", "/tmp", "/dev/shm"];
        c["linux"]["readonlyPaths"] = json!(dice.some(&paths));
    }),
    anywhere("mount label", |dice, _, c| {
        if dice.once_in(2) {
            c["linux"]["mountLabel"] = json!("");
        } else {
            c["process"]["selinuxLabel"] = json!("");
        }
    }),
];

/// Adds a mount.
pub fn push(c: &mut Value, destination: &str, kind: &str, source: &str, options: &[&str]) {
    mounts(c).push(json!({
        "destination": destination, "type": kind, "source": source, "options": options,
    }));
}

/// One of each pair, or none.
fn flags(dice: &mut Dice) -> Vec<&'static str> {
    let pairs = [
        ["ro", "rw"],
        ["nosuid", "suid"],
        ["nodev", "dev"],
        ["noexec", "exec"],
        ["noatime", "relatime"],
        ["nodiratime", "diratime"],
    ];
    let mut chosen = Vec::new();
    for pair in pairs {
        if !dice.once_in(3) {
            chosen.push(dice.pick(&pair));
        }
    }
    chosen
}

fn tmpfs(dice: &mut Dice, c: &mut Value, place: &str) {
    let mut options = flags(dice);
    options.extend(dice.some(&["size=1m", "mode=1700", "nr_inodes=99"]));
    let propagation = ["private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable"];
    if dice.once_in(4) {
        options.push(dice.pick(&propagation));
    }
    push(c, place, "tmpfs", "tmpfs", &options);
}

fn bind(dice: &mut Dice, c: &mut Value, source: &str, place: &str) {
    let mut options = vec![dice.pick(&["bind", "rbind"])];
    options.extend(flags(dice));
    if dice.once_in(3) {
        options.push(dice.pick(&["private", "rprivate", "slave", "rslave", "shared", "rshared"]));
    }
    if dice.once_in(8) {
        options.push(dice.pick(&["rro", "rnosuid", "rnoexec"]));
    }
    push(c, place, dice.pick(&["bind", "none"]), source, &options);
}

fn stock_otherwise(dice: &mut Dice, _: Place, c: &mut Value) {
    let list = [
        ("/proc", vec!["nosuid", "noexec", "nodev"]),
        ("/sys", vec!["nosuid", "noexec", "nodev"]),
        ("/dev", vec!["nosuid", "noexec", "strictatime", "mode=755", "size=1m"]),
        ("/dev/shm", vec!["nosuid", "mode=1777", "size=4m"]),
        ("/dev/pts", vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0600"]),
        ("/sys/fs/cgroup", vec!["nosuid", "noexec", "nodev", "relatime"]),
    ];
    for (name, options) in list {
        if dice.once_in(2) {
            for mount in mounts(c).iter_mut().filter(|mount| mount["destination"] == name) {
                mount["options"] = json!(options);
            }
        }
    }
}
