//! What the container's process is: ids, groups, capabilities, limits,
//! environment, working directory.

use richrun_tests::bundle::{args, caps, sh};
use richrun_tests::suite::{BOTH, ONE, USER};
use richrun_tests::{Kind, Suite, Trial};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite
        .on(ONE, "no_user", no_user)
        .on(BOTH, "uid_gid", uid_gid)
        .on(ONE, "additional_gids", additional_gids)
        .on(ONE, "groups_are_kept_where_that_is_allowed", groups_are_kept)
        .on(USER, "additional_gids_rootless", additional_gids_rootless)
        .on(BOTH, "umask", umask)
        .on(ONE, "rlimits", rlimits)
        .on(ONE, "rlimit_of_each_kind", rlimit_of_each_kind)
        .on(ONE, "oom_score_adj", oom_score_adj)
        .on(BOTH, "five_capability_sets", five_capability_sets)
        .on(ONE, "capabilities_of_an_ordinary_uid", capabilities_of_an_ordinary_uid)
        .on(ONE, "ambient", ambient)
        .on(ONE, "no_capabilities", no_capabilities)
        .on(ONE, "unknown_capability_warns", unknown_capability_warns)
        .on(ONE, "no_new_privileges", no_new_privileges)
        .on(BOTH, "cwd", cwd)
        .on(ONE, "cwd_of_another_user", cwd_of_another_user)
        .on(ONE, "cwd_is_made", cwd_is_made)
        .on(BOTH, "home", home)
        .on(BOTH, "environment", environment)
        .on(ONE, "environment_odd", environment_odd)
        .on(BOTH, "path_search", path_search)
        .on(ONE, "argv_exact", argv_exact)
        .on(ONE, "script_without_shebang_fails", script_without_shebang_fails)
        .on(ONE, "personality", personality)
        .on(ONE, "scheduler", scheduler)
        .on(ONE, "scheduler_with_a_deadline", scheduler_with_a_deadline)
        .on(ONE, "io_priority", io_priority)
        .on(ONE, "signal_state_is_clean", signal_state_is_clean)
        .on(ONE, "session_and_pid", session_and_pid)
        .on(ONE, "large_environment", large_environment);
}

/// One capability mask of `/proc/self/status` as the container prints it.
pub fn mask(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    u64::from_str_radix(line.unwrap_or_else(|| panic!("{name} in {text}")).trim(), 16).expect("hex")
}

fn uid_gid(t: &Trial) {
    let show = "grep -E '^(Uid|Gid)' /proc/self/status";
    t.sh(show).ok().prints("Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0");
    t.sh_with(show, |c| c["process"]["user"] = json!({"uid": 1000, "gid": 2000}))
        .ok()
        .prints("Uid:\t1000\t1000\t1000\t1000\nGid:\t2000\t2000\t2000\t2000");
}

fn additional_gids(t: &Trial) {
    let show = "grep ^Groups /proc/self/status";
    t.sh_with(show, |c| {
        c["process"]["user"] =
            json!({"uid": 1000, "gid": 1000, "additionalGids": [5, 2000, 70000]});
    })
    .ok()
    .prints("Groups:\t5 2000 70000");
    // None asked for: none of the caller's, whatever they were.
    let out = t.sh_with(show, |c| c["process"]["user"] = json!({"uid": 1000, "gid": 1000})).ok();
    assert!(["Groups:", "Groups:\t1000"].contains(&out.trimmed()), "{}", out.out);
}

fn additional_gids_rootless(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Crun], "refuses additional groups without root");
    let out = t.sh_with("grep ^Groups /proc/self/status", |c| {
        c["process"]["user"] = json!({"uid": 0, "gid": 0, "additionalGids": [5, 6]});
    });
    out.ok().prints("Groups:\t5 6");
}

fn umask(t: &Trial) {
    t.sh("umask").ok().prints("0022");
    for (value, text) in [(0, "0000"), (0o27, "0027"), (0o777, "0777")] {
        t.sh_with("umask", |c| c["process"]["user"]["umask"] = json!(value)).ok().prints(text);
    }
}

