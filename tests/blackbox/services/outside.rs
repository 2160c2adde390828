//! Services from outside: listed, steered, watched, and who may do so.

use std::fs;
use std::time::Instant;

use richrun_tests::bundle::{args, caps, sh};
use richrun_tests::command::wait_until;
use richrun_tests::container::IDLE;
use richrun_tests::suite::{ALL, BOTH, ONE, ROOT};
use richrun_tests::{Suite, Trial};

use serde_json::json;

use super::{bundle, command, content, end, start, told, wait_for};

pub fn register(suite: &mut Suite) {
    suite
        .on(ALL, "list_start_stop", list_start_stop)
        .on(ONE, "restart_signal_reload", restart_signal_reload)
        .on(BOTH, "logs", logs)
        .on(ONE, "reloads_tell_how_they_end", reloads_tell_how_they_end)
        .on(ONE, "status_and_wait", status_and_wait)
        .on(ONE, "exec_needs", exec_needs)
        .on(ONE, "events", events)
        .on(ALL, "the_payload_takes_nothing_of_pid_1", the_payload_takes_nothing_of_pid_1)
        .on(ROOT, "other_commands_keep_working", other_commands_keep_working)
        .on(ONE, "a_directory_without_end", a_directory_without_end)
        .on(ONE, "refusals", refusals)
        .on(ONE, "only_its_maker_and_only_from_outside", only_its_maker_and_only_from_outside);
}

/// What an image brings along costs the host little, whatever it is.
fn a_directory_without_end(t: &Trial) {
    let bundle = t.bundle(|c| {
        sh(c, "true");
        c["annotations"]["io.richrun.rich"] = json!("true");
    });
    let services = bundle.rootfs().join("etc/richrun/services.d");
    let fill = |count: usize, act: &dyn Fn(usize)| {
        let _none = fs::remove_dir_all(&services);
        fs::create_dir_all(&services).expect("mkdir");
        (0..count).for_each(act);
    };
    let refused = |word: &str| {
        // The runtime is given less than it would take to hold them all.
        let run = t.cmd("sh", &["-c", "ulimit -v 400000; exec \"$@\"", "sh"]);
        let root = t.root();
        let path = t.runtime_path();
        let words = [path.to_str(), Some("--root"), root.to_str(), Some("run"), Some("--bundle")];
        let words: Vec<&str> = words.map(|word| word.expect("utf-8")).into();
        run.args(&words).args(&[bundle.path(), &bundle.id]).run().fails().says(word);
    };
    // 3 000 names of one large document.
    let large = bundle.file("/etc/large", &" ".repeat((1 << 20) - 1));
    fill(3000, &|i| {
        std::os::unix::fs::symlink("/etc/large", services.join(format!("{i}.toml"))).expect("link");
    });
    refused("3000 documents, at most 256 are read");
    fill(200, &|i| fs::hard_link(&large, services.join(format!("{i}.toml"))).expect("link"));
    refused("documents of more than 2 MiB together");
    fill(5000, &|i| drop(fs::File::create(services.join(format!("{i}"))).expect("create")));
    refused("more than 4096 entries");
    for (name, text) in [
        ("keys", (0..60_000).map(|i| format!("k{i} = 1\n")).collect::<String>()),
        ("tables", (0..25_000).map(|i| format!("[t{i}]\n")).collect()),
        ("arrays", "[[a]]\n".repeat(170_000)),
        ("list", format!("[service.a]\ncommand = [{}]\n", "\"x\", ".repeat(150_000))),
    ] {
        fill(1, &|_| fs::write(services.join(format!("{name}.toml")), &text).expect("write"));
        refused("services");
    }
}

