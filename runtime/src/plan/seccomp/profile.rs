//! From `linux.seccomp` to one answer per system call number.

use std::collections::{HashMap, HashSet};

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator as Operator,
    LinuxSyscall,
};

use super::abi::{ABIS, Abi, Arch};
use super::rules::{self, Condition, Op, Refusal, Rule};
use super::syscalls::{Syscall, lookup};
use crate::error::{Error, Result};

const EPERM: u32 = 1;

/// A profile, resolved for the host.
pub(super) struct Policy {
    /// The answer for everything no rule speaks of.
    pub(super) default: u32,
    /// The conventions the filter knows, the host's own first; all others are
    /// killed.
    pub(super) tables: Vec<Table>,
    /// Every distinct answer; a table's slots point here. The first is the
    /// default.
    pub(super) answers: Vec<Answer>,
    /// Where among them each unconditional one is.
    always: HashMap<u32, u16>,
    /// How many rules all conditional answers have.
    conditional: usize,
    /// What runc accepts with no more than a word in its log.
    pub(super) warnings: Vec<String>,
}

/// The filter's answer to a system call.
pub(super) enum Answer {
    /// Always the same.
    Always(u32),
    /// That of the first rule that holds, else the default.
    FirstOf(Vec<Rule>),
}

/// The answers of one convention.
pub(super) struct Table {
    pub(super) abi: Abi,
    /// The largest number the profile names.
    pub(super) last: Option<u32>,
    /// By [`slot`]: an index into [`Policy::answers`].
    pub(super) slots: Box<[u16; SLOTS]>,
}

/// Room for the largest number of every convention.
pub(super) const SLOTS: usize = 1024;
/// The first of ARM's private calls (`__ARM_NR_BASE`), and the slot it has.
const ARM_PRIVATE: (u32, usize) = (0xf_0000, 1008);

/// Where a number is kept.
fn slot(number: u32) -> usize {
    match number.checked_sub(ARM_PRIVATE.0) {
        Some(private) => ARM_PRIVATE.1 + private as usize,
        None => number as usize,
    }
}

/// The number that a slot keeps.
pub(super) fn number(slot: usize) -> u32 {
    match slot.checked_sub(ARM_PRIVATE.1) {
        Some(private) => ARM_PRIVATE.0 + private as u32,
        None => slot as u32,
    }
}

impl Policy {
    /// Resolves a profile for a host.
    pub(super) fn new(profile: &LinuxSeccomp, host: Arch) -> Result<Policy> {
        if profile.default_action() == Action::ScmpActNotify {
            return Err(Error::config(
                "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be the default",
            ));
        }
        let mut warnings = Vec::new();
        let default = answer(
            profile.default_action(),
            profile.default_errno_ret(),
            "linux.seccomp.defaultErrnoRet",
            &mut warnings,
        )?;
        let tables = tables(profile, host, &mut warnings);
        let answers = vec![Answer::Always(default)];
        let always = HashMap::from([(default, 0)]);
        let mut policy = Policy { default, tables, answers, always, conditional: 0, warnings };
        for (index, entry) in profile.syscalls().iter().flatten().enumerate() {
            policy.add(index, entry)?;
        }
        Ok(policy)
    }

    /// Adds one entry of `linux.seccomp.syscalls`.
    fn add(&mut self, index: usize, entry: &LinuxSyscall) -> Result<()> {
        let field = format_args!("linux.seccomp.syscalls[{index}]").to_string();
        let errno = format!("{field}.errnoRet");
        let action = answer(entry.action(), entry.errno_ret(), &errno, &mut self.warnings)?;
        let alternatives = alternatives(entry.args().as_deref().unwrap_or_default(), &field)?;
        // Unconditional answers are shared between numbers.
        let always = match alternatives {
            None => self.always(action).map_err(|_| {
                Error::config(format!("{field}: more different answers than a filter can have"))
            })?,
            Some(_) => 0,
        };
        let mut seen = HashSet::new();
        for name in entry.names().iter().filter(|name| seen.insert(name.as_str())) {
            if name.is_empty() {
                return Err(Error::config(format!("{field}.names: a name is empty")));
            }
            if entry.action() == Action::ScmpActNotify && name == "write" {
                // The listener could not be handed over: see runtime-spec
                // config-linux.md and runc's seccomp_linux.go.
                return Err(Error::config(format!(
                    "{field}: SCMP_ACT_NOTIFY cannot be used for write"
                )));
            }
            let Some(syscall) = lookup(name) else { continue };
            for table in 0..self.tables.len() {
                self.tables[table].note(syscall);
                if action == self.default {
                    continue; // says nothing new
                }
                let added = match &alternatives {
                    None => self.set(table, syscall, always),
                    Some(alternatives) => alternatives
                        .iter()
                        .try_for_each(|conditions| self.rule(table, syscall, conditions, action)),
                };
                added.map_err(|refusal| {
                    let why = match refusal {
                        Refusal::Contradiction => "contradicts an earlier one",
                        Refusal::TooMany => "is one too many for a filter that the kernel takes",
                    };
                    Error::config(format!("{field}: the rule for {name} {why}"))
                })?;
            }
        }
        Ok(())
    }

