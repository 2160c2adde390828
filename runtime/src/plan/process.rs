//! The process that is run: exact arguments, environment, identity, limits.

use std::collections::HashSet;
use std::ffi::CString;
use std::path::{Path, PathBuf};

use caps::CapsHashSet;
use oci_spec::runtime::{
    Capability, IOPriorityClass, LinuxCapabilities, LinuxPersonalityDomain, LinuxSchedulerFlag,
    LinuxSchedulerPolicy, MemoryPolicyFlagType, MemoryPolicyModeType, PosixRlimitType, Process,
    Scheduler, Spec,
};

use crate::config::rich::for_the_runtime;
use crate::error::{Error, Result};

/// What the kernel is told about a process before it becomes the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessPlan {
    /// Its arguments; the first is also looked up in `PATH`.
    pub args: Vec<CString>,
    /// Its environment, each name once. `HOME` may still be missing: it is in
    /// the container's passwd.
    pub env: Vec<String>,
    /// Its working directory.
    pub cwd: PathBuf,
    /// Who it is.
    pub user: UserPlan,
    /// The five sets; `None`: those that it has anyway.
    pub caps: CapPlan,
    /// Whether execve may not grant privileges.
    pub no_new_privs: bool,
    /// Limits: resource number, soft, hard.
    pub rlimits: Vec<Rlimit>,
    /// `oom_score_adj`.
    pub oom_score_adj: Option<i32>,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Rows and columns of the terminal.
    pub console_size: Option<(u16, u16)>,
    /// AppArmor profile.
    pub apparmor: Option<String>,
    /// SELinux label.
    pub selinux: Option<String>,
    /// I/O priority: class and level.
    pub io_priority: Option<(u32, u32)>,
    /// CPU scheduling.
    pub scheduler: Option<Scheduling>,
}

/// User, groups, umask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPlan {
    /// User id inside.
    pub uid: u32,
    /// Group id inside.
    pub gid: u32,
    /// Supplementary groups inside.
    pub groups: Vec<u32>,
    /// Those of the caller are kept, and `groups` passed over.
    pub keep_groups: bool,
    /// `None`: left as it is (`exec`).
    pub umask: Option<u32>,
}

/// The five capability sets (capabilities(7)).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CapPlan {
    /// Bounding.
    pub bounding: CapsHashSet,
    /// Effective.
    pub effective: CapsHashSet,
    /// Permitted.
    pub permitted: CapsHashSet,
    /// Inheritable.
    pub inheritable: CapsHashSet,
    /// Ambient.
    pub ambient: CapsHashSet,
}

/// RLIMIT_CORE, by the specification's name and the kernel's number.
const CORE: (&str, u32) = ("RLIMIT_CORE", 4);

/// One resource limit (getrlimit(2)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rlimit {
    /// The name of the specification.
    pub name: String,
    /// The kernel's number.
    pub resource: u32,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// What sched_setattr(2) takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scheduling {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// For `SCHED_OTHER` and `SCHED_BATCH`.
    pub nice: i32,
    /// For `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// For `SCHED_DEADLINE`, nanoseconds each.
    pub deadline: [u64; 3],
}

impl ProcessPlan {
    /// No core is dumped: a limit of one byte is too small for a file, and is the one that a
    /// program of `core_pattern` is not started at (0 does not keep it; core(5) and the kernel's
    /// fs/coredump.c).
    pub fn without_core_dumps(&mut self) {
        self.rlimits.retain(|limit| limit.resource != CORE.1);
        let name = CORE.0.to_owned();
        self.rlimits.push(Rlimit { name, resource: CORE.1, soft: 1, hard: 1 });
    }

    /// What waits where a document names no process: nothing is ever executed, and there
    /// are no rights to execute it with.
    pub fn none() -> Self {
        ProcessPlan {
            args: Vec::new(),
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            user: UserPlan { uid: 0, gid: 0, groups: Vec::new(), keep_groups: false, umask: None },
            caps: CapPlan::default(),
            no_new_privs: true,
            rlimits: Vec::new(),
            oom_score_adj: None,
            terminal: false,
            console_size: None,
            apparmor: None,
            selinux: None,
            io_priority: None,
            scheduler: None,
        }
    }

