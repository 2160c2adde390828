//! Files that services watch: a change restarts the service (inotify(7)).
//!
//! A file is watched through its directory, since most programs replace a file rather than
//! write to it; a directory also for the changes in it. Where the directory is not there, the
//! deepest one of the path that is there is watched for the next one to appear.

use super::machine::Machine;
use super::service_state::CHANGES;
use super::wire::{Field, Plan};
use crate::message::Line;
use crate::sys::bump;
use crate::sys::descriptors::{self, NONE};
use crate::time::Millis;
use core::ffi::CStr;

/// How many paths there may be.
const WATCHES: usize = 256;
/// Where Kubernetes exchanges all files of a volume at once: each is a link that leads through
/// this one, and only this one is replaced.
const EXCHANGED: &[u8] = b"..data";
/// How often a path that changes all the time is looked at.
const LOOKS: usize = 16;
/// Bits of an event: the queue was full; the watched directory was moved, removed, is gone.
const OVERFLOW: i32 = 0x4000;
const LOST: i32 = 0x800 | 0x400 | 0x8000;

/// A path that a service watches.
#[derive(Clone, Copy, Debug)]
struct Watch {
    service: usize,
    path: &'static CStr,
    /// The deepest directory of the path that is there, and what of the path is in it.
    above: i32,
    name: &'static [u8],
    /// The path itself, where it is a directory.
    inside: i32,
}

impl Watch {
    /// Looks where the path leads to now. What appears between two looks is told of by neither:
    /// only when a second look finds the same is everything that comes later seen.
    fn arm(&mut self, watcher: i32) {
        for _ in 0..LOOKS {
            let before = (self.above, self.inside, self.name.len());
            self.look(watcher);
            if before == (self.above, self.inside, self.name.len()) {
                break;
            }
        }
    }

    fn look(&mut self, watcher: i32) {
        let text = self.path.to_bytes();
        let mut slash = [0; 4096];
        let mut look = |end: usize| {
            let end = end.min(slash.len() - 2);
            slash[..end].copy_from_slice(&text[..end]);
            // Only a directory can be named so.
            (slash[end], slash[end + 1]) = (b'/', 0);
            let path = CStr::from_bytes_until_nul(&slash).unwrap_or(c"/");
            descriptors::watch(watcher, path).unwrap_or(NONE)
        };
        self.inside = look(text.len());
        self.above = NONE;
        let mut end = text.len();
        while let Some(cut) = text[..end].iter().rposition(|byte| *byte == b'/') {
            self.above = look(cut);
            self.name = &text[cut + 1..end];
            end = cut;
            if self.above != NONE {
                break;
            }
        }
    }

    /// Whether nothing of the path is missing but its last part.
    fn is_close(&self) -> bool {
        self.path.to_bytes().ends_with(self.name)
            && self.path.count_bytes() - self.name.len()
                == self.path.to_bytes().iter().rposition(|byte| *byte == b'/').unwrap_or(0) + 1
    }
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
        let paths = |service| plan.list(service, Field::Watch);
        let count = (0..plan.count()).map(|service| paths(service).count()).sum::<usize>();
        if count == 0 {
            return watches;
        }
        let none = Watch { service: 0, path: c"", above: NONE, name: b"", inside: NONE };
        watches.all = bump::take(count.min(WATCHES), none);
        watches.descriptor = descriptors::watcher().unwrap_or(NONE);
        let each = (0..plan.count()).flat_map(|i| paths(i).map(move |path| (i, path)));
        for (watch, (service, path)) in watches.all.iter_mut().zip(each) {
            (watch.service, watch.path) = (service, path);
            watch.arm(watches.descriptor);
            if watch.above == NONE {
                Line::new("rich-init").text("cannot watch ").bytes(path.to_bytes()).write();
            }
        }
        watches
    }

    /// The descriptor that tells of changes.
    pub fn descriptor(&self) -> i32 {
        self.descriptor
    }

    /// Takes in changes and tells the machine of them.
    pub fn take(&mut self, machine: &mut Machine<'_>, now: Millis) {
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
            self.see(word(0), word(4), &name[..end], machine, now);
        }
    }

    /// One event: in which directory, of what kind, the name of what it is about.
    fn see(&mut self, at: i32, kind: i32, name: &[u8], machine: &mut Machine<'_>, now: Millis) {
        for watch in self.all.iter_mut() {
            let lost = kind & LOST != 0;
            // What was lost may have been about anything.
            let changed = match kind & OVERFLOW != 0 {
                true => true,
                false if at == watch.above => {
                    lost || name == watch.name || (name == EXCHANGED && watch.is_close())
                }
                false => at == watch.inside && !lost,
            };
            if !changed {
                continue;
            }
            let was_close = watch.is_close();
            if at != watch.inside {
                watch.arm(self.descriptor);
            }
            // A part of the path that has appeared is not yet what is watched.
            if (was_close && !lost) || watch.inside != NONE || is_there(watch.path) {
                machine.files_changed(watch.service, now);
                let state = &machine.states()[watch.service];
                if state.changes == CHANGES && state.change_due != crate::time::FOREVER {
                    Line::new("rich-init")
                        .text("what a service watches changes again and again: ")
                        .bytes(watch.path.to_bytes())
                        .write();
                }
            }
        }
    }
}

fn is_there(path: &CStr) -> bool {
    let opened = descriptors::open(path, false);
    opened.map(|mut file| descriptors::close(&mut file)).is_ok()
}
