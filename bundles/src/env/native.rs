//! Environments by richrun: no engine, no daemon.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::document::Document;
use super::engine::{Engine, Job};
use super::pod::{Notes, Started};
use super::service::{self, Supervised};
use super::template::{Bind, Published, Service};
use super::watch::Watcher;
use super::{Environment, foreground, forward};
use crate::error::{At, Error, Kind, Result};
use crate::image::digest::{Digest, hex};
use crate::image::fetch::{self, Options};
use crate::image::rootfs::{self, Rootfs};
use crate::image::store::{Record as Image, Store};
use crate::image::userns;
use crate::pasta::{self, Of};
use crate::runtime::program;
use crate::source::{Reference, SourceKind};
use crate::spec::{Identity, Ids};
use crate::store::{Format, LogOptions, Phase, Place, Record, Restart};
use crate::users;

/// Environments of the caller, by the OCI runtime `runtime`.
#[derive(Debug, Clone)]
pub struct Native {
    of: Environment,
    runtime: PathBuf,
    images: Store,
    notes: Notes,
    /// Containers' directories.
    data: PathBuf,
    options: Options,
}

/// How long a service may take to end, or to listen.
const GRACE: Duration = Duration::from_secs(10);

/// Where services' logs are rotated, in bytes, and how many files are kept.
const LOG_SIZE: u64 = 64 << 20;
const LOG_FILES: u32 = 4;

/// What a container is made of, beside its document.
struct Made {
    id: String,
    dir: PathBuf,
}

/// How a container is run.
#[derive(Debug, Clone, Copy)]
struct How {
    terminal: bool,
    /// It is never started anew: what it writes need not last.
    once: bool,
}

impl Native {
    /// The engine of an environment.
    ///
    /// # Errors
    /// Its directories cannot be made; there is no runtime.
    pub fn new(of: Environment, place: &Place, runtime: Option<&Path>) -> Result<Native> {
        let runtime = runtime.map_or_else(|| "richrun".into(), |path| path.as_os_str().to_owned());
        let data = place.data.join("env").join(&of.id);
        fs::create_dir_all(data.join("c")).at("make", data.display())?;
        Ok(Native {
            runtime: program(runtime)?,
            images: Store::open(&place.data.join("images"))?,
            notes: Notes::open(place.run.join("env").join(&of.id))?,
            data,
            options: Options::default(),
            of,
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.runtime);
        command.arg("--root").arg(self.notes.dir().join("runtime"));
        command.arg("--log").arg(self.notes.dir().join("log"));
        command
    }

    /// Runs a command of the runtime that says nothing.
    fn quiet(&self, words: &[&str]) -> Result<()> {
        let output = self.command().args(words).stdin(Stdio::null()).output();
        let output = output.at("run", self.runtime.display())?;
        if output.status.success() { Ok(()) } else { Err(self.said(&output.stderr)) }
    }

    fn said(&self, stderr: &[u8]) -> Error {
        let said = String::from_utf8_lossy(stderr).into_owned();
        let log = || fs::read_to_string(self.notes.dir().join("log")).unwrap_or_default();
        let last = if said.trim().is_empty() { log() } else { said };
        let last = last.trim().lines().last().unwrap_or("it failed and said nothing").to_owned();
        let message =
            last.split_once("msg=").map_or(last.as_str(), |(_, text)| text.trim_matches('"'));
        Error::new(Kind::Program, format!("richrun: {message}"))
    }

    /// A container's own directory, under a new id.
    fn make(&self) -> Result<Made> {
        let mut bytes = [0; 32];
        File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(&mut bytes))
            .at("read", "/dev/urandom")?;
        let id = hex(&bytes);
        let dir = self.data.join("c").join(&id);
        fs::create_dir_all(&dir).at("make", dir.display())?;
        Ok(Made { id, dir })
    }

    fn write(&self, made: &Made, document: &Document) -> Result<()> {
        let path = made.dir.join("config.json");
        fs::write(&path, document.json().to_string()).at("write", path.display())
    }

