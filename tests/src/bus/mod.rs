//! A stand-in for systemd on a bus of its own: it makes groups for scopes as systemd does, or fails
//! in a way of one's choice.

mod wire;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
pub use wire::Call;

use crate::case::View;
use crate::{Trial, sys};

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As systemd.
    Works,
    /// Nobody takes a connection.
    Full,
    /// No answer to the greeting.
    Mute,
    /// Another user is not let in.
    Rejects,
    /// No answer to the call that starts a scope.
    SilentAtStart,
    /// The job is told of, and never ends.
    SilentAtJob,
    /// Signals of others, and nothing else.
    Floods,
    /// The same, faster than anybody reads them.
    Deluges,
    /// A signal that breaks rules of the protocol, and then as systemd.
    Babbles,
    /// As systemd; but once it has been told of a change, the file with the limit of
    /// processes takes no value any more.
    Spoils,
    /// The call is refused.
    Refuses,
    /// The job ends like this.
    Ends(&'static str),
    /// The connection is closed at the call.
    HangsUp,
    /// Bytes that are no message.
    Garbage,
    /// A message that is longer than any.
    Endless,
    /// The job is done, and nobody is in the scope.
    Lies,
    /// A unit of the name is there until somebody waits for its end.
    Leaving,
    /// A unit of the name is there and runs.
    Taken,
    /// The first connections are closed, as by a manager that executes itself anew.
    Restarts,
    /// As systemd; but properties of a unit cannot be changed.
    WillNotChange,
    /// It writes files of the group after it has answered, and by other values.
    WritesLate,
}

/// What it has seen and made.
#[derive(Debug, Default)]
struct Known {
    calls: Vec<Call>,
    units: BTreeMap<String, Vec<PathBuf>>,
    connections: u32,
    left: bool,
    spoilt: Option<PathBuf>,
    written: bool,
}

/// The stand-in; it ends with this value.
pub struct Bus {
    place: PathBuf,
    known: Arc<Mutex<Known>>,
    ends: Arc<AtomicBool>,
}

impl Bus {
    /// Listens. Its groups lie in one named after the trial.
    pub fn new(t: &Trial, manner: Manner) -> Bus {
        let place = t.dir.join(format!("bus{}", t.next()));
        let listener = UnixListener::bind(&place).expect("bind the bus");
        let known = Arc::new(Mutex::new(Known::default()));
        let ends = Arc::new(AtomicBool::new(false));
        let tops = match t.view {
            View::V1 => vec![PathBuf::from("/sys/fs/cgroup/systemd"), "/sys/fs/cgroup/pids".into()],
            _ => vec![PathBuf::from("/sys/fs/cgroup")],
        };
        let tops = tops.into_iter().map(|top| top.join(t.name("fake.slice"))).collect();
        let bus = Bus { place, known, ends };
        if manner == Manner::Full {
            fill(&bus.place, listener, &bus.ends);
        } else {
            bus.serve(listener, manner, tops);
        }
        bus
    }

    fn serve(&self, listener: UnixListener, manner: Manner, tops: Vec<PathBuf>) {
        let (known, ends) = (Arc::clone(&self.known), Arc::clone(&self.ends));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ends.load(Ordering::SeqCst) {
                    break;
                }
                let (known, tops) = (Arc::clone(&known), tops.clone());
                std::thread::spawn(move || {
                    let _peer_is_gone = Client { stream, manner, known, tops, late: None }.serve();
                });
            }
        });
    }

    /// The address, for `DBUS_SYSTEM_BUS_ADDRESS`.
    pub fn address(&self) -> String {
        format!("unix:path={}", self.place.display())
    }

    /// The calls of this method so far.
    pub fn calls(&self, member: &str) -> Vec<Call> {
        let known = self.known.lock().expect("the calls");
        known.calls.iter().filter(|call| call.member == member).cloned().collect()
    }

    /// Whether it has written a unit's files after its answer.
    pub fn has_written(&self) -> bool {
        self.known.lock().expect("known").written
    }

    /// The units that are there.
    pub fn units(&self) -> Vec<String> {
        self.known.lock().expect("the units").units.keys().cloned().collect()
    }

    /// The property of the scope that was started last.
    pub fn property(&self, name: &str) -> Value {
        let calls = self.calls("StartTransientUnit");
        let call = calls.last().expect("a scope was started");
        let list = call.body[2].as_array().expect("properties");
        let found: Vec<&Value> = list.iter().filter(|pair| pair[0] == name).collect();
        assert!(found.len() <= 1, "{name} once: {found:?}");
        found.first().map_or(Value::Null, |pair| pair[1].clone())
    }

    /// As systemd when everybody in a unit has ended.
    pub fn forget(&self, unit: &str) {
        let groups = self.known.lock().expect("known").units.remove(unit);
        groups.iter().flatten().for_each(|group| end_group(group));
    }

    /// Undoes what [`Manner::Spoils`] has done.
    pub fn mend(&self) {
        let file = self.known.lock().expect("known").spoilt.take().expect("it was spoilt");
        nix::mount::umount(&file).expect("unmount");
    }

    /// Takes its groups away, which have to be empty.
    pub fn remove_groups(&self, t: &Trial) {
        for dir in t.cgroup_dirs(&t.name("fake.slice")) {
            let _busy = fs::remove_dir(dir);
        }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        let _wakes_it = UnixStream::connect(&self.place);
    }
}

