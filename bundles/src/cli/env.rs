//! `richctl env`: environments.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Args, Subcommand, ValueEnum};

use super::Global;
use crate::env::Environment;
use crate::env::engine::{self, Engine, Job};
use crate::env::forward;
use crate::env::native::Native;
use crate::env::place::{self, Force, Where};
use crate::env::podman::Podman;
use crate::env::watch::Watcher;
use crate::error::{At, Error, Kind, Result};
use crate::store::Place;

/// What `--help` says below all.
const AFTER: &str = "\
The template is the first of these files that the work tree has: .qpod/template.json, .qpod.json,
qpod.json, qpod.toml, .qpod/template.toml, .devcontainer/devcontainer.json, .devcontainer.json.

  {
      \"name\": \"shop\",
      \"image\": \"oci:image\",
      \"binaries\": [{ \"name\": \"waf\", \"depends\": [\"web\"] }],
      \"services\": [{
          \"name\": \"web\", \"command\": [\"web\"], \"ports\": [8000],
          \"start\": \"needed\", \"content\": [\"plugins/**/*.so\"]
      }]
  }

  richctl env service list     web (stopped, web: 8000)
  richctl env run waf          starts web, then waf, both in the environment's pod
  eval \"$(richctl env shims)\"  now `waf` alone is enough

A service starts `auto` (before any container), when it is `needed` (the default), or `manual`.
The work tree is mounted at its own path and at /qpod.";

