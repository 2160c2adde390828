//! Each function beside the real C library's.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::{files, memory, process, signals, start, texts};

/// The functions are for one thread.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn errno() -> c_int {
    // SAFETY: one thread (`alone`).
    unsafe { *super::__errno_location() }
}

fn c(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

#[test]
fn bytes_move_as_slices_do() {
    for size in 0..40 {
        for from in 0..48 {
            for to in 0..48 {
                let mut ours: Vec<u8> = (0..96).collect();
                let mut expected = ours.clone();
                expected.copy_within(from..from + size, to);
                let at = ours.as_mut_ptr();
                // SAFETY: all within 96 bytes.
                let result = unsafe { memory::memmove(at.add(to), at.add(from), size) };
                assert_eq!((result.cast_const(), &ours), (ours[to..].as_ptr(), &expected));
            }
        }
    }
    let (mut ours, from) = ([0; 33], [7_u8; 33]);
    // SAFETY: both have 33 bytes, of which 32 are copied.
    unsafe { memory::memcpy(ours.as_mut_ptr(), from.as_ptr(), 32) };
    assert_eq!((ours[31], ours[32]), (7, 0));
    // SAFETY: as above.
    unsafe { memory::memset(ours.as_mut_ptr().add(1), 0x1ff, 3) };
    assert_eq!(ours[..5], [7, 255, 255, 255, 7]);
}

#[test]
fn bytes_compare_as_slices_do() {
    for size in 0..40_usize {
        let a: Vec<u8> = (0..size).map(|at| at as u8 ^ 0x80).collect();
        for differs in 0..=size {
            let mut b = a.clone();
            if let Some(byte) = b.get_mut(differs) {
                *byte = byte.wrapping_add(1);
            }
            // SAFETY: both have `size` bytes.
            let found = unsafe { memory::memcmp(a.as_ptr(), b.as_ptr(), size) };
            assert_eq!(found.cmp(&0), a.cmp(&b));
            // SAFETY: as above.
            assert_eq!(unsafe { memory::bcmp(a.as_ptr(), b.as_ptr(), size) } == 0, a == b);
        }
    }
    for text in [c"", c"a", c"a longer text, beyond a word"] {
        // SAFETY: a C string.
        assert_eq!(unsafe { memory::strlen(text.as_ptr().cast()) }, text.to_bytes().len());
    }
}

#[test]
fn the_heap_keeps_what_is_in_it() {
    let _alone = alone();
    let mut seed = 1_u32;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % below
    };
    let mut blocks: Vec<(*mut u8, usize, u8)> = Vec::new();
    for round in 0..20_000 {
        // SAFETY: each block is used within its size, until it is freed.
        unsafe {
            match random(4) {
                0 if !blocks.is_empty() => {
                    let (block, size, mark) = blocks.swap_remove(random(blocks.len()));
                    assert!((0..size).all(|at| *block.add(at) == mark));
                    memory::free(block.cast());
                }
                1 if !blocks.is_empty() => {
                    let index = random(blocks.len());
                    let (block, size, mark) = blocks[index];
                    let new = 1 + random(if round % 100 == 0 { 300_000 } else { 900 });
                    let moved: *mut u8 = memory::realloc(block.cast(), new).cast();
                    assert!((0..size.min(new)).all(|at| *moved.add(at) == mark));
                    moved.write_bytes(mark, new);
                    blocks[index] = (moved, new, mark);
                }
                2 => {
                    let size = 1 + random(700);
                    let block: *mut u8 = memory::calloc(size, 1).cast();
                    assert!((0..size).all(|at| *block.add(at) == 0));
                    block.write_bytes(round as u8, size);
                    blocks.push((block, size, round as u8));
                }
                _ => {
                    let (size, alignment) = (1 + random(5000), 16 << random(8));
                    let mut block = null_mut();
                    assert_eq!(memory::posix_memalign(&raw mut block, alignment, size), 0);
                    assert_eq!(block.addr() % alignment, 0);
                    block.cast::<u8>().write_bytes(round as u8, size);
                    blocks.push((block.cast(), size, round as u8));
                }
            }
        }
    }
    // SAFETY: as above; neither can be had.
    unsafe {
        blocks.iter().for_each(|block| memory::free(block.0.cast()));
        assert_eq!((memory::calloc(usize::MAX, 2), errno()), (null_mut(), libc::ENOMEM));
        assert_eq!(memory::malloc(usize::MAX / 2), null_mut());
        memory::free(null_mut());
    }
}