    /// Forgets a container that has ended.
    fn drop(&self, id: &str) -> Result<()> {
        rootfs::clean(&self.data.join("c").join(id), &self.options)
    }

    /// The first process of the pod, which is started where it does not run. The caller
    /// has the lock.
    fn pod(&self) -> Result<i32> {
        if let Some(pod) = self.notes.running("pod") {
            return Ok(pod.pid);
        }
        self.sweep();
        let made = self.make()?;
        let document = self.pod_document(&made)?;
        self.write(&made, &document)?;
        let started = self.launch(&made, &["--rich"], Stdio::null(), Stdio::null())?;
        let ready = self.connect(started.pid).and_then(|()| self.post_create(started.pid));
        if ready.is_err() {
            let _ = self.quiet(&["delete", "--force", &started.id]);
            self.disconnect();
            self.sweep();
        }
        ready?;
        self.notes.note("pod", &started)?;
        Ok(started.pid)
    }

    /// Its payload does nothing, and has nothing: the root file system is empty but for
    /// this program, which is static.
    fn pod_document(&self, made: &Made) -> Result<Document> {
        let root = made.dir.join("rootfs");
        fs::create_dir_all(&root).at("make", root.display())?;
        let hold = Bind {
            source: Some(self.options.program.display().to_string()),
            target: "/richctl".to_owned(),
            read_only: true,
        };
        let hostname = self.of.run_options()?.hostname.clone();
        Ok(Document {
            root,
            args: ["/richctl", "env", "hold"].map(str::to_owned).to_vec(),
            directory: "/".to_owned(),
            binds: vec![hold],
            hostname: hostname.or_else(|| Some(self.of.id.clone())),
            caps: (Vec::new(), vec!["ALL".to_owned()]),
            ids: self.ids(),
            cgroup: self.cgroup(&made.id),
            ..Document::default()
        })
    }

    fn ids(&self) -> Option<Ids> {
        (!userns::is_root()).then(users::own_ids)
    }

    fn cgroup(&self, id: &str) -> Option<String> {
        userns::is_initial_root().then(|| format!("/richctl-env-{}", &id[..16]))
    }

    fn launch(&self, made: &Made, words: &[&str], out: Stdio, err: Stdio) -> Result<Started> {
        let pid_file = made.dir.join("pid");
        let mut command = self.command();
        command.args(["run", "--detach"]).args(words).arg("--pid-file").arg(&pid_file);
        command.arg("--bundle").arg(&made.dir).arg(&made.id);
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let status = command.status().at("run", self.runtime.display())?;
        if !status.success() {
            let error = self.said(b"");
            let _ = self.drop(&made.id);
            return Err(error);
        }
        Started::read(&made.id, &pid_file)
    }

    /// Connects the pod's network with the host's: by pasta, and where that is not there,
    /// or may not make a network device, published ports by a process of ours.
    fn connect(&self, pid: i32) -> Result<()> {
        let ports = self.of.template.published()?;
        let why = match pasta::installed() {
            Ok(_) => match self.pasta(pid, &ports)? {
                None => return Ok(()),
                Some(said) => format!("pasta: {said}"),
            },
            Err(error) => error.to_string(),
        };
        eprintln!("richctl: warning: env: the pod has no network but its own: {why}");
        if ports.is_empty() {
            return Ok(());
        }
        forward::start(&self.options.program, pid, &ports)
    }

    /// Starts pasta; what it says where it cannot work on this host.
    fn pasta(&self, pid: i32, ports: &[Published]) -> Result<Option<String>> {
        let port = |port: &Published| pasta::Published {
            address: port.address.clone().unwrap_or_default(),
            host: port.host,
            inside: port.inside,
            udp: false,
        };
        let ports: Vec<pasta::Published> = ports.iter().map(port).collect();
        let note = self.notes.dir().join("pasta.pid");
        match pasta::connect(Of::Process { pid, note: &note }, &ports)? {
            Some(said) if said.contains("bind") => {
                Err(Error::new(Kind::Program, format!("env: publish ports: pasta: {said}")))
            }
            said => Ok(said),
        }
    }