fn rlimits(t: &Trial) {
    let out = t.sh_with("ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc", |c| {
        c["process"]["rlimits"] = json!([
            {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        ]);
    });
    out.ok().prints("100\n200\n0\n0");
}

fn rlimit_of_each_kind(t: &Trial) {
    let kinds = [
        "CPU",
        "FSIZE",
        "DATA",
        "STACK",
        "CORE",
        "RSS",
        "NPROC",
        "NOFILE",
        "MEMLOCK",
        "AS",
        "LOCKS",
        "SIGPENDING",
        "MSGQUEUE",
        "NICE",
        "RTPRIO",
        "RTTIME",
    ];
    let shown = [
        "cpu time",
        "file size",
        "data size",
        "stack size",
        "core file size",
        "resident set",
        "processes",
        "open files",
        "locked memory",
        "address space",
        "file locks",
        "pending signals",
        "msgqueue size",
        "nice priority",
        "realtime priority",
        "realtime timeout",
    ];
    // The present hard limits: CAP_SYS_RESOURCE may be missing, so only lower them.
    let own = std::fs::read_to_string("/proc/self/limits").expect("limits");
    let hard = |name: &str| -> u64 {
        let line = own.lines().find(|l| l.to_lowercase().starts_with(&format!("max {name}")));
        let words = line.map(|l| l[26..].split_whitespace().nth(1).unwrap_or("").to_owned());
        words.and_then(|w| w.parse().ok()).unwrap_or(u64::MAX)
    };
    for (kind, name) in kinds.iter().zip(shown) {
        let value = hard(name).min(1 << 32);
        let out = t.sh_with("cat /proc/self/limits", |c| {
            let name = format!("RLIMIT_{kind}");
            c["process"]["rlimits"] = json!([{"type": name, "soft": value, "hard": value}]);
        });
        let out = out.ok();
        let line = out.out.lines().find(|l| l.to_lowercase().starts_with(&format!("max {name}")));
        let line = line.unwrap_or_else(|| panic!("{name} in {}", out.out)).to_owned();
        let words: Vec<_> = line[26..].split_whitespace().collect();
        assert_eq!(words[..2], [value.to_string(), value.to_string()], "{line}");
    }
}

fn oom_score_adj(t: &Trial) {
    t.sh_with("cat /proc/self/oom_score_adj", |c| c["process"]["oomScoreAdj"] = json!(321))
        .ok()
        .prints("321");
    // Not the kernel's first value, which a runtime could have written.
    std::fs::write("/proc/self/oom_score_adj", "77").expect("raise our own");
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").expect("own value");
    let out = t.sh("cat /proc/self/oom_score_adj").ok();
    assert_eq!(out.trimmed(), own.trim(), "unset means the caller's");
}

/// The masks, in the order of `/proc/self/status`.
fn sets(t: &Trial, edit: impl FnOnce(&mut Value)) -> [u64; 5] {
    let out = t.sh_with("cat /proc/self/status", edit).ok().out;
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|name| mask(&out, name))
}

const KILL: u64 = 1 << 5;
const BIND: u64 = 1 << 10;
const CHOWN: u64 = 1;

fn five_capability_sets(t: &Trial) {
    let got = sets(t, |c| {
        c["process"]["capabilities"] = json!({
            "bounding": ["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_CHOWN"],
            "permitted": ["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_CHOWN"],
            "effective": ["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_CHOWN"],
            "inheritable": ["CAP_KILL"],
        });
    });
    let all = KILL | BIND | CHOWN;
    assert_eq!(got, [KILL, all, all, all, 0]);
    let got = sets(t, |c| {
        caps(c, &["CAP_KILL"]);
        c["process"]["capabilities"]["bounding"] = json!(["CAP_KILL"]);
    });
    assert_eq!(got, [0, KILL, KILL, KILL, 0], "inheritable and ambient empty unless asked");
}

fn capabilities_of_an_ordinary_uid(t: &Trial) {
    let user = json!({"uid": 1000, "gid": 1000});
    let got = sets(t, |c| {
        caps(c, &["CAP_KILL", "CAP_CHOWN"]);
        c["process"]["user"] = user.clone();
    });
    // execve without ambient capabilities leaves an ordinary user none.
    assert_eq!(got, [0, 0, 0, KILL | CHOWN, 0]);
}