    /// Plans a validated `process`.
    ///
    /// # Errors
    /// A field that cannot be honoured.
    pub fn new(process: &Process) -> Result<Self> {
        let args = process.args().iter().flatten().map(|arg| c_string(arg, "process.args"));
        let size = process.console_size();
        let cell = |n: u64| u16::try_from(n).unwrap_or(u16::MAX);
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Ok(ProcessPlan {
            args: args.collect::<Result<_>>()?,
            env: payloads(process.env().as_deref().unwrap_or_default()),
            cwd: process.cwd().clone(),
            user: UserPlan {
                uid: process.user().uid(),
                gid: process.user().gid(),
                groups: process.user().additional_gids().clone().unwrap_or_default(),
                keep_groups: false,
                umask: process.user().umask(),
            },
            caps: process.capabilities().as_ref().map(cap_plan).unwrap_or_default(),
            no_new_privs: process.no_new_privileges().unwrap_or(false),
            rlimits: rlimits(process),
            oom_score_adj: process.oom_score_adj(),
            terminal: process.terminal().unwrap_or(false),
            console_size: size.map(|size| (cell(size.height()), cell(size.width()))),
            apparmor: given(process.apparmor_profile()),
            selinux: given(process.selinux_label()),
            io_priority: process.io_priority().as_ref().map(|priority| {
                let class = match priority.class() {
                    IOPriorityClass::IoprioClassRt => 1,
                    IOPriorityClass::IoprioClassBe => 2,
                    IOPriorityClass::IoprioClassIdle => 3,
                };
                (class, u32::try_from(priority.priority()).unwrap_or(0))
            }),
            scheduler: process.scheduler().as_ref().map(scheduling).transpose()?,
        })
    }

    /// The value of a variable.
    pub fn variable(&self, name: &str) -> Option<&str> {
        variable(&self.env, name)
    }
}

/// The value of a variable in `NAME=value` entries.
pub fn variable<'a>(env: &'a [String], name: &str) -> Option<&'a str> {
    env.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
}

/// The specification's text as the kernel takes it.
pub fn c_string(text: &str, field: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::config(format!("{field}: contains a NUL byte")))
}

/// The payload's own variables, each once.
fn payloads(env: &[String]) -> Vec<String> {
    let mut own = deduplicated(env);
    for name in for_the_runtime(env) {
        own.retain(|entry| variable(std::slice::from_ref(entry), name).is_none());
    }
    own
}

/// Each name once, with its last value, where it stood last.
pub fn deduplicated(env: &[String]) -> Vec<String> {
    let name = |entry: &str| entry.split('=').next().unwrap_or(entry).to_owned();
    let mut seen = HashSet::with_capacity(env.len());
    let mut kept: Vec<String> =
        env.iter().rev().filter(|entry| seen.insert(name(entry))).cloned().collect();
    kept.reverse();
    kept
}

/// The five sets. Who names none has none, as with runc and crun.
pub fn cap_plan(sets: &LinuxCapabilities) -> CapPlan {
    CapPlan {
        bounding: cap_set(sets.bounding()),
        effective: cap_set(sets.effective()),
        permitted: cap_set(sets.permitted()),
        inheritable: cap_set(sets.inheritable()),
        ambient: cap_set(sets.ambient()),
    }
}

fn cap_set(names: &Option<HashSet<Capability>>) -> CapsHashSet {
    // Both crates know the same capabilities, up to the kernel's last one; the
    // specification's prints its name without the prefix.
    names.iter().flatten().filter_map(|name| format!("CAP_{name}").parse().ok()).collect()
}

