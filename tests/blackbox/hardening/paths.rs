//! What is written reaches the kernel's own files or nothing; nothing is made,
//! opened or changed by a path that can lead elsewhere.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use richrun_tests::bundle::{bind, caps, mounts, sh, user_namespace, without_mount};
use richrun_tests::suite::{BOTH, ONE};
use richrun_tests::{Bundle, Kind, Suite, Trial, sys};
use serde_json::{Value, json};

use super::Canary;

pub fn register(suite: &mut Suite) {
    suite
        .on(ONE, "labels_reach_the_kernel_only", labels_reach_the_kernel_only)
        .on(ONE, "labels_of_exec_reach_the_kernel_only", labels_of_exec_reach_the_kernel_only)
        .on(ONE, "sysctls_without_a_procfs", sysctls_without_a_procfs)
        .on(BOTH, "only_a_procfs_on_proc", only_a_procfs_on_proc)
        .on(ONE, "directories_are_made_inside", directories_are_made_inside)
        .on(ONE, "permissions_follow_no_link", permissions_follow_no_link)
        .on(BOTH, "the_environment_file_stays_in_the_root", the_environment_file_stays_in_the_root)
        .on(BOTH, "nothing_but_regular_files_is_opened", nothing_but_regular_files_is_opened)
        .on(ONE, "no_pivot_leaves_no_bare_proc", no_pivot_leaves_no_bare_proc)
        .on(ONE, "pid_1_waits_for_no_file", pid_1_waits_for_no_file)
        .on(ONE, "a_hook_hides_nobody", a_hook_hides_nobody);
}

/// PID 1 looks for who is left in a procfs, not in what an image has at `/proc`.
fn pid_1_waits_for_no_file(t: &Trial) {
    t.only(&[Kind::Richrun], "has no PID 1 of its own");
    let bundle = t.bundle(|c| {
        sh(c, "setsid sleep 1000 & trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done");
        without_mount(c, "/proc");
        c["linux"]["maskedPaths"] = json!([]);
        c["linux"]["readonlyPaths"] = json!([]);
    });
    let own = bundle.rootfs().join("proc/self");
    fs::create_dir_all(&own).expect("mkdir");
    mkfifo(&own.join("stat"), Mode::from_bits_truncate(0o666)).expect("mkfifo");
    let running = t.rt(&["run", "--rich", "-b", bundle.path(), &bundle.id]).timeout(60).spawn();
    running.wait_for("up");
    running.kill(libc::SIGTERM);
    running.wait().exits(7);
}

/// What a hook has started is found, whatever it mounts over its own files of procfs.
fn a_hook_hides_nobody(t: &Trial) {
    t.only(&[Kind::Richrun], "lets go of what a hook has left");
    let bundle = t.bundle(|c| {
        sh(c, ":");
        caps(c, &["CAP_SYS_ADMIN"]);
        c["hooks"]["startContainer"] = json!([{"path": "/hide", "timeout": 1}]);
    });
    let hook =
        "#!/bin/sh\nsetsid sleep 1000 &\nmount -t tmpfs none /proc/$PPID/task && exec sleep 1000\n";
    bundle.file("/hide", hook);
    let path = bundle.rootfs().join("hide");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
    let out = t.run(&bundle);
    assert!(out.err.contains("hook ran past"), "{out:?}");
    assert!(!out.err.contains("could not be killed"), "{out:?}");
}

/// What a directory that pretends to be a procfs leads to.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Trap {
    File,
    Fifo,
}

/// Makes an image's `/proc` lead each descriptor of the runtime's, and each label,
/// to `/caught`; returns that file.
fn lay_trap(bundle: &Bundle, trap: Trap) -> PathBuf {
    let (root, caught) = (bundle.rootfs(), bundle.rootfs().join("caught"));
    match trap {
        Trap::File => fs::write(&caught, "").expect("write"),
        Trap::Fifo => mkfifo(&caught, Mode::from_bits_truncate(0o666)).expect("mkfifo"),
    }
    for own in ["proc/self", "proc/thread-self", "proc/1"] {
        for directory in ["fd", "attr/apparmor"] {
            fs::create_dir_all(root.join(own).join(directory)).expect("mkdir");
        }
        for number in 0..40 {
            symlink("/caught", root.join(own).join(format!("fd/{number}"))).expect("symlink");
        }
        for file in ["attr/exec", "attr/apparmor/exec"] {
            symlink("/caught", root.join(own).join(file)).expect("symlink");
        }
    }
    caught
}

fn bare(config: &mut Value) {
    without_mount(config, "/proc");
    config["linux"]["maskedPaths"] = json!([]);
    config["linux"]["readonlyPaths"] = json!([]);
}