    /// The index of an unconditional answer.
    fn always(&mut self, action: u32) -> std::result::Result<u16, Refusal> {
        if let Some(known) = self.always.get(&action) {
            return Ok(*known);
        }
        let index = self.push(Answer::Always(action))?;
        self.always.insert(action, index);
        Ok(index)
    }

    /// An index is never another answer's: 65537 of them do not fit.
    fn push(&mut self, answer: Answer) -> std::result::Result<u16, Refusal> {
        let index = u16::try_from(self.answers.len()).map_err(|_| Refusal::TooMany)?;
        self.answers.push(answer);
        Ok(index)
    }

    /// An unconditional rule.
    fn set(
        &mut self,
        table: usize,
        syscall: &Syscall,
        always: u16,
    ) -> std::result::Result<(), Refusal> {
        let abi = self.tables[table].abi;
        if let (Abi::X86, Some(mux), Answer::Always(action)) =
            (abi, syscall.multiplexed(), &self.answers[usize::from(always)])
        {
            let action = *action;
            self.insert(table, mux.through, vec![asks_for(mux.call)], action)?;
        }
        if let Some(number) = syscall.number(abi) {
            self.settle(table, slot(number), always);
        }
        Ok(())
    }

    /// A conditional rule.
    fn rule(
        &mut self,
        table: usize,
        syscall: &Syscall,
        conditions: &[Condition],
        action: u32,
    ) -> std::result::Result<(), Refusal> {
        let abi = self.tables[table].abi;
        let conditions = |without_first: bool| -> Vec<Condition> {
            let used = conditions.iter().filter(|c| !(without_first && c.arg == 0));
            let seen = used.map(|c| if abi.is_wide() { *c } else { c.narrow() });
            seen.filter(|c| !c.is_vacuous()).collect()
        };
        if let (Abi::X86, Some(mux)) = (abi, syscall.multiplexed()) {
            // libseccomp puts the call's number in place of the first argument
            // and leaves the others, which then look at the wrong registers.
            let mut multiplexed = conditions(true);
            multiplexed.push(asks_for(mux.call));
            self.insert(table, mux.through, multiplexed, action)?;
        }
        match syscall.number(abi) {
            Some(number) => self.insert(table, number, conditions(false), action),
            None => Ok(()),
        }
    }

    /// An unconditional answer in a slot, unless it has one.
    fn settle(&mut self, table: usize, slot: usize, always: u16) {
        let slot = &mut self.tables[table].slots[slot];
        match &self.answers[usize::from(*slot)] {
            Answer::Always(_) if *slot != 0 => return,
            Answer::Always(_) => {}
            Answer::FirstOf(covered) => self.conditional -= covered.len(),
        }
        *slot = always;
    }

    fn insert(
        &mut self,
        table: usize,
        number: u32,
        conditions: Vec<Condition>,
        action: u32,
    ) -> std::result::Result<(), Refusal> {
        let slot = slot(number);
        let current = self.tables[table].slots[slot];
        if conditions.is_empty() {
            let always = self.always(action)?;
            self.settle(table, slot, always);
            return Ok(());
        }
        let rule = Rule::new(conditions, action, self.tables[table].abi.is_wide());
        if current == 0 {
            self.tables[table].slots[slot] = self.push(Answer::FirstOf(vec![rule]))?;
            self.conditional += 1;
        } else if let Answer::FirstOf(known) = &mut self.answers[usize::from(current)] {
            self.conditional -= known.len();
            let added = rules::add(known, rule);
            self.conditional += known.len();
            added?;
        } // What always is answered covers the new rule.
        match self.conditional > rules::MOST {
            true => Err(Refusal::TooMany),
            false => Ok(()),
        }
    }
}

impl Table {
    fn new(abi: Abi) -> Table {
        Table { abi, last: None, slots: Box::new([0; SLOTS]) }
    }