#[test]
fn errors_have_the_same_texts() {
    for errno in -1..200 {
        let (mut ours, mut real) = ([1; 80], [1; 80]);
        // SAFETY: both buffers have 80 bytes.
        unsafe {
            texts::__xpg_strerror_r(errno, ours.as_mut_ptr(), 80);
            libc::strerror_r(errno, real.as_mut_ptr(), 80);
            let [ours, real] = [ours.as_ptr(), real.as_ptr()].map(|text| CStr::from_ptr(text));
            assert!(ours == real || errno < 0, "{errno}: {ours:?} {real:?}");
        }
    }
    let mut short = [1; 4];
    // SAFETY: four bytes.
    unsafe { texts::__xpg_strerror_r(libc::EPERM, short.as_mut_ptr(), 4) };
    assert_eq!(short, *b"Ope\0".each_ref().map(|byte| *byte as c_char).as_slice());
}

#[test]
fn paths_resolve() {
    let _alone = alone();
    let top = std::env::temp_dir().join(format!("clib-{}", std::process::id()));
    let inner = top.join("a/b");
    std::fs::create_dir_all(&inner).unwrap();
    std::os::unix::fs::symlink("../a/./b", top.join("link")).unwrap();
    std::os::unix::fs::symlink("a/b", top.join("loop")).unwrap();
    for path in [Path::new("."), Path::new("/"), &top.join("loop/.."), &top.join("none"), &inner] {
        // SAFETY: a C string; the result is C's, and freed below.
        let found = unsafe { files::realpath(c(path).as_ptr(), null_mut()) };
        match std::fs::canonicalize(path) {
            Err(error) => assert_eq!((found, Some(errno())), (null_mut(), error.raw_os_error())),
            // SAFETY: `realpath` gave a C string of its own.
            Ok(expected) => unsafe {
                assert_eq!(CStr::from_ptr(found).to_bytes(), expected.as_os_str().as_bytes());
                memory::free(found.cast());
            },
        }
    }
    let mut own = [0; libc::PATH_MAX as usize];
    let expected = std::env::current_dir().unwrap();
    // SAFETY: PATH_MAX bytes; then one that is too small.
    unsafe {
        assert!(!files::getcwd(own.as_mut_ptr(), own.len()).is_null());
        assert_eq!(CStr::from_ptr(own.as_ptr()).to_bytes(), expected.as_os_str().as_bytes());
        assert_eq!((files::getcwd(own.as_mut_ptr(), 1), errno()), (null_mut(), libc::ERANGE));
    }
    std::fs::remove_dir_all(&top).unwrap();
}

#[test]
fn directories_are_read_whole() {
    let _alone = alone();
    let top = std::env::temp_dir().join(format!("clib-dir-{}", std::process::id()));
    std::fs::create_dir_all(&top).unwrap();
    let expected: BTreeSet<String> =
        (0..300).map(|n| format!("{n}-{}", "x".repeat(n % 90))).collect();
    expected.iter().for_each(|name| std::fs::write(top.join(name), "").unwrap());
    let mut found = BTreeSet::new();
    // SAFETY: a C string; the entries are C's until the next is asked for.
    unsafe {
        let dir = files::opendir(c(&top).as_ptr());
        assert!(!dir.is_null() && files::dirfd(dir) > 2);
        loop {
            let entry = files::readdir64(dir);
            if entry.is_null() {
                break;
            }
            let name = CStr::from_ptr((&raw const (*entry).d_name).cast());
            assert!(found.insert(name.to_str().unwrap().to_owned()));
        }
        assert_eq!(files::closedir(dir), 0);
        assert_eq!((files::opendir(c"/none".as_ptr()), errno()), (null_mut(), libc::ENOENT));
    }
    assert!(found.remove(".") && found.remove(".."));
    assert_eq!(found, expected);
    std::fs::remove_dir_all(&top).unwrap();
}

/// What glibc shows, as the kernel does, of a disposition with a place to return to.
const SA_RESTORER: c_int = 0x0400_0000;

static CALLED: AtomicI32 = AtomicI32::new(0);

extern "C" fn handler(signal: c_int) {
    CALLED.store(signal, Ordering::SeqCst);
}

#[test]
fn handlers_are_called_and_return() {
    let _alone = alone();
    // SAFETY: the handler only stores a number; all structures are plain data.
    unsafe {
        let mut new: libc::sigaction = std::mem::zeroed();
        let mut seen: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = handler as *const () as usize;
        new.sa_flags = libc::SA_RESTART | libc::SA_NODEFER;
        signals::sigaddset(&raw mut new.sa_mask, libc::SIGUSR1);
        assert_eq!(signals::sigaction(libc::SIGUSR2, &raw const new, null_mut()), 0);
        libc::sigaction(libc::SIGUSR2, null(), &raw mut seen);
        assert_eq!(
            (seen.sa_sigaction, seen.sa_flags, libc::sigismember(&raw const seen.sa_mask, 10)),
            (new.sa_sigaction, new.sa_flags | SA_RESTORER, 1)
        );
        libc::raise(libc::SIGUSR2);
        assert_eq!(CALLED.load(Ordering::SeqCst), libc::SIGUSR2);
        assert_eq!(signals::signal(libc::SIGUSR2, libc::SIG_DFL), new.sa_sigaction);
        assert_eq!(signals::sigaction(libc::SIGKILL, &raw const new, null_mut()), -1);
        assert_eq!(errno(), libc::EINVAL);
    }
}