/// CVE-2019-16884, CVE-2025-52881: a label that lands in a file leaves its payload
/// unconfined. On a machine with such labels nobody knows these.
fn labels_reach_the_kernel_only(t: &Trial) {
    t.only(&[Kind::Richrun], "waits for a FIFO's reader");
    for trap in [Trap::File, Trap::Fifo] {
        for (field, label) in [("apparmorProfile", "no-such-profile"), ("selinuxLabel", "a:b:c")] {
            let bundle = t.bundle(|c| {
                sh(c, "echo RUNS");
                bare(c);
                c["process"][field] = json!(label);
            });
            let caught = lay_trap(&bundle, trap);
            let out = t.run_cmd(&bundle, &[]).timeout(30).run();
            assert!(!out.out.contains("RUNS") && out.code != 0, "{field} {trap:?}: {out:?}");
            if trap == Trap::File {
                assert_eq!(fs::read_to_string(&caught).expect("read"), "", "{field}");
            }
        }
    }
}

/// The same of a container that has mounted over its `/proc`.
fn labels_of_exec_reach_the_kernel_only(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "ignores a profile where AppArmor is off");
    for trap in ["", "rm /caught; mkfifo /caught; "] {
        let c = t.idle_with(|c| {
            caps(c, &["CAP_SYS_ADMIN"]);
            c["root"]["readonly"] = json!(false);
            c["linux"]["maskedPaths"] = json!([]);
            c["linux"]["readonlyPaths"] = json!([]);
        });
        let script = format!(
            "mount -t tmpfs x /proc; echo -n > /caught; {trap}for own in self thread-self 1; do \
             mkdir -p /proc/$own/attr/apparmor /proc/$own/fd; \
             for n in $(seq 0 40); do ln -s /caught /proc/$own/fd/$n; done; \
             for f in attr/exec attr/apparmor/exec; do ln -s /caught /proc/$own/$f; done; done"
        );
        c.exec(&script).ok();
        for option in [["--apparmor", "no-such-profile"], ["--process-label", "a:b:c"]] {
            let out = c.exec_cmd(&option, &["echo", "RUNS"]).timeout(30).run();
            assert!(!out.out.contains("RUNS") && out.code != 0, "{option:?}: {out:?}");
            if trap.is_empty() {
                let caught = fs::read_to_string(c.bundle.rootfs().join("caught")).expect("read");
                assert_eq!(caught, "", "{option:?}");
            }
        }
        c.remove();
    }
}

/// A sysctl is set though no procfs is mounted, and nowhere else.
fn sysctls_without_a_procfs(t: &Trial) {
    for trap in [Trap::File, Trap::Fifo] {
        let bundle = t.bundle(|c| {
            sh(c, "mount -t proc proc /mnt; cat /mnt/sys/net/ipv4/ip_forward");
            caps(c, &["CAP_SYS_ADMIN"]);
            bare(c);
            c["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
        });
        fs::create_dir_all(bundle.rootfs().join("mnt")).expect("mkdir");
        let caught = lay_trap(&bundle, trap);
        let out = t.run_cmd(&bundle, &[]).timeout(30).run();
        // runc 1.1 writes through what is at /proc, and says that it is not procfs.
        if out.code == 0 || t.is_richrun() {
            out.ok().prints("1");
        }
        if trap == Trap::File {
            assert_eq!(fs::read_to_string(&caught).expect("read"), "");
        }
    }
}

fn only_a_procfs_on_proc(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "mounts anything");
    let directory = t.dir.join("home/proc");
    fs::create_dir_all(directory.join("self")).expect("mkdir");
    let refused = |edit: &dyn Fn(&mut Value)| {
        let bundle = t.bundle(|c| {
            sh(c, "echo RUNS");
            bare(c);
            edit(c);
        });
        let out = t.run(&bundle).fails();
        // runc finds it out only where the path is written plainly.
        let told = out.err.contains("not of type proc") || !t.is_richrun();
        assert!(told && !out.out.contains("RUNS"), "{out:?}");
    };
    for options in [vec!["bind"], vec!["rbind", "ro"], vec!["rbind", "nosuid"]] {
        refused(&|c| bind(c, &directory, "/proc", &options));
        refused(&|c| bind(c, &directory, "/../proc/.", &options));
    }
    let tmpfs = json!({"destination": "/proc", "type": "tmpfs", "source": "tmpfs"});
    refused(&|c| mounts(c).push(tmpfs.clone()));
    // A procfs by another way.
    let bundle = t.bundle(|c| {
        sh(c, "test -e /proc/self/status && echo procfs");
        bare(c);
        bind(c, Path::new("/proc"), "/proc", &["rbind"]);
    });
    t.run(&bundle).ok().prints("procfs");
}

