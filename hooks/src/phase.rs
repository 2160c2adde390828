//! The six points of a container's life at which hooks run: one row each.

use std::fmt;

use oci_spec::runtime::{Hook, Hooks};

/// One of the six kinds of hooks (runtime-spec 1.3, config.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Deprecated by the specification, used by everyone: the namespaces exist, the root is not pivoted.
    Prestart,
    /// As [`Phase::Prestart`], directly after it.
    CreateRuntime,
    /// Inside the container's namespaces, before the root is pivoted.
    CreateContainer,
    /// Inside the container, as its user's program is about to be executed.
    StartContainer,
    /// After the user's program has been started.
    Poststart,
    /// After the container has been deleted.
    Poststop,
}

/// The namespaces that a phase's hooks run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespaces {
    /// The runtime's own.
    Runtime,
    /// The container's.
    Container,
}

/// Whose environment a hook gets when its definition has no `env`. The
/// specification does not say. This is what runc 1.1 and crun do, but for createContainer,
/// whose program is the host's and starts in the container's root: runc gives it the container's
/// environment, so that an image with `LD_PRELOAD` runs its own code there (CVE-2025-23266), and crun the runtime's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// The runtime's.
    Runtime,
    /// None: an empty environment.
    Empty,
    /// That of the container's process ([`crate::Options::container_env`]).
    Container,
}

/// What the failure of a hook means for the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The remaining hooks do not run, and the container is stopped and removed.
    StopContainer,
    /// It is logged, and the remaining hooks run.
    Warn,
}

/// What there is to know of one [`Phase`].
#[derive(Debug, PartialEq, Eq)]
pub struct PhaseRow {
    /// The phase.
    pub phase: Phase,
    /// Its name in `config.json`, in hooks.d files and in messages.
    pub name: &'static str,
    /// When it runs, for people.
    pub when: &'static str,
    /// The namespaces that its hooks run in.
    pub namespaces: Namespaces,
    /// The mount namespace and root in which a hook's path is looked up.
    pub path_in: Namespaces,
    /// What a hook without `env` gets.
    pub environment: Environment,
    /// What a failure means.
    pub on_failure: OnFailure,
    /// The `status` of the state document that the hooks read.
    pub status: &'static str,
}

/// The table: in the order of a container's life.
const ROWS: [PhaseRow; 6] = [
    PhaseRow {
        phase: Phase::Prestart,
        name: "prestart",
        when: "create: the namespaces exist, the root is not pivoted yet",
        namespaces: Namespaces::Runtime,
        path_in: Namespaces::Runtime,
        environment: Environment::Runtime,
        on_failure: OnFailure::StopContainer,
        status: "creating",
    },
    PhaseRow {
        phase: Phase::CreateRuntime,
        name: "createRuntime",
        when: "create: after prestart, the root is not pivoted yet",
        namespaces: Namespaces::Runtime,
        path_in: Namespaces::Runtime,
        environment: Environment::Runtime,
        on_failure: OnFailure::StopContainer,
        status: "creating",
    },
    PhaseRow {
        phase: Phase::CreateContainer,
        name: "createContainer",
        when: "create: after createRuntime, mounts made, the root is not pivoted yet",
        namespaces: Namespaces::Container,
        path_in: Namespaces::Runtime,
        environment: Environment::Empty,
        on_failure: OnFailure::StopContainer,
        status: "creating",
    },
    PhaseRow {
        phase: Phase::StartContainer,
        name: "startContainer",
        when: "start: the last thing before the container's program is executed",
        namespaces: Namespaces::Container,
        path_in: Namespaces::Container,
        environment: Environment::Container,
        on_failure: OnFailure::StopContainer,
        status: "created",
    },
    PhaseRow {
        phase: Phase::Poststart,
        name: "poststart",
        when: "start: the container's program has been executed, start has not returned",
        namespaces: Namespaces::Runtime,
        path_in: Namespaces::Runtime,
        environment: Environment::Runtime,
        on_failure: OnFailure::StopContainer,
        status: "running",
    },
    PhaseRow {
        phase: Phase::Poststop,
        name: "poststop",
        when: "delete: the container is gone, delete has not returned",
        namespaces: Namespaces::Runtime,
        path_in: Namespaces::Runtime,
        environment: Environment::Runtime,
        on_failure: OnFailure::Warn,
        status: "stopped",
    },
];

impl Phase {
    /// All six, in the order in which a container meets them.
    pub const ALL: [Phase; 6] = [
        Phase::Prestart,
        Phase::CreateRuntime,
        Phase::CreateContainer,
        Phase::StartContainer,
        Phase::Poststart,
        Phase::Poststop,
    ];

    /// What there is to know of this phase.
    pub fn row(self) -> &'static PhaseRow {
        &ROWS[self as usize]
    }

    /// Its name in `config.json`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The phase of that name, spelled as in `config.json`.
    pub fn by_name(name: &str) -> Option<Phase> {
        Phase::ALL.into_iter().find(|phase| phase.name() == name)
    }

    /// The hooks that `hooks` has for this phase.
    #[allow(deprecated)] // prestart: by the specification, not by its users
    pub fn of(self, hooks: &Hooks) -> &[Hook] {
        let list = match self {
            Phase::Prestart => hooks.prestart(),
            Phase::CreateRuntime => hooks.create_runtime(),
            Phase::CreateContainer => hooks.create_container(),
            Phase::StartContainer => hooks.start_container(),
            Phase::Poststart => hooks.poststart(),
            Phase::Poststop => hooks.poststop(),
        };
        list.as_deref().unwrap_or_default()
    }

    /// As [`Phase::of`], to be changed.
    #[allow(deprecated)] // as above
    pub fn of_mut(self, hooks: &mut Hooks) -> &mut Vec<Hook> {
        let list = match self {
            Phase::Prestart => hooks.prestart_mut(),
            Phase::CreateRuntime => hooks.create_runtime_mut(),
            Phase::CreateContainer => hooks.create_container_mut(),
            Phase::StartContainer => hooks.start_container_mut(),
            Phase::Poststart => hooks.poststart_mut(),
            Phase::Poststop => hooks.poststop_mut(),
        };
        list.get_or_insert_default()
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_has_its_own_row() {
        for (index, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase.row().phase, phase);
            assert_eq!(phase as usize, index);
            assert_eq!(Phase::by_name(phase.name()), Some(phase));
        }
        assert_eq!(Phase::by_name("preStart"), None);
    }

    #[test]
    fn only_poststop_goes_on_after_a_failure() {
        for phase in Phase::ALL {
            let warns = phase.row().on_failure == OnFailure::Warn;
            assert_eq!(warns, phase == Phase::Poststop, "{phase}");
        }
    }

    #[test]
    fn the_names_are_those_of_config_json() {
        for phase in Phase::ALL {
            let mut hooks = Hooks::default();
            assert!(phase.of(&hooks).is_empty());
            phase.of_mut(&mut hooks).push(Hook::default());
            assert_eq!(phase.of(&hooks).len(), 1);
            let json = serde_json::to_string(&hooks).unwrap();
            assert!(json.starts_with(&format!("{{\"{phase}\":")), "{json}");
        }
    }
}
