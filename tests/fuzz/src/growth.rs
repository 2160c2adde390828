//! Documents that grow: whoever reads one takes time in proportion to its length.

use serde_json::{Value, json};

/// A kind of document that can have any number of entries.
#[derive(Debug, Clone, Copy)]
pub struct Growth {
    /// Which list grows.
    pub name: &'static str,
    /// The target that reads it.
    pub target: &'static str,
    /// The document with that many entries.
    pub make: fn(usize) -> Vec<u8>,
    /// How many there are at least: what only shorter ones cost is bounded then.
    pub least: usize,
}

/// The lists of every document.
pub const GROWTHS: &[Growth] = &[
    Growth { name: "env", target: "config", make: env, least: 50 },
    Growth { name: "args", target: "config", make: args, least: 50 },
    Growth { name: "additional_gids", target: "config", make: additional_gids, least: 50 },
    Growth { name: "capabilities", target: "config", make: capabilities, least: 50 },
    Growth { name: "annotations", target: "config", make: annotations, least: 50 },
    Growth { name: "mounts", target: "config", make: mounts, least: 50 },
    Growth { name: "mount_options", target: "config", make: mount_options, least: 50 },
    Growth { name: "devices", target: "config", make: devices, least: 50 },
    Growth { name: "device_rules", target: "config", make: device_rules, least: 50 },
    Growth { name: "masked_paths", target: "config", make: masked_paths, least: 50 },
    Growth { name: "readonly_paths", target: "config", make: readonly_paths, least: 50 },
    Growth { name: "sysctls", target: "config", make: sysctls, least: 50 },
    Growth { name: "hooks", target: "config", make: hooks, least: 50 },
    Growth { name: "unified", target: "config", make: unified, least: 50 },
    Growth { name: "unknown_fields", target: "config", make: unknown_fields, least: 50 },
    Growth { name: "nested_arrays", target: "config", make: |n| vec![b'['; n], least: 50 },
    Growth { name: "seccomp_rules", target: "seccomp", make: seccomp_rules, least: 4000 },
    Growth { name: "seccomp_args", target: "seccomp", make: seccomp_args, least: 4000 },
    Growth { name: "seccomp_names", target: "seccomp", make: seccomp_names, least: 50 },
    Growth {
        name: "toml_keys",
        target: "services",
        make: |n| lines(n, |i| format!("k{i} = 1")),
        least: 50,
    },
    Growth {
        name: "toml_tables",
        target: "services",
        make: |n| lines(n, |i| format!("[t{i}]")),
        least: 50,
    },
    Growth {
        name: "toml_arrays",
        target: "services",
        make: |n| lines(n, |_| "[[a]]".into()),
        least: 50,
    },
    Growth { name: "toml_list", target: "services", make: toml_list, least: 50 },
    Growth {
        name: "toml_dotted",
        target: "services",
        make: |n| lines(n, |i| format!("a.b{i}.c = 1")),
        least: 50,
    },
    Growth { name: "toml_services", target: "services", make: toml_services, least: 50 },
    Growth { name: "json_keys", target: "services", make: json_keys, least: 50 },
    Growth { name: "hooks_d_patterns", target: "hooks_d", make: hooks_d_patterns, least: 50 },
    Growth { name: "passwd", target: "accounts", make: passwd, least: 50 },
    Growth { name: "group", target: "accounts", make: group, least: 50 },
    Growth {
        name: "inittab",
        target: "inittab",
        make: |n| lines(n, |i| format!("{}:2345:respawn:/bin/x{i}", i % 9999)),
        least: 50,
    },
    Growth {
        name: "memberships",
        target: "cgroup_files",
        make: |n| lines(n, |i| format!("{i}:cpu{i}:/a/{i}")),
        least: 50,
    },
    Growth { name: "mountinfo", target: "cgroup_files", make: mountinfo, least: 50 },
    Growth {
        name: "control_names",
        target: "init_control",
        make: |n| [vec![1, 1, 0, 0], b"name\0".repeat(n)].concat(),
        least: 50,
    },
    Growth { name: "long_word", target: "words", make: |n| vec![b'1'; n], least: 50 },
    Growth {
        name: "quoted_words",
        target: "words",
        make: |n| b"'a b' \"c\\\" d\" ".repeat(n),
        least: 50,
    },
    Growth {
        name: "many_words",
        target: "command_line",
        make: |n| b"exec\0-e\0A=b\0".repeat(n),
        least: 50,
    },
];

fn lines(count: usize, line: impl Fn(usize) -> String) -> Vec<u8> {
    (0..count).map(|i| line(i) + "\n").collect::<String>().into_bytes()
}

fn list<T: Into<Value>>(count: usize, entry: impl Fn(usize) -> T) -> Value {
    (0..count).map(entry).map(Into::into).collect::<Vec<Value>>().into()
}

/// A small configuration, altered.
fn config(alter: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut config = json!({
        "ociVersion": "1.2.0",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh"], "cwd": "/", "env": ["PATH=/bin"]},
        "root": {"path": "rootfs"},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "network"}, {"type": "ipc"}]},
    });
    alter(&mut config);
    config.to_string().into_bytes()
}

fn env(n: usize) -> Vec<u8> {
    config(|c| c["process"]["env"] = list(n, |i| format!("NAME{i}={i}")))
}

fn args(n: usize) -> Vec<u8> {
    config(|c| c["process"]["args"] = list(n, |i| format!("word{i}")))
}

