//! libseccomp itself beside the library: its table of calls, and what it makes
//! of random profiles. `integration/differential/libseccomp-peer.c` asks it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use richrun::plan::seccomp::calls;
use richrun_tests::Trial;
use seccompiler::sock_filter;
use serde_json::{Value, json};

use super::compare::{EDGES, compile};
use super::peer::{Peer, list};
use super::profiles::IDLE_CALLS;

/// x86's numbers of the calls through which others are made.
const SOCKETCALL: u32 = 102;
const IPC: u32 = 117;

/// How many random profiles are compared.
const PROFILES: u64 = 60;

/// Builds the program that asks libseccomp; ends the trial where it cannot be built.
fn build(t: &Trial) -> PathBuf {
    let source =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../integration/differential/libseccomp-peer.c");
    for (file, package) in [("/usr/include/seccomp.h", "libseccomp-dev"), ("/usr/bin/cc", "gcc")] {
        if !Path::new(file).exists() {
            t.skip(&format!("{package} is not installed"));
        }
    }
    let program = t.dir.join("libseccomp-peer");
    let (source, output) = (source.to_str().expect("utf-8"), program.to_str().expect("utf-8"));
    t.cmd("/usr/bin/cc", &["-O1", "-o", output, source, "-lseccomp"]).ok();
    program
}

/// The numbers that libseccomp gives to the names it knows.
fn table(t: &Trial, program: &Path) -> BTreeMap<String, [Option<u32>; 6]> {
    let program = program.to_str().expect("utf-8 path");
    let names = t.cmd(program, &["names"]).ok().out;
    let mut names: Vec<_> = names.split_whitespace().collect();
    names.sort_unstable();
    names.dedup();
    let words: Vec<_> = std::iter::once("numbers").chain(names).collect();
    let out = t.cmd(program, &words).ok().out;
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next().expect("a name").to_owned();
        let numbers: Vec<Option<u32>> = words.map(|word| word.parse().ok()).collect();
        (name, numbers.try_into().expect("six numbers"))
    };
    out.lines().map(row).collect()
}

