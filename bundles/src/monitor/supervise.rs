//! The life of a monitor, told by one loop.

use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, WaitOptions, wait};

use super::client::{Client, Mode};
use super::keeper::{self, Keeper};
use super::launch::{Lock, Pipes, Process, launch};
use super::lines::Stream;
use super::log::Log;
use super::memory::{oom_kills, victims};
use super::network;
use super::policy::{self, Next};
use super::protocol::{Frame, Kind, Request};
use super::signal::signal_number;
use super::sources::{Source, Sources, ready};
use super::terminal::{address, resize};
use super::undo::forget;
use crate::error::{At, Error, Result};
use crate::runtime::{Program, Runtime};
use crate::store::{Dirs, Exit, Life, Phase, Record};
use crate::sys;

/// How long a container has to end when nobody says.
const GRACE: u32 = 10;
/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;
/// What may be left in streams when the payload has ended: everybody's pipes together are smaller.
const LEFT: usize = 8 << 20;
/// With so much typed that the payload has not taken, no more is taken from who types.
const TYPED: usize = 64 << 10;
/// The kernel tells a code only after somebody has reaped the process.
const REAPED: Duration = Duration::from_secs(5);
/// Who has started the container and reads its streams is there himself for a moment.
const SETTLED: Duration = Duration::from_millis(50);

/// How a monitor begins.
#[derive(Debug, Clone)]
pub struct Start {
    /// The container's directories.
    pub dirs: Dirs,
    /// Its container runs, and has lost its monitor.
    pub take_over: bool,
    /// Who has started it gets the streams.
    pub attach: bool,
}

/// Runs a monitor. `starter`: who is told that the container runs.
///
/// # Errors
/// What keeps it from beginning; the starter has been told.
pub fn main(start: Start, starter: UnixStream) -> Result<()> {
    let mut client = Client::new(starter, Mode::New)?;
    match begin(&start) {
        Ok(None) => {
            client.send(Kind::Error, b"there is a monitor already");
            Ok(())
        }
        Ok(Some(mut monitor)) => monitor.run(client, &start),
        Err(error) => {
            client.send(Kind::Error, error.message.as_bytes());
            Err(error)
        }
    }
}

fn begin(start: &Start) -> Result<Option<Monitor>> {
    // Not of the caller's session, directory or process group; orphans of the container come here.
    let _ = rustix::process::setsid();
    rustix::process::chdir("/").at("go to", "/")?;
    rustix::process::set_child_subreaper(Pid::from_raw(1)).at("become", "subreaper")?;
    let Some(lock) = Lock::take(&start.dirs)? else { return Ok(None) };
    let signals = SigSet::all();
    signals.thread_block().at("block", "signals")?;
    let wanted = SigSet::from(Signal::SIGCHLD);
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let children = SignalFd::with_flags(&wanted, flags).at("wait for", "processes")?;
    let record = start.dirs.record()?;
    let life = start.dirs.life()?;
    let dir = File::open(&start.dirs.run).at("open", start.dirs.run.display())?;
    let _ = fs::remove_file(start.dirs.run.join("monitor.sock"));
    let listener =
        UnixListener::bind(address(&dir, "monitor.sock")).at("listen at", "monitor.sock")?;
    listener.set_nonblocking(true).at("listen at", "monitor.sock")?;
    Ok(Some(Monitor {
        runtime: Program::of(&record),
        log: Log::open(&record)?,
        pipes: Pipes::open(&start.dirs)?,
        dirs: start.dirs.clone(),
        record,
        life,
        children,
        listener,
        process: None,
        ours: true,
        clients: Vec::new(),
        typed: Vec::new(),
        end_of_input: false,
        began: Instant::now(),
        quick: 0,
        start_at: None,
        kill_at: None,
        again: false,
        keeper: None,
        keep_at: None,
        ended: false,
        reported: 0,
        _lock: lock,
    }))
}

