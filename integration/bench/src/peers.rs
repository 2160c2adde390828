//! rich-init beside other PID 1s: what they take when idle, what they add to a run, and how
//! long twenty services take under those that supervise. All run under richrun, in one root
//! file system (`integration/peers.sh inits`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::graph::{self, COUNT, Graph, PLACE};
use crate::process::{field, pid_of, private_kib, read, switches};
use crate::row::{Cell, Row, remove, start_with, text, words};
use crate::sample::{self, Case, Outcome};
use crate::stage::{Result, Runtime, Stage, variant};

/// The column of a run without an init.
pub const NONE: &str = "no init";
/// rich-init's column.
pub const OURS: &str = "rich-init";
/// Row of what an init adds to a run.
pub const ADDED: &str = "init-v2";
/// Rows of the time until twenty services are up.
pub const FLAT: &str = "services-flat-v2";
/// The same, four deep.
pub const DEEP: &str = "services-deep-v2";

/// How long idle ones are watched, all at once.
const WATCH: Duration = Duration::from_secs(10);
/// How often twenty services are started.
const STARTS: usize = 10;
/// How long twenty services may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was seen of a PID 1.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// Whether it has [`COUNT`] services.
    pub services: bool,
    /// Bytes of its programs on disk.
    pub bytes: Option<u64>,
    /// What the image must have besides.
    pub needs: String,
    /// Private KiB of PID 1.
    pub private_kib: Option<u64>,
    /// Private KiB of the processes it watches its services with.
    pub helpers_kib: Option<u64>,
    /// Context switches of all these in ten seconds of idleness.
    pub wakes: Option<u64>,
    /// What could not be seen, if anything.
    pub trouble: Option<String>,
}

impl Seen {
    /// PID 1 and its helpers.
    pub fn all_kib(&self) -> Option<u64> {
        Some(self.private_kib? + self.helpers_kib.unwrap_or(0))
    }
}

/// How a PID 1 is given its work.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// `run --rich`.
    Rich,
    /// These words before the payload's.
    Before(&'static [&'static str]),
    /// s6-svscan, of a directory.
    Scan,
    /// supervisord, of its configuration.
    Supervisord,
}

/// One of those that are compared.
#[derive(Debug, Clone, Copy)]
struct Peer {
    name: &'static str,
    /// Its programs in the root file system, or their directories.
    disk: &'static [&'static str],
    needs: &'static str,
    way: Way,
}

const fn peer(
    name: &'static str,
    disk: &'static [&'static str],
    needs: &'static str,
    way: Way,
) -> Peer {
    Peer { name, disk, needs, way }
}

const S6: [&str; 2] = ["usr/bin/s6-svscan", "usr/bin/s6-supervise"];
const S6_NEEDS: &str = "libc, libs6, libskarnet, sh";

/// In front of one payload.
const INITS: [Peer; 6] = [
    peer(OURS, &[], "-", Way::Rich),
    peer("tini", &["usr/bin/tini"], "libc", Way::Before(&["/usr/bin/tini", "--"])),
    peer(
        "tini-static",
        &["usr/bin/tini-static"],
        "-",
        Way::Before(&["/usr/bin/tini-static", "--"]),
    ),
    peer("dumb-init", &["usr/bin/dumb-init"], "libc", Way::Before(&["/usr/bin/dumb-init", "--"])),
    peer("catatonit", &["usr/bin/catatonit"], "-", Way::Before(&["/usr/bin/catatonit", "--"])),
    peer("s6", &S6, S6_NEEDS, Way::Scan),
];

/// With services.
const SUPERVISORS: [Peer; 3] = [
    peer(OURS, &[], "-", Way::Rich),
    peer("s6", &S6, S6_NEEDS, Way::Scan),
    peer(
        "supervisord",
        &["usr/lib/python3/dist-packages/supervisor"],
        "Python, pkg_resources",
        Way::Supervisord,
    ),
];

/// What PID 1 has to do.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// One payload: a program of busybox and its arguments.
    Payload(&'static [&'static str]),
    /// Services, beside a payload that sleeps.
    Services(Graph),
}

