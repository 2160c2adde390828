//! A connection to systemd: over its own socket, or over a bus.
//!
//! Every wait ends by a bound, or when the end is asked for; what arrives is not kept, but for
//! what is waited for.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with, sockopt,
};

use super::place::{Places, places};
use crate::error::Error;
use crate::plan::dbus::{
    Address, Call, GREETING, Greeted, LONGEST, Message, Sort, Value, answer_length, frame, greeted,
};
use crate::sys::interrupt;

/// How long a bus may take to let us in.
const GREETING_BOUND: Duration = Duration::from_secs(5);
/// The same where there is another way.
const IMPATIENT_BOUND: Duration = Duration::from_secs(1);
/// How long an answer, and the job that it tells of, may take.
const ANSWER_BOUND: Duration = Duration::from_secs(15);
/// systemd's name on a bus.
const SYSTEMD: &str = "org.freedesktop.systemd1";
/// Its object, and the prefix of all others.
pub const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
/// Its interface.
pub const MANAGER: &str = "org.freedesktop.systemd1.Manager";
/// The bus's own name and interface.
const BUS: &str = "org.freedesktop.DBus";

/// Why a call came to nothing.
#[derive(Debug)]
pub enum Fault {
    /// The other side is gone, or never was there; it may come back.
    Lost(String),
    /// It says no: the error's name, and what it says.
    Refused(String, String),
    /// Anything else.
    Other(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Other(error)
    }
}

/// What arrives.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The answer to the call with this serial: its texts.
    Return(u32, Vec<String>),
    /// The refusal of a call: the error's name and text.
    Refusal(u32, String, String),
    /// A signal: its name and texts.
    Signal(String, Vec<String>),
}

/// A connection.
#[derive(Debug)]
pub struct Bus {
    socket: OwnedFd,
    /// The other side is systemd itself: nobody has a name, and its signals need not be asked for.
    direct: bool,
    serial: u32,
    to_send: Vec<u8>,
    received: Vec<u8>,
    /// How much has come since the clock and requests to end were looked at (bytes).
    unseen: usize,
    end: Instant,
    /// Where else the manager may be reached.
    others: Places,
}

impl Bus {
    /// Connects to the system's manager, or to the `user`'s own; `again` after an attempt has
    /// failed.
    ///
    /// # Errors
    /// Nobody is there, or does not answer.
    pub fn open(user: bool, again: bool) -> std::result::Result<Bus, Fault> {
        Bus::knock(user, again)?.enter()
    }

    /// The first half: connects, and says who is there. The answer may take a while, in which other
    /// things can be done.
    ///
    /// # Errors
    /// Nobody is there.
    pub fn knock(user: bool, again: bool) -> std::result::Result<Bus, Fault> {
        Bus::reach(places(user, again))
    }

    /// Connects to the first of these that takes a connection.
    fn reach(places: Places) -> std::result::Result<Bus, Fault> {
        let (mut places, mut tried) = (places, Vec::new());
        while let Some((address, direct)) = places.next() {
            let bound = if places.len() > 0 { IMPATIENT_BOUND } else { GREETING_BOUND };
            match connected(&address, bound) {
                Ok(socket) => return Bus::greeting(socket, direct, places, bound),
                Err(errno) => tried.push(format!("{} {}", shown(&address), why(errno))),
            }
        }
        let tried = if tried.is_empty() { "no address".to_owned() } else { tried.join(", ") };
        Err(Fault::Lost(format!(
            "{tried}; is systemd there? --cgroup-manager cgroupfs does without"
        )))
    }

    fn greeting(
        socket: OwnedFd,
        direct: bool,
        others: Places,
        bound: Duration,
    ) -> std::result::Result<Bus, Fault> {
        let mut bus = Bus {
            socket,
            direct,
            serial: 0,
            to_send: GREETING.to_vec(),
            received: Vec::with_capacity(4096),
            unseen: 0,
            end: Instant::now() + bound,
            others,
        };
        bus.flush()?;
        Ok(bus)
    }

    /// The second half: waits for the answer. Who is silent or hangs up is let go, where there is
    /// another way.
    ///
    /// # Errors
    /// There is none, or it is no.
    pub fn enter(self) -> std::result::Result<Bus, Fault> {
        let mut bus = self;
        while let Err(fault) = bus.greeted() {
            let gone = matches!(fault, Fault::Lost(_)) || Instant::now() >= bus.end;
            if !gone || bus.others.len() == 0 {
                return Err(fault);
            }
            bus = Bus::reach(bus.others).map_err(|_| fault)?;
        }
        // systemd's own socket may have told of a unit of somebody else's by now: the beginning
        // of that message must not be lost.
        let answered = answer_length(&bus.received);
        bus.received.drain(..answered);
        if !bus.direct {
            bus.call(&to_bus("Hello", Vec::new()));
        }
        bus.end = Instant::now() + ANSWER_BOUND;
        Ok(bus)
    }

