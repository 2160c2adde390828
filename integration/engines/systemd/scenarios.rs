//! The scenarios: what is run, who runs it, and what cannot be seen where.

use richrun_engines::Verdict;
use richrun_engines::host::Host;
use richrun_engines::machine::Who;

use crate::pods::{self, Pods};

const ROOT: &[Who] = &[Who::Root];
const BOTH: &[Who] = &[Who::Root, Who::User];

/// A behaviour of an engine, shown by a script.
pub struct Scenario {
    /// The engine.
    pub engine: &'static str,
    /// What is shown.
    pub name: &'static str,
    /// How it is shown.
    pub how: How,
    /// Who runs it.
    pub who: &'static [Who],
    /// The cgroup controllers without which it cannot be seen.
    pub controllers: &'static [&'static str],
    /// The same, with one runtime.
    pub peer_needs: &'static [(&'static str, &'static str)],
    /// With which runtime it cannot be seen, and why.
    pub cannot: &'static [Cannot],
    /// Whether it is run by default.
    pub short: bool,
    /// On which host it cannot be seen, and why.
    pub not_on: Option<(Host, &'static str)>,
}

/// How a behaviour is shown.
#[derive(Clone, Copy)]
pub enum How {
    /// By `bash`, behind `lib.sh`.
    Script(&'static str),
    /// By a page with its commands and what they print.
    Page(&'static str),
    /// By what a kubelet asks for.
    Pods(fn(&Pods<'_>) -> Verdict),
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
            how: How::Script(script),
            who: BOTH,
            controllers: &[],
            peer_needs: &[],
            cannot: &[],
            short: true,
            not_on: None,
        }
    }

    /// crun insists on the controller of a weight that Docker leaves at 0.
    const fn docker(name: &'static str, script: &'static str) -> Self {
        Self {
            engine: "docker",
            peer_needs: &[("crun", "io")],
            ..Self::podman(name, script).only(ROOT)
        }
    }

    /// A page of `docs`, whose lines are run.
    const fn page(name: &'static str, text: &'static str) -> Self {
        Self { how: How::Page(text), ..Self::podman(name, text).only(ROOT) }
    }

    /// Pods of containerd's CRI plugin.
    const fn pods(name: &'static str, run: fn(&Pods<'_>) -> Verdict) -> Self {
        Self { engine: "containerd", how: How::Pods(run), ..Self::podman(name, "").only(ROOT) }
    }

    /// The same for these.
    const fn only(self, who: &'static [Who]) -> Self {
        Self { who, ..self }
    }

    /// The same where it needs these controllers.
    const fn needs(self, controllers: &'static [&'static str]) -> Self {
        Self { controllers, ..self }
    }

    /// Whether Docker's own default runtime, runc, is its first peer.
    pub fn of_docker(&self) -> bool {
        self.engine != "podman"
    }
}

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::podman("life", include_str!("scenarios/life.sh")),
    Scenario::podman("look", include_str!("scenarios/look.sh")),
    Scenario::podman("update", include_str!("scenarios/update.sh"))
        .needs(&["cpu", "memory", "pids"]),
    Scenario::podman("pod", include_str!("scenarios/pod.sh")),
    Scenario::podman("health", include_str!("scenarios/health.sh")),
    Scenario::podman("notify", include_str!("scenarios/notify.sh")),
    Scenario::podman("users", include_str!("scenarios/users.sh")),
    Scenario::podman("idmap", include_str!("scenarios/idmap.sh")).only(ROOT),
    Scenario::podman("systemd_inside", include_str!("scenarios/systemd-inside.sh")),
    Scenario::podman("files", include_str!("scenarios/files.sh")),
    Scenario::podman("journal", include_str!("scenarios/journal.sh")),
    Scenario::podman("generate", include_str!("scenarios/generate.sh")),
    Scenario::podman("quadlet", include_str!("scenarios/quadlet.sh")),
    Scenario::podman("kube", include_str!("scenarios/kube.sh")),
    Scenario {
        not_on: Some((Host::Trixie, "of a newer podman")),
        ..Scenario::podman("newest", include_str!("scenarios/newest.sh"))
    },
    Scenario::podman("build", include_str!("scenarios/build.sh")),
    Scenario::docker("life", include_str!("scenarios/docker-life.sh")),
    Scenario::docker("health", include_str!("scenarios/docker-health.sh")),
    Scenario::docker("update", include_str!("scenarios/docker-update.sh"))
        .needs(&["cpu", "memory", "pids"]),
    Scenario {
        cannot: &[Cannot {
            runtime: "runc",
            who: None,
            reason: "Docker's builder gives CAP_AUDIT_WRITE, which the machine lacks; runc insists",
        }],
        ..Scenario::docker("build", include_str!("scenarios/docker-build.sh"))
    },
    Scenario::docker("mounts", include_str!("scenarios/docker-mounts.sh")),
    Scenario::docker("compose", include_str!("scenarios/docker-compose.sh")),
    Scenario::docker("live_restore", include_str!("scenarios/docker-live-restore.sh")),
    Scenario {
        engine: "containerd",
        peer_needs: &[],
        ..Scenario::docker("ctr", include_str!("scenarios/containerd.sh"))
    },
    Scenario::pods("pods", pods::life),
    Scenario::pods("pods_restart", pods::restart),
    Scenario {
        cannot: &[Cannot {
            runtime: "crun",
            who: None,
            reason: "the only limits that the machine has are in `unified`, which crun's update leaves out",
        }],
        ..Scenario::pods("pods_update", pods::update)
    },
    Scenario {
        not_on: Some((Host::Trixie, "containerd 1 does not ask the runtime for its features")),
        ..Scenario::pods("pods_features", pods::features)
    },
    Scenario::page("deployments", include_str!("../../../docs/deployments.md")),
];