/// A bundle whose PID 1 has its work.
#[derive(Debug)]
struct Job {
    bundle: PathBuf,
    /// Options of `run`.
    options: Vec<String>,
    /// What the container sees as [`PLACE`].
    place: PathBuf,
    id: String,
}

/// Rows, and what was seen of idle ones; where the root file system is missing, a row that says so.
pub fn look(stage: &Stage, runs: usize) -> (Vec<Row>, Vec<Seen>) {
    let root = stage.rootfs.join("inits");
    let Some(runtime) = stage.runtime("richrun").filter(|_| root.exists()) else {
        let row = Row::new(ADDED, "`run` of `true` under an init", "ms", &[]);
        let reason = "no build/rootfs/inits (integration/peers.sh inits)";
        return (vec![row.without(OURS, reason)], Vec::new());
    };
    let yard = Yard { stage, runtime, root };
    let mut rows = vec![yard.added(runs)];
    rows.push(yard.starts(FLAT, "20 services up, none needing another", Graph { deep: 1 }));
    rows.push(yard.starts(DEEP, "20 services up, 4 deep", Graph { deep: 4 }));
    (rows, yard.idle())
}

/// Where they are compared.
struct Yard<'a> {
    stage: &'a Stage,
    runtime: &'a Runtime,
    root: PathBuf,
}

