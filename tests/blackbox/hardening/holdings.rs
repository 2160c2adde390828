//! What each process holds at each moment, as the kernel shows it from outside: the table
//! in `docs/security.md`, which is checked against it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use richrun_tests::bundle::{namespaces, without_namespace};
use richrun_tests::command::{Running, wait_until};
use richrun_tests::suite::{ONE, ROOT};
use richrun_tests::{Bundle, Suite, Trial};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite.on(ROOT, "what_each_process_holds", what_each_process_holds).on(
        ONE,
        "nobody_accepts",
        nobody_accepts,
    );
}

/// In the caller's environment and command line, and in nobody's else.
const SECRET: &str = "CALLERS-SECRET";
const PAGE: &str = include_str!("../../../docs/security.md");

fn what_each_process_holds(t: &Trial) {
    let bundle = t.bundle(|c| c["process"]["args"] = json!(["sleep", "1000"]));
    let stages = ["createRuntime", "createContainer", "startContainer", "poststart"];
    let hooks: Vec<(&str, PathBuf)> = stages.map(|stage| (stage, hold(t, &bundle, stage))).into();
    let mut table = Table { bundle: bundle.path().into(), rootfs: bundle.rootfs(), rows: vec![] };
    let id = t.name("held");
    let secret = format!("--log={}/{SECRET}", t.dir.display());
    let call = |verb: &[&str]| {
        let words = [&[secret.as_str()][..], verb].concat();
        t.rt(&words).env("SECRET", SECRET).spawn()
    };

    let create = call(&["create", "--bundle", bundle.path(), &id]);
    let of_hook = hooks[0].1.clone();
    let first = held(&of_hook)["pid"].as_i64().expect("a pid") as i32;
    table.row("create: createRuntime hook", "runtime", create.pid());
    table.row("create: createRuntime hook", "first process", first);
    table.row("create: createRuntime hook", "hook", only_child(create.pid(), &[first]));
    release(&of_hook);
    held(&hooks[1].1);
    table.row("create: createContainer hook", "first process", first);
    table.row("create: createContainer hook", "hook", only_child(first, &[]));
    release(&hooks[1].1);
    ended(create);
    table.row("created", "first process", first);

    let start = call(&["start", &id]);
    held(&hooks[2].1);
    table.row("start: startContainer hook", "first process", first);
    table.row("start: startContainer hook", "hook", only_child(first, &[]));
    release(&hooks[2].1);
    held(&hooks[3].1);
    table.row("start: poststart hook", "runtime", start.pid());
    table.row("start: poststart hook", "hook", only_child(start.pid(), &[]));
    release(&hooks[3].1);
    ended(start);
    table.row("running", "payload", first);

    among_others(t, &mut table, first, &call);
    let (socket, _full) = full_socket(t);
    let env = format!("SECRET={SECRET}");
    let exec = call(&["exec", "--env", &env, "--pidfd-socket", &socket, &id, "sleep", "1000"]);
    // The process that enters is the runtime's own child; the one in between is gone.
    let entering = || children(exec.pid());
    wait_until("somebody who enters", || entering().iter().any(|pid| is_inside(*pid, first)));
    wait_until("nobody in between", || entering().len() == 1);
    wait_until("the end of its set-up", || effective(entering()[0]) == effective(first));
    table.row("exec: before its program", "runtime", exec.pid());
    table.row("exec: before its program", "who enters", entering()[0]);
    exec.kill(libc::SIGTERM);
    drop(exec.wait());
    t.rt(&["delete", "--force", &id]).ok();

    let written = PAGE.split("<!-- held -->").nth(1).expect("the table's place in the page").trim();
    assert_eq!(written, table.text().trim(), "docs/security.md should have\n\n{}", table.text());
}