    fn disconnect(&self) {
        if let Ok(text) = fs::read_to_string(self.notes.dir().join("pasta.pid"))
            && let Ok(pid) = text.trim().parse::<i32>()
            && fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| name.starts_with("pas"))
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }

    fn post_create(&self, pid: i32) -> Result<()> {
        for args in &self.of.template.post_create {
            let directory = self.of.top.display().to_string();
            let job = Job { args: args.clone(), directory, ..Job::default() };
            let status = self.run_in(pid, &job, None)?;
            if status != 0 {
                return Err(Error::new(
                    Kind::Program,
                    format!("env: {}: exit status {status}", args.join(" ")),
                ));
            }
        }
        Ok(())
    }

    /// The image of a name, found once for each start of the pod.
    fn image(&self, name: &str) -> Result<Image> {
        let path = self.notes.dir().join("images.json");
        let known = fs::read(&path).unwrap_or_default();
        let mut known: BTreeMap<String, String> =
            serde_json::from_slice(&known).unwrap_or_default();
        if let Some(id) = known.get(name)
            && let Some(record) = self.images.record(&Digest::parse(id)?)
        {
            return Ok(record);
        }
        let record = match self.images.find(name)? {
            // What a path names may be another image today.
            Some(record) if Reference::parse(name)?.is_none() => record,
            _ => fetch::ensure(&self.images, &self.reference(name)?, &self.options)?,
        };
        known.insert(name.to_owned(), record.id.clone());
        self.notes.write("images", &known)?;
        Ok(record)
    }

    fn reference(&self, name: &str) -> Result<Reference> {
        if let Some((kind, rest)) = name.split_once(':')
            && matches!(kind, "oci" | "oci-archive" | "docker-archive")
            && !rest.starts_with('/')
        {
            // Relative to the template's work tree.
            let name = format!("{kind}:{}", self.of.top.join(rest).display());
            return self.reference(&name);
        }
        if let Some(reference) = Reference::parse(name)? {
            return Ok(reference);
        }
        let mut podman = Command::new("podman");
        podman.args(["image", "exists", "--", name]).stdin(Stdio::null());
        podman.stdout(Stdio::null()).stderr(Stdio::null());
        if podman.status().is_ok_and(|status| status.success()) {
            return Ok(Reference::Podman(name.to_owned()));
        }
        if name.starts_with("localhost/") || !name.contains('/') {
            return Err(Error::new(
                Kind::NotFound,
                format!("image {name}: podman's store has none; write docker://{name}, or oci:DIR"),
            ));
        }
        Ok(Reference::Registry(name.to_owned()))
    }

    /// The root of a container, and what the image says.
    fn root(&self, image: Option<&str>, dir: &Path, once: bool) -> Result<(Rootfs, Option<Image>)> {
        let template = &self.of.template;
        if let Some(name) = image.or(template.image.as_deref()) {
            if let Ok(SourceKind::Rootfs(path)) = SourceKind::parse(name)
                && name.starts_with('/')
            {
                return Ok((rootfs::over(&self.images, vec![path], dir, once)?, None));
            }
            let record = self.image(name)?;
            let root = rootfs::prepare(&self.images, &record, dir, once, &self.options)?;
            return Ok((root, Some(record)));
        }
        let path = self.of.top.join(template.rootfs.as_deref().unwrap_or(Path::new("")));
        let path = path.canonicalize().at("find the root file system", path.display())?;
        Ok((rootfs::over(&self.images, vec![path], dir, once)?, None))
    }

    fn binds(&self) -> Result<Vec<Bind>> {
        let top = self.of.top.display().to_string();
        let bind = |source: &str, target: &str, read_only| Bind {
            source: Some(source.to_owned()),
            target: target.to_owned(),
            read_only,
        };
        let mut binds = vec![bind(&top, &top, false), bind(&top, "/qpod", false)];
        if let Some(workspace) = &self.of.template.workspace {
            binds.push(bind(&top, &workspace.display().to_string(), false));
        }
        for mount in &self.of.template.mounts {
            binds.push(mount.bind()?);
        }
        binds.extend(self.of.run_options()?.mounts.iter().cloned());
        let hosts = self.data.join("hosts");
        fs::write(&hosts, self.hosts()).at("write", hosts.display())?;
        binds.push(bind(&hosts.display().to_string(), "/etc/hosts", true));
        if Path::new("/etc/resolv.conf").exists() {
            binds.push(bind("/etc/resolv.conf", "/etc/resolv.conf", true));
        }
        for bind in &mut binds {
            if let Some(source) = &bind.source
                && !source.starts_with('/')
            {
                bind.source = Some(self.of.top.join(source).display().to_string());
            }
        }
        // What lies in another mount comes after it.
        binds.sort_by_key(|bind| Path::new(&bind.target).components().count());
        binds.dedup_by(|later, first| later.target == first.target);
        Ok(binds)
    }

    /// All of a pod's services are at its own address.
    fn hosts(&self) -> String {
        let services = self.of.template.services.iter().map(|service| service.name.as_str());
        let names: Vec<&str> = ["localhost", &self.of.id].into_iter().chain(services).collect();
        format!("127.0.0.1 {}\n::1 localhost\n", names.join(" "))
    }

    /// A container that joins the pod.
    fn document(&self, made: &Made, pid: i32, job: &Job, how: How) -> Result<Document> {
        let How { terminal, once } = how;
        let options = self.of.run_options()?;
        let (root, record) = self.root(job.image.as_deref(), &made.dir, once)?;
        let settings = record.map(|record| record.config.settings()).unwrap_or_default();
        let user = options.user.as_deref().or(self.of.template.user.as_deref());
        let user = user.filter(|_| userns::is_root()).or(settings.user.as_deref());
        let identity = match user {
            // An ordinary user's files are root's in his namespace, and nobody else's.
            Some(name) if !name.is_empty() && userns::is_root() => {
                users::look_up(&root.layers, name)?
            }
            _ => Identity { home: Some("/root".to_owned()), ..Identity::default() },
        };
        let mut more: Vec<String> =
            vec![format!("HOME={}", identity.home.as_deref().unwrap_or("/"))];
        more.extend(settings.environment(&[]));
        more.push(format!("RICHCTL_ENV={}", self.of.id));
        let template = &self.of.template.environment;
        more.extend(template.iter().map(|(name, value)| format!("{name}={value}")));
        more.extend(options.environment.iter().chain(&job.environment).cloned());
        if terminal && let Ok(term) = std::env::var("TERM") {
            more.push(format!("TERM={term}"));
        }
        let args = settings.command(options.entrypoint.as_deref(), &job.args);
        let args = if job.args.is_empty() || options.entrypoint.is_some() {
            args
        } else {
            job.args.clone()
        };
        if args.is_empty() {
            return Err(Error::usage("env: neither the template nor the image has a command"));
        }
        Ok(Document {
            root: root.path,
            overlay: root.mount,
            read_only: options.read_only,
            args,
            environment: crate::image::config::Settings::default().environment(&values(&more)),
            directory: job.directory.clone(),
            identity,
            terminal,
            privileged: options.privileged,
            caps: (options.cap_add.clone(), options.cap_drop.clone()),
            binds: self.binds()?,
            hostname: None,
            join: Some(pid),
            ids: self.ids(),
            cgroup: self.cgroup(&made.id),
        })
    }

    fn run_in(&self, pid: i32, job: &Job, watcher: Option<Watcher>) -> Result<u8> {
        let terminal = self.of.run_options()?.tty || self.of.template.default_run_args.is_empty();
        let terminal = terminal && io::stdin().is_terminal() && io::stdout().is_terminal();
        let made = self.make()?;
        let run = || {
            self.write(&made, &self.document(&made, pid, job, How { terminal, once: true })?)?;
            let mut command = self.command();
            command.arg("run").arg("--bundle").arg(&made.dir).arg(&made.id);
            let restart = |name: &str| {
                let Some(service) = self.of.template.service(name) else { return Ok(()) };
                if self.running(service)?.is_some() {
                    self.stop(service)?;
                    eprintln!("{}", self.start(service)?);
                }
                Ok(())
            };
            foreground::run(command, watcher, &restart)
        };
        let status = run();
        self.drop(&made.id)?;
        status
    }

    /// What was left by commands whose richctl was killed.
    fn sweep(&self) {
        let _ = fs::remove_file(self.notes.dir().join("images.json"));
        for entry in fs::read_dir(self.data.join("c")).into_iter().flatten().flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            let _ = self.quiet(&["delete", "--force", &id]);
            let _ = self.drop(&id);
        }
    }

    fn log_path(&self, service: &Service) -> PathBuf {
        self.data.join(format!("{}.log", service.name))
    }

    /// The container of a service that was started last, and its monitor's.
    fn supervised(&self, service: &Service) -> Option<(String, Supervised)> {
        let name = service_note(service);
        let id: String = self.notes.read(&name)?;
        let run = self.notes.dir().join(&name);
        let supervised = Supervised::of(&service.name, &self.data.join("c").join(&id), run);
        Some((id, supervised))
    }

    /// What its monitor is told of a service.
    fn record(&self, service: &Service, made: &Made) -> Record {
        let image = service.image.as_deref().or(self.of.template.image.as_deref());
        let image = image.and_then(|name| self.image(name).ok());
        Record {
            id: made.id.clone(),
            name: service.name.clone(),
            created: jiff::Timestamp::now(),
            command: service.command.0.clone(),
            runtime: self.runtime.clone(),
            runtime_root: self.notes.dir().join("runtime"),
            bundle: made.dir.clone(),
            restart: service.restart.policy,
            stop_signal: image.and_then(|image| image.config.settings().stop_signal),
            stop_timeout: Some(GRACE.as_secs() as u32),
            log: LogOptions {
                format: Format::Plain,
                path: self.log_path(service),
                max_size: LOG_SIZE,
                max_files: LOG_FILES,
                ..LogOptions::default()
            },
            ..Record::default()
        }
    }
}