/// `process.cwd` is made where it is missing: never by way of a descriptor that the
/// runtime has at that moment (CVE-2024-21626).
fn directories_are_made_inside(t: &Trial) {
    let canary = Canary::new(t);
    for namespace in [false, true] {
        for number in 3..32 {
            let cwd = format!(
                "/proc/self/fd/{number}/../../../../../../../../../..{}/made",
                canary.path()
            );
            let bundle = t.bundle(|c| {
                sh(c, "pwd");
                c["root"]["readonly"] = json!(false);
                c["process"]["cwd"] = json!(cwd);
                if namespace {
                    user_namespace(c);
                }
            });
            // Whoever is root in there could write to it.
            fs::set_permissions(&canary.dir, fs::Permissions::from_mode(0o777)).expect("chmod");
            t.run(&bundle);
            fs::set_permissions(&canary.dir, fs::Permissions::from_mode(0o755)).expect("chmod");
            canary.is_untouched(&format!("{cwd}, user namespace: {namespace}"));
            fs::remove_dir_all(&bundle.dir).expect("remove the bundle");
        }
    }
    if t.kind() == Kind::Runc {
        return; // it makes nothing below a link
    }
    // A link of the image's is followed inside, and the rest made there.
    let bundle = t.bundle(|c| {
        sh(c, "pwd -P");
        c["root"]["readonly"] = json!(false);
        c["process"]["cwd"] = json!("/way/a/b");
    });
    symlink("../../../../../srv", bundle.rootfs().join("way")).expect("symlink");
    t.run(&bundle).ok().prints("/srv/a/b");
}

/// A node in a volume that another container exchanges for a link meanwhile.
fn permissions_follow_no_link(t: &Trial) {
    let canary = Canary::new(t);
    let secret = canary.dir.join("secret");
    let volume = t.dir.join("volume");
    fs::create_dir(&volume).expect("mkdir");
    let (node, link) = (volume.join("node"), volume.join("link"));
    let path = node.to_str().expect("utf-8 path");
    t.cmd("mknod", &["-m", "600", path, "c", "1", "3"]).ok();
    symlink(&secret, &link).expect("symlink");
    let bundle = t.bundle(|c| {
        sh(c, "true");
        bind(c, &volume, "/volume", &["bind", "rw"]);
        c["linux"]["devices"] = json!([{"path": "/volume/node", "type": "c", "major": 1,
            "minor": 3, "fileMode": 0o666, "uid": 7, "gid": 7}]);
    });
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let swapping = std::thread::spawn(move || {
        let mut count = 0u64;
        while !stopped.load(Ordering::Relaxed) {
            sys::exchange(&node, &link).expect("swap");
            count += 1;
        }
        count
    });
    let mut made = 0;
    for round in 0..150 {
        made += u32::from(t.run(&bundle).code == 0); // may fail: the name is a link just then
        t.rt(&["delete", "--force", &bundle.id]).ok();
        canary.is_untouched(&format!("round {round}"));
    }
    stop.store(true, Ordering::Relaxed);
    assert!(swapping.join().expect("the swapper") > 1000, "hardly swapped at all");
    assert!(made > 0, "the node was never the node");
    if !t.is_richrun() {
        return; // peers leave a node that is there as it is
    }
    // Left alone, it gets what was asked for.
    let left = [volume.join("node"), volume.join("link")];
    let node = left.iter().find(|path| !path.is_symlink()).expect("the node");
    bundle.edit(|c| {
        let name = Path::new("/volume").join(node.file_name().expect("a name"));
        c["linux"]["devices"][0]["path"] = json!(name);
        sh(c, &format!("stat -c '%a %u %g' {}", name.display()));
    });
    t.run(&bundle).ok().prints("666 7 7");
}

/// What lies behind a link in a volume, of the same file system or not, is not the root's.
fn the_environment_file_stays_in_the_root(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    let volume = t.dir.join("home/volume");
    fs::create_dir_all(volume.join("profile.d")).expect("mkdir");
    fs::set_permissions(volume.join("profile.d"), fs::Permissions::from_mode(0o777))
        .expect("chmod");
    for (target, mounted) in [
        (Some("/volume/profile.d"), "/volume"),
        (Some("/inner/profile.d"), "/volume"),
        (None, "/etc/profile.d"),
    ] {
        let bundle = t.bundle(|c| {
            sh(c, "true");
            c["root"]["readonly"] = json!(false);
            let source = if target.is_some() { volume.clone() } else { volume.join("profile.d") };
            bind(c, &source, mounted, &["bind", "rw"]);
        });
        let (place, inner) = (bundle.rootfs().join("etc/profile.d"), bundle.rootfs().join("inner"));
        fs::create_dir_all(inner.join("profile.d")).expect("mkdir");
        match target {
            Some(target) => symlink(target, &place).expect("symlink"),
            None => fs::create_dir(&place).expect("mkdir"),
        }
        if !t.is_root() {
            bundle.give_away();
        }
        t.run_cmd(&bundle, &["--rich"]).ok();
        for directory in [volume.join("profile.d"), inner.join("profile.d")] {
            let left = fs::read_dir(&directory).expect("list").count();
            assert_eq!(left, 0, "{target:?} {mounted}: {}", directory.display());
        }
    }
}

