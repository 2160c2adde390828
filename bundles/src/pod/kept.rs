//! What of a pod outlives the process that looks after it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::machine::Machine;

/// What has to be kept so that another process can go on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    /// The decisions so far.
    pub machine: Machine,
    /// Process ids of the containers that run.
    pub pids: BTreeMap<usize, i32>,
    /// When each container came to its state, seconds of 1970.
    pub since: BTreeMap<usize, i64>,
    /// When the pod was begun.
    pub begun: i64,
}
