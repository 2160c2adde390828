//! PID 1 under stress, alone and with services: storms of signals, orphans by the
//! thousand, fork bombs, no memory, full disks and pipes, stopped from outside. It lives,
//! it reaps, and the exit status is the payload's.

mod terminals;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use richrun_tests::bundle::{args, sh};
use richrun_tests::command::{Cmd, PATIENCE, Running, wait_until};
use richrun_tests::container::Container;
use richrun_tests::suite::{BOTH, ONE, ROOT};
use richrun_tests::sys::kill;
use richrun_tests::{Bundle, Kind, Suite, Trial, View};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite
        .on(ONE, "orphans_at_once", orphans_at_once)
        .on(ONE, "orphans_one_by_one", orphans_one_by_one)
        .on(BOTH, "every_signal_of_a_storm_arrives", every_signal_of_a_storm_arrives)
        .on(ONE, "the_end_is_seen_in_a_storm", the_end_is_seen_in_a_storm)
        .on(ROOT, "a_fork_bomb_within_a_limit", a_fork_bomb_within_a_limit)
        .on(ROOT, "out_of_memory", out_of_memory)
        .on(ONE, "full_disks", full_disks)
        .on(BOTH, "nobody_reads", nobody_reads)
        .on(BOTH, "stopped_and_continued", stopped_and_continued);
    terminals::register(suite);
}

/// Who PID 1 is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// rich-init in front of the payload.
    Alone,
    /// rich-init with a service beside the payload.
    Services,
}

const MODES: [Mode; 2] = [Mode::Alone, Mode::Services];

/// A service that does nothing.
const QUIET: &str = "[service.side]\ncommand = [\"sleep\", \"1000\"]\n[service.main]\nneeds = []\n";
/// One that ends all the time, of which PID 1 tells each time.
const RESTLESS: &str = "[service.side]\ncommand = \"exit 3\"\nrestart = \"always\"\n\
     restart-delay = \"10ms\"\nrestart-max-delay = \"10ms\"\nrestart-tries = 0\n\
     [service.main]\nneeds = []\n";

/// A bundle with the probe, the payload's words, and services for whom they are for.
fn bundle(t: &Trial, words: &[&str], services: &str) -> Bundle {
    t.only(&[Kind::Richrun], "has no init");
    let bundle = t.bundle(|config| args(config, words)).with_probe();
    fs::write(services_file(&bundle), services).expect("write the services file");
    if !t.is_root() {
        bundle.give_away();
    }
    bundle
}

fn services_file(bundle: &Bundle) -> String {
    format!("{}/services.toml", bundle.path())
}

/// The foreground `run`, not yet started.
fn command<'t>(t: &'t Trial, bundle: &Bundle, mode: Mode) -> Cmd<'t> {
    match mode {
        Mode::Alone => t.run_cmd(bundle, &["--rich"]),
        Mode::Services => t.run_cmd(bundle, &["--rich", "--services", &services_file(bundle)]),
    }
}

/// Runs it in the background, until the container runs; PID 1's pid.
fn start<'t>(t: &'t Trial, bundle: &Bundle, mode: Mode) -> (Container<'t>, Running, i32) {
    let running = command(t, bundle, mode).spawn();
    let c = t.take(bundle);
    wait_until("the container to run", || {
        let state = t.rt(&["state", &c.id]).run();
        state.code == 0 && state.json()["status"] == "running"
    });
    let pid = c.pid();
    wait_until("PID 1", || {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "rich-init\n")
    });
    (c, running, pid)
}

