//! Rich containers whose PID 1 is the image's own init. Here: systemd.

mod ends;
mod inittab;
mod interface;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use richrun_tests::bundle::{args, caps, sh, user_namespace, without_namespace};
use richrun_tests::command::{Cmd, Running};
use richrun_tests::container::Container;
use richrun_tests::podman_caps::PODMAN_CAPS;
use richrun_tests::stage::{SUB_FIRST, USER_ID};
use richrun_tests::suite::{Case, ONE, ROOT, V2};
use richrun_tests::terminal::pair;
use richrun_tests::{Bundle, Kind, Suite, Trial, User, View};
use serde_json::{Value, json};

/// How long a boot and an end may take, in seconds.
pub const PATIENCE: u64 = 300;
/// An ordinary user in the v2 view.
const USER_V2: &[Case] = &[(View::V2, User::Ordinary)];

pub fn register(suite: &mut Suite) {
    suite
        .on(ROOT, "systemd_passes_the_exit_code", systemd_passes_the_exit_code)
        .on(ROOT, "systemd_payload_is_what_was_asked", systemd_payload_is_what_was_asked)
        .on(V2, "systemd_streams_are_the_containers", systemd_streams_are_the_containers)
        .on(V2, "systemd_streams_are_the_users", systemd_streams_are_the_users)
        .on(V2, "systemd_signal_deaths", systemd_signal_deaths)
        .on(ROOT, "systemd_stops", systemd_stops)
        .on(V2, "systemd_foreground_term", systemd_foreground_term)
        .on(ROOT, "systemd_boots_whole", systemd_boots_whole)
        .on(V2, "systemd_restarts_and_pauses", systemd_restarts_and_pauses)
        .on(V2, "systemd_terminal", systemd_terminal)
        .on(V2, "systemd_in_a_user_namespace", systemd_in_a_user_namespace)
        .on(USER_V2, "systemd_rootless", systemd_rootless)
        .on(V2, "systemd_init_script", systemd_init_script)
        .on(V2, "systemd_is_the_command", systemd_is_the_command)
        .on(ROOT, "systemd_is_asked_for_by_the_image", systemd_is_asked_for_by_the_image)
        .on(ONE, "missing_rights_are_named", missing_rights_are_named)
        .on(USER_V2, "missing_delegation_is_named", missing_delegation_is_named);
    ends::register(suite);
    inittab::register(suite);
    interface::register(suite);
}

/// The Debian with this init that `integration/peers.sh` makes; for systemd the one that
/// `RICHRUN_SYSTEMD` names, so that other versions of it can be tried.
fn image(t: &Trial, init: &str) -> PathBuf {
    t.only(&[Kind::Richrun], "has no rich containers");
    let named = std::env::var_os("RICHRUN_SYSTEMD").filter(|_| init == "systemd");
    let made = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../build/rootfs").join(init);
    let root = named.map_or_else(made, PathBuf::from);
    if root.join("sbin/init").symlink_metadata().is_err() {
        t.skip(&format!("no root file system with {init}: run integration/peers.sh {init}"));
    }
    root.canonicalize().expect("the root file system")
}

/// The version of the image's systemd; its shared library has it in its name.
fn version(t: &Trial) -> u32 {
    let root = image(t, "systemd");
    let of = |directory: &str| {
        fs::read_dir(root.join(directory)).into_iter().flatten().flatten().find_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let rest = name.strip_prefix("libsystemd-shared-")?;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        })
    };
    let places = ["usr/lib/x86_64-linux-gnu/systemd", "usr/lib/systemd", "lib/systemd"];
    let more = ["usr/lib/aarch64-linux-gnu/systemd"];
    places.iter().chain(&more).find_map(|place| of(place)).expect("a version of systemd")
}

/// For what older ones than this have not, or do otherwise.
fn since(t: &Trial, oldest: u32, what: &str) {
    let version = version(t);
    if version < oldest {
        t.skip(&format!("the image's systemd is {version}: {what}"));
    }
}

