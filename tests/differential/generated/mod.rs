//! Generated configurations, each under richrun, runc and crun: what the container's first
//! process sees, what hooks see, how it ends and what errors say must be the same.
//!
//! A configuration follows from a seed, a view of the cgroups and a user alone. When one shows
//! a difference that [`accepted`] does not explain, its features are dropped one at a time
//! while the difference remains; what is left is written to `build/test/generated`.
//!
//! - `RICHRUN_SEED=N`: that seed only.
//! - `RICHRUN_SEEDS=FIRST:COUNT`: other seeds than those of every run.

mod accepted;
mod features;
mod generator;
mod place;
mod run;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use richrun_tests::runtime::Runtime;
use richrun_tests::suite::ALL;
use richrun_tests::{Kind, Suite, Trial, User, View};

use generator::Choice;
use place::Place;
use run::{ERROR, EXIT, Observation, SAID, STARTED};

/// How many seeds each view and user has in every run: a number, not a time, so that the
/// result does not depend on how busy the machine is.
const COUNT: u64 = 130;
/// How many seeds a trial has.
const BATCH: u64 = 26;
/// Seconds for a trial: a bound against hanging.
const PATIENCE: u64 = 1800;

pub fn register(suite: &mut Suite) {
    suite.together(richrun_tests::suite::ONE, "harness", PATIENCE, |_| {
        accepted::self_test();
        same_seed_same_configuration();
    });
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("RICHRUN_SEED") {
        suite.together(ALL, "seed", PATIENCE, move |t| check(t, seed..seed + 1));
        return;
    }
    let other = std::env::var("RICHRUN_SEEDS").ok();
    let other = other.as_deref().and_then(|text| text.split_once(':'));
    let range = other.and_then(|(first, count)| Some((first.parse().ok()?, count.parse().ok()?)));
    let (first, count) = range.unwrap_or((1, COUNT));
    for start in (first..first + count).step_by(BATCH as usize) {
        let end = (start + BATCH).min(first + count);
        let name = format!("seeds_{start}_to_{}", end - 1);
        suite.together(ALL, &name, PATIENCE, move |t| check(t, start..end));
    }
}

/// A seed says everything, and no two say the same.
fn same_seed_same_configuration() {
    let place = Place { view: View::V2, user: User::Root };
    for seed in 1..200 {
        let (one, two) = (generator::choices(seed, place), generator::choices(seed, place));
        let configuration = |chosen: &[Choice]| generator::configuration(place, chosen);
        assert_eq!(configuration(&one), configuration(&two), "{seed}");
    }
    let different = (1..200)
        .map(|seed| generator::configuration(place, &generator::choices(seed, place)).to_string());
    assert_eq!(different.collect::<BTreeSet<_>>().len(), 199);
}

/// The three runtimes on one stage.
struct Stage {
    place: Place,
    /// The runtime under test is the first.
    trials: Vec<Trial>,
}

/// One thing that a peer shows otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub peer: Kind,
    pub name: String,
    pub ours: String,
    pub theirs: String,
}

fn check(t: &Trial, seeds: std::ops::Range<u64>) {
    let peers: Vec<Runtime> = ["runc", "crun"].into_iter().filter_map(Runtime::peer).collect();
    if peers.len() < 2 {
        t.skip("runc and crun are not both installed");
    }
    run::prepare(t);
    let place = Place { view: t.view, user: t.user };
    let runtimes = std::iter::once(t.runtime.clone()).chain(peers);
    let stage = Stage { place, trials: runtimes.map(|runtime| t.beside(runtime)).collect() };
    t.accept_mounts();
    let reports: Vec<String> = seeds.filter_map(|seed| stage.try_seed(seed)).collect();
    assert!(reports.is_empty(), "\n{}", reports.join("\n"));
}

impl Stage {
    /// A report if a seed shows a difference that nothing explains.
    fn try_seed(&self, seed: u64) -> Option<String> {
        // In the log of a trial that fails otherwise.
        eprintln!("seed {seed}");
        let mut chosen = generator::choices(seed, self.place);
        let mut found = self.differences(&chosen);
        if found.is_empty() {
            return None;
        }
        let wanted = names(&found);
        let mut number = 0;
        while number < chosen.len() {
            let mut fewer = chosen.clone();
            fewer.remove(number);
            let still = self.differences(&fewer);
            if names(&still).is_disjoint(&wanted) {
                number += 1;
            } else {
                (chosen, found) = (fewer, still);
            }
        }
        Some(self.report(seed, &chosen, &found))
    }

    /// What richrun and a peer show differently, without what is accepted.
    fn differences(&self, chosen: &[Choice]) -> Vec<Difference> {
        let config = generator::configuration(self.place, chosen);
        let ours = run::observe(&self.trials[0], &config);
        let mut found = Vec::new();
        for peer in &self.trials[1..] {
            let unexplained = || {
                let theirs = run::observe(peer, &config);
                let mut list = compare(&ours, &theirs, peer.kind());
                list.retain(|one| accepted::explains(one, &config).is_none());
                list
            };
            // A peer's race says nothing; what is there twice is no race of the peer's.
            let first = unexplained();
            if !first.is_empty() {
                let names = names(&first);
                found.extend(unexplained().into_iter().filter(|one| names.contains(&name(one))));
            }
        }
        found
    }

    /// Writes the small bundle; how it is repeated, and what differs.
    fn report(&self, seed: u64, chosen: &[Choice], found: &[Difference]) -> String {
        let config = generator::configuration(self.place, chosen);
        let view = if self.place.view == View::V1 { "v1" } else { "v2" };
        let case = format!("{view}-{}", if self.place.is_root() { "root" } else { "user" });
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../build/test/generated");
        let file = dir.join(format!("{seed}-{case}.json"));
        let text = serde_json::to_string_pretty(&config).expect("JSON");
        let written = fs::create_dir_all(&dir).and_then(|()| fs::write(&file, text));
        let features: Vec<&str> = chosen.iter().map(|choice| choice.feature.name).collect();
        let mut report = format!(
            "seed {seed} ({case}), of which remain: {}\n  {}: {written:?}\n  RICHRUN_SEED={seed} cargo \
             test -p richrun-tests --test differential -- generated::seed@{case}\n",
            features.join(", "),
            file.display()
        );
        for Difference { peer, name, ours, theirs } in found {
            let _ = writeln!(report, "  {name}\n    richrun: {ours}\n    {peer}: {theirs}");
        }
        report
    }
}

/// By what a difference is known again.
fn name(one: &Difference) -> (u32, String) {
    (one.peer as u32, one.name.clone())
}

fn names(found: &[Difference]) -> BTreeSet<(u32, String)> {
    found.iter().map(name).collect()
}

/// Everything that differs. Where only one of the two had a container, only how it ended.
fn compare(ours: &Observation, theirs: &Observation, peer: Kind) -> Vec<Difference> {
    let both_ran = ours.contains_key(STARTED) == theirs.contains_key(STARTED);
    let all: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let get =
        |seen: &Observation, name: &str| seen.get(name).map_or("-", String::as_str).to_owned();
    let said = |seen: &Observation, name: &str| match name {
        EXIT | ERROR => format!("{} ({})", get(seen, name), get(seen, SAID).trim_end()),
        _ => get(seen, name),
    };
    all.into_iter()
        .filter(|name| *name != SAID && (both_ran || *name == EXIT))
        .filter(|name| get(ours, name) != get(theirs, name))
        .map(|name| Difference {
            peer,
            name: name.clone(),
            ours: said(ours, name),
            theirs: said(theirs, name),
        })
        .collect()
}
