//! What a container is given at its start besides its configuration:
//! terminals, standard streams, descriptors, and who is told of it.

mod terminals;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::Duration;

use richrun_tests::bundle::{args, namespaces, sh, user_namespace};
use richrun_tests::command::{Cmd, Running, wait_until};
use richrun_tests::container::IDLE;
use richrun_tests::stage::SUB_FIRST;
use richrun_tests::suite::{BOTH, ONE};
use richrun_tests::terminal::{FdSocket, NotifySocket, pid_behind};
use richrun_tests::{Bundle, Kind, Output, Suite, Trial};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    terminals::register(suite);
    suite
        .on(BOTH, "pidfd_sockets", pidfd_sockets)
        .on(BOTH, "preserved_descriptors", preserved_descriptors)
        .on(ONE, "socket_activation", socket_activation)
        .on(ONE, "sockets_of_somebody_else", sockets_of_somebody_else)
        .on(ONE, "readiness_of_run", readiness_of_run)
        .on(ONE, "readiness_of_start", readiness_of_start)
        .on(ONE, "pid_file_is_replaced", pid_file_is_replaced)
        .on(ONE, "streams_are_the_callers", streams_are_the_callers)
        .on(ONE, "streams_belong_to_the_user", streams_belong_to_the_user)
        .on(ONE, "streams_in_a_user_namespace", streams_in_a_user_namespace)
        .on(ONE, "streams_in_a_joined_user_namespace", streams_in_a_joined_user_namespace)
        .on(ONE, "devices_are_not_given_away", devices_are_not_given_away)
        .on(ONE, "closed_streams", closed_streams)
        .on(BOTH, "seccomp_agent", seccomp_agent);
}

fn pidfd_sockets(t: &Trial) {
    t.only(&[Kind::Richrun], "has no --pidfd-socket in these versions");
    let socket = FdSocket::new(&t.dir.join("run/pidfd"));
    for verb in [["create", "--no-pivot"], ["run", "-d"]] {
        let bundle = t.bundle(|c| sh(c, IDLE));
        let options = ["--pidfd-socket", socket.path(), "-b", bundle.path(), &bundle.id];
        t.rt(&verb[..if verb[0] == "run" { 2 } else { 1 }]).args(&options).ok();
        let c = t.take(&bundle);
        assert_eq!(pid_behind(socket.receive().1), c.pid(), "{verb:?}");
        if verb[0] == "run" {
            let file = t.dir.join("run/exec.pid");
            let file = file.to_str().expect("utf-8 path");
            let options = ["-d", "--pidfd-socket", socket.path(), "--pid-file", file];
            c.exec_cmd(&options, &["sleep", "100"]).ok();
            let pid = fs::read_to_string(file).expect("pid file");
            assert_eq!(pid_behind(socket.receive().1), pid.parse::<i32>().expect("a pid"));
        }
        c.remove();
    }
}

/// What lists the descriptors from 3 on by their numbers, its own left out.
const LIST: &str = "exec 9</proc/self/fd/; for n in 3 4 5 6 7 8; do \
    [ -e /proc/$$/fd/$n ] && printf '%s ' $n; done; echo";

fn three_files(t: &Trial, command: Cmd<'_>) -> Output {
    let mut command = command;
    for number in 3..6 {
        let file = t.dir.join(format!("home/kept{number}"));
        fs::write(&file, format!("text {number}")).expect("write");
        command = command.fd(number, File::open(&file).expect("open"));
    }
    command.ok()
}

fn preserved_descriptors(t: &Trial) {
    let script = format!("{LIST}; cat <&4");
    let bundle = t.bundle(|c| sh(c, &script));
    three_files(t, t.run_cmd(&bundle, &["--preserve-fds", "2"])).prints("3 4 \ntext 4");
    // A created container's payload has them too.
    let out = t.dir.join("out/created");
    let file = File::create(&out).expect("create");
    let line = ["create", "--preserve-fds", "2", "-b", bundle.path(), &bundle.id];
    three_files(t, t.rt(&line).stdio(1, file));
    let c = t.take(&bundle);
    c.start();
    c.wait("stopped");
    assert_eq!(fs::read_to_string(&out).expect("output"), "3 4 \ntext 4");
    c.remove();
    let bundle = t.bundle(|c| sh(c, LIST));
    three_files(t, t.run_cmd(&bundle, &[])).prints("");
}

