//! Environments, as QPOD's page has them, and what its reader would try next.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::stage::{Stage, done, finish, wait_until};

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a port").port()
}

/// The page's session: three services, of which `waf` needs two.
pub fn of_the_page(stage: &Stage) {
    let image =
        stage.image(&json!({}), &[vec![("bin/waf", 0o755, 0, &b"#!/bin/sh\necho built\n"[..])]]);
    let (web, grafana) = (free_port(), free_port());
    let serve = format!("while true; do echo hello | nc -l -p {web}; done");
    let template = json!({
        "name": "qpod",
        "image": format!("oci:{}", image.display()),
        "mounts": [{ "source": "/tmp" }],
        "binaries": [{ "name": "waf", "depends": ["web"] }, { "name": "gdb" }],
        "defaultRunArgs": ["-it", "--rm", "--privileged"],
        "services": [
            { "name": "web", "command": serve, "ports": [web] },
            { "name": "zookeeper", "command": "echo zoo; exec sleep 100000", "start": "auto" },
            { "name": "grafana", "command": ["sleep", "100000"], "ports": [grafana], "start": "manual" },
        ],
    });
    let top = stage.work_tree("tree", &template.to_string());
    let below = stage.directory("tree/a/b");
    let list = |states: [&str; 3]| {
        let [first, second, third] = states;
        format!(
            "services:\n  web ({first}, web: {web})\n  zookeeper ({second})\n  grafana ({third}, grafana: {grafana})\n"
        )
    };
    assert_eq!(stage.ok(&below, &["env", "service", "list"]), list(["stopped"; 3]));
    let id = stage.ok(&below, &["env", "service", "start", "grafana"]);
    let is_id = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(is_id(id.trim_end()), "{id}");
    assert_eq!(
        stage.ok(&below, &["env", "service", "list"]),
        list(["stopped", "stopped", "running"])
    );
    // `waf` alone, by its shim.
    let shims = stage.dir.join("shims");
    stage.ok(&below, &["env", "shims", &shims.display().to_string()]);
    let mut waf = stage.richctl(&below, &[]);
    let path = format!(
        "{}:{}:{}",
        shims.display(),
        stage.dir.join("bin").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    // The shim calls richctl without --root: the variables lead it to the same place.
    let root = stage.dir.join("r");
    let mut shim = Command::new(waf.get_program());
    let words: Vec<_> =
        waf.get_args().take_while(|word| *word != "--root").map(ToOwned::to_owned).collect();
    let shim_file = fs::read_to_string(shims.join("waf")).expect("read the shim");
    fs::write(
        shims.join("waf"),
        shim_file.replace("richctl env", &format!("richctl --root {} env", root.display())),
    )
    .expect("write the shim");
    if stage.user.is_some() {
        shim.args(&words[..words.len() - 1]).arg(shims.join("waf"));
    } else {
        shim = Command::new(shims.join("waf"));
    }
    shim.current_dir(&below)
        .env("PATH", &path)
        .env("HOME", &stage.dir)
        .env("XDG_RUNTIME_DIR", &stage.dir)
        .stdin(Stdio::null());
    let ran = done(shim);
    waf.stdin(Stdio::null());
    assert_eq!((ran.code, ran.out.as_str()), (0, "built\n"), "{ran:?}");
    assert_eq!(ran.err.lines().filter(|line| is_id(line)).count(), 2, "{ran:?}");
    assert_eq!(stage.ok(&below, &["env", "service", "list"]), list(["running"; 3]));
    assert_eq!(stage.ok(&below, &["env", "service", "logs", "zookeeper"]), "zoo\n");
    // The port is the host's, too.
    let mut text = String::new();
    let stream = TcpStream::connect(("127.0.0.1", web)).expect("connect");
    stream.set_read_timeout(Some(super::stage::PATIENCE)).expect("a bound");
    (&stream).read_to_string(&mut text).expect("read");
    assert_eq!(text, "hello\n");
    stage.ok(&top, &["env", "stop"]);
    assert_eq!(stage.ok(&top, &["env", "service", "list"]), list(["stopped"; 3]));
    stage.ok(&top, &["env", "rm"]);
    assert_gone(stage);
}

/// No process and no file of an environment is left.
fn assert_gone(stage: &Stage) {
    let mark = stage.dir.display().to_string();
    for part in ["r/run/env", "r/data/env"] {
        let left = fs::read_dir(stage.dir.join(part)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{part}");
    }
    wait_until("no process is left", || {
        let all = fs::read_dir("/proc").expect("read /proc").flatten();
        !all.into_iter().any(|entry| {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            entry.file_name() != std::process::id().to_string().as_str()
                && String::from_utf8_lossy(&line).contains(&mark)
        })
    });
}

const DOCUMENT: &str = include_str!("../../../docs/environments.md");

/// The template, the list and the commands of docs/environments.md as they stand there, but for
/// the images' names and the ports.
pub fn of_the_document(stage: &Stage) {
    let serve: &[u8] = b"#!/bin/sh\nwhile true; do echo hello | nc -l -p PORT; done\n";
    let (web, grafana) = (free_port(), free_port());
    let serve = String::from_utf8_lossy(serve).replace("PORT", &web.to_string());
    let sleep: &[u8] = b"#!/bin/sh\nexec sleep 100000\n";
    let programs =
        vec![("bin/web", 0o755, 0, serve.as_bytes()), ("bin/zkServer.sh", 0o755, 0, sleep)];
    let image = stage.image(&json!({}), &[programs]);
    let other = stage.image(&json!({ "Cmd": ["sleep", "100000"] }), &[]);
    let here = |text: &str| {
        text.replace("localhost/centos7-qpod:latest", &format!("oci:{}", image.display()))
            .replace("docker://docker.io/grafana/grafana", &format!("oci:{}", other.display()))
            .replace("8000", &web.to_string())
            .replace("3000", &grafana.to_string())
            .replace("oci:DIR", &format!("oci:{}", image.display()))
            .replace("IMAGE...", &format!("oci:{}", image.display()))
    };
    let blocks: Vec<String> = blocks(DOCUMENT).iter().map(|block| here(block)).collect();
    let template = blocks.iter().find(|block| block.starts_with('{')).expect("a template");
    let top = stage.work_tree("tree", template);
    let shown = blocks.iter().find_map(|block| block.strip_prefix("$ richctl env service list\n"));
    assert_eq!(stage.ok(&top, &["env", "service", "list"]), shown.expect("a list"));
    let run = |words: &[&str]| stage.ok(&top, words);
    let mut count = 0;
    for line in blocks.iter().flat_map(|block| block.lines()) {
        let Some(line) = line.strip_prefix("richctl ") else { continue };
        // What is said of it stands behind three spaces.
        let line = line.split("   ").next().unwrap_or(line).trim_end();
        for words in every_form(line) {
            run(&words);
            count += 1;
        }
    }
    assert!(count >= 12, "{count}");
    assert_gone(stage);
}

/// The indented blocks of a page.
fn blocks(page: &str) -> Vec<String> {
    let mut all: Vec<String> = vec![String::new()];
    for line in page.lines() {
        match line.strip_prefix("    ") {
            Some(line) => all.last_mut().expect("a block").push_str(&format!("{line}\n")),
            None => all.push(String::new()),
        }
    }
    all.retain(|block| !block.is_empty());
    all
}

/// The commands that a line with alternatives (`a|b`), an option (`[--x]`) and a NAME stands for.
fn every_form(line: &str) -> Vec<Vec<&str>> {
    let mut all: Vec<Vec<&str>> = vec![Vec::new()];
    for word in line.split(' ') {
        let optional = word.strip_prefix('[').and_then(|word| word.strip_suffix(']'));
        let words: Vec<Option<&str>> = match (optional, word) {
            (Some(option), _) => vec![None, Some(option)],
            (None, "NAME") => vec![Some("web")],
            (None, word) => word.split('|').map(Some).collect(),
        };
        all = all
            .iter()
            .flat_map(|before| {
                words.iter().map(|word| before.iter().copied().chain(*word).collect())
            })
            .collect();
    }
    all
}

fn simple(stage: &Stage, name: &str, more: Value) -> PathBuf {
    let image = stage.image(&json!({}), &[]);
    let mut template =
        json!({ "image": format!("oci:{}", image.display()), "binaries": ["sh", "ps"] });
    for (key, value) in more.as_object().expect("a table") {
        template[key] = value.clone();
    }
    stage.work_tree(name, &template.to_string())
}

/// Where commands run, with directory, variables, streams and exit status.
pub fn commands(stage: &Stage) {
    let top = simple(stage, "tree", json!({ "environment": { "A": "1" } }));
    let below = stage.directory("tree/sub");
    stage.file(
        &below.join("tool"),
        "#!/bin/sh\nhostname; pwd; echo $A $B; ls /qpod/sub; cat; exit 7\n",
        0o755,
    );
    let mut tool = stage.richctl(&below, &["env", "run", "-e", "B=2", "./tool"]);
    tool.stdin(fs::File::open(top.join(".qpod.json")).expect("open"));
    let ran = done(tool);
    assert_eq!(ran.code, 7, "{ran:?}");
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(lines[0].starts_with("tree-"), "{ran:?}");
    assert_eq!(lines[1..4], [below.to_str().unwrap_or_default(), "1 2", "tool"], "{ran:?}");
    assert!(lines[4].contains("\"binaries\""), "{ran:?}");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("read");
    assert_eq!(stage.ok(&below, &["env", "run", "cat", "/proc/sys/kernel/hostname"]), host);
    let forced = |word: &str, words: &[&str]| {
        let mut command = stage.richctl(&below, words);
        command.env("RICHCTL_ENV_FORCE", word);
        done(command)
    };
    let inside = forced("container", &["env", "run", "cat", "/proc/sys/kernel/hostname"]);
    assert!(inside.out.starts_with("tree-"), "{inside:?}");
    assert_eq!(forced("host", &["env", "run", "sh", "-c", "exit 3"]).code, 3);
    assert_eq!(forced("maybe", &["env", "run", "sh"]).code, 125);
    assert_eq!(stage.run(&below, &["env", "run", "no-such-program"]).code, 125);
    // A file that a command makes is the caller's.
    stage.ok(&below, &["env", "run", "sh", "-c", "echo x > made"]);
    let owner =
        std::os::unix::fs::MetadataExt::uid(&fs::metadata(below.join("made")).expect("made"));
    assert_eq!(owner, stage.user.as_ref().map_or(0, |user| user.uid));
    // Beyond an environment, and in somebody else's.
    let done = stage.run(Path::new("/"), &["env", "status"]);
    assert!(done.code == 125 && done.err.contains("no git work tree"), "{done:?}");
    if stage.user.is_none() {
        std::os::unix::fs::chown(&top, Some(12345), None).expect("chown");
        let done = stage.run(&top, &["env", "status"]);
        assert!(done.code == 125 && done.err.contains("belongs to user 12345"), "{done:?}");
        std::os::unix::fs::chown(&top, Some(0), None).expect("chown");
    }
    stage.ok(&top, &["env", "rm"]);
    assert_gone(stage);
}

/// A signal that is sent to richctl is the command's; one that nobody can catch leaves
/// nothing that `env stop` would not end.
pub fn ends(stage: &Stage) {
    let top = simple(stage, "tree", json!({}));
    let start = |script: &str| {
        let mut command = stage.richctl(&top, &["env", "run", "sh", "-c", script]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("output"));
        output.read_line(&mut line).expect("read");
        (child, output)
    };
    let (child, mut output) =
        start("trap 'echo caught; exit 9' TERM; echo up; while true; do sleep 0.1; done");
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("kill");
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("read");
    let done = finish(child);
    assert_eq!((done.code, rest.as_str()), (9, "caught\n"), "{done:?}");
    let (mut child, mut output) = start("echo up; exec sleep 100000");
    child.kill().expect("kill");
    let _ = child.wait();
    assert!(stage.ok(&top, &["env", "run", "ps"]).contains("sleep 100000"));
    stage.ok(&top, &["env", "stop"]);
    output.read_to_string(&mut rest).expect("the stream ends with the command");
    stage.ok(&top, &["env", "rm"]);
    assert_gone(stage);
}

/// Two environments: the same port inside, other processes, another network.
pub fn apart(stage: &Stage) {
    let serve = |text: &str| {
        json!({ "services": [{ "name": "web", "start": "auto",
            "command": format!("while true; do echo {text} | nc -l -p 8000; done"),
            "ports": [format!("127.0.0.1:{}:8000", free_port())] }] })
    };
    let one = simple(stage, "one", serve("first"));
    let two = simple(stage, "two", serve("second"));
    assert_eq!(stage.ok(&one, &["env", "run", "sh", "-c", "nc web 8000"]), "first\n");
    assert_eq!(stage.ok(&two, &["env", "run", "sh", "-c", "nc 127.0.0.1 8000"]), "second\n");
    let seen = stage.ok(&one, &["env", "run", "ps"]);
    assert!(seen.contains("echo first") && !seen.contains("echo second"), "{seen}");
    stage.ok(&one, &["env", "rm"]);
    assert_eq!(stage.ok(&two, &["env", "run", "sh", "-c", "nc web 8000"]), "second\n");
    stage.ok(&two, &["env", "rm"]);
    assert_gone(stage);
}

/// A service is restarted while a command runs that changes what it depends on.
pub fn content(stage: &Stage) {
    let top = simple(
        stage,
        "tree",
        json!({ "services": [
            { "name": "web", "command": "cat plugins/x/version; exec sleep 100000", "start": "auto", "content": ["plugins/**"] },
            { "name": "other", "command": "echo other; exec sleep 100000", "start": "auto", "content": ["else/*"] },
        ] }),
    );
    let id = |name: &str| {
        let status = stage.ok(&top, &["env", "status", "--json"]);
        let status: Value = serde_json::from_str(&status).expect("JSON");
        status["services"][name].as_str().map(str::to_owned)
    };
    stage.ok(&top, &["env", "run", "sh", "-c", "true"]);
    let before = (id("web").expect("web"), id("other").expect("other"));
    let script = "mkdir -p plugins/x; echo new > plugins/x/version.tmp; mv plugins/x/version.tmp plugins/x/version 2>/dev/null || echo new > plugins/x/version";
    stage.ok(&top, &["env", "run", "sh", "-c", script]);
    let after = (id("web").expect("web"), id("other").expect("other"));
    assert_ne!(before.0, after.0);
    assert_eq!(before.1, after.1);
    assert!(stage.ok(&top, &["env", "service", "logs", "web"]).ends_with("new\n"));
    // Nothing has changed: nothing is restarted.
    stage.ok(&top, &["env", "run", "sh", "-c", "true"]);
    assert_eq!(id("web"), Some(after.0));
    stage.ok(&top, &["env", "rm"]);
    assert_gone(stage);
}

/// A service that fails is started anew, as often as its template says.
pub fn restarts(stage: &Stage) {
    let image = stage.image(&json!({}), &[]);
    let template = json!({
        "image": format!("oci:{}", image.display()),
        "services": [{
            "name": "web", "command": "echo run; exit 3", "start": "manual",
            "restart": "on-failure:2",
        }],
    });
    let top = stage.work_tree("tree", &template.to_string());
    stage.ok(&top, &["env", "service", "start", "web"]);
    let stopped = "services:\n  web (stopped)\n";
    wait_until("its last end", || stage.ok(&top, &["env", "service", "list"]) == stopped);
    assert_eq!(stage.ok(&top, &["env", "service", "logs", "web"]), "run\nrun\nrun\n");
    stage.ok(&top, &["env", "rm"]);
}
