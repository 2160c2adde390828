//! What the kernel says of a running process.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::stage::{Result, Runtime};

/// The pid of a container's first process.
pub fn pid_of(runtime: &Runtime, id: &str) -> Result<u64> {
    let output = Command::new(&runtime.path)
        .args(["state", id])
        .output()
        .map_err(|error| format!("state: {error}"))?;
    let state: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("state: {error}"))?;
    state["pid"].as_u64().filter(|&pid| pid > 0).ok_or("state: no pid".into())
}

/// Voluntary and involuntary switches: whatever made it run.
pub fn switches(pid: u64) -> Result<u64> {
    let status = read(&pid.to_string(), "status")?;
    Ok(field(&status, "voluntary_ctxt_switches:")? + field(&status, "nonvoluntary_ctxt_switches:")?)
}

/// Memory that a process shares with no other, clean and dirty.
pub fn private_kib(pid: u64) -> Result<u64> {
    let rollup = read(&pid.to_string(), "smaps_rollup")?;
    Ok(field(&rollup, "Private_Clean:")? + field(&rollup, "Private_Dirty:")?)
}

/// A file of a process below /proc.
pub fn read(pid: &str, name: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{name}");
    fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))
}

/// The number after a name at the start of a line.
pub fn field(text: &str, name: &str) -> Result<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| format!("no {name}"))
}