fn rlimits(process: &Process) -> Vec<Rlimit> {
    process
        .rlimits()
        .iter()
        .flatten()
        .map(|limit| Rlimit {
            name: limit.typ().to_string(),
            resource: resource(limit.typ()),
            soft: limit.soft(),
            hard: limit.hard(),
        })
        .collect()
}

/// `RLIMIT_*` (asm-generic/resource.h: the same on every architecture here).
fn resource(typ: PosixRlimitType) -> u32 {
    match typ {
        PosixRlimitType::RlimitCpu => 0,
        PosixRlimitType::RlimitFsize => 1,
        PosixRlimitType::RlimitData => 2,
        PosixRlimitType::RlimitStack => 3,
        PosixRlimitType::RlimitCore => 4,
        PosixRlimitType::RlimitRss => 5,
        PosixRlimitType::RlimitNproc => 6,
        PosixRlimitType::RlimitNofile => 7,
        PosixRlimitType::RlimitMemlock => 8,
        PosixRlimitType::RlimitAs => 9,
        PosixRlimitType::RlimitLocks => 10,
        PosixRlimitType::RlimitSigpending => 11,
        PosixRlimitType::RlimitMsgqueue => 12,
        PosixRlimitType::RlimitNice => 13,
        PosixRlimitType::RlimitRtprio => 14,
        PosixRlimitType::RlimitRttime => 15,
    }
}

fn scheduling(scheduler: &Scheduler) -> Result<Scheduling> {
    let policy = match scheduler.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    };
    let flags = scheduler.flags().iter().flatten().fold(0, |all, flag| {
        all | match flag {
            LinuxSchedulerFlag::SchedResetOnFork => 0x01,
            LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
            LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
            LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
            LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
            LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
            LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
        }
    });
    let priority = scheduler.priority().unwrap_or(0);
    Ok(Scheduling {
        policy,
        flags,
        nice: scheduler.nice().unwrap_or(0),
        priority: u32::try_from(priority).map_err(|_| {
            Error::config(format!("process.scheduler.priority: {priority} is negative"))
        })?,
        deadline: [scheduler.runtime(), scheduler.deadline(), scheduler.period()]
            .map(|value| value.unwrap_or(0)),
    })
}

/// `linux.personality` as personality(2) takes it.
pub fn personality(spec: &Spec) -> Option<u32> {
    let personality = spec.linux().as_ref()?.personality().as_ref()?;
    Some(match personality.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    })
}

/// What `linux.memoryPolicy.mode` may be: for the Features document.
pub const MEMORY_MODES: [MemoryPolicyModeType; 7] = [
    MemoryPolicyModeType::MpolBind,
    MemoryPolicyModeType::MpolDefault,
    MemoryPolicyModeType::MpolInterleave,
    MemoryPolicyModeType::MpolLocal,
    MemoryPolicyModeType::MpolPreferred,
    MemoryPolicyModeType::MpolPreferredMany,
    MemoryPolicyModeType::MpolWeightedInterleave,
];

/// What `linux.memoryPolicy.flags` may have: for the Features document.
pub const MEMORY_FLAGS: [MemoryPolicyFlagType; 3] = [
    MemoryPolicyFlagType::MpolFNumaBalancing,
    MemoryPolicyFlagType::MpolFRelativeNodes,
    MemoryPolicyFlagType::MpolFStaticNodes,
];

/// `linux.memoryPolicy` as set_mempolicy(2) takes it: mode with flags, and the
/// nodes' bit mask.
///
/// # Errors
/// `nodes` is not a list of numbers and ranges.
pub fn memory_policy(spec: &Spec) -> Result<Option<(u32, Vec<u64>)>> {
    let policy = spec.linux().as_ref().and_then(|linux| linux.memory_policy().as_ref());
    let Some(policy) = policy else { return Ok(None) };
    let mode = match policy.mode() {
        MemoryPolicyModeType::MpolDefault => 0,
        MemoryPolicyModeType::MpolPreferred => 1,
        MemoryPolicyModeType::MpolBind => 2,
        MemoryPolicyModeType::MpolInterleave => 3,
        MemoryPolicyModeType::MpolLocal => 4,
        MemoryPolicyModeType::MpolPreferredMany => 5,
        MemoryPolicyModeType::MpolWeightedInterleave => 6,
    };
    let flags = policy.flags().iter().flatten().fold(0, |all, flag| {
        all | match flag {
            MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
            MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
            MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
        }
    });
    let nodes = policy.nodes().as_deref().unwrap_or_default();
    Ok(Some((mode | flags, bit_mask(nodes, "linux.memoryPolicy.nodes", MAX_NODES)?)))
}