const QPOD: &str = "[service.web]\ncommand = [\"sleep\", \"100\"]\nports = { web = 8000 }\nstart = \"needed\"\n\
                    needs = [\"zookeeper\"]\n\
                    [service.zookeeper]\ncommand = [\"sleep\", \"101\"]\nstart = \"needed\"\n\
                    [service.grafana]\ncommand = [\"sleep\", \"102\"]\nports = { grafana = 3000 }\nstart = \"manual\"\n";

fn list_start_stop(t: &Trial) {
    let bundle = bundle(t, IDLE, QPOD);
    let begun = Instant::now();
    let (c, running) = start(t, &bundle);
    wait_for(t, &c, "main", "running");
    // Since the container's start, which is not the machine's.
    let since = told(t, &c, "grafana")["since"].as_u64().expect("since");
    assert!(since <= begun.elapsed().as_millis() as u64, "{since} ms");
    let list = t.rt(&["service", "list", &c.id]).ok();
    let rows: Vec<Vec<&str>> =
        list.out.lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows[0][..3], ["NAME", "STATE", "READY"]);
    assert_eq!(rows[1][..3], ["web", "stopped", "no"]);
    assert!(list.out.contains("grafana: 3000"));
    t.rt(&["service", "start", &c.id, "grafana"]).ok();
    assert_eq!(told(t, &c, "grafana")["state"], "running");
    t.rt(&["service", "start", &c.id, "web"]).ok();
    assert_eq!(told(t, &c, "zookeeper")["state"], "running");
    // What needs it goes first.
    t.rt(&["service", "stop", &c.id, "zookeeper"]).ok();
    for (name, state) in [("web", "stopped"), ("zookeeper", "stopped"), ("grafana", "running")] {
        assert_eq!(told(t, &c, name)["state"], state, "{name}");
    }
    c.verb("health", &[]).ok().prints("healthy");
    t.rt(&["service", "stop", &c.id, "main"]).ok();
    running.wait().exits(7);
}

fn restart_signal_reload(t: &Trial) {
    let text = "[service.a]\ncommand = \"trap 'echo hup >> /tmp/log' HUP; echo start >> /tmp/log; \
                while :; do sleep 0.02; done\"\nreload = \"echo reload >> /tmp/log\"\n\
                finish = \"echo finish $SERVICE_STATUS >> /tmp/log\"\n\
                [service.b]\ncommand = \"trap 'echo usr >> /tmp/log' USR1; : > /tmp/b; \
                while :; do sleep 0.02; done\"\n\
                reload-signal = \"USR1\"\n";
    let bundle = bundle(t, IDLE, text);
    let (c, running) = start(t, &bundle);
    let log = |words: &str| {
        wait_until(words, || {
            content(&bundle, "tmp/log").split_whitespace().collect::<Vec<_>>().join(" ") == words
        });
    };
    log("start");
    wait_until("b's trap", || bundle.rootfs().join("tmp/b").exists());
    t.rt(&["service", "signal", &c.id, "a", "HUP"]).ok();
    log("start hup");
    t.rt(&["service", "reload", &c.id, "a"]).ok();
    log("start hup reload");
    t.rt(&["service", "restart", &c.id, "a"]).ok();
    log("start hup reload finish 143 start");
    assert_eq!(told(t, &c, "a")["restarts"], 1);
    t.rt(&["service", "reload", &c.id, "b"]).ok();
    log("start hup reload finish 143 start usr");
    end(&c, running);
    log("start hup reload finish 143 start usr finish 143");
}

