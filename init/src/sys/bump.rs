//! Memory that is taken once, at the start, and never given back: PID 1 has no allocator,
//! and pages that nobody touches cost nothing.

use core::mem::{align_of, size_of};
use core::sync::atomic::{AtomicUsize, Ordering};

const SIZE: usize = 1 << 20;

#[repr(C, align(64))]
struct Room(core::cell::UnsafeCell<[u8; SIZE]>);

// SAFETY: each byte is handed out at most once, by the counter below, to the one thread
// that the program has.
unsafe impl Sync for Room {}

static ROOM: Room = Room(core::cell::UnsafeCell::new([0; SIZE]));
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// Counts `size` bytes as taken; where they begin.
///
/// The program has one thread, and so reads and writes in two steps: on 64-bit ARM an
/// atomic addition is a call of a function that asks the C library whether the processor
/// has an instruction for it (`outline-atomics`), and there is no C library.
#[cfg(not(test))]
fn claim(size: usize) -> usize {
    let from = TAKEN.load(Ordering::Relaxed);
    TAKEN.store(from + size, Ordering::Relaxed);
    from
}

/// As above, for the threads of a test harness.
#[cfg(test)]
fn claim(size: usize) -> usize {
    TAKEN.fetch_add(size, Ordering::Relaxed)
}

/// Takes room for `count` values, all of them `value` at first.
///
/// # Panics
/// There is no room left: a fault of this program, whose needs are bounded.
pub fn take<T: Copy>(count: usize, value: T) -> &'static mut [T] {
    let size = size_of::<T>() * count + align_of::<T>();
    let from = claim(size);
    assert!(from + size <= SIZE);
    // SAFETY: `size` bytes from `from` on are ours alone, inside of the room, and enough for
    // `count` values after the first is aligned; each is written before the slice is made.
    unsafe {
        let start = ROOM.0.get().cast::<u8>().add(from);
        let first = start.add(start.align_offset(align_of::<T>())).cast::<T>();
        for i in 0..count {
            first.add(i).write(value);
        }
        core::slice::from_raw_parts_mut(first, count)
    }
}

/// Takes zeroed bytes, without touching them.
///
/// # Panics
/// As [`take`].
pub fn take_zeroed(count: usize) -> &'static mut [u8] {
    let from = claim(count);
    assert!(from + count <= SIZE);
    // SAFETY: these bytes are ours alone, inside of the room, and zero from the beginning.
    unsafe { core::slice::from_raw_parts_mut(ROOM.0.get().cast::<u8>().add(from), count) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn pieces_are_aligned_and_apart() {
        let bytes = super::take(3, 7_u8);
        let words = super::take(4, 9_u64);
        let more = super::take_zeroed(5);
        more.fill(1);
        words.fill(2);
        assert_eq!((&*bytes, &*words, &*more), (&[7; 3][..], &[2; 4][..], &[1; 5][..]));
        assert_eq!(words.as_ptr() as usize % 8, 0);
    }
}
