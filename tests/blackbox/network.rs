//! Network devices of the host that become the container's.
//!
//! The host is a network namespace of the trial's own: its script makes veth pairs there and
//! runs the runtime in it.

use richrun_tests::bundle::{Bundle, sh, user_namespace, without_namespace};
use richrun_tests::suite::ROOT;
use richrun_tests::{Kind, Output, Suite, Trial};
use serde_json::json;

pub fn register(suite: &mut Suite) {
    suite
        .on(ROOT, "a_device_moves_with_all_that_it_has", a_device_moves_with_all_that_it_has)
        .on(ROOT, "into_a_user_namespace", into_a_user_namespace)
        .on(ROOT, "a_template_gets_a_number", a_template_gets_a_number)
        .on(ROOT, "a_taken_name_moves_nothing", a_taken_name_moves_nothing)
        .on(ROOT, "a_device_that_is_not_there_moves_nothing", not_there)
        .on(ROOT, "a_loopback_device_stays", a_loopback_device_stays)
        .on(ROOT, "two_names_of_one_device", two_names_of_one_device)
        .on(ROOT, "what_cannot_go_leaves_all_where_they_were", what_cannot_go)
        .on(ROOT, "the_runtime_stays_in_its_namespace", the_runtime_stays_in_its_namespace)
        .on(ROOT, "hooks_find_them_and_delete_leaves_them", hooks_find_them)
        .on(ROOT, "without_a_network_of_its_own", without_a_network_of_its_own);
}

/// runc has them from 1.4 on.
fn can(t: &Trial) {
    t.only(&[Kind::Richrun], "moves no network devices");
}

/// Two devices with everything that somebody can have set: a label, a peer's address, an
/// address that is valid on the link only, another MTU.
const DEVICES: &str = "
    ip link add d0 type veth peer name p0
    ip link add d1 type veth peer name p1
    ip link set d0 address 02:00:00:00:00:05 mtu 1400
    ip addr add 10.1.2.3/24 broadcast + dev d0 label d0:x
    ip addr add 10.9.9.1 peer 10.9.9.2 dev d0
    ip addr add 10.8.8.1/32 scope link dev d0
    ip addr add fd00::5/64 dev d0 nodad
    ip addr add 10.7.7.1/32 valid_lft 100 preferred_lft 100 dev d0
    ip link set d0 up
";

/// Runs `script` on such a host; `RUN` in it is the runtime with its root directory.
fn on_a_host(t: &Trial, script: &str) -> Output {
    let (runtime, root) = (t.runtime_path(), t.root());
    let run = format!("{} --root {}", runtime.display(), root.display());
    let script = format!("set -e\n{DEVICES}\n{}", script.replace("RUN", &run));
    t.cmd("unshare", &["-n", "sh", "-c", &script]).run()
}

fn with_devices(t: &Trial, devices: serde_json::Value) -> Bundle {
    t.bundle(|c| {
        sh(c, "sleep 1000");
        c["linux"]["netDevices"] = devices;
    })
}

fn a_device_moves_with_all_that_it_has(t: &Trial) {
    can(t);
    let bundle = with_devices(t, json!({"d0": {"name": "ctr0"}, "d1": {}}));
    let name = t.name("net");
    let out = on_a_host(
        t,
        &format!(
            "RUN run -d -b {bundle} {name}
             pid=$(RUN state {name} | jq .pid)
             nsenter -t $pid -n ip -o addr
             nsenter -t $pid -n ip -o link
             echo host; ip -o link
             RUN delete -f {name}",
            bundle = bundle.path(),
        ),
    );
    let out = out.exits(0);
    let (inside, host) = out.out.split_once("host\n").expect("both sides");
    for what in [
        "inet 10.1.2.3/24 brd 10.1.2.255 scope global ctr0:x",
        "inet 10.9.9.1 peer 10.9.9.2/32 scope global ctr0",
        "inet6 fd00::5/64 scope global",
        "mtu 1400",
        "link/ether 02:00:00:00:00:05",
        ",UP",
        ": d1@",
    ] {
        assert!(inside.contains(what), "{what}: {inside}");
    }
    // What is of the link alone, or expires, was the host's.
    assert!(!inside.contains("10.8.8.1") && !inside.contains("10.7.7.1"), "{inside}");
    assert!(!host.contains(": d0@") && !host.contains(": d1@"), "{host}");
}

