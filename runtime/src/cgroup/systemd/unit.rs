//! Calls about one unit, each with a bound: start, stop, change.

use std::time::{Duration, Instant};

use rustix::event::Timespec;

use super::Holder;
use super::bus::{Bus, Event, Fault, MANAGER_PATH};
use super::is_in;
use super::place::has_gone;
use crate::cgroup::layout::memberships_of;
use crate::error::{Error, Kind, Result};
use crate::plan::cgroup::scope::{Property, ScopePlan, needs_version, version};
use crate::plan::dbus::Value;
use crate::sys::interrupt;

/// How long a manager that executes itself again, or a bus that restarts, may be away.
const AWAY_BOUND: Duration = Duration::from_secs(3);
/// How often it is looked for.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// How long a unit of the same name that is on its way out may take.
const LEAVING_BOUND: Duration = Duration::from_secs(3);
/// How long cleaning up after a failure may take.
const CLEANING_BOUND: Duration = Duration::from_secs(2);

const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
/// What a bus says while systemd is not on it.
const AWAY: [&str; 5] = [
    "org.freedesktop.DBus.Error.ServiceUnknown",
    "org.freedesktop.DBus.Error.NameHasNoOwner",
    "org.freedesktop.DBus.Error.NoReply",
    "org.freedesktop.DBus.Error.Disconnected",
    "org.freedesktop.DBus.Error.Spawn.ChildExited",
];

type Attempt<T> = std::result::Result<T, Fault>;

/// A connection whose answer is not there yet.
pub(super) type Knocked = Attempt<Bus>;

/// Begins to connect.
pub(super) fn knock(user: bool) -> Knocked {
    Bus::knock(user, false)
}

/// Starts a scope with one process in it; it is there with all its limits then.
///
/// # Errors
/// systemd cannot be reached, does not do it in time, or says why it does not. Nothing is left of
/// the unit but what ends with its process.
pub(super) fn start(plan: &ScopePlan, knocked: Knocked, holder: &Holder) -> Result<()> {
    let unit = plan.name.unit.as_str();
    let began = Instant::now();
    let (mut knocked, mut lost) = (Some(knocked), false);
    loop {
        let bus = knocked.take().unwrap_or_else(|| Bus::knock(plan.user, true));
        match start_once(plan, bus, holder, lost) {
            Ok(()) => return Ok(()),
            // It was at it when it went away, and goes on with it when it is back.
            Err(Fault::Lost(_)) if holds(holder, unit) => return Ok(()),
            Err(Fault::Refused(name, _)) if lost && name == UNIT_EXISTS && holds(holder, unit) => {
                return Ok(());
            }
            Err(Fault::Refused(name, _))
                if lost && name == UNIT_EXISTS && began.elapsed() < AWAY_BOUND =>
            {
                interrupt::pause(LOOK)?;
            }
            Err(fault) if is_away(&fault) && began.elapsed() < AWAY_BOUND => {
                lost = true;
                interrupt::pause(LOOK)?;
            }
            Err(fault) => return Err(told("start", unit, fault)),
        }
    }
}

/// Whether waiting may help: it was there, or is to be.
fn is_away(fault: &Fault) -> bool {
    match fault {
        Fault::Lost(what) => !what.contains("is absent"),
        Fault::Refused(name, _) => AWAY.contains(&name.as_str()),
        Fault::Other(_) => false,
    }
}

fn holds(holder: &Holder, unit: &str) -> bool {
    memberships_of(holder.pid()).is_ok_and(|all| all.iter().any(|one| is_in(&one.path, unit)))
}

/// `again`: the unit of that name may be this one, from an attempt whose end was not heard.
fn start_once(plan: &ScopePlan, bus: Knocked, holder: &Holder, again: bool) -> Attempt<()> {
    let mut bus = bus?.enter()?;
    let unit = plan.name.unit.as_str();
    bus.listen("JobRemoved", 2, unit);
    let known = known_version(&mut bus, &plan.properties)?;
    let body = || start_body(plan, holder.pid(), known);
    let job = match job_of(&mut bus, unit, body()) {
        Err(Fault::Refused(name, text)) if name == UNIT_EXISTS => {
            if again || !leaves(&mut bus, unit)? {
                return Err(Fault::Refused(name, text));
            }
            job_of(&mut bus, unit, body())
        }
        job => job,
    };
    let begun = job.is_ok();
    job.and_then(|job| done(&mut bus, unit, job)).inspect_err(|fault| {
        // What is refused, or was not answered, has not begun: a unit of that name is not ours.
        if matches!(fault, Fault::Other(_)) && (begun || holds(holder, unit)) {
            let _best_effort = clean(&mut bus, unit);
        }
    })
}