fn logs(t: &Trial) {
    let text = "[service.keep]\ncommand = \"seq 5000; exec sleep 100\"\nlog = \"keep\"\nlog-size = 4\n\
                [service.file]\ncommand = \"echo to a file; echo and errors >&2; exec sleep 100\"\nlog = \"/tmp/log\"\n\
                [service.none]\ncommand = [\"sleep\", \"100\"]\nlog = \"null\"\n\
                [service.open]\ncommand = \"echo to the container; exec sleep 100\"\n";
    let bundle = bundle(t, IDLE, text);
    let (c, running) = start(t, &bundle);
    let logs = |name: &str| t.rt(&["service", "logs", &c.id, name]).run();
    wait_until("the last line", || logs("keep").out.ends_with("4999\n5000\n"));
    let kept = logs("keep").ok();
    assert_eq!(kept.out.len(), 4096);
    wait_until("the file", || logs("file").out == "to a file\nand errors\n");
    logs("none").exits(1).says("service none has no log: what it puts out is thrown away");
    logs("open").exits(1).says("service open has no log of its own: ");
    t.rt(&["service", "logs", "-n", "2", &c.id, "keep"]).ok().prints("4999\n5000");
    let follow = t.rt(&["service", "logs", "--follow", "-n", "1", &c.id, "file"]).spawn();
    follow.wait_for("and errors\n");
    c.exec("echo more >> /tmp/log").ok();
    follow.wait_for("and errors\nmore\n");
    // A PID 1 that does not answer is not the end.
    let silent = t.rt(&["service", "logs", "--follow", "-n", "1", &c.id, "file"]).spawn();
    silent.wait_for("more\n");
    richrun_tests::sys::kill(c.pid(), libc::SIGSTOP);
    silent.wait().exits(1).says("no answer in 10 s");
    richrun_tests::sys::kill(c.pid(), libc::SIGCONT);
    running.wait_for("to the container");
    end(&c, running).prints("to the container");
    // The container's end is the log's.
    follow.wait().ok();
}

/// What a reload comes to, and what stands in its way.
fn reloads_tell_how_they_end(t: &Trial) {
    let service = |name: &str, more: &str| {
        format!("[service.{name}]\ncommand = [\"sleep\", \"1000\"]\n{more}\n")
    };
    let text = service("good", "reload = \"sleep 0.3; echo done > /tmp/done\"")
        + &service("bad", "reload = \"exit 3\"")
        + &service("lost", "reload = [\"/no/such\", \"x\"]")
        + &service("none", "")
        + &service("down", "reload = [\"true\"]\nstart = \"manual\"");
    let bundle = bundle(t, IDLE, &text);
    let (c, running) = start(t, &bundle);
    wait_for(t, &c, "main", "running");
    let reload = |name: &str| t.rt(&["service", "reload", &c.id, name]).run();
    reload("good").exits(0);
    assert_eq!(content(&bundle, "tmp/done"), "done\n");
    reload("bad").exits(1).says("service bad: its reload command has failed with status 3");
    reload("bad").exits(1);
    reload("lost").exits(1).says("service lost: its reload command cannot be executed: /no/such");
    reload("none").exits(1).says("service none has neither `reload`, a command, nor");
    reload("down").exits(1).says("service down does not run");
    end(&c, running);
}

fn status_and_wait(t: &Trial) {
    let text = "[service.late]\ncommand = \"until test -e /tmp/go; do sleep 0.05; done; echo >&3; exec sleep 1000\"\n\
                ready = \"fd:3\"\nstart-timeout = \"forever\"\n\
                [service.bad]\ncommand = \"until test -e /tmp/go; do sleep 0.05; done; exit 4\"\n\
                restart = \"never\"\nready = \"fd:3\"\n[service.off]\ncommand = [\"true\"]\nstart = \"manual\"\n\
                [service.main]\nneeds = []\n";
    let bundle = bundle(t, IDLE, text);
    let (c, running) = start(t, &bundle);
    wait_for(t, &c, "main", "running");
    let service = |words: &[&str]| t.rt(&[&["service"], words].concat());
    service(&["status", &c.id, "main"]).ok().shows("running");
    service(&["status", &c.id, "late"]).run().exits(3).shows("starting");
    service(&["status", &c.id]).run().exits(3).shows("off");
    service(&["wait", &c.id, "main"]).ok().prints("");
    let out = service(&["wait", "--timeout", "100ms", &c.id, "main", "late"]).run().exits(1);
    out.says("service: not ready in time: late");
    service(&["wait", &c.id, "nobody"]).run().exits(1).says("no service is named ");
    let (late, bad) = (["wait", &c.id, "late"], ["wait", &c.id, "bad"]);
    let (late, bad) = (service(&late).spawn(), service(&bad).spawn());
    assert!(late.alive() && bad.alive());
    c.exec("touch /tmp/go").ok();
    late.wait().ok();
    bad.wait().exits(1).says("service bad has failed");
    end(&c, running);
}

