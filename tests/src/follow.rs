//! Follows a program, and whatever it clones, from system call to system call
//! (ptrace(2)), and does something to one of them at one call: the probe's
//! command `follow`. Which calls there are it writes down itself, so that no
//! list of steps has to be kept.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// For how long a process is held.
const HELD: Duration = Duration::from_millis(150);

/// A process that is followed.
struct Followed {
    pid: Pid,
    /// Its how manieth call is the last one seen.
    calls: usize,
    /// Between a call's beginning and its end.
    inside: bool,
    /// Past the stop that ptrace gives a new process.
    begun: bool,
    alive: bool,
}

/// The program, its descendants in the order of their appearance, and the plan.
struct Follower {
    all: Vec<Followed>,
    action: String,
    role: usize,
    nth: usize,
    report: PathBuf,
    lines: String,
    held: Option<(Pid, Instant)>,
    /// Whose call fails at its end, and how.
    failing: Option<(Pid, i32)>,
}

/// `REPORT ACTION ROLE NTH PROGRAM ARGUMENTS...`: the NTH call of the ROLEth
/// process (the program itself is 0) is where ACTION happens: `kill` it,
/// `kill-other` (its first process; or its newest, where it is the first
/// itself), `hold` it, `stop` it for good (SIGSTOP) and, where it is not the first, kill that,
/// let its call fail (`error-28`), or `list` all calls, or the `paths` that
/// they take. Ends as the program ends.
pub fn main(words: &[String]) -> ExitCode {
    let mut command = Command::new(&words[4]);
    command.args(&words[5..]);
    crate::sys::trace_me(&mut command);
    #[expect(clippy::zombie_processes, reason = "`follow` waits for all")]
    let child = command.spawn().expect("start the program");
    let first = Pid::from_raw(child.id() as i32);
    waitpid(first, None).expect("the program stops at its beginning");
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC;
    ptrace::setoptions(first, options).expect("ptrace options");
    let mut follower = Follower {
        all: vec![Followed { pid: first, calls: 0, inside: false, begun: true, alive: true }],
        action: words[1].clone(),
        role: words[2].parse().expect("a role"),
        nth: words[3].parse().expect("a number"),
        report: words[0].clone().into(),
        lines: String::new(),
        held: None,
        failing: None,
    };
    go_on(first, None);
    let code = follower.follow(first);
    // Whoever is new would be stopped for ever.
    for one in follower.all.iter().filter(|one| one.alive && !one.begun) {
        let _ = kill(one.pid, Signal::SIGCONT);
    }
    if ["list", "paths"].contains(&follower.action.as_str()) {
        fs::write(&follower.report, &follower.lines).expect("write the report");
    }
    ExitCode::from(code)
}

/// To its next call. It may have been killed meanwhile.
fn go_on(pid: Pid, signal: Option<Signal>) {
    match ptrace::syscall(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => panic!("go on with {pid}: {error}"),
    }
}

/// Whether a process executes a payload or a hook now, which are of no interest
/// here. (The runtime executes itself anew, from a mount that has no path.)
fn is_foreign(pid: Pid) -> bool {
    let link = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    link.ends_with("busybox") || link.ends_with("true")
}

/// The number of the call that a process is about to make.
#[cfg(target_arch = "x86_64")]
fn number(pid: Pid) -> u64 {
    ptrace::getregs(pid).map_or(u64::MAX, |registers| registers.orig_rax)
}

/// Has the kernel make no call, and say that it failed: `change` is called at
/// its beginning without an error, and with it at its end.
#[cfg(target_arch = "x86_64")]
fn change(pid: Pid, error: Option<i32>) {
    let Ok(mut registers) = ptrace::getregs(pid) else { return };
    match error {
        None => registers.orig_rax = u64::MAX,
        Some(error) => registers.rax = i64::from(-error) as u64,
    }
    let _ = ptrace::setregs(pid, registers);
}

#[cfg(not(target_arch = "x86_64"))]
fn number(_pid: Pid) -> u64 {
    u64::MAX
}

#[cfg(not(target_arch = "x86_64"))]
fn change(_pid: Pid, _error: Option<i32>) {
    panic!("calls are made to fail on x86_64 only");
}

/// Calls that do not return, and those of which the kernel never leaves out the
/// whole: a descriptor that stays open after `close` is a fault of another kind,
/// and there is always a clock.
const NEVER: [i64; 7] = [
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_munmap,
    libc::SYS_rt_sigreturn,
];

