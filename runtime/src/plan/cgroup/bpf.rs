//! The device rules as a program of the kernel (`BPF_PROG_TYPE_CGROUP_DEVICE`,
//! Linux 4.15): v2 has no files for them.
//!
//! The program gets a device and the ways of using it that are asked for. What the rules come to
//! is known when it is written: for each range of devices, which ways are allowed. It searches for the range of
//! its device by halves, so ten thousand rules take some fourteen comparisons, and the kernel,
//! which follows every way through a program before it takes it, has no more ways to follow than
//! there are ranges.

use std::collections::BTreeMap;

use super::devices::{ALL, DeviceRules, Devices, Kind, Rule};

/// One instruction (`struct bpf_insn`, linux/bpf.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Insn {
    /// Operation.
    pub code: u8,
    /// Destination register in the low half, source register in the high one.
    pub regs: u8,
    /// Jump distance, or offset in memory.
    pub off: i16,
    /// Constant.
    pub imm: i32,
}

/// The most instructions that a kernel takes (`BPF_COMPLEXITY_LIMIT_INSNS`, Linux 5.2; 4096 before).
pub const MOST: usize = 1_000_000;

/// Result.
const R0: u8 = 0;
/// The context (`struct bpf_cgroup_dev_ctx`).
const R1: u8 = 1;
/// The kind of device.
const KIND: u8 = 2;
/// The ways that are asked for.
const ACCESS: u8 = 3;
/// The device's number: [`FIRST`] and up, in the order of major and minor.
const NUMBER: u8 = 4;
const MINOR: u8 = 5;

/// `BPF_LDX | BPF_MEM | BPF_W`
const LOAD_WORD: u8 = 0x61;
/// `BPF_ALU64 | BPF_{MOV,ADD,AND,OR,LSH,RSH} | BPF_{K,X}`
const MOV_IMM: u8 = 0xb7;
const MOV_REG: u8 = 0xbf;
const ADD_IMM: u8 = 0x07;
const AND_IMM: u8 = 0x57;
const OR_REG: u8 = 0x4f;
const LSH_IMM: u8 = 0x67;
const RSH_IMM: u8 = 0x77;
/// `BPF_JMP | BPF_{JNE,JSGE,EXIT} | BPF_K`
const JNE_IMM: u8 = 0x55;
const JSGE_IMM: u8 = 0x75;
const EXIT: u8 = 0x95;

/// The bits of a major and of a minor number (`MAJOR`, `MINOR` of linux/kdev_t.h): together as
/// many as an instruction's constant has.
const MAJOR_BITS: u32 = 12;
const MINOR_BITS: u32 = 20;
/// A constant is signed, so numbers begin here.
const FIRST: i32 = i32::MIN;

/// How many ranges are searched by halves in one piece, so that no jump is too long for its 16
/// bits: a range has at most six instructions. Pieces are passed one after the other.
const PIECE: usize = 4096;

/// `BPF_DEVCG_DEV_CHAR`; a block device is 1.
const CHAR: i32 = 2;

/// What is allowed from one device's number on, up to the next one: bits.
type Ranges = BTreeMap<u32, u8>;

/// Compiles rules; `None` when nothing is denied and so no program is needed.
pub fn compile(rules: &DeviceRules) -> Option<Vec<Insn>> {
    if rules.allow_everything() {
        return None;
    }
    let mut program = vec![
        insn(LOAD_WORD, KIND, R1, 0, 0),
        insn(MOV_REG, ACCESS, KIND, 0, 0),
        insn(AND_IMM, KIND, 0, 0, 0xffff),
        insn(RSH_IMM, ACCESS, 0, 0, 16),
        insn(LOAD_WORD, NUMBER, R1, 4, 0),
        insn(LSH_IMM, NUMBER, 0, 0, MINOR_BITS as i32),
        insn(LOAD_WORD, MINOR, R1, 8, 0),
        insn(OR_REG, NUMBER, MINOR, 0, 0),
        insn(ADD_IMM, NUMBER, 0, 0, FIRST),
    ];
    program.extend(pieces(&ranges(rules, Kind::Char), true));
    program.extend(pieces(&ranges(rules, Kind::Block), false));
    Some(program)
}

/// What the rules come to for one kind of device, in ascending order, neighbours different.
fn ranges(rules: &DeviceRules, kind: Kind) -> Vec<(u32, u8)> {
    let mut ranges = Ranges::from([(0, if rules.otherwise { ALL } else { 0 })]);
    for rule in rules.rules.iter().filter(|rule| rule.devices.kind == kind) {
        let Devices { major, minor, .. } = rule.devices;
        // Numbers that no device can have say nothing.
        if major.is_some_and(|n| n >> MAJOR_BITS != 0)
            || minor.is_some_and(|n| n >> MINOR_BITS != 0)
        {
            continue;
        }
        let first = |major: u32| major << MINOR_BITS;
        let last = |major: u32| first(major) | ((1 << MINOR_BITS) - 1);
        match (major, minor) {
            (None, None) => paint(&mut ranges, 0, u32::MAX, rule),
            (Some(major), None) => paint(&mut ranges, first(major), last(major), rule),
            (Some(major), Some(minor)) => {
                paint(&mut ranges, first(major) | minor, first(major) | minor, rule);
            }
            (None, Some(minor)) => {
                for major in 0..1 << MAJOR_BITS {
                    paint(&mut ranges, first(major) | minor, first(major) | minor, rule);
                }
            }
        }
    }
    let mut ranges: Vec<(u32, u8)> = ranges.into_iter().collect();
    ranges.dedup_by_key(|(_, allowed)| *allowed);
    ranges
}

