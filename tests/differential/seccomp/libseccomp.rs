//! libseccomp itself beside the library: its table of calls, and what it makes
//! of random profiles. `integration/differential/libseccomp-peer.c` asks it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::compare::compile;
use super::peer::{Peer, list};
use super::random::{Rules, profile, shares_a_call, statements};
use richrun::plan::seccomp::calls;
use richrun_tests::Trial;
use seccompiler::sock_filter;

/// x86's numbers of the calls through which others are made.
const SOCKETCALL: u32 = 102;
const IPC: u32 = 117;

/// How many random profiles are compared.
const PROFILES: u64 = 300;

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
        let profile = profile(seed, Rules::Meeting);
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
