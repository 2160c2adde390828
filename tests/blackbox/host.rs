//! What belongs to the whole container: sysctl, host name, annotations, root.

use richrun_tests::bundle::{sh, without_namespace};
use richrun_tests::suite::{BOTH, ONE};
use richrun_tests::{Kind, Suite, Trial};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite
        .on(BOTH, "hostname", hostname)
        .on(ONE, "domainname", domainname)
        .on(ONE, "hostname_without_uts", hostname_without_uts)
        .on(BOTH, "sysctl", sysctl)
        .on(ONE, "sysctl_slashes", sysctl_slashes)
        .on(ONE, "sysctl_of_the_host", sysctl_of_the_host)
        .on(ONE, "own_namespaces_by_path", own_namespaces_by_path)
        .on(ONE, "sysctl_unknown", sysctl_unknown)
        .on(ONE, "host_sysctls_unchanged", host_sysctls_unchanged)
        .on(ONE, "unknown_fields_ignored", unknown_fields_ignored)
        .on(ONE, "minimal_config", minimal_config)
        .on(ONE, "older_and_newer_versions", older_and_newer_versions)
        .on(ONE, "nothing_comes_from_glibc", nothing_comes_from_glibc)
        .on(ONE, "no_second_thread", no_second_thread)
        .on(ONE, "usual_functions_stand_together", usual_functions_stand_together);
}

fn hostname(t: &Trial) {
    t.sh_with("hostname", |c| c["hostname"] = json!("mars.example")).ok().prints("mars.example");
}

fn domainname(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Crun], "1.1 has no domainname");
    t.sh_with("cat /proc/sys/kernel/domainname", |c| c["domainname"] = json!("planets"))
        .ok()
        .prints("planets");
}

fn hostname_without_uts(t: &Trial) {
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("hostname");
    t.sh_with("true", |c| without_namespace(c, "uts")).fails().says("host");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").expect("hostname"), own);
}

