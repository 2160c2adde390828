//! Every example of the helps, the manual, README and docs/ runs as it stands.
//!
//! Only the container's name is another one, so that trials do not meet. An example that
//! waits for a reader's terminal gets one; what it takes for granted (a bundle `box`, a
//! container `demo`) is made before, by [`Stage`].

use std::collections::BTreeSet;
use std::fs::{self, create_dir_all};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use richrun_tests::bundle::make_rootfs;
use richrun_tests::command::Cmd;
use richrun_tests::pages::{commands, left_by_exit};
use richrun_tests::suite::ROOT;
use richrun_tests::terminal::FdSocket;
use richrun_tests::{Kind, Suite, Trial, View};
use serde_json::Value;

pub fn register(suite: &mut Suite) {
    suite
        .on(ROOT, "of_every_help", of_every_help)
        .on(ROOT, "of_the_first_help_in_turn", of_the_first_help_in_turn)
        .on(ROOT, "of_the_manual_and_the_documents", of_the_manual_and_the_documents);
}

/// What does not run here, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    ("richrun run --rich --rich-mode systemd -b box demo", "needs systemd in the image: boot"),
    (
        "richrun --root /run/containerd/runc/k8s.io service list CONTAINER-ID",
        "needs a pod: engines",
    ),
    (
        "podman run --init --init-path /usr/local/bin/rich-init IMAGE",
        "needs podman and an image: engines",
    ),
];

/// Texts with examples outside of the helps.
const DOCUMENTS: &[(&str, &str)] = &[
    ("README.md", include_str!("../../README.md")),
    ("docs/rich.md", include_str!("../../docs/rich.md")),
    ("docs/services.md", include_str!("../../docs/services.md")),
    ("docs/inits.md", include_str!("../../docs/inits.md")),
    ("docs/kernel-features.md", include_str!("../../docs/kernel-features.md")),
    ("docs/differences.md", include_str!("../../docs/differences.md")),
];

/// The page of rich-init: its examples are a constant there.
const MANUAL: &str = include_str!("../../integration/pages/src/init.rs");

/// What is there before an example.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A root file system in `box`, without a configuration.
    Root,
    /// The bundle `box`.
    Bundle,
    Created,
    Running,
    Paused,
    Stopped,
    /// A rich container with services.
    Services,
    /// One that ends by itself, with services, for those that watch it.
    Ends,
    /// A plain one that ends by itself, and well.
    EndsAlone,
}

impl Stage {
    /// What an example needs, by its words.
    fn of(example: &str) -> Stage {
        let words: Vec<&str> = example.split_whitespace().collect();
        let verb = match words.iter().position(|word| *word == "richrun") {
            Some(at) if words.get(at + 1) == Some(&"--root") => words.get(at + 3),
            Some(at) => words.get(at + 1),
            None => None,
        };
        match verb.copied().unwrap_or_default() {
            "spec" => Stage::Root,
            "start" => Stage::Created,
            "resume" => Stage::Paused,
            "delete" if !words.contains(&"-f") => Stage::Stopped,
            "events" => Stage::Ends,
            "wait" => Stage::EndsAlone,
            "service" if words.contains(&"--follow") => Stage::Ends,
            "service" | "health" => Stage::Services,
            "exec" if words.contains(&"--needs") => Stage::Services,
            "state" | "inspect" | "kill" | "stop" | "delete" | "exec" | "list" | "ps" | "pause"
            | "update" | "mounts" => Stage::Running,
            _ => Stage::Bundle,
        }
    }
}

/// Puts the container's name of this trial where a word is `demo`.
fn named(example: &str, id: &str) -> String {
    let words = example.split_inclusive([' ', '\n']);
    words
        .map(|word| if word.trim_end() == "demo" { word.replace("demo", id) } else { word.into() })
        .collect()
}

/// The commands of a document: what is indented by four and begins with a program of ours.
fn of_document(text: &str) -> Vec<String> {
    let ours = |line: &&str| line.starts_with("    richrun ") || line.starts_with("    rich-init ");
    let lines: Vec<&str> = text.lines().filter(ours).map(|line| &line[4..]).collect();
    let settings = |command: &String| command.contains(" = ");
    commands(&lines.join("\n")).into_iter().filter(|command| !settings(command)).collect()
}

/// What stands below `Examples:` in a help.
fn of_help(t: &Trial, words: &[&str]) -> String {
    let path = t.runtime_path();
    let out = t.cmd(path.to_str().expect("utf-8"), words).arg("--help").ok().out;
    let (_, examples) = out.split_once("Examples:\n").unwrap_or_else(|| panic!("{words:?}: none"));
    examples.to_owned()
}

