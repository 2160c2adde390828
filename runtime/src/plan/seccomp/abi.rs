//! Architectures: what the host runs, and the calling conventions it brings.

use oci_spec::runtime::Arch as SpecArch;

/// The host's architecture, which decides what a profile can apply to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// x86-64, which also runs x86 and x32 programs.
    X86_64,
    /// 64-bit ARM, which also runs 32-bit ARM programs.
    Aarch64,
    /// 64-bit RISC-V.
    Riscv64,
}

impl Arch {
    /// The architecture this binary was built for.
    #[cfg(target_arch = "x86_64")]
    pub const NATIVE: Arch = Arch::X86_64;
    /// The architecture this binary was built for.
    #[cfg(target_arch = "aarch64")]
    pub const NATIVE: Arch = Arch::Aarch64;
    /// The architecture this binary was built for.
    #[cfg(target_arch = "riscv64")]
    pub const NATIVE: Arch = Arch::Riscv64;

    /// The calling convention of the host's own programs.
    pub(super) fn abi(self) -> Abi {
        match self {
            Arch::X86_64 => Abi::X86_64,
            Arch::Aarch64 => Abi::Aarch64,
            Arch::Riscv64 => Abi::Riscv64,
        }
    }

    /// The convention that a profile's architecture names, if programs of that
    /// architecture can run on this host.
    pub(super) fn runs(self, arch: SpecArch) -> Option<Abi> {
        match (self, arch) {
            (_, SpecArch::ScmpArchNative) => Some(self.abi()),
            (Arch::X86_64, SpecArch::ScmpArchX86_64) => Some(Abi::X86_64),
            (Arch::X86_64, SpecArch::ScmpArchX86) => Some(Abi::X86),
            (Arch::X86_64, SpecArch::ScmpArchX32) => Some(Abi::X32),
            (Arch::Aarch64, SpecArch::ScmpArchAarch64) => Some(Abi::Aarch64),
            (Arch::Aarch64, SpecArch::ScmpArchArm) => Some(Abi::Arm),
            (Arch::Riscv64, SpecArch::ScmpArchRiscv64) => Some(Abi::Riscv64),
            _ => None,
        }
    }
}

/// A calling convention: one column of the system call table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Abi {
    X86_64 = 0,
    X86 = 1,
    X32 = 2,
    Arm = 3,
    Aarch64 = 4,
    Riscv64 = 5,
}

/// How many conventions there are.
pub(super) const ABIS: usize = 6;

/// Set in every x32 system call number (`__X32_SYSCALL_BIT`).
pub(super) const X32_BIT: u32 = 0x4000_0000;

impl Abi {
    /// What the kernel puts in `seccomp_data.arch` (`AUDIT_ARCH_*`,
    /// linux/audit.h): the ELF machine, 64-bit and little-endian bits.
    pub(super) fn audit_token(self) -> u32 {
        match self {
            Abi::X86_64 | Abi::X32 => 0xc000_003e,
            Abi::X86 => 0x4000_0003,
            Abi::Arm => 0x4000_0028,
            Abi::Aarch64 => 0xc000_00b7,
            Abi::Riscv64 => 0xc000_00f3,
        }
    }

    /// Whether arguments are compared as 64 bits. libseccomp takes x32 for a
    /// 32-bit architecture: only the lower half of an argument counts there.
    pub(super) fn is_wide(self) -> bool {
        matches!(self, Abi::X86_64 | Abi::Aarch64 | Abi::Riscv64)
    }
}
