//! The options that `run` and `create` have in common, and the request that they make.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::container::Request;
use crate::error::{At, Error, Result};
use crate::spec::{Options, memory_size, parse_mount, parse_volume};
use crate::store::{Driver, Format, Network, Port, Restart};

/// Which way output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogDriver {
    /// Nowhere.
    None,
    /// A file.
    #[default]
    File,
    /// systemd's journal.
    Journald,
}

/// How a log file looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// With time and stream, as Kubernetes has it.
    #[default]
    Cri,
    /// The bytes as they come.
    Plain,
}

/// What a container is asked to be.
#[derive(Debug, Clone, Args)]
pub struct ContainerArgs {
    /// The container's name [default: the beginning of its id]
    #[arg(long, value_name = "N")]
    pub name: Option<String>,
    /// A label; may be repeated
    #[arg(short, long, value_name = "K=V")]
    pub label: Vec<String>,
    /// A variable; K alone takes the caller's value
    #[arg(short, long, value_name = "K=V")]
    pub env: Vec<String>,
    /// A file with a variable a line
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// A mount: type=bind,source=A,target=B[,ro]
    #[arg(long, value_name = "MOUNT")]
    pub mount: Vec<String>,
    /// A directory or file of the host's
    #[arg(short, long, value_name = "A:B[:ro]")]
    pub volume: Vec<String>,
    /// A tmpfs
    #[arg(long, value_name = "DIR")]
    pub tmpfs: Vec<String>,
    /// The network: none, host, pasta, or a network namespace by its name in /run/netns or path
    /// [default: a bundle's own, else none]
    #[arg(long, visible_alias = "network", value_name = "NET")]
    pub netns: Option<String>,
    /// Publish a port (with --netns pasta): [ADDRESS:]HOST:CONTAINER[/udp]
    #[arg(short, long, value_name = "PORT")]
    pub publish: Vec<String>,
    /// When to start it anew: no, on-failure[:N], always, unless-stopped
    #[arg(long, value_name = "POLICY", default_value = "no")]
    pub restart: String,
    /// Under an init as PID 1 (see richrun run --rich)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    pub rich: Option<bool>,
    /// Which PID 1: dumb-init, init, systemd, sbin-init or auto
    #[arg(long, value_name = "MODE")]
    pub rich_mode: Option<String>,
    /// Run a file of the container before the payload; needs --rich
    #[arg(long, value_name = "FILE")]
    pub initscript: Option<String>,
    /// Run a command line in the container before the payload; needs --rich
    #[arg(long, value_name = "CMD")]
    pub initcmd: Option<String>,
    /// Describe services beside the payload (TOML or JSON); needs --rich
    #[arg(long, value_name = "FILE")]
    pub services: Option<PathBuf>,
    /// Memory: a number with k, m or g
    #[arg(short, long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Processors: 0.5, 2
    #[arg(long, value_name = "N")]
    pub cpus: Option<f64>,
    /// Processes and threads
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub pids_limit: Option<i64>,
    /// Who runs the command: USER[:GROUP], names of the image or numbers
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// The directory that the command runs in
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// The name of the host, seen inside
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Instead of the image's words before the command
    #[arg(long, value_name = "WORD")]
    pub entrypoint: Option<String>,
    /// Nobody may write to the root file system
    #[arg(long)]
    pub read_only: bool,
    /// Forget the container when it has ended
    #[arg(long)]
    pub rm: bool,
    /// Keep standard input open
    #[arg(short, long)]
    pub interactive: bool,
    /// With a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// What asks it to end [default: the image's, else TERM]
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<String>,
    /// Seconds until it is killed then
    #[arg(long, value_name = "S")]
    pub stop_timeout: Option<u32>,
    /// Which way its output goes
    #[arg(long, value_name = "DRIVER", value_enum, default_value = "file")]
    pub log_driver: LogDriver,
    /// How the log file looks
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "cri")]
    pub log_format: LogFormat,
    /// The log is DIR/NS/NAME.log [default: below the data directory]
    #[arg(long, value_name = "DIR")]
    pub log_dir: Option<PathBuf>,
    /// A log file is rotated when it has so many bytes
    #[arg(long, value_name = "SIZE", default_value = "64m")]
    pub log_size: String,
    /// So many log files are kept
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub log_files: u32,
    /// A bundle, a directory that is a root file system, oci:DIR[:TAG], oci-archive:FILE,
    /// docker-archive:FILE, containers-storage:IMAGE or docker://REF
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// The command, instead of the source's
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

impl ContainerArgs {
    /// The request.
    ///
    /// # Errors
    /// Words that make no sense.
    pub fn request(&self) -> Result<Request> {
        let cwd = std::env::current_dir().at("find", "the current directory")?;
        let options = Options {
            env: self.environment()?,
            cwd: self.workdir.clone(),
            hostname: self.hostname.clone(),
            readonly: self.read_only,
            mounts: self.mounts(&cwd)?,
            memory: self.memory.as_deref().map(memory_size).transpose()?,
            cpus: self.cpus.map(processors).transpose()?,
            pids: self.pids_limit,
            ..Options::default()
        };
        let network = self.netns.as_deref().map(network);
        let ports: Vec<Port> = self.publish.iter().map(|word| port(word)).collect::<Result<_>>()?;
        if !ports.is_empty() && network != Some(Network::Pasta) {
            return Err(Error::usage(
                "--publish: only a network of pasta's has ports to publish (--netns pasta)",
            ));
        }
        Ok(Request {
            source: self.source.clone(),
            command: self.command.clone(),
            entrypoint: self.entrypoint.as_ref().map(|word| words(word)),
            name: self.name.clone(),
            labels: labels(&self.label)?,
            user: self.user.clone(),
            options,
            network,
            ports,
            restart: restart(&self.restart)?,
            remove: self.rm,
            terminal: self.tty,
            interactive: self.interactive,
            launch_options: self.launch_options(&cwd),
            stop_signal: self.stop_signal.clone(),
            stop_timeout: self.stop_timeout,
            log: self.log(&cwd)?,
            pod: None,
        })
    }

