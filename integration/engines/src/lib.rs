//! Scenarios under real engines, with the OCI runtime as a parameter: what
//! podman, Docker, containerd and Kubernetes do with runc or crun they must do with richrun.
//!
//! Everything happens in a [`sandbox::Sandbox`]: private mount, network, pid
//! and ipc namespaces, private engine roots and sockets, a cgroup of its own.
//! When it ends nothing of it is left. Images are made from busybox: no
//! registry is asked.

pub mod command;
pub mod containerd;
pub mod cri;
pub mod docker;
pub mod engine;
pub mod host;
pub mod image;
pub mod kind;
pub mod kubernetes;
pub mod machine;
pub mod podman;
pub mod runtimes;
pub mod sandbox;
pub mod system;
pub mod terminal;
pub mod transcript;
pub mod view;
pub mod world;

/// What a scenario says: nothing, or why it failed.
pub type Verdict = Result<(), String>;

/// Fails a scenario unless `condition` holds.
pub fn ensure(condition: bool, what: impl FnOnce() -> String) -> Verdict {
    if condition { Ok(()) } else { Err(what()) }
}

/// Asks `probe` every 20 ms until it answers or patience ends.
pub fn within<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> Result<T, String> {
    let end = std::time::Instant::now() + command::PATIENCE;
    loop {
        if let Some(answer) = probe() {
            return Ok(answer);
        }
        if std::time::Instant::now() > end {
            return Err(format!("not within {:?}: {what}", command::PATIENCE));
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