#[test]
fn sets_of_signals_are_the_kernels() {
    let _alone = alone();
    // SAFETY: the sets are plain data; the mask is this thread's, and put back.
    unsafe {
        let (mut ours, mut real): (libc::sigset_t, libc::sigset_t) =
            (std::mem::zeroed(), std::mem::zeroed());
        signals::sigfillset(&raw mut ours);
        signals::sigemptyset(&raw mut ours);
        assert_eq!(signals::sigaddset(&raw mut ours, 64), 0);
        assert_eq!(signals::sigaddset(&raw mut ours, libc::SIGHUP), 0);
        assert_eq!(signals::sigaddset(&raw mut ours, libc::SIGINT), 0);
        assert_eq!(signals::sigdelset(&raw mut ours, libc::SIGINT), 0);
        assert_eq!((signals::sigaddset(&raw mut ours, 65), errno()), (-1, libc::EINVAL));
        let mut before: libc::sigset_t = std::mem::zeroed();
        let block = libc::SIG_BLOCK;
        assert_eq!(signals::sigprocmask(block, &raw const ours, &raw mut before), 0);
        libc::pthread_sigmask(block, null(), &raw mut real);
        for signal in [1, 2, 64] {
            assert_eq!(libc::sigismember(&raw const real, signal), c_int::from(signal != 2));
        }
        assert_eq!(signals::pthread_sigmask(99, &raw const before, null_mut()), libc::EINVAL);
        assert_eq!(signals::pthread_sigmask(libc::SIG_SETMASK, &raw const before, null_mut()), 0);
    }
}

/// The exit status of a child that executes `argv` as `execvp` finds it; 100 and more:
/// the errno.
fn executed(name: &CStr, argv: &[&CStr]) -> c_int {
    let mut pointers: Vec<*const c_char> = argv.iter().map(|word| word.as_ptr()).collect();
    pointers.push(null());
    let mut status = 0;
    // SAFETY: the child only makes system calls, on memory that was allocated before.
    unsafe {
        let child = process::fork();
        if child == 0 {
            process::execvp(name.as_ptr(), pointers.as_ptr());
            process::_exit(100 + errno());
        }
        assert_eq!(process::waitpid(child, &raw mut status, 0), child);
    }
    libc::WEXITSTATUS(status)
}

#[test]
fn programs_are_found_and_executed() {
    let _alone = alone();
    let variables = [c"OTHER=1", c"PATH=/none:/etc/passwd:/usr/bin:/bin", c"PATHX=2"];
    let mut pointers: Vec<*mut c_char> =
        variables.iter().map(|text| text.as_ptr().cast_mut()).collect();
    pointers.push(null_mut());
    // SAFETY: C strings, and an array of them that ends in null and lives until it is
    // taken away again.
    unsafe {
        start::environ = pointers.as_mut_ptr();
        let found = CStr::from_ptr(start::getenv(c"PATHX".as_ptr()));
        assert_eq!((found, start::getenv(c"PAT".as_ptr())), (c"2", null_mut()));
    }
    assert_eq!(executed(c"sh", &[c"sh", c"-c", c"test $OTHER = 1 && exit 5"]), 5);
    assert_eq!(executed(c"/bin/sh", &[c"sh", c"-c", c"exit 6"]), 6);
    assert_eq!(executed(c"no-such-program", &[c"x"]), 100 + libc::ENOENT);
    assert_eq!(executed(c"", &[c"x"]), 100 + libc::ENOENT);
    assert_eq!(executed(c"/etc", &[c"x"]), 100 + libc::EACCES);
    // SAFETY: as above.
    unsafe { start::environ = null_mut() };
}

#[test]
fn settings_are_the_systems() {
    let _alone = alone();
    for name in [libc::_SC_PAGESIZE, libc::_SC_CLK_TCK] {
        // SAFETY: a number.
        assert_eq!(start::sysconf(name), unsafe { libc::sysconf(name) });
    }
    assert_eq!((start::sysconf(-1), errno()), (-1, libc::EINVAL));
    let (mut ours, mut real) = ([0xff_u8; 128], [0_u8; 128]);
    // SAFETY: 128 bytes each.
    unsafe {
        assert_eq!(process::sched_getaffinity(0, 128, ours.as_mut_ptr()), 0);
        libc::sched_getaffinity(0, 128, real.as_mut_ptr().cast());
    }
    assert_eq!(ours, real);
}
