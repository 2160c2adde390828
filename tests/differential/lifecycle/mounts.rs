//! The file systems and devices that a container sees.

use richrun_tests::Kind::{Crun, Richrun, Runc};
use richrun_tests::bundle::{mounts, without_mount};
use richrun_tests::suite::{BOTH, ONE, USER, V1, V2};
use serde_json::{Value, json};

use super::{ROW, Row, prints as instead, refuses};

/// Every mount: where, how, whether it is a peer or slave, of what type, and with
/// which options of the file system where the configuration has them (not the
/// kernel's own, nor the ids that a user namespace adds).
const TABLE: &str = r#"awk '{
    i = 7; shared = ""
    while ($i != "-") { shared = shared " " substr($i, 1, index($i, ":") - 1); i++ }
    data = ""
    if ($(i + 1) == "tmpfs") { data = $(i + 3); gsub(/,?inode64|,[ug]id=[0-9]+/, "", data) }
    if ($(i + 1) == "devtmpfs" || $5 ~ "^/dev/(null|zero|full|tty|u?random)$") print $5, "bound"
    else print $5, $6 shared, $(i + 1), data
}' /proc/self/mountinfo | sort"#;

const NO_MASKS: fn(&mut Value) = |c| c["linux"]["maskedPaths"] = json!([]);

