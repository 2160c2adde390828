//! The systemd cgroup manager on a systemd, which boots in a container and has the runtime in it.

use std::path::Path;

use richrun_tests::bundle::{STOCK, bind, caps, make_rootfs};
use richrun_tests::podman_caps::PODMAN_CAPS;
use richrun_tests::suite::V2;
use richrun_tests::{Suite, Trial};
use serde_json::{Value, json};

use crate::boot::{PATIENCE, boot, systemd};

/// What a runtime needs to work in a container.
const MORE_CAPS: [&str; 8] = [
    "CAP_SYS_ADMIN",
    "CAP_SYS_PTRACE",
    "CAP_NET_ADMIN",
    "CAP_MKNOD",
    "CAP_DAC_READ_SEARCH",
    "CAP_AUDIT_WRITE",
    "CAP_NET_RAW",
    "CAP_SYS_NICE",
];

pub fn register(suite: &mut Suite) {
    suite
        .on(V2, "real_life_in_a_scope", life_in_a_scope)
        .on(V2, "real_through_reload_and_reexec", through_reload_and_reexec)
        .on(V2, "real_managers_away", managers_away)
        .on(V2, "real_users_manager", users_manager);
}

/// What every script begins with: `idle NAME [EDIT]` starts a container whose configuration sed(1)
/// has changed.
const BEGIN: &str = r#"
set -eu
R=/rr/runtime
idle() {
    mkdir -p /tmp/b/$1
    sed "${2:-}" /box/config.json > /tmp/b/$1/config.json
    $R --systemd-cgroup run -d -b /tmp/b/$1 $1 </dev/null >/tmp/out 2>&1 || { cat /tmp/out; exit 9; }
}
show() { systemctl show -p "$2" --value "$1"; }
none() {
    units=$(systemctl list-units --all --no-legend 'richrun-*.scope' 'libpod-*.scope')
    [ -z "$units" ] || { echo "left: $units"; exit 8; }
}
"#;

/// Boots a systemd whose payload is this script, as root, with the runtime at /rr/runtime and a
/// bundle in /box, whose container idles.
fn inside(t: &Trial, script: &str) {
    let bundle = systemd(t, &format!("{BEGIN}{script}\necho all is well"));
    let place = t.dir.join("box");
    make_rootfs(&place.join("rootfs"));
    let mut idle: Value = serde_json::from_str(STOCK).expect("stock.json");
    idle["process"]["args"] = json!(["sleep", "1000"]);
    idle["root"]["path"] = json!("/box/rootfs");
    idle["linux"].as_object_mut().expect("linux").remove("resources");
    idle["process"]["capabilities"] = json!({});
    idle["linux"]["namespaces"].as_array_mut().expect("a list").push(json!({"type": "cgroup"}));
    std::fs::write(place.join("config.json"), idle.to_string()).expect("write config.json");
    let tools = t.dir.join("rr");
    std::fs::create_dir(&tools).expect("make a directory");
    std::fs::copy(&t.runtime.path, tools.join("runtime")).expect("copy the runtime");
    bundle.edit(|config| {
        let all: Vec<&str> = PODMAN_CAPS.iter().copied().chain(MORE_CAPS).collect();
        caps(config, &all);
        config["process"]["noNewPrivileges"] = json!(false);
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
        config["linux"]["resources"]["devices"] = json!([{"allow": true, "access": "rwm"}]);
        bind(config, &place, "/box", &["rbind"]);
        bind(config, &tools, "/rr", &["rbind", "ro"]);
        for mount in config["mounts"].as_array_mut().expect("mounts") {
            if mount["destination"] == "/sys" || mount["destination"] == "/sys/fs/cgroup" {
                mount["options"] = json!(["nosuid", "noexec", "nodev", "rw"]);
            }
        }
    });
    assert!(Path::new(bundle.path()).exists());
    boot(t, &bundle, &[]).timeout(PATIENCE).run().exits(0).shows("all is well");
}