    fn environment(&self) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for path in &self.env_file {
            let text = fs::read_to_string(path).at("read", path.display())?;
            let lines = text.lines().map(str::trim);
            all.extend(
                lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned),
            );
        }
        all.extend(self.env.iter().cloned());
        let full = |word: String| {
            if word.contains('=') {
                return Some(word);
            }
            std::env::var(&word).ok().map(|value| format!("{word}={value}"))
        };
        Ok(all.into_iter().filter_map(full).collect())
    }

    fn mounts(&self, cwd: &Path) -> Result<Vec<crate::spec::Bind>> {
        let mut all = Vec::new();
        for word in &self.mount {
            all.push(parse_mount(word, cwd)?);
        }
        for word in &self.volume {
            all.push(parse_volume(word, cwd)?);
        }
        for dir in &self.tmpfs {
            all.push(parse_mount(&format!("type=tmpfs,target={dir}"), cwd)?);
        }
        Ok(all)
    }

    fn launch_options(&self, cwd: &Path) -> Vec<String> {
        let mut all = Vec::new();
        if let Some(rich) = self.rich {
            all.push(format!("--rich={rich}"));
        }
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                all.push(format!("--{name}"));
                all.push(value);
            }
        };
        put("rich-mode", self.rich_mode.clone());
        put("initscript", self.initscript.clone());
        put("initcmd", self.initcmd.clone());
        put("services", self.services.as_ref().map(|file| cwd.join(file).display().to_string()));
        all
    }

    fn log(&self, cwd: &Path) -> Result<crate::container::LogRequest> {
        Ok(crate::container::LogRequest {
            driver: match self.log_driver {
                LogDriver::None => Driver::None,
                LogDriver::File => Driver::File,
                LogDriver::Journald => Driver::Journald,
            },
            format: match self.log_format {
                LogFormat::Cri => Format::Cri,
                LogFormat::Plain => Format::Plain,
            },
            dir: self.log_dir.as_ref().map(|dir| cwd.join(dir)),
            max_size: memory_size(&self.log_size)? as u64,
            max_files: self.log_files,
        })
    }
}

/// `K=V` words.
pub(super) fn labels(words: &[String]) -> Result<BTreeMap<String, String>> {
    let pair = |word: &String| match word.split_once('=') {
        Some(("", _)) | None if word.starts_with('=') || word.is_empty() => {
            Err(Error::usage(format!("label {word:?}: KEY=VALUE is wanted")))
        }
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Ok((word.clone(), String::new())),
    };
    words.iter().map(pair).collect()
}

/// An entrypoint: a JSON list, else one word.
fn words(word: &str) -> Vec<String> {
    if word.is_empty() {
        return Vec::new();
    }
    serde_json::from_str(word).unwrap_or_else(|_| vec![word.to_owned()])
}

fn processors(number: f64) -> Result<f64> {
    if number.is_finite() && number >= 0.01 {
        return Ok(number);
    }
    Err(Error::usage(format!("--cpus {number}: at least 0.01 is wanted")))
}

fn network(word: &str) -> Network {
    match word {
        "none" => Network::None,
        "host" => Network::Host,
        "pasta" => Network::Pasta,
        path if path.contains('/') => Network::Path(path.into()),
        name => Network::Path(Path::new("/run/netns").join(name)),
    }
}

/// `[ADDRESS:]HOST:CONTAINER[/tcp|/udp]`.
fn port(word: &str) -> Result<Port> {
    let wrong = || Error::usage(format!("port {word:?}: [ADDRESS:]HOST:CONTAINER[/udp] is wanted"));
    let (rest, udp) = match word.split_once('/') {
        None | Some((_, "tcp")) => (word.split('/').next().unwrap_or_default(), false),
        Some((rest, "udp")) => (rest, true),
        Some(_) => return Err(wrong()),
    };
    let (rest, container) = rest.rsplit_once(':').ok_or_else(wrong)?;
    let (address, host) = rest.rsplit_once(':').unwrap_or(("", rest));
    let number = |word: &str| word.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong);
    Ok(Port {
        address: address.trim_matches(['[', ']']).to_owned(),
        host: number(host)?,
        container: number(container)?,
        udp,
    })
}

fn restart(word: &str) -> Result<Restart> {
    Restart::parse(word).ok_or_else(|| {
        Error::usage(format!("--restart {word}: no, on-failure[:N], always or unless-stopped"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        let found = port("127.0.0.1:8080:80/udp").expect("a port");
        assert_eq!(
            (found.address.as_str(), found.host, found.container, found.udp),
            ("127.0.0.1", 8080, 80, true)
        );
        assert_eq!(port("1:2").expect("a port").address, "");
        assert_eq!(port("[::1]:1:2").expect("a port").address, "::1");
        for wrong in ["", "80", "a:b", "0:1", "1:2/sctp", "70000:1"] {
            assert!(port(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn restarts() {
        assert_eq!(restart("on-failure:3").expect("a policy"), Restart::OnFailure(Some(3)));
        for wrong in ["", "maybe", "on-failure:", "on-failure:x", "always:3"] {
            assert!(restart(wrong).is_err(), "{wrong}");
        }
    }
}
