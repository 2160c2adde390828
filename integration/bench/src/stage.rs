//! What the measurements stand on: programs compiled, bundles made, runtimes found.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

/// What a step could not do, in one line.
pub type Result<T> = std::result::Result<T, String>;

/// One of those that are compared.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// Column of the table: `crun`, `runc`, `youki`, `richrun`.
    pub name: &'static str,
    /// Absolute path of the executable.
    pub path: String,
    /// First line of `--version`.
    pub version: String,
}

/// How many hooks are many.
pub const MANY: usize = 100;

/// Where everything is.
#[derive(Debug, Clone)]
pub struct Stage {
    /// `build/bench`.
    pub out: PathBuf,
    /// The bundle whose payload is `/bin/true`.
    pub stock: PathBuf,
    /// The same with one `createRuntime` hook, a static `true`.
    pub hooked: PathBuf,
    /// The same with [`MANY`] of them.
    pub much_hooked: PathBuf,
    /// The same with lists of hooks that are empty.
    pub unhooked: PathBuf,
    /// The same with a payload that sleeps.
    pub sleeping: PathBuf,
    /// The compiled `floor.c`.
    pub floor: PathBuf,
    /// The compiled `measure.c`.
    pub measure: PathBuf,
    /// The root file systems that `integration/peers.sh` makes.
    pub rootfs: PathBuf,
    /// systemd-nspawn, where there is one.
    pub nspawn: Option<PathBuf>,
    /// The runtimes, in the order of the table's columns.
    pub runtimes: Vec<Runtime>,
}

impl Stage {
    /// Compiles, makes and finds everything.
    pub fn prepare(top: &Path) -> Result<Stage> {
        let here = top.join("integration/bench");
        let out = top.join("build/bench");
        fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
        let floor = compile(&here, &out, "floor")?;
        let measure = compile(&here, &out, "measure")?;
        let runtimes = find_runtimes(top)?;
        let stock = out.join("bundle");
        let richrun = runtimes.iter().find(|one| one.name == "richrun").ok_or("no richrun")?;
        let made = Command::new(here.join("bundle.sh"))
            .arg(&stock)
            .env("RICHRUN", &richrun.path)
            .output()
            .map_err(|error| format!("bundle.sh: {error}"))?;
        if !made.status.success() {
            return Err(format!("bundle.sh: {}", String::from_utf8_lossy(&made.stderr).trim()));
        }
        let hook = json!({"path": stock.join("rootfs/bin/busybox"), "args": ["busybox", "true"]});
        let with = |name: &str, count: usize| {
            let hooks = json!({"createRuntime": vec![hook.clone(); count]});
            variant(&stock, name, |config| config["hooks"] = hooks)
        };
        let (hooked, much_hooked) = (with("hooked", 1)?, with("much-hooked", MANY)?);
        let unhooked = with("unhooked", 0)?;
        let sleeping = variant(&stock, "sleeping", |config| {
            config["process"]["args"] = json!(["/bin/sleep", "100000"]);
        })?;
        let rootfs = top.join("build/rootfs");
        let nspawn = find(top, "systemd-nspawn", "NSPAWN");
        Ok(Stage {
            out,
            stock,
            hooked,
            much_hooked,
            unhooked,
            sleeping,
            floor,
            measure,
            rootfs,
            nspawn,
            runtimes,
        })
    }

    /// The runtime of that column.
    pub fn runtime(&self, name: &str) -> Option<&Runtime> {
        self.runtimes.iter().find(|one| one.name == name)
    }
}

/// `cc -O2 -static` of one of this directory's programs.
fn compile(here: &Path, out: &Path, name: &str) -> Result<PathBuf> {
    let program = out.join(name);
    let status = Command::new("cc")
        .args(["-O2", "-static", "-Wall", "-Wextra", "-o"])
        .arg(&program)
        .arg(here.join(format!("{name}.c")))
        .status()
        .map_err(|error| format!("cc: {error}"))?;
    if status.success() { Ok(program) } else { Err(format!("cc {name}.c: {status}")) }
}

/// A second bundle on the same root file system, with an edited configuration.
pub fn variant(stock: &Path, name: &str, edit: impl FnOnce(&mut Value)) -> Result<PathBuf> {
    let bundle = stock.with_file_name(format!("bundle-{name}"));
    fs::create_dir_all(&bundle).map_err(|error| format!("{}: {error}", bundle.display()))?;
    let source = stock.join("config.json");
    let text =
        fs::read_to_string(&source).map_err(|error| format!("{}: {error}", source.display()))?;
    let mut config: Value =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", source.display()))?;
    config["root"]["path"] = json!(stock.join("rootfs"));
    edit(&mut config);
    let target = bundle.join("config.json");
    fs::write(&target, config.to_string())
        .map_err(|error| format!("{}: {error}", target.display()))?;
    Ok(bundle)
}

/// `RICHRUN` must be there; the others where they are installed.
fn find_runtimes(top: &Path) -> Result<Vec<Runtime>> {
    let mut found = Vec::new();
    for (name, variable) in
        [("crun", "CRUN"), ("runc", "RUNC"), ("youki", "YOUKI"), ("richrun", "RICHRUN")]
    {
        if let Some(path) = find(top, name, variable) {
            found.push(identify(name, &path)?);
        }
    }
    if found.iter().all(|one| one.name != "richrun") {
        return Err("richrun: set RICHRUN to its path".into());
    }
    Ok(found)
}

/// A program: as the variable says, as `integration/peers.sh` made it, or as installed.
fn find(top: &Path, name: &str, variable: &str) -> Option<PathBuf> {
    let peers = std::env::var_os("PEERS_DIR").map_or(top.join("build/peers"), PathBuf::from);
    let chosen = std::env::var_os(variable).map(PathBuf::from);
    let places = [&peers.join("bin"), Path::new("/usr/local/bin"), Path::new("/usr/sbin")];
    let mut places = places.into_iter().chain([Path::new("/usr/bin")]);
    chosen.or_else(|| places.find_map(|dir| Some(dir.join(name)).filter(|path| path.exists())))
}

/// The absolute path and version of an executable.
fn identify(name: &'static str, path: &Path) -> Result<Runtime> {
    let path = path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?;
    let output = Command::new(&path)
        .arg("--version")
        .output()
        .map_err(|error| format!("{} --version: {error}", path.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.lines().next().unwrap_or("no version").trim().to_owned();
    Ok(Runtime { name, path: path.to_string_lossy().into_owned(), version })
}