    /// Remembers that the profile names a call. On x86, calls that are
    /// multiplexed do not count: libseccomp gives them negative numbers.
    fn note(&mut self, syscall: &Syscall) {
        if self.abi == Abi::X86 && syscall.multiplexed().is_some() {
            return;
        }
        self.last = self.last.max(syscall.number(self.abi));
    }
}

/// The tables of the architectures that can occur on this host: its own, whether or not the
/// profile names it, and those that the profile names.
fn tables(profile: &LinuxSeccomp, host: Arch, warnings: &mut Vec<String>) -> Vec<Table> {
    let mut tables = Vec::with_capacity(ABIS);
    tables.push(Table::new(host.abi()));
    for arch in profile.architectures().iter().flatten() {
        let Some(abi) = host.runs(*arch) else {
            warnings.push(format!(
                "linux.seccomp.architectures: {arch} programs cannot run on this host"
            ));
            continue;
        };
        if !tables.iter().any(|table| table.abi == abi) {
            tables.push(Table::new(abi));
        }
    }
    tables
}

/// What the filter returns for an action (`SECCOMP_RET_*`, linux/seccomp.h).
///
/// # Errors
/// An errno, in `field`, for an action that takes none (config-linux.md, "errnoRet").
fn answer(
    action: Action,
    errno: Option<u32>,
    field: &str,
    warnings: &mut Vec<String>,
) -> Result<u32> {
    let takes_errno = matches!(action, Action::ScmpActErrno | Action::ScmpActTrace);
    if errno.is_some() && !takes_errno {
        return Err(Error::config(format!("{field}: {action} takes no errno")));
    }
    let data = errno.unwrap_or(EPERM);
    if data > 0xffff {
        warnings.push(format!("{field}: errno {data} does not fit in 16 bits"));
    }
    let data = data & 0xffff;
    Ok(match action {
        Action::ScmpActKill | Action::ScmpActKillThread => super::KILL_THREAD,
        Action::ScmpActKillProcess => super::KILL_PROCESS,
        Action::ScmpActTrap => super::TRAP,
        Action::ScmpActErrno => super::ERRNO | data,
        Action::ScmpActTrace => super::TRACE | data,
        Action::ScmpActNotify => super::NOTIFY,
        Action::ScmpActLog => super::LOG,
        Action::ScmpActAllow => super::ALLOW,
    })
}

/// The conditions of an entry: any of the alternatives, all within one. `None`
/// is an entry without conditions.
///
/// libseccomp takes each argument once in a rule; runc and crun turn an entry
/// that has one twice into a rule for each condition.
fn alternatives(args: &[LinuxSeccompArg], field: &str) -> Result<Option<Vec<Vec<Condition>>>> {
    if args.is_empty() {
        return Ok(None);
    }
    let mut conditions = Vec::with_capacity(args.len());
    let mut seen = 0u8;
    let mut twice = false;
    for (index, arg) in args.iter().enumerate() {
        if arg.index() > 5 {
            return Err(Error::config(format!(
                "{field}.args[{index}].index: {} is not 0 to 5",
                arg.index()
            )));
        }
        twice |= seen & (1 << arg.index()) != 0;
        seen |= 1 << arg.index();
        conditions.push(condition(arg));
    }
    Ok(Some(if twice {
        conditions.into_iter().map(|condition| vec![condition]).collect()
    } else {
        vec![conditions]
    }))
}

/// The first argument of `socketcall` or `ipc` that asks for a call.
fn asks_for(call: u32) -> Condition {
    Condition { arg: 0, op: Op::Eq, value: u64::from(call), mask: u64::from(u32::MAX) }
}

fn condition(arg: &LinuxSeccompArg) -> Condition {
    let op = match arg.op() {
        Operator::ScmpCmpNe => Op::Ne,
        Operator::ScmpCmpLt => Op::Lt,
        Operator::ScmpCmpLe => Op::Le,
        Operator::ScmpCmpEq => Op::Eq,
        Operator::ScmpCmpGe => Op::Ge,
        Operator::ScmpCmpGt => Op::Gt,
        Operator::ScmpCmpMaskedEq => Op::MaskedEq,
    };
    let (value, mask) = match op {
        // The mask comes first, what is compared second (seccomp_rule_add(3)).
        Op::MaskedEq => (arg.value_two().unwrap_or(0) & arg.value(), arg.value()),
        _ => (arg.value(), u64::MAX),
    };
    Condition { arg: arg.index() as u8, op, value, mask }
}