pub const ROWS: &[Row] = &[
    Row {
        name: "mount_table",
        cases: V2,
        edit: NO_MASKS,
        script: TABLE,
        prints: "/ rw,relatime tmpfs rw,mode=755
            /dev rw,nosuid tmpfs rw,size=65536k,mode=755
            /dev/mqueue rw,nosuid,nodev,noexec,relatime mqueue
            /dev/pts rw,nosuid,noexec,relatime devpts
            /dev/shm rw,nosuid,nodev,noexec,relatime tmpfs rw,size=65536k
            /proc rw,relatime proc
            /proc/bus ro,relatime proc
            /proc/fs ro,relatime proc
            /proc/irq ro,relatime proc
            /proc/sys ro,relatime proc
            /sys ro,nosuid,nodev,noexec,relatime sysfs
            /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime cgroup2",
        ..ROW
    },
    Row {
        name: "mount_table_v1",
        cases: V1,
        script:
            "awk '{ i = 7; while ($i != \"-\") i++; print $5, $6, $(i + 1) }' /proc/self/mountinfo |
            grep -E 'cgroup(/(cpu|devices|freezer|memory|pids|systemd))? ' | sort",
        prints: "/sys/fs/cgroup rw,nosuid,nodev,noexec,relatime tmpfs
            /sys/fs/cgroup/cpu ro,nosuid,nodev,noexec,relatime cgroup
            /sys/fs/cgroup/devices ro,nosuid,nodev,noexec,relatime cgroup
            /sys/fs/cgroup/freezer ro,nosuid,nodev,noexec,relatime cgroup
            /sys/fs/cgroup/memory ro,nosuid,nodev,noexec,relatime cgroup
            /sys/fs/cgroup/pids ro,nosuid,nodev,noexec,relatime cgroup
            /sys/fs/cgroup/systemd ro,nosuid,nodev,noexec,relatime cgroup",
        differs: &[instead(
            Richrun,
            "/sys/fs/cgroup ro,nosuid,nodev,noexec,relatime tmpfs
            /sys/fs/cgroup/cpu ro,nosuid,nodev,noexec,relatime cgroup
            /sys/fs/cgroup/devices ro,nosuid,nodev,noexec,relatime cgroup
            /sys/fs/cgroup/freezer ro,nosuid,nodev,noexec,relatime cgroup
            /sys/fs/cgroup/memory ro,nosuid,nodev,noexec,relatime cgroup
            /sys/fs/cgroup/pids ro,nosuid,nodev,noexec,relatime cgroup
            /sys/fs/cgroup/systemd ro,nosuid,nodev,noexec,relatime cgroup",
            "the mount says ro, and so the tmpfs is",
        )],
        ..ROW
    },
    Row {
        name: "mount_table_rootless",
        cases: USER,
        edit: NO_MASKS,
        script: TABLE,
        prints: "/ rw,relatime tmpfs rw,mode=755
            /dev rw,nosuid tmpfs rw,size=65536k,mode=755
            /dev/full bound
            /dev/mqueue rw,nosuid,nodev,noexec,relatime mqueue
            /dev/null bound
            /dev/pts rw,nosuid,noexec,relatime devpts
            /dev/random bound
            /dev/shm rw,nosuid,nodev,noexec,relatime tmpfs rw,size=65536k
            /dev/tty bound
            /dev/urandom bound
            /dev/zero bound
            /proc rw,relatime proc
            /proc/bus ro,relatime proc
            /proc/fs ro,relatime proc
            /proc/irq ro,relatime proc
            /proc/sys ro,relatime proc
            /sys ro,nosuid,nodev,noexec,relatime sysfs
            /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime cgroup2",
        ..ROW
    },
    Row {
        name: "devices",
        cases: BOTH,
        // crun links core also where the kernel has no /proc/kcore.
        script: "cd /dev; stat -c '%n %F %a %t:%T' $(ls | grep -v core) | sort
            for l in fd stdin stdout stderr ptmx; do readlink $l; done",
        prints: "fd symbolic link 777 0:0
            full character special file 666 1:7
            mqueue directory 1777 0:0
            null character special file 666 1:3
            ptmx symbolic link 777 0:0
            pts directory 755 0:0
            random character special file 666 1:8
            shm directory 1777 0:0
            stderr symbolic link 777 0:0
            stdin symbolic link 777 0:0
            stdout symbolic link 777 0:0
            tty character special file 666 5:0
            urandom character special file 666 1:9
            zero character special file 666 1:5
            /proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx",
        ..ROW
    },
    Row {
        name: "device_of_the_configuration",
        cases: ONE,
        edit: |c| {
            c["linux"]["devices"] = json!([
                {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 1, "gid": 2},
                {"path": "/dev/sub/pipe", "type": "p", "fileMode": 0o600},
                {"path": "/dev/blk", "type": "b", "major": 7, "minor": 99},
            ]);
        },
        script: "cd /dev; stat -c '%n %F %a %t:%T %u:%g' fuse sub/pipe blk",
        prints: "fuse character special file 640 a:e5 1:2
            sub/pipe fifo 600 0:0 0:0
            blk block special file 666 7:63 0:0",
        ..ROW
    },
    Row {
        name: "masked_paths",
        cases: BOTH,
        edit: |c| {
            c["linux"]["maskedPaths"] =
                json!(["/proc/keys", "/proc/bus", "/etc/passwd", "/home", "/none"])
        },
        script: "wc -c < /proc/keys; ls /proc/bus | wc -l; wc -c < /etc/passwd; ls /home | wc -l; echo > /home/x || echo no",
        prints: "0\n0\n0\n0\nno",
        ..ROW
    },
    Row {
        name: "readonly_paths",
        cases: BOTH,
        edit: |c| c["linux"]["readonlyPaths"] = json!(["/proc/sys", "/etc", "/etc/group", "/none"]),
        script: "echo x > /proc/sys/kernel/domainname || echo no; touch /etc/x || echo no; echo > /etc/group || echo no; touch /tmp/x && echo yes",
        prints: "no\nno\nno\nyes",
        ..ROW
    },
    Row {
        name: "readonly_root",
        cases: BOTH,
        edit: |c| c["root"]["readonly"] = json!(true),
        script: "touch /x || echo no; touch /dev/shm/x && echo yes; awk '$5 == \"/\" { print $6 }' /proc/self/mountinfo",
        prints: "no\nyes\nro,relatime",
        ..ROW
    },
    Row {
        name: "mount_options",
        cases: ONE,
        edit: |c| {
            for (n, options) in [
                vec!["ro", "nosuid", "nodev", "noexec"],
                vec!["noatime", "size=1m", "mode=1700", "uid=5", "gid=6"],
                vec!["strictatime", "nodiratime"],
                vec!["rw", "suid", "dev", "exec", "relatime"],
            ]
            .iter()
            .enumerate()
            {
                mounts(c).push(json!({"destination": format!("/m{n}"), "type": "tmpfs", "source": "tmpfs", "options": options}));
            }
        },
        script: r#"awk '$5 ~ "^/m" { gsub(/,?inode64/, ""); print $5, $6, $NF }' /proc/self/mountinfo; stat -c '%n %a %u:%g' /m1"#,
        prints: "/m0 ro,nosuid,nodev,noexec,relatime rw
            /m1 rw,noatime rw,size=1024k,mode=1700,uid=5,gid=6
            /m2 rw,nodiratime rw
            /m3 rw,relatime rw
            /m1 1700 5:6",
        ..ROW
    },
    Row {
        name: "mount_options_in_order",
        cases: ONE,
        edit: |c| {
            let options = ["sync", "dirsync", "ro", "rw"];
            mounts(c).push(json!({"destination": "/m", "type": "tmpfs", "source": "tmpfs", "options": options}));
        },
        script: r#"awk '$5 == "/m" { gsub(/,?inode64/, ""); print $6, $NF }' /proc/self/mountinfo"#,
        prints: "rw,relatime rw,sync,dirsync",
        differs: &[instead(Crun, "ro,relatime rw,sync,dirsync", "rw does not undo ro")],
        ..ROW
    },
    Row {
        name: "bind_mounts",
        cases: BOTH,
        edit: |c| {
            let list = [
                ("/usr", "/b0", vec!["bind", "ro"]),
                ("/usr", "/b1", vec!["rbind", "nosuid", "nodev", "noexec"]),
                ("/etc/os-release", "/deep/er/file", vec!["bind", "ro"]),
            ];
            for (source, destination, options) in list {
                mounts(c).push(json!({"destination": destination, "type": "none", "source": source, "options": options}));
            }
        },
        script: r#"awk '$5 ~ "^/(b0|b1|deep)$|file" { split($6, f, ","); ro = nosuid = nodev = noexec = 0
            for (i in f) { if (f[i] == "ro") ro = 1; if (f[i] == "nosuid") nosuid = 1; if (f[i] == "nodev") nodev = 1; if (f[i] == "noexec") noexec = 1 }
            print $5, ro, nosuid, nodev, noexec }' /proc/self/mountinfo; stat -c '%n %F %a' /deep /deep/er"#,
        prints: "/b0 1 0 0 0
            /b1 0 1 1 1
            /deep/er/file 1 0 0 0
            /deep directory 755
            /deep/er directory 755",
        ..ROW
    },
    Row {
        name: "destination_through_a_link",
        cases: ONE,
        edit: |c| {
            // /var/run is a directory, /bin/sh a link inside the root.
            mounts(c).push(
                json!({"destination": "/proc/../var/./run", "type": "tmpfs", "source": "tmpfs"}),
            );
        },
        script: "awk '$5 ~ \"run\" { print $5 }' /proc/self/mountinfo",
        prints: "/var/run",
        ..ROW
    },
    Row {
        name: "without_proc",
        cases: ONE,
        edit: |c| {
            for place in ["/proc", "/sys", "/sys/fs/cgroup"] {
                without_mount(c, place);
            }
            c["linux"]["maskedPaths"] = json!([]);
            c["linux"]["readonlyPaths"] = json!([]);
        },
        script: "ls /proc /sys; echo $?",
        prints: "/proc:\n\n/sys:\n0",
        differs: &[refuses(
            Runc,
            "/proc/self/fd",
            "runc before 1.2 closes descriptors through /proc",
        )],
        ..ROW
    },
];