/// Waits as long as a boot may take on a busy machine.
#[track_caller]
fn patiently(what: &str, mut probe: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(PATIENCE);
    while !probe() {
        assert!(Instant::now() < end, "waited {PATIENCE} s in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits for the payload's word.
fn ready(running: &Running) {
    patiently("the payload", || {
        assert!(running.alive(), "it has ended: {}", running.printed());
        running.printed().contains("ready")
    });
}

/// A bundle with systemd in its root, and a shell script as its payload.
pub fn systemd(t: &Trial, script: &str) -> Bundle {
    if t.view == View::V1 && version(t) >= 258 {
        t.skip(&format!("systemd {} runs on cgroup v2 only", version(t)));
    }
    rooted(t, "systemd", script)
}

/// A bundle whose root has this init.
fn rooted(t: &Trial, init: &str, script: &str) -> Bundle {
    let image = image(t, init);
    let bundle = t.bundle(|config| {
        sh(config, script);
        caps(config, PODMAN_CAPS);
        config["root"]["readonly"] = json!(false);
        config["process"]["env"] = json!(["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]);
    });
    let _ = fs::remove_dir_all(bundle.rootfs());
    if t.is_root() {
        overlay(&image, &bundle);
    } else {
        let copied = Command::new("cp").arg("-a").arg(&image).arg(bundle.rootfs()).status();
        assert!(copied.expect("cp").success());
        bundle.give_away();
    }
    t.accept_mounts();
    bundle
}

/// The image below, and what the container writes in memory.
fn overlay(image: &Path, bundle: &Bundle) {
    let (upper, work) = (bundle.dir.join("upper"), bundle.dir.join("work"));
    for dir in [&upper, &work, &bundle.rootfs()] {
        fs::create_dir(dir).expect("make the overlay's directories");
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        image.display(),
        upper.display(),
        work.display()
    );
    let none = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("overlay"), &bundle.rootfs(), Some("overlay"), none, Some(&*options))
        .expect("mount the overlay");
}

/// The `run` of a bundle with systemd.
pub fn boot<'t>(t: &'t Trial, bundle: &Bundle, options: &[&str]) -> Cmd<'t> {
    boot_as(t, bundle, "systemd", options)
}

fn boot_as<'t>(t: &'t Trial, bundle: &Bundle, mode: &str, options: &[&str]) -> Cmd<'t> {
    let all = [&["--rich", "--rich-mode", mode], options].concat();
    t.run_cmd(bundle, &all).timeout(PATIENCE)
}

fn systemd_passes_the_exit_code(t: &Trial) {
    let bundle = systemd(t, "cat /proc/1/comm; exit 42");
    boot(t, &bundle, &[]).run().exits(42).prints("systemd");
    bundle.edit(|config| sh(config, "true"));
    let mode = ["--rich", "--rich-mode", "sbin-init"];
    t.run_cmd(&bundle, &mode).timeout(PATIENCE).run().exits(0);
    bundle.edit(|config| args(config, &["/no/such/program"]));
    boot(t, &bundle, &[]).run().exits(1).says("stat /no/such/program: no such file or directory");
}

fn systemd_payload_is_what_was_asked(t: &Trial) {
    payload_is_what_was_asked(t, &systemd(t, "true"), "systemd");
}

/// Arguments, environment, user, groups, directory, mask, limits, capabilities.
fn payload_is_what_was_asked(t: &Trial, bundle: &Bundle, mode: &str) {
    let odd = "a b\"c'd $HOME %n \\ ; \t";
    let script = "printf '%s|' \"$@\"; echo; printf '%s|' \"$ODD\" \"$EMPTY\"; echo; id -u; id -g; \
                  id -G; pwd; umask; ulimit -n; ulimit -Hn; grep -E 'Cap(Eff|Bnd|Amb)|NoNew' \
                  /proc/self/status | cut -f2; cat /proc/self/oom_score_adj; env | sort | grep -v \
                  ODD | tr '\\n' ' '; cat /proc/$PPID/comm";
    bundle.edit(|config| {
        args(config, &["sh", "-c", script, "sh", odd, "", "%i"]);
        let process = &mut config["process"];
        process["env"] = json!(["PATH=/usr/bin:/bin", format!("ODD={odd}"), "EMPTY=", "HOME=/h"]);
        process["user"] =
            json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 0o27});
        process["cwd"] = json!("/var/tmp");
        process["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]);
        process["capabilities"]["effective"] = json!(["CAP_KILL"]);
        process["capabilities"]["permitted"] = json!(["CAP_KILL"]);
        for set in ["inheritable", "ambient"] {
            process["capabilities"][set] = json!(["CAP_KILL"]);
        }
        process["noNewPrivileges"] = json!(true);
        process["oomScoreAdj"] = json!(77);
    });
    let out = boot_as(t, bundle, mode, &[]).ok();
    let lines: Vec<&str> = out.out.lines().collect();
    let own = format!("{odd}||%i|");
    assert_eq!(lines[0], own);
    assert_eq!(lines[1], format!("{odd}||"));
    assert_eq!(lines[2..9], ["1000", "1001", "1001 5 6", "/var/tmp", "0027", "100", "200"]);
    let (kill, bounding) = ("0000000000000020", "00000000800405fb");
    assert_eq!(lines[9..13], [kill, bounding, kill, "1"], "{}", out.out);
    assert_eq!(lines[13], "77");
    assert_eq!(lines[14], "EMPTY= HOME=/h PATH=/usr/bin:/bin PWD=/var/tmp rich-init");
}

