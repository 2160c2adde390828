//! Figures of rich-init with services: size, memory with twenty of them and their probes,
//! wakes, how long a graph of them takes, and what a probe costs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::process::{pid_of, private_kib, read, switches};
use crate::row::{remove, start_with};
use crate::sample::median;
use crate::stage::{Result, Runtime, Stage};

/// How many services there are, and how deep they stand.
const COUNT: usize = 20;
const DEEP: usize = 4;
/// How long probes are counted.
const WATCH: Duration = Duration::from_secs(10);
/// Commands executed from outside, and runs of a graph.
const TIMES: usize = 200;
const RUNS: usize = 10;

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceFigures {
    /// Bytes of the program on disk.
    pub bytes: Option<u64>,
    /// Private KiB of PID 1 with twenty services, each with a probe.
    pub private_kib: Option<u64>,
    /// Context switches in ten seconds in which no probe is due.
    pub wakes: Option<u64>,
    /// Time until twenty services, four deep, are up, of that of one path of four.
    pub graph: Option<f64>,
    /// Processor time that a probe adds to its command's own, of what an `exec` adds.
    pub probe: Option<f64>,
    /// What could not be seen, if anything.
    pub trouble: Option<String>,
}

/// Looks at rich containers with services.
pub fn look(stage: &Stage) -> ServiceFigures {
    let mut figures = ServiceFigures::default();
    let Some(runtime) = stage.runtime("richrun") else { return figures };
    eprintln!("rich-init with {COUNT} services");
    let beside = Path::new(&runtime.path).with_file_name("rich-init-services");
    figures.bytes = fs::metadata(beside).ok().map(|data| data.len());
    let seen = graph(stage, runtime)
        .map(|ratio| figures.graph = Some(ratio))
        .and_then(|()| idle(stage, runtime, &mut figures))
        .and_then(|()| probes(stage, runtime))
        .map(|ratio| figures.probe = Some(ratio));
    figures.trouble = seen.err();
    figures
}

/// A services file: `count` services in layers of `count / DEEP`, each needing all of the
/// layer before it and taking a tenth of a second to become ready.
fn layers(count: usize) -> String {
    let wide = count / DEEP;
    let name = |i: usize| format!("\"s{i}\"");
    let one = |i: usize| {
        let layer = i / wide;
        let before = (layer.saturating_sub(1) * wide..layer * wide).map(name);
        let needs = before.collect::<Vec<_>>().join(", ");
        format!(
            "[service.s{i}]\nneeds = [{needs}]\nready = \"fd:3\"\n\
             command = \"sleep 0.1; echo >&3; exec sleep 1000\"\nstop-signal = \"KILL\"\n"
        )
    };
    (0..count).map(one).collect()
}

/// Twenty services, each with a probe of this period in seconds.
fn probed(period: u32) -> String {
    let one = |i: usize| {
        format!(
            "[service.s{i}]\ncommand = [\"/bin/sleep\", \"1000\"]\n\
             liveness = {{ exec = [\"/bin/true\"], periodSeconds = {period} }}\n"
        )
    };
    (0..COUNT).map(one).collect()
}

fn file(stage: &Stage, text: &str) -> Result<PathBuf> {
    let path = stage.out.join("services.toml");
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// The whole graph's time, of one path's: both until the payload has run.
fn graph(stage: &Stage, runtime: &Runtime) -> Result<f64> {
    let (mut all, mut path) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        path.push(run(stage, runtime, &layers(DEEP))?);
        all.push(run(stage, runtime, &layers(COUNT))?);
    }
    Ok(median(&all) / median(&path))
}

fn run(stage: &Stage, runtime: &Runtime, text: &str) -> Result<f64> {
    let path = file(stage, text)?;
    let begun = Instant::now();
    let output = Command::new(&runtime.path)
        .args(["run", "--rich", "--services"])
        .arg(&path)
        .arg("--bundle")
        .arg(&stage.stock)
        .arg(format!("bench-{}-graph", std::process::id()))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", runtime.path))?;
    match output.status.success() {
        true => Ok(begun.elapsed().as_secs_f64()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// A container in the background with services, for as long as `act` takes.
fn with(
    stage: &Stage,
    runtime: &Runtime,
    text: &str,
    act: impl FnOnce(&str, u64) -> Result<()>,
) -> Result<()> {
    let path = file(stage, text)?;
    let id = format!("bench-{}-services", std::process::id());
    let path = path.to_str().ok_or("the path is not UTF-8")?;
    let acted = start_with(runtime, &["--rich", "--services", path], &stage.sleeping, &id)
        .and_then(|()| {
            std::thread::sleep(Duration::from_secs(2));
            act(&id, pid_of(runtime, &id)?)
        });
    remove(runtime, &id);
    acted
}

fn idle(stage: &Stage, runtime: &Runtime, figures: &mut ServiceFigures) -> Result<()> {
    with(stage, runtime, &probed(3600), |_, pid| {
        let before = switches(pid)?;
        std::thread::sleep(WATCH);
        figures.wakes = Some(switches(pid)? - before);
        figures.private_kib = Some(private_kib(pid)?);
        Ok(())
    })
}

/// Processor time of a probe, of that of `exec`: both with all that they start, but for
/// the command itself, which takes the same in both.
fn probes(stage: &Stage, runtime: &Runtime) -> Result<f64> {
    let (mut probe, mut exec) = (0.0, 0.0);
    let busybox = stage.stock.join("rootfs/bin/busybox");
    let own = per_run(|| Command::new(&busybox).arg("true").stdin(Stdio::null()).status())?;
    with(stage, runtime, &probed(1), |id, pid| {
        let before = ticks(&pid.to_string())?;
        std::thread::sleep(WATCH);
        let probes = WATCH.as_secs() as usize * COUNT;
        probe = (ticks(&pid.to_string())? - before) as f64 / probes as f64;
        exec = per_run(|| {
            let mut command = Command::new(&runtime.path);
            command.args(["exec", id, "/bin/true"]).stdin(Stdio::null()).status()
        })?;
        Ok(())
    })?;
    eprintln!("  ticks: a probe {probe:.3}, an exec {exec:.3}, the command alone {own:.3}");
    Ok((probe - own).max(0.0) / (exec - own))
}

/// Ticks that a run of this takes, with all that it starts.
fn per_run(run: impl Fn() -> std::io::Result<std::process::ExitStatus>) -> Result<f64> {
    let before = ticks("self")?;
    for _ in 0..TIMES {
        run().map_err(|error| format!("run: {error}"))?;
    }
    Ok((ticks("self")? - before) as f64 / TIMES as f64)
}

/// Clock ticks that a process and its ended children have had (proc_pid_stat(5), fields 14
/// to 17).
fn ticks(pid: &str) -> Result<u64> {
    let text = read(pid, "stat")?;
    let rest = text.rsplit_once(')').ok_or("stat: no command")?.1;
    let fields = rest.split_whitespace().skip(11).take(4);
    fields.map(|field| field.parse::<u64>().map_err(|error| error.to_string())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_need_the_whole_layer_before() {
        let text = layers(8);
        assert!(text.contains("[service.s1]\nneeds = []\n"));
        assert!(text.contains("[service.s2]\nneeds = [\"s0\", \"s1\"]\n"));
        assert!(text.contains("[service.s7]\nneeds = [\"s4\", \"s5\"]\n"));
        assert_eq!(layers(4).matches("needs = [\"").count(), 3);
    }

    #[test]
    fn own_ticks_are_read() {
        assert!(ticks("self").is_ok());
    }
}
