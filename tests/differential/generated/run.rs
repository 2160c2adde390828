//! One configuration under one runtime: what its first process saw, and what was seen outside.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use nix::mount::{MsFlags, mount};
use richrun_tests::{Bundle, Kind, Output, Trial, leftovers, terminal};
use serde_json::Value;

use super::place::ID;

/// What was seen, by name.
pub type Observation = BTreeMap<String, String>;

/// The payload's first line.
pub const STARTED: &str = "pid 1";
/// The exit status of `run`.
pub const EXIT: &str = "exit";
/// The words of an error that engines look for.
pub const ERROR: &str = "error";
/// All that was said on standard error: shown, not compared.
pub const SAID: &str = "~said";

/// Where hooks write.
const LOG: &str = "/mnt/run/log";
/// Namespaces to be joined.
const NAMESPACES: [&str; 2] = ["net", "ipc"];

/// What engines tell a kind of failure by, in small letters: containerd, podman and the kubelet
/// look for the first ones, people for the rest.
const WORDS: [&str; 12] = [
    "executable file not found in $path",
    "no such file or directory",
    "permission denied",
    "not a directory",
    "is a directory",
    "invalid argument",
    "operation not permitted",
    "exec format error",
    "no such device",
    "numerical result out of range",
    "hook #0",
    "exit status 3",
];

/// Sources of bind mounts, and namespaces, for all runtimes on the stage.
pub fn prepare(t: &Trial) {
    let source = Path::new("/mnt/source");
    fs::create_dir_all(source.join("below")).expect("make a source");
    fs::write(source.join("file"), "text").expect("write a file");
    symlink("below", source.join("link")).expect("make a link");
    let none: Option<&str> = None;
    mount(none, &source.join("below"), Some("tmpfs"), MsFlags::MS_NOSUID, none).expect("a tmpfs");
    if t.is_root() {
        fs::create_dir("/mnt/ns").expect("mkdir");
        let mut words = Vec::new();
        for name in NAMESPACES {
            let place = format!("/mnt/ns/{name}");
            fs::write(&place, "").expect("make a place");
            words.push(format!("--{name}={place}"));
        }
        words.push("/bin/true".into());
        t.cmd("/usr/bin/unshare", &words).ok();
    }
}

/// Runs a configuration to its end.
pub fn observe(t: &Trial, config: &Value) -> Observation {
    // The stage's own: crun gives what it has as a stream to the container's user.
    chown("/dev/null", Some(0), Some(0)).expect("chown the null device");
    fs::write(LOG, "").expect("make the log");
    fs::set_permissions(LOG, fs::Permissions::from_mode(0o666)).expect("chmod the log");
    let bundle = t.bundle(|c| *c = config.clone()).with_probe();
    let text = config.to_string().replace(ID, &bundle.id);
    fs::write(bundle.dir.join("config.json"), text).expect("write config.json");
    t.accept_mounts();
    t.accept_processes();
    let out = run(t, &bundle, config);
    let mut seen = read(&out, &bundle);
    clean(t, &bundle, &mut seen);
    seen
}

fn run(t: &Trial, bundle: &Bundle, config: &Value) -> Output {
    let command = t.run_cmd(bundle, &[]);
    if config["process"]["terminal"] != true {
        return command.run();
    }
    let (mut terminal, slave) = terminal::pair(24, 80);
    let copy = || slave.try_clone().expect("a copy");
    let running = command.stdio(0, copy()).stdio(1, copy()).spawn();
    drop(slave);
    let text = terminal.drain().replace('\r', "");
    Output { out: text, ..running.wait() }
}

/// The runtime under test leaves nothing; what a peer leaves is taken away.
fn clean(t: &Trial, bundle: &Bundle, seen: &mut Observation) {
    if !leftovers::state(&t.root()).is_empty() {
        seen.insert("left".into(), "state".into());
        t.rt(&["delete", "--force", &bundle.id]).run();
    }
    if t.kind() == Kind::Richrun
        && let Err(left) = t.left_behind()
    {
        seen.insert("left".into(), left);
    }
    leftovers::remove_groups(&t.id);
    fs::remove_dir_all(&bundle.dir).expect("remove the bundle");
}

/// What all of it says, without the names of this run.
fn read(out: &Output, bundle: &Bundle) -> Observation {
    let plain = |text: &str| {
        let name = bundle.dir.file_name().unwrap_or_default().to_string_lossy();
        let text = text.replace(&bundle.id, "ID");
        text.replace(bundle.path(), "BUNDLE").replace(&format!("/{name}/"), "/BUNDLE/")
    };
    let mut seen = Observation::new();
    for line in plain(&out.out).lines() {
        match line.split_once('\t') {
            Some((name, value)) if name.starts_with("namespace ") => {
                seen.insert(name.into(), whose(name, value));
            }
            Some((name, value)) if value.starts_with("/mnt/out/") => {
                seen.insert(name.into(), "file".into());
            }
            Some((name, value)) => drop(seen.insert(name.into(), value.into())),
            None => drop(seen.insert("output".into(), line.into())),
        }
    }
    seen.insert(EXIT.into(), out.code.to_string());
    seen.insert(SAID.into(), out.err.clone());
    if !seen.contains_key(STARTED) {
        let errors = out.err.lines().filter(|line| !line.contains("level=warning"));
        let said = errors.collect::<String>().to_lowercase();
        let words = WORDS.into_iter().filter(|word| said.contains(word));
        seen.insert(ERROR.into(), words.collect::<Vec<_>>().join(", "));
    }
    // Which hooks run before something else fails is each runtime's own order.
    if seen.contains_key(STARTED) {
        hooks(&plain(&fs::read_to_string(LOG).unwrap_or_default()), &mut seen);
    }
    seen
}

/// What the hooks wrote. In which order poststart and the payload are is nobody's promise.
fn hooks(text: &str, seen: &mut Observation) {
    let mut order = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("order ") {
            order.extend((!name.starts_with("poststart")).then_some(name));
        } else if let Some((name, value)) = line.split_once('@') {
            seen.insert(name.into(), value.into());
        }
    }
    seen.insert("hooks".into(), order.join(", "));
}

/// Whether a namespace is the host's, a joined one, or the container's own.
fn whose(name: &str, link: &str) -> String {
    let kind = name.trim_start_matches("namespace ");
    let host = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap_or_default();
    if host.to_string_lossy() == link {
        return "the host's".into();
    }
    let number = link.split(['[', ']']).nth(1).and_then(|number| number.parse::<u64>().ok());
    let joined = fs::metadata(format!("/mnt/ns/{kind}")).ok().map(|data| data.ino());
    if joined.is_some() && joined == number { "joined" } else { "own" }.into()
}
