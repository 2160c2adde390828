//! `ps`: the processes that `/proc` shows.

use std::fs;

/// Prints pid, parent, state and command of every process.
pub fn print() -> Result<u8, String> {
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .map_err(|error| format!("/proc: {error}"))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    println!("  PID  PPID STATE COMMAND");
    for pid in pids {
        // A process that ended meanwhile is no error.
        let Some((parent, state, name)) = status(pid) else { continue };
        println!("{pid:>5} {parent:>5} {state:<5} {}", command(pid).unwrap_or(name));
    }
    Ok(0)
}

/// Parent, state letter and bracketed name.
fn status(pid: u32) -> Option<(String, String, String)> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next().map(str::to_owned)
    };
    Some((field("PPid:")?, field("State:")?, format!("[{}]", field("Name:")?)))
}

/// The words it was started with; a zombie has none.
fn command(pid: u32) -> Option<String> {
    let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text = String::from_utf8_lossy(&words).replace('\0', " ");
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