/// A container that joins the pid namespace of process `other`.
fn among_others(t: &Trial, table: &mut Table, other: i32, call: &dyn Fn(&[&str]) -> Running) {
    let bundle = t.bundle(|c| {
        c["process"]["args"] = json!(["true"]);
        without_namespace(c, "pid");
        let path = format!("/proc/{other}/ns/pid");
        namespaces(c).push(json!({"type": "pid", "path": path}));
    });
    let hook = hold(t, &bundle, "createContainer");
    let id = t.name("guest");
    let (of_bundle, rootfs) = (bundle.path().into(), bundle.rootfs());
    let own = (
        std::mem::replace(&mut table.bundle, of_bundle),
        std::mem::replace(&mut table.rootfs, rootfs),
    );
    let create = call(&["create", "--bundle", bundle.path(), &id]);
    let outside = held(&hook)["pid"].as_i64().expect("a pid") as i32;
    assert!(!is_inside(outside, other));
    let moment = "create into a pid namespace with others: createContainer hook";
    table.row(moment, "who sets up, outside of it", outside);
    table.row(moment, "hook", only_child(outside, &[]));
    release(&hook);
    ended(create);
    let state = t.rt(&["state", &id]).run().out;
    let state: Value = serde_json::from_str(&state).expect("a state");
    let first = state["pid"].as_i64().expect("a pid") as i32;
    assert!(is_inside(first, other) && first != outside);
    table.row("created there", "first process", first);
    t.rt(&["delete", "--force", &id]).ok();
    (table.bundle, table.rootfs) = own;
}

/// A socket at which nobody accepts holds nobody up for ever.
fn nobody_accepts(t: &Trial) {
    let c = t.idle();
    let (socket, _full) = full_socket(t);
    c.exec_cmd(&["--pidfd-socket", &socket], &["true"]).run().exits(255).says("nobody accepts");
    let asked = c.exec_cmd(&["--pidfd-socket", &socket], &["true"]).spawn();
    wait_until("somebody who enters", || children(asked.pid()).len() == 1);
    asked.kill(libc::SIGTERM);
    asked.wait().exits(128 + libc::SIGTERM);
    c.remove();
}

/// Adds a hook that says that it runs, and goes on when it may; returns its files' base.
fn hold(t: &Trial, bundle: &Bundle, stage: &str) -> PathBuf {
    let inside = matches!(stage, "createContainer" | "startContainer");
    // In the container's root, which both sides see.
    let base = match inside {
        true => bundle.rootfs().join("tmp").join(stage),
        false => t.dir.join(stage),
    };
    fs::create_dir_all(base.parent().expect("a directory")).expect("mkdir");
    let seen = match (stage, inside) {
        ("startContainer", _) => format!("/tmp/{stage}"),
        _ => base.display().to_string(),
    };
    let script = format!(
        "cat >{seen}.part; mv {seen}.part {seen}.held; until [ -e {seen}.go ]; do sleep 0.02; done"
    );
    let hook =
        json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]});
    bundle.edit(|c| {
        c["root"]["readonly"] = json!(false);
        c["hooks"][stage] = json!([hook]);
    });
    base
}

/// Waits for a hook; the state that it was given.
fn held(base: &Path) -> Value {
    let file = base.with_extension("held");
    wait_until(&format!("{}", file.display()), || file.exists());
    serde_json::from_slice(&fs::read(file).expect("read")).expect("a state")
}

fn release(base: &Path) {
    fs::write(base.with_extension("go"), "").expect("write");
}

#[track_caller]
fn ended(command: Running) {
    command.wait().ok();
}

/// A socket at which nobody answers, with no room for one more who waits.
fn full_socket(t: &Trial) -> (String, (UnixListener, Vec<UnixStream>)) {
    let path = t.dir.join("full");
    let listener = UnixListener::bind(&path).expect("bind");
    rustix::net::listen(&listener, 0).expect("listen");
    let one = UnixStream::connect(&path).expect("connect");
    (path.display().to_string(), (listener, vec![one]))
}

