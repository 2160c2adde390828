//! The ends of logs, printed as they grow.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::setup::Setup;

/// How much of a file is looked at for its last lines where they are only shown.
const LONGEST_END: u64 = 1 << 20;
/// A line without an end is printed when it has so many bytes.
const LONGEST_LINE: u64 = 64 << 10;

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

/// A log that is followed.
struct Tail {
    name: String,
    path: PathBuf,
    /// All before has been printed.
    at: u64,
}

/// Logs that are followed.
pub struct Tails {
    logs: Vec<Tail>,
    prefix: bool,
}

impl Tails {
    /// From their beginnings, or from their last so many lines; `prefix`: each line with its
    /// container's name.
    pub fn new(logs: Vec<(String, PathBuf)>, prefix: bool, last: Option<usize>) -> Tails {
        let each = logs.into_iter().map(|(name, path)| {
            let at = last.map_or(0, |count| start_of_last(&path, count).unwrap_or(0));
            Tail { name, path, at }
        });
        Tails { logs: each.collect(), prefix }
    }

    /// Prints whole lines that have come since, and with `rest` what has no end yet; false when
    /// nobody reads any more.
    pub fn print(&mut self, rest: bool) -> bool {
        let mut out = std::io::stdout().lock();
        let terminal = out.is_terminal();
        self.write(&mut out, terminal, rest).is_ok()
    }

    fn write(&mut self, out: &mut dyn Write, terminal: bool, rest: bool) -> io::Result<()> {
        for log in &mut self.logs {
            // Not there yet, or not readable: then it has brought nothing.
            let Ok(mut file) = File::open(&log.path) else { continue };
            let length = file.metadata().map_or(0, |data| data.len());
            // Made shorter meanwhile: from its beginning again.
            log.at = if length < log.at { 0 } else { log.at };
            if length == log.at || file.seek(SeekFrom::Start(log.at)).is_err() {
                continue;
            }
            // No further than that: one that writes faster than somebody reads has no end.
            let mut left = length - log.at;
            let mut reader = BufReader::new(file);
            while left > 0 {
                let mut line = Vec::new();
                let bound = left.min(LONGEST_LINE);
                let Ok(count) = reader.by_ref().take(bound).read_until(b'\n', &mut line) else {
                    break;
                };
                let whole = line.ends_with(b"\n") || count as u64 == LONGEST_LINE;
                if count == 0 || !(whole || rest) {
                    break;
                }
                left -= count as u64;
                log.at += count as u64;
                if terminal {
                    // What a container writes is shown to a person, and obeyed by no terminal.
                    let harmless =
                        |byte: u8| byte >= b' ' && byte != 0x7f || matches!(byte, b'\n' | b'\t');
                    line.iter_mut().filter(|byte| !harmless(**byte)).for_each(|byte| *byte = b' ');
                }
                if self.prefix {
                    write!(out, "{}: ", log.name)?;
                    if !line.ends_with(b"\n") {
                        line.push(b'\n');
                    }
                }
                out.write_all(&line)?;
            }
        }
        out.flush()
    }
}

/// Where the last so many lines of a file begin.
fn start_of_last(path: &Path, count: usize) -> io::Result<u64> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut starts = VecDeque::new();
    let (mut at, mut begins) = (0, true);
    loop {
        let part = reader.fill_buf()?;
        if part.is_empty() {
            let first = starts.front().copied();
            return Ok(first.unwrap_or(at));
        }
        for byte in part {
            if begins {
                starts.push_back(at);
                if starts.len() > count {
                    starts.pop_front();
                }
            }
            begins = *byte == b'\n';
            at += 1;
        }
        let length = part.len();
        reader.consume(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_long_logs_and_whole_lines_of_growing_ones() {
        let dir = std::env::temp_dir().join(format!("rich-tail-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("made");
        let (long, short) = (dir.join("long"), dir.join("short"));
        let much = "a line\n".repeat(400_000);
        std::fs::write(&long, &much).expect("written");
        std::fs::write(&short, "one\npart").expect("written");
        let logs = || vec![("a".to_owned(), long.clone()), ("b".to_owned(), short.clone())];
        let printed = |tails: &mut Tails, rest| {
            let mut out = Vec::new();
            tails.write(&mut out, false, rest).expect("written");
            String::from_utf8(out).expect("text")
        };
        let mut tails = Tails::new(logs(), false, None);
        assert!(printed(&mut tails, false) == format!("{much}one\n"));
        // A line that is not whole yet waits for its end.
        assert_eq!(printed(&mut tails, false), "");
        std::fs::write(&short, "one\npart and end\nlast").expect("written");
        assert_eq!(printed(&mut tails, false), "part and end\n");
        assert_eq!(printed(&mut tails, true), "last");
        let mut last = Tails::new(logs(), true, Some(2));
        assert_eq!(printed(&mut last, true), "a: a line\na: a line\nb: part and end\nb: last\n");
        let mut none = Tails::new(logs(), true, Some(0));
        assert_eq!(printed(&mut none, true), "");
        std::fs::remove_dir_all(dir).expect("removed");
    }
}