fn into_a_user_namespace(t: &Trial) {
    can(t);
    let bundle = with_devices(t, json!({"d0": {}}));
    bundle.edit(user_namespace);
    let name = t.name("user");
    let script = format!(
        "RUN run -d -b {bundle} {name}
         RUN exec {name} cat /proc/net/dev
         RUN delete -f {name}",
        bundle = bundle.path(),
    );
    on_a_host(t, &script).exits(0).shows("d0:");
}

fn a_template_gets_a_number(t: &Trial) {
    can(t);
    let bundle = with_devices(t, json!({"d0": {"name": "e%d"}, "d1": {"name": "e%d"}}));
    let name = t.name("template");
    let script = format!(
        "RUN run -d -b {bundle} {name}
         nsenter -t $(RUN state {name} | jq .pid) -n ip -o addr
         RUN delete -f {name}",
        bundle = bundle.path(),
    );
    let out = on_a_host(t, &script).exits(0).shows("inet 10.1.2.3/24").shows(": e0 ");
    assert!(!out.out.contains(": d0"), "{}", out.out);
}

fn a_taken_name_moves_nothing(t: &Trial) {
    can(t);
    let bundle = with_devices(t, json!({"d0": {}, "d1": {"name": "lo"}}));
    let script = format!(
        "! RUN run -b {bundle} {name} || exit 7
         ip -o addr
         RUN list -q",
        bundle = bundle.path(),
        name = t.name("taken"),
    );
    let out = on_a_host(t, &script).exits(0);
    let out = out.says("move it (as lo): file exists");
    // Where it was, as it was; and nothing is left of the container.
    assert_eq!(out.out.matches("10.1.2.3/24").count(), 1, "{}", out.out);
    assert!(!out.out.contains("-taken"), "{}", out.out);
}

fn not_there(t: &Trial) {
    can(t);
    let bundle = with_devices(t, json!({"d0": {}, "nine": {}}));
    let script = format!(
        "! RUN create -b {bundle} {name} || exit 7
         ip -o addr show d0
         RUN list -q",
        bundle = bundle.path(),
        name = t.name("absent"),
    );
    let out = on_a_host(t, &script).exits(0).shows("inet 10.1.2.3/24");
    out.says("find it: no such device");
}

/// The kernel moves none; switched off it would be missed by all of the host.
fn a_loopback_device_stays(t: &Trial) {
    can(t);
    let bundle = with_devices(t, json!({"lo": {"name": "lo2"}}));
    let script = format!(
        "ip link set lo up
         ! RUN run -b {bundle} {name} || exit 7
         ip -o link show lo",
        bundle = bundle.path(),
        name = t.name("lo"),
    );
    on_a_host(t, &script).exits(0).shows("LOOPBACK,UP").says("a loopback device stays");
}

fn two_names_of_one_device(t: &Trial) {
    can(t);
    let bundle = with_devices(t, json!({"d0": {}, "other": {"name": "x"}}));
    let script = format!(
        "ip link property add dev d0 altname other || {{ echo no other names; exit 0; }}
         ! RUN run -b {bundle} {name} || exit 7
         ip -o addr show d0",
        bundle = bundle.path(),
        name = t.name("twice"),
    );
    let out = on_a_host(t, &script).exits(0);
    if out.out.contains("no other names") {
        t.skip("ip or the kernel knows no other names of a device");
    }
    out.shows("inet 10.1.2.3/24").says("another name");
}