/// State and start time of a process (proc_pid_stat(5), fields 3 and 22).
fn stat(pid: i32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// Watches PID 1's children for zombies over whom it sleeps. While it runs or waits for a
/// processor it is under way: a busy machine is not its fault.
struct Watch {
    pid: i32,
    /// Every zombie seen, and since when.
    zombies: HashMap<(i32, u64), Instant>,
    /// The most of them at a time.
    most: usize,
    /// The greatest age of one at all, and of one while PID 1 slept.
    longest: [Duration; 2],
}

impl Watch {
    fn new(pid: i32) -> Watch {
        Watch { pid, zombies: HashMap::new(), most: 0, longest: [Duration::ZERO; 2] }
    }

    /// Whether PID 1 waits for something, and not for a processor only: its state would say
    /// so too while it is in wait4(2) (proc_pid_wchan(5)).
    fn sleeps(&self) -> bool {
        let place = fs::read_to_string(format!("/proc/{}/wchan", self.pid));
        place.is_ok_and(|place| !matches!(place.trim(), "" | "0"))
    }

    /// Looks once.
    fn look(&mut self) {
        let path = format!("/proc/{0}/task/{0}/children", self.pid);
        let children = fs::read_to_string(path).unwrap_or_default();
        let mut seen = HashMap::new();
        for pid in children.split_whitespace().filter_map(|word| word.parse().ok()) {
            let Some(('Z', born)) = stat(pid) else { continue };
            let since = *self.zombies.get(&(pid, born)).unwrap_or(&Instant::now());
            seen.insert((pid, born), since);
            // In this order: this process may have to wait between any two of these lines.
            let age = since.elapsed();
            let sleeps = self.sleeps();
            if stat(pid) == Some(('Z', born)) {
                self.longest[0] = self.longest[0].max(age);
                if sleeps {
                    self.longest[1] = self.longest[1].max(age);
                }
            }
        }
        self.most = self.most.max(seen.len());
        self.zombies = seen;
    }

    /// Says what was seen, and that it was good.
    #[track_caller]
    fn check(&self, mode: Mode) {
        let [longest, asleep] = self.longest;
        println!("{mode:?}: up to {} zombies, for {longest:?}, {asleep:?} asleep", self.most);
        assert!(asleep < Duration::from_millis(10), "{mode:?}: a zombie for {asleep:?}");
    }
}

/// PID 1 reaps so many, and no zombie is visible for 10 ms while it sleeps.
fn check_orphans(t: &Trial, words: &[&str]) {
    let mut all = words.to_vec();
    all.insert(0, "/probe");
    let bundle = bundle(t, &all, QUIET);
    for mode in MODES {
        let (_, running, pid) = start(t, &bundle, mode);
        let mut watch = Watch::new(pid);
        while running.alive() {
            watch.look();
        }
        let out = running.wait().ok().shows("reaped 10000 in");
        println!("{}", out.trimmed());
        watch.check(mode);
    }
}

fn orphans_at_once(t: &Trial) {
    check_orphans(t, &["orphans", "10000", "at-once"]);
}

fn orphans_one_by_one(t: &Trial) {
    check_orphans(t, &["orphans", "10000"]);
}

/// Signals that reach the payload under the same number: not KILL and STOP, not a
/// terminal's stops; and with services not those that ask the container to end.
fn storm(mode: Mode) -> Vec<i32> {
    let stops = [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, 37];
    let never = [libc::SIGKILL, libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
    let asks = |signal: &i32| mode == Mode::Services && stops.contains(signal);
    (1..64).filter(|signal| !never.contains(signal) && !asks(signal)).collect()
}

/// What the probe's `catch` has counted: the times of each signal.
fn counts(out: &str) -> BTreeMap<i32, usize> {
    let pair = |line: &str| {
        let (signal, count) = line.split_once(' ')?;
        Some((signal.parse().ok()?, count.trim().parse().ok()?))
    };
    out.lines().filter_map(pair).collect()
}

fn every_signal_of_a_storm_arrives(t: &Trial) {
    const COUNT: usize = 10_000;
    let bundle = bundle(t, &["/probe", "catch"], QUIET);
    for mode in MODES {
        let (_, running, pid) = start(t, &bundle, mode);
        running.wait_for("ready");
        let mut sent = BTreeMap::new();
        for signal in storm(mode).into_iter().cycle().take(COUNT) {
            // A full queue takes it later.
            wait_until("room for a signal", || kill(pid, signal));
            *sent.entry(signal).or_insert(0) += 1;
        }
        assert!(stat(pid).is_some(), "{mode:?}: PID 1 lives");
        wait_until("the last signal", || kill(pid, 64));
        let got = counts(&running.wait().exits(5).out);
        for (signal, sent) in sent {
            let got = got.get(&signal).copied().unwrap_or(0);
            // Real-time signals queue; of the others, one at a time waits.
            let all = if signal < 32 { 1..=sent } else { sent..=sent };
            assert!(all.contains(&got), "{mode:?}: signal {signal}: {got} of {sent}");
        }
    }
}

/// The payload's end, and a service's, is seen although signals never stop.
fn the_end_is_seen_in_a_storm(t: &Trial) {
    let bundle = bundle(t, &["/probe", "later", "300", "42"], RESTLESS);
    bundle.edit(|config| {
        sh(config, "trap '' HUP USR1 USR2; echo ready; exec /probe later 300 42");
    });
    for mode in MODES {
        let (_, running, pid) = start(t, &bundle, mode);
        running.wait_for("ready");
        let over = AtomicBool::new(false);
        let mut ended = false;
        std::thread::scope(|scope| {
            for signal in [libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2] {
                let over = &over;
                scope.spawn(move || {
                    // PID 1's pid is not another's as long as the runtime waits for it.
                    while !over.load(Ordering::Relaxed) && kill(pid, signal) {}
                });
            }
            let end = Instant::now() + PATIENCE;
            while running.alive() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
            ended = !running.alive();
            over.store(true, Ordering::Relaxed);
        });
        assert!(ended, "{mode:?}: the end is not seen as long as signals come");
        running.wait().exits(42);
    }
}

/// Skips the trial where the view of the cgroups lacks a controller.
fn needs_controller(t: &Trial, name: &str) {
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers");
    let there = match t.view {
        View::V1 => Path::new("/sys/fs/cgroup").join(name).exists(),
        _ => controllers.is_ok_and(|all| all.split_whitespace().any(|word| word == name)),
    };
    if !there {
        t.skip(&format!("no {name} controller in this view of the cgroups"));
    }
}

fn a_fork_bomb_within_a_limit(t: &Trial) {
    needs_controller(t, "pids");
    let services = format!("{RESTLESS}[service.bomb]\ncommand = [\"/probe\", \"bomb\"]\n");
    for mode in MODES {
        // With services one of them is the bomb: a shell might find no place for a second.
        let payload: &[&str] = match mode {
            Mode::Alone => &["sh", "-c", "/probe bomb & exec /probe later 1500 9"],
            Mode::Services => &["/probe", "later", "1500", "9"],
        };
        let bundle = bundle(t, payload, &services);
        bundle.edit(|config| config["linux"]["resources"]["pids"] = json!({"limit": 40}));
        let (_, running, pid) = start(t, &bundle, mode);
        let mut watch = Watch::new(pid);
        while running.alive() {
            watch.look();
        }
        running.wait().exits(9);
        watch.check(mode);
    }
}

fn out_of_memory(t: &Trial) {
    needs_controller(t, "memory");
    let limit = |config: &mut Value| {
        config["linux"]["resources"]["memory"] = json!({"limit": 32 << 20, "swap": 32 << 20});
    };
    let services = "[service.side]\ncommand = [\"/probe\", \"eat\", \"200\"]\nrestart-tries = 2\n\
                    restart-delay = \"50ms\"\n[service.main]\nneeds = []\n";
    for mode in MODES {
        let payload = ["/probe", "eat", "200"];
        let eater = bundle(t, &payload, QUIET);
        eater.edit(limit);
        command(t, &eater, mode).run().exits(137).prints("");
        // Not the payload: what it has started, or a service.
        let script = "/probe eat 200; echo child $?; sleep 5; exit 6";
        let parent = bundle(t, &["sh", "-c", script], services);
        parent.edit(limit);
        let out = command(t, &parent, mode).run().exits(6).shows("child 137");
        if mode == Mode::Services {
            out.says("service side: ended with 137, restarted");
        }
    }
}

/// What is written has no place: the payload's output, a service's log, PID 1's own words.
fn full_disks(t: &Trial) {
    let place = t.dir.join("small");
    fs::create_dir(&place).expect("mkdir");
    mount(Some("small"), &place, Some("tmpfs"), MsFlags::empty(), Some("nr_blocks=1"))
        .expect("mount");
    fs::write(place.join("fill"), [0; 4096]).expect("fill the disk");
    let payload = "for i in 1 2 3 4 5 6 7 8; do echo line; sleep 0.05; done; exit 8";
    let services = format!(
        "{RESTLESS}[service.talker]\ncommand = \"while :; do echo x || exit 1; sleep 0.01; done\"\n\
         log = \"/small/log\"\n"
    );
    let bundle = bundle(t, &["sh", "-c", payload], &services);
    bundle.edit(|config| richrun_tests::bundle::bind(config, &place, "/small", &["bind"]));
    for mode in MODES {
        let file = || File::options().append(true).create(true).open(place.join("out"));
        let (out, err) = (file().expect("open"), file().expect("open"));
        command(t, &bundle, mode).stdio(1, out).stdio(2, err).run().exits(8);
        assert_eq!(fs::metadata(place.join("out")).expect("the output").len(), 0);
    }
    umount2(&place, MntFlags::MNT_DETACH).expect("umount");
}

/// A pipe that is full, or has no other end, is where PID 1's words go.
fn nobody_reads(t: &Trial) {
    let bundle = bundle(t, &["sh", "-c", "sleep 0.7; exit 8"], RESTLESS);
    for mode in MODES {
        for full in [false, true] {
            let (reader, writer) = std::io::pipe().expect("pipe");
            let reader = if full {
                rustix::io::ioctl_fionbio(&writer, true).expect("do not block");
                while rustix::io::write(&writer, &[b'x'; 4096]).is_ok() {}
                rustix::io::ioctl_fionbio(&writer, false).expect("block");
                Some(reader)
            } else {
                drop(reader);
                None
            };
            command(t, &bundle, mode).stdio(2, std::os::fd::OwnedFd::from(writer)).run().exits(8);
            drop(reader);
        }
    }
}

/// PID 1 stopped from outside has everything waiting for it when it goes on.
fn stopped_and_continued(t: &Trial) {
    let script =
        "trap 'exit 7' TERM; echo ready; while [ ! -e /tmp/end ]; do sleep 0.02; done; exit 3";
    let bundle = bundle(t, &["sh", "-c", script], QUIET);
    let end = bundle.rootfs().join("tmp/end");
    for mode in MODES {
        for by_signal in [true, false] {
            let _ = fs::remove_file(&end);
            let (c, running, pid) = start(t, &bundle, mode);
            running.wait_for("ready");
            kill(pid, libc::SIGSTOP);
            wait_until("PID 1 to stop", || stat(pid).is_some_and(|seen| seen.0 == 'T'));
            c.exec("for i in $(seq 50); do (sleep 0 &); done").ok();
            if by_signal {
                c.kill("TERM");
            } else {
                fs::write(&end, "").expect("write");
            }
            let mut watch = Watch::new(pid);
            wait_until("zombies", || {
                watch.look();
                watch.zombies.len() >= 50
            });
            std::thread::sleep(Duration::from_millis(100));
            watch.look();
            // So the watch of the other trials would see a PID 1 that sleeps.
            if t.is_root() {
                assert!(watch.longest[1] >= Duration::from_millis(100), "{:?}", watch.longest);
            }
            assert!(running.alive(), "{mode:?}: a stopped PID 1 has not ended");
            assert_eq!(c.status(), "running", "{mode:?}");
            kill(pid, libc::SIGCONT);
            running.wait().exits(if by_signal { 7 } else { 3 });
        }
    }
}