fn exec_needs(t: &Trial) {
    let text = format!(
        "{QPOD}[service.bad]\ncommand = \"exit 3\"\nrestart = \"never\"\nready = \"fd:3\"\nstart = \"manual\"\n"
    );
    let bundle = bundle(t, IDLE, &text);
    let (c, running) = start(t, &bundle);
    wait_for(t, &c, "main", "running");
    let out = c.exec_cmd(&["--needs", "web,grafana"], &["ps"]).ok();
    for command in ["sleep 100", "sleep 101", "sleep 102"] {
        assert!(out.out.contains(command), "{command}: {}", out.out);
    }
    c.exec_cmd(&["--needs", "bad"], &["true"]).run().exits(255).says("service bad has failed");
    for empty in ["", ",", "main,,bad"] {
        let out = c.exec_cmd(&["--needs", empty], &["echo", "ran"]).run().exits(255);
        assert!(!out.says("--needs: a name is empty").out.contains("ran"), "{empty:?}");
    }
    c.exec_cmd(&["--needs", "main,"], &["true"]).run().exits(255).says("--needs: a name is empty");
    c.exec_cmd(&["--needs", "nobody"], &["true"]).run().exits(255).says("no service is named ");
    end(&c, running);
}

fn events(t: &Trial) {
    let bundle = bundle(t, IDLE, QPOD);
    let (c, running) = start(t, &bundle);
    wait_for(t, &c, "main", "running");
    let events = t.rt(&["events", &c.id]).spawn();
    events.wait_for("\"health\":\"healthy\"");
    t.rt(&["service", "start", &c.id, "grafana"]).ok();
    end(&c, running);
    let out = events.wait().ok();
    let all: Vec<serde_json::Value> =
        out.out.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    assert!(all.iter().all(|event| event["time"].as_str().is_some_and(|time| time.ends_with('Z'))));
    let states: Vec<&str> = all
        .iter()
        .filter(|event| event["data"]["name"] == "grafana")
        .map(|event| event["data"]["state"].as_str().expect("a state"))
        .collect();
    assert_eq!(states, ["stopped", "waiting", "running", "stopping", "stopped"]);
    let health: Vec<&str> = all
        .iter()
        .filter(|event| event["type"] == "health")
        .filter_map(|event| event["data"]["health"].as_str())
        .collect();
    assert_eq!((health.first(), health.last()), (Some(&"healthy"), Some(&"stopping")));
    assert!(all.iter().all(|event| event["id"] == c.id.as_str()));
}

fn other_commands_keep_working(t: &Trial) {
    let bundle = bundle(t, IDLE, QPOD);
    let (c, running) = start(t, &bundle);
    wait_for(t, &c, "main", "running");
    c.exec("cat /proc/1/comm").ok().prints("rich-init");
    c.verb("ps", &[]).ok().shows("rich-init");
    c.verb("pause", &[]).ok();
    t.rt(&["service", "list", &c.id]).run().exits(1).says("is paused");
    c.verb("resume", &[]).ok();
    t.rt(&["service", "list", &c.id]).ok();
    c.kill("KILL");
    running.wait().exits(137);
}

