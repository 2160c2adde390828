//! What must be refused, whatever else the configuration asks for.

use richrun_tests::bundle::{args, namespaces};
use serde_json::json;

use super::mounts::push;
use super::{Feature, anywhere, as_root};

pub const ALL: &[Feature] = &[
    anywhere("program that is missing", |_, _, c| args(c, &["nothing-here"])),
    anywhere("path that is missing", |_, _, c| args(c, &["/bin/nothing"])),
    anywhere("program without rights", |_, _, c| args(c, &["/etc/passwd"])),
    anywhere("program that is a directory", |_, _, c| args(c, &["/etc"])),
    anywhere("working directory that is a file", |_, _, c| {
        c["process"]["cwd"] = json!("/probe");
    }),
    anywhere("no arguments", |_, _, c| args(c, &[])),
    anywhere("root that is missing", |_, _, c| c["root"]["path"] = json!("gone")),
    anywhere("unknown limit", |_, _, c| {
        c["process"]["rlimits"] = json!([{"type": "RLIMIT_LUCK", "soft": 1, "hard": 1}]);
    }),
    anywhere("limit above the hard one", |_, _, c| {
        c["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 900, "hard": 800}]);
    }),
    anywhere("sysctl of the host", |dice, _, c| {
        let name = dice.pick(&["vm.swappiness", "kernel.panic", "fs.file-max", "none"]);
        c["linux"]["sysctl"] = json!({ (name): "1" });
    }),
    anywhere("source that is missing", |_, _, c| push(c, "/x", "bind", "/mnt/none", &["bind"])),
    anywhere("directory over a file", |_, _, c| {
        push(c, "/etc/hosts-file/x", "bind", "/mnt/source", &["bind"]);
        push(c, "/etc/passwd", "bind", "/mnt/source", &["bind"]);
    }),
    anywhere("unknown file system", |_, _, c| push(c, "/x", "nofs", "nofs", &[])),
    anywhere("unknown option of a file system", |_, _, c| {
        push(c, "/x", "tmpfs", "tmpfs", &["nonsense=1"]);
    }),
    anywhere("namespace twice", |_, _, c| namespaces(c).push(json!({"type": "mount"}))),
    anywhere("namespace that is missing", |_, _, c| {
        namespaces(c).retain(|entry| entry["type"] != "network");
        namespaces(c).push(json!({"type": "network", "path": "/mnt/none"}));
    }),
    anywhere("namespace of another type", |_, _, c| {
        namespaces(c).retain(|entry| entry["type"] != "network");
        namespaces(c).push(json!({"type": "network", "path": "/proc/self/ns/uts"}));
    }),
    anywhere("unknown namespace", |_, _, c| namespaces(c).push(json!({"type": "space"}))),
    anywhere("unknown system call's action", |_, _, c| {
        c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_MAYBE"});
    }),
    anywhere("hook that fails", |dice, _, c| {
        let kind = dice.pick(&["prestart", "createRuntime", "createContainer", "startContainer"]);
        c["hooks"] =
            json!({(kind): [{"path": "/bin/busybox", "args": ["busybox", "sh", "-c", "exit 3"]}]});
    }),
    anywhere("hook that is missing", |dice, _, c| {
        let kind = dice.pick(&["prestart", "createRuntime", "createContainer"]);
        c["hooks"] = json!({(kind): [{"path": "/mnt/none"}]});
    }),
    as_root("user who is not mapped", |_, _, c| {
        richrun_tests::bundle::user_namespace(c);
        c["process"]["user"]["uid"] = json!(70_000);
    }),
    anywhere("group that is not mapped", |_, _, c| {
        if !namespaces(c).iter().any(|entry| entry["type"] == "user") {
            richrun_tests::bundle::user_namespace(c);
        }
        c["process"]["user"]["gid"] = json!(70_000);
    }),
    anywhere("unknown propagation", |_, _, c| c["linux"]["rootfsPropagation"] = json!("loose")),
    anywhere("unknown device type", |_, _, c| {
        c["linux"]["devices"] = json!([{"path": "/dev/x", "type": "x", "major": 1, "minor": 3}]);
    }),
    as_root("negative cpu quota", |_, _, c| {
        c["linux"]["resources"]["cpu"] = json!({"cpus": "4096"});
    }),
];
