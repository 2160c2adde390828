//! Environments by podman on richrun: the command lines of QPOD.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::engine::{Engine, Job};
use super::template::Service;
use super::watch::Watcher;
use super::{Environment, foreground};
use crate::error::{At, Error, Kind, Result};
use crate::runtime::program;

/// Environments of the caller, by podman.
#[derive(Debug, Clone)]
pub struct Podman {
    of: Environment,
    runtime: Option<PathBuf>,
}

impl Podman {
    /// The engine of an environment; podman's own runtime where there is no richrun.
    ///
    /// # Errors
    /// The runtime that was asked for is not there.
    pub fn new(of: Environment, runtime: Option<&Path>) -> Result<Podman> {
        let runtime = match runtime {
            Some(path) => Some(program(path.as_os_str().to_owned())?),
            None => program("richrun".into()).ok(),
        };
        Ok(Podman { of, runtime })
    }

    fn pod(&self) -> String {
        format!("qpod-{}", self.of.id)
    }

    fn container(&self, service: &Service) -> String {
        format!("qpod-{}-{}", self.of.id, service.name)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("podman");
        if let Some(runtime) = &self.runtime {
            command.arg("--runtime").arg(runtime);
        }
        command.args(words);
        command
    }

    fn ask(&self, mut command: Command) -> Result<String> {
        let output = command.stdin(Stdio::null()).output().at("run", "podman")?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().lines().last().unwrap_or("it says nothing").to_owned();
        Err(Error::new(Kind::Program, format!("podman: {said}")))
    }

    fn has(&self, what: &str, name: &str) -> Result<bool> {
        let mut command = self.command(&[what, "exists", name]);
        let status = command.stdin(Stdio::null()).status().at("run", "podman")?;
        Ok(status.success())
    }

    /// Makes the pod where there is none: ports are its own.
    fn ensure(&self) -> Result<()> {
        if self.has("pod", &self.pod())? {
            return Ok(());
        }
        let mut command = self.command(&["pod", "create", "--share", "net,ipc,uts,pid"]);
        command.arg("--name").arg(self.pod());
        for port in self.of.template.published()? {
            let address = port.address.map_or_else(String::new, |text| format!("{text}:"));
            command.arg("-p").arg(format!("{address}{}:{}", port.host, port.inside));
        }
        self.ask(command).map(drop)
    }

    /// `podman run` up to the image and the command, without the options of its kind.
    fn run_words(&self, job: &Job, more: &[String]) -> Result<Vec<String>> {
        let top = self.of.top.display();
        let mut words = vec!["run".to_owned()];
        words.extend_from_slice(more);
        let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
        option("--pod", self.pod());
        option("-v", format!("{top}:{top}"));
        option("-v", format!("{top}:/qpod"));
        if let Some(workspace) = &self.of.template.workspace {
            option("-v", format!("{top}:{}", workspace.display()));
        }
        for mount in &self.of.template.mounts {
            let bind = mount.bind()?;
            let write = if bind.read_only { "ro" } else { "rw" };
            match bind.source {
                Some(source) => option("-v", format!("{source}:{}:{write}", bind.target)),
                None => option("--tmpfs", bind.target),
            }
        }
        for (name, value) in &self.of.template.environment {
            option("-e", format!("{name}={value}"));
        }
        for variable in &job.environment {
            option("-e", variable.clone());
        }
        if let Some(user) = &self.of.template.user {
            option("--user", user.clone());
        }
        option("-w", job.directory.clone());
        let image = job.image.as_ref().or(self.of.template.image.as_ref());
        match (image, &self.of.template.rootfs) {
            (Some(image), _) => words.push(image.clone()),
            (None, Some(rootfs)) => {
                words.extend([
                    "--rootfs".to_owned(),
                    self.of.top.join(rootfs).display().to_string(),
                ]);
            }
            (None, None) => {}
        }
        words.extend_from_slice(&job.args);
        Ok(words)
    }
}

