//! Services: the declarative file, read and checked on the host (docs/services.md).
//!
//! ```text
//! text -> tree (values with lines) -> fields -> service, probes -> graph -> encode
//! ```
//!
//! Everything here is pure; who reads the files is `launch::services`.

mod accounts;
mod encode;
mod fields;
mod graph;
mod node;
mod probes;
mod service;
mod tree;
mod yaml;

#[cfg(test)]
mod tests;

pub use accounts::Accounts;
pub use encode::Surroundings;
pub use tree::Format;

use crate::error::{Error, Result};
use fields::Field;
use graph::Relations;
use node::Node;
use rich_init::services::wire::MAX_SERVICES;
use service::Service;

/// The name that the payload of config.json has as a service.
pub const PAYLOAD: &str = "main";

/// A document with services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name in errors.
    pub name: String,
    /// Its text.
    pub text: String,
    /// How it is written.
    pub format: Format,
}

/// All services of a container, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Services {
    all: Vec<Service>,
    relations: Vec<Relations>,
    main: usize,
    /// Milliseconds for what is left after the services; none: forever.
    grace: Option<u32>,
    /// Milliseconds for the ordered stop in all; none: forever.
    shutdown: Option<u32>,
}

impl Source {
    /// A document by its content: an object in braces is JSON; YAML's first line is `---`, or
    /// has a colon where one of TOML has an equals sign or a heading in brackets.
    pub fn of_text(name: &str, text: String) -> Source {
        let mut lines = text.lines().map(str::trim);
        let first = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
        let format = match first.unwrap_or_default() {
            line if line.starts_with('{') => Format::Json,
            line if line.starts_with("---") || line.starts_with('%') => Format::Yaml,
            line if line.starts_with(['[', '"', '\'']) => Format::Toml,
            line => match line.find([':', '=']).map(|at| line.as_bytes()[at]) {
                Some(b':') => Format::Yaml,
                _ => Format::Toml,
            },
        };
        Source { name: name.to_owned(), text, format }
    }
}

/// What the documents say together.
#[derive(Default)]
struct Read {
    all: Vec<Service>,
    main: Option<String>,
    /// What to say if there is no such service.
    no_main: Option<Error>,
    grace: Option<Option<u32>>,
    shutdown: Option<Option<u32>>,
}

impl Services {
    /// Reads and checks the documents, which complete each other.
    ///
    /// # Errors
    /// File, line, field and what is wrong there.
    pub fn read(sources: &[Source], accounts: &Accounts) -> Result<Services> {
        Services::read_all(sources, accounts).map_err(|mut errors| errors.swap_remove(0))
    }

    /// The same, with all that is wrong in the order in which it was found.
    ///
    /// # Errors
    /// At least one.
    pub fn read_all(
        sources: &[Source],
        accounts: &Accounts,
    ) -> std::result::Result<Services, Vec<Error>> {
        let (mut read, mut wrong, mut trees) = (Read::default(), Vec::new(), Vec::new());
        for source in sources {
            match tree::parse(&source.name, &source.text, source.format) {
                Ok(tree) => trees.push((source, tree)),
                Err(error) => wrong.push(error),
            }
        }
        for (source, node) in &trees {
            wrong.extend(read.settings(source, node).err());
        }
        for (source, node) in &trees {
            read.services(source, node, accounts, &mut wrong);
        }
        match wrong.is_empty() {
            true => read.finish().map_err(|error| vec![error]),
            false => Err(wrong),
        }
    }

    /// The compact form that PID 1 gets.
    ///
    /// # Errors
    /// It is larger than PID 1 has room for.
    pub fn encode(&self, around: Surroundings) -> Result<Vec<u8>> {
        encode::encode(self, around)
    }

    /// Refuses users that PID 1 cannot become.
    ///
    /// # Errors
    /// File and line of the first service with another user than its own.
    pub fn check_users(&self, runner: Runner) -> Result<()> {
        let Runner { uid, lacks } = runner;
        let why = match (uid, lacks) {
            (0, None) => return Ok(()),
            (0, Some(cap)) => {
                format!("lacks {cap} (process.capabilities.bounding of config.json)")
            }
            _ => format!("runs as user {uid} (process.user of config.json)"),
        };
        let other = |service: &&Service| service.user.as_ref().is_some_and(|user| user.0 != uid);
        self.all.iter().find(other).map_or(Ok(()), |service| {
            let (file, line) = &service.place;
            Err(Error::config(format!(
                "{file}: line {line}: service.{}.user: rich-init {why}, which cannot become another one",
                service.name
            )))
        })
    }