/// Whether the kernel's call of that number can fail so. The standard library knows how its random
/// numbers do.
pub fn may_fail(call: i64, error: i32) -> bool {
    let random = [libc::EINTR, libc::ENOSYS, libc::EPERM];
    !NEVER.contains(&call) && (call != libc::SYS_getrandom || random.contains(&error))
}

impl Follower {
    /// Until the first process ends: its status. Whoever is left is let go by
    /// this process's own end.
    fn follow(&mut self, first: Pid) -> u8 {
        loop {
            let flags = WaitPidFlag::__WALL;
            let flags = if self.held.is_some() { flags | WaitPidFlag::WNOHANG } else { flags };
            match waitpid(None, Some(flags)) {
                Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(1)),
                Ok(WaitStatus::Exited(pid, code)) if pid == first => return code as u8,
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == first => {
                    return 128 + signal as u8;
                }
                Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => {
                    let place = self.role_of(pid);
                    self.all[place].alive = false;
                }
                Ok(WaitStatus::PtraceSyscall(pid)) => self.call(pid),
                Ok(WaitStatus::PtraceEvent(pid, _, event)) => {
                    let executed = event == Event::PTRACE_EVENT_EXEC as i32;
                    if !executed && let Ok(new) = ptrace::getevent(pid) {
                        let child = self.role_of(Pid::from_raw(new as i32));
                        if self.action == "paths" {
                            let parent = self.role_of(pid);
                            self.lines += &crate::path_calls::clone_line(parent, child);
                        }
                    }
                    if executed && is_foreign(pid) {
                        let _ = ptrace::detach(pid, None);
                    } else {
                        go_on(pid, None);
                    }
                }
                Ok(WaitStatus::Stopped(pid, signal)) => {
                    let role = self.role_of(pid);
                    let begun = std::mem::replace(&mut self.all[role].begun, true);
                    go_on(pid, begun.then_some(signal));
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => panic!("wait: {error}"),
            }
            if let Some((pid, until)) = self.held
                && Instant::now() > until
            {
                self.held = None;
                go_on(pid, None);
            }
        }
    }

    /// The place of a process, which may be new.
    fn role_of(&mut self, pid: Pid) -> usize {
        self.all.iter().position(|one| one.pid == pid && one.alive).unwrap_or_else(|| {
            self.all.push(Followed { pid, calls: 0, inside: false, begun: false, alive: true });
            self.all.len() - 1
        })
    }

    /// At the beginning or the end of a call.
    fn call(&mut self, pid: Pid) {
        let role = self.role_of(pid);
        let one = &mut self.all[role];
        one.inside = !one.inside;
        if !one.inside {
            if let Some((_, error)) = self.failing.take_if(|failing| failing.0 == pid) {
                change(pid, Some(error));
            }
            return go_on(pid, None);
        }
        one.calls += 1;
        let calls = one.calls;
        if self.action == "paths" {
            self.lines += &crate::path_calls::lines(pid, role);
        } else if self.action == "list" {
            self.lines += &format!("{role} {calls} {}\n", number(pid));
        } else if role == self.role && calls == self.nth {
            fs::write(&self.report, pid.to_string()).expect("write the report");
            return self.act(pid);
        }
        go_on(pid, None);
    }

    fn act(&mut self, pid: Pid) {
        if let Some(error) = self.action.strip_prefix("error-") {
            let error = error.parse().expect("an errno");
            // Who is first may have made this step another call than it was in the list.
            if may_fail(number(pid) as i64, error) {
                change(pid, None);
                self.failing = Some((pid, error));
            }
            return go_on(pid, None);
        }
        if self.action == "stop" {
            // It makes this call and stops behind it.
            let _ = kill(pid, Signal::SIGSTOP);
            let _ = ptrace::detach(pid, None);
            if pid != self.all[0].pid {
                let _ = kill(self.all[0].pid, Signal::SIGKILL);
            }
            return;
        }
        let victim = match self.action.as_str() {
            "kill" => Some(pid),
            "kill-other" if self.role != 0 => Some(self.all[0].pid),
            "kill-other" => self.all[1..].iter().rev().find(|one| one.alive).map(|one| one.pid),
            "hold" => {
                self.held = Some((pid, Instant::now() + HELD));
                return;
            }
            other => panic!("no action {other}"),
        };
        if let Some(victim) = victim {
            let _ = kill(victim, Signal::SIGKILL);
        }
        go_on(pid, None);
    }
}