fn systemd_streams_are_the_containers(t: &Trial) {
    let bundle = systemd(t, "cat; echo told >&2; readlink /proc/self/fd/0 /proc/1/fd/0");
    let out = boot(t, &bundle, &[]).input("fed in\n").ok();
    let lines: Vec<&str> = out.out.lines().collect();
    assert_eq!((lines[0], out.err.trim()), ("fed in", "told"));
    assert!(lines[1].ends_with(".in") && lines[2] == "/dev/null", "{}", out.out);
}

/// Another user than root opens its streams again, as programs that log to a file do.
fn systemd_streams_are_the_users(t: &Trial) {
    let bundle = systemd(t, "echo out >>/dev/stdout; echo err >>/dev/stderr");
    bundle.edit(|config| config["process"]["user"] = json!({"uid": 1000, "gid": 1000}));
    let out = boot(t, &bundle, &[]).ok();
    assert_eq!((out.out.trim(), out.err.trim()), ("out", "err"));
}

fn systemd_signal_deaths(t: &Trial) {
    let bundle = systemd(t, "kill -KILL $$");
    boot(t, &bundle, &[]).run().exits(137);
    bundle.edit(|config| sh(config, "kill -SEGV $$"));
    boot(t, &bundle, &[]).run().exits(139);
}

/// A detached container, booted up to its payload.
fn detached<'t>(t: &'t Trial, bundle: &Bundle) -> Container<'t> {
    detached_as(t, bundle, "systemd")
}

fn detached_as<'t>(t: &'t Trial, bundle: &Bundle, mode: &str) -> Container<'t> {
    let words = ["run", "-d", "--rich", "--rich-mode", mode, "-b", bundle.path(), &bundle.id];
    t.rt(&words).timeout(PATIENCE).ok();
    patiently("the payload", || bundle.rootfs().join("var/tmp/up").exists());
    t.take(bundle)
}

const PAYLOAD: &str = "trap 'echo got > /var/tmp/term; exit 7' TERM; touch /var/tmp/up; \
                       while :; do sleep 0.05; done";

/// `kill` without a signal stops systemd, and systemd the payload by TERM.
fn systemd_stops(t: &Trial) {
    let bundle = systemd(t, PAYLOAD);
    let c = detached(t, &bundle);
    t.rt(&["kill", &c.id]).ok();
    patiently("the end", || c.status() == "stopped");
    assert!(bundle.rootfs().join("var/tmp/term").exists());
    c.remove();
}

/// The same in the foreground, where the payload's exit code comes back.
fn systemd_foreground_term(t: &Trial) {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let bundle = systemd(t, &format!("echo ready; {PAYLOAD}"));
        let running = boot(t, &bundle, &[]).spawn();
        ready(&running);
        running.kill(signal);
        running.wait().exits(7);
    }
    let bundle = systemd(t, "echo ready; exec sleep 1000");
    let running = boot(t, &bundle, &[]).spawn();
    ready(&running);
    running.kill(libc::SIGTERM);
    running.wait().exits(143);
}

