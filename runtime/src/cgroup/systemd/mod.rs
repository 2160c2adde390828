//! systemd as the one who makes and removes control groups: a scope for each container.
//!
//! Nothing here is touched by a container whose groups the runtime makes itself.

mod bus;
mod holder;
mod place;
mod unit;

use serde::{Deserialize, Serialize};

pub(super) use holder::Holder;
pub use place::is_users;

use super::create;
use super::layout::memberships_of;
use super::{Cgroup, Group};
use crate::error::{Error, Result};
use crate::plan::cgroup::scope::{Property, ScopePlan, TASKS_AT_BIRTH, TASKS_MAX};
use crate::plan::cgroup::{CgroupPlan, Mode, Place};
use crate::plan::dbus::Value;

/// What `state.json` keeps of a container's scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeRecord {
    /// The unit's name.
    pub unit: String,
    /// The manager is the user's own.
    #[serde(default)]
    pub user: bool,
    /// It was made for this container, and is not somebody else's of that name.
    #[serde(default)]
    pub started: bool,
}

impl ScopeRecord {
    /// The scope as it will be.
    pub fn planned(plan: &ScopePlan) -> ScopeRecord {
        ScopeRecord { unit: plan.name.unit.clone(), user: plan.user, started: false }
    }

    /// Takes the unit away, with whatever it still has, and its failure if it has failed. Done
    /// twice it is no error.
    ///
    /// # Errors
    /// systemd cannot be reached, or does not do it in time.
    pub fn stop(&self) -> Result<()> {
        unit::stop(&self.unit, self.user)
    }

    /// Puts a process into the group at this path, which is the unit's or below it.
    ///
    /// # Errors
    /// systemd does not do it.
    pub(super) fn attach(&self, path: &str, pid: i32) -> Result<()> {
        let below = path.split_once(&format!("/{}", self.unit)).map_or("", |(_, below)| below);
        unit::attach(&self.unit, self.user, below, pid)
    }

    /// Changes the unit's properties until it ends.
    ///
    /// # Errors
    /// systemd cannot be reached, or takes one of them for wrong: none has changed then.
    pub fn set(&self, properties: &[Property]) -> Result<()> {
        match properties.is_empty() {
            true => Ok(()),
            false => unit::set(&self.unit, self.user, properties),
        }
    }
}

/// What holds a scope until the container's first process is in it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) record: ScopeRecord,
    pub(super) holder: Option<Holder>,
    pub(super) late_tasks: Option<u64>,
}

/// Makes a container's scope, and its groups in the hierarchies that systemd leaves alone.
pub(super) fn create(
    plan: &CgroupPlan,
    scope: &ScopePlan,
    made: &mut create::Made,
) -> Result<Cgroup> {
    // The manager is about to answer while the holder is made.
    let bus = unit::knock(scope.user);
    let holder = Holder::new()?;
    unit::start(scope, bus, &holder)?;
    let record = ScopeRecord { started: true, ..ScopeRecord::planned(scope) };
    let found = (|| {
        let places = places(plan, &scope.name.unit, &holder)?;
        open(plan, places, &holder, made)
    })();
    match found {
        Ok((v1, unified)) => {
            let held = Held { record, holder: Some(holder), late_tasks: scope.late_tasks };
            let cgroup = Cgroup { mode: plan.mode, v1, unified, scope: Some(held) };
            cgroup.check_thawed()?;
            Ok(cgroup)
        }
        Err(error) => {
            drop(holder);
            if let Err(left) = record.stop() {
                crate::log::warn(left);
            }
            Err(error)
        }
    }
}

type Places = (Vec<Place>, Option<Place>);

/// Where systemd has put the holder is where the groups are.
fn places(plan: &CgroupPlan, unit: &str, holder: &Holder) -> Result<Places> {
    let members = memberships_of(holder.pid())?;
    let path = |controllers: &[String]| {
        let member = members.iter().find(|member| member.controllers == controllers);
        member.map(|member| member.path.clone()).filter(|path| is_in(path, unit))
    };
    let named = path(&["name=systemd".to_owned()]);
    let unified = path(&[]);
    let whole = match plan.mode {
        Mode::V2 => unified.clone(),
        _ => named.or_else(|| unified.clone()),
    };
    let whole = whole.ok_or_else(|| {
        Error::system(format!("systemd cgroup manager: {unit} has started, and nobody is in it"))
    })?;
    let moved = |place: &Place, found: Option<String>| Place {
        path: found.unwrap_or_else(|| whole.clone()),
        ..place.clone()
    };
    let v1 = plan.v1.iter().map(|place| moved(place, path(&place.controllers))).collect();
    Ok((v1, plan.unified.as_ref().map(|place| moved(place, unified.clone()))))
}

/// Whether a group is a unit's.
fn is_in(path: &str, unit: &str) -> bool {
    path.rsplit('/').next() == Some(unit)
}

/// Opens the groups that there are, and makes those that systemd does not.
fn open(
    plan: &CgroupPlan,
    (v1, unified): Places,
    holder: &Holder,
    made: &mut create::Made,
) -> Result<(Vec<Group>, Option<Group>)> {
    let mut groups = Vec::with_capacity(v1.len());
    for place in &v1 {
        groups.extend(create::create_one(plan, place, Some(holder.pid()), made)?);
    }
    let unified = match &unified {
        Some(place) => create::create_one(plan, place, Some(holder.pid()), made)?,
        None => None,
    };
    Ok((groups, unified))
}

impl Held {
    /// A scope that somebody else has made.
    pub(super) fn of_others(record: ScopeRecord) -> Held {
        Held { record, holder: None, late_tasks: None }
    }

    /// The container's first process is in the scope: it holds it from now on.
    pub(super) fn release(&mut self) -> Result<()> {
        self.holder = None;
        match self.late_tasks.take() {
            Some(limit) => self.record.set(&[Property::new(TASKS_MAX, Value::U64(limit))]),
            None => Ok(()),
        }
    }
}

const _: () = assert!(TASKS_AT_BIRTH == 3, "holder, between, first");
