//! From a seed to a configuration: pure, so that a seed can be repeated anywhere.

use richrun_tests::bundle::{args, stock};
use serde_json::{Value, json};

use super::features::{self, Feature};
use super::place::{ID, Place};
use crate::dice::Dice;

/// A feature, and the seed of what it is like.
#[derive(Clone, Copy)]
pub struct Choice {
    pub feature: &'static Feature,
    seed: u64,
}

/// What a seed chooses: up to eight features, and now and then a mistake.
pub fn choices(seed: u64, place: Place) -> Vec<Choice> {
    let mut dice = Dice::new(seed);
    let mut chosen = Vec::new();
    let mut draw = |dice: &mut Dice, tables: &[&'static [Feature]], count: u64| {
        let mut all: Vec<&'static Feature> =
            tables.iter().copied().flatten().filter(|feature| (feature.fits)(place)).collect();
        for _ in 0..count {
            if !all.is_empty() {
                let feature = all.swap_remove(dice.roll(all.len() as u64) as usize);
                chosen.push(Choice { feature, seed: dice.number() });
            }
        }
    };
    let count = 1 + dice.roll(8);
    draw(&mut dice, &features::GOOD, count);
    if dice.once_in(8) {
        draw(&mut dice, &[features::BAD], 1);
    }
    chosen
}

/// The configuration with these features; the others do not change what one of them is like.
pub fn configuration(place: Place, chosen: &[Choice]) -> Value {
    let mut config = stock(place.user, place.view);
    if place.is_root() {
        config["linux"]["cgroupsPath"] = json!(format!("/{ID}"));
    }
    args(&mut config, &["/probe", "observe", "0"]);
    for choice in chosen {
        (choice.feature.edit)(&mut Dice::new(choice.seed), place, &mut config);
    }
    config
}
