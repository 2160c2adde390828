//! The foreground against real processes, terminals and signals.
//!
//! This program is its own subject: started with `FOREGROUND_PROBE` set it is
//! a small `run`: single-threaded, it starts its arguments as a child, with a
//! terminal or without, and waits as the runtime does.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use richrun::launch::console::{self, Size};
use richrun::launch::foreground::{Child as Waited, Foreground};
use richrun::launch::terminal_relay::TerminalRelay;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, tcgetattr, tcgetwinsize};

const PROBE: &str = "FOREGROUND_PROBE";

fn main() -> ExitCode {
    // What we were started with (nohup, a background job of a shell) must not
    // reach the payloads: an ignored signal stays ignored, and cannot be trapped.
    richrun::sys::process::reset_signals();
    if let Some(kind) = std::env::var_os(PROBE) {
        return ExitCode::from(probe(kind == "terminal"));
    }
    libtest_mimic::run(&Arguments::from_args(), trials()).exit_code()
}

/// What `run` does once the container is there.
#[allow(clippy::zombie_processes)] // `Foreground::wait` reaps it
fn probe(terminal: bool) -> u8 {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let mut command = Command::new(&words[0]);
    let mut master = None;
    if terminal {
        let pty = open_pty(None);
        command = Command::new("setsid");
        command.args(["-c", "--"]).arg(&words[0]);
        command.stdin(pty.terminal.try_clone().unwrap());
        command.stdout(pty.terminal.try_clone().unwrap());
        command.stderr(pty.terminal);
        master = Some(pty.master);
    } else {
        command.process_group(0);
    }
    let child = command.args(&words[1..]).env_remove(PROBE).spawn().unwrap();
    drop(command);
    // After the spawn: std hands the signal mask on, the runtime does not.
    let foreground = Foreground::begin(true).unwrap();
    let pid = child.id() as i32;
    let pidfd = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
    foreground
        .wait(Waited { pid, pidfd: pidfd.as_fd(), stop: None }, TerminalRelay::new(master), None)
        .unwrap()
        .code
}

/// One of the host's: its `/dev/pts/ptmx` is root's alone, `/dev/ptmx` is everybody's.
fn open_pty(size: Option<Size>) -> console::Pty {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).unwrap();
    unlockpt(&master).unwrap();
    let terminal = ioctl_tiocgptpeer(&master, flags).unwrap();
    if let Some(size) = size {
        console::resize(master.as_fd(), size).unwrap();
    }
    console::Pty { master, terminal }
}

fn trials() -> Vec<Trial> {
    let trial = |name: &str, run: fn()| {
        Trial::test(name, move || {
            run();
            Ok::<(), Failed>(())
        })
    };
    vec![
        trial("exit statuses are the payload's, 128 and n for a signal", exit_statuses),
        trial("a thousand short payloads: no exit is lost", no_exit_is_lost),
        trial("signals are passed on, real-time ones too", signals_are_passed_on),
        trial("orphans are adopted and reaped", orphans_are_reaped),
        trial("all output of a terminal arrives, whatever ends first", all_output_arrives),
        trial("a reader that does not read delays neither signals nor the end", stuck_reader),
        trial("our terminal is raw meanwhile and restored afterwards", raw_and_restored),
        trial("keys reach the payload: end of file, interrupt", keys_reach_the_payload),
        trial("the window's size is the payload's, changes too", window_size),
        trial("a stopped job gives the terminal back, and takes it again", job_control),
        trial("a terminal that a descendant keeps does not hang us", kept_terminal),
    ]
}

fn start(kind: &str, script: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["bash", "-c", script]).env(PROBE, kind).stdin(Stdio::null());
    command
}

