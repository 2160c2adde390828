//! `events`: what a container uses, that it runs out of memory, and what happens to its
//! services: a line of JSON each.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rich_init::services::control::Op;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::Serialize;

use super::output::{line, print};
use super::service::{Document, health_word};
use crate::cgroup::rdt::RdtRecord;
use crate::cgroup::{Cgroup, OomWatch};
use crate::cli::{EventsArgs, Global};
use crate::error::{Error, Kind, Result};
use crate::life::services::{Answer, Control, Told};
use crate::life::{Status, Store, signal};
use crate::plan::stats::{Stats, interfaces};

/// One event, in the envelope that `events` of other runtimes has too.
#[derive(Debug, Serialize)]
struct Event<'a, T: Serialize> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<T>,
    /// RFC 3339, in UTC.
    time: String,
}

#[derive(Debug, Serialize)]
struct Health {
    health: &'static str,
}

/// What is listened to.
struct Sources<'a> {
    id: &'a str,
    /// The container's groups; without them there are no statistics.
    cgroup: Option<Cgroup>,
    class: Option<RdtRecord>,
    init: i32,
    oom: Option<OomWatch>,
    control: Option<Control>,
    /// The health that was told last.
    health: Option<&'static str>,
}

/// Prints every service as it is, then each change, each change of the health of the whole, each
/// time that memory runs out, and the statistics every interval, until the container ends.
pub fn run(global: &Global, args: &EventsArgs) -> Result<u8> {
    let store = Store::new(global.root());
    let (state, status) = store.peek(&args.id)?;
    let gone =
        || Error::new(Kind::WrongState, format!("container with id {} is not running", args.id));
    let init = state.init.filter(|_| !matches!(status, Status::Stopped | Status::Creating));
    let init = init.ok_or_else(gone)?;
    let cgroup = signal::cgroup(&state)?;
    if args.stats {
        let none = || Error::system(format!("events {}: the container has no cgroup", args.id));
        tell(
            &args.id,
            "stats",
            Some(statistics(&cgroup.ok_or_else(none)?, state.rdt.as_ref(), init.pid)),
        )?;
        return Ok(0);
    }
    let pidfd = init.pidfd().map_err(|error| error.if_gone(gone))?;
    let control = match Control::connect(&store, &args.id) {
        Ok(control) => Some(control),
        // No services; where nothing else could be told either, that is the answer.
        Err(error) if cgroup.is_none() || error.kind() != Kind::WrongState => return Err(error),
        Err(_) => None,
    };
    if let Some(control) = &control {
        control.ask(Op::Events, 0, &[], true)?;
    }
    let oom = cgroup.as_ref().map_or(Ok(None), Cgroup::watch_oom)?;
    let (id, class) = (&args.id, state.rdt);
    let sources = Sources { id, cgroup, class, init: init.pid, oom, control, health: None };
    sources.listen(pidfd.as_fd(), args.interval)
}

impl Sources<'_> {
    fn listen(mut self, pidfd: BorrowedFd<'_>, interval: Duration) -> Result<u8> {
        let mut due = Instant::now() + interval;
        loop {
            let left = due.saturating_duration_since(Instant::now());
            let [ended, said] = self.wait(pidfd, left)?;
            // First of all: who asks why a container has ended finds the reason told.
            self.tell_oom()?;
            if said && !self.tell_service()? {
                return Ok(0);
            }
            // With services, their last words come before the end of the conversation.
            if ended && (self.control.is_none() || !said) {
                return Ok(0);
            }
            if Instant::now() >= due {
                due = Instant::now() + interval;
                if let Some(cgroup) = &self.cgroup {
                    tell(
                        self.id,
                        "stats",
                        Some(statistics(cgroup, self.class.as_ref(), self.init)),
                    )?;
                }
            }
        }
    }

    /// Waits for whatever comes first: whether the container has ended, whether its PID 1 says
    /// something.
    fn wait(&self, pidfd: BorrowedFd<'_>, left: Duration) -> Result<[bool; 2]> {
        let timeout = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        // Nobody who pipes the events away is waited for longer than they read.
        let mut fds = vec![PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
        fds.extend(self.control.iter().map(|c| PollFd::from_borrowed_fd(c.as_fd(), PollFlags::IN)));
        fds.extend(self.oom.iter().map(|oom| {
            let (fd, flags) = oom.poll();
            PollFd::from_borrowed_fd(fd, flags)
        }));
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok([false, false]),
            Err(errno) => return Err(Error::os("poll", errno)),
        }
        let ready = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
        Ok([ready(0), self.control.is_some() && ready(1)])
    }

    fn tell_oom(&mut self) -> Result<()> {
        let Some(watch) = &mut self.oom else { return Ok(()) };
        match watch.news() {
            // Once a wake, as runc: the kernel counts more than kills.
            Some(1..) => tell(self.id, "oom", None::<()>),
            Some(0) => Ok(()),
            None => {
                self.oom = None;
                Ok(())
            }
        }
    }

    /// Tells of a service; `false`: there is nobody any more who could say something.
    fn tell_service(&mut self) -> Result<bool> {
        let Some(control) = &self.control else { return Ok(true) };
        let told: Told = match control.answer()? {
            Answer::Service(told) => told,
            Answer::Gone => {
                // The last breath of what has run out of memory.
                self.tell_oom()?;
                return Ok(false);
            }
            other => return Err(control.failure(other)),
        };
        let health = health_word(told.health);
        tell(self.id, "service", Some(Document::from(told)))?;
        if self.health.replace(health) != Some(health) {
            tell(self.id, "health", Some(Health { health }))?;
        }
        Ok(true)
    }
}

fn statistics(cgroup: &Cgroup, class: Option<&RdtRecord>, init: i32) -> Stats {
    let mut stats = cgroup.stats();
    stats.intel_rdt = class.map(RdtRecord::stats).unwrap_or_default();
    let text = std::fs::read_to_string(format!("/proc/{init}/net/dev"));
    stats.network_interfaces = text.ok().map(|text| interfaces(&text));
    stats
}

fn tell(id: &str, kind: &'static str, data: Option<impl Serialize>) -> Result<()> {
    let mut time = String::new();
    crate::log::push_time(
        &mut time,
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
    );
    let text = line(&[Event { kind, id, data, time }])?;
    let text = text.trim();
    let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    print(&format!("{text}\n"))
}
