//! What a filter answers: an interpreter of the classic BPF that seccomp takes.
//!
//! The kernel runs filters itself; this one is for what must be known of a call before it is
//! made, for tests and fuzzing, and can also read the programs that libseccomp and runc write.

use seccompiler::sock_filter;

/// What the kernel tells a filter about a system call (`struct seccomp_data`,
/// linux/seccomp.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The system call's number, as the kernel holds it.
    pub nr: u32,
    /// `AUDIT_ARCH_*`.
    pub arch: u32,
    /// The instruction that made the call.
    pub instruction_pointer: u64,
    /// Its arguments.
    pub args: [u64; 6],
}

impl Call {
    /// A call of `nr` with these arguments.
    pub fn new(arch: u32, nr: u32, args: [u64; 6]) -> Call {
        Call { nr, arch, instruction_pointer: 0, args }
    }

    /// The 32-bit word at a byte offset, on a little-endian machine.
    fn word(&self, offset: u32) -> Option<u32> {
        let half =
            |value: u64| if offset.is_multiple_of(8) { value as u32 } else { (value >> 32) as u32 };
        match offset {
            0 => Some(self.nr),
            4 => Some(self.arch),
            8 | 12 => Some(half(self.instruction_pointer)),
            16..64 if offset.is_multiple_of(4) => Some(half(self.args[(offset as usize - 16) / 8])),
            _ => None,
        }
    }
}

/// Why a program has no verdict: the kernel would not have accepted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An instruction that no filter compiler emits, at this index.
    Instruction(usize),
    /// A load from outside `seccomp_data`, at this index.
    Load(usize),
    /// The program ran past its end.
    End,
}

/// A verdict, and how many instructions it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// `SECCOMP_RET_*` with its data.
    pub action: u32,
    /// Instructions executed.
    pub steps: usize,
    /// Whether an argument was looked at: if not, the kernel's bitmap may
    /// answer for the filter (since Linux 5.11).
    pub read_argument: bool,
}

/// Runs `program` on `call`.
pub fn run(program: &[sock_filter], call: &Call) -> Result<Verdict, Fault> {
    let (mut at, mut steps, mut accumulator, mut read_argument) = (0, 0, 0u32, false);
    loop {
        let instruction = program.get(at).ok_or(Fault::End)?;
        steps += 1;
        let k = instruction.k;
        let holds = match instruction.code {
            0x20 => {
                accumulator = call.word(k).ok_or(Fault::Load(at))?;
                read_argument |= k >= 8;
                None
            }
            0x54 => {
                accumulator &= k;
                None
            }
            0x06 => return Ok(Verdict { action: k, steps, read_argument }),
            0x05 => {
                at += k as usize;
                None
            }
            0x15 => Some(accumulator == k),
            0x25 => Some(accumulator > k),
            0x35 => Some(accumulator >= k),
            0x45 => Some(accumulator & k != 0),
            _ => return Err(Fault::Instruction(at)),
        };
        at += 1 + match holds {
            None => 0,
            Some(true) => usize::from(instruction.jt),
            Some(false) => usize::from(instruction.jf),
        };
    }
}