/// A monitor.
struct Monitor {
    dirs: Dirs,
    record: Record,
    life: Life,
    runtime: Program,
    log: Log,
    pipes: Pipes,
    children: SignalFd,
    listener: UnixListener,
    process: Option<Process>,
    /// The process is this one's child; else its end is seen by its pidfd.
    ours: bool,
    clients: Vec<Client>,
    /// What was typed and the payload has not taken yet.
    typed: Vec<u8>,
    /// Standard input ends after that.
    end_of_input: bool,
    began: Instant,
    /// How many ends in a row came soon.
    quick: u32,
    start_at: Option<Instant>,
    kill_at: Option<Instant>,
    /// Somebody asked for a restart.
    again: bool,
    keeper: Option<Keeper>,
    /// When a keeper is made: one that ends at once needs none.
    keep_at: Option<Instant>,
    ended: bool,
    /// The lost bytes that the record has.
    reported: u64,
    _lock: Lock,
}

impl Monitor {
    fn run(&mut self, mut starter: Client, start: &Start) -> Result<()> {
        let begun = if start.take_over { self.take_over() } else { self.start() };
        if let Err(error) = begun {
            self.fail(&error);
            starter.send(Kind::Error, error.message.as_bytes());
            return Err(error);
        }
        if !start.attach {
            self.keep();
        }
        let pid = self.life.pid.unwrap_or_default().to_string();
        starter.send(Kind::Ready, pid.as_bytes());
        if start.attach {
            starter.mode = Mode::Attached(true);
            self.clients.push(starter);
        } else {
            drop(starter);
        }
        self.reap()?;
        while !self.ended {
            self.wait()?;
        }
        self.close()
    }

    /// Starts the container.
    fn start(&mut self) -> Result<()> {
        let process = launch(&self.record, &self.dirs, &self.runtime)?;
        self.life.phase = Phase::Running;
        self.life.pid = Some(process.pid);
        self.life.pid_start = Some(process.start);
        self.life.monitor = Some(std::process::id() as i32);
        self.life.started = Some(Timestamp::now());
        self.life.cgroup.clone_from(&process.cgroup);
        self.life.error = None;
        self.life.stopped = false;
        self.began = Instant::now();
        self.ours = true;
        let held = process.master.is_some() || process.input.is_some();
        self.process = Some(process);
        self.dirs.save_life(&self.life)?;
        if held {
            // A terminal and an input end with their last holder, in the first moment too.
            self.keep();
        } else {
            self.keep_at = Some(Instant::now() + SETTLED);
        }
        self.dirs.tell(&self.record, "start", None);
        Ok(())
    }

    /// Makes the keeper. Without one the container runs as well.
    fn keep(&mut self) {
        self.keep_at = None;
        if let Some(process) = &self.process {
            self.keeper = Keeper::begin(&self.dirs.run, &self.pipes, process).ok();
        }
    }

    /// Goes on where another monitor was killed.
    fn take_over(&mut self) -> Result<()> {
        self.life.monitor = Some(std::process::id() as i32);
        self.dirs.tell(&self.record, "take-over", None);
        let known = self.life.pid.zip(self.life.pid_start);
        let kept = keeper::take(&self.dirs.run).unwrap_or_default();
        self.process = known.and_then(|(pid, start)| Process::adopt(pid, start, kept.pidfd));
        if let Some(process) = &mut self.process {
            process.master = kept.master;
            process.input = kept.input;
        }
        self.ours = false;
        if self.life.phase == Phase::Restarting {
            self.start_at = Some(Instant::now());
        } else if self.process.is_none() {
            // It ended while nobody held it: its code went to somebody else.
            self.ends(None, None)?;
        }
        self.dirs.save_life(&self.life)
    }

    /// It could not be started.
    fn fail(&mut self, error: &Error) {
        self.life.phase = Phase::Failed;
        self.life.error = Some(error.message.clone());
        network::disconnect(&self.dirs);
        let _ = self.runtime.delete(&self.record.id, true);
        let _ = self.dirs.save_life(&self.life);
        if self.record.remove {
            let _ = forget(&self.dirs, &self.record);
        }
    }