fn ambient(t: &Trial) {
    let got = sets(t, |c| {
        let list = json!(["CAP_KILL"]);
        c["process"]["capabilities"] = json!({
            "bounding": list, "permitted": list, "effective": list, "inheritable": list, "ambient": list,
        });
        c["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    });
    assert_eq!(got, [KILL, KILL, KILL, KILL, KILL]);
}

fn no_capabilities(t: &Trial) {
    let got = sets(t, |c| c["process"]["capabilities"] = json!({}));
    assert_eq!(got, [0; 5]);
    // Nobody has what config.json does not name.
    let got = sets(t, |c| {
        c["process"].as_object_mut().expect("process").remove("capabilities");
    });
    assert_eq!(got, [0; 5], "without the field");
}

fn unknown_capability_warns(t: &Trial) {
    let show = "cat /proc/self/status";
    let out = t.sh_with(show, |c| caps(c, &["CAP_KILL", "CAP_NOT_INVENTED"])).ok();
    assert_eq!(mask(&out.out, "CapEff"), KILL);
    out.says("CAP_NOT_INVENTED");
}

fn no_new_privileges(t: &Trial) {
    for value in [true, false] {
        let out = t.sh_with("grep NoNewPrivs /proc/self/status", |c| {
            c["process"]["noNewPrivileges"] = json!(value);
        });
        out.ok().prints(&format!("NoNewPrivs:\t{}", u8::from(value)));
    }
}

fn cwd(t: &Trial) {
    t.sh_with("pwd", |c| c["process"]["cwd"] = json!("/home/app")).ok().prints("/home/app");
    t.sh_with("pwd", |c| c["process"]["cwd"] = json!("/")).ok().prints("/");
}

/// A directory that only the target user may enter, on a file system where
/// root's override is not to be had in time: entered before or after the uid changes.
fn cwd_of_another_user(t: &Trial) {
    let bundle = t.bundle(|c| {
        sh(c, "pwd");
        c["process"]["cwd"] = json!("/home/app");
        c["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        c["process"]["capabilities"] = json!({});
    });
    use std::os::unix::fs::PermissionsExt;
    let home = bundle.rootfs().join("home/app");
    std::fs::set_permissions(home, std::fs::Permissions::from_mode(0o700)).expect("chmod");
    t.run(&bundle).ok().prints("/home/app");
}

/// runc and crun make a missing working directory.
fn cwd_is_made(t: &Trial) {
    t.sh_with("pwd", |c| c["process"]["cwd"] = json!("/new/place")).ok().prints("/new/place");
}

fn home(t: &Trial) {
    let home = |user: Value, env: Value| {
        t.sh_with("echo $HOME", |c| {
            c["process"]["user"] = user;
            c["process"]["env"] = env;
        })
        .ok()
    };
    let path = json!(["PATH=/bin"]);
    home(json!({"uid": 0, "gid": 0}), path.clone()).prints("/root");
    home(json!({"uid": 1000, "gid": 1000}), path.clone()).prints("/home/app");
    home(json!({"uid": 4242, "gid": 0}), path).prints("/");
    home(json!({"uid": 1000, "gid": 1000}), json!(["PATH=/bin", "HOME=/x"])).prints("/x");
    if t.is_richrun() {
        home(json!({"uid": 1000, "gid": 1000}), json!(["PATH=/bin", "HOME="])).prints("/home/app");
    }
}

fn environment(t: &Trial) {
    let out = t.sh_with("env | grep -v -E '^(_|PWD|SHLVL|HOME|OLDPWD)=' | sort", |c| {
        c["process"]["env"] = json!(["PATH=/bin", "A=1", "B=two words", "A=3", "C="]);
    });
    out.ok().prints("A=3\nB=two words\nC=\nPATH=/bin");
}

fn environment_odd(t: &Trial) {
    let out = t.sh_with("echo \"[$A]\"; env | grep -c '^B='", |c| {
        c["process"]["env"] = json!(["PATH=/bin", "A=x=y=\nz", "B=ä"]);
    });
    out.ok().prints("[x=y=\nz]\n1");
    // Nothing of the caller's own environment.
    let bundle = t.bundle(|c| sh(c, "echo ${SECRET:-none}${rich_mode:-none}"));
    t.run_cmd(&bundle, &[]).env("SECRET", "seen").ok().prints("nonenone");
}

fn path_search(t: &Trial) {
    let bundle = t.bundle(|c| {
        args(c, &["tool", "x"]);
        c["process"]["env"] = json!(["PATH=/none:/opt/first:/opt/second"]);
    });
    bundle.script("opt/first/tool", "#!/bin/sh\necho first $1\n");
    bundle.script("opt/second/tool", "#!/bin/sh\necho second\n");
    t.run(&bundle).ok().prints("first x");
    // A directory or a plain file of that name is passed over.
    std::fs::remove_file(bundle.rootfs().join("opt/first/tool")).expect("remove");
    std::fs::create_dir(bundle.rootfs().join("opt/first/tool")).expect("mkdir");
    t.run(&bundle).ok().prints("second");
    // A relative path is relative to the working directory.
    bundle.edit(|c| {
        args(c, &["./tool"]);
        c["process"]["cwd"] = json!("/opt/second");
    });
    t.run(&bundle).ok().prints("second");
}

fn argv_exact(t: &Trial) {
    let odd = ["a b", "", "$HOME", "*", "-x", "--", "ä\u{1f600}", "q\"'\\", "new\nline"];
    let bundle = t.bundle(|c| {
        let mut words = vec!["sh", "-c", "for a; do printf '<%s>' \"$a\"; done", "sh"];
        words.extend(odd);
        args(c, &words);
    });
    let wanted: String = odd.iter().map(|word| format!("<{word}>")).collect();
    t.run(&bundle).ok().prints(&wanted);
}

fn script_without_shebang_fails(t: &Trial) {
    let bundle = t.bundle(|c| args(c, &["/tool"]));
    bundle.script("tool", "echo hi\n");
    let out = t.run(&bundle).fails();
    assert!(out.err.to_lowercase().contains("exec format error"), "{}", out.err);
}

fn personality(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Crun], "1.1 has no personality");
    t.sh_with("uname -m", |c| c["linux"]["personality"] = json!({"domain": "LINUX32"}))
        .ok()
        .prints("i686");
    t.sh_with("uname -m", |c| c["linux"]["personality"] = json!({"domain": "LINUX"}))
        .ok()
        .prints("x86_64");
}

fn scheduler(t: &Trial) {
    t.only(&[Kind::Richrun], "no scheduler field in these versions");
    let out = t.sh_with("cut -d' ' -f19,41 /proc/self/stat", |c| {
        c["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 7});
    });
    out.ok().prints("7 3");
    // What is not said is 0, whatever the caller has.
    let bundle = t.bundle(|c| {
        sh(c, "cut -d' ' -f19,40,41 /proc/self/stat");
        c["process"]["scheduler"] = json!({"policy": "SCHED_BATCH"});
    });
    let (runtime, root) = (t.runtime_path(), t.root());
    let words = [runtime.as_os_str(), "--root".as_ref(), root.as_os_str(), "run".as_ref()];
    let words: Vec<&str> = words.iter().map(|word| word.to_str().expect("utf-8")).collect();
    let niced = t.cmd("nice", &["-n", "5"]).args(&words);
    niced.args(&["-b", bundle.path(), &bundle.id]).ok().prints("0 0 3");
}

/// The first process itself: one with a deadline may not fork (sched(7)).
fn scheduler_with_a_deadline(t: &Trial) {
    t.only(&[Kind::Richrun], "no scheduler field in these versions");
    let with = |scheduler: Value, words: &[&str]| {
        t.bundle(|c| {
            args(c, words);
            c["process"]["scheduler"] = scheduler;
        })
    };
    let asked = json!({
        "policy": "SCHED_DEADLINE", "runtime": 10_000_000, "deadline": 30_000_000, "period": 100_000_000,
    });
    let own = ["cut", "-d ", "-f41", "/proc/self/stat"];
    let out = t.run(&with(asked.clone(), &own));
    if out.err.contains("device or resource busy") || out.err.contains("invalid argument") {
        t.skip("this kernel admits no deadline here");
    }
    out.ok().prints("6");
    // What it was given is what was asked for, where the kernel shows it.
    let shown = t.run(&with(asked.clone(), &["cat", "/proc/self/sched"]));
    if shown.out.contains("dl.runtime") {
        let has = |name: &str, value: &str| {
            let line = shown.out.lines().find(|line| line.starts_with(name));
            line.is_some_and(|line| line.ends_with(value))
        };
        assert!(has("policy", " 6"), "{}", shown.out);
    }
    let mut forks = asked.clone();
    forks["flags"] = json!(["SCHED_FLAG_RESET_ON_FORK"]);
    t.run(&with(forks, &["sh", "-c", "cut -d' ' -f41 /proc/self/stat; true"])).ok().prints("0");
    // More run time than there is until the deadline, and a deadline that another policy has not.
    let mut wrong = asked.clone();
    wrong["runtime"] = json!(40_000_000);
    t.run(&with(wrong, &["true"])).exits(1).says("process.scheduler: sched_setattr");
    let mut wrong = asked;
    wrong["policy"] = json!("SCHED_OTHER");
    t.run(&with(wrong, &["true"])).exits(1).says("only for SCHED_DEADLINE");
}

fn io_priority(t: &Trial) {
    t.only(&[Kind::Richrun], "no ioPriority field in these versions");
    let bundle = t.bundle(|c| {
        args(c, &["/probe", "ioprio"]);
        c["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 6});
    });
    t.run(&bundle.with_probe()).ok().prints("2 6");
}

/// The signals blocked and ignored are the caller's, as if started without a
/// container. (32 and above belong to the C library of whoever started us.)
fn signal_state_is_clean(t: &Trial) {
    let words = ["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"];
    let low = |text: &str| [mask(text, "SigBlk"), mask(text, "SigIgn")].map(|m| m & 0x7fff_ffff);
    let bare = t.cmd("/bin/busybox", &words).ok();
    let bundle = t.bundle(|c| args(c, &words));
    // Whatever the caller has: under nohup he ignores a signal.
    let clean = if t.is_richrun() { [0, 0] } else { low(&bare.out) };
    assert_eq!(low(&t.run(&bundle).ok().out), clean);
}

fn session_and_pid(t: &Trial) {
    let out = t.sh("echo $$; cut -d' ' -f5,6 /proc/1/stat").ok();
    out.prints("1\n1 1");
}

fn large_environment(t: &Trial) {
    let out = t.sh_with("env | wc -l; echo ${#V999}", |c| {
        let mut list = vec![json!("PATH=/bin")];
        list.extend((0..1000).map(|n| json!(format!("V{n}={}", "x".repeat(500)))));
        c["process"]["env"] = json!(list);
    });
    let out = out.ok();
    let mut lines = out.out.lines();
    assert!(lines.next().and_then(|n| n.trim().parse::<u32>().ok()).is_some_and(|n| n > 1000));
    assert_eq!(lines.next(), Some("500"));
}

/// Whose fields are 0 where they are missing, is 0 where it is missing.
fn no_user(t: &Trial) {
    for user in [json!({}), json!(null)] {
        t.sh_with("id -u; id -g", |c| c["process"]["user"] = user.clone()).ok().prints("0\n0");
    }
    let gone = |c: &mut Value| drop(c["process"].as_object_mut().map(|p| p.remove("user")));
    t.sh_with("id -u; id -g", gone).ok().prints("0\n0");
    if t.kind() != Kind::Crun {
        let named = |c: &mut Value| c["process"]["user"] = json!("root");
        t.sh_with("id -u; id -g", named).fails().says("user");
    }
}

/// podman's `--group-add keep-groups`; an image can write the annotation as well.
fn groups_are_kept(t: &Trial) {
    t.only(&[Kind::Richrun], "crun takes it from everybody, runc from nobody");
    let bundle = t.bundle(|c| {
        sh(c, "grep Groups: /proc/self/status; sleep 1000");
        c["process"]["user"] = json!({"uid": 0, "gid": 0, "additionalGids": [9]});
        c["annotations"] = json!({"run.oci.keep_original_groups": "1"});
    });
    let settings = t.dir.join("settings.toml");
    let (runtime, root) = (t.runtime_path().display().to_string(), t.root().display().to_string());
    let script = format!(
        "set -e
         run() {{ setpriv --groups 5,7 {runtime} --root {root} \"$@\"; }}
         run run -d -b {bundle} {name}
         run exec {name} grep Groups: /proc/self/status
         run delete -f {name}",
        bundle = bundle.path(),
        name = t.name("groups"),
    );
    let with = |allowed: &str| {
        std::fs::write(&settings, format!("[annotations]\nallow = [{allowed}]\n")).expect("write");
        let path = settings.to_str().expect("a path");
        t.cmd("sh", &["-c", &script]).env("RICHRUN_CONFIG", path).run()
    };
    let out = with("").exits(0).says("keep_original_groups: ignored: annotations.allow");
    assert!(!out.out.contains('5') && out.out.contains('9'), "{}", out.out);
    let out = with("\"run.oci.keep_original_groups\"").exits(0);
    let out = out.says("additionalGids is passed over");
    let lines: Vec<&str> = out.out.lines().map(str::trim_end).collect();
    assert!(lines.contains(&"Groups:\t5 7"), "{lines:?}");
    assert!(!out.out.contains('9'), "{lines:?}");
    with("\"run.oci.keep_original_group\"").exits(1).says("did you mean");
}