/// `LISTEN_PID` is the runtime's own only where a shell becomes the runtime.
fn activated<'t>(t: &'t Trial, pid: &str, verb: &[&str]) -> Cmd<'t> {
    let become_it = format!(
        "export LISTEN_PID={pid} LISTEN_FDS=1 LISTEN_FDNAMES=web; exec \"$0\" --root {} \"$@\"",
        t.root().display()
    );
    let program = t.runtime_path();
    let program = program.to_str().expect("utf-8 path").to_owned();
    t.cmd("/bin/sh", &["-c", &become_it, &program]).args(verb)
}

fn socket_activation(t: &Trial) {
    let show = format!("{LIST}; echo $LISTEN_FDS,$LISTEN_PID; cat <&3; cat <&4");
    let bundle = t.bundle(|c| sh(c, &show));
    // First the sockets, then what is preserved.
    let line = ["run", "--preserve-fds", "1", "-b", bundle.path(), &bundle.id];
    let wanted = "3 4 \n1,1\ntext 3text 4";
    three_files(t, activated(t, "$$", &line)).prints(wanted);
    if t.is_richrun() {
        let bundle = t.bundle(|c| sh(c, "echo $LISTEN_FDNAMES"));
        let line = ["run", "-b", bundle.path(), &bundle.id];
        three_files(t, activated(t, "$$", &line)).prints("web");
        let c = t.idle();
        let line = ["exec", "--preserve-fds", "1", &c.id, "sh", "-c", &show];
        three_files(t, activated(t, "$$", &line)).prints(wanted);
        c.remove();
    }
}

fn sockets_of_somebody_else(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "passes them on whatever LISTEN_PID says");
    let bundle = t.bundle(|c| sh(c, &format!("{LIST}; echo ${{LISTEN_FDS-none}}")));
    let line = ["run", "-b", bundle.path(), &bundle.id];
    three_files(t, activated(t, "1", &line)).prints("\nnone".trim_start());
    let line = ["run", "--preserve-fds", "1", "-b", bundle.path(), &bundle.id];
    three_files(t, activated(t, "1", &line)).prints("3 \nnone");
}

/// A payload that waits for `/tmp/go`, then says that it is ready.
fn notifier(t: &Trial) -> Bundle {
    let bundle = t.bundle(|c| {
        sh(
            c,
            "while [ ! -e /tmp/go ]; do sleep 0.01; done; \
               /probe notify STATUS=up READY=1 BARRIER=1; sleep 100",
        );
    });
    bundle.with_probe()
}

