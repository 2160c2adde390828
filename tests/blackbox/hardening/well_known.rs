//! Every path that the runtime, or a container's first program, knows by its name, in an image that
//! makes something else of it: a link out of the root, a FIFO, a device, a file where a directory
//! should be, a mount, a file of 1 GB; and somebody who exchanges it for a link all the while.
//!
//! The paths are taken from the configuration, from `/dev` of a running container and from
//! [`FIXED`]; `hardening::trace::no_path_leads_out` fails when the runtime asks for one that is not among them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use richrun_tests::bundle::{bind, mounts, sh, user_namespace};
use richrun_tests::container::IDLE;
use richrun_tests::stage::SUB_FIRST;
use richrun_tests::suite::{ONE, ROOT};
use richrun_tests::terminal::FdSocket;
use richrun_tests::{Bundle, Kind, Output, Suite, Trial, sys};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::{Value, json};

use super::Canary;

/// Of all cases one in [`SOME`] is tried, and one round of commands while one in [`SOME`] of the
/// paths is exchanged; everything, and so many exchanges of each path, where this variable is set
/// (`make test-long`).
const EVERY_CASE: &str = "RICHRUN_EVERY_CASE";
const SOME: usize = 6;

pub fn register(suite: &mut Suite) {
    let (stride, rounds, seconds) = match std::env::var_os(EVERY_CASE) {
        Some(_) => (1, 10, 7200),
        None => (SOME, 1, 600),
    };
    suite
        .long(ROOT, "well_known_paths", seconds, move |t| well_known(t, stride, false))
        .long(ONE, "well_known_paths_in_a_user_namespace", seconds, move |t| {
            well_known(t, stride, true);
        })
        .long(ROOT, "well_known_paths_exchanged", seconds, move |t| {
            exchanged(t, stride, rounds, false);
        })
        .long(ONE, "well_known_paths_exchanged_in_a_user_namespace", seconds, move |t| {
            exchanged(t, stride, rounds, true);
        });
}

/// Known by the program, by no configuration.
const FIXED: &[&str] = &[
    "/proc",
    "/sys",
    "/dev",
    "/dev/console",
    "/dev/core",
    "/dev/fd",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/shm",
    "/dev/mqueue",
    "/dev/stdin",
    "/etc",
    "/etc/passwd",
    "/etc/group",
    "/etc/inittab",
    "/etc/profile.d",
    "/etc/profile.d/richrun.sh",
    "/etc/richrun",
    "/etc/richrun/services.d",
    "/etc/richrun/services.d/a.toml",
    "/run",
    "/sbin/init",
    "/tmp",
];

/// Named by [`config`], and by nothing in it that [`named`] reads.
const HOOK: &str = "/hooks/inside";
pub const SCRIPT: &str = "/scripts/init";
const DIRECTORY: &str = "/srv/here";

fn config(c: &mut Value, home: &Path) {
    sh(c, IDLE);
    c["root"]["readonly"] = json!(false);
    c["process"]["cwd"] = json!(DIRECTORY);
    c["hooks"]["startContainer"] = json!([{"path": HOOK}]);
    bind(c, home, "/data/volume", &["rbind"]);
    bind(c, Path::new("/etc/hostname"), "/etc/hosts", &["bind", "ro"]);
    mounts(c).push(json!({"destination": "/run", "type": "tmpfs", "source": "tmpfs",
        "options": ["nosuid", "tmpcopyup"]}));
    c["linux"]["maskedPaths"] = json!(["/proc/kcore", "/masked/directory"]);
    c["linux"]["readonlyPaths"] = json!(["/proc/sys", "/readonly"]);
}

/// The paths that a configuration names.
fn named(c: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mounts = c["mounts"].as_array().into_iter().flatten();
    let lists = ["maskedPaths", "readonlyPaths"].map(|list| c["linux"][list].as_array());
    let own = [&c["process"]["cwd"], &c["hooks"]["startContainer"][0]["path"]];
    let devices = c["linux"]["devices"].as_array().into_iter().flatten();
    mounts
        .map(|mount| &mount["destination"])
        .chain(lists.into_iter().flatten().flatten())
        .chain(devices.map(|device| &device["path"]))
        .chain(own)
        .filter_map(text)
        .collect()
}

/// All of them.
pub fn places(t: &Trial) -> Vec<String> {
    let bundle = t.bundle(|c| sh(c, "ls /dev"));
    let devices = t.run(&bundle).ok().out;
    let devices = devices.split_whitespace().map(|name| format!("/dev/{name}"));
    let home = t.dir.join("home");
    let bundle = t.bundle(|c| config(c, &home));
    let fixed = FIXED.iter().chain(&[HOOK, SCRIPT]).map(|path| (*path).to_owned());
    let all: BTreeSet<String> = fixed.chain(devices).chain(named(&bundle.config())).collect();
    assert!(all.len() > 40, "{all:?}");
    all.into_iter().collect()
}

