//! Taking samples: alternating batches under hyperfine, and what they amount to.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::stage::Result;

/// A command to measure, and the column in which it stands.
#[derive(Debug, Clone)]
pub struct Case {
    /// `floor`, a runtime's name, or a variant such as `richrun --rich`.
    pub column: String,
    /// The command; its first word is an absolute path.
    pub argv: Vec<String>,
}

/// What was measured of one case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// One figure a run, in the order taken.
    Samples(Vec<f64>),
    /// Why there are none.
    Failed(String),
}

/// Runs of a batch, between which the contenders alternate, and those before it that do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    runs: usize,
    warmup: usize,
}

/// For runs of milliseconds.
pub const SHORT: Batch = Batch { runs: 10, warmup: 2 };
/// For runs that take as long as the weather lasts.
pub const LONG: Batch = Batch { runs: 2, warmup: 0 };

/// How long a batch may take before its contender counts as hung.
const PATIENCE: Duration = Duration::from_secs(40);

/// The median; NaN of nothing.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which `part` (0 to 1) of the values lie.
pub fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    if sorted.is_empty() {
        return f64::NAN;
    }
    sorted.sort_by(f64::total_cmp);
    let place = part * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    low + (high - low) * place.fract()
}

/// Measures the cases in turn, a batch each, until each has `runs` samples (ms).
///
/// The machine's speed drifts in seconds: alternating batches let every
/// contender have the same weather. The order turns by one each round.
pub fn alternate(cases: &[Case], runs: usize, size: Batch, scratch: &Path) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = cases.iter().map(|_| Outcome::Samples(Vec::new())).collect();
    for round in 0..runs.div_ceil(size.runs) {
        for step in 0..cases.len() {
            let which = (round + step) % cases.len();
            let Outcome::Samples(samples) = &mut outcomes[which] else { continue };
            match batch(&cases[which], size, scratch) {
                Ok(times) => samples.extend(times),
                Err(reason) => {
                    eprintln!("  {}: {reason}", cases[which].column);
                    outcomes[which] = Outcome::Failed(reason);
                }
            }
        }
    }
    outcomes
}

/// One batch of one case: its times in milliseconds.
fn batch(case: &Case, size: Batch, scratch: &Path) -> Result<Vec<f64>> {
    let json = scratch.join("hyperfine.json");
    let log = scratch.join("hyperfine.log");
    let file = fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let child = Command::new("hyperfine")
        .args(["--shell=none", "--style=none", "--warmup"])
        .arg(size.warmup.to_string())
        .arg("--runs")
        .arg(size.runs.to_string())
        .arg("--export-json")
        .arg(&json)
        .arg(line(&case.argv))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        .process_group(0)
        .spawn()
        .map_err(|error| format!("hyperfine: {error}"))?;
    if !finished(child)? {
        return Err(why(case, &log));
    }
    let text = fs::read_to_string(&json).map_err(|error| format!("{}: {error}", json.display()))?;
    times(&text)
}

/// Waits for hyperfine; what hangs is ended with its whole process group.
fn finished(mut child: Child) -> Result<bool> {
    let end = Instant::now() + PATIENCE;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.success()),
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
            Ok(None) => {
                let group = format!("-{}", child.id());
                let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
                let _ = child.wait();
                return Err(format!("hung: no end within {} s", PATIENCE.as_secs()));
            }
            Err(error) => return Err(format!("wait for hyperfine: {error}")),
        }
    }
}

/// The failing command's own words: it is run once more, alone.
fn why(case: &Case, log: &Path) -> String {
    let said = Command::new(&case.argv[0]).args(&case.argv[1..]).stdin(Stdio::null()).output();
    let text = match said {
        Ok(output) if !output.status.success() => {
            String::from_utf8_lossy(&output.stderr).into_owned()
        }
        _ => fs::read_to_string(log).unwrap_or_default(),
    };
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("failed");
    last.trim().chars().take(160).collect()
}

/// hyperfine's file: seconds, of its only command.
fn times(text: &str) -> Result<Vec<f64>> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("hyperfine: {error}"))?;
    let list = value["results"][0]["times"].as_array().ok_or("hyperfine: no times")?;
    Ok(list.iter().filter_map(Value::as_f64).map(|seconds| seconds * 1000.0).collect())
}

/// The words as hyperfine splits them again.
fn line(argv: &[String]) -> String {
    let quoted: Vec<String> =
        argv.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
    quoted.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_even_and_odd_lists() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(quantile(&[0.0, 10.0], 0.1), 1.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn seconds_become_milliseconds() {
        let text = r#"{"results":[{"times":[0.001,0.0025]}]}"#;
        assert_eq!(times(text).unwrap(), [1.0, 2.5]);
        assert!(times("{}").is_err());
    }

    #[test]
    fn words_are_quoted() {
        assert_eq!(line(&["a b".into(), "c'd".into()]), r"'a b' 'c'\''d'");
    }
}
