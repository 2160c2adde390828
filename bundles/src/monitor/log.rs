//! Where output goes: a file that is rotated, the journal, or nowhere. Nothing here ever blocks
//! the payload: what cannot be written is counted.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::journal::Journal;
use super::lines::{Stream, render};
use crate::error::{At, Result};
use crate::store::{Driver, LogOptions, Record};

/// Bytes that are written at once: at most, and at least.
const PIECE: usize = 64 << 10;
const SMALLEST: usize = 1 << 10;

/// Where output goes.
pub enum Log {
    /// Nowhere.
    None,
    /// A file.
    File(LogFile),
    /// systemd's journal.
    Journal(Journal),
}

impl Log {
    /// Opens it.
    ///
    /// # Errors
    /// A file that cannot be made; no journal.
    pub fn open(record: &Record) -> Result<Log> {
        match record.log.driver {
            Driver::None => Ok(Log::None),
            Driver::File => LogFile::open(&record.log).map(Log::File),
            Driver::Journald => Journal::open(record).map(Log::Journal),
        }
    }

    /// Writes what the payload has written.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) {
        match self {
            Log::None => {}
            Log::File(file) => file.write(stream, bytes),
            Log::Journal(journal) => journal.write(stream, bytes),
        }
    }

    /// The payload has ended: a last line without an end is one all the same.
    pub fn end(&mut self) {
        if let Log::Journal(journal) = self {
            journal.end();
        }
    }

    /// Bytes of output that are lost so far.
    pub fn lost(&self) -> u64 {
        match self {
            Log::None => 0,
            Log::File(file) => file.lost,
            Log::Journal(journal) => journal.lost,
        }
    }
}

/// A log file.
pub struct LogFile {
    options: LogOptions,
    file: File,
    size: u64,
    lost: u64,
    /// Of these the file does not speak yet.
    unsaid: u64,
    /// Why.
    cause: String,
    /// The last line in the file was cut off.
    cut: bool,
}

impl LogFile {
    fn open(options: &LogOptions) -> Result<LogFile> {
        if let Some(dir) = options.path.parent() {
            fs::create_dir_all(dir).at("make the log's directory", dir.display())?;
        }
        let file = append(&options.path).at("open the log", options.path.display())?;
        let size = file.metadata().map(|file| file.len()).unwrap_or_default();
        Ok(LogFile {
            options: options.clone(),
            file,
            size,
            lost: 0,
            unsaid: 0,
            cause: String::new(),
            cut: false,
        })
    }

    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let time = now();
        if self.unsaid > 0 {
            self.say_what_was_lost(&time);
        }
        // Small files are not much larger than they may be.
        let piece = match self.options.max_size {
            0 => PIECE,
            size => (size as usize / 4).clamp(SMALLEST, PIECE),
        };
        render(self.options.format, &time, stream, bytes, piece, |part, meant| {
            self.append(part, meant);
        });
    }

    fn say_what_was_lost(&mut self, time: &str) {
        let (unsaid, cause) = (self.unsaid, &self.cause);
        let note = format!("rich-monitor: {unsaid} bytes of output were lost here: {cause}\n");
        let mut line = Vec::new();
        render(self.options.format, time, Stream::Errors, note.as_bytes(), PIECE, |part, _| {
            line.extend_from_slice(part);
        });
        if self.put(&line).is_ok() {
            self.unsaid = 0;
        }
    }

    /// Appends a piece that stands for so many bytes of output.
    fn append(&mut self, piece: &[u8], meant: u64) {
        if self.options.max_size > 0 && self.size >= self.options.max_size {
            self.rotate();
        }
        if let Err(error) = self.put(piece) {
            let text = error.to_string();
            self.cause = text.split(" (os error").next().unwrap_or_default().to_owned();
            self.lost += meant;
            self.unsaid += meant;
        }
    }

    /// Writes all or says what failed. After a line that was cut off a new one begins.
    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if self.cut {
            self.file.write_all(b"\n")?;
            self.cut = false;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.size += count as u64;
                    self.cut = rest[count - 1] != b'\n' && count < rest.len();
                    rest = &rest[count..];
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Moves the file aside and begins another. Where that fails the old one goes on.
    fn rotate(&mut self) {
        let path = &self.options.path;
        let last = self.options.max_files.max(1) - 1;
        if last == 0 {
            if self.file.set_len(0).is_ok() {
                self.size = 0;
            }
            return;
        }
        for number in (1..last).rev() {
            let _ = fs::rename(numbered(path, number), numbered(path, number + 1));
        }
        if fs::rename(path, numbered(path, 1)).is_err() {
            return;
        }
        match append(path) {
            Ok(file) => {
                self.file = file;
                self.size = 0;
                self.cut = false;
            }
            // Written to under its old name until the next try.
            Err(_) => drop(fs::rename(numbered(path, 1), path)),
        }
    }
}

/// `NAME.log.3`.
pub fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn append(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// Now, as Kubernetes' logs have it: nanoseconds, UTC.
fn now() -> String {
    format!("{:.9}", Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Format;

    #[test]
    fn files_are_rotated_by_size_and_count() {
        let dir = std::env::temp_dir().join(format!("rich-bundles-log-{}", std::process::id()));
        let path = dir.join("a.log");
        let options = LogOptions {
            driver: Driver::File,
            format: Format::Plain,
            path: path.clone(),
            max_size: 10,
            max_files: 3,
        };
        let mut log = LogFile::open(&options).expect("open");
        for number in 0..6 {
            log.write(Stream::Output, format!("line-{number}--\n").as_bytes());
        }
        let read = |path: &Path| fs::read_to_string(path).expect("read");
        assert_eq!(read(&path), "line-4--\nline-5--\n");
        assert_eq!(read(&numbered(&path, 1)), "line-2--\nline-3--\n");
        assert!(!numbered(&path, 3).exists());
        fs::remove_dir_all(dir).expect("clean up");
    }

    #[test]
    fn what_a_full_disk_swallows_is_counted_and_said() {
        let options = LogOptions { path: "/dev/full".into(), ..LogOptions::default() };
        let mut log = LogFile::open(&options).expect("open");
        log.write(Stream::Output, b"four\n");
        assert_eq!((log.lost, log.unsaid), (5, 5));
        let dir = std::env::temp_dir().join(format!("rich-bundles-full-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("make");
        log.file = append(&dir.join("log")).expect("open");
        log.write(Stream::Output, b"again\n");
        let text = fs::read_to_string(dir.join("log")).expect("read");
        assert!(text.contains("5 bytes of output were lost here: No space left"), "{text}");
        assert!(text.ends_with("stdout F again\n"), "{text}");
        assert_eq!((log.lost, log.unsaid), (5, 0));
        fs::remove_dir_all(dir).expect("clean up");
    }
}