/// Everything that the service manager is told while `command` runs. Dropping
/// a barrier's descriptor passes it.
fn told(host: &NotifySocket, command: &Running) -> String {
    let mut said = String::new();
    loop {
        let alive = command.alive();
        match host.receive(0) {
            Some((text, fds)) => {
                assert_eq!(fds.len(), usize::from(text == "BARRIER=1"), "{text}");
                said.push_str(&text);
                said.push('\n');
            }
            None if !alive => return said,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// `command` starts the payload of `bundle`: it must not end before the payload
/// has said that it is ready.
fn waits_for_readiness(t: &Trial, host: &NotifySocket, bundle: &Bundle, command: Cmd<'_>) {
    let starting = command.spawn();
    let c = t.take(bundle);
    wait_until("the payload to run", || {
        t.rt(&["state", &bundle.id]).run().out.contains("\"running\"")
    });
    std::thread::sleep(Duration::from_millis(150));
    assert!(starting.alive(), "the payload is not ready");
    assert!(host.receive(0).is_none(), "nothing is said before the payload says it");
    bundle.file("/tmp/go", "");
    let said = told(host, &starting);
    starting.wait().ok();
    assert!(said.contains("STATUS=up\n"), "{said}");
    assert!(said.contains("READY=1\n"), "{said}");
    assert!(said.ends_with("BARRIER=1\n"), "{said}");
    assert!(said.contains(&format!("MAINPID={}\n", c.pid())), "{said} {}", c.pid());
    c.remove();
}

fn readiness_of_run(t: &Trial) {
    t.only(&[Kind::Richrun], "tells other words");
    let host = NotifySocket::new(&t.dir.join("run/host"));
    let path = host.path.to_str().expect("utf-8 path").to_owned();
    let bundle = notifier(t);
    let command = t.rt(&["run", "-d", "-b", bundle.path(), &bundle.id]);
    waits_for_readiness(t, &host, &bundle, command.env("NOTIFY_SOCKET", &path));
}

fn readiness_of_start(t: &Trial) {
    t.only(&[Kind::Richrun], "tells other words");
    let host = NotifySocket::new(&t.dir.join("run/host"));
    let path = host.path.to_str().expect("utf-8 path").to_owned();
    let bundle = notifier(t);
    let line = ["create", "-b", bundle.path(), &bundle.id];
    t.rt(&line).env("NOTIFY_SOCKET", &path).ok();
    let command = t.rt(&["start", &bundle.id]);
    waits_for_readiness(t, &host, &bundle, command.env("NOTIFY_SOCKET", &path));
}

/// By rename: who reads the file never sees half of it, and a link in its
/// place is not followed.
fn pid_file_is_replaced(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "writes into the file that is there");
    let dir = t.dir.join("run");
    let canary = dir.join("canary");
    fs::write(&canary, "canary").expect("write");
    for (name, exec) in [("pid", false), ("exec-pid", true)] {
        let file = dir.join(name);
        symlink(&canary, &file).expect("symlink");
        let path = file.to_str().expect("utf-8 path");
        let bundle = t.bundle(|c| sh(c, IDLE));
        let wanted = if exec {
            let c = t.detach(&bundle);
            c.exec_cmd(&["-d", "--pid-file", path], &["sleep", "100"]).ok();
            None
        } else {
            // A relative path is the caller's, not the bundle's.
            let line = ["run", "-d", "--pid-file", name, "-b", bundle.path(), &bundle.id];
            t.rt(&line).dir(&dir).ok();
            Some(t.take(&bundle).pid())
        };
        let text = fs::read_to_string(&file).expect("the pid file");
        let pid: i32 = text.parse().unwrap_or_else(|_| panic!("nothing but digits: {text:?}"));
        assert!(wanted.is_none_or(|wanted| wanted == pid), "{wanted:?} {pid}");
        assert!(fs::symlink_metadata(&file).expect("stat").is_file(), "the link was followed");
        assert_eq!(fs::read_to_string(&canary).expect("canary"), "canary");
        t.take(&bundle).remove();
        assert!(!bundle.dir.join(name).exists());
    }
    let left: Vec<_> = fs::read_dir(&dir).expect("read").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left.len(), 3, "a temporary file was left: {left:?}");
}

fn streams_are_the_callers(t: &Trial) {
    let out = t.sh("tr a-z A-Z; echo err >&2");
    assert_eq!((out.out.as_str(), out.err.as_str()), ("", "err\n"), "an empty input");
    let bundle = t.bundle(|c| sh(c, "tr a-z A-Z; echo err >&2"));
    let out = t.run_cmd(&bundle, &[]).input("some words\n").ok();
    assert_eq!((out.out.as_str(), out.err.as_str()), ("SOME WORDS\n", "err\n"));
    // The very same open files, a detached container too.
    let file = t.dir.join("out/stream");
    let open = || File::options().create(true).append(true).open(&file).expect("open");
    let bundle = t.bundle(|c| sh(c, "echo one; echo two >&2; readlink /proc/self/fd/0"));
    let line = ["run", "-d", "-b", bundle.path(), &bundle.id];
    t.rt(&line).stdio(1, open()).stdio(2, open()).ok();
    let c = t.take(&bundle);
    c.wait("stopped");
    assert_eq!(fs::read_to_string(&file).expect("read"), "one\ntwo\n/dev/null\n");
    c.remove();
}

/// So that it can open `/dev/stdout` again; the null device stays everybody's.
fn streams_belong_to_the_user(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "gives the null device of the host away");
    let as_user = |c: &mut Value, script: &str| {
        sh(c, script);
        c["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    };
    let again = "echo again > /dev/stdout; echo error > /dev/stderr";
    let null = || fs::metadata("/dev/null").map(|file| (file.uid(), file.gid())).expect("stat");
    let before = null();
    let bundle = t.bundle(|c| as_user(c, again));
    let file = t.dir.join("out/owned");
    let (reading, writing) = std::io::pipe().expect("pipe");
    let line = ["run", "-d", "-b", bundle.path(), &bundle.id];
    t.rt(&line).stdio(1, File::create(&file).expect("create")).stdio(2, writing).ok();
    let c = t.take(&bundle);
    c.wait("stopped");
    c.remove();
    assert_eq!(fs::read_to_string(&file).expect("read"), "again\n");
    assert_eq!(fs::metadata(&file).expect("stat").uid(), 1000);
    assert_eq!(std::io::read_to_string(reading).expect("read"), "error\n");
    assert_eq!(null(), before, "/dev/null was given away");
    let c = t.idle();
    c.exec_cmd(&["-u", "1000"], &["sh", "-c", again]).ok().prints("again").says("error");
    assert_eq!(null(), before);
    c.remove();
    if t.is_richrun() {
        // Whatever the container says that its null device is.
        let c = t.idle();
        c.exec("rm /dev/null && touch /dev/null").ok();
        c.exec_cmd(&["-u", "1234"], &["true"]).ok();
        assert_eq!(null(), before);
        c.remove();
    }
}

/// What opens each standard stream again by its name.
const AGAIN: &str = "cat < /dev/stdin; echo out > /dev/stdout; echo err > /dev/stderr";

/// The command with pipes of root's as its streams; whatever user of whatever namespace
/// has them now must be able to open each again.
fn opens_pipes_again(what: &str, command: Cmd<'_>, ended: impl FnOnce()) {
    use std::io::Write;
    let (read, mut feed) = std::io::pipe().expect("pipe");
    let (output, out) = std::io::pipe().expect("pipe");
    let (errors, err) = std::io::pipe().expect("pipe");
    feed.write_all(b"in\n").expect("feed");
    drop(feed);
    command.stdio(0, read).stdio(1, out).stdio(2, err).run();
    ended();
    let read = |pipe| std::io::read_to_string(pipe).expect("read");
    let all = (read(output), read(errors));
    assert_eq!((all.0.as_str(), all.1.as_str()), ("in\nout\n", "err\n"), "{what}");
}

/// Every way to start it: `run`, `create` and `start`, `exec`.
fn every_start_opens_pipes_again(t: &Trial, edit: impl Fn(&mut Value)) {
    for uid in [0, 1000] {
        let bundle = |script: &str| {
            t.bundle(|c| {
                sh(c, script);
                c["process"]["user"] = json!({"uid": uid, "gid": uid});
                edit(c);
            })
        };
        let first = bundle(AGAIN);
        opens_pipes_again(&format!("run as {uid}"), t.run_cmd(&first, &[]), || {});
        let second = bundle(AGAIN);
        let line = ["create", "-b", second.path(), &second.id];
        opens_pipes_again(&format!("create as {uid}"), t.rt(&line), || {
            let c = t.take(&second);
            c.start();
            c.wait("stopped");
            c.remove();
        });
        let idle = t.detach(&bundle(IDLE));
        let user = uid.to_string();
        let exec = idle.exec_cmd(&["-u", &user], &["sh", "-c", AGAIN]);
        opens_pipes_again(&format!("exec as {uid}"), exec, || {});
        idle.remove();
    }
}

/// Inside nobody has rights over what the host's root owns: only the runtime has.
fn streams_in_a_user_namespace(t: &Trial) {
    t.only(&[Kind::Richrun], "leaves the streams to the host's root");
    every_start_opens_pipes_again(t, user_namespace);
    // A file keeps its content, and is the user's as well.
    let file = t.dir.join("out/mapped");
    let bundle = t.bundle(|c| {
        sh(c, "echo again > /dev/stdout");
        user_namespace(c);
    });
    t.run_cmd(&bundle, &[]).stdio(1, File::create(&file).expect("create")).ok();
    assert_eq!(fs::metadata(&file).expect("stat").uid(), SUB_FIRST);
}

fn streams_in_a_joined_user_namespace(t: &Trial) {
    t.only(&[Kind::Richrun], "leaves the streams to the host's root");
    let owner = t.idle_with(user_namespace);
    let path = format!("/proc/{}/ns/user", owner.pid());
    every_start_opens_pipes_again(t, |c| {
        namespaces(c).push(json!({"type": "user", "path": path}));
    });
    owner.remove();
}

/// A device that everybody uses does not become the payload's, whichever it is.
fn devices_are_not_given_away(t: &Trial) {
    t.only(&[Kind::Richrun], "gives every device away but one");
    let owners = || {
        ["null", "zero", "full"]
            .map(|name| fs::metadata(format!("/dev/{name}")).map(|file| file.uid()).expect("stat"))
    };
    let before = owners();
    for edit in [(|_| {}) as fn(&mut Value), user_namespace] {
        let bundle = t.bundle(|c| {
            sh(c, "true");
            c["process"]["user"] = json!({"uid": 1000, "gid": 1000});
            edit(c);
        });
        let open = |name: &str| File::options().read(true).write(true).open(name).expect("open");
        let run = t.run_cmd(&bundle, &[]).stdio(0, open("/dev/zero")).stdio(1, open("/dev/full"));
        run.stdio(2, open("/dev/null")).ok();
        assert_eq!(owners(), before);
    }
}

/// What the runtime opens for itself must not become a stream of the payload:
/// it would be a file of the host's. What was closed is the null device.
fn closed_streams(t: &Trial) {
    t.only(&[Kind::Richrun], "gives the payload its own files instead, or leaves them closed");
    let bundle = || {
        let bundle = t.bundle(|c| args(c, &["/probe", "descriptors", "/tmp/seen"]));
        bundle.with_probe()
    };
    let program = t.runtime_path();
    let program = program.to_str().expect("utf-8 path");
    let root = t.root();
    let closed = |line: &[&str]| {
        let words = ["-c", "exec \"$@\" <&- >&- 2>&-", "sh", program, "--root"];
        t.cmd("/bin/sh", &words).arg(root.to_str().expect("utf-8 path")).args(line).ok();
    };
    let check = |bundle: &Bundle| {
        let seen = fs::read_to_string(bundle.rootfs().join("tmp/seen")).expect("seen");
        assert_eq!(seen, "0 /dev/null\n1 /dev/null\n2 /dev/null\n");
    };
    let first = bundle();
    closed(&["run", "-b", first.path(), &first.id]);
    check(&first);
    let bundle = bundle();
    closed(&["create", "-b", bundle.path(), &bundle.id]);
    closed(&["start", &bundle.id]);
    t.take(&bundle).wait("stopped");
    check(&bundle);
    t.take(&bundle).remove();
    let c = t.idle();
    std::fs::copy(bundle.rootfs().join("probe"), c.bundle.rootfs().join("probe")).expect("copy");
    closed(&["exec", "-d", &c.id, "/probe", "descriptors", "/tmp/seen"]);
    let seen = c.bundle.rootfs().join("tmp/seen");
    wait_until("the process", || std::fs::metadata(&seen).is_ok_and(|data| data.len() > 0));
    check(&c.bundle);
    c.remove();
}

/// As the ordinary user too, who may take a descriptor only from a process that allows it.
/// One connection a process, one document in it, the descriptor with its first
/// message, and then its end (config-linux.md, "The Container Process State").
fn seccomp_agent(t: &Trial) {
    t.only(&[Kind::Richrun, Kind::Runc], "keeps the connection");
    let agent = FdSocket::new(&t.dir.join("run/agent"));
    let c = t.idle_with(|c| {
        c["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": agent.path(),
            "listenerMetadata": "some words",
            "syscalls": [{"names": ["kcmp"], "action": "SCMP_ACT_NOTIFY"}],
        });
    });
    let check = |status: &str, init: bool| {
        let said = agent.conversation();
        assert_eq!(said[0].1.len(), 1, "the descriptor comes first");
        assert!(said[1..].iter().all(|(_, fds)| fds.is_empty()), "and only once");
        let text: String = said.iter().map(|(text, _)| text.as_str()).collect();
        let told: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        assert_eq!(told["fds"], json!(["seccompFd"]));
        assert_eq!(told["metadata"], "some words");
        assert!(told["ociVersion"].is_string(), "{told}");
        assert_eq!(told["state"]["id"], json!(c.id));
        assert_eq!(told["state"]["status"], status, "{told}");
        assert_eq!(told["state"]["pid"], json!(c.pid()), "{told}");
        assert_eq!(told["pid"] == json!(c.pid()), init, "{told}");
        assert!(!agent.has_more(), "one connection");
    };
    check("creating", true);
    c.exec_cmd(&[], &["true"]).ok();
    check("running", false);
    c.remove();
}