/// Has a rule hold from `first` to `last`.
fn paint(ranges: &mut Ranges, first: u32, last: u32, rule: &Rule) {
    for start in [Some(first), last.checked_add(1)].into_iter().flatten() {
        let before = ranges.range(..=start).next_back().map_or(0, |(_, allowed)| *allowed);
        ranges.entry(start).or_insert(before);
    }
    for (_, allowed) in ranges.range_mut(first..=last) {
        match rule.allow {
            true => *allowed |= rule.access,
            false => *allowed &= !rule.access,
        }
    }
}

/// The answers for devices of one kind. `char`: for character devices alone; a device that is none
/// passes behind the last instruction.
fn pieces(ranges: &[(u32, u8)], char: bool) -> Vec<Insn> {
    let mut program = Vec::new();
    let mut pieces = ranges.chunks(PIECE).peekable();
    while let Some(piece) = pieces.next() {
        let mut body = search(piece);
        if let Some([(next, _), ..]) = pieces.peek() {
            body.insert(0, number_from(*next, body.len()));
        }
        if char {
            body.insert(0, insn(JNE_IMM, KIND, 0, distance(body.len()), CHAR));
        }
        program.extend(body);
    }
    program
}

/// Searches for the device's range by halves, and answers.
fn search(ranges: &[(u32, u8)]) -> Vec<Insn> {
    match ranges {
        [] => Vec::new(),
        [(_, allowed)] => answer(*allowed),
        _ => {
            let (lower, upper) = ranges.split_at(ranges.len() / 2);
            let below = search(lower);
            let mut program = vec![number_from(upper[0].0, below.len())];
            program.extend(below);
            program.extend(search(upper));
            program
        }
    }
}

/// Passes so many instructions if the device's number is `first` or above.
fn number_from(first: u32, passed: usize) -> Insn {
    insn(JSGE_IMM, NUMBER, 0, distance(passed), (first as i32).wrapping_add(FIRST))
}

/// A jump is within a piece, which is shorter.
fn distance(passed: usize) -> i16 {
    i16::try_from(passed).unwrap_or(i16::MAX)
}

/// The end: 1 allows, 0 denies. It allows what is within `allowed`.
fn answer(allowed: u8) -> Vec<Insn> {
    let end = |allow: bool| [insn(MOV_IMM, R0, 0, 0, allow.into()), insn(EXIT, 0, 0, 0, 0)];
    match allowed {
        0 => end(false).to_vec(),
        ALL => end(true).to_vec(),
        some => {
            let [allow, exit] = end(true);
            let [deny, _] = end(false);
            let beyond = insn(AND_IMM, ACCESS, 0, 0, !i32::from(some));
            vec![beyond, deny, insn(JNE_IMM, ACCESS, 0, 1, 0), allow, exit]
        }
    }
}

const fn insn(code: u8, to: u8, from: u8, off: i16, imm: i32) -> Insn {
    Insn { code, regs: from << 4 | to, off, imm }
}

#[cfg(test)]
mod tests {
    use super::super::devices::{MKNOD, READ, WRITE};
    use super::*;

    /// Runs a program as the kernel would; `None` when it would be refused
    /// or does not end.
    fn run(program: &[Insn], kind: Kind, access: u8, major: u32, minor: u32) -> Option<bool> {
        let kind = if kind == Kind::Char { 2 } else { 1 };
        let context = [i64::from(access) << 16 | kind, major.into(), minor.into()];
        let mut registers = [0_i64; 11];
        let mut at = 0_usize;
        for _ in 0..program.len() {
            let insn = program.get(at)?;
            let (to, from) = (usize::from(insn.regs & 15), usize::from(insn.regs >> 4));
            let (value, imm) = (registers[to], i64::from(insn.imm));
            let mut jump = false;
            match insn.code {
                LOAD_WORD => registers[to] = *context.get(usize::try_from(insn.off).ok()? / 4)?,
                MOV_IMM => registers[to] = imm,
                MOV_REG => registers[to] = registers[from],
                ADD_IMM => registers[to] = value + imm,
                AND_IMM => registers[to] = value & imm,
                OR_REG => registers[to] = value | registers[from],
                LSH_IMM => registers[to] = value << imm,
                RSH_IMM => registers[to] = value >> imm,
                JNE_IMM => jump = value != imm,
                JSGE_IMM => jump = value >= imm,
                EXIT => return Some(registers[0] != 0),
                _ => return None,
            }
            let step = if jump { 1 + usize::try_from(insn.off).ok()? } else { 1 };
            at += step;
        }
        None
    }

