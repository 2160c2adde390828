//! Random profiles, the same in every run, and what runc asks libseccomp for each.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Value, json};

use super::compare::EDGES;
use super::profiles::IDLE_CALLS;
use crate::dice::Dice;

/// Actions and what they return.
const ACTIONS: [(&str, u32); 8] = [
    ("ALLOW", 0x7fff_0000),
    ("ERRNO", 0x0005_0000),
    ("TRAP", 0x0003_0000),
    ("LOG", 0x7ffc_0000),
    ("KILL_PROCESS", 0x8000_0000),
    ("KILL_THREAD", 0),
    ("KILL", 0),
    ("TRACE", 0x7ff0_0000),
];

/// Those that take an errno.
const WITH_ERRNO: [&str; 2] = ["ERRNO", "TRACE"];

/// Operators in the order of libseccomp's `enum scmp_compare`, which starts at 1.
const OPERATORS: [&str; 7] = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];

/// Architectures and libseccomp's tokens for them.
const ARCHITECTURES: [(&str, u32); 3] =
    [("X86_64", 0xc000_003e), ("X86", 0x4000_0003), ("X32", 0x4000_003e)];

/// Names that no libseccomp knows.
const UNKNOWN: [&str; 3] = ["no_such_call", "Sysinfo", "sys_kcmp"];

/// Whether rules of one call may come several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// On few calls, so that they meet.
    Meeting,
    /// One for each call, of calls that a sleeping container does not make; the
    /// default lets it start.
    Lone,
}

/// A profile of up to eight rules.
pub fn profile(seed: u64, rules: Rules) -> Value {
    let mut dice = Dice::new(seed);
    let mut architectures = Vec::new();
    for (name, _) in ARCHITECTURES {
        if dice.roll(3) > 0 {
            architectures.push(format!("SCMP_ARCH_{name}"));
        }
    }
    let mut free: Vec<&str> = IDLE_CALLS.to_vec();
    let mut entries = Vec::new();
    for _ in 0..1 + dice.roll(8) {
        let mut names = Vec::new();
        for _ in 0..1 + dice.roll(6) / 4 {
            names.push(match rules {
                Rules::Meeting => dice.pick(&IDLE_CALLS[..8]),
                Rules::Lone if free.is_empty() => UNKNOWN[0],
                Rules::Lone => free.swap_remove(dice.roll(free.len() as u64) as usize),
            });
        }
        if dice.roll(8) == 0 {
            names.insert(0, dice.pick(&UNKNOWN));
        }
        let args = arguments(&mut dice, rules);
        let action = dice.pick(&ACTIONS).0;
        let mut entry =
            json!({"names": names, "action": format!("SCMP_ACT_{action}"), "args": args});
        if WITH_ERRNO.contains(&action) && dice.roll(4) > 0 {
            entry["errnoRet"] = json!(dice.roll(4096));
        }
        entries.push(entry);
    }
    let mut whole = json!({"architectures": architectures, "syscalls": entries});
    let default = match rules {
        Rules::Meeting => dice.pick(&ACTIONS).0,
        Rules::Lone => dice.pick(&["ALLOW", "LOG"]),
    };
    whole["defaultAction"] = json!(format!("SCMP_ACT_{default}"));
    if WITH_ERRNO.contains(&default) && dice.roll(2) > 0 {
        whole["defaultErrnoRet"] = json!(dice.roll(4096));
    }
    whole
}

/// The conditions of a rule: none for every other one, now and then two of one argument.
fn arguments(dice: &mut Dice, rules: Rules) -> Vec<Value> {
    let values = [&EDGES[..], &[2, 0xff]].concat();
    let count = dice.roll(4).saturating_sub(1);
    let twice = count > 0 && rules == Rules::Meeting && dice.roll(8) == 0;
    let places = (0..count).chain(twice.then_some(0));
    places
        .map(|place| {
            json!({
                "index": place * 2 + if twice { 0 } else { dice.roll(2) },
                "op": format!("SCMP_CMP_{}", dice.pick(&OPERATORS)),
                "value": dice.pick(&values),
                "valueTwo": dice.pick(&values),
            })
        })
        .collect()
}

/// Whether a call has several conditional rules.
pub fn shares_a_call(profile: &Value) -> bool {
    let entries = profile["syscalls"].as_array().expect("syscalls");
    let mut names = Vec::new();
    for entry in entries {
        let rules = split(entry).len();
        if entry["args"].as_array().is_some_and(|args| !args.is_empty()) {
            let list = entry["names"].as_array().expect("names").iter();
            names.extend(list.flat_map(|name| vec![name.to_string(); rules]));
        }
    }
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

/// What a rule's action returns.
fn action(entry: &Value, field: &str, errno: &str) -> u32 {
    let word = entry[field].as_str().expect("an action").trim_start_matches("SCMP_ACT_");
    let (_, value) = ACTIONS.iter().find(|(name, _)| *name == word).expect("a known action");
    let errno = entry[errno].as_u64().unwrap_or(1) as u32;
    if WITH_ERRNO.contains(&word) { value | errno } else { *value }
}

/// An entry's conditions, a list for each rule that runc makes of it: one of all, or
/// one for each condition where an argument has two.
fn split(entry: &Value) -> Vec<Vec<&Value>> {
    let args: Vec<&Value> = entry["args"].as_array().into_iter().flatten().collect();
    let places: BTreeSet<u64> = args.iter().filter_map(|arg| arg["index"].as_u64()).collect();
    match places.len() < args.len() {
        true => args.into_iter().map(|arg| vec![arg]).collect(),
        false => vec![args],
    }
}

/// A profile as the calls of libseccomp that runc makes for it.
pub fn statements(profile: &Value) -> String {
    let default = action(profile, "defaultAction", "defaultErrnoRet");
    let mut text = format!("default {default:x}\n");
    for arch in profile["architectures"].as_array().into_iter().flatten() {
        let word = arch.as_str().expect("an architecture").trim_start_matches("SCMP_ARCH_");
        let (_, token) = ARCHITECTURES.iter().find(|(name, _)| *name == word).expect("known");
        let _ = writeln!(text, "arch {token:x}");
    }
    for entry in profile["syscalls"].as_array().into_iter().flatten() {
        let action = action(entry, "action", "errnoRet");
        if action == default {
            continue;
        }
        for name in entry["names"].as_array().into_iter().flatten() {
            for args in split(entry) {
                let _ = write!(text, "rule {action:x} {}", name.as_str().expect("a name"));
                args.into_iter().for_each(|arg| condition(&mut text, arg));
                text.push('\n');
            }
        }
    }
    text
}

fn condition(text: &mut String, arg: &Value) {
    let op = arg["op"].as_str().expect("an operator").trim_start_matches("SCMP_CMP_");
    let op = OPERATORS.iter().position(|name| *name == op).expect("a known operator") + 1;
    let number = |field: &str| arg[field].as_u64().expect("a number");
    let (index, one, two) = (number("index"), number("value"), number("valueTwo"));
    let _ = write!(text, " {index:x} {op:x} {one:x} {two:x}");
}
