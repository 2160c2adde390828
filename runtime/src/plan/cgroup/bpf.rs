//! The device rules as a program of the kernel (`BPF_PROG_TYPE_CGROUP_DEVICE`,
//! Linux 4.15): v2 has no files for them.
//!
//! The program gets a device and the ways of using it that are asked for, and
//! walks the rules from the last to the first. Each way is decided by the first rule
//! it meets; it ends as soon as one is denied, or all are allowed.

use super::devices::{ALL, DeviceRules, Kind, Rule};

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

/// Result, and scratch.
const R0: u8 = 0;
/// The context (`struct bpf_cgroup_dev_ctx`).
const R1: u8 = 1;
/// The kind of device.
const KIND: u8 = 2;
/// The ways that are not decided yet.
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// `BPF_LDX | BPF_MEM | BPF_W`
const LOAD_WORD: u8 = 0x61;
/// `BPF_ALU64 | BPF_{MOV,AND,RSH} | BPF_{K,X}`
const MOV_IMM: u8 = 0xb7;
const MOV_REG: u8 = 0xbf;
const AND_IMM: u8 = 0x57;
const RSH_IMM: u8 = 0x77;
/// `BPF_JMP | BPF_{JEQ,JNE,EXIT} | BPF_K`
const JEQ_IMM: u8 = 0x15;
const JNE_IMM: u8 = 0x55;
const EXIT: u8 = 0x95;

/// `BPF_DEVCG_DEV_{BLOCK,CHAR}`
fn kind_bits(kind: Kind) -> i32 {
    match kind {
        Kind::Block => 1,
        Kind::Char => 2,
    }
}

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
        insn(LOAD_WORD, MAJOR, R1, 4, 0),
        insn(LOAD_WORD, MINOR, R1, 8, 0),
    ];
    for rule in rules.rules.iter().rev() {
        program.extend(one(rule));
    }
    program.extend(answer(rules.otherwise));
    Some(program)
}

/// The instructions of one rule; they fall through to the next rule's.
fn one(rule: &Rule) -> Vec<Insn> {
    let verdict = match (rule.allow, i32::from(rule.access), rule.access == ALL) {
        (allow, _, true) => answer(allow).to_vec(),
        (true, bits, false) => {
            let [set, exit] = answer(true);
            vec![insn(AND_IMM, ACCESS, 0, 0, !bits), insn(JNE_IMM, ACCESS, 0, 2, 0), set, exit]
        }
        (false, bits, false) => {
            let [set, exit] = answer(false);
            vec![
                insn(MOV_REG, R0, ACCESS, 0, 0),
                insn(AND_IMM, R0, 0, 0, bits),
                insn(JEQ_IMM, R0, 0, 2, 0),
                set,
                exit,
            ]
        }
    };
    let numbers = [(MAJOR, rule.devices.major), (MINOR, rule.devices.minor)];
    let mut tests = vec![(KIND, kind_bits(rule.devices.kind))];
    tests.extend(numbers.iter().filter_map(|(register, number)| {
        // Numbers are below 2^31: `devices::rules` has seen to it.
        number.and_then(|n| i32::try_from(n).ok()).map(|n| (*register, n))
    }));
    let mut block = Vec::with_capacity(tests.len() + verdict.len());
    for (index, (register, value)) in tests.iter().enumerate() {
        let distance = tests.len() - index - 1 + verdict.len();
        // At most 3 + 5 instructions.
        let distance = i16::try_from(distance).unwrap_or(i16::MAX);
        block.push(insn(JNE_IMM, *register, 0, distance, *value));
    }
    block.extend(verdict);
    block
}

/// The end: 1 allows, 0 denies.
fn answer(allow: bool) -> [Insn; 2] {
    [insn(MOV_IMM, R0, 0, 0, allow.into()), insn(EXIT, 0, 0, 0, 0)]
}

const fn insn(code: u8, to: u8, from: u8, off: i16, imm: i32) -> Insn {
    Insn { code, regs: from << 4 | to, off, imm }
}

#[cfg(test)]
mod tests {
    use super::super::devices::{Devices, MKNOD, READ, WRITE};
    use super::*;

    /// Runs a program as the kernel would; `None` when it would be refused
    /// or does not end.
    fn run(program: &[Insn], kind: Kind, access: u8, major: u32, minor: u32) -> Option<bool> {
        let context =
            [i64::from(access) << 16 | i64::from(kind_bits(kind)), major.into(), minor.into()];
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
                AND_IMM => registers[to] = value & imm,
                RSH_IMM => registers[to] = value >> imm,
                JEQ_IMM => jump = value == imm,
                JNE_IMM => jump = value != imm,
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
    fn no_program_where_nothing_is_denied() {
        assert_eq!(compile(&DeviceRules { otherwise: true, rules: vec![] }), None);
        assert!(compile(&DeviceRules { otherwise: false, rules: vec![] }).is_some());
    }
}
