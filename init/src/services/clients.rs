//! Those who ask over the control socket.

use crate::sys::descriptors::{self, END_ONLY, NONE, READABLE, close};
use crate::sys::sockets::{self, Peer};
use crate::sys::{self, Errno};

/// How many may ask at a time; the others are let in when one of them has his answer.
pub(super) const CLIENTS: usize = 16;
/// How many of them may wait for something, so that there is always room for a question.
pub(super) const WAITING: usize = 12;

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Nothing: a request is read when it comes.
    Nothing,
    /// These are ready.
    Ready(u64),
    /// These are down.
    Down(u64),
    /// The reload commands of these have ended.
    Reload(u64),
    /// Every change.
    Changes,
}

/// The listening socket and its connections.
pub(super) struct Clients {
    /// Where they connect.
    pub listener: i32,
    allowed: [u32; 2],
    /// Given up for a moment where there is no other descriptor left.
    reserve: i32,
    /// Each connection, and what it waits for.
    pub all: [(i32, Wait); CLIENTS],
}

impl Clients {
    /// With nobody connected. `owner` and `root` are the users who may ask.
    pub fn new(listener: i32, owner: u32, root: u32) -> Clients {
        Clients {
            listener,
            allowed: [owner, root],
            reserve: reserve(),
            all: [(NONE, Wait::Nothing); CLIENTS],
        }
    }

    /// Adds what is waited for.
    pub fn gather(&self, add: &mut dyn FnMut(i32, i16)) {
        if self.all.iter().any(|(socket, _)| *socket == NONE) {
            add(self.listener, READABLE);
        }
        for (socket, wait) in self.all {
            // Who waits is only looked at for his end.
            add(socket, if wait == Wait::Nothing { READABLE } else { END_ONLY });
        }
    }

    /// Takes a connection: only from outside of the container, and from who made it.
    pub fn accept(&mut self) {
        let mut socket = match sockets::accept(self.listener) {
            Ok(socket) => socket,
            // Nobody could be told, and who waits would wake us again and again.
            Err(Errno::EMFILE | Errno::ENFILE) => {
                close(&mut self.reserve);
                if let Ok(mut refused) = sockets::accept(self.listener) {
                    close(&mut refused);
                }
                self.reserve = reserve();
                return;
            }
            Err(_) => return,
        };
        let allowed = sockets::peer(socket).is_ok_and(|peer| self.allows(peer));
        match self.all.iter_mut().find(|(socket, _)| *socket == NONE) {
            Some(free) if allowed => *free = (socket, Wait::Nothing),
            _ => close(&mut socket),
        }
    }

    /// How many of them wait.
    pub fn waiting(&self) -> usize {
        self.all.iter().filter(|(_, wait)| *wait != Wait::Nothing).count()
    }

    fn allows(&self, peer: Peer) -> bool {
        let outside = peer.pid == 0 || sys::getpid() != 1;
        outside && self.allowed.contains(&peer.user)
    }
}

/// A descriptor of no meaning.
fn reserve() -> i32 {
    descriptors::memory(c"rich-reserve").unwrap_or(NONE)
}