fn children(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// The child that is none of `others`; a subreaper of a hook stands for it.
fn only_child(pid: i32, others: &[i32]) -> i32 {
    let all: Vec<i32> = children(pid).into_iter().filter(|pid| !others.contains(pid)).collect();
    assert_eq!(all.len(), 1, "{all:?}");
    all[0]
}

fn is_inside(pid: i32, first: i32) -> bool {
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    namespace(pid).is_some() && namespace(pid) == namespace(first)
}

struct Table {
    bundle: PathBuf,
    rootfs: PathBuf,
    rows: Vec<String>,
}

impl Table {
    fn row(&mut self, moment: &str, process: &str, pid: i32) {
        // A hook may be quicker than who runs it, which lets go of what the hook reads.
        let read = || self.descriptors(pid).contains("in memory");
        wait_until("a document that is the hook's alone", || !read());
        let cells = [
            moment.to_owned(),
            process.to_owned(),
            self.rooted(pid).to_owned(),
            self.directory(pid),
            self.descriptors(pid),
            capabilities(pid).to_owned(),
            words(pid).to_owned(),
        ];
        self.rows.push(format!("| {} |", cells.join(" | ")));
    }

    fn text(&self) -> String {
        let head = "| moment | process | root | directory | descriptors besides the streams | capabilities | command line, environment |\n|---|---|---|---|---|---|---|\n";
        format!("{head}{}\n", self.rows.join("\n"))
    }

    fn rooted(&self, pid: i32) -> &'static str {
        let root = place(format!("/proc/{pid}/root/"));
        match root {
            root if root == place("/") => "host's",
            root if root == place(&self.rootfs) => "container's",
            _ => "unknown",
        }
    }

    fn directory(&self, pid: i32) -> String {
        let cwd = place(format!("/proc/{pid}/cwd/"));
        match cwd {
            cwd if cwd == place(&self.rootfs) => "the container's root".into(),
            cwd if cwd == place(&self.bundle) => "the bundle".into(),
            cwd if cwd == place("/mnt/home") => "the caller's".into(),
            _ => format!("{:?}", fs::read_link(format!("/proc/{pid}/cwd"))),
        }
    }

    fn descriptors(&self, pid: i32) -> String {
        let mut kinds = BTreeSet::new();
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors") {
            let entry = entry.expect("a descriptor");
            let number: u32 = entry.file_name().to_string_lossy().parse().expect("a number");
            // Closed meanwhile: none.
            let Ok(target) = fs::read_link(entry.path()) else { continue };
            if number > 2 {
                kinds.insert(self.kind(&target));
            }
        }
        match kinds.is_empty() {
            true => "none".into(),
            false => kinds.into_iter().collect::<Vec<_>>().join(", "),
        }
    }

    fn kind(&self, target: &Path) -> String {
        let text = target.to_string_lossy();
        let named = [
            ("socket:", "the channel"),
            ("pipe:", "a hook's output"),
            ("anon_inode:[pidfd]", "pidfds"),
            ("anon_inode:[signalfd]", "signals"),
            ("pid:", "the pid namespace"),
            ("/sys/fs/cgroup", "the container's cgroups"),
            ("/memfd:", "a document in memory"),
        ];
        if let Some((_, kind)) = named.iter().find(|(start, _)| text.starts_with(start)) {
            return (*kind).to_owned();
        }
        match &*text {
            text if text.ends_with(".fifo") => "the start gate".into(),
            text if text.ends_with(SECRET) => "the log".into(),
            "/" => "the container's root".into(),
            _ if target == self.rootfs => "the container's root".into(),
            text if text.ends_with("/proc") => "the container's procfs".into(),
            text if text.contains("/root/") => "the state directory".into(),
            other => other.to_owned(),
        }
    }
}

fn place(path: impl AsRef<Path>) -> (u64, u64) {
    let meta = fs::metadata(path.as_ref()).expect("a place");
    (meta.dev(), meta.ino())
}

/// Whose capabilities a process has.
fn capabilities(pid: i32) -> &'static str {
    match effective(pid) {
        0 => "none",
        all if all == effective(std::process::id() as i32) => "the caller's",
        _ => "the container's",
    }
}

/// The effective capabilities of a process, as a mask.
fn effective(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:\t"));
    u64::from_str_radix(line.expect("CapEff"), 16).expect("a mask")
}

/// Whose words `/proc/PID/cmdline` and `environ` show.
fn words(pid: i32) -> &'static str {
    let text = ["cmdline", "environ"].map(|name| fs::read(format!("/proc/{pid}/{name}")));
    let text: Vec<u8> =
        text.into_iter().map(Result::unwrap_or_default).collect::<Vec<_>>().concat();
    match String::from_utf8_lossy(&text) {
        text if text.contains(SECRET) => "the caller's",
        text if text.trim_matches(['\0', ' ']).is_empty() => "nothing",
        _ => "its own",
    }
}