/// The version of systemd, where a property needs to know.
fn known_version(bus: &mut Bus, properties: &[Property]) -> Attempt<u32> {
    if !needs_version(properties) {
        return Ok(u32::MAX);
    }
    let (manager, name) = (super::bus::MANAGER, "Version");
    let body = vec![Value::text(manager), Value::text(name)];
    let asked = bus.ask_object(MANAGER_PATH, "org.freedesktop.DBus.Properties", "Get", body);
    let texts = bus.answer(asked)?;
    Ok(texts.first().map_or(0, |text| version(text)))
}

/// The arguments of `StartTransientUnit`: all properties, so that nothing ever runs without.
fn start_body(plan: &ScopePlan, pid: i32, known: u32) -> Vec<Value> {
    let pids = Value::Array("u".to_owned(), vec![Value::U32(pid.unsigned_abs())]);
    let pids = Property::new("PIDs", pids);
    let fitting = plan.properties.iter().filter(|property| property.since <= known);
    let pairs = fitting.chain([&pids]).map(Property::pair).collect();
    vec![
        Value::text(plan.name.unit.as_str()),
        Value::text("replace"),
        Value::Array("(sv)".to_owned(), pairs),
        Value::Array("(sa(sv))".to_owned(), Vec::new()),
    ]
}

/// Jobs of a unit that have ended, and how.
type Seen = Vec<(String, String)>;
/// How many of them are remembered: a unit has one or two at a time.
const MOST_SEEN: usize = 64;

/// The job of a `StartTransientUnit`; its end may be told before it.
fn job_of(bus: &mut Bus, unit: &str, body: Vec<Value>) -> Attempt<(String, Seen)> {
    let asked = bus.ask("StartTransientUnit", body);
    job_for(bus, unit, asked)
}

fn job_for(bus: &mut Bus, unit: &str, asked: u32) -> Attempt<(String, Seen)> {
    let mut seen = Vec::new();
    loop {
        match bus.next()? {
            Event::Return(to, texts) if to == asked => {
                let job = texts.into_iter().next();
                let none = || Fault::Other(Error::system("an answer without a job"));
                return Ok((job.ok_or_else(none)?, seen));
            }
            Event::Refusal(to, name, text) if to == asked => {
                return Err(Fault::Refused(name, text));
            }
            Event::Signal(name, texts) if seen.len() < MOST_SEEN => {
                seen.extend(ended(&name, unit, texts));
            }
            _ => {}
        }
    }
}

/// `JobRemoved` of this unit: the job and its result.
fn ended(name: &str, unit: &str, texts: Vec<String>) -> Option<(String, String)> {
    let [job, whose, result] = <[String; 3]>::try_from(texts).ok()?;
    (name == "JobRemoved" && whose == unit).then_some((job, result))
}

/// Waits for a job's end.
fn done(bus: &mut Bus, unit: &str, (job, seen): (String, Seen)) -> Attempt<()> {
    let mut seen = seen.into_iter();
    let result = loop {
        match seen.next() {
            Some((ended, result)) if ended == job => break result,
            Some(_) => continue,
            None => {}
        }
        if let Event::Signal(name, texts) = bus.next()?
            && let Some((one, result)) = ended(&name, unit, texts)
            && one == job
        {
            break result;
        }
    };
    match result.as_str() {
        "done" => Ok(()),
        other => {
            Err(Fault::Other(Error::system(format!("its job has ended as {:?}", clipped(other)))))
        }
    }
}

/// Whether the unit of this name that there is goes away, soon: it is one that has ended.
fn leaves(bus: &mut Bus, unit: &str) -> Attempt<bool> {
    bus.listen("UnitRemoved", 0, unit);
    bus.ask("Subscribe", Vec::new());
    bus.ask("ResetFailedUnit", vec![Value::text(unit)]);
    let looked = bus.ask("GetUnit", vec![Value::text(unit)]);
    let mut object = None;
    bus.hurry(LEAVING_BOUND);
    loop {
        match bus.next()? {
            Event::Signal(name, texts)
                if name == "UnitRemoved" && texts.first().is_some_and(|one| one == unit) =>
            {
                break;
            }
            // It is gone already.
            Event::Refusal(to, ..) if to == looked => break,
            Event::Return(to, texts) if to == looked => {
                let path = texts.into_iter().next().unwrap_or_default();
                let body =
                    vec![Value::text("org.freedesktop.systemd1.Unit"), Value::text("ActiveState")];
                let interface = "org.freedesktop.DBus.Properties";
                object = Some(bus.ask_object(&path, interface, "Get", body));
            }
            Event::Return(to, texts)
                if Some(to) == object && texts.first().is_some_and(|state| state == "active") =>
            {
                return Ok(false);
            }
            _ => {}
        }
    }
    bus.linger(CLEANING_BOUND + LEAVING_BOUND);
    Ok(true)
}