/// Under which name a service is noted.
fn service_note(service: &Service) -> String {
    format!("service-{}", service.name)
}

/// Variables with values: a bare name's is the caller's.
fn values(variables: &[String]) -> Vec<String> {
    let value = |variable: &String| match variable.contains('=') {
        true => Some(variable.clone()),
        false => std::env::var(variable).ok().map(|value| format!("{variable}={value}")),
    };
    variables.iter().filter_map(value).collect()
}

/// Ports at which something listens in the network of a process.
fn listening(pid: i32) -> Vec<u16> {
    let tables = ["tcp", "tcp6"]
        .map(|name| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default());
    let port = |line: &str| {
        let mut fields = line.split_whitespace();
        let (local, state) = (fields.nth(1)?, fields.nth(1)?);
        let port = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
        (state == "0A").then_some(port)
    };
    tables.iter().flat_map(|table| table.lines()).filter_map(port).collect()
}

impl Engine for Native {
    fn run(&self, job: &Job, watcher: Option<Watcher>) -> Result<u8> {
        let lock = self.notes.lock()?;
        let pid = self.pod()?;
        drop(lock);
        self.run_in(pid, job, watcher)
    }

    fn running(&self, service: &Service) -> Result<Option<String>> {
        if self.notes.running("pod").is_none() {
            return Ok(None);
        }
        let Some((id, service)) = self.supervised(service) else { return Ok(None) };
        Ok(service.is_running()?.then_some(id))
    }