impl Yard<'_> {
    /// A fresh directory and a bundle.
    fn job(&self, peer: Option<Peer>, work: Work) -> Result<Job> {
        let name = peer.map_or("none", |peer| peer.name);
        let kind = match work {
            Work::Payload(words) => words[0],
            Work::Services(_) => "services",
        };
        let name = format!("init-{kind}-{name}");
        let place = self.stage.out.join(&name);
        let failed = |error: std::io::Error| format!("{}: {error}", place.display());
        if place.exists() {
            fs::remove_dir_all(&place).map_err(failed)?;
        }
        fs::create_dir_all(place.join("up")).map_err(failed)?;
        let payload = match work {
            Work::Payload(words) => words,
            Work::Services(_) => &["sleep", "100000"],
        };
        let mut args: Vec<String> = words(&["/usr/bin/busybox"]);
        args.extend(words(payload));
        let mut options = Vec::new();
        match (peer.map(|peer| peer.way), work) {
            (None, _) => {}
            (Some(Way::Before(before)), _) => {
                args.splice(..0, words(before));
            }
            (Some(Way::Rich), work) => {
                options.push("--rich".to_owned());
                if let Work::Services(graph) = work {
                    let path = place.join("services.toml");
                    graph::write(&path, &graph.toml())?;
                    options.extend(words(&["--services", text(&path)]));
                }
            }
            (Some(Way::Scan), work) => {
                match work {
                    Work::Payload(_) => graph::single(&place.join("s6"), &args.join(" "))?,
                    Work::Services(graph) => graph.scan(&place.join("s6"))?,
                }
                args = words(&["/usr/bin/s6-svscan", &format!("{PLACE}/s6")]);
            }
            (Some(Way::Supervisord), work) => {
                let Work::Services(graph) = work else { return Err("it has no payload".into()) };
                graph::write(&place.join("supervisord.conf"), &graph.ini())?;
                let file = format!("{PLACE}/supervisord.conf");
                args = words(&["/usr/bin/python3", "/usr/bin/supervisord", "-c", &file]);
            }
        }
        let bundle = variant(&self.stage.stock, &name, |config| {
            config["root"]["path"] = json!(self.root);
            config["process"]["args"] = json!(args);
            if let Some(env) = config["process"]["env"].as_array_mut() {
                env.push(json!(format!("TMPDIR={PLACE}")));
            }
            if let Some(mounts) = config["mounts"].as_array_mut() {
                mounts.push(json!({"destination": PLACE, "type": "bind", "source": place,
                    "options": ["bind", "rw"]}));
            }
        })?;
        let id = format!("bench-{}-{name}", std::process::id());
        Ok(Job { bundle, options, place, id })
    }

    fn run_words(&self, job: &Job) -> Vec<String> {
        let mut argv = words(&[&self.runtime.path, "run"]);
        argv.extend(job.options.iter().cloned());
        argv.extend(words(&["--bundle", text(&job.bundle), &job.id]));
        argv
    }

    /// `run true` without an init and under each.
    fn added(&self, runs: usize) -> Row {
        let row = Row::new(ADDED, "`run` of `true` under an init", "ms", &[]);
        eprintln!("{} ({runs} runs each)", row.title);
        let (mut cases, mut failed) = (Vec::new(), Vec::new());
        for peer in std::iter::once(None).chain(INITS.map(Some)) {
            let column = peer.map_or(NONE, |peer| peer.name).to_owned();
            match self.job(peer, Work::Payload(&["true"])) {
                Ok(job) => cases.push(Case { column, argv: self.run_words(&job) }),
                Err(reason) => failed.push(Cell { column, outcome: Outcome::Failed(reason) }),
            }
        }
        let outcomes = sample::alternate(&cases, runs, sample::SHORT, &self.stage.out);
        let mut row = row.take(cases, outcomes);
        row.cells.extend(failed);
        row
    }

    /// Time from `run` until twenty services are up, in turn.
    fn starts(&self, key: &str, title: &str, graph: Graph) -> Row {
        let mut row = Row::new(key, title, "ms", &[]);
        eprintln!("{title} ({STARTS} runs each)");
        // supervisord's priorities wait for nothing to be up.
        let able = |peer: &Peer| graph.deep == 1 || peer.way != Way::Supervisord;
        let peers: Vec<Peer> = SUPERVISORS.into_iter().filter(able).collect();
        let mut taken: BTreeMap<&str, Result<Vec<f64>>> = BTreeMap::new();
        for _ in 0..STARTS {
            for peer in &peers {
                let so_far = taken.entry(peer.name).or_insert(Ok(Vec::new()));
                if let Ok(samples) = so_far {
                    match self.start(*peer, graph) {
                        Ok(sample) => samples.push(sample),
                        Err(reason) => *so_far = Err(reason),
                    }
                }
            }
        }
        for peer in peers {
            let outcome = match taken.remove(peer.name) {
                Some(Ok(samples)) => Outcome::Samples(samples),
                Some(Err(reason)) => Outcome::Failed(reason),
                None => continue,
            };
            row.cells.push(Cell { column: peer.name.into(), outcome });
        }
        row
    }

    fn start(&self, peer: Peer, graph: Graph) -> Result<f64> {
        let job = self.job(Some(peer), Work::Services(graph))?;
        let argv = self.run_words(&job);
        let begun = Instant::now();
        let mut child = Command::new(&argv[0])
            .args(&argv[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}", argv[0]))?;
        let up = until_up(&job.place.join("up"), &mut child, begun);
        remove(self.runtime, &job.id);
        end(&mut child)?;
        up.map(|time| time.as_secs_f64() * 1000.0)
    }

    /// All of them at once, doing nothing: so libraries are shared where they can be.
    fn idle(&self) -> Vec<Seen> {
        eprintln!("inits and supervisors, idle ({} s)", WATCH.as_secs());
        let sleeping = Work::Payload(&["sleep", "100000"]);
        let services = Work::Services(Graph { deep: 1 });
        let all = INITS.map(|peer| (peer, sleeping)).into_iter();
        let all: Vec<_> = all.chain(SUPERVISORS.map(|peer| (peer, services))).collect();
        let started: Vec<Result<Job>> =
            all.iter().map(|(peer, work)| self.background(*peer, *work)).collect();
        std::thread::sleep(Duration::from_secs(3));
        let before: Vec<_> = started.iter().map(|job| self.wakes(job)).collect();
        std::thread::sleep(WATCH);
        let mut seen = Vec::new();
        for ((job, before), (peer, work)) in started.iter().zip(before).zip(&all) {
            let services = matches!(work, Work::Services(_));
            let mut one = Seen {
                name: peer.name.into(),
                services,
                bytes: self.bytes(peer, services),
                needs: peer.needs.into(),
                ..Seen::default()
            };
            one.trouble = self.fill(job, before, &mut one).err();
            seen.push(one);
        }
        for job in started.iter().flatten() {
            remove(self.runtime, &job.id);
        }
        seen
    }

    fn background(&self, peer: Peer, work: Work) -> Result<Job> {
        let job = self.job(Some(peer), work)?;
        let options: Vec<&str> = job.options.iter().map(String::as_str).collect();
        start_with(self.runtime, &options, &job.bundle, &job.id).map(|()| job)
    }

    fn fill(&self, job: &Result<Job>, before: Result<u64>, seen: &mut Seen) -> Result<()> {
        let pid = pid_of(self.runtime, &job.as_ref()?.id)?;
        seen.wakes = Some(self.wakes(job)?.saturating_sub(before?));
        seen.private_kib = Some(private_kib(pid)?);
        let helpers = helpers(pid)?;
        if !helpers.is_empty() {
            let kib: Result<Vec<u64>> = helpers.into_iter().map(private_kib).collect();
            seen.helpers_kib = Some(kib?.iter().sum());
        }
        Ok(())
    }

    fn wakes(&self, job: &Result<Job>) -> Result<u64> {
        let pid = pid_of(self.runtime, &job.as_ref()?.id)?;
        std::iter::once(pid).chain(helpers(pid)?).map(switches).sum()
    }

    fn bytes(&self, peer: &Peer, services: bool) -> Option<u64> {
        if peer.way == Way::Rich {
            let name = if services { "rich-init-services" } else { "rich-init" };
            return size(&Path::new(&self.runtime.path).with_file_name(name));
        }
        peer.disk.iter().map(|path| size(&self.root.join(path))).sum()
    }
}