/// All units come up, and none fails.
fn systemd_boots_whole(t: &Trial) {
    let bundle = systemd(t, PAYLOAD);
    let c = detached(t, &bundle);
    let running = |script: &str| c.exec(script).out.trim().to_owned();
    patiently("the system to run", || {
        !["starting", "initializing", ""].contains(&running("systemctl is-system-running").as_str())
    });
    assert_eq!(running("systemctl --failed --no-legend --plain"), "");
    assert_eq!(running("systemctl is-system-running"), "running");
    assert_eq!(running("systemd-detect-virt -c"), "container-other");
    assert_eq!(running("cat /run/host/container-manager"), "richrun");
    assert_eq!(running("systemctl is-active richrun-payload"), "active");
    let slice = running("cat /proc/$(systemctl show -P MainPID richrun-payload)/cgroup");
    assert!(slice.contains("/system.slice/richrun-payload.service"), "{slice}");
    if t.view == View::V2 {
        // Where systemd is: it may hand controllers on, and then nobody may be above.
        assert!(running("cat /proc/self/cgroup").ends_with("0::/init.scope"));
    }
    // The image itself has nothing of it.
    assert!(!bundle.dir.join("upper/etc/systemd/system/richrun-payload.service").exists());
    let ps = t.rt(&["ps", &c.id]).ok();
    ps.shows("systemd").shows("rich-init");
    c.remove();
}

fn systemd_restarts_and_pauses(t: &Trial) {
    let bundle = systemd(t, PAYLOAD);
    for _ in 0..2 {
        let c = detached(t, &bundle);
        c.verb("pause", &[]).ok();
        assert_eq!(c.status(), "paused");
        c.verb("resume", &[]).ok();
        c.exec("cat /proc/1/comm").ok().prints("systemd");
        t.rt(&["kill", &c.id]).ok();
        patiently("the end", || c.status() == "stopped");
        c.remove();
        fs::remove_file(bundle.rootfs().join("var/tmp/up")).expect("remove the mark");
    }
}

fn systemd_terminal(t: &Trial) {
    terminal_is_the_payloads(t, "systemd", "systemd");
}

fn terminal_is_the_payloads(t: &Trial, init: &str, mode: &str) {
    let bundle = rooted(t, init, "tty; test -t 0 && test -t 1 && echo interactive; exit 5");
    bundle.edit(|config| config["process"]["terminal"] = json!(true));
    let (mut master, slave) = pair(24, 80);
    let end = || slave.try_clone().expect("the slave");
    let running =
        boot_as(t, &bundle, mode, &[]).stdio(0, end()).stdio(1, end()).with_terminal().spawn();
    drop(slave);
    patiently("the payload", || {
        master.look();
        master.seen().contains("interactive")
    });
    running.wait().exits(5);
    // The init has written nothing between the payload's lines.
    assert_eq!(master.seen().trim(), "/dev/pts/0\r\ninteractive");
}

/// A rootful caller, a user namespace.
fn systemd_in_a_user_namespace(t: &Trial) {
    let bundle = systemd(t, "id -u; cat /proc/self/uid_map | tr -s ' '; exit 9");
    bundle.edit(user_namespace);
    let owner = format!("{SUB_FIRST}:{SUB_FIRST}");
    let chown = Command::new("chown").args(["-R", "-h", &owner]).arg(bundle.rootfs()).status();
    assert!(chown.expect("chown").success());
    boot(t, &bundle, &[]).run().exits(9).prints(&format!("0\n 0 {SUB_FIRST} 65536"));
}

/// A delegated group with a group in it where the caller is: containers get
/// theirs beside that.
fn delegated(t: &Trial) -> File {
    let dir = Path::new("/sys/fs/cgroup").join(t.name("delegated"));
    let own = dir.join("caller");
    for dir in [&dir, &own] {
        fs::create_dir(dir).expect("make a cgroup");
        for name in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
            std::os::unix::fs::chown(dir.join(name), Some(USER_ID), Some(USER_ID)).expect("chown");
        }
    }
    File::options().write(true).open(own.join("cgroup.procs")).expect("open cgroup.procs")
}