/// Connects until nobody else can.
fn fill(place: &Path, listener: UnixListener, ends: &Arc<AtomicBool>) {
    // SAFETY-free way to a short queue: rustix listens again with another length.
    rustix::net::listen(&listener, 0).expect("listen");
    let held = UnixStream::connect(place).expect("the one that fits");
    let ends = Arc::clone(ends);
    std::thread::spawn(move || {
        while !ends.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(20));
        }
        drop((listener, held));
    });
}

/// One connection.
struct Client {
    stream: UnixStream,
    manner: Manner,
    known: Arc<Mutex<Known>>,
    tops: Vec<PathBuf>,
    /// The unit whose files are still to be written.
    late: Option<String>,
}

impl Client {
    fn serve(mut self) -> std::io::Result<()> {
        let number = {
            let mut known = self.known.lock().expect("known");
            known.connections += 1;
            known.connections
        };
        if self.manner == Manner::Restarts && number <= 3 {
            return Ok(());
        }
        self.greet()?;
        let mut bytes = Vec::new();
        loop {
            while let Some((call, length)) = wire::call(&bytes).filter(|_| bytes.len() >= 16) {
                bytes.drain(..length);
                self.known.lock().expect("known").calls.push(call.clone());
                self.write_late();
                if !self.answer(&call)? {
                    return Ok(());
                }
            }
            let mut part = [0; 4096];
            match self.stream.read(&mut part)? {
                0 => {
                    self.write_late();
                    return Ok(());
                }
                count => bytes.extend(&part[..count]),
            }
        }
    }

    /// As systemd does it: after its answer, and by its own values.
    fn write_late(&mut self) {
        let Some(unit) = self.late.take() else { return };
        for top in &self.tops {
            let file = top.join(&unit).join("pids.max");
            if file.exists() {
                std::fs::write(file, "99").expect("write pids.max");
            }
        }
        self.known.lock().expect("known").written = true;
    }

