//! Commands under a watchdog, their output taken through files (a detached
//! container keeps its runtime's output open, so a pipe would never end).

use std::cell::RefCell;
use std::fs::{self, File};
use std::os::fd::{OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::Value;

use crate::case::User;
use crate::stage::USER_ID;
use crate::sys;
use crate::trial::Trial;

/// How long a command may take unless told otherwise, and how long is waited for anything:
/// a bound against hanging, since how fast a machine is, is not what is tested.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// One command, being put together.
pub struct Cmd<'t> {
    trial: &'t Trial,
    command: Command,
    text: String,
    stdin: Option<Stdio>,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
    timeout: Duration,
    user: User,
    fds: Vec<(RawFd, OwnedFd)>,
    cgroups: Vec<OwnedFd>,
    terminal: bool,
}

impl<'t> Cmd<'t> {
    /// A command run as the trial's user, in an environment of its own.
    pub fn new(trial: &'t Trial, program: &Path) -> Cmd<'t> {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir(trial.dir.join("home"));
        if trial.user == User::Ordinary {
            command.env("XDG_RUNTIME_DIR", trial.dir.join("run")).env("HOME", "/mnt/home");
        }
        Cmd {
            trial,
            command,
            text: program.display().to_string(),
            stdin: None,
            stdout: None,
            stderr: None,
            timeout: PATIENCE,
            user: trial.user,
            fds: Vec::new(),
            cgroups: Vec::new(),
            terminal: false,
        }
    }

    /// One more argument.
    pub fn arg(mut self, arg: &str) -> Self {
        self.command.arg(arg);
        self.text = format!("{} {arg}", self.text);
        self
    }

    /// More arguments.
    pub fn args<S: AsRef<str>>(self, args: &[S]) -> Self {
        args.iter().fold(self, |cmd, arg| cmd.arg(arg.as_ref()))
    }

    /// An environment variable.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.command.env(key, value);
        self
    }

    /// The working directory.
    pub fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Standard input from a text.
    pub fn input(mut self, text: &str) -> Self {
        let path = self.trial.dir.join("out").join(format!("{}.in", self.trial.next()));
        fs::write(&path, text).expect("write the input");
        self.stdin = Some(File::open(&path).expect("open the input").into());
        self
    }

    /// Standard input, output or error from elsewhere.
    pub fn stdio(mut self, number: u32, stdio: impl Into<Stdio>) -> Self {
        match number {
            0 => self.stdin = Some(stdio.into()),
            1 => self.stdout = Some(stdio.into()),
            _ => self.stderr = Some(stdio.into()),
        }
        self
    }

    /// Hands on a descriptor under the given number.
    pub fn fd(mut self, number: RawFd, fd: impl Into<OwnedFd>) -> Self {
        self.fds.push((number, fd.into()));
        self
    }

    /// Runs the command in the cgroup behind this open `cgroup.procs`.
    pub fn in_cgroup(mut self, procs: impl Into<OwnedFd>) -> Self {
        self.cgroups.push(procs.into());
        self
    }

    /// Runs as the superuser whatever the trial's user is.
    pub fn as_root(mut self) -> Self {
        self.user = User::Root;
        self
    }

    /// Makes standard input the controlling terminal of a new session.
    pub fn with_terminal(mut self) -> Self {
        self.terminal = true;
        self
    }

    /// Another watchdog time.
    pub fn timeout(mut self, seconds: u64) -> Self {
        self.timeout = Duration::from_secs(seconds);
        self
    }

    /// Starts it.
    pub fn spawn(mut self) -> Running {
        let base = self.trial.dir.join("out").join(self.trial.next().to_string());
        let (out, err) = (base.with_extension("out"), base.with_extension("err"));
        let capture = |path: &Path| {
            let file = File::options().create(true).append(true).read(true).open(path);
            let file = file.expect("create an output file");
            if self.user == User::Ordinary {
                rustix::fs::fchown(
                    &file,
                    Some(rustix::fs::Uid::from_raw(USER_ID)),
                    Some(rustix::fs::Gid::from_raw(USER_ID)),
                )
                .expect("chown an output file");
            }
            Stdio::from(file)
        };
        let stdout = self.stdout.take().unwrap_or_else(|| capture(&out));
        let stderr = self.stderr.take().unwrap_or_else(|| capture(&err));
        self.command
            .stdin(self.stdin.take().unwrap_or_else(Stdio::null))
            .stdout(stdout)
            .stderr(stderr);
        sys::join_cgroups(&mut self.command, self.cgroups);
        if self.terminal {
            sys::own_terminal(&mut self.command);
        }
        if self.user == User::Ordinary {
            sys::drop_to(&mut self.command, USER_ID, USER_ID);
        }
        sys::pass_fds(&mut self.command, self.fds);
        let child = self.command.spawn().unwrap_or_else(|e| panic!("start {}: {e}", self.text));
        Running { child: RefCell::new(child), text: self.text, out, err, timeout: self.timeout }
    }

