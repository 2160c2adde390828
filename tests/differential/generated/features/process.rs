//! The process: who it is, what it may do, what it is given.

use serde_json::{Map, Value, json};

use super::{Feature, anywhere, as_root};
use crate::dice::Dice;
use crate::generated::place::Place;

pub const ALL: &[Feature] = &[
    anywhere("user", user),
    anywhere("umask", |dice, _, c| c["process"]["user"]["umask"] = json!(dice.roll(0o1000))),
    as_root("groups", groups),
    anywhere("capabilities", capabilities),
    anywhere("no capabilities", |_, _, c| remove(&mut c["process"], "capabilities")),
    anywhere("new privileges", |_, _, c| c["process"]["noNewPrivileges"] = json!(false)),
    anywhere("limits", limits),
    anywhere("out of memory score", |dice, _, c| {
        c["process"]["oomScoreAdj"] = json!(dice.roll(1001));
    }),
    anywhere("environment", environment),
    anywhere("working directory", |dice, _, c| {
        let places = ["/tmp", "/home/app", "/new/dir", "/bin/../tmp", "/etc/", "/var/run"];
        c["process"]["cwd"] = json!(dice.pick(&places));
    }),
    anywhere("terminal", terminal),
    anywhere("exit status", |dice, _, c| {
        c["process"]["args"][2] = json!(dice.roll(256).to_string());
    }),
    anywhere("io priority", |dice, _, c| {
        let class = dice.pick(&["IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"]);
        c["process"]["ioPriority"] = json!({"class": class, "priority": dice.roll(8)});
    }),
    anywhere("scheduler", |dice, _, c| {
        let policy = dice.pick(&["SCHED_OTHER", "SCHED_BATCH", "SCHED_IDLE"]);
        c["process"]["scheduler"] = json!({"policy": policy, "nice": dice.roll(20)});
    }),
    anywhere("personality", |dice, _, c| {
        let domain = dice.pick(&["LINUX", "LINUX32"]);
        c["linux"]["personality"] = json!({"domain": domain});
    }),
    anywhere("names", |dice, _, c| {
        c["hostname"] = json!(dice.pick(&["box", "a.b.example", "x"]));
        if dice.once_in(2) {
            c["domainname"] = json!(dice.pick(&["lan.example", "d"]));
        }
    }),
    anywhere("hooks", hooks),
];

fn remove(value: &mut Value, field: &str) {
    if let Some(object) = value.as_object_mut() {
        object.remove(field);
    }
}

fn user(dice: &mut Dice, _: Place, c: &mut Value) {
    let ids = [0, 1, 1000, 1001, 4242, 65_534];
    c["process"]["user"]["uid"] = json!(dice.pick(&ids));
    c["process"]["user"]["gid"] = json!(dice.pick(&ids));
}

fn groups(dice: &mut Dice, _: Place, c: &mut Value) {
    c["process"]["user"]["additionalGids"] = json!(dice.some(&[0, 5, 10, 1000, 2000, 65_533]));
}

const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_NET_ADMIN",
    "CAP_SYS_CHROOT",
    "CAP_SYS_ADMIN",
    "CAP_MKNOD",
    "CAP_SETFCAP",
];

/// Sets that the kernel takes: effective within permitted, ambient within permitted and inheritable.
fn capabilities(dice: &mut Dice, _: Place, c: &mut Value) {
    let bounding = dice.some(&CAPABILITIES);
    let permitted = dice.some(&bounding);
    let inheritable = dice.some(&bounding);
    let both: Vec<&str> =
        permitted.iter().copied().filter(|name| inheritable.contains(name)).collect();
    let sets = [
        ("effective", dice.some(&permitted)),
        ("ambient", dice.some(&both)),
        ("bounding", bounding),
        ("permitted", permitted),
        ("inheritable", inheritable),
    ];
    let named: Map<String, Value> =
        sets.into_iter().map(|(name, set)| (name.to_owned(), json!(set))).collect();
    c["process"]["capabilities"] = Value::Object(named);
}

fn limits(dice: &mut Dice, _: Place, c: &mut Value) {
    let kinds = [
        ("NOFILE", 256),
        ("CORE", 0),
        ("STACK", 1 << 20),
        ("NPROC", 500),
        ("FSIZE", 1 << 30),
        ("CPU", 100),
        ("MEMLOCK", 4096),
        ("SIGPENDING", 100),
        ("MSGQUEUE", 1000),
        ("DATA", 1 << 28),
        ("LOCKS", 9),
        ("RTTIME", 1_000_000),
    ];
    let chosen = dice.some(&kinds).into_iter().map(|(name, least)| {
        let soft = least + dice.roll(16);
        json!({"type": format!("RLIMIT_{name}"), "soft": soft, "hard": soft + dice.roll(16)})
    });
    c["process"]["rlimits"] = chosen.collect();
}

fn environment(dice: &mut Dice, _: Place, c: &mut Value) {
    let words = [
        "A=1",
        "A=2",
        "EMPTY=",
        "HOME=/tmp",
        "TERM=dumb",
        "LONG=a b  c",
        "EQUALS=a=b=c",
        "PATH=/bin:/usr/bin",
        "LANG=C.UTF-8",
        "UNICODE=\u{fc}",
    ];
    c["process"]["env"] = json!(dice.some(&words));
}

fn terminal(dice: &mut Dice, _: Place, c: &mut Value) {
    c["process"]["terminal"] = json!(true);
    if dice.once_in(2) {
        c["process"]["consoleSize"] =
            json!({"height": 20 + dice.roll(9), "width": 70 + dice.roll(9)});
    }
}

/// What the log says of each hook: its kind, and what it is like.
fn hooks(dice: &mut Dice, _: Place, c: &mut Value) {
    let kinds =
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    for kind in dice.some(&kinds) {
        let list = (0..1 + dice.roll(2)).map(|number| {
            let name = format!("{kind} {number}");
            let script = format!(
                "exec 2>/dev/null; cat >/dev/null; {{ echo 'order {name}'; \
                 sed -n 's/^\\(Uid\\|Gid\\|Groups\\|Umask\\|Cap...\\|NoNewPrivs\\|Seccomp\\|SigIgn\\|SigBlk\\):[ \\t]*/hook {name} \\1@/p' \
                 /proc/self/status; echo \"hook {name} env@$(env | sort | xargs)\"; \
                 echo \"hook {name} fds@$(ls /proc/self/fd | xargs)\"; }} >> /mnt/run/log"
            );
            json!({"path": "/bin/busybox", "args": ["busybox", "sh", "-c", script],
                "env": ["PATH=/bin:/usr/bin", "MARK=x"]})
        });
        c["hooks"][kind] = list.collect();
    }
    super::mounts::push(c, "/mnt/run", "bind", "/mnt/run", &["rbind", "rw"]);
}
