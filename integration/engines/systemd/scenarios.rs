//! The scenarios: what is run, who runs it, and what cannot be seen where.

use richrun_engines::machine::Who;

const BOTH: &[Who] = &[Who::Root, Who::User];

/// A behaviour of an engine, shown by a script.
pub struct Scenario {
    /// The engine.
    pub engine: &'static str,
    /// What is shown.
    pub name: &'static str,
    /// For `bash`, behind `lib.sh`.
    pub script: &'static str,
    /// Who runs it.
    pub who: &'static [Who],
    /// The cgroup controllers without which it cannot be seen.
    pub controllers: &'static [&'static str],
    /// With which runtime it cannot be seen, and why.
    pub cannot: &'static [Cannot],
    /// Whether it is run by default.
    pub short: bool,
}

/// What a runtime is known not to do.
pub struct Cannot {
    runtime: &'static str,
    who: Option<Who>,
    /// The reason, in a few words.
    pub reason: &'static str,
}

impl Cannot {
    /// Whether it is of this runtime and user.
    pub fn is_for(&self, runtime: &str, who: Who) -> bool {
        self.runtime == runtime && self.who.is_none_or(|own| own == who)
    }
}

impl Scenario {
    const fn podman(name: &'static str, script: &'static str) -> Self {
        Self {
            engine: "podman",
            name,
            script,
            who: BOTH,
            controllers: &[],
            cannot: &[],
            short: true,
        }
    }

    /// Whether Docker's own default runtime, runc, is its first peer.
    pub fn of_docker(&self) -> bool {
        self.engine != "podman"
    }
}

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::podman("life", include_str!("scenarios/life.sh")),
    Scenario::podman("pod", include_str!("scenarios/pod.sh")),
];
