//! What trials share: the runtimes, and per cgroup view one sandbox, made when the first trial needs it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock};

use libtest_mimic::{Arguments, Trial};

use crate::command::find;
use crate::containerd::Containerd;
use crate::cri::PodDaemon;
use crate::docker::Dockerd;
use crate::engine::Engine;
use crate::kind::Kind;
use crate::kubernetes::Cluster;
use crate::runtimes::{Runtime, docker_runtimes, runtimes};
use crate::sandbox::{self, Sandbox, TRUSTING, ordinary_user};
use crate::system::System;
use crate::view::View;
use crate::{Verdict, image, podman};

/// A test program: runs the trials `of` every world of this host. Sandboxes end, and say
/// what they could not remove, before the verdict.
pub fn run(of: impl Fn(&Arc<World>) -> Vec<Trial>) -> ExitCode {
    let arguments = Arguments::from_args();
    sandbox::sweep();
    let podmans = sandbox::absent_default_groups();
    let null = std::fs::metadata("/dev/null").map(|file| (file.uid(), file.gid()));
    let worlds: Vec<_> =
        View::available().into_iter().map(|view| Arc::new(World::new(view))).collect();
    let trials = worlds.iter().flat_map(of).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let ended = worlds.into_iter().filter_map(Arc::into_inner);
    let left: Vec<_> = ended.filter_map(|world| world.close().err()).collect();
    sandbox::remove_empty(&podmans);
    if let Ok((user, group)) = null {
        // crun gives the host's null device to a container's user.
        let _not_ours = std::os::unix::fs::chown("/dev/null", Some(user), Some(group));
    }
    left.iter().for_each(|what| eprintln!("{what}"));
    if left.is_empty() { conclusion.exit_code() } else { ExitCode::FAILURE }
}

/// The first of these that is missing, as a reason.
pub fn lacks(programs: &[&str], files: &[&str]) -> Option<String> {
    if std::fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).ok()
        != Some(0)
    {
        return Some("needs root".into());
    }
    let tools = ["unshare", "nsenter", "setsid", "tar", "sha256sum", "ip"];
    let mut all = tools.iter().chain(programs);
    if let Some(program) = all.find(|program| find(program).is_none()) {
        return Some(format!("no {program}"));
    }
    files.iter().find(|file| !Path::new(file).exists()).map(|file| format!("no {file}"))
}

/// Why there is no ordinary user to act as.
pub fn lacks_user() -> Option<String> {
    let user = ordinary_user();
    let has_range = std::fs::read_to_string("/etc/subuid")
        .is_ok_and(|table| table.lines().any(|line| line.starts_with(&format!("{user}:"))));
    if has_range {
        None
    } else {
        Some(format!("no user {user} with subordinate ids: integration/peers.sh user"))
    }
}

/// The trials' shared place for one view; made when the first trial needs it.
pub struct World {
    /// The cgroup layout.
    pub view: View,
    inside: OnceLock<Result<Inside, String>>,
}

impl World {
    /// A world that does not exist yet.
    pub fn new(view: View) -> Self {
        Self { view, inside: OnceLock::new() }
    }

    /// The world's inside.
    pub fn inside(&self) -> Result<&Inside, String> {
        self.inside.get_or_init(|| Inside::new(self.view)).as_ref().map_err(Clone::clone)
    }

    /// Ends it all; an error names what is left.
    pub fn close(self) -> Verdict {
        match self.inside.into_inner() {
            Some(Ok(inside)) => {
                drop((inside.cluster, inside.containerd, inside.dockerd, inside.pods));
                inside.sandbox.close()
            }
            _ => Ok(()),
        }
    }
}

/// A sandbox, its images, and the engines that run in it.
pub struct Inside {
    /// The sandbox.
    pub sandbox: Sandbox,
    archive: PathBuf,
    containerd: OnceLock<Result<Containerd, String>>,
    dockerd: OnceLock<Result<Dockerd, String>>,
    pods: OnceLock<Result<PodDaemon, String>>,
    cluster: OnceLock<Result<Cluster, String>>,
    ready: [Ready; 3],
    pods_systems: [OnceLock<Verdict>; 3],
    archiving: Mutex<()>,
}

/// What an engine has been given so far.
#[derive(Default)]
struct Ready {
    image: OnceLock<Verdict>,
    systems: [OnceLock<Verdict>; 3],
}

impl Inside {
    fn new(view: View) -> Result<Self, String> {
        let sandbox = Sandbox::start(view)?;
        let archive = image::root_archive(&sandbox.work)?;
        Ok(Self {
            sandbox,
            archive,
            containerd: OnceLock::new(),
            dockerd: OnceLock::new(),
            pods: OnceLock::new(),
            cluster: OnceLock::new(),
            ready: Default::default(),
            pods_systems: Default::default(),
            archiving: Mutex::new(()),
        })
    }

