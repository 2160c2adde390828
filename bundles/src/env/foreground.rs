//! A command in front: signals that are meant for it reach it, its exit status is ours,
//! and services are restarted meanwhile when their content changes.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::thread;

use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};

use super::watch::Watcher;
use crate::error::{At, Error, Result};

/// What somebody sends to end or to tell a program something.
const PASSED: [Signal; 6] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// Runs `command` to its end. A signal of the terminal has reached it already, with its
/// whole process group; one that a process sends to us is passed on.
///
/// # Errors
/// It cannot be started.
pub fn run(
    mut command: Command,
    watcher: Option<Watcher>,
    restart: &(dyn Fn(&str) -> Result<()> + Sync),
) -> Result<u8> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mask: SigSet = PASSED.into_iter().collect();
    let before = mask.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK).at("run", &name)?;
    super::sys::with_mask(&mut command, before);
    let status = thread::scope(|scope| -> Result<ExitStatus> {
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .at("run", &name)?;
        let (stop, stopped) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at("run", &name)?;
        let beside = watcher.map(|mut watcher| {
            scope.spawn(move || {
                let told = |name: &str| {
                    // One that does not start again is told, and the command goes on.
                    restart(name).or_else(|error| {
                        eprintln!("richctl: warning: restart service {name}: {error}");
                        Ok(())
                    })
                };
                watcher.run(&stop, told)
            })
        });
        let mut child = command.spawn().at("run", &name)?;
        let status = wait(&mut child, &signals).at("wait for", &name);
        drop(stopped);
        if let Some(Err(error)) = beside.map(|thread| thread.join().unwrap_or(Ok(()))) {
            eprintln!("richctl: warning: {error}");
        }
        status
    })?;
    let _ = before.thread_set_mask();
    let code = status.code().unwrap_or(128 + status.signal().unwrap_or(0));
    u8::try_from(code).map_err(|_| Error::system(format!("{name}: {status}")))
}

fn wait(child: &mut Child, signals: &SignalFd) -> io::Result<ExitStatus> {
    let pid = Pid::from_raw(child.id().cast_signed());
    let process = rustix::process::Pid::from_child(child);
    let ended = rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty())?;
    loop {
        let mut fds = [PollFd::new(&ended, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        while let Ok(Some(info)) = signals.read_signal() {
            let number = info.ssi_signo.cast_signed();
            // SI_USER and below: a process has sent it. The terminal's are the kernel's.
            if info.ssi_code <= 0
                && let Ok(signal) = Signal::try_from(number)
            {
                let _ = kill(pid, signal);
            }
        }
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
    }
}
