//! Twenty services as a graph, in the words of each supervisor that is compared.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::stage::Result;

/// How many services there are.
pub const COUNT: usize = 20;
/// Where the directory of a run is seen in its container.
pub const PLACE: &str = "/bench";

/// A service: after a tenth of a second it says that it is up, and sleeps.
#[derive(Debug, PartialEq)]
struct Service {
    name: String,
    /// What must be up before it starts.
    needs: Vec<String>,
}

/// [`COUNT`] services in `deep` layers, each needing all of the layer before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Graph {
    /// How many layers; of one, no service needs another.
    pub deep: usize,
}

impl Graph {
    fn services(self) -> impl Iterator<Item = Service> {
        let wide = COUNT / self.deep;
        (0..COUNT).map(move |i| {
            let layer = i / wide;
            let before = layer.saturating_sub(1) * wide..layer * wide;
            Service { name: format!("s{i}"), needs: before.map(|j| format!("s{j}")).collect() }
        })
    }

    /// rich-init's services file.
    pub fn toml(self) -> String {
        let one = |service: Service| {
            let command = command(&service.name, "echo >&3; ");
            format!(
                "[service.{}]\nneeds = {:?}\nready = \"fd:3\"\ncommand = \"{command}\"\n",
                service.name, service.needs
            )
        };
        self.services().map(one).collect()
    }

    /// supervisord's configuration. It has an order of starting, but waits for nothing to be up.
    pub fn ini(self) -> String {
        let head = format!(
            "[supervisord]\nnodaemon=true\npidfile={PLACE}/supervisord.pid\nlogfile=/dev/null\n\
             logfile_maxbytes=0\n"
        );
        let one = |service: Service| {
            format!(
                "[program:{}]\ncommand=/bin/sh -c \"{}\"\nstdout_logfile=NONE\n\
                 stderr_logfile=NONE\n",
                service.name,
                command(&service.name, "")
            )
        };
        head + &self.services().map(one).collect::<String>()
    }

    /// A directory for s6-svscan. s6 by itself has no dependencies: s6-svwait in the run
    /// scripts makes them.
    pub fn scan(self, directory: &Path) -> Result<()> {
        for service in self.services() {
            let waits = match &service.needs[..] {
                [] => String::new(),
                needs => {
                    let places: Vec<_> =
                        needs.iter().map(|need| format!("{PLACE}/s6/{need}")).collect();
                    // It fails where a service is not supervised yet.
                    let wait = format!("s6-svwait -a -U {}", places.join(" "));
                    format!("until {wait} 2>/dev/null; do sleep 0.01; done\n")
                }
            };
            let run = format!("{waits}{}", command(&service.name, "echo >&3; "));
            let place = directory.join(service.name);
            script(&place, "run", &run)?;
            write(&place.join("notification-fd"), "3\n")?;
        }
        Ok(())
    }
}

/// What a service does: the file is how it is seen from outside that it is up.
fn command(name: &str, tell: &str) -> String {
    format!("sleep 0.1; : >{PLACE}/up/{name}; {tell}exec sleep 1000")
}

/// A directory for s6-svscan with one service, at whose end it ends.
pub fn single(directory: &Path, command: &str) -> Result<()> {
    let place = directory.join("payload");
    script(&place, "run", &format!("exec {command}"))?;
    script(&place, "finish", &format!("exec s6-svscanctl -t {PLACE}/s6"))
}

fn script(place: &Path, name: &str, text: &str) -> Result<()> {
    fs::create_dir_all(place).map_err(|error| format!("{}: {error}", place.display()))?;
    let path = place.join(name);
    write(&path, &format!("#!/bin/sh\n{text}\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes a file, or says which could not be written.
pub fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_needs_the_whole_one_before() {
        let services: Vec<_> = Graph { deep: 4 }.services().collect();
        assert!(services[4].needs.is_empty());
        assert_eq!(services[5].needs, ["s0", "s1", "s2", "s3", "s4"]);
        assert_eq!(services[19].needs, ["s10", "s11", "s12", "s13", "s14"]);
        assert!(Graph { deep: 1 }.services().all(|service| service.needs.is_empty()));
    }

    #[test]
    fn the_same_services_in_all_languages() {
        let graph = Graph { deep: 4 };
        assert_eq!(graph.toml().matches("[service.").count(), COUNT);
        assert!(graph.toml().contains("needs = [\"s0\", \"s1\""));
        assert_eq!(graph.ini().matches("[program:").count(), COUNT);
    }
}