    /// The runtime's path inside, where the ordinary user can reach it too.
    pub fn stage(&self, runtime: &Runtime) -> Result<PathBuf, String> {
        self.sandbox.stage(runtime.name, &runtime.path)
    }

    /// A directory inside in which the runtime is called `richrun`.
    pub fn stage_as_richrun(&self, runtime: &Runtime) -> Result<PathBuf, String> {
        let dir = self.sandbox.work.join(format!("path-{}", runtime.name));
        std::fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        self.sandbox.stage(&format!("path-{}/richrun", runtime.name), &runtime.path)?;
        Ok(dir)
    }

    /// An engine that is configured and has the small image.
    pub fn engine<'a>(&'a self, kind: Kind, runtime: &'a Path) -> Result<Engine<'a>, String> {
        let engine = Engine { kind, sandbox: &self.sandbox, runtime, image: image::NAME };
        let ready = || {
            match kind {
                Kind::Podman | Kind::Rootless => podman::configure(&self.sandbox, kind)?,
                Kind::Docker => self
                    .dockerd
                    .get_or_init(|| self.start_dockerd())
                    .as_ref()
                    .map(drop)
                    .map_err(Clone::clone)?,
            }
            engine.import(&self.archive, image::NAME)
        };
        self.ready[kind as usize].image.get_or_init(ready).clone()?;
        Ok(engine)
    }

    /// Sees to it that the engine has the image of a system.
    pub fn import(&self, system: System, engine: &Engine<'_>) -> Verdict {
        let import = || engine.import(&self.archive_of(system)?, system.image());
        self.ready[engine.kind as usize].systems[system as usize].get_or_init(import).clone()
    }

    /// The same for pods.
    pub fn import_for_pods(&self, system: System) -> Verdict {
        let import = || {
            let layer = self.archive_of(system)?;
            let work = &self.sandbox.work;
            let archive = image::oci_archive(work, &layer, system.image(), &["/sbin/init"])?;
            self.pods()?.import(&self.sandbox, &archive)
        };
        self.pods_systems[system as usize].get_or_init(import).clone()
    }

    fn archive_of(&self, system: System) -> Result<PathBuf, String> {
        let _one_at_a_time = self.archiving.lock().map_err(|error| error.to_string())?;
        system.archive(&self.sandbox.work)
    }

    /// containerd, with the image.
    pub fn containerd(&self) -> Result<&Containerd, String> {
        let start = || {
            Containerd::start(
                &self.sandbox,
                &image::oci_archive(&self.sandbox.work, &self.archive, image::NAME, &["sh"])?,
            )
        };
        self.containerd.get_or_init(start).as_ref().map_err(Clone::clone)
    }

    /// containerd with its CRI plugin, with the images.
    pub fn pods(&self) -> Result<&PodDaemon, String> {
        self.pods.get_or_init(|| self.start_pods()).as_ref().map_err(Clone::clone)
    }

    fn start_pods(&self) -> Result<PodDaemon, String> {
        let [peer, own, rich] = runtimes(self.sandbox.view);
        let own = self.stage(&own)?;
        let configured = self.sandbox.configured(&own)?;
        let trusting = self.sandbox.trusting(&own)?;
        let mut paths = vec![self.stage(&peer)?, own, self.stage(&rich)?, configured, trusting];
        let [runc, ..] = docker_runtimes();
        if runc.lacks.is_none() && peer.name != runc.name {
            paths.push(self.stage(&runc)?);
        }
        PodDaemon::start(&self.sandbox, &paths, &self.pod_images()?)
    }

    /// Archives of what pods need: the small image, and that of the holder of their namespaces.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn pod_images(&self) -> Result<[PathBuf; 2], String> {
        let _one_at_a_time = self.archiving.lock().map_err(|error| error.to_string())?;
        let make = |name, command: &[&str]| {
            image::oci_archive(&self.sandbox.work, &self.archive, name, command)
        };
        Ok([make(image::NAME, &["sh"])?, make(image::PAUSE, &["sleep", "100000"])?])
    }

    /// A Kubernetes whose pods that one runs.
    pub fn cluster(&self) -> Result<&Cluster, String> {
        let [runc, own, rich] = docker_runtimes().map(|runtime| runtime.name);
        let classes = [runc, own, rich, TRUSTING];
        let start = || Cluster::start(&self.sandbox, self.pods()?, &classes);
        self.cluster.get_or_init(start).as_ref().map_err(Clone::clone)
    }

    /// dockerd with every runtime that a trial may name.
    fn start_dockerd(&self) -> Result<Dockerd, String> {
        let [_, own, rich] = docker_runtimes();
        let own = self.stage(&own)?;
        let configured = self.sandbox.configured(&own)?;
        let trusting = self.sandbox.trusting(&own)?;
        Dockerd::start(&self.sandbox, &[own, self.stage(&rich)?, configured, trusting])
    }
}
