//! The exceptions that cgroup v1's device controller keeps, while rules take parts away from them.
//!
//! Which exceptions a rule speaks of is looked up. Each is found by each of its ways
//! of being found once only, so all rules together take time in proportion to their number.

use std::collections::HashMap;

use super::{ALL, Devices, Kind, Rule};

/// The exceptions in their order, and how they are found.
#[derive(Debug, Default)]
pub struct Exceptions {
    rules: Vec<Rule>,
    cells: HashMap<(Kind, u8), Cells>,
}

/// Those of one kind of device that still have one way of using it.
#[derive(Debug, Default)]
struct Cells {
    /// By what a rule names; places in [`Exceptions::rules`], of which some may be gone.
    by_name: HashMap<Name, Vec<usize>>,
    /// How many are there with a wild card in this place.
    live: HashMap<Name, usize>,
    any_major: usize,
    any_minor: usize,
}

/// Major and minor number, as far as they are named.
type Name = (Option<u32>, Option<u32>);

fn name(devices: &Devices) -> Name {
    (devices.major, devices.minor)
}

/// What may name an exception whole: itself, or wild cards.
fn names((major, minor): Name) -> [Name; 4] {
    [(major, minor), (major, None), (None, minor), (None, None)]
}

fn bits(access: u8) -> impl Iterator<Item = u8> {
    (0..8).map(|shift| 1 << shift).filter(move |bit| access & ALL & bit != 0)
}

impl Cells {
    /// Whether one is there that such a rule would take a part of only.
    fn has_part(&self, of: Name) -> bool {
        let live = |name: Name| self.live.get(&name).is_some_and(|count| *count > 0);
        match of {
            (Some(major), Some(minor)) => {
                live((None, None)) || live((Some(major), None)) || live((None, Some(minor)))
            }
            (Some(_), None) => self.any_major > 0,
            (None, Some(_)) => self.any_minor > 0,
            (None, None) => false,
        }
    }

    fn count(&mut self, name: Name, change: impl Fn(usize) -> usize) {
        let live = self.live.entry(name).or_default();
        *live = change(*live);
        if name.0.is_none() {
            self.any_major = change(self.any_major);
        }
        if name.1.is_none() {
            self.any_minor = change(self.any_minor);
        }
    }
}

impl Exceptions {
    /// Adds one.
    pub fn add(&mut self, rule: Rule) {
        let at = self.rules.len();
        let own = name(&rule.devices);
        for bit in bits(rule.access) {
            let cells = self.cells.entry((rule.devices.kind, bit)).or_default();
            let mut found_by = names(own).to_vec();
            found_by.sort_unstable();
            found_by.dedup();
            for name in found_by {
                cells.by_name.entry(name).or_default().push(at);
            }
            cells.count(own, |count| count + 1);
        }
        self.rules.push(rule);
    }

    /// Takes away what `rule` speaks of.
    ///
    /// # Errors
    /// The first exception that it takes a part of: v1 cannot say that.
    pub fn take(&mut self, rule: &Rule) -> Result<(), Rule> {
        let (kind, own) = (rule.devices.kind, name(&rule.devices));
        let parted = |bit| self.cells.get(&(kind, bit)).is_some_and(|cells| cells.has_part(own));
        if bits(rule.access).any(parted) {
            let is_parted = |exception: &&Rule| {
                exception.access & rule.access != 0
                    && rule.devices.meets(&exception.devices)
                    && !rule.devices.covers(&exception.devices)
            };
            if let Some(exception) = self.rules.iter().find(is_parted) {
                return Err(*exception);
            }
        }
        for bit in bits(rule.access) {
            let Some(cells) = self.cells.get_mut(&(kind, bit)) else { continue };
            for at in cells.by_name.remove(&own).unwrap_or_default() {
                let exception = &mut self.rules[at];
                if exception.access & bit != 0 {
                    exception.access &= !bit;
                    cells.count(name(&exception.devices), |count| count - 1);
                }
            }
        }
        Ok(())
    }

    /// What is left, in order.
    pub fn left(self) -> impl Iterator<Item = Rule> {
        self.rules.into_iter().filter(|rule| rule.access != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same, each rule with each exception.
    fn plainly(steps: &[(bool, Rule)]) -> Result<Vec<Rule>, Rule> {
        let mut all: Vec<Rule> = Vec::new();
        for (adds, rule) in steps {
            if *adds {
                all.push(*rule);
                continue;
            }
            for exception in &mut all {
                if rule.devices.covers(&exception.devices) {
                    continue;
                }
                if rule.devices.meets(&exception.devices) && rule.access & exception.access != 0 {
                    return Err(*exception);
                }
            }
            for exception in &mut all {
                if rule.devices.covers(&exception.devices) {
                    exception.access &= !rule.access;
                }
            }
        }
        Ok(all.into_iter().filter(|rule| rule.access != 0).collect())
    }

    #[test]
    fn what_is_looked_up_is_what_is_there() {
        let mut seed = 4711_u32;
        let mut next = |below: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) % below
        };
        let (mut errors, mut left) = (0, 0);
        for _ in 0..5000 {
            let steps: Vec<(bool, Rule)> = (0..next(9))
                .map(|_| {
                    let kind = if next(2) == 1 { Kind::Block } else { Kind::Char };
                    let major = (next(4) > 0).then(|| next(3));
                    let minor = (next(4) > 0).then(|| next(3));
                    let access = u8::try_from(1 + next(7)).unwrap();
                    let adds = next(3) > 0;
                    (adds, Rule { allow: adds, devices: Devices { kind, major, minor }, access })
                })
                .collect();
            let mut exceptions = Exceptions::default();
            let taken = steps.iter().try_for_each(|(adds, rule)| match adds {
                true => {
                    exceptions.add(*rule);
                    Ok(())
                }
                false => exceptions.take(rule),
            });
            let got = taken.map(|()| exceptions.left().collect::<Vec<Rule>>());
            errors += usize::from(got.is_err());
            left += usize::from(got.as_ref().is_ok_and(|rules| !rules.is_empty()));
            assert_eq!(got, plainly(&steps), "{steps:?}");
        }
        assert!(errors > 300 && left > 300, "{errors} {left}");
    }
}