    /// Runs it to its end; panics when the watchdog bites.
    pub fn run(self) -> Output {
        self.spawn().wait()
    }

    /// Runs it to its end, which must be a good one.
    pub fn ok(self) -> Output {
        self.run().ok()
    }
}

/// A command that is running.
pub struct Running {
    child: RefCell<Child>,
    text: String,
    out: PathBuf,
    err: PathBuf,
    timeout: Duration,
}

impl Running {
    /// Its pid.
    pub fn pid(&self) -> i32 {
        self.child.borrow().id() as i32
    }

    /// Sends it a signal.
    pub fn kill(&self, signal: i32) {
        sys::kill(self.pid(), signal);
    }

    /// Whether it is still there.
    pub fn alive(&self) -> bool {
        self.child.borrow_mut().try_wait().is_ok_and(|status| status.is_none())
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        read(&self.out)
    }

    /// Waits until its output holds `word`.
    pub fn wait_for(&self, word: &str) {
        wait_until(&format!("{word:?} from {}", self.text), || {
            self.printed().contains(word) || {
                assert!(self.alive(), "{} ended: {}{}", self.text, self.printed(), read(&self.err));
                false
            }
        });
    }

    /// Waits for its end; panics when the watchdog bites.
    pub fn wait(self) -> Output {
        let pid = Pid::from_raw(self.pid()).expect("a pid");
        let end = Instant::now() + self.timeout;
        if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) {
            loop {
                let left = end.saturating_duration_since(Instant::now());
                let left = rustix::event::Timespec::try_from(left).expect("a short time");
                match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&left)) {
                    Err(rustix::io::Errno::INTR) => continue,
                    Ok(0) => {
                        let _ = self.child.borrow_mut().kill();
                        let _ = self.child.borrow_mut().wait();
                        let said = format!("{}{}", read(&self.out), read(&self.err));
                        panic!(
                            "watchdog: {} s passed: {}: {said}",
                            self.timeout.as_secs(),
                            self.text
                        );
                    }
                    _ => break,
                }
            }
        }
        let status = self.child.borrow_mut().wait().expect("wait");
        use std::os::unix::process::ExitStatusExt;
        let code = status.code().unwrap_or_else(|| 1000 + status.signal().unwrap_or(0));
        Output { text: self.text, code, out: read(&self.out), err: read(&self.err) }
    }
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// What a command said and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command line, for messages.
    pub text: String,
    /// The exit status; 1000 + the signal where a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Output {
    /// Asserts success.
    #[track_caller]
    pub fn ok(self) -> Output {
        self.exits(0)
    }

    /// Asserts the exit status.
    #[track_caller]
    pub fn exits(self, code: i32) -> Output {
        assert!(
            self.code == code,
            "{}: exit {} instead of {code}\nstdout: {}\nstderr: {}",
            self.text,
            self.code,
            self.out,
            self.err
        );
        self
    }

    /// Asserts failure, whatever the status.
    #[track_caller]
    pub fn fails(self) -> Output {
        assert!(self.code != 0, "{}: succeeded\nstdout: {}", self.text, self.out);
        self
    }

    /// Asserts that standard error holds `word`.
    #[track_caller]
    pub fn says(self, word: &str) -> Output {
        assert!(
            self.err.contains(word),
            "{}: no {word:?} in stderr: {:?} stdout: {:?}",
            self.text,
            self.err,
            self.out
        );
        self
    }

    /// Asserts that standard output is `text`, blanks at its ends apart.
    #[track_caller]
    pub fn prints(self, text: &str) -> Output {
        assert_eq!(self.out.trim(), text, "{} (stderr: {})", self.text, self.err);
        self
    }

    /// Asserts that standard output holds `text`.
    #[track_caller]
    pub fn shows(self, text: &str) -> Output {
        assert!(
            self.out.contains(text),
            "{}: no {text:?} in stdout: {:?} (stderr: {})",
            self.text,
            self.out,
            self.err
        );
        self
    }

    /// Standard output without the blanks at its ends.
    pub fn trimmed(&self) -> &str {
        self.out.trim()
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| {
            panic!("{}: not JSON ({e}): {:?} {:?}", self.text, self.out, self.err)
        })
    }
}

/// Polls `probe` until it is true; panics naming `what` when patience ends.
#[track_caller]
pub fn wait_until(what: &str, mut probe: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !probe() {
        assert!(Instant::now() < end, "waited {PATIENCE:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