/// The names below `Commands:` in a help.
fn verbs(t: &Trial, words: &[&str]) -> Vec<String> {
    let path = t.runtime_path();
    let out = t.cmd(path.to_str().expect("utf-8"), words).arg("--help").ok().out;
    let Some((_, list)) = out.split_once("Commands:\n") else { return Vec::new() };
    let lines = list.lines().take_while(|line| line.starts_with("  "));
    let names = lines
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// Places of the host that examples name, this trial's own; the programs beside it in PATH.
fn own_places(t: &Trial) {
    let none: Option<&str> = None;
    let own = |from: &Path, onto: &str| {
        mount(Some(from), onto, none, MsFlags::MS_BIND, none).expect("bind a place of the host");
    };
    let run = t.dir.join("host-run");
    for states in ["user/1000/richrun", "docker/runtime-runc/moby"] {
        create_dir_all(run.join(states)).expect("/run");
    }
    own(&run, "/run");
    let etc = t.dir.join("host-etc");
    let copy = t.cmd("cp", &["-a", "/etc"]).arg(etc.to_str().expect("utf-8"));
    copy.ok();
    let hooks = etc.join("containers/oci/hooks.d");
    create_dir_all(&hooks).expect("hooks.d");
    create_dir_all(t.dir.join("host-share")).expect("hooks.d of a distribution");
    let hook = r#"{"version": "1.0.0", "hook": {"path": "/bin/true"}, "when": {"always": true},
        "stages": ["poststop"]}"#;
    fs::write(hooks.join("50-archive.json"), hook).expect("write a definition");
    own(&etc, "/etc");
    let programs = t.dir.join("bin");
    let ours = t.runtime_path();
    for name in ["richrun", "rich-init"] {
        let from = ours.with_file_name(name);
        std::os::unix::fs::symlink(from, programs.join(name)).expect("link a program");
    }
    // Words that stand for the reader's own programs.
    for name in ["server", "worker", "nginx"] {
        std::os::unix::fs::symlink("/bin/true", programs.join(name)).expect("link a program");
    }
    t.accept_mounts();
}

/// A shell in `dir` with the programs in PATH.
fn shell<'t>(t: &'t Trial, dir: &Path, script: &str) -> Cmd<'t> {
    let path =
        format!("{}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", t.dir.join("bin").display());
    t.cmd("sh", &["-ec", script]).env("PATH", &path).dir(dir)
}

const SERVICES: &str = r#"
[service.web]
command = "echo up; trap : HUP; while :; do sleep 0.2; done"
reload = "true"
log = "keep"
[service.db]
command = ["sleep", "1000"]
[service.grafana]
command = ["sleep", "1000"]
"#;