    fn greeted(&mut self) -> std::result::Result<(), Fault> {
        loop {
            match greeted(&self.received) {
                Greeted::NotYet => self.fill()?,
                Greeted::Refused => {
                    let what = "the bus does not let this user in";
                    return Err(Fault::Other(Error::system(what)));
                }
                Greeted::Welcome => return Ok(()),
            }
        }
    }

    /// Asks for signals of the manager with this word as their argument of this number: over a
    /// bus, where they come to those who ask.
    pub fn listen(&mut self, member: &str, argument: u8, word: &str) {
        if self.direct {
            return;
        }
        let rule = format!(
            "type='signal',sender='{SYSTEMD}',path='{MANAGER_PATH}',interface='{MANAGER}',\
             member='{member}',arg{argument}='{word}'"
        );
        self.call(&to_bus("AddMatch", vec![Value::Text(rule)]));
    }

    /// Calls a method of the manager; the call's serial. It is sent with the next wait.
    pub fn ask(&mut self, member: &str, body: Vec<Value>) -> u32 {
        self.ask_object(MANAGER_PATH, MANAGER, member, body)
    }

    /// Calls a method of any of its objects.
    pub fn ask_object(
        &mut self,
        path: &str,
        interface: &str,
        member: &str,
        body: Vec<Value>,
    ) -> u32 {
        let destination = (!self.direct).then_some(SYSTEMD);
        self.call(&Call { destination, path, interface, member, body })
    }

    fn call(&mut self, call: &Call<'_>) -> u32 {
        self.serial += 1;
        self.to_send.extend(call.encode(self.serial));
        self.serial
    }

    /// The texts of a call's answer.
    ///
    /// # Errors
    /// It is refused, or there is none.
    pub fn answer(&mut self, serial: u32) -> std::result::Result<Vec<String>, Fault> {
        loop {
            match self.next()? {
                Event::Return(to, texts) if to == serial => return Ok(texts),
                Event::Refusal(to, name, text) if to == serial => {
                    return Err(Fault::Refused(name, text));
                }
                _ => {}
            }
        }
    }

    /// What arrives next.
    ///
    /// # Errors
    /// The connection is lost, nothing comes in time, or what comes is no message.
    pub fn next(&mut self) -> std::result::Result<Event, Fault> {
        self.flush()?;
        loop {
            let garbage = |what| Fault::Other(Error::system(format!("the bus sends {what}")));
            let Some(length) = frame(&self.received).map_err(garbage)? else {
                self.fill()?;
                continue;
            };
            if self.received.len() < length {
                self.fill()?;
                continue;
            }
            let event = Message::decode(&self.received[..length]).map(|message| event(&message));
            self.received.drain(..length);
            if let Some(event) = event.map_err(garbage)? {
                return Ok(event);
            }
        }
    }

    /// Who never stops talking never makes us wait: the bounds of a wait hold all the same.
    fn look_up(&mut self, came: usize) -> std::result::Result<(), Fault> {
        self.unseen += came;
        if self.unseen < LONGEST {
            return Ok(());
        }
        self.unseen = 0;
        interrupt::pause(Timespec::default())?;
        if Instant::now() < self.end { Ok(()) } else { Err(self.late()) }
    }

    /// From now on there is this much time, where less than that is left.
    pub fn hurry(&mut self, bound: Duration) {
        self.end = self.end.min(Instant::now() + bound);
    }

    /// There is this much time again.
    pub fn linger(&mut self, bound: Duration) {
        self.end = Instant::now() + bound;
    }

    fn late(&self) -> Fault {
        Fault::Other(Error::system("no answer in time"))
    }

