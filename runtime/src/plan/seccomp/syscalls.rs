//! From a system call's name to its numbers, in one hash look-up.
//!
//! Everything is laid out at compile time, and without pointers: a static
//! position-independent binary has nothing to relocate here when it starts.

use super::abi::{ABIS, Abi};
use super::table::{ROWS, TABLE};

/// A system call of the table.
#[derive(Clone, Copy)]
pub(super) struct Syscall {
    name_at: u16,
    name_len: u8,
    mux: u8,
    numbers: [i32; ABIS],
}

/// One of the calls that x86 also offers through `socketcall` or `ipc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Multiplexed {
    /// The number of `socketcall` or `ipc`.
    pub(super) through: u32,
    /// The first argument that asks for this call (linux/net.h `SYS_*`,
    /// linux/ipc.h).
    pub(super) call: u32,
}

impl Syscall {
    /// The call's number; for x32 without the x32 bit.
    pub(super) fn number(&self, abi: Abi) -> Option<u32> {
        u32::try_from(self.numbers[abi as usize]).ok()
    }

    /// Where x86 multiplexes this call.
    pub(super) fn multiplexed(&self) -> Option<Multiplexed> {
        match self.mux {
            0 => None,
            call if call & IPC != 0 => {
                Some(Multiplexed { through: X86_IPC, call: u32::from(call & !IPC) })
            }
            call => Some(Multiplexed { through: X86_SOCKETCALL, call: u32::from(call) }),
        }
    }
}

/// Finds a system call by name.
pub(super) fn lookup(name: &str) -> Option<&'static Syscall> {
    let mut slot = hash(name.as_bytes()) as usize % SLOTS;
    loop {
        let entry = match INDEX[slot] {
            0 => return None,
            number => &ENTRIES[usize::from(number) - 1],
        };
        let at = usize::from(entry.name_at);
        if NAMES[at..at + usize::from(entry.name_len)] == *name.as_bytes() {
            return Some(entry);
        }
        slot = (slot + 1) % SLOTS;
    }
}

/// Every system call of the table: its name, and its numbers by [`Abi`].
pub(super) fn all() -> impl Iterator<Item = (&'static str, [Option<u32>; ABIS])> {
    ENTRIES.iter().map(|entry| {
        let at = usize::from(entry.name_at);
        let name = &NAMES[at..at + usize::from(entry.name_len)];
        let name = std::str::from_utf8(name).expect("names are ASCII");
        (name, entry.numbers.map(|number| u32::try_from(number).ok()))
    })
}

const X86_SOCKETCALL: u32 = 102;
const X86_IPC: u32 = 117;
/// Marks a call of `ipc` in [`Syscall::mux`].
const IPC: u8 = 0x80;

const MULTIPLEXED: [(&str, u8); 32] = [
    ("socket", 1),
    ("bind", 2),
    ("connect", 3),
    ("listen", 4),
    ("accept", 5),
    ("getsockname", 6),
    ("getpeername", 7),
    ("socketpair", 8),
    ("send", 9),
    ("recv", 10),
    ("sendto", 11),
    ("recvfrom", 12),
    ("shutdown", 13),
    ("setsockopt", 14),
    ("getsockopt", 15),
    ("sendmsg", 16),
    ("recvmsg", 17),
    ("accept4", 18),
    ("recvmmsg", 19),
    ("sendmmsg", 20),
    ("semop", IPC | 1),
    ("semget", IPC | 2),
    ("semctl", IPC | 3),
    ("semtimedop", IPC | 4),
    ("msgsnd", IPC | 11),
    ("msgrcv", IPC | 12),
    ("msgget", IPC | 13),
    ("msgctl", IPC | 14),
    ("shmat", IPC | 21),
    ("shmdt", IPC | 22),
    ("shmget", IPC | 23),
    ("shmctl", IPC | 24),
];

const SLOTS: usize = 2048;
const NAME_BYTES: usize = name_bytes();

static NAMES: [u8; NAME_BYTES] = names();
static ENTRIES: [Syscall; ROWS] = entries();
/// Open addressing: the number of an entry, counted from 1; 0 is free.
static INDEX: [u16; SLOTS] = index();

