//! Logs are read: over rotated files, by time, and on and on.

use std::collections::VecDeque;
use std::io::Write;
use std::time::Duration;

use jiff::Timestamp;

use super::Containers;
use super::growing::Growing;
use crate::error::{At, Error, Result};
use crate::store::{Driver, Format, Phase, Record};

/// How often a log that is followed is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Which lines are wanted.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    /// The last so many.
    pub last: Option<usize>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// Wait for more while the container runs.
    pub follow: bool,
    /// With the time of each line.
    pub times: bool,
}

/// A container's logs.
pub struct Logs<'a> {
    containers: &'a Containers,
    record: &'a Record,
    filter: LogFilter,
    /// The last line had no end yet: standard output's and standard error's.
    open: [bool; 2],
}

/// A line of a log file.
struct Line<'a> {
    time: &'a str,
    errors: bool,
    whole: bool,
    text: &'a [u8],
}

impl<'a> Logs<'a> {
    /// The logs of a container.
    ///
    /// # Errors
    /// Those that are not in a file; times where the file has none.
    pub fn new(
        containers: &'a Containers,
        record: &'a Record,
        filter: LogFilter,
    ) -> Result<Logs<'a>> {
        match record.log.driver {
            Driver::File => {}
            Driver::None => return Err(Error::usage("it keeps no log (--log-driver none)")),
            Driver::Journald => {
                return Err(Error::usage(format!(
                    "its log is in the journal: journalctl CONTAINER_ID_FULL={}",
                    record.id
                )));
            }
        }
        let by_time = filter.since.is_some() || filter.until.is_some() || filter.times;
        if record.log.format == Format::Plain && by_time {
            return Err(Error::usage(
                "a plain log has no times: run the container with --log-format cri",
            ));
        }
        Ok(Logs { containers, record, filter, open: [false; 2] })
    }

    /// Writes the lines.
    ///
    /// # Errors
    /// The file system's; the reader's, except that it has gone.
    pub fn print(&mut self, out: &mut dyn Write, errors: &mut dyn Write) -> Result<()> {
        let path = &self.record.log.path;
        let numbered = self.record.log.max_files.saturating_sub(1);
        let mut log = Growing::new(path, numbered);
        let mut last_ones: VecDeque<Vec<u8>> = VecDeque::new();
        let mut line = Vec::new();
        // What there is now: one that writes faster than somebody reads has no end.
        let mut left = log.size().at("look at", path.display())?;
        while left > 0 && log.read_line(&mut line).at("read", path.display())? {
            left = left.saturating_sub(line.len() as u64);
            match self.filter.last {
                Some(last) => {
                    if self.wants(&line) {
                        last_ones.push_back(std::mem::take(&mut line));
                    }
                    while last_ones.len() > last {
                        last_ones.pop_front();
                    }
                }
                None => self.show(&line, out, errors)?,
            }
            line.clear();
        }
        for line in last_ones {
            self.show(&line, out, errors)?;
        }
        out.flush().at("write", "the log")?;
        if self.filter.follow { self.follow(log, out, errors) } else { Ok(()) }
    }

    /// Waits for more until the container has ended.
    fn follow(
        &mut self,
        mut log: Growing,
        out: &mut dyn Write,
        errors: &mut dyn Write,
    ) -> Result<()> {
        let path = &self.record.log.path;
        let mut part = Vec::new();
        loop {
            // Looked at before the file: what was written before the end is seen after it.
            let life = self.containers.store.dirs(self.record).life()?;
            let active = matches!(life.phase, Phase::Running | Phase::Restarting);
            let mut any = false;
            while log.read_line(&mut part).at("read", path.display())? {
                any = true;
                if self.record.log.format == Format::Plain || part.ends_with(b"\n") {
                    self.show(&part, out, errors)?;
                    part.clear();
                }
            }
            out.flush().at("write", "the log")?;
            if !active && !any {
                return Ok(());
            }
            if !any {
                std::thread::sleep(LOOK);
            }
        }
    }

    fn wants(&self, line: &[u8]) -> bool {
        if self.record.log.format == Format::Plain {
            return true;
        }
        let Some(line) = parse(line) else { return true };
        let Ok(time) = line.time.parse::<Timestamp>() else { return true };
        self.filter.since.is_none_or(|since| time >= since)
            && self.filter.until.is_none_or(|until| time <= until)
    }

    fn show(&mut self, line: &[u8], out: &mut dyn Write, errors: &mut dyn Write) -> Result<()> {
        if !self.wants(line) {
            return Ok(());
        }
        let plain = self.record.log.format == Format::Plain;
        let Some(line) = parse(line).filter(|_| !plain) else {
            return out.write_all(line).at("write", "the log");
        };
        let to: &mut dyn Write = if line.errors { errors } else { out };
        let open = &mut self.open[usize::from(line.errors)];
        let mut text = Vec::new();
        if self.filter.times && !*open {
            text.extend_from_slice(line.time.as_bytes());
            text.push(b' ');
        }
        text.extend_from_slice(line.text);
        if line.whole {
            text.push(b'\n');
        }
        *open = !line.whole;
        to.write_all(&text).at("write", "the log")
    }
}

/// `TIME stdout|stderr F|P text`.
fn parse(line: &[u8]) -> Option<Line<'_>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let errors = match parts.next()? {
        b"stdout" => false,
        b"stderr" => true,
        _ => return None,
    };
    let whole = match parts.next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    Some(Line { time, errors, whole, text: parts.next()? })
}