/// A fresh directory with what the example needs, and whether a terminal is among it.
fn prepare(t: &Trial, stage: Stage, example: &str) -> PathBuf {
    let dir = t.dir.join(format!("e{}", t.next()));
    let root = dir.join("box/rootfs");
    make_rootfs(&root);
    // What an example calls inside.
    let make = root.join("bin/make");
    std::os::unix::fs::symlink("busybox", root.join("bin/jq")).expect("link");
    fs::write(&make, "#!/bin/sh\n").expect("write a program");
    fs::set_permissions(&make, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
    fs::write(dir.join("services.toml"), SERVICES).expect("services.toml");
    let process = r#"{"cwd": "/", "args": ["/bin/true"], "user": {"uid": 0, "gid": 0}}"#;
    fs::write(dir.join("process.json"), process).expect("process.json");
    let mounts = r#"[{"destination": "/home", "type": "tmpfs"}]"#;
    fs::write(dir.join("mounts.json"), mounts).expect("mounts.json");
    if stage == Stage::Root {
        return dir;
    }
    let terminal = if example.contains("--console-socket") { "" } else { "--no-terminal" };
    shell(t, &dir, &format!("richrun spec -b box {terminal} && cp box/config.json .")).ok();
    let id = t.name("demo");
    let idle = "while :; do sleep 0.1; done";
    let script = match stage {
        Stage::Root | Stage::Bundle => return dir,
        Stage::Created => format!("richrun create -b box {id} -- sleep 1000"),
        Stage::Running => format!("richrun run -d -b box {id} -- sh -c '{idle}'"),
        Stage::Paused => {
            format!("richrun run -d -b box {id} -- sleep 1000; richrun pause {id}")
        }
        Stage::Stopped => {
            format!(
                "richrun run -d -b box {id} -- true; until richrun state {id} | grep -q stopped; do sleep 0.1; done"
            )
        }
        Stage::Services => {
            format!(
                "richrun run -d --rich --services services.toml -b box {id} -- sleep 1000; until richrun health {id}; do sleep 0.1; done"
            )
        }
        Stage::EndsAlone => format!("richrun run -d -b box {id} -- sleep 1"),
        Stage::Ends => {
            format!("richrun run -d --rich --services services.toml -b box {id} -- sleep 1")
        }
    };
    let begun = if example.contains("richrun create") { Vec::new() } else { vec![script] };
    for script in begun {
        shell(t, &dir, &script).ok();
    }
    if example.contains("exec --start") {
        // The step before it in the same help.
        shell(t, &dir, &format!("richrun exec --prepare --pid-file next.pid {id} true")).ok();
    }
    dir
}

/// Runs one example, and takes away what it made.
fn runs(t: &Trial, example: &str) -> Result<(), String> {
    let dir = prepare(t, Stage::of(example), example);
    let id = t.name("demo");
    let console = example
        .contains("/run/console.sock")
        .then(|| FdSocket::new(Path::new("/run/console.sock")));
    let script = named(example, &id);
    let out = match example.contains(" -t ") {
        false => shell(t, &dir, &script).run(),
        true => left_by_exit(shell(t, &dir, &script)),
    };
    drop(console);
    let failed = format!("{example}: {}\n{}{}", out.code, out.out, out.err);
    shell(t, &dir, &format!("richrun delete -f {id}")).ok();
    if out.code == 0 { Ok(()) } else { Err(failed) }
}

/// Runs all that are not listed, and says which of the list it has met.
fn run_all(t: &Trial, examples: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    let (elsewhere, here): (Vec<_>, Vec<_>) = examples
        .into_iter()
        .partition(|example| ELSEWHERE.iter().any(|(known, _)| known == example));
    let failed: Vec<String> = here.iter().filter_map(|example| runs(t, example).err()).collect();
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
    elsewhere.into_iter().collect()
}

/// The examples of every command's help.
fn all_of_helps(t: &Trial) -> Vec<String> {
    let mut found = Vec::new();
    for verb in verbs(t, &[]) {
        let helps = verbs(t, &[&verb]).into_iter().map(|inner| vec![verb.clone(), inner]);
        for words in helps.chain([vec![verb.clone()]]) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            found.extend(commands(&of_help(t, &words)));
        }
    }
    found
}

/// Those of the documents and of rich-init's page.
fn all_of_documents() -> Vec<String> {
    let (_, manual) = MANUAL.split_once("const EXAMPLES: &str = \"\\\n").expect("the constant");
    let (manual, _) = manual.split_once("\";").expect("its end");
    let documents = DOCUMENTS.iter().flat_map(|(_, text)| of_document(text));
    commands(manual).into_iter().chain(documents).collect()
}

const WHY: &str = "these are richrun's own";

fn of_every_help(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    own_places(t);
    let examples = all_of_helps(t);
    assert!(examples.len() > 40, "{examples:?}");
    // A hybrid host has these controllers in the other view.
    let bare = t.view == View::V2
        && !fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
            .unwrap_or_default()
            .contains("memory");
    let can = |example: &String| {
        let criu =
            ["richrun checkpoint", "richrun restore"].iter().any(|verb| example.starts_with(verb));
        // What CRIU can do is another machine's matter: the same commands are in `checkpoint`.
        !(criu || bare && example.contains("richrun update"))
    };
    let met = run_all(t, examples.into_iter().filter(can));
    let all = all_of_documents();
    for (known, _) in ELSEWHERE {
        let there = met.contains(*known) || all.iter().any(|example| example == known);
        assert!(there, "nothing says {known:?} any more: take it off the list");
    }
}

/// One session: each goes on where the last ended.
fn of_the_first_help_in_turn(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    own_places(t);
    let dir = t.dir.join("session");
    fs::create_dir(&dir).expect("a directory");
    let script = commands(&of_help(t, &[])).join("\n");
    left_by_exit(shell(t, &dir, &named(&script, &t.name("demo")))).ok().says("hello");
    let config = fs::read_to_string(dir.join("box/config.json")).expect("config.json");
    let _: Value = serde_json::from_str(&config).expect("JSON");
}

fn of_the_manual_and_the_documents(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    own_places(t);
    let examples = all_of_documents();
    assert!(examples.len() > 15, "{examples:?}");
    run_all(t, examples);
}