/// Waits at most `seconds`; a process that takes longer fails the test.
fn status_within(child: &mut Child, seconds: u64) -> i32 {
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or_else(|| panic!("died: {:?}", status.signal()));
        }
        if Instant::now() > end {
            child.kill().unwrap();
            panic!("still there after {seconds} s");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn eventually(what: &str, mut good: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !good() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn send(child: &Child, signal: i32) {
    let pid = pidfd_open(Pid::from_raw(child.id() as i32).unwrap(), PidfdFlags::empty()).unwrap();
    richrun::sys::signals::send(pid.as_fd(), signal).unwrap();
}

fn exit_statuses() {
    for kind in ["plain", "terminal"] {
        for code in [0, 1, 42, 127, 128, 255] {
            let mut child = start(kind, &format!("exit {code}")).spawn().unwrap();
            assert_eq!(status_within(&mut child, 10), code, "{kind}");
        }
        for signal in [1, 6, 9, 11, 15, 34, 64] {
            let script = format!("ulimit -c 0; kill -{signal} $$; sleep 5");
            let mut child = start(kind, &script).spawn().unwrap();
            assert_eq!(status_within(&mut child, 10), 128 + signal, "{kind} {signal}");
        }
    }
}

fn no_exit_is_lost() {
    for round in 0..1000 {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = command.arg("true").env(PROBE, "plain").spawn().unwrap();
        assert_eq!(status_within(&mut child, 10), 0, "round {round}");
    }
}

/// Waits until the parent listens. A mask would not do: while it starts a child everything is blocked.
const LISTENING: &str = "until ls -l /proc/$PPID/fd | grep -q signalfd; do sleep 0.01; done";

fn signals_are_passed_on() {
    for kind in ["plain", "terminal"] {
        for signal in [1, 2, 3, 10, 12, 13, 15, 30, 37, 64] {
            // Not before our parent has blocked its signals: it begins to listen
            // only after it has started us.
            let script = format!(
                "trap 'echo got; exit 7' {signal}; {LISTENING}; echo ready; while :; do sleep 0.02; done"
            );
            let mut child = start(kind, &script).stdout(Stdio::piped()).spawn().unwrap();
            let mut out = child.stdout.take().unwrap();
            let mut line = [0; 6];
            out.read_exact(&mut line).unwrap();
            assert_eq!(&line, b"ready\n", "{kind} {signal}");
            send(&child, signal);
            assert_eq!(status_within(&mut child, 10), 7, "{kind} {signal}");
            let mut rest = String::new();
            out.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, "got\n", "{kind} {signal}");
        }
    }
}

fn orphans_are_reaped() {
    let script =
        "for i in 1 2 3; do setsid sh -c 'sleep 0.05 & exit' ; done; echo started; sleep 1.5";
    let mut child = start("plain", script).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = [0; 8];
    child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    let path = format!("/proc/{0}/task/{0}/children", child.id());
    eventually("only the payload is left", || {
        std::fs::read_to_string(&path).unwrap().split_whitespace().count() == 1
    });
    assert_eq!(status_within(&mut child, 10), 0);
}

fn all_output_arrives() {
    // This program starts its child before it waits: the terminal is not yet as it will be.
    let script = "while stty -a | grep -q ' onlcr'; do :; done; seq 1 20000";
    for _ in 0..20 {
        let mut child = start("terminal", script).stdout(Stdio::piped()).spawn().unwrap();
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(status_within(&mut child, 10), 0);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 20000);
        assert_eq!(lines.last(), Some(&"20000"));
        assert!(!text.contains('\r'), "newlines stay as they are");
    }
}

fn stuck_reader() {
    let script = "trap 'exit 9' USR1; (yes | head -c 1000000) & while :; do sleep 0.02; done";
    let mut child = start("terminal", script).stdout(Stdio::piped()).spawn().unwrap();
    let out = child.stdout.take().unwrap();
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let first =
        || std::fs::read_to_string(&children).unwrap().split_whitespace().next().map(str::to_owned);
    eventually("a payload", || first().is_some());
    let payload = format!("/proc/{}/status", first().unwrap());
    let status = |name: &str| {
        let all = std::fs::read_to_string(&payload).unwrap_or_default();
        let line = all.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().to_owned()
    };
    // The trap is set before anything is put out, and nobody reads that.
    let pipe = File::options().write(true).open(format!("/proc/{}/fd/1", child.id())).unwrap();
    eventually("a full pipe", || {
        let mut fds = [PollFd::new(&pipe, PollFlags::OUT)];
        poll(&mut fds, Some(&Timespec::default())).unwrap() == 0
    });
    drop(pipe);
    send(&child, 10);
    eventually("its end", || status("State:").is_empty() || status("State:").starts_with('Z'));
    assert!(child.try_wait().unwrap().is_none(), "there is output to deliver");
    send(&child, 15);
    assert_eq!(status_within(&mut child, 10), 9);
    drop(out);
}