/// FNV-1a, 32 bits.
const fn hash(name: &[u8]) -> u32 {
    let mut hash: u32 = 0x811c_9dc5;
    let mut i = 0;
    while i < name.len() {
        hash = (hash ^ name[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    hash ^ (hash >> 15)
}

const fn name_bytes() -> usize {
    let mut bytes = 0;
    let mut i = 0;
    while i < ROWS {
        bytes += TABLE[i].name.len();
        i += 1;
    }
    bytes
}

const fn names() -> [u8; NAME_BYTES] {
    let mut names = [0; NAME_BYTES];
    let mut at = 0;
    let mut i = 0;
    while i < ROWS {
        let name = TABLE[i].name.as_bytes();
        let mut k = 0;
        while k < name.len() {
            names[at] = name[k];
            at += 1;
            k += 1;
        }
        i += 1;
    }
    names
}

const fn entries() -> [Syscall; ROWS] {
    let mut entries = [Syscall { name_at: 0, name_len: 0, mux: 0, numbers: [-1; ABIS] }; ROWS];
    let mut at = 0;
    let mut i = 0;
    while i < ROWS {
        let row = &TABLE[i];
        let len = row.name.len();
        entries[i] = Syscall {
            name_at: at as u16,
            name_len: len as u8,
            mux: mux(row.name),
            numbers: row.numbers,
        };
        at += len;
        i += 1;
    }
    entries
}

const fn mux(name: &str) -> u8 {
    let mut i = 0;
    while i < MULTIPLEXED.len() {
        if same(MULTIPLEXED[i].0.as_bytes(), name.as_bytes()) {
            return MULTIPLEXED[i].1;
        }
        i += 1;
    }
    0
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

const fn index() -> [u16; SLOTS] {
    let mut index = [0; SLOTS];
    let mut i = 0;
    while i < ROWS {
        let mut slot = hash(TABLE[i].name.as_bytes()) as usize % SLOTS;
        while index[slot] != 0 {
            slot = (slot + 1) % SLOTS;
        }
        index[slot] = i as u16 + 1;
        i += 1;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_other() {
        for (i, row) in TABLE.iter().enumerate() {
            let found = lookup(row.name).expect(row.name);
            assert_eq!(found.numbers, row.numbers, "{}", row.name);
            assert!(i == 0 || TABLE[i - 1].name < row.name, "{} is out of order", row.name);
        }
        for name in ["", "reed", "read ", "sys_read", "READ"] {
            assert!(lookup(name).is_none(), "{name:?}");
        }
    }

    #[test]
    fn numbers_are_those_of_the_kernel() {
        let number = |name: &str, abi| lookup(name).expect(name).number(abi);
        assert_eq!(number("openat2", Abi::X86_64), Some(437));
        assert_eq!(number("socketcall", Abi::X86), Some(102));
        assert_eq!(number("socketcall", Abi::X86_64), None);
        assert_eq!(number("execve", Abi::X32), Some(520));
        assert_eq!(number("execve", Abi::Aarch64), Some(221));
        assert_eq!(number("renameat", Abi::Riscv64), None);
    }

    #[test]
    fn no_number_has_two_names() {
        // x86's direct `socket` and `socketcall` are two calls; so is everything else.
        for abi in [Abi::X86_64, Abi::X86, Abi::X32, Abi::Arm, Abi::Aarch64, Abi::Riscv64] {
            let mut numbers: Vec<u32> =
                TABLE.iter().filter_map(|row| lookup(row.name)?.number(abi)).collect();
            numbers.sort_unstable();
            let count = numbers.len();
            numbers.dedup();
            assert_eq!(numbers.len(), count, "{abi:?}");
        }
    }

    #[test]
    fn socket_calls_and_ipc_are_multiplexed_on_x86() {
        let through = |name: &str| lookup(name).expect(name).multiplexed();
        assert_eq!(through("accept4"), Some(Multiplexed { through: 102, call: 18 }));
        assert_eq!(through("shmctl"), Some(Multiplexed { through: 117, call: 24 }));
        assert_eq!(through("read"), None);
        for (name, _) in MULTIPLEXED {
            assert!(through(name).is_some(), "{name}");
        }
    }
}