fn additional_gids(n: usize) -> Vec<u8> {
    config(|c| c["process"]["user"]["additionalGids"] = list(n, |i| i as u64))
}

fn capabilities(n: usize) -> Vec<u8> {
    config(|c| {
        c["process"]["capabilities"] = json!({"bounding": list(n, |i| format!("CAP_NEW_{i}"))})
    })
}

fn annotations(n: usize) -> Vec<u8> {
    let all: serde_json::Map<_, _> = (0..n).map(|i| (format!("a.b.c{i}"), json!("x"))).collect();
    config(|c| c["annotations"] = all.into())
}

fn mounts(n: usize) -> Vec<u8> {
    let one = |i| json!({"destination": format!("/m/{i}"), "type": "bind", "source": "/tmp", "options": ["rbind", "ro"]});
    config(|c| c["mounts"] = list(n, one))
}

fn mount_options(n: usize) -> Vec<u8> {
    let options = list(n, |i| format!("option{i}=x"));
    config(|c| {
        c["mounts"][0] =
            json!({"destination": "/t", "type": "tmpfs", "source": "t", "options": options})
    })
}

fn devices(n: usize) -> Vec<u8> {
    let one = |i| json!({"path": format!("/dev/d{i}"), "type": "c", "major": 1, "minor": i % 256});
    config(|c| c["linux"]["devices"] = list(n, one))
}

fn device_rules(n: usize) -> Vec<u8> {
    let one = |i| json!({"allow": i % 2 == 0, "type": "c", "major": i % 4000, "minor": i % 256, "access": "rwm"});
    config(|c| c["linux"]["resources"] = json!({"devices": list(n, one)}))
}

fn masked_paths(n: usize) -> Vec<u8> {
    config(|c| c["linux"]["maskedPaths"] = list(n, |i| format!("/proc/x{i}")))
}

fn readonly_paths(n: usize) -> Vec<u8> {
    config(|c| c["linux"]["readonlyPaths"] = list(n, |i| format!("/proc/x{i}")))
}

fn sysctls(n: usize) -> Vec<u8> {
    let all: serde_json::Map<_, _> =
        (0..n).map(|i| (format!("net.ipv4.x{i}"), json!("1"))).collect();
    config(|c| c["linux"]["sysctl"] = all.into())
}

fn hooks(n: usize) -> Vec<u8> {
    let one =
        |i| json!({"path": format!("/bin/h{i}"), "args": ["h"], "env": ["A=b"], "timeout": 3});
    config(|c| c["hooks"] = json!({"prestart": list(n, one)}))
}

fn unified(n: usize) -> Vec<u8> {
    let all: serde_json::Map<_, _> = (0..n).map(|i| (format!("misc.x{i}"), json!("1"))).collect();
    config(|c| c["linux"]["resources"] = json!({"unified": all}))
}

fn unknown_fields(n: usize) -> Vec<u8> {
    config(|c| (0..n).for_each(|i| c["linux"][format!("new{i}")] = json!(i)))
}

fn seccomp_rules(n: usize) -> Vec<u8> {
    let one = |i: usize| {
        let args = json!([{"index": i % 6, "value": i, "op": "SCMP_CMP_EQ"}]);
        json!({"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": args})
    };
    json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": list(n, one)}).to_string().into_bytes()
}

fn seccomp_args(n: usize) -> Vec<u8> {
    let args = list(n, |i| json!({"index": i % 6, "value": i, "op": "SCMP_CMP_NE"}));
    let one = json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": args});
    json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [one]}).to_string().into_bytes()
}

fn seccomp_names(n: usize) -> Vec<u8> {
    let names = list(n, |i| ["read", "write", "openat", "mount"][i % 4]);
    let one = json!({"names": names, "action": "SCMP_ACT_ALLOW"});
    json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [one]}).to_string().into_bytes()
}

fn toml_list(n: usize) -> Vec<u8> {
    format!("[service.a]\ncommand = [{}]\n", "\"x\", ".repeat(n)).into_bytes()
}

fn toml_services(n: usize) -> Vec<u8> {
    lines(n, |i| format!("[service.s{i}]\ncommand = [\"x\"]\nafter = [\"s{}\"]", i / 2))
}

fn json_keys(n: usize) -> Vec<u8> {
    let all: serde_json::Map<_, _> = (0..n).map(|i| (format!("k{i}"), json!(1))).collect();
    Value::from(all).to_string().into_bytes()
}

fn hooks_d_patterns(n: usize) -> Vec<u8> {
    let when = json!({"commands": list(n, |i| format!("^/usr/bin/[a-z]{{1,3}}x{i}$"))});
    json!({"version": "1.0.0", "hook": {"path": "/bin/true"}, "when": when, "stages": ["prestart"]})
        .to_string()
        .into_bytes()
}

fn passwd(n: usize) -> Vec<u8> {
    let text = lines(n, |i| format!("u{i}:x:{i}:{i}::/home/{i}:/bin/sh"));
    [format!("u{}\0", n.saturating_sub(1)).into_bytes(), text].concat()
}

fn group(n: usize) -> Vec<u8> {
    let text = lines(n, |i| format!("g{i}:x:{i}:a,b,u0"));
    [b"u0:g1\0u0:x:7:7::/:/bin/sh\n\0".to_vec(), text].concat()
}

fn mountinfo(n: usize) -> Vec<u8> {
    lines(n, |i| format!("{i} 1 0:{i} / /sys/fs/cgroup/c{i} rw - cgroup cgroup rw,cpu"))
}
