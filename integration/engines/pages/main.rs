//! The pages of `bundles/examples/`: every command in them, and its output, with richrun
//! and with the peers for which the page is true as well.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex};

use libtest_mimic::Trial;
use richrun_engines::command::{PATIENCE, run};
use richrun_engines::runtimes::{self, Runtime};
use richrun_engines::sandbox::ordinary_user;
use richrun_engines::transcript::Transcript;
use richrun_engines::world::{self, World};
use richrun_engines::{Verdict, ensure};

const BUNDLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bundles/examples");

/// A page's directory, and who reads it.
#[derive(Clone, Copy)]
struct Page {
    name: &'static str,
    rootless: bool,
    /// The peers for which the page is true as well. runc 1.1 runs `poststart`
    /// too early, crun calls a status otherwise and prints lists of its own.
    peers: &'static [&'static str],
}

impl Page {
    fn suits(&self, runtime: &str) -> bool {
        runtime == "richrun" || self.peers.contains(&runtime)
    }
}

/// The page whose root file system takes minutes to make: one that is there already is taken.
const SYSTEMD: &str = "systemd";
/// What `integration/peers.sh systemd` made.
const DEBIAN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../build/rootfs/systemd");

/// Why a page cannot be read here.
fn lacks_root(page: Page) -> Option<String> {
    let there = page.name != SYSTEMD || Path::new(DEBIAN).join("usr").is_dir();
    (!there).then(|| "no Debian with systemd: integration/peers.sh systemd".to_owned())
}

const PAGES: [Page; 9] = [
    Page { name: "plain", rootless: false, peers: &["runc"] },
    Page { name: "rich", rootless: false, peers: &[] },
    Page { name: "services", rootless: false, peers: &[] },
    Page { name: SYSTEMD, rootless: false, peers: &[] },
    Page { name: "hooks", rootless: false, peers: &[] },
    Page { name: "hook-network", rootless: false, peers: &[] },
    Page { name: "hook-check", rootless: false, peers: &[] },
    Page { name: "hook-archive", rootless: false, peers: &[] },
    Page { name: "rootless", rootless: true, peers: &["runc", "crun"] },
];

/// Pages use the same container names and files: one at a time.
static TURN: Mutex<()> = Mutex::new(());

fn main() -> ExitCode {
    world::run(|world| {
        let mut trials = Vec::new();
        for page in PAGES {
            let suited = runtimes::runtimes(world.view).into_iter();
            let suited = suited.filter(|runtime| page.suits(runtime.name));
            trials.extend(suited.map(|runtime| trial(world, &runtime, page)));
        }
        trials
    })
}

fn trial(world: &Arc<World>, runtime: &Runtime, page: Page) -> Trial {
    let name = format!("{}::{}::{}", page.name, world.view.name(), runtime.name);
    let user = if page.rootless { world::lacks_user() } else { None };
    let lacks = world::lacks(&["setpriv"], &[]).or(user).or_else(|| runtime.lacks.clone());
    let lacks = lacks.or_else(|| lacks_root(page));
    let (world, runtime) = (Arc::clone(world), runtime.clone());
    let trial = Trial::test(name, move || read(&world, &runtime, page).map_err(Into::into));
    match lacks {
        Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
        None => trial,
    }
}

/// Copies a bundle as it is kept: without a root file system that somebody has made in it.
fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if !entry.file_type()?.is_dir() {
            std::fs::copy(entry.path(), target)?;
        } else if entry.file_name() != "rootfs" {
            copy_tree(&entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Runs a page's commands in a copy of its bundle.
fn read(world: &World, runtime: &Runtime, page: Page) -> Verdict {
    let _turn = TURN.lock().map_err(|error| error.to_string())?;
    let sandbox = &world.inside()?.sandbox;
    let programs = world.inside()?.stage_as_richrun(runtime)?;
    let copy = sandbox.work.join(format!("pages-{}-{}", runtime.name, page.name));
    let bundle = copy.join(page.name);
    std::fs::create_dir_all(&copy).map_err(|error| format!("{}: {error}", copy.display()))?;
    let maker = format!("{BUNDLES}/make-rootfs.sh");
    std::fs::copy(&maker, copy.join("make-rootfs.sh")).map_err(|e| format!("{maker}: {e}"))?;
    let from = Path::new(BUNDLES).join(page.name);
    copy_tree(&from, &bundle).map_err(|error| format!("{}: {error}", from.display()))?;
    if page.name == SYSTEMD {
        let mut copy = Command::new("cp");
        copy.args(["-a", DEBIAN]).arg(bundle.join("rootfs"));
        run(copy, b"", PATIENCE)?.exits(0)?;
    }
    let text = std::fs::read_to_string(format!("{BUNDLES}/{}/README.md", page.name));
    let transcript = Transcript::parse(&text.map_err(|error| format!("{}: {error}", page.name))?);
    ensure(!transcript.is_empty(), || "the page has no commands".into())?;
    let script = copy.join("script");
    std::fs::write(&script, transcript.script()).map_err(|error| error.to_string())?;
    let mut command = match page.rootless {
        false => sandbox.command("env"),
        true => {
            let mut own = Command::new("chown");
            own.arg("-R").arg(format!("{}:", ordinary_user())).arg(&copy);
            run(own, b"", PATIENCE)?.exits(0)?;
            sandbox.command_as_user("env")
        }
    };
    let path = std::env::var("PATH").unwrap_or_default();
    command.arg("--chdir").arg(&bundle).arg(format!("PATH={}:{path}", programs.display()));
    command.arg(format!("HOME={}", copy.display()));
    if page.rootless {
        command.arg(format!("XDG_RUNTIME_DIR={}", sandbox.user_runtime_dir().display()));
    }
    command.arg("sh").arg(&script);
    transcript.compare(&run(command, b"", PATIENCE)?.stdout)
}
