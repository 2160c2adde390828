//! The ends of logs, printed as they grow.

use std::fs::File;
use std::io::{IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::setup::Setup;

/// How much of a file is looked at for its last lines.
const LONGEST_END: u64 = 1 << 20;

/// The logs of a pod with their containers' names.
pub fn logs_of(setup: &Setup) -> Vec<(String, PathBuf)> {
    let each = setup.pod.containers.iter();
    each.map(|one| (one.name.clone(), setup.log_of(&one.name))).collect()
}

/// The last lines of a file.
pub fn last_lines(path: &Path, count: usize) -> Vec<String> {
    let Ok(mut file) = File::open(path) else { return Vec::new() };
    let length = file.metadata().map_or(0, |data| data.len());
    let start = length.saturating_sub(LONGEST_END);
    let mut bytes = Vec::new();
    let _ = file.seek(SeekFrom::Start(start));
    let _ = file.take(LONGEST_END).read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|line| (*line).to_owned()).collect()
}

/// Logs that are followed.
pub struct Tails {
    logs: Vec<(String, PathBuf, u64)>,
    prefix: bool,
}

impl Tails {
    /// From their beginnings; `prefix`: each line with its container's name.
    pub fn new(logs: Vec<(String, PathBuf)>, prefix: bool) -> Tails {
        let logs = logs.into_iter().map(|(name, path)| (name, path, 0)).collect();
        Tails { logs, prefix }
    }

    /// From their present ends.
    pub fn from_ends(logs: Vec<(String, PathBuf)>, prefix: bool) -> Tails {
        let mut tails = Tails::new(logs, prefix);
        for (_, path, at) in &mut tails.logs {
            *at = std::fs::metadata(path).map_or(0, |data| data.len());
        }
        tails
    }

    /// Prints what has come since; false when nobody reads any more.
    pub fn print(&mut self) -> bool {
        let mut out = std::io::stdout().lock();
        let terminal = out.is_terminal();
        for (name, path, at) in &mut self.logs {
            let Ok(mut file) = File::open(path) else { continue };
            let length = file.metadata().map_or(0, |data| data.len());
            // Made shorter meanwhile: from its beginning again.
            *at = if length < *at { 0 } else { *at };
            if length == *at || file.seek(SeekFrom::Start(*at)).is_err() {
                continue;
            }
            let mut bytes = Vec::new();
            if file.take(LONGEST_END).read_to_end(&mut bytes).is_err() {
                continue;
            }
            *at += bytes.len() as u64;
            if terminal {
                // What a container writes is shown to a person, and obeyed by no terminal.
                let harmless =
                    |byte: u8| byte >= b' ' && byte != 0x7f || matches!(byte, b'\n' | b'\t');
                bytes.iter_mut().filter(|byte| !harmless(**byte)).for_each(|byte| *byte = b' ');
            }
            let written = match self.prefix {
                false => out.write_all(&bytes),
                true => bytes.split_inclusive(|byte| *byte == b'\n').try_for_each(|line| {
                    write!(out, "{name}: ")?;
                    out.write_all(line)
                }),
            };
            if written.and_then(|()| out.flush()).is_err() {
                return false;
            }
        }
        true
    }
}