fn life_in_a_scope(t: &Trial) {
    inside(
        t,
        r#"
idle a
[ "$(show richrun-a.scope ControlGroup)" = /system.slice/richrun-a.scope ]
[ "$(show richrun-a.scope Delegate)" = yes ]
[ "$(show richrun-a.scope DevicePolicy)" = strict ]
pid=$(sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' <<X
$($R state a)
X
)
grep -q '^0::/system.slice/richrun-a.scope$' /proc/$pid/cgroup
[ "$(cat /sys/fs/cgroup/system.slice/richrun-a.scope/cgroup.procs)" = $pid ]
$R exec a true
# Somebody else's unit is left alone.
if $R --root /tmp/other --systemd-cgroup run -b /tmp/b/a a >/tmp/out 2>&1; then exit 7; fi
grep -q 'systemd cgroup manager: start richrun-a.scope' /tmp/out
[ "$(show richrun-a.scope ActiveState)" = active ]
$R delete -f a
none
# The name can be used at once.
for round in 1 2 3; do idle a; $R delete -f a; done
none
# Nested, root and default slices.
idle n 's/"linux": *{/&"cgroupsPath":"a-b.slice:libpod:n",/'
[ "$(show libpod-n.scope ControlGroup)" = /a.slice/a-b.slice/libpod-n.scope ]
idle r 's/"linux": *{/&"cgroupsPath":"-.slice:libpod:r",/'
[ "$(show libpod-r.scope ControlGroup)" = /libpod-r.scope ]
$R delete -f n
$R delete -f r
none
# Limits as systemd has them; hugetlb, of which it does not know, by the file.
idle l 's/"linux": *{/&"resources":{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]},/'
[ "$(cat /sys/fs/cgroup/system.slice/richrun-l.scope/hugetlb.2MB.max)" = 4194304 ]
$R delete -f l
none
"#,
    );
}

/// In other runtimes device rules are lost then.
fn through_reload_and_reexec(t: &Trial) {
    inside(
        t,
        r#"
node='"devices":[{"path":"/dev/fuse","type":"c","major":10,"minor":229,"fileMode":438}]'
rule='"resources":{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"}]}'
idle no "s|\"linux\": *{|&$node,|"
idle yes "s|\"linux\": *{|&$node,$rule,|"
holds() {
    $R exec yes sh -c 'exec 3<>/dev/fuse' || { echo "denied after $1"; exit 6; }
    if $R exec no sh -c 'exec 3<>/dev/fuse' 2>/dev/null; then echo "allowed after $1"; exit 6; fi
    for one in yes no; do $R exec $one sh -c 'echo x >/dev/null && head -c 1 /dev/zero >/dev/null'; done
}
holds start
systemctl daemon-reload
holds reload
systemctl daemon-reexec
holds reexec
systemctl daemon-reload
holds 'another reload'
[ "$(show richrun-yes.scope ActiveState)" = active ]
$R delete -f yes
$R delete -f no
none
"#,
    );
}

/// systemd executes itself anew, the bus is ended.
fn managers_away(t: &Trial) {
    inside(
        t,
        r#"
sed 's/"1000"/"0"/' /box/config.json > /tmp/config.json
mkdir -p /tmp/b/s
cp /tmp/config.json /tmp/b/s/config.json
( for round in 1 2 3; do systemctl daemon-reexec; sleep 0.2; systemctl daemon-reload; sleep 0.1; done ) &
for round in 1 2 3 4 5 6 7 8 9 10 11 12; do
    $R --systemd-cgroup run -b /tmp/b/s s$round </dev/null
done
wait
none
systemctl stop dbus.socket dbus.service 2>/dev/null || true
$R --systemd-cgroup run -b /tmp/b/s without </dev/null
none
"#,
    );
}

/// A user whose session is not below his manager's group: the kernel does not let him put a process there.
fn users_manager(t: &Trial) {
    inside(
        t,
        r#"
echo 'u:x:2000:2000::/tmp:/bin/sh' >> /etc/passwd
echo 'u:x:2000:' >> /etc/group
mkdir -p /etc/systemd/system/user@.service.d
printf '[Service]\nPAMName=\nEnvironment=XDG_RUNTIME_DIR=/run/user/%%i\n' > /etc/systemd/system/user@.service.d/x.conf
systemctl daemon-reload
systemctl start user@2000.service
as() { setpriv --reuid 2000 --regid 2000 --clear-groups env XDG_RUNTIME_DIR=/run/user/2000 "$@"; }
mkdir -p /tmp/u
chmod 755 /box /tmp/u
$R spec --rootless -b /tmp/u --no-terminal -- sleep 1000
sed -i 's/"hostID": *0/"hostID": 2000/; s|"path": *"rootfs"|"path": "/box/rootfs"|' /tmp/u/config.json
as $R --systemd-cgroup run -d -b /tmp/u z </dev/null >/tmp/out 2>&1 || { cat /tmp/out; exit 9; }
pid=$(as $R state z | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p')
place=/user.slice/user-2000.slice/user@2000.service/user.slice/richrun-z.scope
grep -q "^0::$place\$" /proc/$pid/cgroup
as $R exec z cat /proc/self/cgroup | grep -q '^0::/$'
as $R exec -d z sleep 500
[ "$(wc -l < /sys/fs/cgroup$place/cgroup.procs)" = 2 ]
as $R delete -f z
[ ! -e /sys/fs/cgroup$place ]
[ -z "$(as systemctl --user list-units --all --no-legend 'richrun*')" ]
"#,
    );
}