/// Somebody who waits for a FIFO's reader: whoever opens it lets it go on.
struct Bait {
    path: PathBuf,
    taken: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Bait {
    fn new(path: &Path) -> Bait {
        let _ = fs::remove_file(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
        mkfifo(path, Mode::from_bits_truncate(0o666)).expect("mkfifo");
        let taken = Arc::new(AtomicBool::new(false));
        let (number, told) = std::sync::mpsc::channel();
        let (flag, place) = (Arc::clone(&taken), path.to_owned());
        let thread = std::thread::spawn(move || {
            number.send(nix::unistd::gettid()).expect("tell");
            drop(fs::File::options().write(true).open(&place).expect("open"));
            flag.store(true, Ordering::SeqCst);
        });
        let stat = format!("/proc/self/task/{}/stat", told.recv().expect("its number"));
        richrun_tests::command::wait_until("the writer to wait", || {
            fs::read_to_string(&stat).is_ok_and(|text| text.contains(") S "))
        });
        Bait { path: path.to_owned(), taken, thread }
    }

    fn check_left(self, what: &str) {
        let taken = self.taken.load(Ordering::SeqCst);
        let mut open = fs::File::options();
        let open = open.read(true).custom_flags(libc::O_NONBLOCK).open(&self.path).expect("open");
        self.thread.join().expect("the writer"); // which this reader lets go
        drop(open);
        assert!(!taken, "{what}: {} was opened", self.path.display());
    }
}

/// The image's files that the runtime reads are looked at before they are opened: the
/// open of a device's node would run its driver, that of a FIFO is seen here.
fn nothing_but_regular_files_is_opened(t: &Trial) {
    t.only(&[Kind::Richrun], "opens the image's passwd and looks at it then");
    let places = [
        ("etc/passwd", &[][..]),
        ("etc/passwd", &["--rich"][..]),
        ("etc/group", &["--rich"][..]),
        ("etc/richrun/services.d/one.toml", &["--rich"][..]),
        ("etc/richrun/services.d/one.json", &[][..]),
        ("etc/inittab", &["--rich", "--rich-mode", "sbin-init"][..]),
        ("sbin/init", &["--rich", "--rich-mode", "sbin-init"][..]),
        ("srv/services", &["--rich"][..]),
    ];
    for (place, options) in places {
        let bundle = t.bundle(|c| {
            sh(c, "true");
            c["process"]["env"] = json!(["PATH=/bin"]);
            if place == "srv/services" {
                c["annotations"] = json!({"io.richrun.services": "/srv/services"});
            }
        });
        if place == "etc/inittab" {
            fs::create_dir(bundle.rootfs().join("sbin")).expect("make /sbin");
            symlink("../bin/busybox", bundle.rootfs().join("sbin/init")).expect("symlink");
        }
        if place == "etc/group" {
            bundle
                .file("/etc/richrun/services.d/a.toml", "[service.x]\ncommand = [\"/bin/true\"]\n");
        }
        let bait = Bait::new(&bundle.rootfs().join(place));
        if !t.is_root() {
            bundle.give_away();
        }
        t.run_cmd(&bundle, options).timeout(60).run();
        t.rt(&["delete", "--force", &bundle.id]).ok();
        bait.check_left(&options.join(" "));
    }
}

/// The kernel lets a process mount a procfs where it sees a whole one: the host's must not
/// stay below a root that was moved over it.
fn no_pivot_leaves_no_bare_proc(t: &Trial) {
    let bundle = t.bundle(|c| {
        sh(
            c,
            "unshare -mrpf sh -c 'mount -t proc none /proc && wc -c /proc/keys'; \
               mount -t sysfs none /sys && echo sysfs; true",
        );
        caps(c, &["CAP_SETFCAP"]);
        c["process"]["noNewPrivileges"] = json!(false);
        c["linux"]["maskedPaths"] = json!(["/proc/keys", "/sys/firmware"]);
    });
    symlink("busybox", bundle.rootfs().join("bin/unshare")).expect("symlink");
    let out = t.run_cmd(&bundle, &["--no-pivot"]).ok();
    assert_eq!(out.trimmed(), "", "{out:?}");
    assert!(out.err.contains("mount"), "{out:?}");
}
