//! From a [`Policy`] to a BPF program.
//!
//! The program looks at the architecture, then finds the number's answer by
//! binary search over ranges of numbers that are answered alike.

use seccompiler::BpfProgram;

use super::abi::{Abi, X32_BIT};
use super::assemble::{ARCH, Assembler, JEQ, JGE, JGT, Label, NR, arg_high, arg_low};
use super::profile::{Answer, Policy, SLOTS, Table, number};
use super::rules::{Condition, Op};

/// `SECCOMP_RET_ERRNO | ENOSYS`.
const ENOSYS: u32 = super::ERRNO | 38;

/// A range of system call numbers: from `from` up to the next range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    from: u32,
    then: Then,
    /// How the range's arguments are compared: x32's are narrow, although its
    /// numbers are searched together with x86-64's.
    abi: Abi,
}

/// How a range is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// By an answer of the policy.
    Answer(u16),
    /// ENOSYS: newer than the profile.
    NoSuchCall,
    /// The thread is killed, as for any architecture the profile lacks.
    WrongArchitecture,
}

/// The default answer.
const DEFAULT: Then = Then::Answer(0);

/// Writes the program.
pub(super) fn write(policy: &Policy) -> BpfProgram {
    let mut out = Assembler::new();
    let mut next = out.ret(super::KILL_THREAD);
    for table in policy.tables.iter().rev() {
        let ranges = match table.abi {
            // Both have one audit token; the host's own table comes first.
            Abi::X32 => continue,
            Abi::X86_64 => {
                let x32 = policy.tables.iter().find(|table| table.abi == Abi::X32);
                x86_64_ranges(policy, table, x32)
            }
            _ => ranges(policy, table),
        };
        let found = search(&mut out, policy, &ranges);
        let found = out.load(NR, found);
        next = out.branch(JEQ, table.abi.audit_token(), found, next);
    }
    let first = out.load(ARCH, next);
    out.finish(first)
}

/// The ranges of one convention.
fn ranges(policy: &Policy, table: &Table) -> Vec<Range> {
    let abi = table.abi;
    let mut ranges = vec![Range { from: 0, then: Then::Answer(table.slots[0]), abi }];
    for slot in 1..SLOTS {
        if table.slots[slot] != table.slots[slot - 1] {
            ranges.push(Range { from: number(slot), then: Then::Answer(table.slots[slot]), abi });
        }
    }
    if let Some(last) = newest(policy, table) {
        ranges.push(Range { from: last + 1, then: Then::NoSuchCall, abi });
    }
    ranges
}

/// The last number the profile knows, if anything newer is answered ENOSYS.
///
/// A C library tries a new call first and falls back on ENOSYS, never on EPERM,
/// so a profile older than the program would break it. runc answers ENOSYS
/// unless the default lets calls pass (log and trace do).
fn newest(policy: &Policy, table: &Table) -> Option<u32> {
    let passes =
        matches!(policy.default & super::ACTION_MASK, super::ALLOW | super::LOG | super::TRACE);
    table.last.filter(|_| !passes)
}

/// The ranges of the two conventions that share x86-64's audit token. Numbers
/// of x32 have bit 30 set; -1 (0xffff_ffff) is how a tracer skips a call and so
/// is never the wrong architecture.
fn x86_64_ranges(policy: &Policy, table: &Table, x32: Option<&Table>) -> Vec<Range> {
    let mut all = ranges(policy, table);
    let abi = table.abi;
    let unknown = if newest(policy, table).is_some() { Then::NoSuchCall } else { DEFAULT };
    match x32 {
        Some(x32) => {
            let above = if newest(policy, x32).is_some() { Then::NoSuchCall } else { DEFAULT };
            let shifted = ranges(policy, x32).into_iter();
            all.extend(shifted.map(|range| Range { from: range.from | X32_BIT, ..range }));
            all.push(Range { from: 0x8000_0000, then: unknown, abi });
            all.push(Range { from: 0xc000_0000, then: above, abi });
        }
        None => {
            let beyond = if unknown == DEFAULT { Then::WrongArchitecture } else { unknown };
            all.push(Range { from: X32_BIT, then: Then::WrongArchitecture, abi });
            all.push(Range { from: 0x8000_0000, then: beyond, abi });
            all.push(Range { from: 0xc000_0000, then: Then::WrongArchitecture, abi });
            all.push(Range { from: u32::MAX, then: DEFAULT, abi });
        }
    }
    // Conditional answers belong to one table each, so no two conventions merge here.
    all.dedup_by_key(|range| range.then);
    all
}

/// Finds the range that the accumulator lies in.
fn search(out: &mut Assembler, policy: &Policy, ranges: &[Range]) -> Label {
    if let [range] = ranges {
        return answer(out, policy, range.abi, range.then);
    }
    let middle = ranges.len() / 2;
    let above = search(out, policy, &ranges[middle..]);
    let below = search(out, policy, &ranges[..middle]);
    out.branch(JGE, ranges[middle].from, above, below)
}

fn answer(out: &mut Assembler, policy: &Policy, abi: Abi, then: Then) -> Label {
    let index = match then {
        Then::NoSuchCall => return out.ret(ENOSYS),
        Then::WrongArchitecture => return out.ret(super::KILL_THREAD),
        Then::Answer(index) => index,
    };
    match &policy.answers[usize::from(index)] {
        Answer::Always(action) => out.ret(*action),
        Answer::FirstOf(rules) => {
            let mut otherwise = out.ret(policy.default);
            for rule in rules.iter().rev() {
                let mut met = out.ret(rule.action);
                for condition in rule.conditions.iter().rev() {
                    met = compare(out, abi, condition, met, otherwise);
                }
                otherwise = met;
            }
            otherwise
        }
    }
}

/// Compares an argument: `met` where the condition holds, else `unmet`.
fn compare(
    out: &mut Assembler,
    abi: Abi,
    condition: &Condition,
    met: Label,
    unmet: Label,
) -> Label {
    // The negative operators are the positive ones with the exits exchanged.
    let (test, yes, no) = match condition.op {
        Op::Eq | Op::MaskedEq => (JEQ, met, unmet),
        Op::Ne => (JEQ, unmet, met),
        Op::Gt => (JGT, met, unmet),
        Op::Le => (JGT, unmet, met),
        Op::Ge => (JGE, met, unmet),
        Op::Lt => (JGE, unmet, met),
    };
    let (value, mask) = (condition.value, condition.mask);
    let low = half(out, test, arg_low(condition.arg), value as u32, mask as u32, yes, no);
    if !abi.is_wide() {
        return low;
    }
    let offset = arg_high(condition.arg);
    let (value, mask) = ((value >> 32) as u32, (mask >> 32) as u32);
    if test == JEQ {
        return half(out, JEQ, offset, value, mask, low, no);
    }
    let equal = out.branch(JEQ, value, low, no);
    let differ = out.branch(JGT, value, yes, equal);
    out.load(offset, differ)
}

/// Compares a 32-bit half of an argument.
fn half(
    out: &mut Assembler,
    test: u16,
    offset: u32,
    value: u32,
    mask: u32,
    yes: Label,
    no: Label,
) -> Label {
    if mask == 0 {
        return yes; // nothing of this half is compared
    }
    let mut at = out.branch(test, value, yes, no);
    if mask != u32::MAX {
        at = out.and(mask, at);
    }
    out.load(offset, at)
}
