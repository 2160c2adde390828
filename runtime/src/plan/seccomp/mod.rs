//! `linux.seccomp` as a BPF program that answers as libseccomp's under runc.
//!
//! - `profile` resolves names, actions and architectures to an answer for each
//!   number, `rules` orders the conditional ones as libseccomp does;
//! - `program` turns the answers into instructions, `assemble` places them;
//! - `syscalls` and `table` know every system call's number;
//! - [`known`] lists the words that are understood;
//! - [`interpret`] says what a program answers.
//!
//! The terms are the kernel's: a *filter* is the program, an *action* what it
//! returns (`SECCOMP_RET_*`), a *listener* the descriptor on which calls with
//! the action `NOTIFY` wait for their answer. `docs/design.md` says what differs
//! from seccompiler's own compiler and why.

mod abi;
mod assemble;
pub mod interpret;
pub mod known;
mod profile;
mod program;
mod rules;
mod syscalls;
mod table;

use std::path::PathBuf;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompFilterFlag};
use seccompiler::BpfProgram;

pub use abi::Arch;

use crate::error::{Error, Result};
use profile::Policy;

// What a filter returns, and the part of it that is the action (linux/seccomp.h).
const KILL_PROCESS: u32 = 0x8000_0000;
const KILL_THREAD: u32 = 0;
const TRAP: u32 = 0x0003_0000;
const ERRNO: u32 = 0x0005_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const TRACE: u32 = 0x7ff0_0000;
const LOG: u32 = 0x7ffc_0000;
const ALLOW: u32 = 0x7fff_0000;
const ACTION_MASK: u32 = 0xffff_0000;

/// The most instructions the kernel takes (`BPF_MAXINSNS`).
const MAX_INSTRUCTIONS: usize = 4096;

bitflags::bitflags! {
    /// The flags of seccomp(2)'s `SECCOMP_SET_MODE_FILTER`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Flags: u32 {
        /// Every thread of the process gets the filter (since Linux 3.17).
        const TSYNC = 1 << 0;
        /// Actions other than ALLOW are logged (since Linux 4.14).
        const LOG = 1 << 1;
        /// The speculative store bypass mitigation stays off (since Linux 4.17).
        const SPEC_ALLOW = 1 << 2;
        /// A listener is returned (since Linux 5.0).
        const NEW_LISTENER = 1 << 3;
        /// A failure to synchronise is ESRCH, not a thread's id: needed where a
        /// listener is returned too (since Linux 5.7).
        const TSYNC_ESRCH = 1 << 4;
        /// A call that waits for its answer can only be killed (since Linux 5.19).
        const WAIT_KILLABLE_RECV = 1 << 5;
    }
}

/// A compiled profile: everything that installing it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The program.
    pub program: BpfProgram,
    /// The flags of seccomp(2).
    pub flags: Flags,
    /// Who is told of calls with the action NOTIFY; present exactly if
    /// [`Flags::NEW_LISTENER`] is set.
    pub listener: Option<Listener>,
    /// What runc accepts without an error although it has no effect.
    pub warnings: Vec<String>,
}

/// The seccomp agent, which receives the listener's descriptor (runtime-spec
/// config-linux.md, "The container process state").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The agent's UNIX socket.
    pub path: PathBuf,
    /// Passed on as `metadata`; may be empty.
    pub metadata: String,
}

impl Filter {
    /// Whether a process under it may say that it may be traced, and that it may not be any more
    /// (prctl(2), `PR_SET_DUMPABLE`).
    pub fn allows_to_be_traced(&self) -> bool {
        let arch = Arch::NATIVE.abi().audit_token();
        [0, 1].into_iter().all(|value| {
            let args = [libc::PR_SET_DUMPABLE as u64, value, 0, 0, 0, 0];
            let call = interpret::Call::new(arch, libc::SYS_prctl as u32, args);
            let verdict = interpret::run(&self.program, &call);
            verdict.is_ok_and(|verdict| matches!(verdict.action & ACTION_MASK, ALLOW | LOG))
        })
    }
}

/// Compiles `linux.seccomp` for a host of this architecture.
///
/// Fails with [`crate::error::Kind::Config`] on what runc refuses too: rules that contradict
/// each other, NOTIFY as the default or for `write`, a listener that is missing
/// or lacks a path, a program too long for the kernel.
pub fn compile(profile: &LinuxSeccomp, host: Arch) -> Result<Filter> {
    let policy = Policy::new(profile, host)?;
    let listener = listener(profile)?;
    let program = program::write(&policy);
    if program.len() > MAX_INSTRUCTIONS {
        return Err(Error::config(format!(
            "linux.seccomp: the filter has {} instructions, the kernel takes {MAX_INSTRUCTIONS}",
            program.len()
        )));
    }
    let mut warnings = policy.warnings;
    let flags = flags(profile, listener.is_some(), &mut warnings);
    Ok(Filter { program, flags, listener, warnings })
}

/// Every system call that a profile can name, with its numbers on x86-64, x86,
/// x32 (without its bit), arm, aarch64 and riscv64.
pub fn calls() -> impl Iterator<Item = (&'static str, [Option<u32>; 6])> {
    syscalls::all()
}

/// The listener, if any rule notifies.
fn listener(profile: &LinuxSeccomp) -> Result<Option<Listener>> {
    let path = profile.listener_path().as_ref().filter(|path| !path.as_os_str().is_empty());
    let metadata = profile.listener_metadata().as_deref().unwrap_or_default();
    if path.is_none() && !metadata.is_empty() {
        return Err(Error::config(
            "linux.seccomp.listenerMetadata: must not be set without listenerPath",
        ));
    }
    let mut entries = profile.syscalls().iter().flatten();
    if !entries.any(|entry| entry.action() == LinuxSeccompAction::ScmpActNotify) {
        return Ok(None);
    }
    match path {
        Some(path) => Ok(Some(Listener { path: path.clone(), metadata: metadata.to_owned() })),
        None => Err(Error::config("linux.seccomp.listenerPath: is needed by SCMP_ACT_NOTIFY")),
    }
}

/// The flags asked for; SPEC_ALLOW where the profile has none at all, as runc
/// and crun do.
fn flags(profile: &LinuxSeccomp, listens: bool, warnings: &mut Vec<String>) -> Flags {
    use LinuxSeccompFilterFlag as Asked;
    let mut flags = Flags::empty();
    match profile.flags() {
        None => flags |= Flags::SPEC_ALLOW,
        Some(asked) => {
            for flag in asked {
                flags |= match flag {
                    Asked::SeccompFilterFlagLog => Flags::LOG,
                    Asked::SeccompFilterFlagTsync => Flags::TSYNC,
                    Asked::SeccompFilterFlagSpecAllow => Flags::SPEC_ALLOW,
                    Asked::SeccompFilterFlagWaitKillableRecv => Flags::WAIT_KILLABLE_RECV,
                };
            }
        }
    }
    if listens {
        flags |= Flags::NEW_LISTENER;
        if flags.contains(Flags::TSYNC) {
            flags |= Flags::TSYNC_ESRCH;
        }
    } else if flags.contains(Flags::WAIT_KILLABLE_RECV) {
        // The kernel refuses it without a listener (EINVAL).
        flags -= Flags::WAIT_KILLABLE_RECV;
        warnings.push(
            "linux.seccomp.flags: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs SCMP_ACT_NOTIFY"
                .to_owned(),
        );
    }
    flags
}