    /// What the rules mean: each way of using is decided by the last rule that
    /// speaks of it.
    fn meant(rules: &DeviceRules, device: Devices, access: u8) -> bool {
        [MKNOD, READ, WRITE].iter().filter(|bit| access & **bit != 0).all(|bit| {
            rules
                .rules
                .iter()
                .rev()
                .find(|rule| {
                    rule.access & bit != 0
                        && rule.devices.kind == device.kind
                        && rule.devices.major.is_none_or(|n| Some(n) == device.major)
                        && rule.devices.minor.is_none_or(|n| Some(n) == device.minor)
                })
                .map_or(rules.otherwise, |rule| rule.allow)
        })
    }

    fn check(rules: &DeviceRules) {
        let program = compile(rules);
        for kind in [Kind::Block, Kind::Char] {
            for (major, minor) in (0..4).flat_map(|a| (0..4).map(move |b| (a, b))) {
                for access in 1..=ALL {
                    let device = Devices { kind, major: Some(major), minor: Some(minor) };
                    let got = match &program {
                        None => Some(true),
                        Some(program) => run(program, kind, access, major, minor),
                    };
                    let want = Some(meant(rules, device, access));
                    assert_eq!(got, want, "{kind:?} {major}:{minor} {access} under {rules:?}");
                }
            }
        }
    }

    #[test]
    fn a_program_does_what_random_rules_mean() {
        let mut seed = 12345_u32;
        let mut next = |below: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) % below
        };
        for _ in 0..3000 {
            let otherwise = next(2) == 1;
            let rules = (0..next(7))
                .map(|_| Rule {
                    allow: next(2) == 1,
                    devices: Devices {
                        kind: if next(2) == 1 { Kind::Block } else { Kind::Char },
                        major: (next(3) > 0).then(|| next(4)),
                        minor: (next(3) > 0).then(|| next(4)),
                    },
                    access: u8::try_from(1 + next(7)).unwrap(),
                })
                .collect();
            check(&DeviceRules { otherwise, rules });
        }
    }

    #[test]
    fn ten_thousand_rules_are_a_short_search() {
        let rule = |n: u32| Rule {
            allow: true,
            devices: Devices {
                kind: if n.is_multiple_of(5) { Kind::Block } else { Kind::Char },
                major: Some(10 + n / 200),
                minor: Some(n % 200 * 2),
            },
            access: [READ, READ | WRITE, ALL][n as usize % 3],
        };
        let rules = DeviceRules { otherwise: false, rules: (0..10_000).map(rule).collect() };
        let program = compile(&rules).unwrap();
        assert!(program.len() < MOST / 10, "{}", program.len());
        for n in (0..10_000).step_by(7) {
            let device = rule(n).devices;
            let (major, minor) = (device.major.unwrap(), device.minor.unwrap());
            for access in 1..=ALL {
                let got = run(&program, device.kind, access, major, minor);
                assert_eq!(got, Some(access & !rule(n).access == 0), "{n} {access}");
                assert_eq!(run(&program, device.kind, access, major, minor + 1), Some(false));
            }
        }
        // Beyond every rule, the last number of all, and a kind of device with few.
        for (major, minor) in [(0, 0), (4095, (1 << 20) - 1), (2047, 5), (2048, 0)] {
            for kind in [Kind::Char, Kind::Block] {
                assert_eq!(run(&program, kind, READ, major, minor), Some(false), "{major}:{minor}");
            }
        }
    }

    #[test]
    fn numbers_that_no_device_has_say_nothing() {
        let devices = Devices { kind: Kind::Char, major: Some(4096 + 1), minor: Some(3) };
        let rule = Rule { allow: true, devices, access: ALL };
        let far = Rule {
            devices: Devices { major: Some(1), minor: Some((1 << 20) + 3), ..devices },
            ..rule
        };
        let rules = DeviceRules { otherwise: false, rules: vec![rule, far] };
        let nothing = DeviceRules { otherwise: false, rules: vec![] };
        assert_eq!(compile(&rules), compile(&nothing));
    }

    #[test]
    fn the_highest_majors_are_found_too() {
        for major in [2047, 2048, 4095] {
            let devices = Devices { kind: Kind::Block, major: Some(major), minor: None };
            let rule = Rule { allow: true, devices, access: ALL };
            let program = compile(&DeviceRules { otherwise: false, rules: vec![rule] }).unwrap();
            for other in [0, 1, 2046, 2047, 2048, 2049, 4095] {
                let got = run(&program, Kind::Block, READ, other, 9);
                assert_eq!(got, Some(other == major), "{other} under {major}");
            }
        }
    }

    #[test]
    fn no_program_where_nothing_is_denied() {
        assert_eq!(compile(&DeviceRules { otherwise: true, rules: vec![] }), None);
        assert!(compile(&DeviceRules { otherwise: false, rules: vec![] }).is_some());
    }
}
