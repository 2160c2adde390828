//! What a container is to the controller: the pod controller's plugin, as traits.
//!
//! A caller may bring its own: [`super::oci`] is the one that runs containers by an OCI
//! runtime; `examples/pod_controller.rs` has one of plain processes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::model::Pod;
use crate::error::Result;

/// How a container has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Exit status; 128+n after signal n.
    pub status: i32,
    /// What is known beyond it: `OOMKilled`, or why there is no status.
    pub reason: Option<String>,
}

/// One life of a container.
pub trait Container: Send + Sync {
    /// Starts it; returns when its program runs, with its process id where there is one.
    ///
    /// # Errors
    /// Why it does not run.
    fn start(&self) -> Result<Option<i32>>;
    /// Waits for its end and removes what it leaves. Called once, after `start`.
    fn wait(&self) -> End;
    /// Sends a signal, by name without `SIG` (`TERM`) or by number.
    ///
    /// # Errors
    /// Why it was not sent; that it has ended is none.
    fn kill(&self, signal: &str) -> Result<()>;
    /// Runs a program in it and waits for its exit status, no longer than `limit`.
    ///
    /// # Errors
    /// Why it could not be run, or that it took too long.
    fn exec(&self, words: &[String], limit: Duration) -> Result<i32>;
    /// The same for a probe: it comes again and again, and may be run twice.
    ///
    /// # Errors
    /// As [`Container::exec`].
    fn probe(&self, words: &[String], limit: Duration) -> Result<i32> {
        self.exec(words, limit)
    }
    /// A file of the network namespace in which probes connect; `None`: the host's.
    fn network(&self) -> Option<PathBuf> {
        None
    }
}

/// Makes containers.
pub trait Plugin: Send + Sync {
    /// A container of the pod for its next life.
    ///
    /// # Errors
    /// Why it cannot be made.
    fn container(&self, pod: &Pod, place: usize) -> Result<Arc<dyn Container>>;
    /// One that runs already, when a pod is taken over; `pid` is its process id.
    fn adopt(&self, pod: &Pod, place: usize, pid: Option<i32>) -> Option<Arc<dyn Container>> {
        let _ = (pod, place, pid);
        None
    }
    /// Told each time that something has changed.
    fn changed(&self, kept: &super::kept::Kept, status: &super::status::PodStatus) {
        let _ = (kept, status);
    }
}
