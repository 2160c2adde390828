//! What the kernel hands to a new program: arguments and environment.

use core::ffi::CStr;

/// The arguments and the environment, on the initial stack.
#[derive(Clone, Copy)]
pub struct Start {
    argc: usize,
    argv: *mut *const i8,
}

impl Start {
    /// From the initial stack: argc, argv pointers, null, environment pointers, null.
    ///
    /// # Safety
    /// `stack` must be the initial stack pointer of this process, and only one `Start`
    /// may be made.
    pub unsafe fn new(stack: *const usize) -> Start {
        // SAFETY: the kernel has put argc here and argv behind it.
        unsafe { Start { argc: *stack, argv: stack.add(1) as *mut *const i8 } }
    }

    /// How many arguments there are.
    pub fn count(&self) -> usize {
        self.argc
    }

    /// Argument `i`, the program's own name being 0.
    pub fn arg(&self, i: usize) -> Option<&'static CStr> {
        // SAFETY: below argc there are pointers to strings that live as long as the process.
        (i < self.argc).then(|| unsafe { CStr::from_ptr((*self.argv.add(i)).cast()) })
    }

    /// Environment entry `i`, as `NAME=value`.
    pub fn env(&self, i: usize) -> Option<&'static CStr> {
        // SAFETY: the environment follows argv's null and ends with a null; entries up
        // to `i` are looked at in order only (see `var`), so none beyond it is read.
        unsafe {
            let entry = *self.argv.add(self.argc + 1 + i);
            (!entry.is_null()).then(|| CStr::from_ptr(entry.cast()))
        }
    }

    /// The value of an environment variable.
    pub fn var(&self, name: &[u8]) -> Option<&'static [u8]> {
        let mut i = 0;
        while let Some(entry) = self.env(i) {
            let value =
                entry.to_bytes().strip_prefix(name).and_then(|rest| rest.strip_prefix(b"="));
            if value.is_some() {
                return value;
            }
            i += 1;
        }
        None
    }

    /// The argument pointers from `i` on, ended by a null, for execve(2).
    pub(super) fn argv_from(&self, i: usize) -> *mut *const i8 {
        // SAFETY: `i <= argc`, where the null stands.
        unsafe { self.argv.add(i.min(self.argc)) }
    }

    /// The environment pointers, for execve(2).
    pub(super) fn envp(&self) -> *const *const i8 {
        // SAFETY: the environment follows argv's null.
        unsafe { self.argv.add(self.argc + 1) }
    }
}

impl crate::options::Words for Start {
    fn word(&self, i: usize) -> Option<&[u8]> {
        self.arg(i).map(CStr::to_bytes)
    }

    fn variable(&self, name: &[u8]) -> Option<&[u8]> {
        self.var(name)
    }
}
