//! Something done to the runtime at one of its system calls: by strace, which
//! makes calls fail, and by the probe, which kills and holds processes.

use std::fs;
use std::path::Path;

pub use crate::follow::may_fail;

use crate::Trial;
use crate::bundle::probe;
use crate::command::Cmd;
use crate::path_calls::Seen;

const STRACE: &str = "/usr/bin/strace";

/// The runtime under strace with an injection, its children too if `all`.
pub fn strace<'t>(t: &'t Trial, calls: &str, what: &str, all: bool, line: &[&str]) -> Cmd<'t> {
    let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:{what}"));
    let more: &[&str] = if all { &["-f"] } else { &[] };
    traced(t, &[&["/dev/null", "-e", &trace, "-e", &inject], more].concat(), line)
}

/// The runtime under strace.
pub fn traced<'t>(t: &'t Trial, words: &[&str], line: &[&str]) -> Cmd<'t> {
    if !Path::new(STRACE).exists() {
        t.skip("strace is not installed");
    }
    let (program, root) = (t.runtime_path(), t.root());
    let rest = ["--", program.to_str().expect("utf-8"), "--root", root.to_str().expect("utf-8")];
    t.cmd(STRACE, &["-qq", "-o"]).args(words).args(&rest).args(line)
}

/// The calls that the runtime makes for a command: each name, and its how
/// manieth call it is. strace counts by name.
pub fn calls(t: &Trial, line: &[&str]) -> Vec<(String, usize)> {
    let trace = t.dir.join("run/trace");
    traced(t, &[trace.to_str().expect("utf-8")], line).ok();
    let text = fs::read_to_string(&trace).expect("the trace");
    let mut seen: Vec<(String, usize)> = Vec::new();
    for line in text.lines() {
        if let Some((name, _)) = line.split_once('(') {
            let before = seen.iter().filter(|(other, _)| other == name).count();
            seen.push((name.to_owned(), before + 1));
        }
    }
    seen
}

/// A system call of the runtime, or of a process that it made.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// The how manieth process: the runtime is 0.
    pub role: usize,
    /// Its how manieth call.
    pub nth: usize,
    /// The call's number, where it is known.
    pub call: i64,
}

/// The runtime followed by the probe, with something done at a step.
pub fn follow<'t>(t: &'t Trial, action: &str, step: Step, line: &[&str]) -> Cmd<'t> {
    let (program, root, report) = (t.runtime_path(), t.root(), report(t));
    let probe = probe();
    let words = ["follow", report.to_str().expect("utf-8"), action];
    let rest = [program.to_str().expect("utf-8"), "--root", root.to_str().expect("utf-8")];
    let _ = fs::remove_file(&report);
    t.cmd(probe.to_str().expect("utf-8"), &words)
        .args(&[step.role.to_string(), step.nth.to_string()])
        .args(&rest)
        .args(line)
}

fn report(t: &Trial) -> std::path::PathBuf {
    t.dir.join("run/steps")
}

/// The process that has reached the step of the last `follow`, if one has.
pub fn reached(t: &Trial) -> Option<i32> {
    fs::read_to_string(report(t)).ok().and_then(|pid| pid.parse().ok())
}

/// All the steps of a command.
pub fn steps(t: &Trial, line: &[&str]) -> Vec<Step> {
    follow(t, "list", Step { role: 0, nth: 0, call: 0 }, line).ok();
    let text = fs::read_to_string(report(t)).expect("the steps");
    let step = |line: &str| {
        let mut words = line.split(' ').map(|word| word.parse::<u64>().expect("a number"));
        let mut next = || words.next().expect("three numbers");
        Step { role: next() as usize, nth: next() as usize, call: next() as i64 }
    };
    text.lines().map(step).collect()
}

/// All the paths that the processes of a command hand to the kernel.
pub fn path_calls(t: &Trial, line: &[&str]) -> Vec<Seen> {
    follow(t, "paths", Step { role: 0, nth: 0, call: 0 }, line).ok();
    crate::path_calls::read(&fs::read_to_string(report(t)).expect("the paths"))
}