fn refusals(t: &Trial) {
    let bundle = bundle(t, IDLE, QPOD);
    let (c, running) = start(t, &bundle);
    for (words, says) in [
        (&["service", "start", "ID", "x"][..], "no service is named "),
        (&["service", "start", "ID"], "the name of a service is missing"),
        (&["service", "signal", "ID", "web", "NO"], "unknown signal"),
        (&["service", "signal", "ID", "web", "TERM"], "service web does not run"),
        (&["service", "logs", "ID"], "logs needs the name of one service"),
        (&["service", "what", "ID"], "invalid value 'what'"),
        (&["service", "list", "nobody"], "does not exist"),
    ] {
        let words: Vec<&str> =
            words.iter().map(|word| if *word == "ID" { &c.id } else { *word }).collect();
        t.rt(&words).run().exits(1).says(says);
    }
    end(&c, running);
    let plain = t.idle();
    t.rt(&["service", "list", &plain.id]).run().exits(1).says("has no services");
    plain.verb("health", &[]).ok().prints("none");
    plain.remove();
}

fn only_its_maker_and_only_from_outside(t: &Trial) {
    let bundle = bundle(t, IDLE, QPOD);
    let (c, running) = start(t, &bundle);
    let socket = t.root().join(&c.id).join("services.sock");
    let path = socket.to_str().expect("utf-8 path");
    let data = fs::metadata(&socket).expect("the socket");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&data.permissions()) & 0o777, 0o600);
    let probe = richrun_tests::bundle::probe();
    let probe = probe.to_str().expect("utf-8 path");
    let ask = |words: &[&str]| t.cmd(probe, words).run();
    assert!(ask(&["ask", path]).ok().trimmed().parse::<u32>().expect("a number") > 10);
    ask(&["ask", path, "1234"]).fails().says("PermissionDenied");
    // Even where the file lets them in, others get nothing.
    let open = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666);
    fs::set_permissions(&socket, open).expect("chmod");
    ask(&["ask", path, "1234"]).ok().prints("0");
    let pid = c.pid().to_string();
    t.cmd("nsenter", &["-t", &pid, "-p", probe, "ask", path]).run().ok().prints("0");
    // It stands in the container's network, where CRIU finds it. Its name there says nothing of
    // the host's directories and leads nowhere; services do not inherit it.
    let names = c.exec("cat /proc/net/unix").ok().out;
    assert!(!names.contains(&c.id), "{names}");
    c.exec("for p in $(sed -n 's/.* //p' /proc/net/unix | grep services.sock); do [ -e $p ] && exit 7; done; true")
        .ok();
    for process in ["self", &told(t, &c, "main")["pid"].to_string()] {
        let all = c.exec(&format!("ls -l /proc/{process}/fd")).ok();
        assert!(!all.out.contains("socket:") && !all.out.contains("memfd"), "{}", all.out);
    }
    end(&c, running);
}

/// Same user, same capabilities: without PID 1's own refusal, and whatever Yama says, the
/// kernel would let the payload trace it and take its control socket.
fn the_payload_takes_nothing_of_pid_1(t: &Trial) {
    for (services, user) in [(false, 0), (true, 0), (false, 1000), (true, 1000)] {
        let bundle =
            bundle(t, "true", "[service.a]\ncommand = [\"sleep\", \"100\"]\n").with_probe();
        bundle.edit(|config| {
            args(config, &["/probe", "take", "1"]);
            config["process"]["user"] = json!({"uid": user, "gid": user});
            caps(config, &[]);
        });
        let run = match services {
            true => command(t, &bundle),
            false => t.run_cmd(&bundle, &["--rich"]),
        };
        run.ok().prints("that was all");
        // Its own child it gets all of: the tries can succeed.
        if !services {
            bundle.edit(|config| sh(config, "sleep 100 & exec /probe take $!"));
            let out = t.run_cmd(&bundle, &["--rich"]).ok();
            for way in ["mem", "exe", "fd/0", "descriptor 0", "traced"] {
                assert!(out.out.contains(&format!("got {way}\n")), "{way}: {}", out.out);
            }
        }
    }
}
