//! What configurations are made of.

mod isolation;
mod mistakes;
mod mounts;
mod process;

use serde_json::Value;

use super::place::Place;
use crate::dice::Dice;

/// One thing that a configuration may ask for.
pub struct Feature {
    pub name: &'static str,
    /// Whether it can be asked for there.
    pub fits: fn(Place) -> bool,
    pub edit: fn(&mut Dice, Place, &mut Value),
}

/// Those that must work.
pub const GOOD: [&[Feature]; 3] = [process::ALL, mounts::ALL, isolation::ALL];
/// Those that must be refused.
pub const BAD: &[Feature] = mistakes::ALL;

const fn anywhere(name: &'static str, edit: fn(&mut Dice, Place, &mut Value)) -> Feature {
    Feature { name, fits: |_| true, edit }
}

const fn as_root(name: &'static str, edit: fn(&mut Dice, Place, &mut Value)) -> Feature {
    Feature { name, fits: Place::is_root, edit }
}