/// `richctl env`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct EnvArgs {
    /// Who runs the containers
    #[arg(long, value_enum, default_value = "native", env = "RICHCTL_ENV_ENGINE")]
    engine: EngineName,
    /// The template [default: the work tree's own]
    #[arg(long, value_name = "FILE", env = "RICHCTL_ENV_TEMPLATE")]
    template: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EngineName {
    /// richrun alone
    Native,
    /// podman on richrun
    Podman,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a command where it belongs: in a container of the environment, or on the host
    ///
    /// The environment is the git work tree that the current directory lies in. A program
    /// that lies inside it runs in a container, and so does one that the template lists among
    /// its binaries; all others run on the host. RICHCTL_ENV_FORCE=container (or host)
    /// overrules that. Services that the template starts for all, or that the binary depends
    /// on, are started before; their ids go to standard error.
    Run(RunArgs),
    /// Write shims: small scripts, one for each binary of the template, for the PATH
    Shims {
        /// Where [default: $HOME/.local/share/richctl/shims]
        directory: Option<PathBuf>,
    },
    /// Steer the environment's services
    Service {
        #[command(subcommand)]
        verb: ServiceVerb,
    },
    /// Show the environment of the current directory
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a shell in the environment
    Shell,
    /// Stop the environment: its services, its commands, its pod
    Stop,
    /// Stop it, and remove what it has written beside the work tree: logs
    Rm,
    /// Hold a pod's namespaces
    #[command(hide = true)]
    Hold,
    /// Carry connections into a pod
    #[command(hide = true)]
    Forward {
        #[arg(long)]
        pid: i32,
        ports: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct RunArgs {
    /// A variable of the command, NAME=VALUE or the name of one of yours
    #[arg(long, short, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// On the host where there is no environment: what a shim asks for
    #[arg(long, hide = true)]
    shim: bool,
    /// The command
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

#[derive(Debug, Subcommand)]
enum ServiceVerb {
    /// List services, whether they run, and their ports
    #[command(visible_alias = "ls")]
    List,
    /// Start a service and what it depends on, and print their ids
    Start {
        #[arg(required = true)]
        services: Vec<String>,
    },
    /// Stop services
    Stop {
        #[arg(required = true)]
        services: Vec<String>,
    },
    /// Stop and start services, and print their ids
    Restart {
        #[arg(required = true)]
        services: Vec<String>,
    },
    /// Print what a service has written
    Logs {
        /// Print what it writes, too, until it is interrupted
        #[arg(long, short)]
        follow: bool,
        service: String,
    },
}

/// Does it.
///
/// # Errors
/// As the environments' own calls.
pub fn run(global: &Global, args: &EnvArgs) -> Result<u8> {
    match &args.verb {
        Verb::Hold => loop {
            std::thread::park();
        },
        Verb::Forward { pid, ports } => {
            forward::main(*pid, ports)?;
            return Ok(0);
        }
        Verb::Run(run) => return command(global, args, run),
        Verb::Shell => return shell(global, args),
        Verb::Shims { directory } => {
            shims(&find(args)?, directory.as_deref())?;
            return Ok(0);
        }
        _ => {}
    }
    let of = find(args)?;
    let engine = engine_of(global, args, &of)?;
    let engine = &*engine;
    match &args.verb {
        Verb::Service { verb } => service(engine, &of, verb)?,
        Verb::Status { json } => status(engine, &of, *json)?,
        Verb::Stop => engine.down()?,
        _ => engine.remove()?,
    }
    Ok(0)
}

fn find(args: &EnvArgs) -> Result<Environment> {
    let here = std::env::current_dir().at("find", "the current directory")?;
    let of = Environment::find(&here, args.template.as_deref())?;
    for warning in &of.warnings {
        eprintln!("richctl: warning: {warning}");
    }
    Ok(of)
}

fn engine_of(global: &Global, args: &EnvArgs, of: &Environment) -> Result<Box<dyn Engine>> {
    let runtime = global.runtime.as_deref();
    Ok(match args.engine {
        EngineName::Native => {
            let place = Place::find(global.root.as_deref())?;
            Box::new(Native::new(of.clone(), &place, runtime)?)
        }
        EngineName::Podman => Box::new(Podman::new(of.clone(), runtime)?),
    })
}

fn force() -> Result<Option<Force>> {
    match std::env::var("RICHCTL_ENV_FORCE").as_deref() {
        Ok("container" | "1") => Ok(Some(Force::Container)),
        Ok("host" | "0") => Ok(Some(Force::Host)),
        Err(_) | Ok("") => Ok(None),
        Ok(other) => Err(Error::usage(format!("RICHCTL_ENV_FORCE={other}: use container or host"))),
    }
}

fn command(global: &Global, args: &EnvArgs, run: &RunArgs) -> Result<u8> {
    let here = std::env::current_dir().at("find", "the current directory")?;
    let Some((name, rest)) = run.command.split_first() else { return Ok(0) };
    let path = std::env::var_os("PATH");
    let found = place::find(name, path.as_deref(), &here);
    let of = match find(args) {
        Err(error) if run.shim && error.kind == Kind::NotFound => {
            return Err(on_host(name, found.as_deref(), rest));
        }
        of => of?,
    };
    let binary = match place::decide(name, found.as_deref(), &of.top, &of.template, force()?) {
        Where::Host => return Err(on_host(name, found.as_deref(), rest)),
        Where::Container(binary) => binary,
    };
    let engine = engine_of(global, args, &of)?;
    engine::before(&*engine, &of, binary)?;
    let words = run.command.iter().map(|word| {
        let text = word.to_str().map(str::to_owned);
        text.ok_or_else(|| Error::usage(format!("{}: it is not UTF-8", word.display())))
    });
    let job = Job {
        args: words.collect::<Result<_>>()?,
        image: binary.and_then(|binary| binary.image.clone()),
        environment: run.env.clone(),
        directory: directory(&here),
    };
    engine.run(&job, watcher(&of)?)
}

/// The current directory as the caller's shell names it, where that is the same.
fn directory(here: &Path) -> String {
    here.display().to_string()
}

fn watcher(of: &Environment) -> Result<Option<Watcher>> {
    let services = of.template.services.iter().filter(|service| !service.content.is_empty());
    let watcher = Watcher::new(&of.top, services)?;
    Ok((!watcher.is_idle()).then_some(watcher))
}

/// Becomes a program of the host; returns when it cannot.
fn on_host(name: &std::ffi::OsStr, found: Option<&Path>, rest: &[OsString]) -> Error {
    let Some(path) = found else {
        return Error::new(Kind::NotFound, format!("{}: command not found", name.display()));
    };
    let error = Command::new(path).arg0(name).args(rest).exec();
    Error::system(format!("run {}: {error}", path.display()))
}

fn shell(global: &Global, args: &EnvArgs) -> Result<u8> {
    let of = find(args)?;
    let engine = engine_of(global, args, &of)?;
    engine::before(&*engine, &of, None)?;
    let here = std::env::current_dir().at("find", "the current directory")?;
    let line = "if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi";
    let job = Job {
        args: ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
        directory: directory(&here),
        ..Job::default()
    };
    engine.run(&job, watcher(&of)?)
}

fn service(engine: &dyn Engine, of: &Environment, verb: &ServiceVerb) -> Result<()> {
    let named = |name: &String| {
        let known = of.template.order(std::slice::from_ref(name))?;
        known.into_iter().next_back().ok_or_else(|| Error::usage(format!("no service {name}")))
    };
    match verb {
        ServiceVerb::List => {
            println!("services:");
            for service in &of.template.services {
                println!("  {}", engine::line(service, engine.running(service)?.is_some())?);
            }
        }
        ServiceVerb::Start { services } => {
            for name in services {
                engine::start(engine, of, name)?.iter().for_each(|id| println!("{id}"));
            }
        }
        ServiceVerb::Stop { services } => {
            for name in services {
                engine.stop(named(name)?)?;
            }
        }
        ServiceVerb::Restart { services } => {
            for name in services {
                engine.stop(named(name)?)?;
                engine::start(engine, of, name)?.iter().for_each(|id| println!("{id}"));
            }
        }
        ServiceVerb::Logs { follow, service } => engine.logs(named(service)?, *follow)?,
    }
    Ok(())
}

fn status(engine: &dyn Engine, of: &Environment, json: bool) -> Result<()> {
    let up = engine.is_up()?;
    if json {
        let mut services = serde_json::Map::new();
        for service in &of.template.services {
            services.insert(service.name.clone(), serde_json::json!(engine.running(service)?));
        }
        let text = serde_json::json!({
            "id": of.id, "name": of.template.name, "directory": of.top, "template": of.path,
            "image": of.template.image, "running": up, "services": services,
        });
        println!("{text:#}");
        return Ok(());
    }
    println!("environment: {}", of.id);
    println!("work tree:   {}", of.top.display());
    println!("template:    {}", of.path.display());
    match (&of.template.image, &of.template.rootfs) {
        (Some(image), _) => println!("image:       {image}"),
        (None, rootfs) => println!("rootfs:      {}", rootfs.clone().unwrap_or_default().display()),
    }
    println!("pod:         {}", if up { "running" } else { "stopped" });
    service(engine, of, &ServiceVerb::List)
}

fn shims(of: &Environment, directory: Option<&Path>) -> Result<()> {
    let directory = match directory {
        Some(directory) => directory.to_owned(),
        None => Place::find(None)?.data.join("shims"),
    };
    fs::create_dir_all(&directory).at("make", directory.display())?;
    let write = |name: &str, text: &str, mode: u32| {
        let path = directory.join(name);
        fs::write(&path, text).at("write", path.display())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).at("write", path.display())
    };
    write(place::MARK, "Commands here run in the environment of the current directory.\n", 0o644)?;
    for binary in &of.template.binaries {
        if binary.name.contains('/') || binary.name.starts_with('.') {
            continue;
        }
        let text = format!(
            "#!/bin/sh\nexec richctl env run --shim -- '{}' \"$@\"\n",
            binary.name.replace('\'', "'\\''")
        );
        write(&binary.name, &text, 0o755)?;
    }
    println!("export PATH={}:\"$PATH\"", directory.display());
    Ok(())
}