/// Waits until every service has made its file.
fn until_up(up: &Path, child: &mut Child, begun: Instant) -> Result<Duration> {
    loop {
        let count = fs::read_dir(up).map_err(|error| format!("{}: {error}", up.display()))?.count();
        let passed = begun.elapsed();
        if count == COUNT {
            return Ok(passed);
        }
        if passed > PATIENCE {
            return Err(format!("{count} of {COUNT} services up in {} s", PATIENCE.as_secs()));
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(format!("ended before its services were up: {status}"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A runtime's end once its container is removed; by force if it does not come.
fn end(child: &mut Child) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if child.try_wait().map_err(|error| format!("wait: {error}"))?.is_some() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = child.kill();
    let _ = child.wait();
    Err("run did not end after delete --force".into())
}

/// The processes that s6-svscan watches its services with.
fn helpers(pid: u64) -> Result<Vec<u64>> {
    let entries = fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let helper = |number: u64| {
        let status = read(&number.to_string(), "status").ok()?;
        let ours =
            status.starts_with("Name:\ts6-supervise\n") && field(&status, "PPid:") == Ok(pid);
        ours.then_some(number)
    };
    Ok(names.filter_map(|name| name.parse().ok()).filter_map(helper).collect())
}

/// Bytes of a file, or of a directory's files but for compiled Python.
fn size(path: &Path) -> Option<u64> {
    let data = fs::metadata(path).ok()?;
    if !data.is_dir() {
        return Some(data.len());
    }
    let entries = fs::read_dir(path).ok()?.flatten();
    entries
        .filter(|entry| entry.file_name() != "__pycache__")
        .map(|entry| size(&entry.path()))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_as_large_as_its_files() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let file = size(&source.join("peers.rs")).unwrap();
        assert!(size(&source).unwrap() > file && file > 0);
        assert_eq!(size(&source.join("missing")), None);
    }

    #[test]
    fn no_process_has_helpers_unless_it_is_s6() {
        assert!(helpers(1).is_ok());
        assert_eq!(helpers(u64::from(std::process::id())), Ok(Vec::new()));
    }
}
