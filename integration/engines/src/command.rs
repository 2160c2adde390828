//! One command under a watchdog, and what came of it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// How long a command may take before the watchdog ends it, and how long is waited for
/// anything: a bound against hanging, since how fast a machine is, is not what is tested.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// What came of a command.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The command line, for messages.
    pub line: String,
    /// The exit status; 128 and the signal's number where a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// The outcome if the exit status is `code`, else an error with all of it.
    pub fn exits(self, code: i32) -> Result<Self, String> {
        if self.code == code {
            Ok(self)
        } else {
            Err(format!("exit status {code} expected: {self}"))
        }
    }

    /// Standard output, trimmed, of a command that succeeded.
    pub fn text(self) -> Result<String, String> {
        Ok(self.exits(0)?.stdout.trim().to_owned())
    }

    /// Fails unless standard output, trimmed, is `expected` and the status 0.
    pub fn prints(self, expected: &str) -> crate::Verdict {
        let outcome = self.exits(0)?;
        if outcome.stdout.trim() == expected {
            return Ok(());
        }
        Err(format!("output {expected:?} expected: {outcome}"))
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "`{}` gave {}\n--- stdout\n{}\n--- stderr\n{}",
            self.line, self.code, self.stdout, self.stderr
        )
    }
}

/// Runs `command` with `input` on its standard input; ends it and all of its
/// process group after `patience`. Output goes to files, because a daemon that
/// inherits a pipe would keep it open for ever.
pub fn run(mut command: Command, input: &[u8], patience: Duration) -> Result<Outcome, String> {
    let line = line_of(&command);
    let (mut stdin, stdout, stderr) = (scratch()?, scratch()?, scratch()?);
    stdin
        .write_all(input)
        .and_then(|()| stdin.rewind())
        .map_err(|error| format!("{line}: stdin: {error}"))?;
    command
        .stdin(Stdio::from(stdin))
        .stdout(share(&stdout)?)
        .stderr(share(&stderr)?)
        .process_group(0);
    let mut child = command.spawn().map_err(|error| format!("{line}: {error}"))?;
    let status = wait(&mut child, patience);
    let (stdout, stderr) = (read(stdout), read(stderr));
    match status {
        Ok(status) => Ok(Outcome { line, code: code_of(status), stdout, stderr }),
        Err(reason) => {
            Err(format!("`{line}` {reason}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"))
        }
    }
}

/// Waits for `child`, a leader of its process group, and kills the group when
/// patience ends.
pub fn wait(child: &mut Child, patience: Duration) -> Result<ExitStatus, String> {
    if let Ok(Some(status)) = child.try_wait() {
        return Ok(status);
    }
    let pid = Pid::from_child(child);
    let pidfd =
        pidfd_open(pid, PidfdFlags::empty()).map_err(|error| format!("pidfd_open: {error}"))?;
    let limit =
        Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: i64::from(patience.subsec_nanos()) };
    let ended =
        rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit)))
            .map_err(|error| format!("poll: {error}"))?;
    if ended == 0 {
        let _ = kill_process_group(pid, Signal::KILL);
    }
    let status = child.wait().map_err(|error| format!("wait: {error}"))?;
    if ended == 0 { Err(format!("did not end within {patience:?}")) } else { Ok(status) }
}

/// The exit code a shell would report.
pub fn code_of(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// The command line, as a person would type it, more or less.
pub fn line_of(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether `program` is an executable file, by path or on the search path.
pub fn find(program: &str) -> Option<std::path::PathBuf> {
    if program.contains('/') {
        return Some(program.into()).filter(|path: &std::path::PathBuf| path.is_file());
    }
    let search = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    search.split(':').map(|dir| Path::new(dir).join(program)).find(|path| path.is_file())
}

/// An anonymous temporary file.
fn scratch() -> Result<File, String> {
    use rustix::fs::{MemfdFlags, memfd_create};
    memfd_create("richrun-engines", MemfdFlags::CLOEXEC)
        .map(File::from)
        .map_err(|error| format!("memfd_create: {error}"))
}

fn share(file: &File) -> Result<Stdio, String> {
    file.try_clone().map(Stdio::from).map_err(|error| format!("dup: {error}"))
}

fn read(mut file: File) -> String {
    let mut bytes = Vec::new();
    let _ = file.seek(SeekFrom::Start(0));
    let _ = file.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
