//! An assembler for classic BPF that writes programs from their end.
//!
//! Jumps of classic BPF only go forward, so a program written backwards knows
//! every target before it needs it: no labels to patch, and equal tails are
//! shared for nothing.

use seccompiler::{BpfProgram, sock_filter};

/// Loads a 32-bit word of `seccomp_data`.
pub(super) const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
/// Masks the accumulator.
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// Jumps if the accumulator equals.
pub(super) const JEQ: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
/// Jumps if the accumulator is greater, unsigned.
pub(super) const JGT: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
/// Jumps if the accumulator is greater or equal, unsigned.
pub(super) const JGE: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K

/// `seccomp_data.nr`.
pub(super) const NR: u32 = 0;
/// `seccomp_data.arch`.
pub(super) const ARCH: u32 = 4;

/// The lower half of `seccomp_data.args[arg]` (little-endian architectures).
pub(super) fn arg_low(arg: u8) -> u32 {
    16 + 8 * u32::from(arg)
}

/// The upper half of `seccomp_data.args[arg]`.
pub(super) fn arg_high(arg: u8) -> u32 {
    arg_low(arg) + 4
}

/// An instruction already written, counted from the program's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

/// The farthest a conditional jump is made to go. The format allows 255; two
/// are kept for the far jumps that may have to stand between.
const REACH: usize = 253;

/// A program under construction, last instruction first.
#[derive(Default)]
pub(super) struct Assembler {
    backwards: Vec<sock_filter>,
    returns: Vec<(u32, Label)>,
}

impl Assembler {
    /// An empty program.
    pub(super) fn new() -> Assembler {
        Assembler { backwards: Vec::with_capacity(512), returns: Vec::with_capacity(8) }
    }

    /// The finished program; `first` must be the instruction written last.
    pub(super) fn finish(mut self, first: Label) -> BpfProgram {
        debug_assert_eq!(first.0 + 1, self.backwards.len());
        self.backwards.reverse();
        self.backwards
    }

    /// Ends the program with an action.
    pub(super) fn ret(&mut self, action: u32) -> Label {
        let known = self.returns.iter_mut().find(|(known, _)| *known == action);
        if let Some((_, label)) = known.as_ref()
            && self.backwards.len() - label.0 < REACH / 2
        {
            return *label;
        }
        let label = Label(self.backwards.len());
        match known {
            Some(entry) => entry.1 = label,
            None => self.returns.push((action, label)),
        }
        self.push(RETURN, 0, 0, action)
    }

    /// Branches on a comparison of the accumulator with `value`.
    pub(super) fn branch(&mut self, test: u16, value: u32, yes: Label, no: Label) -> Label {
        if yes == no {
            return yes;
        }
        let yes = self.near(yes);
        let no = self.near(no);
        let (yes, no) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.push(test, yes, no, value)
    }

    /// Loads a word of `seccomp_data`, then goes on at `next`.
    pub(super) fn load(&mut self, offset: u32, next: Label) -> Label {
        self.fall_through(next);
        self.push(LOAD, 0, 0, offset)
    }

    /// Masks the accumulator, then goes on at `next`.
    pub(super) fn and(&mut self, mask: u32, next: Label) -> Label {
        self.fall_through(next);
        self.push(AND, 0, 0, mask)
    }

    fn fall_through(&mut self, next: Label) {
        if self.distance(next) != 0 {
            self.far_jump(next);
        }
    }

    /// A label for the same place that a conditional jump can reach.
    fn near(&mut self, label: Label) -> Label {
        if self.distance(label) > REACH { self.far_jump(label) } else { label }
    }

    fn far_jump(&mut self, label: Label) -> Label {
        let distance = self.distance(label) as u32;
        self.push(JUMP, 0, 0, distance)
    }

    /// How many instructions the next one would have to skip.
    fn distance(&self, label: Label) -> usize {
        self.backwards.len() - label.0 - 1
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        let label = Label(self.backwards.len());
        self.backwards.push(sock_filter { code, jt, jf, k });
        label
    }
}
