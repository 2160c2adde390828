//! System calls for running beside another init: handing the standard streams on, and
//! becoming the payload's user.

use super::arch::{call, nr};
use super::{Errno, File, Result, Start, check};
use crate::identity::Identity;
use core::ffi::CStr;

const AF_UNIX: usize = 1;
const SEQPACKET: usize = 5;
const CLOEXEC: usize = 0o2000000;
/// One above the last capability that a kernel has (CAP_LAST_CAP is 40 today).
const CAPABILITIES: u64 = 64;

/// `struct sockaddr_un` (unix(7)).
#[repr(C)]
struct Address {
    family: u16,
    path: [u8; 108],
}

impl Address {
    fn of(path: &CStr) -> Address {
        let mut address = Address { family: AF_UNIX as u16, path: [0; 108] };
        let bytes = path.to_bytes();
        let len = bytes.len().min(107);
        address.path[..len].copy_from_slice(&bytes[..len]);
        address
    }
}

/// `struct msghdr`, with room for one byte of data and three descriptors (unix(7)).
#[repr(C)]
struct Message {
    name: usize,
    name_len: u32,
    iov: *const [usize; 2],
    iov_len: usize,
    control: *mut Control,
    control_len: usize,
    flags: i32,
}

/// `struct cmsghdr` and three descriptors.
#[repr(C)]
struct Control {
    len: usize,
    level: i32,
    kind: i32,
    fds: [i32; 3],
    padding: i32,
}

const CONTROL_LEN: usize = 16 + 12;

fn socket() -> Result<i32> {
    // SAFETY: numbers only.
    check(unsafe { call(nr::SOCKET, [AF_UNIX, SEQPACKET | CLOEXEC, 0, 0, 0]) }).map(|fd| fd as i32)
}

/// A socket that listens at `path`, for this container's root alone.
pub fn listen(path: &CStr) -> Result<i32> {
    let fd = socket()?;
    let address = Address::of(path);
    let size = size_of::<Address>();
    // SAFETY: the address and the path live through the calls; the rest are numbers.
    unsafe {
        call(nr::UMASK, [0o177, 0, 0, 0, 0]);
        check(call(nr::BIND, [fd as usize, &raw const address as usize, size, 0, 0]))?;
        call(nr::UMASK, [0o022, 0, 0, 0, 0]);
        check(call(nr::LISTEN, [fd as usize, 8, 0, 0, 0]))?;
    }
    Ok(fd)
}

/// fork(2): 0 in the child.
pub fn fork() -> Result<i32> {
    const SIGCHLD: usize = 17;
    // SAFETY: without CLONE_VM the child has a copy of everything, the stack too.
    check(unsafe { call(nr::CLONE, [SIGCHLD, 0, 0, 0, 0]) }).map(|pid| pid as i32)
}