    fn start(&self, service: &Service) -> Result<String> {
        let _lock = self.notes.lock()?;
        if let Some(id) = self.running(service)? {
            return Ok(id);
        }
        let pid = self.pod()?;
        if let Some((old, supervised)) = self.supervised(service) {
            // It may be of a pod that is gone.
            supervised.stop()?;
            let _ = self.quiet(&["delete", "--force", &old]);
            let _ = self.drop(&old);
        }
        let made = self.make()?;
        let directory = service.directory.clone().unwrap_or_default();
        let variables = service.environment.iter();
        let job = Job {
            args: service.command.0.clone(),
            image: service.image.clone(),
            environment: variables.map(|(name, value)| format!("{name}={value}")).collect(),
            directory: self.of.top.join(directory).display().to_string(),
        };
        let once = service.restart.policy == Restart::No;
        let how = How { terminal: false, once };
        self.write(&made, &self.document(&made, pid, &job, how)?)?;
        let name = service_note(service);
        self.notes.write(&name, &made.id)?;
        let supervised = Supervised::of(&service.name, &made.dir, self.notes.dir().join(&name));
        if let Err(error) = supervised.begin(&self.record(service, &made)) {
            self.notes.forget(&name);
            let _ = self.quiet(&["delete", "--force", &made.id]);
            let _ = self.drop(&made.id);
            return Err(error);
        }
        Ok(made.id)
    }

