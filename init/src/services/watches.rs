//! Files that services watch: a change restarts the service (inotify(7)).
//!
//! A file is watched through its directory, since most programs replace a file rather than
//! write to it; a directory also for the changes in it.

use super::machine::Machine;
use super::wire::{Field, Plan};
use crate::message::Line;
use crate::sys::descriptors::{self, NONE};
use crate::sys::{Result, bump};
use crate::time::Millis;
use core::ffi::CStr;

/// How many watches there may be.
const WATCHES: usize = 256;

/// One watch: whose, and for which name in the directory; empty for every one.
#[derive(Clone, Copy, Debug)]
struct Watch {
    number: i32,
    service: usize,
    name: &'static [u8],
}

/// All watches.
pub(super) struct Watches {
    descriptor: i32,
    all: &'static mut [Watch],
}

impl Watches {
    /// Watches everything that the plan says.
    pub fn new(plan: &Plan<'static>) -> Watches {
        let mut watches = Watches { descriptor: NONE, all: &mut [] };
        let any = (0..plan.count()).any(|i| !plan.list(i, Field::Watch).is_empty());
        if !any {
            return watches;
        }
        watches.all = bump::take(WATCHES, Watch { number: NONE, service: 0, name: b"" });
        watches.descriptor = descriptors::watcher().unwrap_or(NONE);
        let mut used = 0;
        for service in 0..plan.count() {
            for path in plan.list(service, Field::Watch) {
                if watches.add(service, path, &mut used).is_err() {
                    Line::new("rich-init").text("cannot watch ").bytes(path.to_bytes()).write();
                }
            }
        }
        watches
    }

    /// The descriptor that tells of changes.
    pub fn descriptor(&self) -> i32 {
        self.descriptor
    }

    fn add(&mut self, service: usize, path: &'static CStr, used: &mut usize) -> Result<()> {
        let text = path.to_bytes();
        let cut = text.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        let mut directory = [0; 4096];
        let length = cut.max(1).min(directory.len() - 1);
        directory[..length].copy_from_slice(&text[..length]);
        let parent = CStr::from_bytes_until_nul(&directory).unwrap_or(c"/");
        let number = descriptors::watch(self.descriptor, parent)?;
        self.put(used, Watch { number, service, name: &text[cut + 1..] });
        let mut slash = [0; 4096];
        if text.len() + 2 < slash.len() {
            slash[..text.len()].copy_from_slice(text);
            slash[text.len()] = b'/';
            // Only a directory can be named so.
            let inside = CStr::from_bytes_until_nul(&slash).unwrap_or(c"/");
            if let Ok(number) = descriptors::watch(self.descriptor, inside) {
                self.put(used, Watch { number, service, name: b"" });
            }
        }
        Ok(())
    }

    fn put(&mut self, used: &mut usize, watch: Watch) {
        if let Some(slot) = self.all.get_mut(*used) {
            *slot = watch;
            *used += 1;
        }
    }

    /// Takes in changes and tells the machine of them.
    pub fn take(&self, plan: &Plan<'_>, machine: &mut Machine<'_>, now: Millis) {
        let mut buffer = [0; 2048];
        let Ok(len) = descriptors::read(self.descriptor, &mut buffer) else { return };
        let mut rest = &buffer[..len];
        // struct inotify_event: watch 4, mask 4, cookie 4, length 4, name.
        while let Some((head, tail)) = rest.split_at_checked(16) {
            let word = |at: usize| {
                i32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
            };
            let (name, next) = tail.split_at((word(12) as usize).min(tail.len()));
            rest = next;
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            let hit = |watch: &&Watch| {
                watch.number == word(0) && (watch.name.is_empty() || watch.name == &name[..end])
            };
            for watch in self.all.iter().filter(hit).filter(|watch| watch.service < plan.count()) {
                machine.files_changed(watch.service, now);
            }
        }
    }
}