/// Takes away what a start has left, within a moment.
fn clean(bus: &mut Bus, unit: &str) -> Attempt<()> {
    bus.linger(CLEANING_BOUND);
    let name = || vec![Value::text(unit)];
    bus.ask("StopUnit", vec![Value::text(unit), Value::text("replace")]);
    let reset = bus.ask("ResetFailedUnit", name());
    bus.answer(reset).map(drop)
}

/// Stops a unit.
pub(super) fn stop(unit: &str, user: bool) -> Result<()> {
    if has_gone(unit, user) {
        return Ok(());
    }
    patiently("stop", unit, |again| stop_once(unit, user, again))
}

fn stop_once(unit: &str, user: bool, again: bool) -> Attempt<()> {
    let mut bus = Bus::open(user, again)?;
    bus.listen("JobRemoved", 2, unit);
    let asked = bus.ask("StopUnit", vec![Value::text(unit), Value::text("replace")]);
    match job_for(&mut bus, unit, asked).and_then(|job| done(&mut bus, unit, job)) {
        Err(Fault::Refused(name, _)) if name == NO_SUCH_UNIT => return Ok(()),
        stopped => stopped?,
    }
    let reset = bus.ask("ResetFailedUnit", vec![Value::text(unit)]);
    match bus.answer(reset) {
        // It is not loaded any more: there is nothing to reset.
        Ok(_) | Err(Fault::Refused(..)) => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// Changes properties.
pub(super) fn set(unit: &str, user: bool, properties: &[Property]) -> Result<()> {
    patiently("change", unit, |again| {
        let mut bus = Bus::open(user, again)?;
        let known = known_version(&mut bus, properties)?;
        let fitting = properties.iter().filter(|property| property.since <= known);
        let pairs = fitting.map(Property::pair).collect();
        let list = Value::Array("(sv)".to_owned(), pairs);
        let asked = bus.ask("SetUnitProperties", vec![Value::text(unit), Value::Bool(true), list]);
        // It answers before it writes the group's files; to the next question, after that.
        let written = bus.ask("GetUnit", vec![Value::text(unit)]);
        bus.answer(asked)?;
        match bus.answer(written) {
            Ok(_) | Err(Fault::Refused(..)) => Ok(()),
            Err(fault) => Err(fault),
        }
    })
}

/// Puts a process into a unit, or a group `below` it.
pub(super) fn attach(unit: &str, user: bool, below: &str, pid: i32) -> Result<()> {
    patiently("put a process into", unit, |again| {
        let mut bus = Bus::open(user, again)?;
        let pids = Value::Array("u".to_owned(), vec![Value::U32(pid.unsigned_abs())]);
        let body = vec![Value::text(unit), Value::text(below), pids];
        let asked = bus.ask("AttachProcessesToUnit", body);
        bus.answer(asked).map(drop)
    })
}

/// Does something that can be done again, while systemd may come back.
fn patiently(what: &str, unit: &str, once: impl Fn(bool) -> Attempt<()>) -> Result<()> {
    let (began, mut again) = (Instant::now(), false);
    loop {
        match once(again) {
            Ok(()) => return Ok(()),
            Err(fault) if is_away(&fault) && began.elapsed() < AWAY_BOUND => {
                again = true;
                interrupt::pause(LOOK)?;
            }
            Err(fault) => return Err(told(what, unit, fault)),
        }
    }
}

/// A fault as an error.
fn told(what: &str, unit: &str, fault: Fault) -> Error {
    let step = format!("systemd cgroup manager: {what} {unit}");
    match fault {
        Fault::Lost(why) => Error::system(format!("{step}: {why}")),
        Fault::Refused(name, text) => {
            let kind = if name == UNIT_EXISTS { Kind::WrongState } else { Kind::System };
            Error::new(kind, format!("{step}: {} ({})", clipped(&text), clipped(&name)))
        }
        Fault::Other(error) => error.within(step),
    }
}

/// What somebody else says, in one line that is not too long.
fn clipped(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}