/// Every name that libseccomp knows has the same number in the library's table.
pub fn same_table(t: &Trial) {
    let own: BTreeMap<_, _> = calls().collect();
    let theirs = table(t, &build(t));
    assert!(theirs.len() > 400, "libseccomp names {} calls", theirs.len());
    let mut wrong = String::new();
    for (name, mut numbers) in theirs {
        // The library keeps x32's numbers without their bit.
        numbers[2] = numbers[2].map(|number| number & !super::compare::X32_BIT);
        // For what x86 has only through socketcall and ipc, libseccomp says so.
        if !["socketcall", "ipc"].contains(&name.as_str()) {
            numbers[1] = numbers[1].filter(|number| ![SOCKETCALL, IPC].contains(number));
        }
        match own.get(name.as_str()) {
            None => {
                let _ = writeln!(wrong, "{name}: not known; libseccomp {numbers:?}");
            }
            Some(known) if *known != numbers => {
                let _ = writeln!(wrong, "{name}: {known:?}; libseccomp {numbers:?}");
            }
            Some(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Random profiles get the same verdicts, or are refused by both.
///
/// Where a call has several conditional rules, libseccomp keeps them in one tree,
/// which now and then loses a rule that shares its first comparisons with another
/// (the default answers then), takes an overlap for a contradiction (EEXIST), or
/// is never done. The library decides by what the rules say. Such profiles must be
/// few, and profiles without such calls have no difference at all.
pub fn same_verdicts(t: &Trial) {
    let program = build(t);
    let known = table(t, &program);
    let peer = Peer::lacking(None, |name, _| known.contains_key(name));
    let (mut compared, mut odd) = (0, 0u64);
    for seed in 0..PROFILES {
        let profile = random(seed);
        let agreed = match (export(t, &program, &statements(&profile)), compile(&profile)) {
            (None, Err(_)) => continue,
            (None, Ok(_)) => false,
            (Some(_), Err(error)) => panic!("seed {seed}: {error}: {profile}"),
            (Some(program), Ok(_)) => {
                let wrong = peer.wrong(&profile, &program);
                let told = list(&wrong);
                assert!(wrong.is_empty() || shares_a_call(&profile), "{seed}: {told}{profile}");
                wrong.is_empty()
            }
        };
        assert!(agreed || shares_a_call(&profile), "seed {seed}: refused: {profile}");
        compared += 1;
        odd += u64::from(!agreed);
    }
    eprintln!("{compared} profiles compared, {odd} of them odd");
    assert!(compared > PROFILES * 3 / 4, "{compared} of {PROFILES} profiles were compared");
    assert!(odd * 5 < compared, "{odd} of {compared} profiles differ");
}

/// Whether a call has several conditional rules.
fn shares_a_call(profile: &Value) -> bool {
    let entries = profile["syscalls"].as_array().expect("syscalls");
    let conditional =
        entries.iter().filter(|e| e["args"].as_array().is_some_and(|a| !a.is_empty()));
    let mut names: Vec<_> = conditional.map(|entry| entry["names"].to_string()).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

/// The program that libseccomp makes of the statements, unless it refuses them or
/// finds no end.
fn export(t: &Trial, program: &Path, statements: &str) -> Option<Vec<sock_filter>> {
    let place = t.dir.join("program.bpf");
    let file = std::fs::File::create(&place).expect("create the output");
    let program = program.to_str().expect("utf-8 path");
    let command = t.cmd("/usr/bin/timeout", &["3", program, "compile"]);
    let out = command.input(statements).stdio(1, file).run();
    if out.code != 0 {
        const TIMED_OUT: i32 = 124;
        assert!([3, TIMED_OUT].contains(&out.code), "{}: {}", out.code, out.err);
        return None;
    }
    let bytes = std::fs::read(&place).expect("read the program");
    let (lines, rest) = bytes.as_chunks::<8>();
    assert!(rest.is_empty() && !lines.is_empty(), "{} bytes", bytes.len());
    let line = |b: &[u8; 8]| sock_filter {
        code: u16::from_le_bytes([b[0], b[1]]),
        jt: b[2],
        jf: b[3],
        k: u32::from_le_bytes([b[4], b[5], b[6], b[7]]),
    };
    Some(lines.iter().map(line).collect())
}

/// A small generator of numbers (xorshift64*): the profiles are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.roll(list.len() as u64) as usize]
    }
}

const ACTIONS: [(&str, u32); 5] = [
    ("ALLOW", 0x7fff_0000),
    ("ERRNO", 0x0005_0000),
    ("TRAP", 0x0003_0000),
    ("LOG", 0x7ffc_0000),
    ("KILL_PROCESS", 0x8000_0000),
];

/// Operators in the order of libseccomp's `enum scmp_compare`, which starts at 1.
const OPERATORS: [&str; 7] = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];

/// Architectures and libseccomp's tokens for them.
const ARCHITECTURES: [(&str, u32); 3] =
    [("X86_64", 0xc000_003e), ("X86", 0x4000_0003), ("X32", 0x4000_003e)];

/// A profile of up to eight rules on few calls, so that rules meet.
fn random(seed: u64) -> Value {
    let values = [&EDGES[..], &[2, 0xff]].concat();
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut architectures = Vec::new();
    for (name, _) in ARCHITECTURES {
        if dice.roll(3) > 0 {
            architectures.push(format!("SCMP_ARCH_{name}"));
        }
    }
    let mut entries = Vec::new();
    for _ in 0..1 + dice.roll(8) {
        let mut args = Vec::new();
        let count = dice.roll(4).saturating_sub(1);
        for index in 0..count {
            args.push(json!({
                "index": index * 2 + dice.roll(2),
                "op": format!("SCMP_CMP_{}", dice.pick(&OPERATORS)),
                "value": dice.pick(&values),
                "valueTwo": dice.pick(&values),
            }));
        }
        let action = dice.pick(&ACTIONS).0;
        let mut entry = json!({
            "names": [dice.pick(&IDLE_CALLS[..8])],
            "action": format!("SCMP_ACT_{action}"),
            "args": args,
        });
        if action == "ERRNO" {
            entry["errnoRet"] = json!(dice.roll(40));
        }
        entries.push(entry);
    }
    let default = dice.pick(&ACTIONS).0;
    json!({
        "defaultAction": format!("SCMP_ACT_{default}"),
        "architectures": architectures,
        "syscalls": entries,
    })
}

/// What a rule's action returns.
fn action(entry: &Value, field: &str, errno: &str) -> u32 {
    let word = entry[field].as_str().expect("an action").trim_start_matches("SCMP_ACT_");
    let (_, value) = ACTIONS.iter().find(|(name, _)| *name == word).expect("a known action");
    let errno = entry[errno].as_u64().unwrap_or(1) as u32;
    if word == "ERRNO" { value | errno } else { *value }
}

/// A profile as the calls of libseccomp that runc makes for it.
fn statements(profile: &Value) -> String {
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
        let _ = write!(text, "rule {action:x} {}", entry["names"][0].as_str().expect("a name"));
        for arg in entry["args"].as_array().into_iter().flatten() {
            let op = arg["op"].as_str().expect("an operator").trim_start_matches("SCMP_CMP_");
            let op = OPERATORS.iter().position(|name| *name == op).expect("a known operator") + 1;
            let number = |field: &str| arg[field].as_u64().expect("a number");
            let (index, one, two) = (number("index"), number("value"), number("valueTwo"));
            let _ = write!(text, " {index:x} {op:x} {one:x} {two:x}");
        }
        text.push('\n');
    }
    text
}
