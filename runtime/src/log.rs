//! The log: logrus's two formats, for the engines that read them.
//!
//! Nothing is opened or allocated until something is logged. A failure is one
//! line: podman reads the whole JSON log as a single object. Warnings in JSON
//! therefore wait until the launch has succeeded ([`flush`]); if it fails,
//! they are a field of the error's own line.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{IsTerminal, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cli::{Global, LogFormat};
use crate::error::{Result, Step};
use crate::shown::{self, shown};

/// How grave a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Only with `--debug`.
    Debug,
    /// Worth knowing.
    Info,
    /// Something asked for was not done.
    Warning,
    /// The command failed.
    Error,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }

    /// logrus's abbreviation and colour on a terminal.
    fn on_terminal(self) -> (&'static str, u8) {
        match self {
            Level::Debug => ("DEBU", 37),
            Level::Info => ("INFO", 36),
            Level::Warning => ("WARN", 33),
            Level::Error => ("ERRO", 31),
        }
    }
}

/// Where and how to log, and what waits.
struct Logger {
    debug: bool,
    json: bool,
    path: Option<PathBuf>,
    waiting: Mutex<Vec<(Level, String)>>,
}

static LOGGER: OnceLock<Logger> = OnceLock::new();
/// Warnings wait for whoever can write them.
static COLLECTING: AtomicBool = AtomicBool::new(false);

/// Takes the log's options; relative paths are those of this moment.
///
/// # Errors
/// Nothing can be written there: whoever reads that log must not take silence for
/// success. The log is standard error then.
pub fn init(global: &Global) -> Result<()> {
    let path = global.log.as_ref().filter(|path| path.as_os_str() != "/dev/stderr");
    let path = path.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()));
    let usable = path.as_deref().map_or(Ok(()), check);
    let _first_wins = LOGGER.set(Logger {
        debug: global.debug,
        json: global.log_format == LogFormat::Json,
        path: path.filter(|_| usable.is_ok()),
        waiting: Mutex::new(Vec::new()),
    });
    usable
}

/// Makes the log's file, as runc does. A pipe may have no reader yet.
fn check(path: &Path) -> Result<()> {
    let mut options = File::options();
    options.append(true).create(true).mode(0o644).custom_flags(libc::O_NONBLOCK);
    match options.open(path) {
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(()),
        opened => opened.map(drop).step(|| format!("--log: open {}", path.display())),
    }
}

/// Whether [`debug`] writes anything: ask before preparing what is costly.
pub fn debugging() -> bool {
    LOGGER.get().is_some_and(|logger| logger.debug)
}

/// Logs a debug message; `message` is called only with `--debug`.
pub fn debug<T: fmt::Display>(message: impl FnOnce() -> T) {
    if COLLECTING.load(Ordering::Relaxed) {
        return;
    }
    if let Some(logger) = LOGGER.get().filter(|logger| logger.debug) {
        logger.write(Level::Debug, &message().to_string(), &[]);
    }
}

/// Logs a warning: something asked for was not done, and why.
pub fn warn(message: impl fmt::Display) {
    tell(Level::Warning, message.to_string());
}

/// Logs what is worth knowing.
pub fn info(message: impl fmt::Display) {
    tell(Level::Info, message.to_string());
}

/// Logs what the container's streams show as well: nothing that is shown on standard error
/// twice.
pub fn printed(message: impl fmt::Display) {
    if logger().path.is_some() {
        info(message);
    }
}

fn tell(level: Level, message: String) {
    let logger = logger();
    if COLLECTING.load(Ordering::Relaxed) || (logger.json && !logger.debug) {
        logger.waiting().push((level, message));
    } else {
        logger.write(level, &message, &[]);
    }
}

/// From now on warnings wait, whatever the format: for a process that has
/// another root than the log's path speaks of, and hands them on ([`take`]).
pub fn collect() {
    COLLECTING.store(true, Ordering::Relaxed);
}

/// Takes the warnings that waited.
pub fn take() -> Vec<String> {
    std::mem::take(&mut *logger().waiting()).into_iter().map(|row| row.1).collect()
}

/// Writes the warnings that waited: nothing is expected to fail any more.
pub fn flush() {
    let Some(logger) = LOGGER.get() else { return };
    for (level, message) in std::mem::take(&mut *logger.waiting()) {
        logger.write(level, &message, &[]);
    }
}

/// Logs the error that ends this command: one line in the log, and plain on
/// standard error where the log is elsewhere.
pub fn fatal(error: impl fmt::Display) {
    let logger = logger();
    let message = error.to_string();
    let waited = std::mem::take(&mut *logger.waiting());
    let warnings: Vec<String> = waited.into_iter().map(|row| row.1).collect();
    let written = logger.write(Level::Error, &message, &warnings);
    if logger.path.is_some() || !written {
        // Nothing is left to tell of a closed standard error.
        let _ = writeln!(std::io::stderr(), "{}", shown(&message));
    }
}