    fn ready(&self, service: &Service) -> Result<()> {
        let Some((_, supervised)) = self.supervised(service) else { return Ok(()) };
        let mut ports = Vec::new();
        for port in &service.ports {
            ports.push(port.published()?.inside);
        }
        let began = Instant::now();
        while !ports.is_empty() && began.elapsed() < GRACE {
            let life = supervised.life()?;
            if !matches!(life.phase, Phase::Running | Phase::Restarting) {
                let log = fs::read_to_string(self.log_path(service)).unwrap_or_default();
                let last = log.lines().last().unwrap_or("it said nothing").to_owned();
                return Err(Error::new(
                    Kind::Program,
                    format!("service {}: it has ended at once: {last}", service.name),
                ));
            }
            let listening = life.pid.map(listening).unwrap_or_default();
            ports.retain(|port| !listening.contains(port));
            std::thread::sleep(Duration::from_millis(5));
        }
        if let Some(port) = ports.first() {
            eprintln!(
                "richctl: warning: service {}: nothing listens at port {port} after {} s",
                service.name,
                GRACE.as_secs()
            );
        }
        Ok(())
    }

    fn stop(&self, service: &Service) -> Result<()> {
        let _lock = self.notes.lock()?;
        let Some((id, supervised)) = self.supervised(service) else { return Ok(()) };
        supervised.stop()?;
        self.quiet(&["delete", "--force", &id])?;
        self.notes.forget(&service_note(service));
        self.drop(&id)
    }

    fn logs(&self, service: &Service, follow: bool) -> Result<()> {
        service::print(&self.log_path(service), follow)
    }

    fn is_up(&self) -> Result<bool> {
        Ok(self.notes.running("pod").is_some())
    }

    fn down(&self) -> Result<()> {
        let mut services = Vec::new();
        for service in &self.of.template.services {
            services.extend(self.of.template.order(std::slice::from_ref(&service.name))?);
        }
        for service in services.into_iter().rev() {
            self.stop(service)?;
        }
        let _lock = self.notes.lock()?;
        self.disconnect();
        // Its end ends all that is left in its namespaces.
        if let Some(pod) = self.notes.started("pod") {
            self.quiet(&["delete", "--force", &pod.id])?;
            self.notes.forget("pod");
        }
        self.sweep();
        Ok(())
    }

    fn remove(&self) -> Result<()> {
        self.down()?;
        rootfs::clean(&self.data, &self.options)?;
        rootfs::clean(self.notes.dir(), &self.options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_listening_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(listening(own).contains(&port));
        drop(listener);
        assert!(!listening(own).contains(&port));
    }
}
