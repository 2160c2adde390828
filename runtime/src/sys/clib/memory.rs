//! Copying and comparing, and the heap.

use core::ffi::{c_int, c_void};
use core::ptr::null_mut;

use dlmalloc::{Allocator, Dlmalloc};

use super::{call, fail, system_calls};

system_calls! {
    mmap64 = SYS_mmap(at: *mut c_void, size: usize, protection: c_int, flags: c_int, fd: c_int, offset: i64) -> isize;
    munmap = SYS_munmap(at: *mut c_void, size: usize) -> c_int;
}

/// Up to so many bytes by a few words: the instruction for more takes a while to begin.
const FEW: usize = 32;

/// Copies up to [`FEW`] bytes, which may overlap: all are read before any is written. The
/// first and the last word of a size overlap where the size is between two words.
///
/// # Safety
/// As memmove(3), and not more than [`FEW`].
#[inline]
unsafe fn copy_few(to: *mut u8, from: *const u8, size: usize) {
    /// # Safety
    /// As `copy_few`, and at least a word.
    #[inline]
    unsafe fn ends<T>(to: *mut u8, from: *const u8, size: usize) {
        let last = size - size_of::<T>();
        // SAFETY: both words are within `size`.
        unsafe {
            let words =
                (from.cast::<T>().read_unaligned(), from.add(last).cast::<T>().read_unaligned());
            to.cast::<T>().write_unaligned(words.0);
            to.add(last).cast::<T>().write_unaligned(words.1);
        }
    }
    // SAFETY: the caller's promise, and the sizes that are matched.
    unsafe {
        match size {
            16.. => ends::<u128>(to, from, size),
            8.. => ends::<u64>(to, from, size),
            4.. => ends::<u32>(to, from, size),
            2.. => ends::<u16>(to, from, size),
            1 => *to = *from,
            0 => {}
        }
    }
}

/// More bytes than a few go by one instruction, which today's processors carry out at the
/// speed of their caches.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, size: usize) -> *mut u8 {
    // SAFETY: the caller's promise; the direction flag is clear (System V ABI).
    unsafe {
        if size <= FEW {
            copy_few(to, from, size);
            return to;
        }
        core::arch::asm!(
            "rep movsb",
            inout("rcx") size => _,
            inout("rdi") to => _,
            inout("rsi") from => _,
            options(nostack, preserves_flags)
        );
    }
    to
}

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, size: usize) -> *mut u8 {
    if size <= FEW || to.addr().wrapping_sub(from.addr()) >= size {
        // SAFETY: a few are read before any is written; of more, upwards, no byte is
        // overwritten before it is read.
        return unsafe { memcpy(to, from, size) };
    }
    // SAFETY: downwards, likewise; there is at least one byte, and the direction flag is
    // set only for this instruction.
    unsafe {
        core::arch::asm!(
            "std",
            "rep movsb",
            "cld",
            inout("rcx") size => _,
            inout("rdi") to.add(size).wrapping_sub(1) => _,
            inout("rsi") from.add(size).wrapping_sub(1) => _,
            options(nostack)
        );
    }
    to
}

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn memset(to: *mut u8, byte: c_int, size: usize) -> *mut u8 {
    // SAFETY: as for `memcpy`.
    unsafe {
        core::arch::asm!(
            "rep stosb",
            inout("rcx") size => _,
            inout("rdi") to => _,
            in("al") byte as u8,
            options(nostack, preserves_flags)
        );
    }
    to
}

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, size: usize) -> c_int {
    let mut at = 0;
    // SAFETY: below `size`, as the caller promised. Words as long as they are equal;
    // volatile, so that the compiler does not see a call of memcmp in these loops.
    unsafe {
        while at + 8 <= size
            && a.add(at).cast::<Word>().read_volatile().0
                == b.add(at).cast::<Word>().read_volatile().0
        {
            at += 8;
        }
        while at < size {
            let (x, y) = (a.add(at).read_volatile(), b.add(at).read_volatile());
            if x != y {
                return c_int::from(x) - c_int::from(y);
            }
            at += 1;
        }
    }
    0
}

/// Eight bytes anywhere.
#[repr(C, packed)]
struct Word(u64);

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, size: usize) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { memcmp(a, b, size) }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: no byte after the NUL is read. Volatile, as in `memcmp`.
    while unsafe { text.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}

/// Where the heap gets its memory: from the kernel.
struct Pages;

// SAFETY: mappings of our own, whose size is known, and which nobody else unmaps.
unsafe impl Allocator for Pages {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, where there is none.
        let at = unsafe { mmap64(null_mut(), size, protection, flags, -1, 0) };
        if at == -1 { (null_mut(), 0, 0) } else { (at as *mut u8, size, 0) }
    }

    fn remap(&self, at: *mut u8, old: usize, new: usize, can_move: bool) -> *mut u8 {
        let flags = if can_move { libc::MREMAP_MAYMOVE as usize } else { 0 };
        // SAFETY: the allocator's own mapping.
        let at = unsafe { call(libc::SYS_mremap, [at.addr(), old, new, flags, 0, 0]) };
        if (-4095..0).contains(&at) { null_mut() } else { at as *mut u8 }
    }

    fn free_part(&self, at: *mut u8, old: usize, new: usize) -> bool {
        // SAFETY: the allocator no longer uses the end of its mapping.
        unsafe { munmap(at.add(new).cast(), old - new) == 0 }
    }

    fn free(&self, at: *mut u8, size: usize) -> bool {
        // SAFETY: the allocator no longer uses its mapping.
        unsafe { munmap(at.cast(), size) == 0 }
    }

    fn can_release_part(&self, _flags: u32) -> bool {
        true
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        4096
    }
}

static mut HEAP: Dlmalloc<Pages> = Dlmalloc::new_with_allocator(Pages);

/// The heap.
///
/// # Safety
/// One thread, and no signal handler allocates: nobody else has it.
unsafe fn heap() -> &'static mut Dlmalloc<Pages> {
    let heap = &raw mut HEAP;
    // SAFETY: the caller's promise; the reference ends with the call that asked for it.
    unsafe { &mut *heap }
}

/// The memory, or ENOMEM.
fn given(memory: *mut u8) -> *mut c_void {
    if memory.is_null() {
        fail(libc::ENOMEM);
    }
    memory.cast()
}

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    // SAFETY: one thread.
    given(unsafe { heap().c_malloc(size) })
}

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    let Some(size) = count.checked_mul(size) else { return given(null_mut()) };
    // SAFETY: one thread; an alignment of 16 is what malloc gives.
    given(unsafe { heap().calloc(size, 16) })
}

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn realloc(memory: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: one thread; the caller gives what malloc gave, or null.
    unsafe {
        if memory.is_null() { malloc(size) } else { given(heap().c_realloc(memory.cast(), size)) }
    }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn free(memory: *mut c_void) {
    if !memory.is_null() {
        // SAFETY: one thread; the caller gives what malloc gave.
        unsafe { heap().c_free(memory.cast()) }
    }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn posix_memalign(
    memory: *mut *mut c_void,
    alignment: usize,
    size: usize,
) -> c_int {
    // SAFETY: one thread; the caller gives a place for the result.
    unsafe {
        let found = heap().c_memalign(alignment, size);
        if found.is_null() {
            return libc::ENOMEM;
        }
        *memory = found.cast();
    }
    0
}
