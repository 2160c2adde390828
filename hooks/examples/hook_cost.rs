//! What hooks cost: medians in microseconds of none, one and many `true` hooks,
//! with and without a timeout, and of the bare `fork` and `execve` of the same program.
//!
//! `cargo run --release --example hook_cost [PROGRAM]`

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use oci_spec::runtime::{Hook, HookBuilder};
use rich_hooks::{Options, Phase, run_phase};

const STATE: &[u8] = br#"{"ociVersion":"1.3.0","id":"cost","status":"creating","pid":1}"#;

fn median(rounds: usize, mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let before = Instant::now();
            work();
            before.elapsed()
        })
        .collect();
    times.sort();
    times[rounds / 2]
}

fn main() {
    let program = std::env::args().nth(1).unwrap_or_else(|| "/bin/true".into());
    let hooks = |count: usize| -> Vec<Hook> {
        let hook = HookBuilder::default().path(&program).build();
        vec![hook.expect("a path is all that a hook needs"); count]
    };
    let phase = |count: usize, phase_timeout: Option<Duration>, rounds: usize| {
        let (hooks, options) = (hooks(count), Options { phase_timeout, ..Options::default() });
        median(rounds, || {
            if let Err(error) = run_phase(Phase::Prestart, &hooks, STATE, &options) {
                eprintln!("{error}");
            }
        })
    };
    let minute = Some(Duration::from_secs(60));
    let bare = median(400, || {
        let mut command = Command::new(&program);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        if let Err(error) = command.status() {
            eprintln!("{error}");
        }
    });
    for (name, time) in [
        ("std::process::Command, for comparison", bare),
        ("no hooks", phase(0, None, 400)),
        ("1 hook", phase(1, None, 400)),
        ("1 hook with a timeout", phase(1, minute, 400)),
        ("10 hooks", phase(10, None, 40)),
        ("100 hooks", phase(100, None, 11)),
        ("100 hooks with a timeout", phase(100, minute, 11)),
    ] {
        println!("{name:<40} {:>10.1} us", time.as_secs_f64() * 1e6);
    }
}
