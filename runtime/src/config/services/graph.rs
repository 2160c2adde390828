//! What the services are to each other: names looked up, cycles refused.

use rich_init::services::wire::{self, MAX_SERVICES};

use super::service::{Named, Service};
use crate::error::{Error, Result};

/// The relations of one service, as sets of indices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Relations {
    /// Must be up before.
    pub needs: u64,
    /// Started before, may fail.
    pub wants: u64,
    /// Go first, if started.
    pub after: u64,
}

impl Relations {
    fn all(&self) -> u64 {
        self.needs | self.wants | self.after
    }
}

/// More services than PID 1 has room for.
pub fn too_many(count: usize) -> Error {
    Error::config(format!("services: {count} are too many, at most {MAX_SERVICES} can be"))
}

/// Looks every name up. The payload needs what starts with the container, if it does not
/// say what it needs.
///
/// # Errors
/// File, line and field of a name that is nobody's, or of a service in a cycle.
pub fn relate(services: &[Service], main: usize) -> Result<Vec<Relations>> {
    if services.len() > MAX_SERVICES {
        return Err(too_many(services.len()));
    }
    let mut relations = Vec::with_capacity(services.len());
    for service in services {
        let needs = service.needs.as_deref().unwrap_or_default();
        let needs = set(services, needs, true)?;
        let wants = set(services, &service.wants, true)?;
        relations.push(Relations { needs, wants, after: set(services, &service.after, false)? });
    }
    if services[main].needs.is_none() && services[main].command.is_none() {
        let before = (0..services.len()).filter(|i| {
            let auto = services[*i].start == wire::START_AUTO;
            auto && *i != main && reach(&relations, *i) & (1 << main) == 0
        });
        relations[main].needs = before.fold(0, |set, i| set | 1 << i);
    }
    match cycle(&relations) {
        None => Ok(relations),
        Some(members) => {
            let names: Vec<&str> = members.iter().map(|i| services[*i].name.as_str()).collect();
            let (file, line) = &services[members[0]].place;
            let (first, way) = (names[0], names.join(" -> "));
            Err(Error::config(format!(
                "{file}: line {line}: service.{first}: waits for itself: {way} -> {first}"
            )))
        }
    }
}

fn set(services: &[Service], names: &[Named], started: bool) -> Result<u64> {
    let mut set = 0;
    for Named { name, at } in names {
        let found = services.iter().position(|service| service.name == *name);
        let unknown = || Error::config(format!("{at}: no service is named {name:?}"));
        let i = found.ok_or_else(unknown)?;
        if started && services[i].start == wire::START_MANUAL {
            let what = format!("{name:?} is started by hand only (start = \"manual\")");
            return Err(Error::config(format!("{at}: {what}")));
        }
        set |= 1 << i;
    }
    Ok(set)
}

/// Everything that a service waits for, directly or not.
fn reach(relations: &[Relations], from: usize) -> u64 {
    let (mut seen, mut left) = (0_u64, relations[from].all());
    while left != 0 {
        let i = left.trailing_zeros() as usize;
        seen |= 1 << i;
        left = (left | relations[i].all()) & !seen;
    }
    seen
}

/// The shortest way from the first service that waits for itself back to it.
fn cycle(relations: &[Relations]) -> Option<Vec<usize>> {
    let start = (0..relations.len()).find(|i| reach(relations, *i) & (1 << i) != 0)?;
    let mut ways = vec![vec![start]];
    loop {
        let mut longer = Vec::new();
        for way in ways {
            let last = relations[way[way.len() - 1]].all();
            if last & (1 << start) != 0 {
                return Some(way);
            }
            let next = (0..relations.len()).filter(|i| last & (1 << i) != 0 && !way.contains(i));
            longer.extend(next.take(8).map(|i| [way.as_slice(), &[i]].concat()));
        }
        longer.truncate(1000);
        if longer.is_empty() {
            return Some(vec![start]);
        }
        ways = longer;
    }
}