/// What there is instead.
const KINDS: &[&str] = &[
    "link to a directory outside",
    "link to a file outside",
    "link by dots to a directory",
    "link by dots to a file",
    "link through a volume",
    "FIFO",
    "device",
    "directory",
    "file",
    "mount",
    "file of 1 GB",
    "socket",
];

/// Makes it.
fn make(kind: &str, place: &Path, canary: &Canary) {
    let link = |target: &str| symlink(target, place).expect("symlink");
    let node = |kind, device| {
        mknodat(CWD, place, kind, Mode::from_raw_mode(0o666), device).expect("mknod");
    };
    match kind {
        "link to a directory outside" => link(canary.path()),
        "link to a file outside" => link(&format!("{}/secret", canary.path())),
        "link by dots to a directory" => link("../../../../../../../../mnt/canary/deeper"),
        "link by dots to a file" => link("../../../../../../../../mnt/canary/secret"),
        "link through a volume" => link("/data/volume/out/secret"),
        "FIFO" => node(FileType::Fifo, 0),
        "device" => node(FileType::CharacterDevice, makedev(1, 5)),
        "socket" => node(FileType::Socket, 0),
        "directory" => fs::create_dir_all(place.join("some/thing")).expect("mkdir"),
        "file" => fs::write(place, "[a]\n").expect("write"),
        "mount" => {
            fs::create_dir_all(place).expect("mkdir");
            mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), None::<&str>)
                .expect("mount");
        }
        "file of 1 GB" => File::create(place).expect("create").set_len(1 << 30).expect("grow"),
        other => panic!("no kind {other}"),
    }
}

/// Takes away whatever is there.
fn take_away(place: &Path) {
    let _none = umount2(place, MntFlags::MNT_DETACH);
    let removed = match fs::symlink_metadata(place) {
        Ok(data) if data.is_dir() => fs::remove_dir_all(place),
        Ok(_) => fs::remove_file(place),
        Err(_) => return,
    };
    removed.unwrap_or_else(|error| panic!("{}: {error}", place.display()));
}

/// A bundle with all that is known by name.
pub fn bundle_with(t: &Trial, home: &Path, edit: &dyn Fn(&mut Value)) -> Bundle {
    let bundle = t.bundle(|c| {
        config(c, home);
        edit(c);
    });
    for script in [HOOK, SCRIPT] {
        bundle.script(script, "#!/bin/sh\n:\n");
    }
    for directory in ["etc/profile.d", "etc/richrun/services.d", "run", "masked/directory", "sbin"]
    {
        fs::create_dir_all(bundle.rootfs().join(directory)).expect("mkdir");
    }
    if bundle.config()["linux"]["uidMappings"].is_array() {
        give(&bundle.rootfs(), SUB_FIRST);
    }
    bundle
}

/// A bundle in which something may be made of `place`: no mount hides it.
fn bundle_for(t: &Trial, place: &str, user: bool, home: &Path) -> Bundle {
    bundle_with(t, home, &|c| {
        mounts(c).retain(|mount| {
            let covers = mount["destination"].as_str().expect("a destination");
            covers == place || !Path::new(place).starts_with(covers)
        });
        if user {
            user_namespace(c);
        }
    })
}

/// In a user namespace the root file system is its root's.
fn give(path: &Path, id: u32) {
    let _refused = lchown(path, Some(id), Some(id));
    if fs::symlink_metadata(path).is_ok_and(|data| data.is_dir()) {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            give(&entry.path(), id);
        }
    }
}

/// It ended well, or with one line that says why not.
#[track_caller]
fn well_or_told(what: &str, out: &Output) -> bool {
    let told = |line: &&str| !line.trim().is_empty() && !line.contains("level=warning");
    let lines: Vec<&str> = out.err.lines().filter(told).collect();
    assert!(!out.err.contains("panicked"), "{what}: {out:?}");
    assert!(out.code == 0 || lines.len() == 1, "{what}: {} lines: {out:?}", lines.len());
    assert!(out.code < 128 || out.code == 255, "{what}: {out:?}");
    out.code == 0
}

/// Create, start, exec and delete; then run with a terminal, and with an init before the payload.
fn all_commands(t: &Trial, bundle: &Bundle, what: &str, check: &dyn Fn(&str, &Output) -> bool) {
    let id = bundle.id.as_str();
    let call = |verb: &[&str]| {
        let out = t.rt(verb).timeout(90).run();
        check(&format!("{what}: {verb:?}"), &out)
    };
    let end = || {
        let out = t.rt(&["delete", "--force", id]).timeout(90).run();
        assert_eq!(out.code, 0, "{what}: {out:?}");
    };
    if call(&["create", "-b", bundle.path(), id]) && call(&["start", id]) {
        call(&["exec", id, "/bin/true"]);
    }
    end();
    let socket = t.dir.join("run/console");
    let console = FdSocket::new(&socket);
    bundle.edit(|c| c["process"]["terminal"] = json!(true));
    if call(&["run", "-d", "--console-socket", console.path(), "-b", bundle.path(), id]) {
        call(&["exec", "-d", "-t", "--console-socket", console.path(), id, "/bin/true"]);
    }
    bundle.edit(|c| c["process"]["terminal"] = json!(false));
    end();
    let _gone = fs::remove_file(&socket);
    let scripts = ["run", "-d", "--rich", "--initscript", SCRIPT, "-b", bundle.path(), id];
    call(&scripts);
    end();
    let init = ["create", "--rich", "--rich-mode", "sbin-init", "-b", bundle.path(), id];
    call(&init);
    end();
}

