//! Two programs, call by call.

use std::collections::{BTreeMap, BTreeSet};

use oci_spec::runtime::LinuxSeccomp;
use richrun::error::Error;
use richrun::plan::seccomp::interpret::{Call, Verdict, run};
use richrun::plan::seccomp::{self, Arch};
use seccompiler::sock_filter;
use serde_json::Value;

/// `AUDIT_ARCH_X86_64` (linux/audit.h).
pub const X86_64: u32 = 0xc000_003e;
/// `AUDIT_ARCH_I386`.
pub const X86: u32 = 0x4000_0003;
/// Set in every x32 number.
pub const X32_BIT: u32 = 0x4000_0000;
/// Others: arm, aarch64, riscv64, and none.
const FOREIGN: [u32; 4] = [0x4000_0028, 0xc000_00b7, 0xc000_00f3, 0];

/// `SECCOMP_RET_ERRNO | ENOSYS`.
pub const ENOSYS: u32 = 0x0005_0026;

/// Around which arguments are compared differently.
pub const EDGES: [u64; 9] = [
    0,
    1,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// The most calls made for one number.
const MAX_CALLS: usize = 3_000;

/// What the library makes of a profile.
pub fn compile(profile: &Value) -> Result<Vec<sock_filter>, Error> {
    let profile: LinuxSeccomp = serde_json::from_value(profile.clone()).expect("a profile");
    seccomp::compile(&profile, Arch::X86_64).map(|filter| filter.program)
}

/// A verdict that differs.
#[derive(Debug, Clone)]
pub struct Difference {
    /// The call.
    pub call: Call,
    /// The library's answer.
    pub library: u32,
    /// The other program's.
    pub other: u32,
}

/// Every number that some architecture gives to a call or that a filter's
/// comparisons could take for one.
fn numbers() -> impl Iterator<Item = u32> {
    let edges = [
        0xf_0000,
        0x3fff_ffff,
        X32_BIT - 1,
        0x7fff_ffff,
        0x8000_0000,
        0xbfff_ffff,
        0xc000_0000,
        0xffff_fffe,
        0xffff_ffff,
    ];
    (0..1024).chain((0..1024).map(|number| number | X32_BIT)).chain(edges)
}

/// The values at which a comparison with `values` can change its mind.
fn corners(values: &BTreeSet<u64>) -> Vec<u64> {
    let mut corners = BTreeSet::from(EDGES);
    for value in values {
        corners.extend([
            value.wrapping_sub(1),
            *value,
            value.wrapping_add(1),
            !value,
            value ^ 1,
            value ^ (1 << 32),
            value ^ (1 << 63),
        ]);
    }
    corners.into_iter().collect()
}

/// The values that a profile's conditions compare each argument with.
fn compared(profile: &Value) -> BTreeMap<usize, BTreeSet<u64>> {
    // Argument 0 always: socketcall and ipc look at it.
    let mut found = BTreeMap::from([(0, BTreeSet::new())]);
    for entry in profile["syscalls"].as_array().into_iter().flatten() {
        for arg in entry["args"].as_array().into_iter().flatten() {
            let index = arg["index"].as_u64().expect("index") as usize;
            let set: &mut BTreeSet<u64> = found.entry(index).or_default();
            let value = arg["value"].as_u64().expect("value");
            let two = arg["valueTwo"].as_u64().unwrap_or(0);
            set.extend([value, two, value & two]);
        }
    }
    found
}

/// The argument lists that are tried where a program looks at arguments: every
/// combination of the corners.
fn arguments(profile: &Value) -> Vec<[u64; 6]> {
    let mut lists = vec![[0; 6]];
    for (index, values) in compared(profile) {
        let mut corners = corners(&values);
        // socketcall's and ipc's calls are small numbers.
        if index == 0 {
            corners.extend(2..32);
        }
        lists = lists
            .iter()
            .flat_map(|list| {
                corners.iter().map(move |corner| {
                    let mut list = *list;
                    list[index] = *corner;
                    list
                })
            })
            .collect();
    }
    // An odd step meets all corners of every argument.
    let step = lists.len().div_ceil(MAX_CALLS) | 1;
    lists.into_iter().step_by(step).collect()
}

/// One program's verdict; the kernel would have refused a program without one.
pub fn verdict(program: &[sock_filter], call: &Call) -> Verdict {
    run(program, call).unwrap_or_else(|fault| panic!("{call:x?}: {fault:?}"))
}

/// All the calls for which the programs answer differently.
pub fn differences(
    profile: &Value,
    library: &[sock_filter],
    other: &[sock_filter],
) -> Vec<Difference> {
    let lists = arguments(profile);
    let mut found = Vec::new();
    for arch in [X86_64, X86].into_iter().chain(FOREIGN) {
        for nr in numbers() {
            for args in &lists {
                let call = Call::new(arch, nr, *args);
                let (one, two) = (verdict(library, &call), verdict(other, &call));
                if one.action != two.action {
                    found.push(Difference { call, library: one.action, other: two.action });
                }
                // A verdict for which no argument was read is one for all arguments.
                if !one.read_argument && !two.read_argument {
                    break;
                }
            }
        }
    }
    found
}