impl Engine for Podman {
    fn run(&self, job: &Job, watcher: Option<Watcher>) -> Result<u8> {
        self.ensure()?;
        let mut options = self.of.template.default_run_args.clone();
        if options.is_empty() {
            options.push("--rm".to_owned());
        }
        let words = self.run_words(job, &options)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let restart = |name: &str| {
            let Some(service) = self.of.template.service(name) else { return Ok(()) };
            if self.running(service)?.is_some() {
                self.stop(service)?;
                eprintln!("{}", self.start(service)?);
            }
            Ok(())
        };
        foreground::run(self.command(&words), watcher, &restart)
    }

    fn running(&self, service: &Service) -> Result<Option<String>> {
        let name = self.container(service);
        let mut command = self.command(&["ps", "--no-trunc", "--format", "{{.ID}}", "--filter"]);
        command.arg(format!("name=^{name}$"));
        let id = self.ask(command)?;
        Ok((!id.is_empty()).then_some(id))
    }

    fn start(&self, service: &Service) -> Result<String> {
        self.ensure()?;
        let directory = service.directory.clone().unwrap_or_default();
        let variables = service.environment.iter();
        let job = Job {
            args: service.command.0.clone(),
            image: service.image.clone(),
            environment: variables.map(|(name, value)| format!("{name}={value}")).collect(),
            directory: self.of.top.join(directory).display().to_string(),
        };
        let mut options =
            ["-d", "--replace", "--name", &self.container(service)].map(str::to_owned).to_vec();
        if !service.restart.word.is_empty() {
            options.extend(["--restart".to_owned(), service.restart.word.clone()]);
        }
        let words = self.run_words(&job, &options)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.ask(self.command(&words))
    }

    fn ready(&self, _: &Service) -> Result<()> {
        Ok(())
    }

    fn stop(&self, service: &Service) -> Result<()> {
        let name = self.container(service);
        if !self.has("container", &name)? {
            return Ok(());
        }
        self.ask(self.command(&["rm", "--force", "--time", "10", &name])).map(drop)
    }

    fn logs(&self, service: &Service, follow: bool) -> Result<()> {
        let mut command = self.command(&["logs"]);
        command.args(follow.then_some("--follow")).arg(self.container(service));
        let status = command.status().at("run", "podman")?;
        if status.success() {
            Ok(())
        } else {
            Err(Error::new(Kind::Program, format!("podman: {status}")))
        }
    }

    fn is_up(&self) -> Result<bool> {
        self.has("pod", &self.pod())
    }

    fn down(&self) -> Result<()> {
        if self.is_up()? {
            self.ask(self.command(&["pod", "rm", "--force", &self.pod()]))?;
        }
        Ok(())
    }

    fn remove(&self) -> Result<()> {
        self.down()
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::json;
    use super::*;

    #[test]
    fn the_pages_command_line() {
        let text = r#"{"name": "qpod", "image": "localhost/centos7-qpod:latest",
            "mounts": [{"source": "/tmp"}], "defaultRunArgs": ["-it", "--rm", "--privileged"]}"#;
        let of = Environment {
            top: "/src".into(),
            template: json(text).unwrap(),
            path: "/src/.qpod.json".into(),
            options: super::super::options::parse(&[]),
            id: "qpod-1".to_owned(),
            warnings: Vec::new(),
        };
        let podman = Podman { of, runtime: None };
        let job = Job { args: vec!["waf".into()], directory: "/src/a".into(), ..Job::default() };
        let words = podman.run_words(&job, &podman.of.template.default_run_args).unwrap();
        assert_eq!(
            words.join(" "),
            "run -it --rm --privileged --pod qpod-qpod-1 -v /src:/src -v /src:/qpod -v /tmp:/tmp:rw \
             -w /src/a localhost/centos7-qpod:latest waf"
        );
    }
}