fn logger() -> &'static Logger {
    LOGGER.get_or_init(|| Logger {
        debug: false,
        json: false,
        path: None,
        waiting: Mutex::new(Vec::new()),
    })
}

impl Logger {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<(Level, String)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One line, one write. False when it could not be written.
    fn write(&self, level: Level, message: &str, warnings: &[String]) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let Some(path) = &self.path else {
            let stderr = std::io::stderr();
            let line = match self.json {
                true => json_line(level, message, warnings, now),
                false if stderr.is_terminal() => terminal_line(level, message),
                false => text_line(level, message, now),
            };
            return stderr.lock().write_all(line.as_bytes()).is_ok();
        };
        let line = match self.json {
            true => json_line(level, message, warnings, now),
            false => text_line(level, message, now),
        };
        let file = File::options().append(true).create(true).mode(0o644).open(path);
        match file.and_then(|mut file| file.write_all(line.as_bytes())) {
            Ok(()) => true,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "log {}: {error}", path.display());
                false
            }
        }
    }
}

fn json_line(level: Level, message: &str, warnings: &[String], now: Duration) -> String {
    let mut line = format!("{{\"level\":\"{}\",\"msg\":", level.word());
    push_json(&mut line, message);
    line.push_str(",\"time\":\"");
    push_time(&mut line, now);
    line.push('"');
    if !warnings.is_empty() {
        line.push_str(",\"warnings\":[");
        for (at, warning) in warnings.iter().enumerate() {
            if at > 0 {
                line.push(',');
            }
            push_json(&mut line, warning);
        }
        line.push(']');
    }
    line.push_str("}\n");
    line
}

fn text_line(level: Level, message: &str, now: Duration) -> String {
    let mut line = String::from("time=\"");
    push_time(&mut line, now);
    line.push_str(&format!("\" level={} msg=", level.word()));
    push_quoted(&mut line, message);
    line.push('\n');
    line
}

fn terminal_line(level: Level, message: &str) -> String {
    let (word, colour) = level.on_terminal();
    format!("\x1b[{colour}m{word}\x1b[0m[0000] {}\n", shown(message))
}

/// A JSON string (RFC 8259, section 7). Engines print it as it is to their users' terminals,
/// so control characters are told, not passed on.
fn push_json(line: &mut String, text: &str) {
    line.push('"');
    for letter in shown(text).chars() {
        if matches!(letter, '"' | '\\') {
            line.push('\\');
        }
        line.push(letter);
    }
    line.push('"');
}

/// logrus quotes a value (as Go's `%q`) unless it is one plain word.
fn push_quoted(line: &mut String, text: &str) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/@^+".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        line.push_str(text);
        return;
    }
    line.push('"');
    for letter in text.chars() {
        if matches!(letter, '"' | '\\') {
            line.push('\\');
        }
        shown::push(line, letter);
    }
    line.push('"');
}

/// RFC 3339 with nanoseconds, in UTC.
pub fn push_time(line: &mut String, since_epoch: Duration) {
    let seconds = since_epoch.as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let _ = write!(
        line,
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}Z",
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
        since_epoch.subsec_nanos()
    );
}

/// Year, month and day of a number of days since 1970-01-01: counted from
/// 1 March of year 0, in eras of 400 years.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: u64, nanos: u32) -> String {
        let mut text = String::new();
        push_time(&mut text, Duration::new(seconds, nanos));
        text
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(time(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(time(951_827_696, 5), "2000-02-29T12:34:56.000000005Z");
        assert_eq!(time(1_709_251_199, 999_999_999), "2024-02-29T23:59:59.999999999Z");
        assert_eq!(time(4_107_542_400, 0), "2100-03-01T00:00:00.000000000Z");
        assert_eq!(time(1_798_761_599, 0), "2026-12-31T23:59:59.000000000Z");
    }

    #[test]
    fn a_json_line_parses_whatever_is_said() {
        let said = "exec: \"x\\y\": \n\t\u{1}\u{202e}é";
        let line = json_line(Level::Error, said, &["w \"1\"".into(), "2".into()], Duration::ZERO);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["level"], "error");
        assert_eq!(value["msg"], "exec: \"x\\y\": \\n\\t\\x01\\u202eé");
        assert_eq!(value["time"], "1970-01-01T00:00:00.000000000Z");
        assert_eq!(value["warnings"][0], "w \"1\"");
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn a_text_line_is_logrus_s() {
        let line = text_line(Level::Error, "a \"b\"\n", Duration::ZERO);
        assert_eq!(
            line,
            "time=\"1970-01-01T00:00:00.000000000Z\" level=error msg=\"a \\\"b\\\"\\n\"\n"
        );
        assert!(
            text_line(Level::Warning, "plain", Duration::ZERO)
                .ends_with("level=warning msg=plain\n")
        );
    }
}
