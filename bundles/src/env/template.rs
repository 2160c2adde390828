//! What an environment is made of: the template that a work tree has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::store::Restart;

/// A template; the names are those of QPOD's JSON, and of the same in TOML.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Template {
    /// The environment's name.
    #[serde(default)]
    pub name: String,
    /// The image that commands run in.
    #[serde(default)]
    pub image: Option<String>,
    /// A root file system instead, relative to the work tree.
    #[serde(default)]
    pub rootfs: Option<PathBuf>,
    /// What is mounted besides the work tree.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// Variables of all containers.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// What runs in a container though it lies elsewhere.
    #[serde(default)]
    pub binaries: Vec<Binary>,
    /// What runs in the background.
    #[serde(default)]
    pub services: Vec<Service>,
    /// Ports of the pod that the host has, too: `[ADDRESS:]HOST[:CONTAINER]`.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// podman's options, as far as they mean something here.
    #[serde(default)]
    pub default_run_args: Vec<String>,
    /// Who commands run as.
    #[serde(default)]
    pub user: Option<String>,
    /// Run once, when the environment's pod is made.
    #[serde(default)]
    pub post_create: Vec<Vec<String>>,
    /// All commands run in a container, whatever they are.
    #[serde(default)]
    pub all: bool,
    /// Where the work tree is mounted, too, besides its own path.
    #[serde(default)]
    pub workspace: Option<PathBuf>,
}

/// A mount: `SOURCE`, `SOURCE:TARGET[:OPTIONS]`, or a table.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Mount {
    /// podman's `-v`.
    Text(String),
    /// A table.
    Table(MountTable),
}

/// A mount as a table.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MountTable {
    /// On the host.
    #[serde(default)]
    pub source: Option<String>,
    /// In the container; the same path where it is not given.
    #[serde(default, alias = "destination")]
    pub target: Option<String>,
    /// `bind` or `tmpfs`.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// Nothing can be written.
    #[serde(default, alias = "readonly")]
    pub read_only: bool,
}

/// A port: a number, or text.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Port {
    /// The same on both sides.
    Number(u16),
    /// `[ADDRESS:]HOST[:CONTAINER]`.
    Text(String),
}

/// What runs in a container: a name, or a table.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "BinaryForm")]
pub struct Binary {
    /// Its name in the PATH.
    pub name: String,
    /// Another image than the environment's.
    pub image: Option<String>,
    /// Services that run before it does.
    pub depends: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum BinaryForm {
    Name(String),
    Table(BinaryTable),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BinaryTable {
    name: String,
    #[serde(default)]
    image: Option<String>,
    #[serde(default)]
    depends: Vec<String>,
}

impl From<BinaryForm> for Binary {
    fn from(form: BinaryForm) -> Binary {
        match form {
            BinaryForm::Name(name) => Binary { name, image: None, depends: Vec::new() },
            BinaryForm::Table(table) => {
                Binary { name: table.name, image: table.image, depends: table.depends }
            }
        }
    }
}

/// When a service is started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// Before any container.
    Auto,
    /// Before what depends on it.
    #[default]
    Needed,
    /// By hand only.
    Manual,
}

/// What runs in the background.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Another image than the environment's.
    #[serde(default)]
    pub image: Option<String>,
    /// What it runs; the image's own command where there is none.
    #[serde(default)]
    pub command: Words,
    /// Variables.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Ports that it listens on, shown and published.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// When it is started.
    #[serde(default)]
    pub start: Start,
    /// Services that run before it does.
    #[serde(default)]
    pub depends: Vec<String>,
    /// Files of the work tree that it is restarted for, as patterns.
    #[serde(default)]
    pub content: Vec<String>,
    /// Where it starts, relative to the work tree.
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// When it is started anew, as of `richctl run --restart`.
    #[serde(default)]
    pub restart: RestartWord,
}

/// A restart policy by its word.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RestartWord {
    /// As it is written; empty where it is not.
    pub word: String,
    /// What that is.
    pub policy: Restart,
}

impl TryFrom<String> for RestartWord {
    type Error = String;