fn well_known(t: &Trial, stride: usize, user: bool) {
    t.only(&[Kind::Richrun], "other words, and other ways out");
    let canary = Canary::new(t);
    let home = volume(t, &canary);
    let all = places(t);
    for (number, place) in all.iter().enumerate() {
        let due = |kind: usize| (number + kind).is_multiple_of(stride);
        let bundle = bundle_for(t, place, user, &home);
        let there = bundle.rootfs().join(place.trim_start_matches('/'));
        let aside = bundle.dir.join("aside");
        fs::create_dir_all(there.parent().expect("a parent")).expect("mkdir");
        for (_, kind) in KINDS.iter().enumerate().filter(|(kind, _)| due(*kind)) {
            let kept = fs::rename(&there, &aside).is_ok();
            make(kind, &there, &canary);
            if user {
                give(&bundle.rootfs(), SUB_FIRST);
            }
            let what = format!("{place} is a {kind}");
            eprintln!("{what}");
            all_commands(t, &bundle, &what, &|what, out| well_or_told(what, out));
            canary.is_untouched(&what);
            take_away(&there);
            if kept {
                fs::rename(&aside, &there).expect("rename");
            }
        }
        t.finish();
    }
}

/// A volume with a link out of it.
pub fn volume(t: &Trial, canary: &Canary) -> PathBuf {
    let volume = t.dir.join("volume");
    fs::create_dir_all(&volume).expect("mkdir");
    symlink(canary.path(), volume.join("out")).expect("symlink");
    volume
}

/// Exchanges two names until it is told to stop.
struct Exchanger {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Exchanger {
    fn new(good: PathBuf, bad: PathBuf) -> Exchanger {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&count));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match sys::exchange(&good, &bad) {
                    Ok(()) => counted.fetch_add(1, Ordering::Relaxed),
                    // Something is mounted on it, in this mount namespace: not for long.
                    Err(error) if error.kind() == ErrorKind::ResourceBusy => 0,
                    Err(error) => panic!("exchange {}: {error}", good.display()),
                };
            }
        });
        Exchanger { stop, count, thread }
    }

    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the exchanger");
        self.count.load(Ordering::Relaxed)
    }
}

/// The least number of exchanges of each path, where every path is tried: how many there are in
/// one round depends on how busy the machine is.
const EXCHANGES: u64 = 10_000;

fn exchanged(t: &Trial, stride: usize, rounds: u32, user: bool) {
    let least = if stride == 1 { EXCHANGES } else { 1 };
    t.only(&[Kind::Richrun], "other words, and other ways out");
    let canary = Canary::new(t);
    let home = volume(t, &canary);
    for place in places(t).iter().step_by(stride) {
        let bundle = bundle_for(t, place, user, &home);
        let good = bundle.rootfs().join(place.trim_start_matches('/'));
        let parent = good.parent().expect("a parent").to_owned();
        fs::create_dir_all(&parent).expect("mkdir");
        let directory = match fs::symlink_metadata(&good) {
            Ok(data) => data.is_dir(),
            Err(_) => !place.starts_with("/dev/") && !place.contains('.') && place != "/etc/hosts",
        };
        match directory {
            true => fs::create_dir_all(&good).expect("mkdir"),
            false if good.exists() => {}
            false => fs::write(&good, "").expect("write"),
        }
        let bad = bundle.dir.join("rootfs/.exchanged");
        let target = if directory { "deeper" } else { "secret" };
        symlink(format!("../../../../../../mnt/canary/{target}"), &bad).expect("symlink");
        if user {
            give(&bundle.rootfs(), SUB_FIRST);
        }
        let what = format!("{place} is exchanged");
        eprintln!("{what}");
        let exchanger = Exchanger::new(good, bad);
        let mut round = 0;
        while round < rounds || exchanger.count.load(Ordering::Relaxed) < least {
            round += 1;
            // Whether it works, and how it fails, is chance; that it ends is not.
            all_commands(t, &bundle, &what, &|what, out| {
                assert!(!out.err.contains("panicked"), "{what}: {out:?}");
                out.code == 0
            });
            canary.is_untouched(&what);
        }
        exchanger.end();
        t.finish();
    }
}