/// A bridge never leaves its namespace; what was moved before it comes back as it was.
fn what_cannot_go(t: &Trial) {
    can(t);
    let bundle = with_devices(t, json!({"d0": {"name": "c0"}, "e": {"name": "c1"}}));
    let script = format!(
        "ip link add e type bridge || {{ echo no bridges; exit 0; }}
         ip addr add fd01::5/64 dev e nodad
         ip link set e up
         ! RUN run -b {bundle} {name} || exit 7
         ip -o addr; ip -o link",
        bundle = bundle.path(),
        name = t.name("bridge"),
    );
    let out = on_a_host(t, &script).exits(0);
    if out.out.contains("no bridges") {
        t.skip("the kernel has no bridges");
    }
    let out = out.says("linux.netDevices");
    for what in [
        "inet 10.1.2.3/24 brd 10.1.2.255 scope global d0:x",
        "inet 10.9.9.1 peer 10.9.9.2/32 scope global d0",
        "inet6 fd00::5/64 scope global",
        "inet6 fd01::5/64 scope global",
        "link/ether 02:00:00:00:00:05",
    ] {
        assert!(out.out.contains(what), "{what}: {}", out.out);
    }
    let up = |name: &str| {
        let line = |line: &&str| line.contains(name) && line.contains("mtu");
        out.out.lines().find(line).is_some_and(|line| line.contains("UP"))
    };
    assert!(up(": d0@") && up(": e:"), "{}", out.out);
}

/// A kernel that lets nobody enter a network namespace again: hooks run in the host's.
fn the_runtime_stays_in_its_namespace(t: &Trial) {
    can(t);
    let bundle = with_devices(t, json!({"d0": {}}));
    let seen = bundle.dir.join("seen");
    let hook = bundle.script("hook.sh", "#!/bin/sh\nreadlink /proc/self/ns/net >\"$1\"\n");
    bundle.edit(|c| {
        let args = json!(["hook.sh", seen.to_str().expect("utf-8")]);
        c["hooks"] = json!({"poststop": [{"path": hook, "args": args}]});
        sh(c, "true");
    });
    let script = format!(
        "readlink /proc/self/ns/net
         strace -qq -o /dev/null -e trace=setns -e inject=setns:error=ENOMEM:when=2+ \
             RUN run -b {bundle} {name} || true",
        bundle = bundle.path(),
        name = t.name("stays"),
    );
    if !std::path::Path::new("/usr/bin/strace").exists() {
        t.skip("strace is not installed");
    }
    let out = on_a_host(t, &script).exits(0);
    let seen = std::fs::read_to_string(seen).expect("where the hook was");
    assert_eq!(out.out.lines().next(), Some(seen.trim()), "{}", out.err);
}

/// The runtime's hooks see them inside already; what happens to them afterwards is the
/// kernel's and the container's business.
fn hooks_find_them(t: &Trial) {
    can(t);
    let bundle = with_devices(t, json!({"d0": {"name": "ctr0"}}));
    let hook = bundle
        .script("hook.sh", "#!/bin/sh\npid=$(jq .pid)\nnsenter -t $pid -n ip -o link >\"$1\"\n");
    let seen = bundle.dir.join("seen");
    bundle.edit(|c| {
        let args = json!(["hook.sh", seen.to_str().expect("utf-8")]);
        let env = json!(["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]);
        c["hooks"] = json!({"createRuntime": [{"path": hook, "args": args, "env": env}]});
        sh(c, "true");
    });
    let script =
        format!("RUN run -b {bundle} {name}", bundle = bundle.path(), name = t.name("hooks"));
    on_a_host(t, &script).exits(0);
    let seen = std::fs::read_to_string(seen).expect("what the hook saw");
    assert!(seen.contains(": ctr0@"), "{seen}");
}

fn without_a_network_of_its_own(t: &Trial) {
    can(t);
    let bundle = with_devices(t, json!({"d0": {}}));
    bundle.edit(|c| without_namespace(c, "network"));
    let script = format!(
        "! RUN run -b {bundle} {name} || exit 7
         ip -o addr show d0",
        bundle = bundle.path(),
        name = t.name("host"),
    );
    let out = on_a_host(t, &script).exits(0).shows("inet 10.1.2.3/24");
    out.says("linux.netDevices: devices cannot be moved: the container has no network namespace");
    // A path to the caller's own is none either.
    bundle.edit(|c| {
        let host = json!({"type": "network", "path": "/proc/self/ns/net"});
        richrun_tests::bundle::namespaces(c).push(host);
    });
    on_a_host(t, &script).exits(0).says("linux.netDevices: devices cannot be moved");
}