fn sysctl(t: &Trial) {
    let out = t.sh_with("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced /proc/sys/fs/mqueue/msg_max", |c| {
        c["linux"]["sysctl"] = json!({
            "net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1", "fs.mqueue.msg_max": "11",
        });
    });
    if !t.is_root() && out.code != 0 {
        // The kernel lets only the owner of the first user namespace write some of these.
        out.says("sysctl").says("fs.mqueue");
        t.sh_with("cat /proc/sys/net/ipv4/ip_forward", |c| {
            c["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
        })
        .ok()
        .prints("1");
        return;
    }
    out.ok().prints("1\n1\n11");
}

fn sysctl_slashes(t: &Trial) {
    t.only(&[Kind::Richrun], "1.1 takes dots only");
    t.sh_with("cat /proc/sys/net/ipv4/ip_forward", |c| {
        c["linux"]["sysctl"] = json!({"net/ipv4/ip_forward": "1"});
    })
    .ok()
    .prints("1");
}

/// Only the sysctls of namespaces that the container owns.
fn sysctl_of_the_host(t: &Trial) {
    for (name, kind) in [
        ("net.ipv4.ip_forward", "network"),
        ("kernel.shm_rmid_forced", "ipc"),
        ("kernel.domainname", "uts"),
    ] {
        if kind == "uts" && t.kind() != Kind::Richrun {
            continue;
        }
        let out = t.sh_with("true", |c| {
            without_namespace(c, kind);
            if kind == "uts" {
                c.as_object_mut().expect("config").remove("hostname");
            }
            c["linux"]["sysctl"] = json!({name: "1"});
        });
        out.exits(1).says(name);
    }
    for name in [
        "vm.swappiness",
        "kernel.panic",
        "kernel.core_pattern",
        "fs.file-max",
        "../x",
        "kernel/../vm/swappiness",
    ] {
        let out = t.sh_with("true", |c| c["linux"]["sysctl"] = json!({name: "1"})).fails();
        if t.kind() != Kind::Crun {
            out.exits(1).says(if name.contains("..") { "sysctl" } else { name });
        }
    }
}

/// A path to a namespace that is the host's makes it no namespace of the container's.
fn own_namespaces_by_path(t: &Trial) {
    t.only(&[Kind::Richrun], "they compare the network namespace only");
    let pid = std::process::id();
    let bound = t.dir.join("run/ns");
    std::fs::write(&bound, "").expect("make a file");
    nix::mount::mount(
        Some("/proc/self/ns/ipc"),
        &bound,
        None::<&str>,
        nix::mount::MsFlags::MS_BIND,
        None::<&str>,
    )
    .expect("bind the namespace");
    t.accept_mounts();
    let bound = bound.to_str().expect("utf-8 path").to_owned();
    for (kind, path, sysctl) in [
        ("network", "/proc/self/ns/net".to_owned(), "net.ipv4.ip_forward"),
        ("network", format!("/proc/{pid}/ns/net"), "net.ipv4.ip_forward"),
        ("ipc", bound, "kernel.shm_rmid_forced"),
        ("ipc", "/proc/self/ns/ipc".to_owned(), "fs.mqueue.msg_max"),
        ("uts", "/proc/self/ns/uts".to_owned(), "kernel.domainname"),
    ] {
        let file = format!("/proc/sys/{}", sysctl.replace('.', "/"));
        let read = || std::fs::read_to_string(&file).expect("read the sysctl");
        let before = read();
        let joins = |c: &mut Value| {
            without_namespace(c, kind);
            richrun_tests::bundle::namespaces(c).push(json!({"type": kind, "path": path}));
            c.as_object_mut().expect("config").remove("hostname");
        };
        let out = t.sh_with("true", |c| {
            joins(c);
            c["linux"]["sysctl"] = json!({sysctl: "13"});
        });
        out.exits(1).says(sysctl).says("not allowed in the host's");
        assert_eq!(read(), before, "{kind} {path}");
        // Without such a wish it is what an unlisted namespace is.
        t.sh_with("true", joins).ok();
    }
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("hostname");
    for name in ["hostname", "domainname"] {
        let out = t.sh_with("true", |c| {
            without_namespace(c, "uts");
            let namespace = json!({"type": "uts", "path": "/proc/self/ns/uts"});
            richrun_tests::bundle::namespaces(c).push(namespace);
            c.as_object_mut().expect("config").remove("hostname");
            c[name] = json!("taken");
        });
        out.exits(1).says(&format!("unable to set {name} without a private UTS namespace"));
    }
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").expect("hostname"), own);
}

fn sysctl_unknown(t: &Trial) {
    let out = t.sh_with("true", |c| c["linux"]["sysctl"] = json!({"net.no.such": "1"})).fails();
    out.says("no");
}

fn host_sysctls_unchanged(t: &Trial) {
    let read = || std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").expect("read");
    let before = read();
    t.sh_with("true", |c| c["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"})).ok();
    assert_eq!(read(), before);
}

fn unknown_fields_ignored(t: &Trial) {
    let out = t.sh_with("echo fine", |c| {
        c["x-vendor"] = json!({"deep": [1, 2]});
        c["process"]["x-vendor"] = json!(true);
        c["linux"]["x-vendor"] = json!("text");
    });
    out.ok().prints("fine");
}

/// The least that the specification asks for.
fn minimal_config(t: &Trial) {
    let bundle = t.bundle(|c| {
        let id = c["linux"]["cgroupsPath"].clone();
        *c = json!({
            "ociVersion": "1.0.2",
            "root": {"path": "rootfs"},
            "process": {"cwd": "/", "args": ["/bin/sh", "-c", "echo least"], "user": {"uid": 0, "gid": 0}},
            "linux": {"namespaces": [{"type": "mount"}], "cgroupsPath": id},
        });
        if t.kind() == Kind::Runc {
            // Its own start needs /proc inside.
            c["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
        }
    });
    t.run(&bundle).ok().prints("least");
}

fn older_and_newer_versions(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, "echo fine"));
    let mut fine = vec!["1.0.0", "1.0.2", "1.0.2-dev"];
    if t.is_richrun() {
        fine.extend(["1.1.0", "1.2.1", "1.3.0", "1.9.0"]);
    }
    for version in fine {
        bundle.edit(|c| c["ociVersion"] = json!(version));
        t.run(&bundle).ok().prints("fine");
    }
    if t.kind() != Kind::Crun {
        for version in ["2.0.0", "0.9", "", "abc", "1"] {
            bundle.edit(|c| c["ociVersion"] = json!(version));
            let out = t.run(&bundle);
            if t.is_richrun() {
                out.exits(1).says("ociVersion");
            } else if ["2.0.0", ""].contains(&version) {
                drop(out);
            }
        }
    }
}

