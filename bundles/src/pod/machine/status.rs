//! What a pod as a whole is.

use serde::{Deserialize, Serialize};

use super::{Machine, One, Phase};
use crate::pod::model::Role;

/// Kubernetes' phases of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PodPhase {
    /// Init containers run, or a main one was never started.
    Pending,
    /// Every main container was started.
    Running,
    /// All have ended well.
    Succeeded,
    /// All have ended, one not well.
    Failed,
}

impl PodPhase {
    /// As Kubernetes writes it.
    pub fn name(self) -> &'static str {
        match self {
            PodPhase::Pending => "Pending",
            PodPhase::Running => "Running",
            PodPhase::Succeeded => "Succeeded",
            PodPhase::Failed => "Failed",
        }
    }
}

impl Machine {
    fn of_role(&self, role: Role) -> impl Iterator<Item = &One> {
        self.ones.iter().filter(move |one| one.rules.role == role)
    }

    /// The controller's one bit: every main container is STARTED, HEALTHY or FAILING.
    pub fn healthy(&self) -> bool {
        self.of_role(Role::Main).all(|one| one.state().is_healthy())
    }

    /// Kubernetes' Ready: every main container and sidecar takes work.
    pub fn ready(&self) -> bool {
        let lasting = self.ones.iter().filter(|one| one.rules.role != Role::Init);
        !self.is_stopping() && lasting.clone().count() > 0 && lasting.clone().all(One::is_ready)
    }

    /// Nothing runs and nothing will.
    pub fn is_over(&self) -> bool {
        self.is_stopping() && !self.ones.iter().any(One::is_there)
    }

    /// The phase.
    pub fn phase(&self) -> PodPhase {
        let late = self.stopping.as_ref().is_some_and(|stop| stop.why == "DeadlineExceeded");
        let failed = |one: &One| one.status.is_some_and(|status| status != 0);
        let init_failed = self.of_role(Role::Init).any(|one| one.is_over() && failed(one));
        if self.is_over() {
            let all = self.of_role(Role::Main).all(|one| one.status == Some(0));
            return match all && !late && !init_failed {
                true => PodPhase::Succeeded,
                false => PodPhase::Failed,
            };
        }
        match self.of_role(Role::Main).any(|one| matches!(one.phase, Phase::Waiting)) {
            true => PodPhase::Pending,
            false => PodPhase::Running,
        }
    }

    /// Why it ends or has ended.
    pub fn reason(&self) -> &str {
        self.stopping.as_ref().map_or("", |stopping| stopping.why.as_str())
    }

    /// The pod's exit status: the first main container's that is not 0, else that of a
    /// failed init container, else 0.
    pub fn status(&self) -> i32 {
        let bad = |one: &&One| one.status.is_some_and(|status| status != 0);
        let main = self.of_role(Role::Main).find(bad);
        let first = main.or_else(|| {
            self.of_role(Role::Init).find(|one| one.is_over() && one.status != Some(0))
        });
        first.and_then(|one| one.status).unwrap_or(0)
    }
}
