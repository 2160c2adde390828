//! The OCI runtime as typed calls: `richrun`, or any program with runc's command line, or a
//! caller's own [`Runtime`].

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::error::{At, Error, Kind, Result};
use crate::store::{Place, Record};

/// What `create` and `run` are told.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// The container's id.
    pub id: String,
    /// The directory with config.json.
    pub bundle: PathBuf,
    /// Where to write the first process's id.
    pub pid_file: PathBuf,
    /// Where to send the terminal's master end.
    pub console_socket: Option<PathBuf>,
    /// More options: `--rich`.
    pub options: Vec<String>,
}

/// A process beside the payload.
#[derive(Debug, Clone, Default)]
pub struct Exec {
    /// The container's id.
    pub id: String,
    /// The command and its arguments.
    pub args: Vec<String>,
    /// More variables, `KEY=VALUE`.
    pub env: Vec<String>,
    /// Its directory; the payload's where nothing is said.
    pub cwd: Option<String>,
    /// `UID[:GID]`; the payload's where nothing is said.
    pub user: Option<String>,
    /// Whether it has a terminal: the caller's is put through.
    pub tty: bool,
}

/// A container as the runtime says it is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct State {
    /// `creating`, `created`, `running`, `paused` or `stopped`.
    pub status: String,
    /// Its first process.
    #[serde(default)]
    pub pid: i32,
    /// Its bundle.
    pub bundle: PathBuf,
}

/// The standard streams of what is launched.
pub struct Streams {
    /// Standard input.
    pub input: Stdio,
    /// Standard output.
    pub output: Stdio,
    /// Standard error.
    pub error: Stdio,
}

impl Streams {
    /// All of them nothing.
    pub fn null() -> Streams {
        Streams { input: Stdio::null(), output: Stdio::null(), error: Stdio::null() }
    }

    /// The caller's own.
    pub fn inherit() -> Streams {
        Streams { input: Stdio::inherit(), output: Stdio::inherit(), error: Stdio::inherit() }
    }
}

/// An OCI runtime.
pub trait Runtime: Send + Sync {
    /// Sets a container up; its first process is a child of the caller, or of the nearest subreaper.
    ///
    /// # Errors
    /// What the runtime says.
    fn create(&self, launch: &Launch, streams: Streams) -> Result<()>;
    /// Starts what [`Runtime::create`] made.
    ///
    /// # Errors
    /// What the runtime says.
    fn start(&self, id: &str) -> Result<()>;
    /// Both in one, in the background.
    ///
    /// # Errors
    /// What the runtime says.
    fn run(&self, launch: &Launch, streams: Streams) -> Result<()>;
    /// Runs a process beside the payload and waits for it: its exit status.
    ///
    /// # Errors
    /// What the runtime says.
    fn exec(&self, exec: &Exec, streams: Streams) -> Result<i32>;
    /// Sends a signal, by name or number, to the first process, or to all.
    ///
    /// # Errors
    /// What the runtime says.
    fn kill(&self, id: &str, signal: &str, all: bool) -> Result<()>;
    /// Removes a container; with `force` one that runs, and one that is not there is no error.
    ///
    /// # Errors
    /// What the runtime says.
    fn delete(&self, id: &str, force: bool) -> Result<()>;
    /// How it is.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; what the runtime says.
    fn state(&self, id: &str) -> Result<State>;
    /// The ids of its processes, as the host has them.
    ///
    /// # Errors
    /// What the runtime says.
    fn processes(&self, id: &str) -> Result<Vec<i32>>;
}

/// A runtime that is a program with runc's command line.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program.
    pub path: PathBuf,
    /// Its `--root`.
    pub root: PathBuf,
    /// More global options.
    pub options: Vec<String>,
}

impl Program {
    /// The runtime of a container.
    pub fn of(record: &Record) -> Program {
        Program {
            path: record.runtime.clone(),
            root: record.runtime_root.clone(),
            options: record.runtime_options.clone(),
        }
    }