/// Gives descriptors 0 to 2 to the next who connects and is root here, and says whether they
/// are a terminal of the container's own.
pub fn give_streams(listener: i32, terminal: bool) -> Result<()> {
    // SAFETY: no address is asked for.
    let peer = check(unsafe { call(nr::ACCEPT4, [listener as usize, 0, 0, CLOEXEC, 0]) });
    let peer = match peer {
        Ok(fd) => File(fd as i32),
        Err(Errno::EINTR | Errno(103)) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    let (mut credentials, mut size) = ([u32::MAX; 3], 12_u32);
    // SAFETY: SO_PEERCRED writes pid, uid and gid, 12 bytes; both live through the call.
    unsafe {
        let (value, size) = (credentials.as_mut_ptr() as usize, &raw mut size as usize);
        check(call(nr::GETSOCKOPT, [peer.0 as usize, 1, 17, value, size]))?;
    }
    if credentials[1] != 0 {
        return Ok(());
    }
    let mut control = Control { len: CONTROL_LEN, level: 1, kind: 1, fds: [0, 1, 2], padding: 0 };
    let byte = u8::from(terminal);
    let iov = [&raw const byte as usize, 1];
    let message = message(&iov, &mut control);
    // MSG_NOSIGNAL; who has gone meanwhile gets nothing.
    // SAFETY: the message and all that it points at live through the call.
    unsafe { call(nr::SENDMSG, [peer.0 as usize, &raw const message as usize, 0x4000, 0, 0]) };
    Ok(())
}

fn message(iov: &[usize; 2], control: &mut Control) -> Message {
    Message {
        name: 0,
        name_len: 0,
        iov,
        iov_len: 1,
        control,
        control_len: size_of::<Control>(),
        flags: 0,
    }
}

/// Fetches the standard streams from whoever listens at `path`; whether they are a terminal
/// of the container's own.
pub fn fetch_streams(path: &CStr) -> Result<bool> {
    let socket = File(socket()?);
    let address = Address::of(path);
    let size = size_of::<Address>();
    let mut control = Control { len: 0, level: 0, kind: 0, fds: [-1; 3], padding: 0 };
    let mut byte = 0_u8;
    let iov = [&raw mut byte as usize, 1];
    let mut message = message(&iov, &mut control);
    // SAFETY: the address, the message and all that it points at live through the calls.
    unsafe {
        check(call(nr::CONNECT, [socket.0 as usize, &raw const address as usize, size, 0, 0]))?;
        let message = &raw mut message as usize;
        check(call(nr::RECVMSG, [socket.0 as usize, message, 0x4000_0000, 0, 0]))?;
    }
    if control.len != CONTROL_LEN || control.kind != 1 {
        return Err(Errno(71)); // EPROTO
    }
    for (to, from) in control.fds.into_iter().enumerate() {
        // SAFETY: numbers only.
        check(unsafe { call(nr::DUP3, [from as usize, to, 0, 0, 0]) })?;
    }
    // The kernel wrote it.
    // SAFETY: `byte` is a value of this function.
    Ok(unsafe { (&raw const byte).read_volatile() } != 0)
}

/// Makes the standard streams the null device; the standard error that was, close-on-exec.
pub fn null_streams() -> Result<i32> {
    const F_DUPFD_CLOEXEC: usize = 1030;
    let null = File::open_for(c"/dev/null", 2)?;
    // SAFETY: numbers only.
    unsafe {
        let kept = check(call(nr::FCNTL, [2, F_DUPFD_CLOEXEC, 3, 0, 0]))?;
        for stream in 0..3 {
            check(call(nr::DUP3, [null.0 as usize, stream, 0, 0, 0]))?;
        }
        Ok(kept as i32)
    }
}

/// Brings the standard error back.
pub fn restore_error(kept: i32) {
    // SAFETY: numbers only. Without it, there is nobody to tell.
    unsafe { call(nr::DUP3, [kept as usize, 2, 0, 0, 0]) };
}

/// execve(2) of argument `at` with those behind it; returns only on failure.
pub fn execute(start: Start, at: usize) -> Errno {
    start.arg(at).map_or(Errno::ENOENT, |path| execute_file(path, start, at))
}

/// execve(2) of `path` with the arguments from `at` on; returns only on failure.
pub fn execute_file(path: &CStr, start: Start, at: usize) -> Errno {
    let (argv, envp) = (start.argv_from(at) as usize, start.envp() as usize);
    // SAFETY: a string that ends in NUL and two arrays that end in null.
    let ret = unsafe { call(nr::EXECVE, [path.as_ptr() as usize, argv, envp, 0, 0]) };
    Errno(-ret as i32)
}

/// A file's content, for as long as this process lives.
pub fn map_file(path: &CStr) -> Result<&'static [u8]> {
    let file = File::open(path)?;
    // SAFETY: SEEK_END of a file of ours.
    let size = check(unsafe { call(nr::LSEEK, [file.0 as usize, 0, 2, 0, 0]) })?;
    if size == 0 {
        return Ok(&[]);
    }
    let pages = pages(size)?;
    // SAFETY: back to the beginning.
    check(unsafe { call(nr::LSEEK, [file.0 as usize, 0, 0, 0, 0]) })?;
    // SAFETY: fresh memory of that size, never given back, and ours alone.
    let bytes = unsafe { core::slice::from_raw_parts_mut(pages, size) };
    let mut at = 0;
    while at < size {
        match file.read(&mut bytes[at..])? {
            0 => break,
            count => at += count,
        }
    }
    Ok(&bytes[..at])
}

/// Fresh, zeroed memory (mmap(2), anonymous).
fn pages(size: usize) -> Result<*mut u8> {
    // PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS.
    // SAFETY: new memory wherever the kernel likes.
    check(unsafe { super::arch::call6(nr::MMAP, [0, size, 3, 0x22, usize::MAX, 0]) })
        .map(|address| address as *mut u8)
}

/// The words that a program is started with, being put together as the kernel would.
pub struct Words {
    base: *mut usize,
    at: usize,
    room: usize,
}

impl Words {
    /// Room for so many.
    pub fn new(room: usize) -> Option<Words> {
        let base = pages(room.checked_mul(size_of::<usize>())?).ok()?.cast();
        Some(Words { base, at: 0, room })
    }