/// A user at a terminal, and the probe as that terminal's foreground job.
struct User {
    keys: File,
    screen: OwnedFd,
    child: Child,
    shown: std::sync::mpsc::Receiver<Vec<u8>>,
    seen: String,
}

impl User {
    fn new(script: &str) -> User {
        let pty = open_pty(Some(Size { rows: 11, columns: 22 }));
        let mut command = Command::new("setsid");
        command.args(["-c", "--"]).arg(std::env::current_exe().unwrap());
        // This program starts its child before it waits: the terminal is not yet as it will be.
        let script = format!("read -r _go; {script}");
        command.args(["bash", "-c", &script]).env(PROBE, "terminal");
        command.stdin(pty.terminal.try_clone().unwrap());
        command.stdout(pty.terminal.try_clone().unwrap());
        command.stderr(pty.terminal.try_clone().unwrap());
        let child = command.spawn().unwrap();
        let keys = File::from(pty.master);
        let mut reading = keys.try_clone().unwrap();
        let (sender, shown) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reading.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let mut user = User { keys, screen: pty.terminal, child, shown, seen: String::new() };
        eventually("raw", || user.is_raw());
        user.types("\n");
        user
    }

    fn sees(&mut self, text: &str) {
        let end = Instant::now() + Duration::from_secs(10);
        while !self.seen.contains(text) {
            let left = end.saturating_duration_since(Instant::now());
            match self.shown.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("never shown: {text:?}; shown: {:?}", self.seen),
            }
        }
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.screen).unwrap().local_modes.contains(LocalModes::ICANON)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.child.kill();
        }
    }
}

fn raw_and_restored() {
    let mut user = User::new("echo up; read -r _go; kill -9 $$");
    user.sees("up\r\n");
    assert!(user.is_raw());
    user.types("\n");
    assert_eq!(status_within(&mut user.child, 10), 137);
    assert!(!user.is_raw());
}

fn keys_reach_the_payload() {
    let mut user = User::new("echo up; cat; echo end; exit 5");
    user.sees("up\r\n");
    user.types("hello\n");
    user.sees("hello\r\nhello\r\n");
    user.types("\u{4}");
    user.sees("end");
    assert_eq!(status_within(&mut user.child, 10), 5);
    let mut user = User::new("echo up; exec sleep 60");
    user.sees("up");
    user.types("\u{3}");
    assert_eq!(status_within(&mut user.child, 10), 130);
}

fn window_size() {
    let script = "trap 'stty size; exit' WINCH; stty size; while :; do sleep 0.02; done";
    let mut user = User::new(script);
    user.sees("11 22\r\n");
    console::resize(user.keys.as_fd(), Size { rows: 33, columns: 44 }).unwrap();
    user.sees("33 44\r\n");
    assert_eq!(status_within(&mut user.child, 10), 0);
    assert_eq!(tcgetwinsize(&user.screen).unwrap().ws_row, 33);
}

fn job_control() {
    let mut user = User::new("echo up; sleep 0.5; read line; echo \"got $line\"; exit 3");
    user.sees("up");
    assert!(user.is_raw());
    // A session leader's group is orphaned: only STOP stops it, which is what
    // the runtime sends itself.
    send(&user.child, libc::SIGTSTP);
    let state = format!("/proc/{}/stat", user.child.id());
    eventually("stopped", || std::fs::read_to_string(&state).unwrap().contains(") T "));
    assert!(!user.is_raw());
    send(&user.child, libc::SIGCONT);
    eventually("raw again", || user.is_raw());
    user.types("x\n");
    user.sees("got x");
    assert_eq!(status_within(&mut user.child, 10), 3);
    assert!(!user.is_raw());
}

fn kept_terminal() {
    let begun = std::env::temp_dir().join(format!("richrun-kept-{}", std::process::id()));
    let script = "setsid sh -c 'trap \"\" HUP; echo y; : > BEGUN; while :; do echo y || exit; done' & \
                  while [ ! -e BEGUN ]; do sleep 0.05; done; exit 4";
    let script = script.replace("BEGUN", begun.to_str().expect("utf-8"));
    let mut child = start("terminal", &script).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        out.read_to_end(&mut bytes).map(|_| bytes.len())
    });
    assert_eq!(status_within(&mut child, 10), 4);
    assert!(reader.join().unwrap().unwrap() > 0);
    std::fs::remove_file(begun).unwrap();
}
