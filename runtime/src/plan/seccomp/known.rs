//! The words of a profile that are understood: for the Features document.

use oci_spec::runtime::{
    Arch as SpecArch, LinuxSeccompAction as Action, LinuxSeccompFilterFlag as FilterFlag,
    LinuxSeccompOperator as Operator,
};

use super::Arch;

/// What `action` and `defaultAction` may be.
pub const ACTIONS: [Action; 9] = [
    Action::ScmpActAllow,
    Action::ScmpActErrno,
    Action::ScmpActKill,
    Action::ScmpActKillProcess,
    Action::ScmpActKillThread,
    Action::ScmpActLog,
    Action::ScmpActNotify,
    Action::ScmpActTrace,
    Action::ScmpActTrap,
];

/// What `op` may be.
pub const OPERATORS: [Operator; 7] = [
    Operator::ScmpCmpEq,
    Operator::ScmpCmpGe,
    Operator::ScmpCmpGt,
    Operator::ScmpCmpLe,
    Operator::ScmpCmpLt,
    Operator::ScmpCmpMaskedEq,
    Operator::ScmpCmpNe,
];

/// What `flags` may have.
pub const FLAGS: [FilterFlag; 4] = [
    FilterFlag::SeccompFilterFlagLog,
    FilterFlag::SeccompFilterFlagSpecAllow,
    FilterFlag::SeccompFilterFlagTsync,
    FilterFlag::SeccompFilterFlagWaitKillableRecv,
];

/// The architectures whose programs can be filtered on some host.
pub fn archs() -> Vec<SpecArch> {
    let named = [
        SpecArch::ScmpArchAarch64,
        SpecArch::ScmpArchArm,
        SpecArch::ScmpArchRiscv64,
        SpecArch::ScmpArchX32,
        SpecArch::ScmpArchX86,
        SpecArch::ScmpArchX86_64,
    ];
    let hosts = [Arch::X86_64, Arch::Aarch64, Arch::Riscv64];
    let filtered = |arch: &SpecArch| hosts.iter().any(|host| host.runs(*arch).is_some());
    named.into_iter().filter(filtered).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::seccomp::compile;

    /// Compiles a profile with one more rule; what has no effect is told.
    fn warnings(fields: serde_json::Value) -> Vec<String> {
        let mut profile = serde_json::json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/l", "flags": [],
            "syscalls": [{"names": ["getpid"], "action": "SCMP_ACT_NOTIFY"}]
        });
        for (key, value) in fields.as_object().unwrap() {
            profile[key] = value.clone();
        }
        compile(&serde_json::from_value(profile).unwrap(), Arch::NATIVE).unwrap().warnings
    }

    #[test]
    fn every_word_compiles_and_has_an_effect() {
        for action in ACTIONS {
            let rule = serde_json::json!({"names": ["getpid"], "action": action});
            assert_eq!(warnings(serde_json::json!({"syscalls": [rule]})), [""; 0], "{action}");
        }
        for op in OPERATORS {
            let args = serde_json::json!([{"index": 0, "value": 1, "valueTwo": 1, "op": op}]);
            let rule =
                serde_json::json!({"names": ["dup"], "action": "SCMP_ACT_TRAP", "args": args});
            assert_eq!(warnings(serde_json::json!({"syscalls": [rule]})), [""; 0], "{op}");
        }
        for flag in FLAGS {
            assert_eq!(warnings(serde_json::json!({"flags": [flag]})), [""; 0], "{flag}");
        }
    }

    #[test]
    fn every_listed_architecture_has_a_host() {
        assert_eq!(archs().len(), 6);
    }
}