    fn try_from(word: String) -> std::result::Result<RestartWord, String> {
        let policy = Restart::parse(&word);
        let wrong = || format!("restart {word}: no, on-failure[:N], always or unless-stopped");
        let policy = policy.ok_or_else(wrong)?;
        Ok(RestartWord { word, policy })
    }
}

/// A command: words, or a line for `/bin/sh`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(from = "WordsForm")]
pub struct Words(pub Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum WordsForm {
    Line(String),
    Words(Vec<String>),
}

impl From<WordsForm> for Words {
    fn from(form: WordsForm) -> Words {
        match form {
            WordsForm::Line(line) => Words(shell(&line)),
            WordsForm::Words(words) => Words(words),
        }
    }
}

/// A line for the image's shell.
#[must_use]
pub fn shell(line: &str) -> Vec<String> {
    ["/bin/sh", "-c", line].map(str::to_owned).to_vec()
}

/// A mount in one form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// On the host; `None`: a tmpfs.
    pub source: Option<String>,
    /// In the container.
    pub target: String,
    /// Nothing can be written.
    pub read_only: bool,
}

impl Mount {
    /// In one form.
    ///
    /// # Errors
    /// An option that is not known; a target that is no absolute path.
    pub fn bind(&self) -> Result<Bind> {
        let bind = match self {
            Mount::Text(text) => {
                let mut parts = text.split(':');
                let source = parts.next().unwrap_or_default().to_owned();
                let target = parts.next().map_or_else(|| source.clone(), str::to_owned);
                let mut read_only = false;
                for option in parts.next().unwrap_or_default().split(',') {
                    match option {
                        "ro" => read_only = true,
                        // Nothing here relabels or shares by default.
                        "" | "rw" | "z" | "Z" | "rbind" => {}
                        other => {
                            return Err(bad(format!("mount {text}: option {other} is not known")));
                        }
                    }
                }
                Bind { source: Some(source), target, read_only }
            }
            Mount::Table(table) => {
                let tmpfs = match table.kind.as_deref() {
                    None | Some("bind") => false,
                    Some("tmpfs") => true,
                    Some(other) => {
                        return Err(bad(format!(
                            "mount: type {other} is not known; there are bind and tmpfs"
                        )));
                    }
                };
                let target = table.target.clone().or_else(|| table.source.clone());
                let target = target
                    .ok_or_else(|| bad("mount: there is neither source nor target".to_owned()))?;
                let source = table.source.clone().filter(|_| !tmpfs);
                if source.is_none() && !tmpfs {
                    return Err(bad(format!("mount {target}: there is no source")));
                }
                Bind { source, target, read_only: table.read_only }
            }
        };
        if !bind.target.starts_with('/') {
            return Err(bad(format!("mount {}: the target is no absolute path", bind.target)));
        }
        Ok(bind)
    }
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The host's address; any where there is none.
    pub address: Option<String>,
    /// On the host.
    pub host: u16,
    /// In the pod.
    pub inside: u16,
}

impl Port {
    /// In one form.
    ///
    /// # Errors
    /// It is no port.
    pub fn published(&self) -> Result<Published> {
        let text = match self {
            Port::Number(port) => {
                return Ok(Published { address: None, host: *port, inside: *port });
            }
            Port::Text(text) => text.trim_end_matches("/tcp"),
        };
        let number = |part: &str| {
            part.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(|| {
                bad(format!("port {text}: use [ADDRESS:]HOST[:CONTAINER] with numbers; TCP only"))
            })
        };
        let (address, ports) = match text.rsplitn(3, ':').collect::<Vec<_>>()[..] {
            [inside, host, address] => (Some(address.to_owned()), (host, inside)),
            [inside, host] => (None, (host, inside)),
            _ => (None, (text, text)),
        };
        Ok(Published { address, host: number(ports.0)?, inside: number(ports.1)? })
    }
}

fn bad(text: String) -> Error {
    Error::new(Kind::Refused, format!("template: {text}"))
}

impl Template {
    /// A service by its name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }

