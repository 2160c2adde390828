//! What can be done in an environment, whoever does it.

use super::template::{Binary, Published, Service};
use super::{Environment, watch::Watcher};
use crate::error::Result;

/// A command to run in front.
#[derive(Debug, Clone, Default)]
pub struct Job {
    /// The command; what the image runs where there is none.
    pub args: Vec<String>,
    /// Another image than the environment's.
    pub image: Option<String>,
    /// More variables, `NAME=VALUE`.
    pub environment: Vec<String>,
    /// Where it starts: a directory of the work tree.
    pub directory: String,
}

/// Who runs containers.
pub trait Engine: Sync {
    /// Runs a command in front, and waits for it: its exit status. Services whose content
    /// the watcher sees change meanwhile are restarted.
    ///
    /// # Errors
    /// What the engine says.
    fn run(&self, job: &Job, watcher: Option<Watcher>) -> Result<u8>;
    /// The id of a service's container, if it runs.
    ///
    /// # Errors
    /// What the engine says.
    fn running(&self, service: &Service) -> Result<Option<String>>;
    /// Starts a service that does not run: its container's id.
    ///
    /// # Errors
    /// What the engine says.
    fn start(&self, service: &Service) -> Result<String>;
    /// Waits until a service listens at its ports, for a while: what depends on it can
    /// connect.
    ///
    /// # Errors
    /// It has ended.
    fn ready(&self, service: &Service) -> Result<()>;
    /// Stops a service; one that does not run is no error.
    ///
    /// # Errors
    /// What the engine says.
    fn stop(&self, service: &Service) -> Result<()>;
    /// Prints what a service has written, and with `follow` what it writes.
    ///
    /// # Errors
    /// What the engine says.
    fn logs(&self, service: &Service, follow: bool) -> Result<()>;
    /// Whether the environment's pod is there.
    ///
    /// # Errors
    /// What the engine says.
    fn is_up(&self) -> Result<bool>;
    /// Stops all services and commands, and the pod.
    ///
    /// # Errors
    /// What the engine says.
    fn down(&self) -> Result<()>;
    /// Forgets what the stopped environment has left.
    ///
    /// # Errors
    /// What the engine says.
    fn remove(&self) -> Result<()>;
}

/// Starts what runs before a command, and prints the ids of what was not running, as the
/// command's own output is not theirs: to standard error.
///
/// # Errors
/// As [`Engine::start`].
pub fn before(engine: &dyn Engine, of: &Environment, binary: Option<&Binary>) -> Result<()> {
    for service in of.template.before(binary)? {
        if engine.running(service)?.is_none() {
            eprintln!("{}", engine.start(service)?);
            engine.ready(service)?;
        }
    }
    Ok(())
}

/// Starts a service and what it depends on: the ids of what was not running, its own last.
///
/// # Errors
/// As [`Engine::start`].
pub fn start(engine: &dyn Engine, of: &Environment, name: &str) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for service in of.template.order(&[name.to_owned()])? {
        match engine.running(service)? {
            Some(id) if service.name == name => ids.push(id),
            Some(_) => {}
            None => ids.push(engine.start(service)?),
        }
    }
    Ok(ids)
}

/// One line of `service list`: `web (stopped, web: 8000)`.
///
/// # Errors
/// A port that is none.
pub fn line(service: &Service, running: bool) -> Result<String> {
    let mut line = format!("{} ({}", service.name, if running { "running" } else { "stopped" });
    for port in &service.ports {
        let Published { address: _, host, inside: _ } = port.published()?;
        line.push_str(&format!(", {}: {host}", service.name));
    }
    line.push(')');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::super::template::Port;
    use super::*;

    #[test]
    fn lines_as_the_page_has_them() {
        let service = |name: &str, ports: &[u16]| Service {
            name: name.to_owned(),
            ports: ports.iter().map(|port| Port::Number(*port)).collect(),
            ..Service::default()
        };
        assert_eq!(line(&service("web", &[8000]), false).unwrap(), "web (stopped, web: 8000)");
        assert_eq!(line(&service("zookeeper", &[]), false).unwrap(), "zookeeper (stopped)");
        let grafana = line(&service("grafana", &[3000]), true).unwrap();
        assert_eq!(grafana, "grafana (running, grafana: 3000)");
    }
}