    fn wait(&self, events: PollFlags) -> std::result::Result<(), Fault> {
        let left = self.end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).ok();
        match interrupt::until(self.socket.as_fd(), events, left)? {
            true => Ok(()),
            false => Err(self.late()),
        }
    }

    fn flush(&mut self) -> std::result::Result<(), Fault> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let mut sent = 0;
        while sent < self.to_send.len() {
            match send(&self.socket, &self.to_send[sent..], flags) {
                Ok(count) => sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT)?,
                Err(errno) => return Err(lost(errno)),
            }
        }
        self.to_send.clear();
        Ok(())
    }

    /// Takes what has arrived.
    fn fill(&mut self) -> std::result::Result<(), Fault> {
        let mut part = [0; 4096];
        loop {
            match recv(&self.socket, &mut part[..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Err(Fault::Lost("the bus has closed the connection".into())),
                Ok((_, count)) => {
                    self.received.extend(&part[..count.min(part.len())]);
                    return self.look_up(count);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(PollFlags::IN)?,
                Err(errno) => return Err(lost(errno)),
            }
        }
    }
}

fn lost(errno: Errno) -> Fault {
    match errno {
        Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN => {
            Fault::Lost("the bus has closed the connection".into())
        }
        errno => Fault::Other(Error::os("talk to the bus", errno)),
    }
}

/// A call of the bus itself.
fn to_bus(member: &'static str, body: Vec<Value>) -> Call<'static> {
    let path = "/org/freedesktop/DBus";
    Call { destination: Some(BUS), path, interface: BUS, member, body }
}

/// What a message means here, if anything.
fn event(message: &Message<'_>) -> Option<Event> {
    let texts = || message.texts().into_iter().map(str::to_owned).collect::<Vec<_>>();
    match (message.sort, message.reply_to) {
        (Sort::Return, Some(to)) => Some(Event::Return(to, texts())),
        (Sort::Error, Some(to)) => {
            let text = texts().into_iter().next().unwrap_or_default();
            Some(Event::Refusal(to, message.error.unwrap_or_default().to_owned(), text))
        }
        (Sort::Signal, _) if message.path == Some(MANAGER_PATH) => {
            Some(Event::Signal(message.member.unwrap_or_default().to_owned(), texts()))
        }
        _ => None,
    }
}

/// Connects within this time: who listens and does not accept is not waited for.
fn connected(address: &Address, bound: Duration) -> std::result::Result<OwnedFd, Errno> {
    let name = match address {
        Address::Path(path) => SocketAddrUnix::new(path.as_str())?,
        Address::Abstract(name) => SocketAddrUnix::new_abstract_name(name)?,
    };
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(bound))?;
    rustix::io::retry_on_intr(|| connect(&socket, &name))?;
    Ok(socket)
}

fn shown(address: &Address) -> String {
    match address {
        Address::Path(path) => path.clone(),
        Address::Abstract(name) => format!("@{}", name.escape_ascii()),
    }
}

/// In words that no engine takes for a missing program.
fn why(errno: Errno) -> String {
    match errno {
        Errno::NOENT | Errno::NOTDIR => "is absent".to_owned(),
        Errno::CONNREFUSED => "is not listened at".to_owned(),
        Errno::ACCESS | Errno::PERM => "is not for this user".to_owned(),
        Errno::AGAIN | Errno::TIMEDOUT => "takes no connection".to_owned(),
        errno => format!("cannot be connected to ({errno})"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn who_is_silent_or_hangs_up_is_let_go_for_another() {
        let directory = std::env::temp_dir().join(format!("richrun-bus-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let place = |name: &str| directory.join(name).to_str().unwrap().to_owned();
        let listen = |name| std::os::unix::net::UnixListener::bind(place(name)).unwrap();
        let (first, second) = (listen("first"), listen("second"));
        for hangs_up in [true, false] {
            let places = ["first", "second"].map(|name| (Address::Path(place(name)), true));
            let mut bus = Bus::reach(Vec::from(places).into_iter()).unwrap();
            let taken = first.accept().unwrap();
            match hangs_up {
                true => drop(taken),
                false => bus.end = Instant::now(),
            }
            std::thread::scope(|scope| {
                let greets = scope.spawn(|| {
                    let mut stream = second.accept().unwrap().0;
                    stream.write_all(b"DATA\r\nOK 0123\r\n").unwrap();
                    stream
                });
                assert!(bus.enter().is_ok());
                // Open until then: who hangs up at once would be another case.
                drop(greets.join());
            });
        }
        std::fs::remove_dir_all(directory).unwrap();
    }

    /// Without it a bus that says more than can be read would be listened to for ever.
    #[test]
    fn who_never_stops_talking_is_late_as_well() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut bus =
            Bus::greeting(ours.into(), true, Vec::new().into_iter(), GREETING_BOUND).unwrap();
        bus.end = Instant::now();
        for _ in 0..LONGEST / 4096 - 1 {
            bus.look_up(4096).unwrap();
        }
        assert!(matches!(bus.look_up(4096), Err(Fault::Other(_))));
        bus.linger(ANSWER_BOUND);
        bus.look_up(LONGEST).unwrap();
    }
}