    /// Waits until something happens, and does what follows.
    fn wait(&mut self) -> Result<()> {
        let next = [self.start_at, self.kill_at, self.keep_at].into_iter().flatten().min();
        let left = next.map(|at| at.saturating_duration_since(Instant::now()));
        for source in ready(&self.sources(), left)? {
            match source {
                Source::Children => self.reap()?,
                Source::Listener => self.accept(),
                Source::Output => drop(self.pump(Stream::Output)),
                Source::Errors => drop(self.pump(Stream::Errors)),
                Source::Master => {
                    if !self.pump_master()
                        && let Some(process) = &mut self.process
                    {
                        process.master = None;
                    }
                }
                Source::Typed => self.feed(),
                Source::Process => self.adopted_has_ended()?,
                Source::Client(at) => self.serve(at),
            }
        }
        self.clients.retain(|client| !client.gone);
        let now = Instant::now();
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_at = None;
            let _ = self.runtime.kill(&self.record.id, "KILL", false);
        }
        if self.keep_at.is_some_and(|at| at <= now) {
            self.keep();
        }
        if self.start_at.is_some_and(|at| at <= now) {
            self.start_at = None;
            self.start_anew()?;
        }
        Ok(())
    }

    /// What is waited for.
    fn sources(&self) -> Sources<'_> {
        let input = PollFlags::IN;
        let mut sources = vec![
            (Source::Children, self.children.as_fd(), input),
            (Source::Listener, self.listener.as_fd(), input),
        ];
        // While somebody who is waited for does not read, the payload is not read either.
        if !self.clients.iter().any(Client::is_full) {
            sources.push((Source::Output, self.pipes.output.as_fd(), input));
            sources.push((Source::Errors, self.pipes.errors.as_fd(), input));
            if let Some(master) = self.process.as_ref().and_then(|process| process.master.as_ref())
            {
                sources.push((Source::Master, master.as_fd(), input));
            }
        }
        if let Some(to) = self.input().filter(|_| !self.typed.is_empty()) {
            sources.push((Source::Typed, to.as_fd(), PollFlags::OUT));
        }
        if let Some(process) = self.process.as_ref().filter(|_| !self.ours) {
            sources.push((Source::Process, process.pidfd.as_fd(), input));
        }
        sources.extend(self.client_sources());
        sources
    }

    fn client_sources(&self) -> impl Iterator<Item = (Source, BorrowedFd<'_>, PollFlags)> {
        // Whoever types faster than the payload reads has to wait.
        let full = self.typed.len() >= TYPED;
        self.clients.iter().enumerate().filter_map(move |(at, client)| {
            let waits = full && matches!(client.mode, Mode::Attached(_));
            let input = if waits { PollFlags::empty() } else { PollFlags::IN };
            let output = if client.has_output() { PollFlags::OUT } else { PollFlags::empty() };
            let flags = input | output;
            (!flags.is_empty()).then(|| (Source::Client(at), client.stream.as_fd(), flags))
        })
    }

    /// Where what is typed goes.
    fn input(&self) -> Option<&OwnedFd> {
        let process = self.process.as_ref()?;
        process.master.as_ref().or(process.input.as_ref())
    }

    /// Reads once; how many bytes.
    fn pump(&mut self, stream: Stream) -> usize {
        let pipe = match stream {
            Stream::Output => &self.pipes.output,
            Stream::Errors => &self.pipes.errors,
        };
        let mut chunk = vec![0; CHUNK];
        let count = rustix::io::read(pipe, &mut chunk).unwrap_or(0);
        self.pass_on(stream, &chunk[..count]);
        count
    }

    /// The same of the terminal; whether it is still there.
    fn pump_master(&mut self) -> bool {
        let Some(master) = self.process.as_ref().and_then(|process| process.master.as_ref()) else {
            return true;
        };
        let mut chunk = vec![0; CHUNK];
        match rustix::io::read(master, &mut chunk) {
            Ok(0) => false,
            Ok(count) => {
                self.pass_on(Stream::Output, &chunk[..count]);
                true
            }
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => true,
            Err(_) => false,
        }
    }

    fn pass_on(&mut self, stream: Stream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.log.write(stream, bytes);
        let kind = if stream == Stream::Output { Kind::Output } else { Kind::Errors };
        for client in &mut self.clients {
            client.show(kind, bytes);
        }
        // Said once; the whole number when the container ends.
        if self.reported == 0 && self.log.lost() > 0 {
            self.reported = self.log.lost();
            self.life.log_lost = self.reported;
            let _ = self.dirs.save_life(&self.life);
        }
    }

    /// What is left in the streams when the payload has ended.
    fn drain(&mut self) {
        let mut left = LEFT;
        loop {
            let read = self.pump(Stream::Output) + self.pump(Stream::Errors);
            left = left.saturating_sub(read);
            if read == 0 || left == 0 {
                break;
            }
        }
        while self.process.as_ref().is_some_and(|process| process.master.is_some()) {
            let before = left;
            if !self.pump_master() || before == 0 {
                break;
            }
            left = left.saturating_sub(CHUNK);
            let master = self.process.as_ref().and_then(|process| process.master.as_ref());
            let Some(master) = master else { break };
            let mut fds = [PollFd::new(master, PollFlags::IN)];
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            if poll(&mut fds, Some(&now)).is_ok_and(|count| count == 0) {
                break;
            }
        }
    }

    /// Reaps whoever has ended: the payload, and orphans of its.
    fn reap(&mut self) -> Result<()> {
        while let Ok(Some(_)) = self.children.read_signal() {}
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let payload = self.process.as_ref().map(|process| process.pid);
            if self.ours && payload == Some(pid.as_raw_nonzero().get()) {
                self.ends(status.exit_status(), status.terminating_signal())?;
            }
            // Somebody has killed the keeper: here is another.
            if self.keeper.as_ref().is_some_and(|keeper| keeper.pid == pid.as_raw_nonzero().get()) {
                // Its number may be somebody else's from now on.
                std::mem::forget(self.keeper.take());
                self.keep();
            }
        }
        Ok(())
    }

    /// A process that is not a child of this monitor has ended.
    fn adopted_has_ended(&mut self) -> Result<()> {
        let Some(process) = &self.process else { return Ok(()) };
        let status = sys::reaped_exit_of(process.pidfd.as_fd(), REAPED);
        let code = status.filter(|status| status & 0x7f == 0).map(|status| (status >> 8) & 0xff);
        let signal = status.map(|status| status & 0x7f).filter(|signal| *signal != 0);
        self.ends(code, signal)
    }

    /// The payload has ended: the record is written before anybody is told.
    fn ends(&mut self, code: Option<i32>, signal: Option<i32>) -> Result<()> {
        self.drain();
        self.log.end();
        self.typed = Vec::new();
        self.end_of_input = false;
        self.keeper = None;
        self.keep_at = None;
        self.kill_at = None;
        let oom_kills = self.life.cgroup.as_deref().map_or(0, oom_kills);
        let exit = Exit {
            code: code.or(signal.map(|signal| 128 + signal)),
            signal,
            oom_kills,
            oom_killed: self.life.cgroup.as_deref().map_or(Vec::new(), |it| victims(it, oom_kills)),
            finished: Timestamp::now(),
        };
        self.process = None;
        self.life.pid = None;
        self.life.pid_start = None;
        self.life.exit = Some(exit.clone());
        self.life.log_lost = self.log.lost();
        let steady = self.began.elapsed() >= policy::STEADY;
        self.quick = if steady { 0 } else { self.quick };
        let next = if self.again {
            Next::After(Duration::ZERO)
        } else {
            let (stopped, restarts) = (self.life.stopped, self.life.restarts);
            policy::next(self.record.restart, &exit, stopped, restarts, self.quick)
        };
        self.quick += 1;
        self.life.phase = if next == Next::End { Phase::Exited } else { Phase::Restarting };
        self.dirs.save_life(&self.life)?;
        self.dirs.tell(&self.record, "exit", exit.code);
        match next {
            Next::After(wait) => self.start_at = Some(Instant::now() + wait),
            Next::End => {
                self.tell_exit(&exit);
                self.ended = true;
            }
        }
        network::disconnect(&self.dirs);
        // Its groups and namespaces go in any case; what is in the way now is, when it is started
        // or removed, said again.
        if let Err(error) = self.runtime.delete(&self.record.id, true) {
            self.life.error = Some(error.message);
            self.dirs.save_life(&self.life)?;
        }
        Ok(())
    }

    fn tell_exit(&mut self, exit: &Exit) {
        let text = serde_json::to_vec(exit).unwrap_or_default();
        for client in &mut self.clients {
            if matches!(client.mode, Mode::Waiting | Mode::WaitingForStart | Mode::Attached(_)) {
                client.send(Kind::Exit, &text);
            }
        }
    }

    /// Starts the container after an end.
    fn start_anew(&mut self) -> Result<()> {
        // Labels, policies and the like may have been changed meanwhile.
        self.record = self.dirs.record()?;
        if !self.again {
            self.life.restarts += 1;
        }
        self.again = false;
        if let Err(error) = self.start() {
            self.fail(&error);
            let exit = self.life.exit.clone();
            for client in &mut self.clients {
                client.send(Kind::Error, error.message.as_bytes());
            }
            if let Some(exit) = exit {
                self.tell_exit(&exit);
            }
            self.ended = true;
            return Ok(());
        }
        self.dirs.tell(&self.record, "restart", None);
        for client in &mut self.clients {
            if client.mode == Mode::WaitingForStart {
                client.mode = Mode::New;
                client.send(Kind::Done, b"");
            }
        }
        self.reap()
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if self.clients.len() < 1000
                && let Ok(client) = Client::new(stream, Mode::New)
            {
                self.clients.push(client);
            }
        }
    }

    fn serve(&mut self, at: usize) {
        self.clients[at].flush();
        for frame in self.clients[at].receive() {
            self.hear(at, &frame);
        }
    }

    fn hear(&mut self, at: usize, frame: &Frame) {
        let attached = matches!(self.clients[at].mode, Mode::Attached(_));
        match frame.kind {
            Kind::Input if attached => {
                self.typed.extend_from_slice(&frame.data);
                self.feed();
            }
            Kind::EndOfInput if attached => {
                self.end_of_input = true;
                self.feed();
            }
            Kind::Resize if attached => {
                if let Some(master) =
                    self.process.as_ref().and_then(|process| process.master.as_ref())
                {
                    resize(master, &frame.data);
                }
            }
            Kind::Request => match Request::parse(&frame.data) {
                Some(request) => self.answer(at, request),
                None => self.clients[at].send(Kind::Error, b"no such request"),
            },
            _ => self.clients[at].gone = true,
        }
    }

    fn answer(&mut self, at: usize, request: Request) {
        let done = match request {
            Request::Wait => {
                self.clients[at].mode = Mode::Waiting;
                return;
            }
            Request::Attach { hold } => {
                self.clients[at].mode = Mode::Attached(hold);
                Ok(())
            }
            Request::Kill(signal) => self.signal(&signal),
            Request::Stop(signal, seconds) => {
                self.clients[at].mode = Mode::Waiting;
                match self.stop(signal, seconds) {
                    Ok(()) => return,
                    Err(error) => Err(error),
                }
            }
            Request::Restart(seconds) => {
                self.clients[at].mode = Mode::WaitingForStart;
                match self.restart(seconds) {
                    Ok(()) => return,
                    Err(error) => Err(error),
                }
            }
        };
        match done {
            Ok(()) => self.clients[at].send(Kind::Done, b""),
            Err(error) => self.clients[at].send(Kind::Error, error.message.as_bytes()),
        }
    }

    /// Whether the payload has ended, though nobody has said so yet.
    fn has_ended(&self) -> bool {
        let Some(process) = &self.process else { return true };
        let sources = [(Source::Process, process.pidfd.as_fd(), PollFlags::IN)];
        ready(&sources, Some(Duration::ZERO)).is_ok_and(|ready| !ready.is_empty())
    }

    fn signal(&mut self, signal: &str) -> Result<()> {
        signal_number(signal)?;
        self.runtime.kill(&self.record.id, signal, false)
    }

    /// Asks the container to end, and kills it when the time is over.
    fn stop(&mut self, signal: Option<String>, seconds: Option<u32>) -> Result<()> {
        self.life.stopped = true;
        self.again = false;
        self.dirs.save_life(&self.life)?;
        if self.start_at.take().is_some() {
            // Between two runs: the last end was the end.
            self.life.phase = Phase::Exited;
            self.dirs.save_life(&self.life)?;
            self.ended = true;
            if let Some(exit) = self.life.exit.clone() {
                self.tell_exit(&exit);
            }
            return Ok(());
        }
        self.ask_to_end(signal, seconds)
    }

    fn restart(&mut self, seconds: Option<u32>) -> Result<()> {
        self.again = true;
        if self.start_at.is_some() {
            self.start_at = Some(Instant::now());
            return Ok(());
        }
        self.ask_to_end(None, seconds)
    }

    fn ask_to_end(&mut self, signal: Option<String>, seconds: Option<u32>) -> Result<()> {
        let signal = signal.or_else(|| self.record.stop_signal.clone());
        let seconds = seconds.or(self.record.stop_timeout).unwrap_or(GRACE);
        let signal = if seconds == 0 { "KILL".to_owned() } else { signal.unwrap_or("TERM".into()) };
        if let Err(error) = self.signal(&signal)
            && !self.has_ended()
        {
            return Err(error);
        }
        self.kill_at = Some(Instant::now() + Duration::from_secs(u64::from(seconds)));
        Ok(())
    }

    /// Gives the payload of what was typed as much as it takes now.
    fn feed(&mut self) {
        while !self.typed.is_empty() {
            let Some(to) = self.input() else {
                self.typed.clear();
                break;
            };
            match rustix::io::write(to, &self.typed) {
                Ok(count) => drop(self.typed.drain(..count)),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return,
                // Nobody reads any more.
                Err(_) => self.typed.clear(),
            }
        }
        if std::mem::take(&mut self.end_of_input) {
            if let Some(process) = &mut self.process {
                process.input = None;
            }
            // The keeper's copy is one too many: another has none.
            if self.keeper.take().is_some() {
                self.keep();
            }
        }
    }

    /// The end of the monitor: whoever has connected meanwhile is told too.
    fn close(&mut self) -> Result<()> {
        let socket: PathBuf = self.dirs.run.join("monitor.sock");
        let _ = fs::remove_file(&socket);
        self.accept();
        if let Some(exit) = self.life.exit.clone() {
            let text = serde_json::to_vec(&exit).unwrap_or_default();
            for client in self.clients.iter_mut().filter(|client| client.mode == Mode::New) {
                client.send(Kind::Exit, &text);
            }
        }
        let forgotten = if self.record.remove { forget(&self.dirs, &self.record) } else { Ok(()) };
        while self.clients.iter().any(|client| client.has_output() && client.is_waited_for()) {
            let clients: Sources<'_> = self.client_sources().collect();
            for source in ready(&clients, None)? {
                if let Source::Client(at) = source {
                    self.serve(at);
                }
            }
            self.clients.retain(|client| !client.gone);
        }
        forgotten
    }
}
