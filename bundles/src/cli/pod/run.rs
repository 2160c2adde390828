//! `pod run`.

use std::io::{Read, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{exit, place};
use crate::cli::Global;
use crate::error::{At, Error, Kind, Result};
use crate::pod::setup::{Network, PodDirs, Setup};
use crate::pod::status::PodStatus;
use crate::pod::{client, read, tail};
use crate::runtime::{Program, program};
use crate::source::SourceKind;

/// `pod run`
#[derive(Debug, Clone, Args)]
pub(super) struct RunArgs {
    /// The file, or - for standard input
    file: PathBuf,
    /// Return once the pods are begun
    #[arg(short, long)]
    detach: bool,
    /// Wait until every container is ready, then return; exit status 1 if the pod ends before
    #[arg(long)]
    wait: bool,
    /// Remove what stands in the way: pods of the same names
    #[arg(long)]
    replace: bool,
    /// Remove the pods when they are over (not with --detach)
    #[arg(long, conflicts_with_all = ["detach", "wait"])]
    rm: bool,
    /// Their network [default: host where hostNetwork says so, else pasta where it is installed,
    /// else none]
    #[arg(long, value_enum)]
    network: Option<Net>,
    /// What containers without an image are made of: any SOURCE of `richctl run`
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// Use SOURCE where a manifest says IMAGE
    #[arg(long, value_name = "IMAGE=SOURCE")]
    image: Vec<String>,
    /// Write logs to DIR/NAMESPACE/POD.CONTAINER.log
    #[arg(long, value_name = "DIR")]
    log_dir: Option<PathBuf>,
    /// The name of a pod that has none in its file [default: the file's name]
    #[arg(long)]
    name: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Net {
    /// A loopback interface only
    None,
    /// The host's
    Host,
    /// Connected by pasta, which publishes ports
    Pasta,
}

/// Runs the pods of a file.
pub(super) fn run(global: &Global, args: &RunArgs) -> Result<u8> {
    let file = args.file.display().to_string();
    let text = text(&args.file)?;
    let name = args.name.as_deref().map_or_else(|| name_of(&args.file), named);
    let read = read::pods(&file, &text, &name).map_err(Error::usage)?;
    for warning in &read.warnings {
        eprintln!("richctl: warning: {warning}");
    }
    let mut begun = Vec::new();
    for mut pod in read.pods {
        if global.namespace != "default" {
            pod.namespace.clone_from(&global.namespace);
        }
        let setup = setup(global, args, pod)?;
        if args.replace && setup.dirs().data.exists() {
            client::remove(&setup.dirs(), true)?;
        }
        client::begin(&setup)?;
        begun.push(setup);
    }
    if args.detach || args.wait {
        return detached(args, &begun);
    }
    let code = foreground(&begun)?;
    if args.rm {
        for setup in &begun {
            client::remove(&setup.dirs(), false)?;
        }
    }
    Ok(code)
}

/// The text of a file, or of standard input.
pub(super) fn text(file: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    let bound = read::LONGEST as u64 + 1;
    if file == Path::new("-") {
        std::io::stdin().take(bound).read_to_end(&mut bytes).at("read", "standard input")?;
    } else {
        let opened = std::fs::File::open(file).at("read", file.display())?;
        opened.take(bound).read_to_end(&mut bytes).at("read", file.display())?;
    }
    String::from_utf8(bytes).at("read", file.display())
}

/// The name of a pod whose file says none.
pub(super) fn name_of(file: &Path) -> String {
    named(&file.file_stem().unwrap_or_default().to_string_lossy())
}

fn named(asked: &str) -> String {
    let asked = asked.to_ascii_lowercase();
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let name: String = asked.chars().map(plain).collect();
    let name = name.trim_matches(['-', '.']);
    if name.is_empty() { "pod".to_owned() } else { name.to_owned() }
}

fn setup(global: &Global, args: &RunArgs, mut pod: crate::pod::model::Pod) -> Result<Setup> {
    let place = place(global)?;
    let network = match args.network {
        _ if pod.host_network => Network::Host,
        Some(Net::None) => Network::None,
        Some(Net::Host) => Network::Host,
        Some(Net::Pasta) => Network::Pasta,
        None if program("pasta".into()).is_ok() => Network::Pasta,
        None => {
            eprintln!("richctl: warning: pasta is not installed: pod {} has no network", pod.name);
            Network::None
        }
    };
    let ports = pod.containers.iter().flat_map(|one| &one.ports);
    if network == Network::None && ports.clone().any(|port| port.host.is_some()) {
        let what = "hostPort: a pod without a network cannot publish it: --network pasta or host";
        return Err(Error::usage(what));
    }
    let mut images = Vec::new();
    for word in &args.image {
        let (name, source) = word
            .rsplit_once('=')
            .ok_or_else(|| Error::usage(format!("--image {word}: it is IMAGE=SOURCE")))?;
        images.push((name.to_owned(), directory(source)?));
    }
    // A manifest is read where it lies, whoever reads it: so are the directories in it.
    let beside = args.file.parent().unwrap_or(Path::new(""));
    for one in &mut pod.containers {
        if let Some(image) = &mut one.image
            && images.iter().all(|(name, _)| name != image)
        {
            *image = absolute(image, beside)?;
        }
        let root = one.spec.as_mut().and_then(|spec| spec.pointer_mut("/root/path"));
        if let Some(serde_json::Value::String(root)) = root {
            let path = std::path::absolute(beside.join(&*root)).at("find", &*root)?;
            *root = path.display().to_string();
        }
    }
    let logs = match &args.log_dir {
        Some(dir) => std::path::absolute(dir).at("find", dir.display())?,
        None => place.logs(),
    };
    Ok(Setup {
        pod,
        runtime: Program::find(global.runtime.as_deref(), &place)?.path,
        place: (place.run, place.data),
        network,
        logs,
        source: args.source.as_deref().map(directory).transpose()?,
        images,
    })
}

/// A source of the command line, where a directory needs no dot.
fn directory(source: &str) -> Result<String> {
    let plain = Path::new(source).is_dir() && !source.starts_with(['/', '.']);
    absolute(&if plain { format!("./{source}") } else { source.to_owned() }, Path::new(""))
}

/// A source whose path does not depend on where the supervisor runs; what begins with a dot, or
/// is an archive or a layout, lies below `beside`. A directory that is not there is an error.
fn absolute(source: &str, beside: &Path) -> Result<String> {
    let (kind, path) = match source.split_once(':') {
        Some((kind @ ("oci" | "oci-archive" | "docker-archive"), path)) => (Some(kind), path),
        _ if source.starts_with(['/', '.']) => (None, source),
        _ => return Ok(source.to_owned()),
    };
    let path = std::path::absolute(beside.join(path)).at("find", path)?.display().to_string();
    let source = kind.map_or(path.clone(), |kind| format!("{kind}:{path}"));
    SourceKind::parse(&source)?;
    Ok(source)
}

fn detached(args: &RunArgs, begun: &[Setup]) -> Result<u8> {
    let mut code = 0;
    for setup in begun {
        let dirs = setup.dirs();
        if args.wait {
            let status = client::follow(&dirs, |status| status.ready)?;
            // What has done its work was ready.
            if !status.ready && status.exit_status != Some(0) {
                eprintln!("richctl: pod {}: {}", status.name, why(&status));
                code = 1;
            }
        } else if let Some(status) = dirs.read_status()?.filter(|s| s.containers.is_empty()) {
            client::remove(&dirs, true)?;
            return Err(Error::new(Kind::Program, status.reason));
        }
        println!("{}", setup.pod.name);
    }
    Ok(code)
}

fn why(status: &PodStatus) -> String {
    let bad = status.containers.iter().find(|one| one.exit_status.is_some_and(|code| code != 0));
    let of_container = bad
        .map(|one| format!(": container {} ended with {}", one.name, one.exit_status.unwrap_or(0)));
    format!("{}{}", status.reason, of_container.unwrap_or_default())
}

/// Shows what the pods write until all are over; INT and TERM end them.
fn foreground(begun: &[Setup]) -> Result<u8> {
    let asked = Arc::new(AtomicU32::new(0));
    signals(begun, &asked)?;
    let over = Arc::new(AtomicBool::new(false));
    let (tell, hear) = mpsc::channel();
    let logs: Vec<(String, PathBuf)> = begun.iter().flat_map(tail::logs_of).collect();
    let (stop, prefix) = (Arc::clone(&over), logs.len() > 1);
    let tailing = thread::spawn(move || {
        let mut tails = tail::Tails::new(logs, prefix, None);
        while !stop.load(Ordering::Acquire) {
            tails.print(false);
            thread::sleep(Duration::from_millis(100));
        }
        tails.print(true);
    });
    for setup in begun {
        let (dirs, tell) = (setup.dirs(), tell.clone());
        thread::spawn(move || tell.send(follow(&dirs)));
    }
    let mut code = 0;
    for _ in begun {
        let status = hear.recv().at("wait for", "a pod")??;
        if status.containers.is_empty() {
            eprintln!("richctl: pod {}: {}", status.name, status.reason);
        }
        code = if code == 0 { exit(status.exit_status.unwrap_or(0)) } else { code };
    }
    over.store(true, Ordering::Release);
    let _ = tailing.join();
    Ok(code)
}

fn follow(dirs: &PodDirs) -> Result<PodStatus> {
    let mut told = false;
    client::follow(dirs, |status| {
        if status.ready && !told {
            told = true;
            notify_ready();
        }
        false
    })
}

/// Tells a service manager that asked for it (`Type=notify`) that the pod is ready.
fn notify_ready() {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let Ok(socket) = UnixDatagram::unbound() else { return };
    let name = path.to_string_lossy().into_owned();
    let said = b"READY=1";
    let _ = match name.strip_prefix('@') {
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            std::os::unix::net::SocketAddr::from_abstract_name(name)
                .and_then(|address| socket.send_to_addr(said, &address))
        }
        None => socket.send_to(said, &path),
    };
}

/// A thread that takes INT and TERM: the first ends the pods, the second at once.
fn signals(begun: &[Setup], asked: &Arc<AtomicU32>) -> Result<()> {
    use nix::sys::signal::{SigSet, Signal};
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    set.add(Signal::SIGTERM);
    set.add(Signal::SIGHUP);
    set.thread_block().at("block", "signals")?;
    let dirs: Vec<PodDirs> = begun.iter().map(Setup::dirs).collect();
    let asked = Arc::clone(asked);
    thread::spawn(move || {
        while set.wait().is_ok() {
            let hard = asked.fetch_add(1, Ordering::Relaxed) > 0;
            let _ = writeln!(std::io::stderr(), "richctl: ending the pods");
            for dirs in dirs.clone() {
                thread::spawn(move || client::stop(&dirs, hard.then_some(0)));
            }
        }
    });
    Ok(())
}
