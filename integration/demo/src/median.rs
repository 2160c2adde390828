//! `median`: how long a command takes, without tools that may not be there.

use std::process::{Command, Stdio};
use std::time::Instant;

const RUNS: usize = 20;

/// Runs the command some times and prints the median in milliseconds.
pub fn print(words: &[String]) -> Result<u8, String> {
    let (program, rest) = words.split_first().ok_or("no command")?;
    let mut times = Vec::new();
    for _ in 0..=RUNS {
        let start = Instant::now();
        let output = Command::new(program)
            .args(rest)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .map_err(|error| format!("{program}: {error}"))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(text.lines().last().unwrap_or("failed").to_owned());
        }
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    // The first run warms the caches.
    let mut times = times.split_off(1);
    times.sort_by(f64::total_cmp);
    println!("{:6.1} ms", (times[RUNS / 2 - 1] + times[RUNS / 2]) / 2.0);
    Ok(0)
}