    /// The runtime that was asked for, else `richrun` beside this program, else on the PATH.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn find(asked: Option<&Path>, place: &Place) -> Result<Program> {
        let path = match asked {
            Some(path) => program(path.as_os_str().to_owned())?,
            None => program("richrun".into())?,
        };
        Ok(Program { path, root: place.runtime_root(), options: Vec::new() })
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.path);
        command.arg("--root").arg(&self.root).args(&self.options).arg(verb);
        command
    }

    fn launch(&self, verb: &str, detach: bool, launch: &Launch, streams: Streams) -> Result<()> {
        // A container's standard error is the runtime's own: what the runtime has to say goes to a file.
        let log = launch.pid_file.with_extension("log");
        let _ = fs::remove_file(&log);
        let mut command = Command::new(&self.path);
        command.arg("--root").arg(&self.root).args(&self.options);
        command.arg("--log").arg(&log).arg(verb);
        command.args(detach.then_some("--detach"));
        command.arg("--bundle").arg(&launch.bundle).arg("--pid-file").arg(&launch.pid_file);
        if let Some(socket) = &launch.console_socket {
            command.arg("--console-socket").arg(socket);
        }
        command.args(&launch.options).arg(&launch.id);
        command.stdin(streams.input).stdout(streams.output).stderr(streams.error);
        let status = command.status().at("run", self.path.display())?;
        if status.success() {
            return Ok(());
        }
        let said = fs::read_to_string(&log).unwrap_or_default();
        Err(Error::new(Kind::Program, self.said(&said)))
    }

    /// Runs a command whose answer is its output.
    fn ask(&self, mut command: Command) -> Result<Vec<u8>> {
        let output = command.stdin(Stdio::null()).output().at("run", self.path.display())?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let kind = if said.contains("does not exist") { Kind::NotFound } else { Kind::Program };
        Err(Error::new(kind, self.said(&said)))
    }

    /// The last message of a runtime's log, in one line.
    fn said(&self, log: &str) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let last = log.lines().rfind(|line| line.contains("level=error")).or(log.lines().last());
        match last {
            None => format!("{name} failed and said nothing"),
            Some(line) => format!("{name}: {}", message(line)),
        }
    }
}

/// The message of a line `time="..." level=error msg="..."`, or the line.
fn message(line: &str) -> String {
    let Some((_, rest)) = line.split_once("msg=\"") else { return line.trim().to_owned() };
    let rest = rest.strip_suffix('"').unwrap_or(rest);
    rest.replace("\\\"", "\"").replace("\\n", " ").replace("\\\\", "\\")
}

/// A program by its path, or by its name beside this program or on the PATH.
///
/// # Errors
/// [`Kind::NotFound`].
pub fn program(name: OsString) -> Result<PathBuf> {
    let path = PathBuf::from(&name);
    if path.components().count() > 1 {
        return std::path::absolute(&path).at("find", path.display());
    }
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent).map(Path::to_owned);
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let all = beside.into_iter().chain(std::env::split_paths(&paths));
    all.map(|dir| dir.join(&path)).find(|path| path.is_file()).ok_or_else(|| {
        let name = path.display();
        Error::new(Kind::NotFound, format!("no program {name}: install it or give its path"))
    })
}

impl Runtime for Program {
    fn create(&self, launch: &Launch, streams: Streams) -> Result<()> {
        self.launch("create", false, launch, streams)
    }

    fn start(&self, id: &str) -> Result<()> {
        let mut command = self.command("start");
        command.arg(id);
        self.ask(command).map(drop)
    }

    fn run(&self, launch: &Launch, streams: Streams) -> Result<()> {
        self.launch("run", true, launch, streams)
    }

    fn exec(&self, exec: &Exec, streams: Streams) -> Result<i32> {
        let mut command = self.command("exec");
        command.args(exec.tty.then_some("--tty"));
        for variable in &exec.env {
            command.arg("--env").arg(variable);
        }
        for (option, value) in [("--cwd", &exec.cwd), ("--user", &exec.user)] {
            if let Some(value) = value {
                command.arg(option).arg(value);
            }
        }
        command.arg(&exec.id).args(&exec.args);
        command.stdin(streams.input).stdout(streams.output).stderr(streams.error);
        let status = command.status().at("run", self.path.display())?;
        let by_signal = std::os::unix::process::ExitStatusExt::signal(&status);
        Ok(status.code().unwrap_or(128 + by_signal.unwrap_or(0)))
    }

    fn kill(&self, id: &str, signal: &str, all: bool) -> Result<()> {
        let mut command = self.command("kill");
        command.args(all.then_some("--all")).arg(id).arg(signal);
        self.ask(command).map(drop)
    }

    fn delete(&self, id: &str, force: bool) -> Result<()> {
        let mut command = self.command("delete");
        command.args(force.then_some("--force")).arg(id);
        match self.ask(command) {
            Err(error) if force && error.kind == Kind::NotFound => Ok(()),
            done => done.map(drop),
        }
    }

    fn state(&self, id: &str) -> Result<State> {
        let mut command = self.command("state");
        command.arg(id);
        let text = self.ask(command)?;
        serde_json::from_slice(&text).at("read the state of", id)
    }

    fn processes(&self, id: &str) -> Result<Vec<i32>> {
        let mut command = self.command("ps");
        command.arg("--format").arg("json").arg(id);
        let text = self.ask(command)?;
        let ids: Option<Vec<i32>> =
            serde_json::from_slice(&text).at("read the processes of", id)?;
        Ok(ids.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtimes_last_word_is_its_message() {
        let log = "time=\"x\" level=warning msg=\"old\"\ntime=\"x\" level=error msg=\"no \\\"such\\\" thing\"\n";
        let program = Program { path: "/bin/runc".into(), root: "/r".into(), options: Vec::new() };
        assert_eq!(program.said(log), "runc: no \"such\" thing");
        assert_eq!(program.said(""), "runc failed and said nothing");
    }
}
