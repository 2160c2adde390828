//! Every program involved is killed at random moments: no container is lost, no line of a log,
//! and no exit code is wrong.

use std::fs;
use std::time::{Duration, Instant};

use richrun_tests::suite::ONE;
use richrun_tests::{Suite, Trial};

use super::faults::{COUNT, check_lines};
use super::setup::Direct;

/// Seconds, where nothing is said (`STORM_SECONDS`; `make test-long` says ten minutes).
const SECONDS: u64 = 15;

pub fn register(suite: &mut Suite) {
    suite.long(ONE, "kills_at_random_moments", 3600, kills_at_random_moments);
}

/// The next number of a simple sequence (its seed is printed, to be tried again).
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

fn programs(names: &[&str]) -> Vec<i32> {
    let named = |stat: &str| names.iter().any(|name| stat.contains(&format!("({name})")));
    let all = richrun_tests::leftovers::processes();
    all.into_iter().filter(|(_, stat)| named(stat)).map(|(pid, _)| pid).collect()
}

fn kills_at_random_moments(t: &Trial) {
    let d = Direct::new(t);
    let seconds = std::env::var("STORM_SECONDS").ok().and_then(|word| word.parse().ok());
    let mut seed: u64 =
        Instant::now().elapsed().as_nanos() as u64 ^ u64::from(std::process::id()) << 20 | 1;
    println!("seed {seed}");
    let names = ["a", "b", "c", "d"];
    for name in names {
        d.background(name, &["--log-size", "1g"], COUNT);
    }
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(SECONDS));
    let mut kills = 0;
    let mut ends = 0;
    while Instant::now() < end {
        // Commands at work, and a short container of which the code is known.
        let rootfs = d.rootfs();
        let short = d.ctl(&["run", "--rm", &rootfs, "sh", "-c", "usleep 2000; exit 7"]).spawn();
        let list = d.ctl(&["list"]).spawn();
        std::thread::sleep(Duration::from_micros(next(&mut seed) % 30_000));
        let all = programs(&["rich-monitor", "rich-keeper", "richctl", "richrun"]);
        if !all.is_empty() {
            let victim = all[(next(&mut seed) % all.len() as u64) as usize];
            richrun_tests::sys::kill(victim, 9);
            kills += 1;
        }
        let code = short.wait().code;
        // Its own, or the word that something was killed: never another.
        assert!(matches!(code, 7 | 1 | 125 | 1009 | 137), "exit {code}");
        ends += usize::from(code == 7);
        list.wait();
    }
    println!("{kills} kills, {ends} whole runs");
    for name in names {
        let state = d.inspect(name)["State"].clone();
        assert_eq!(state["Status"], "running", "{name}: {state}");
        d.ctl(&["stop", "-t", "0", name]).ok();
        let code = d.inspect(name)["State"]["ExitCode"].clone();
        assert!(code == 137 || code.is_null(), "{name}: {code}");
        let text = d.ctl(&["logs", name]).ok().out;
        assert!(text.lines().count() > 20, "{name}: {} lines", text.lines().count());
        check_lines(&text);
    }
    d.clean();
    let left = fs::read_dir(d.place.join("data/names/default")).into_iter().flatten().count();
    assert_eq!(left, 0, "names left");
}