fn systemd_rootless(t: &Trial) {
    let bundle = systemd(t, "id -u; cat /proc/1/comm; systemctl is-active dbus.socket; exit 11");
    let run = boot(t, &bundle, &[]).in_cgroup(delegated(t));
    run.run().exits(11).prints("0\nsystemd\nactive");
    let dir = Path::new("/sys/fs/cgroup").join(t.name("delegated"));
    for dir in [dir.join("caller"), dir] {
        fs::remove_dir(dir).expect("remove the delegated group");
    }
}

fn systemd_init_script(t: &Trial) {
    let bundle = systemd(t, "cat /var/tmp/first");
    let script = "cat /proc/1/comm > /var/tmp/first; id -u >> /var/tmp/first";
    let out = boot(t, &bundle, &["--initcmd", script]).ok();
    assert!(out.out.trim().ends_with("\n0") && !out.out.contains("systemd"), "{}", out.out);
    boot(t, &bundle, &["--initcmd", "exit 3"]).run().exits(1).says("exit status 3");
}

/// `/sbin/init` as the container's command, as images with systemd have it.
fn systemd_is_the_command(t: &Trial) {
    let bundle = systemd(t, "true");
    bundle.edit(|config| {
        args(config, &["/sbin/init"]);
        config["annotations"] = json!({"io.richrun.rich": "true", "io.richrun.mode": "auto"});
        writable_cgroups(config);
    });
    t.rt(&["run", "-d", "-b", bundle.path(), &bundle.id]).timeout(PATIENCE).ok();
    let c = t.take(&bundle);
    patiently("the system", || {
        c.exec("systemctl is-active multi-user.target").out.trim() == "active"
    });
    assert!(c.exec("systemctl cat richrun-payload").code != 0);
    t.rt(&["kill", &c.id]).ok();
    patiently("the end", || c.status() == "stopped");
    c.remove();
}

/// Gives the container its control groups, as `--privileged` does.
fn writable_cgroups(config: &mut Value) {
    let mounts = config["mounts"].as_array_mut().expect("mounts");
    let groups = mounts.iter_mut().find(|mount| mount["destination"] == "/sys/fs/cgroup");
    groups.expect("control groups")["options"] = json!(["nosuid", "noexec", "nodev", "rw"]);
}

/// An image that asks gets what config.json gives, and systemd comes up with it.
fn systemd_is_asked_for_by_the_image(t: &Trial) {
    let script = "cat /proc/1/comm; grep CapBnd /proc/1/status; ulimit -Hn; exit 9";
    let bundle = systemd(t, script);
    bundle.edit(|config| {
        writable_cgroups(config);
        config["process"]["rlimits"] =
            json!([{"type": "RLIMIT_NOFILE", "soft": 4000, "hard": 5000}]);
        let env = config["process"]["env"].as_array_mut().expect("an environment");
        env.extend(["rich_mode=true", "rich_mode_launch_manner=systemd"].map(|word| json!(word)));
    });
    let out = t.run_cmd(&bundle, &[]).timeout(PATIENCE).run().exits(9);
    assert_eq!(out.out.trim(), "systemd\nCapBnd:\t00000000800405fb\n5000");
}

fn missing_rights_are_named(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    let words = "must using privileged mode when create systemd rich container: missing ";
    let bundle = t.bundle(|config| {
        caps(config, &["CAP_KILL"]);
        without_namespace(config, "pid");
    });
    boot(t, &bundle, &[]).run().exits(1).says("rich mode systemd: no such file in the container's");
    bundle.script("/usr/lib/systemd/systemd", "");
    let out = boot(t, &bundle, &[]).run().exits(1).says(words);
    out.says("a new pid namespace (linux.namespaces)").says("CAP_CHOWN CAP_DAC_OVERRIDE");
    bundle.script("/sbin/init", "");
    let mode = ["--rich", "--rich-mode", "sbin-init"];
    t.run_cmd(&bundle, &mode)
        .run()
        .exits(1)
        .says("/sbin/init is init, none of systemd, busybox and SysV's init");
}

/// Without a group of its own an ordinary user's systemd would only hang.
fn missing_delegation_is_named(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    let bundle = t.bundle(|config| caps(config, PODMAN_CAPS));
    bundle.script("/usr/lib/systemd/systemd", "");
    bundle.give_away();
    let out = boot(t, &bundle, &[]).run().exits(1);
    out.says("missing a cgroup of its own").says("Delegate=yes");
}