    /// The number of arguments, which comes first.
    pub fn number(&mut self, value: usize) {
        if self.at < self.room {
            // SAFETY: within the memory of `room` words that is this value's own.
            unsafe { self.base.add(self.at).write(value) };
            self.at += 1;
        }
    }

    /// A text, or the null that ends a list.
    pub fn text(&mut self, text: Option<&'static CStr>) {
        self.number(text.map_or(0, |text| text.as_ptr() as usize));
    }

    /// As a program finds them.
    pub fn start(self) -> Start {
        // SAFETY: laid out as on the initial stack, for ever.
        unsafe { Start::new(self.base) }
    }
}

/// A status in digits; and where they begin.
pub fn digits(status: u8) -> ([u8; 3], usize) {
    let digits = [b'0' + status / 100, b'0' + status / 10 % 10, b'0' + status % 10];
    (digits, digits[..2].iter().take_while(|digit| **digit == b'0').count())
}

/// Writes a small file, which must not exist before or is replaced.
pub fn write_file(path: &CStr, bytes: &[u8]) -> Result<()> {
    // O_WRONLY | O_CREAT | O_TRUNC
    let file = File::open_for(path, 0o1101)?;
    super::write(file.0, bytes).map(drop)
}

/// Becomes the payload's user. The order is the kernel's: the bounding set while it may be
/// changed, the directory before the rights to enter it go (or after, if only the user
/// may), the ids, and the capabilities that the ids would have taken away.
pub fn become_user(identity: &Identity) -> Result<()> {
    if let Some([bounding, ..]) = identity.caps {
        for cap in (0..CAPABILITIES).filter(|cap| bounding & (1 << cap) == 0) {
            match prctl(24, cap as usize, 0) {
                // The kernel has no such capability.
                Ok(()) | Err(Errno(22)) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    // SAFETY: a path that ends in NUL.
    let enter = || check(unsafe { call(nr::CHDIR, [identity.cwd.as_ptr() as usize, 0, 0, 0, 0]) });
    let entered = match enter() {
        Ok(_) => true,
        Err(Errno(1) | Errno::EACCES) => false,
        Err(errno) => return Err(errno),
    };
    prctl(8, 1, 0)?; // PR_SET_KEEPCAPS
    let (gid, uid) = (identity.gid as usize, identity.uid as usize);
    let (groups, count) = &identity.groups;
    // SAFETY: the list of groups lives through the call; the rest are numbers.
    unsafe {
        match check(call(nr::SETGROUPS, [*count, groups.as_ptr() as usize, 0, 0, 0])) {
            // A user namespace that has given setgroups(2) up.
            Err(Errno(1)) if *count == 0 => {}
            set => drop(set?),
        }
        check(call(nr::SETRESGID, [gid, gid, gid, 0, 0]))?;
        check(call(nr::SETRESUID, [uid, uid, uid, 0, 0]))?;
    }
    prctl(8, 0, 0)?;
    if !entered {
        enter()?;
    }
    if let Some(caps) = identity.caps {
        set_capabilities(caps)?;
    }
    if let Some(umask) = identity.umask {
        // SAFETY: a number.
        unsafe { call(nr::UMASK, [umask as usize, 0, 0, 0, 0]) };
    }
    if identity.no_new_privs {
        prctl(38, 1, 0)?;
    }
    Ok(())
}

fn set_capabilities([_, effective, permitted, inheritable, ambient]: [u64; 5]) -> Result<()> {
    let header = [0x2008_0522_u32, 0]; // version 3, this thread
    let halves = [effective, permitted, inheritable];
    let mut data = [0_u32; 6];
    for (at, mask) in halves.into_iter().enumerate() {
        data[at] = mask as u32;
        data[at + 3] = (mask >> 32) as u32;
    }
    // SAFETY: the structures of capset(2), version 3, which live through the call.
    check(unsafe {
        call(nr::CAPSET, [header.as_ptr() as usize, data.as_ptr() as usize, 0, 0, 0])
    })?;
    let _ = prctl(47, 4, 0); // PR_CAP_AMBIENT_CLEAR_ALL
    for cap in (0..CAPABILITIES).filter(|cap| (ambient & permitted & inheritable) & (1 << cap) != 0)
    {
        // Refused, it only lacks: as the runtime has it.
        let _ = prctl(47, 2, cap as usize);
    }
    Ok(())
}

fn prctl(option: usize, value: usize, third: usize) -> Result<()> {
    // SAFETY: these options take numbers only.
    check(unsafe { call(nr::PRCTL, [option, value, third, 0, 0]) }).map(drop)
}