    fn greet(&mut self) -> std::io::Result<()> {
        let mut said = Vec::new();
        let mut one = [0];
        while !said.ends_with(b"BEGIN\r\n") {
            if self.stream.read(&mut one)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            said.push(one[0]);
            match self.manner {
                Manner::Mute => continue,
                Manner::Rejects if said.ends_with(b"EXTERNAL\r\n") => {
                    self.stream.write_all(b"REJECTED EXTERNAL\r\n")?;
                }
                _ if said.ends_with(b"EXTERNAL\r\n") => self.stream.write_all(b"DATA\r\n")?,
                _ if said.ends_with(b"DATA\r\n") => self.stream.write_all(b"OK 0123456789\r\n")?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether it goes on.
    fn answer(&mut self, call: &Call) -> std::io::Result<bool> {
        let to = call.serial;
        let unit = call.body.first().and_then(Value::as_str).unwrap_or_default().to_owned();
        match call.member.as_str() {
            "Hello" => self.say(&wire::answer(to, &[":1.7"]))?,
            "AddMatch" | "Subscribe" => self.say(&wire::answer(to, &[]))?,
            "Get" if call.body[1] == "Version" => self.say(&wire::answer_text(to, "257.9-1"))?,
            "Get" => self.say(&wire::answer_text(to, "active"))?,
            "GetUnit" if self.manner == Manner::Leaving => {
                self.known.lock().expect("known").left = true;
                self.say(&wire::signal("UnitRemoved", false, &[&unit, "/x/unit"]))?;
                let gone = "org.freedesktop.systemd1.NoSuchUnit";
                self.say(&wire::refusal(to, gone, "not loaded"))?;
            }
            "GetUnit" => self.say(&wire::answer(to, &["/org/freedesktop/systemd1/unit/x"]))?,
            "StartTransientUnit" => return self.start(call, &unit),
            "StopUnit" => self.stop(to, &unit)?,
            "SetUnitProperties" if self.manner == Manner::WillNotChange => {
                self.say(&wire::refusal(
                    to,
                    "org.freedesktop.DBus.Error.InvalidArgs",
                    "no, never",
                ))?;
            }
            "SetUnitProperties" if self.manner == Manner::Spoils => {
                if self.known.lock().expect("known").spoilt.is_none() {
                    self.spoil(&unit);
                }
                self.say(&wire::answer(to, &[]))?;
            }
            "SetUnitProperties" if self.manner == Manner::WritesLate => {
                self.say(&wire::answer(to, &[]))?;
                self.late = Some(unit);
            }
            "ResetFailedUnit" | "SetUnitProperties" => self.say(&wire::answer(to, &[]))?,
            other => panic!("call of {other}"),
        }
        Ok(true)
    }

    fn say(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    fn start(&mut self, call: &Call, unit: &str) -> std::io::Result<bool> {
        let job = "/org/freedesktop/systemd1/job/7";
        let exists = match self.manner {
            Manner::SilentAtStart => false,
            Manner::Taken => true,
            Manner::Leaving => !self.known.lock().expect("known").left,
            _ => self.known.lock().expect("known").units.contains_key(unit),
        };
        if exists {
            let name = "org.freedesktop.systemd1.UnitExists";
            self.say(&wire::refusal(
                call.serial,
                name,
                &format!("Unit {unit} was already loaded."),
            ))?;
            return Ok(true);
        }
        match self.manner {
            Manner::SilentAtStart => return Ok(true),
            Manner::HangsUp => return Ok(false),
            Manner::Refuses => {
                let name = "org.freedesktop.DBus.Error.AccessDenied";
                self.say(&wire::refusal(call.serial, name, "not\nyou"))?;
                return Ok(true);
            }
            Manner::Garbage => {
                self.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
                return Ok(true);
            }
            Manner::Endless => {
                self.say(b"l\x02\x01\x01\xff\xff\xff\x7f\x01\0\0\0\x08\0\0\0")?;
                return Ok(true);
            }
            Manner::Floods => loop {
                let other = "/org/freedesktop/systemd1/job/1";
                self.say(&wire::signal("JobRemoved", true, &[other, "other.scope", "done"]))?;
            },
            Manner::Deluges => {
                let other = "/org/freedesktop/systemd1/job/1";
                let many = wire::signal("JobRemoved", true, &[other, "other.scope", "done"]);
                let many = many.repeat(4096);
                loop {
                    self.say(&many)?;
                }
            }
            Manner::Babbles => self.say(&wire::babble())?,
            _ => {}
        }
        if self.manner != Manner::Lies {
            self.fill_scope(call, unit);
        }
        self.say(&wire::signal("JobRemoved", true, &["/other/job/1", unit, "failed"]))?;
        self.say(&wire::answer(call.serial, &[job]))?;
        match self.manner {
            Manner::SilentAtJob => {}
            Manner::Ends(result) => {
                self.say(&wire::signal("JobRemoved", true, &[job, unit, result]))?
            }
            _ => self.say(&wire::signal("JobRemoved", true, &[job, unit, "done"]))?,
        }
        Ok(true)
    }

    /// Has the group's limit of processes refuse every value.
    fn spoil(&self, unit: &str) {
        let mut known = self.known.lock().expect("known");
        let groups = known.units.get(unit).expect("a unit");
        let file = groups.iter().map(|group| group.join("pids.max")).find(|file| file.exists());
        let file = file.expect("a limit of processes");
        let bind = nix::mount::MsFlags::MS_BIND;
        // A file that can be read, and takes nothing.
        nix::mount::mount(Some("/proc/version"), &file, None::<&str>, bind, None::<&str>)
            .expect("bind over the file");
        known.spoilt = Some(file);
    }

    /// Makes the groups and moves the processes there.
    fn fill_scope(&self, call: &Call, unit: &str) {
        let list = call.body[2].as_array().expect("properties");
        let pids = list.iter().find(|pair| pair[0] == "PIDs").expect("PIDs");
        let mut groups = Vec::new();
        for top in &self.tops {
            let group = top.join(unit);
            fs::create_dir_all(&group).expect("make the scope's group");
            for pid in pids[1].as_array().expect("a list") {
                fs::write(group.join("cgroup.procs"), pid.to_string()).expect("move a process");
            }
            groups.push(group);
        }
        self.known.lock().expect("known").units.insert(unit.to_owned(), groups);
    }

    fn stop(&mut self, to: u32, unit: &str) -> std::io::Result<()> {
        let groups = self.known.lock().expect("known").units.remove(unit);
        let Some(groups) = groups else {
            let name = "org.freedesktop.systemd1.NoSuchUnit";
            return self.say(&wire::refusal(to, name, &format!("Unit {unit} not loaded.")));
        };
        for group in groups {
            end_group(&group);
        }
        let job = "/org/freedesktop/systemd1/job/8";
        self.say(&wire::answer(to, &[job]))?;
        self.say(&wire::signal("JobRemoved", true, &[job, unit, "done"]))
    }
}

/// Ends who is in a group, and takes it away.
fn end_group(group: &Path) {
    for _ in 0..500 {
        let pids = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        for pid in pids.lines().filter_map(|line| line.parse().ok()) {
            sys::kill(pid, libc::SIGKILL);
        }
        match fs::remove_dir(group) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                std::thread::sleep(Duration::from_millis(10));
            }
            _ => break,
        }
    }
}