    /// All that services execute: field, words, and the service's own environment.
    pub fn commands(&self) -> impl Iterator<Item = (String, &[String], &[String])> {
        self.all.iter().flat_map(|service| {
            let named = |name: &str, words| (format!("service.{}.{name}", service.name), words);
            let own = [("finish", &service.finish), ("reload", &service.reload)];
            let own = service.command.iter().map(|words| ("command", words)).chain(own);
            let own = own.filter(|(_, words)| !words.is_empty());
            let probes = service.probes.iter().zip(probes::NAMES);
            let probes = probes.filter_map(|(probe, name)| match &probe.as_ref()?.action {
                probes::Action::Exec(words) => Some((name, words)),
                _ => None,
            });
            own.chain(probes).map(move |(name, words)| {
                let (field, words) = named(name, words);
                (field, words.as_slice(), service.env.as_slice())
            })
        })
    }
}

/// PID 1: what it can become.
#[derive(Debug, Clone, Copy)]
pub struct Runner {
    /// Its user.
    pub uid: u32,
    /// A capability that it would need to become another one.
    pub lacks: Option<&'static str>,
}

impl Read {
    fn settings(&mut self, source: &Source, node: &Node) -> Result<()> {
        let mut fields = Field { file: &source.name, path: String::new(), node }.table()?;
        if let Some(main) = fields.take("main") {
            let name = main.text()?;
            self.no_main = Some(main.error(format!("no service is named {name:?}")));
            if self.main.replace(name.to_owned()).is_some() {
                return Err(main.error("given twice"));
            }
        }
        self.grace = fields.read("grace", Field::span)?.or(self.grace);
        self.shutdown = fields.read("shutdown-timeout", Field::span)?.or(self.shutdown);
        fields.take("service");
        fields.take("$schema");
        fields.end()
    }

    fn services(
        &mut self,
        source: &Source,
        node: &Node,
        accounts: &Accounts,
        wrong: &mut Vec<Error>,
    ) {
        let whole = Field { file: &source.name, path: String::new(), node };
        let table = whole.table().and_then(|mut fields| match fields.take("service") {
            Some(services) => Ok(services.table()?.rest()),
            None => Ok(Vec::new()),
        });
        match table {
            // None of so many is looked at.
            Ok(services) if self.all.len() + services.len() > MAX_SERVICES => {
                wrong.push(graph::too_many(self.all.len() + services.len()));
            }
            Ok(services) => {
                for (name, field) in services {
                    wrong.extend(self.service(name, &field, accounts).err());
                }
            }
            // What is no table has been told with the settings.
            Err(error) => wrong.extend(wrong.is_empty().then_some(error)),
        }
    }

    fn service(&mut self, name: &str, field: &Field<'_>, accounts: &Accounts) -> Result<()> {
        if let Some(other) = self.all.iter().find(|service| service.name == name) {
            let (file, line) = &other.place;
            return Err(field.error(format!("given twice, also in {file}, line {line}")));
        }
        let main = name == self.main.as_deref().unwrap_or(PAYLOAD);
        let service = Service::read(name, field, main, accounts)?;
        if main && service.oneshot {
            return Err(field.error("type: the main service is no one-shot"));
        }
        self.all.push(service);
        Ok(())
    }

    fn finish(mut self) -> Result<Services> {
        let name = self.main.clone().unwrap_or_else(|| PAYLOAD.to_owned());
        let found = self.all.iter().position(|service| service.name == name);
        let main = match (found, self.no_main.take()) {
            (Some(main), _) => main,
            (None, Some(error)) => return Err(error),
            (None, None) => {
                self.all.push(Service::payload(PAYLOAD));
                self.all.len() - 1
            }
        };
        let relations = graph::relate(&self.all, main)?;
        let grace = self.grace.unwrap_or(Some(5000));
        let shutdown = self.shutdown.unwrap_or(None);
        Ok(Services { all: self.all, relations, main, grace, shutdown })
    }
}