/// The most memory nodes that a kernel has (`MAX_NUMNODES`).
const MAX_NODES: usize = 1024;
/// The most CPUs that a kernel has (`NR_CPUS`); the C library's type ends at 1024.
pub const MAX_CPUS: usize = 8192;

/// The numbers of a list like `0-3,7`, a bit each; all are below `end`.
pub fn bit_mask(list: &str, field: &str, end: usize) -> Result<Vec<u64>> {
    let wrong = || Error::config(format!("{field}: {list:?} is no list of numbers (0-3,7)"));
    let mut mask = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().map_err(|_| wrong())?;
        let last: usize = last.trim().parse().map_err(|_| wrong())?;
        if first > last || last >= end {
            return Err(wrong());
        }
        for node in first..=last {
            if mask.len() <= node / 64 {
                mask.resize(node / 64 + 1, 0);
            }
            mask[node / 64] |= 1 << (node % 64);
        }
    }
    Ok(mask)
}

/// The home directory of a user by the text of a passwd file (passwd(5)).
pub fn home_of(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let id = fields.nth(2)?;
        let home = fields.nth(2)?;
        (id.parse() == Ok(uid) && Path::new(home).is_absolute()).then_some(home)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_name_counts() {
        let env = ["A=1", "B=x=y", "A=2", "C=", "AB=3"].map(str::to_owned);
        assert_eq!(deduplicated(&env), ["B=x=y", "A=2", "C=", "AB=3"]);
        assert_eq!(variable(&env, "B"), Some("x=y"));
        assert_eq!(variable(&env, "C"), Some(""));
        assert_eq!(variable(&env, "D"), None);
    }

    #[test]
    fn homes_are_those_of_the_container() {
        let passwd =
            "root:x:0:0::/root:/bin/sh\nbroken\napp:x:1000:1000:a:/home/app:\nx:x:5:5::rel:\n";
        assert_eq!(home_of(passwd, 0), Some("/root"));
        assert_eq!(home_of(passwd, 1000), Some("/home/app"));
        assert_eq!(home_of(passwd, 5), None);
        assert_eq!(home_of(passwd, 7), None);
    }

    #[test]
    fn who_names_no_capabilities_has_none() {
        let process: Process =
            serde_json::from_str(r#"{"cwd":"/","args":["x"],"user":{"uid":0,"gid":0}}"#).unwrap();
        assert_eq!(ProcessPlan::new(&process).unwrap().caps, CapPlan::default());
    }

    #[test]
    fn every_capability_of_the_specification_is_known() {
        for name in 0..41_u8 {
            let cap = caps::all().into_iter().find(|cap| cap.index() == name).unwrap();
            let spec: Capability = serde_json::from_str(&format!("\"{cap}\"")).unwrap();
            let set = cap_set(&Some(HashSet::from([spec])));
            assert_eq!(set.len(), 1, "{cap}");
        }
    }

    #[test]
    fn lists_of_numbers() {
        assert_eq!(bit_mask("0-2,65", "x", 66).unwrap(), [7, 2]);
        assert_eq!(bit_mask("", "x", 66).unwrap(), Vec::<u64>::new());
        for bad in ["x", "3-1", "66", "-"] {
            assert!(bit_mask(bad, "x", 66).is_err(), "{bad}");
        }
    }
}