    /// All ports that the host has.
    ///
    /// # Errors
    /// A port that is none, or that two have.
    pub fn published(&self) -> Result<Vec<Published>> {
        let services = self.services.iter().flat_map(|service| &service.ports);
        let mut all: Vec<Published> = Vec::new();
        for port in self.ports.iter().chain(services) {
            let port = port.published()?;
            if all.iter().any(|other| other.host == port.host && *other != port) {
                return Err(bad(format!("port {} of the host is published twice", port.host)));
            }
            if !all.contains(&port) {
                all.push(port);
            }
        }
        Ok(all)
    }

    /// Says what is wrong with it as a whole.
    ///
    /// # Errors
    /// Neither image nor root file system; a name twice; a service that is not there, is
    /// for hands only, or waits for itself.
    pub fn check(&self) -> Result<()> {
        if self.image.is_none() && self.rootfs.is_none() {
            return Err(bad("it names neither an image nor a rootfs".to_owned()));
        }
        let mut names = BTreeSet::new();
        for service in &self.services {
            let fits = |one: char| one.is_ascii_alphanumeric() || "-_.".contains(one);
            if service.name.is_empty()
                || service.name.starts_with('.')
                || !service.name.chars().all(fits)
            {
                return Err(bad(format!(
                    "service {:?}: a name has letters, digits, and -_. only",
                    service.name
                )));
            }
            if !names.insert(&service.name) {
                return Err(bad(format!("there are two services {}", service.name)));
            }
        }
        let services = self.services.iter().map(|one| (&one.name, &one.depends));
        let binaries = self.binaries.iter().map(|one| (&one.name, &one.depends));
        for (name, depends) in services.chain(binaries) {
            for wanted in depends {
                match self.service(wanted).map(|service| service.start) {
                    None => {
                        return Err(bad(format!(
                            "{name} depends on {wanted}, which is no service"
                        )));
                    }
                    Some(Start::Manual) => {
                        return Err(bad(format!(
                            "{name} depends on {wanted}, which is started by hand only"
                        )));
                    }
                    Some(_) => {}
                }
            }
        }
        self.mounts.iter().try_for_each(|mount| mount.bind().map(drop))?;
        self.published()?;
        for service in &self.services {
            self.order(std::slice::from_ref(&service.name))?;
        }
        Ok(())
    }

    /// The services of these names and all that they depend on, each after what it
    /// depends on.
    ///
    /// # Errors
    /// There is no such service; one waits for itself.
    pub fn order(&self, names: &[String]) -> Result<Vec<&Service>> {
        let mut ordered = Vec::new();
        for name in names {
            self.visit(name, &mut Vec::new(), &mut ordered)?;
        }
        Ok(ordered)
    }

    fn visit<'a>(
        &'a self,
        name: &str,
        path: &mut Vec<&'a str>,
        ordered: &mut Vec<&'a Service>,
    ) -> Result<()> {
        let service = self.service(name).ok_or_else(|| {
            let known: Vec<&str> = self.services.iter().map(|one| one.name.as_str()).collect();
            Error::new(
                Kind::NotFound,
                format!("there is no service {name}; there are: {}", known.join(", ")),
            )
        })?;
        if ordered.iter().any(|done| done.name == name) {
            return Ok(());
        }
        if path.contains(&name) {
            return Err(bad(format!("service {name} depends on itself, over {}", path.join(", "))));
        }
        path.push(&service.name);
        for wanted in &service.depends {
            self.visit(wanted, path, ordered)?;
        }
        path.pop();
        ordered.push(service);
        Ok(())
    }

    /// What runs before a command: what is started for all, and what the command's
    /// binary depends on.
    ///
    /// # Errors
    /// As [`Template::order`].
    pub fn before(&self, binary: Option<&Binary>) -> Result<Vec<&Service>> {
        let auto = self.services.iter().filter(|service| service.start == Start::Auto);
        let mut names: Vec<String> = auto.map(|service| service.name.clone()).collect();
        names.extend(binary.into_iter().flat_map(|binary| binary.depends.iter().cloned()));
        self.order(&names)
    }
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
