//! What is said of a pod: the controller's `Status()`, as JSON has it.

use serde::{Deserialize, Serialize};

use super::machine::{PodPhase, State};
use super::model::Pod;

/// A pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub namespace: String,
    /// Kubernetes' phase.
    pub phase: PodPhase,
    /// Why it ends or has ended.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub reason: String,
    /// The controller's one bit.
    pub healthy: bool,
    /// Kubernetes' Ready.
    pub ready: bool,
    /// Nothing runs and nothing will.
    pub over: bool,
    /// The pod's exit status, once it is over.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exit_status: Option<i32>,
    /// When it was begun: seconds of 1970.
    pub since: i64,
    /// Its containers, in their order.
    pub containers: Vec<ContainerStatus>,
}

impl PodStatus {
    /// That of a pod of which nothing runs, and why.
    pub fn lost(pod: &Pod, why: &str) -> PodStatus {
        PodStatus {
            name: pod.name.clone(),
            namespace: pod.namespace.clone(),
            phase: PodPhase::Failed,
            reason: why.to_owned(),
            healthy: false,
            ready: false,
            over: true,
            exit_status: Some(128),
            since: 0,
            containers: Vec::new(),
        }
    }
}

/// A container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerStatus {
    /// Its name.
    pub name: String,
    /// `init`, `sidecar` or `main`.
    pub role: String,
    /// The controller's state.
    pub state: State,
    /// Why, in a word.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub reason: String,
    /// It takes work.
    pub ready: bool,
    /// It runs or starts.
    pub running: bool,
    /// Starts after the first.
    pub restarts: u32,
    /// Its process on the host.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pid: Option<i32>,
    /// The last end's status.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exit_status: Option<i32>,
    /// When it came to this state: seconds of 1970; 0: it never was in another.
    pub since: i64,
    /// Its probes.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub probes: Vec<ProbeStatus>,
}

/// A probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeStatus {
    /// `startup`, `liveness` or `readiness`.
    pub probe: String,
    /// What the last one said; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub passed: Option<bool>,
    /// How many in a row said so.
    pub in_a_row: u32,
    /// What was said on the last failure.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub message: String,
}