/// The program brings its own C library (runtime/src/sys/clib). What a newer std asks
/// for beyond it would come from glibc, without glibc's start: better to know.
fn nothing_comes_from_glibc(t: &Trial) {
    let text = linker_map(t);
    if !text.contains("sys::clib::") {
        t.skip("built without the feature own-clib");
    }
    if text.contains("/librichrun-") {
        t.skip("linked without LTO: with what nothing calls");
    }
    let from_glibc = |line: &&str| ["/libc.a(", "/libm"].iter().any(|name| line.contains(name));
    let members: Vec<&str> = text.lines().filter(from_glibc).collect();
    assert!(members.is_empty(), "{}", members.join("\n"));
}

/// One thread: its C library keeps one errno, and what runs after a clone is a copy of
/// one. Nothing of std's that makes a thread is in the program.
fn no_second_thread(t: &Trial) {
    let text = linker_map(t);
    let makers = ["pthread_create", "std::thread::Builder", "std::thread::spawn"];
    let of_one =
        |line: &&str| makers.iter().any(|name| line.contains(name)) && !line.contains("/libc.a(");
    let found: Vec<&str> = text.lines().filter(of_one).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// runtime/hot.ld names functions; one that no longer has its name, or is no longer
/// there, is simply elsewhere, and the start is slower without a word.
fn usual_functions_stand_together(t: &Trial) {
    let text = linker_map(t);
    let script = include_str!("../../runtime/hot.ld");
    let compiler = script.lines().find_map(|line| line.strip_prefix("/* Made with "));
    let compiler = compiler.and_then(|rest| rest.strip_suffix(". */")).expect("the compiler");
    if text.contains("/librichrun-") {
        t.skip("linked without LTO: the functions have other names");
    }
    let own = std::process::Command::new("rustc").arg("--version").output();
    if !own.is_ok_and(|own| String::from_utf8_lossy(&own.stdout).trim() == compiler) {
        t.skip("another compiler than runtime/hot.ld was made with: integration/bench/hot.sh");
    }
    let hot = text.lines().skip_while(|line| !line.ends_with(" .text.hot"));
    let hot = hot.take_while(|line| !line.ends_with(" .text"));
    let placed = hot.filter(|line| line.contains(":(.text")).count();
    if placed == 0 {
        t.skip("built without the feature hot-layout");
    }
    let listed = script.lines().filter(|line| line.contains("*(.text")).count();
    assert!(
        placed * 4 >= listed * 3,
        "of {listed} functions in runtime/hot.ld {placed} are in the program: integration/bench/hot.sh"
    );
}

/// What the linker wrote of the program under test.
fn linker_map(t: &Trial) -> String {
    t.only(&[Kind::Richrun], "a peer has its own build");
    if !cfg!(all(target_arch = "x86_64", target_env = "gnu")) {
        t.skip("the C library's own start is used on this architecture");
    }
    let program = t.runtime_path();
    let profile = program.parent().expect("a file has a directory");
    if !profile.ends_with("release") {
        t.skip("not a release built here: no map of the linker's beside the program");
    }
    let maps = std::fs::read_dir(profile.join("build")).expect("list the build directory");
    let maps = maps.filter_map(Result::ok).map(|entry| entry.path().join("out/richrun.map"));
    let newest = maps
        .filter_map(|map| Some((map.metadata().ok()?.modified().ok()?, map)))
        .max()
        .expect("the linker wrote a map")
        .1;
    let text = std::fs::read_to_string(&newest).expect("read the map");
    assert!(text.contains("crt1.o"), "{} is no map of the program", newest.display());
    text
}
