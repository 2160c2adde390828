//! Long lists: no more descriptors for them, and time in proportion.

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use richrun_tests::bundle::{bind, mounts, sh, user_namespace};
use richrun_tests::suite::ONE;
use richrun_tests::{Suite, Trial};
use serde_json::{Value, json};

use super::tmpfs;

pub fn register(suite: &mut Suite) {
    suite
        .on(ONE, "few_descriptors", few_descriptors)
        .on(ONE, "tmpcopyup_of_large_trees", tmpcopyup_of_large_trees)
        .on(ONE, "ten_thousand_of_each", ten_thousand_of_each)
        .on(ONE, "masked_once", masked_once);
}

/// Lowers the soft limit of open files, which the runtime inherits.
fn at_most_64_files() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("getrlimit");
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).expect("setrlimit");
}

fn few_descriptors(t: &Trial) {
    let source = t.dir.join("data");
    fs::create_dir(&source).expect("mkdir");
    at_most_64_files();
    let mapped = |c: &mut Value| {
        for entry in mounts(c).iter_mut().filter(|entry| entry["type"] == "bind") {
            entry["uidMappings"] = json!([{"containerID": 0, "hostID": 7, "size": 1}]);
            entry["gidMappings"] = entry["uidMappings"].clone();
        }
    };
    let edits: [&dyn Fn(&mut Value); 3] = [&|_| {}, &user_namespace, &mapped];
    for edit in edits {
        let bundle = t.bundle(|c| sh(c, "grep -c /many/ /proc/self/mountinfo"));
        for number in 0..300 {
            fs::create_dir_all(bundle.rootfs().join(format!("many/{number}"))).expect("mkdir");
        }
        bundle.edit(|c| {
            (0..300).for_each(|number| bind(c, &source, &format!("/many/{number}"), &["bind"]));
            edit(c);
        });
        t.run(&bundle).ok().prints("300");
    }
    let out = t.sh_with("grep -c '/many/.* ro' /proc/self/mountinfo", |c| {
        (0..300).for_each(|number| tmpfs(c, &format!("/many/{number}"), &["ro"]));
    });
    out.ok().prints("300");
    let out = t.sh_with("ls /dev/many | wc -l", |c| {
        user_namespace(c);
        let node = |number| {
            json!({"path": format!("/dev/many/{number}"), "type": "c", "major": 1, "minor": 3})
        };
        c["linux"]["devices"] = (0..300).map(node).collect();
    });
    out.ok().prints("300");
}

fn tmpcopyup_of_large_trees(t: &Trial) {
    let bundle = t.bundle(|c| {
        sh(c, "ls /wide | wc -l; find /wide -type f | wc -l; stat -c %Y /wide/5; stat -c %a /wide/0/f");
        tmpfs(c, "/wide", &["tmpcopyup"]);
    });
    let wide = bundle.rootfs().join("wide");
    for number in 0..1000 {
        fs::create_dir_all(wide.join(number.to_string())).expect("mkdir");
        fs::write(wide.join(format!("{number}/f")), "x").expect("write");
    }
    let mut deep = wide.join("deep");
    (0..200).for_each(|_| deep.push("d"));
    fs::create_dir_all(&deep).expect("mkdir");
    fs::write(deep.join("f"), "x").expect("write");
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1234);
    let five = fs::File::open(wide.join("5")).expect("open");
    five.set_times(fs::FileTimes::new().set_modified(time)).expect("set the time");
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(wide.join("0/f"), fs::Permissions::from_mode(0o4711)).expect("chmod");
    at_most_64_files();
    t.run(&bundle).ok().prints("1001\n1001\n1234\n4711");
}

/// Quadratic work took 12 s for the devices alone.
fn ten_thousand_of_each(t: &Trial) {
    const MANY: usize = 10_000;
    let bundle = t.bundle(|c| {
        sh(c, "ls /dev/many | wc -l; grep -c ' /many/m' /proc/self/mountinfo");
        let node = |number| {
            json!({"path": format!("/dev/many/{number}"), "type": "c", "major": 1, "minor": 3})
        };
        c["linux"]["devices"] = (0..MANY).map(node).collect();
        let path = |number| json!(format!("/many/{number}"));
        c["linux"]["maskedPaths"] = (0..MANY).map(path).collect();
        c["linux"]["readonlyPaths"] = (0..MANY).map(path).collect();
        (0..MANY).for_each(|number| tmpfs(c, &format!("/many/m{number}"), &[]));
    });
    for number in 0..1000 {
        bundle.file(&format!("many/{number}"), "");
    }
    t.run(&bundle).ok().prints("10000\n10000");
}

fn masked_once(t: &Trial) {
    let out = t.sh_with("grep -c ' /etc' /proc/self/mountinfo", |c| {
        c["linux"]["maskedPaths"] = json!(["/etc", "/etc/", "/home", "/./etc", "/etc"]);
        c["linux"]["readonlyPaths"] = json!([]);
    });
    out.ok().prints("1");
}
