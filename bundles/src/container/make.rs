//! A container is made: its source prepared, its configuration and record written.

use std::fs;
use std::path::{Path, PathBuf};

use super::request::check_name;
use super::{Containers, Request, prepare};
use crate::error::{At, Error, Result};
use crate::monitor;
use crate::runtime::{Program, program};
use crate::source::{PreparedRoot, SourceKind, Workshop};
use crate::spec::{self, Bind, Ids, NetworkNamespace, Options};
use crate::store::{LogOptions, Network, Record, write_json};
use crate::users;

/// Where logs are rotated when nothing is said.
const LOG_SIZE: u64 = 64 << 20;
/// How many files then.
const LOG_FILES: u32 = 4;

impl Containers {
    /// Makes a container; it does not run yet.
    ///
    /// # Errors
    /// What is wrong with the request, or what failed; nothing is left then.
    pub fn create(&self, request: &Request) -> Result<Record> {
        let id = new_id()?;
        let name = request.name.clone().unwrap_or_else(|| id[..12].to_owned());
        check_name("name", &name)?;
        let kind = SourceKind::parse(&request.source)?;
        if request.network == Some(Network::Pasta) && !rustix::process::geteuid().is_root() {
            return Err(Error::usage(
                "--netns pasta: as an ordinary user nobody reaches a container's network before it \
                 starts: use --netns host, or a network namespace that is there",
            ));
        }
        let program = Program::find(self.runtime.as_deref(), &self.store.place)?;
        let mut record = Record {
            id,
            name,
            namespace: self.namespace.clone(),
            created: jiff::Timestamp::now(),
            source: request.source.clone(),
            labels: request.labels.clone(),
            runtime: program.path,
            runtime_root: program.root,
            runtime_options: program.options,
            launch_options: request.launch_options.clone(),
            terminal: request.terminal,
            interactive: request.interactive,
            remove: request.remove,
            restart: request.restart,
            stop_signal: request.stop_signal.clone(),
            stop_timeout: request.stop_timeout,
            ports: request.ports.clone(),
            pod: request.pod.clone(),
            ..Record::default()
        };
        record.log = self.log_of(request, &record);
        record.bundle = self.store.data_of(&record.namespace, &record.id);
        self.store.add(&record)?;
        let made = self.fill(&mut record, &kind, request);
        if let Err(error) = made {
            let _ = monitor::forget(&self.store.dirs(&record), &record);
            return Err(error);
        }
        self.store.dirs(&record).tell(&record, "create", None);
        Ok(record)
    }

    /// Prepares the source and writes the configuration.
    fn fill(&self, record: &mut Record, kind: &SourceKind, request: &Request) -> Result<()> {
        let shop = Workshop { place: self.store.place.clone(), dir: record.bundle.clone() };
        let prepared = prepare(kind, &shop)?;
        record.undo.clone_from(&prepared.undo);
        record.network = request.network.clone().unwrap_or_default();
        if let Some(signal) = &prepared.config.stop_signal {
            record.stop_signal.get_or_insert_with(|| signal.clone());
        }
        for (key, value) in &prepared.config.labels {
            record.labels.entry(key.clone()).or_insert_with(|| value.clone());
        }
        let options = options(record, request, &prepared)?;
        let mut configuration = spec::configuration(prepared.base, &prepared.root, &options)?;
        let mounts = configuration.mounts().clone().unwrap_or_default();
        // An image's layers, on which all others are mounted.
        configuration.set_mounts(Some(prepared.mounts.into_iter().chain(mounts).collect()));
        if let Some(process) = configuration.process() {
            record.command = process.args().clone().unwrap_or_default();
            record.terminal = process.terminal().unwrap_or(false);
        }
        write_json(&record.bundle.join("config.json"), &configuration)?;
        self.store.save(record)
    }

    fn log_of(&self, request: &Request, record: &Record) -> LogOptions {
        let dir = request.log.dir.clone().unwrap_or_else(|| self.store.place.logs());
        let or = |value: u64, other: u64| if value == 0 { other } else { value };
        LogOptions {
            driver: request.log.driver,
            format: request.log.format,
            path: dir.join(&record.namespace).join(format!("{}.log", record.name)),
            max_size: or(request.log.max_size, LOG_SIZE),
            max_files: or(u64::from(request.log.max_files), u64::from(LOG_FILES)) as u32,
        }
    }
}

/// The options of the request with what follows from the source and the user.
fn options(record: &Record, request: &Request, prepared: &PreparedRoot) -> Result<Options> {
    let mut options = request.options.clone();
    let image = &prepared.config;
    options.args = arguments(request, prepared);
    options.env = image.env.iter().chain(&request.options.env).cloned().collect();
    options.cwd = options.cwd.or_else(|| image.cwd.clone());
    options.readonly |= prepared.readonly;
    options.terminal = request.terminal;
    options.hostname =
        options.hostname.or_else(|| prepared.base.is_none().then(|| record.name.clone()));
    let who = request.user.as_deref().or(image.user.as_deref()).filter(|who| !who.is_empty());
    if let Some(who) = who {
        options.user = Some(users::look_up(&prepared.files(), who)?);
    }
    if request.network.is_some() || prepared.base.is_none() {
        options.network = Some(match &record.network {
            Network::Host => NetworkNamespace::Host,
            Network::Path(path) => NetworkNamespace::Path(path.clone()),
            Network::None | Network::Pasta => NetworkNamespace::New,
        });
    }
    if matches!(record.network, Network::Host | Network::Pasta) {
        options.mounts.splice(0..0, names(prepared));
    }
    if rustix::process::geteuid().is_root() {
        if prepared.base.as_ref().is_none_or(|base| {
            base.linux().as_ref().is_none_or(|linux| linux.cgroups_path().is_none())
        }) {
            // Not below a group that several have: nobody would know whose it is to remove.
            options.cgroup.get_or_insert_with(|| format!("/richctl-{}", record.id).into());
        }
    } else {
        options.rootless = Some(own_ids());
    }
    Ok(options)
}

fn arguments(request: &Request, prepared: &PreparedRoot) -> Vec<String> {
    let image = &prepared.config;
    let given = !request.command.is_empty();
    let mut words = request.entrypoint.clone().unwrap_or_else(|| image.entrypoint.clone());
    if given {
        words.extend(request.command.iter().cloned());
    } else if request.entrypoint.is_none() {
        words.extend(image.command.iter().cloned());
    }
    words
}

/// How names are found: the host's way, where the image has a place for it.
fn names(prepared: &PreparedRoot) -> Option<Bind> {
    let source = fs::canonicalize("/etc/resolv.conf").ok()?;
    let options = ["bind", "ro", "nosuid", "nodev"].map(str::to_owned).to_vec();
    let has = |root: &Path| fs::symlink_metadata(root.join("etc")).is_ok_and(|etc| etc.is_dir());
    let there = has(&prepared.root) || prepared.layers.iter().any(|layer| has(layer));
    let target = PathBuf::from("/etc/resolv.conf");
    there.then(|| Bind { kind: "bind".into(), source, target, options })
}

/// The ids of who calls: subordinate ones too, where they can be mapped.
fn own_ids() -> Ids {
    let ids = users::own_ids();
    let can = program("newuidmap".into()).is_ok() && program("newgidmap".into()).is_ok();
    if can && ids.is_range() { ids } else { ids.alone() }
}

/// 32 hexadecimal digits.
fn new_id() -> Result<String> {
    let mut bytes = [0; 16];
    let count = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    if count.at("get", "random bytes")? < bytes.len() {
        return Err(Error::system("get random bytes: too few"));
    }
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
