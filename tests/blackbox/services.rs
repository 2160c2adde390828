//! Services of rich containers: order, restarts, readiness, exit statuses, and what can be
//! done from outside.

mod crowds;
mod outside;
mod probes;
mod volumes;
mod watches;

use std::fs;
use std::time::{Duration, Instant};

use richrun_tests::bundle::{args, sh};
use richrun_tests::command::{Running, wait_until};
use richrun_tests::container::{Container, IDLE};
use richrun_tests::suite::{ALL, BOTH, ONE};
use richrun_tests::{Bundle, Kind, Output, Suite, Trial};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite
        .on(ONE, "mistakes_name_line_and_field", mistakes_name_line_and_field)
        .on(BOTH, "four_places_for_the_file", four_places_for_the_file)
        .on(ALL, "start_in_order_and_stop_in_reverse", start_in_order_and_stop_in_reverse)
        .on(BOTH, "the_payloads_status_is_the_containers", the_payloads_status_is_the_containers)
        .on(ONE, "no_status_is_lost_under_load", no_status_is_lost_under_load)
        .on(ONE, "main_service_of_the_file", main_service_of_the_file)
        .on(ONE, "failures_end_what_needs_them", failures_end_what_needs_them)
        .on(ONE, "essential_failures_end_the_container", essential_failures_end_the_container)
        .on(ONE, "restarts_back_off_and_give_up", restarts_back_off_and_give_up)
        .on(BOTH, "readiness_by_descriptor_and_notification", readiness)
        .on(ONE, "late_readiness_is_a_failure", late_readiness_is_a_failure)
        .on(ONE, "user_directory_limits_and_environment", surroundings)
        .on(ONE, "descriptors_are_the_payloads", descriptors_are_the_payloads)
        .on(ONE, "stubborn_services_are_killed_with_their_groups", stubborn_services)
        .on(ONE, "orphans_are_reaped", orphans_are_reaped)
        .on(ONE, "a_full_log_disk_stops_nobody", a_full_log_disk_stops_nobody)
        .on(ONE, "a_log_that_is_a_stream_loses_nothing", a_log_that_is_a_stream);
    crowds::register(suite);
    outside::register(suite);
    probes::register(suite);
    volumes::register(suite);
    watches::register(suite);
}

/// A bundle whose root may be written to, with a payload and a services file beside it.
fn bundle(t: &Trial, payload: &str, services: &str) -> Bundle {
    t.only(&[Kind::Richrun], "has no services");
    let bundle = t.bundle(|config| {
        sh(config, payload);
        config["root"]["readonly"] = json!(false);
    });
    describe(&bundle, services);
    bundle
}

/// Writes the services file.
fn describe(bundle: &Bundle, services: &str) {
    fs::write(file(bundle), services).expect("write the services file");
}

fn file(bundle: &Bundle) -> String {
    format!("{}/services.toml", bundle.path())
}

/// `run` in the foreground, not yet started.
fn command<'t>(t: &'t Trial, bundle: &Bundle) -> richrun_tests::command::Cmd<'t> {
    t.run_cmd(bundle, &["--rich", "--services", &file(bundle)])
}

/// Runs it in the background, until it answers.
fn start<'t>(t: &'t Trial, bundle: &Bundle) -> (Container<'t>, Running) {
    let running = command(t, bundle).spawn();
    let c = t.take(bundle);
    wait_until("the services to answer", || !c.verb("health", &[]).run().out.is_empty());
    (c, running)
}

/// Ends a container whose payload idles, once that is ready to obey.
fn end(c: &Container<'_>, running: Running) -> Output {
    wait_until("the payload's handler", || c.obeys());
    c.kill("TERM");
    running.wait().exits(7)
}

/// One service as `service list` tells of it.
fn told(t: &Trial, c: &Container<'_>, name: &str) -> Value {
    let list = t.rt(&["service", "list", "-f", "json", &c.id, name]).ok().json();
    list[0].clone()
}

fn wait_for(t: &Trial, c: &Container<'_>, name: &str, state: &str) {
    wait_until(&format!("{name} to be {state}"), || told(t, c, name)["state"] == state);
}

/// What a file in the container's root holds.
fn content(bundle: &Bundle, path: &str) -> String {
    fs::read_to_string(bundle.rootfs().join(path)).unwrap_or_default()
}

fn mistakes_name_line_and_field(t: &Trial) {
    let bundle = bundle(t, "true", "");
    for (text, words) in [
        (
            "[service.a]\ncommand = \"true\"\nneeds = [\"b\"]\n",
            "line 3: service.a.needs: no service is named ",
        ),
        ("[service.a]\ncomand = \"true\"\n", "line 1: service.a: command: missing"),
        (
            "[service.a]\ncommand = \"true\"\nafter = [\"a\"]\n",
            "line 1: service.a: waits for itself: a -> a",
        ),
        ("[service.a\n", "line 1: "),
    ] {
        describe(&bundle, text);
        command(t, &bundle)
            .run()
            .exits(1)
            .says(&format!("{}: {words}", file(&bundle).replace('"', "")));
    }
    t.run_cmd(&bundle, &["--services", &file(&bundle)])
        .run()
        .exits(1)
        .says("must first enable rich mode");
    bundle.edit(|config| config["annotations"] = json!({"io.richrun.services": "/none"}));
    let refused = "must first enable rich mode, then specify services";
    t.run(&bundle).exits(1).says(refused);
    let other = ["--rich", "--rich-mode", "systemd"];
    t.run_cmd(&bundle, &other).run().exits(1).says("services need rich mode dumb-init");
    bundle.edit(|config| config["annotations"] = json!({}));
    t.run_cmd(&bundle, &["--rich", "--services", "/no/such"])
        .run()
        .exits(1)
        .says("no such file or directory");
}

fn four_places_for_the_file(t: &Trial) {
    let payload = "cat /tmp/by; true";
    let text =
        |by: &str| format!("[service.by]\ntype = \"oneshot\"\ncommand = \"echo {by} > /tmp/by\"\n");
    let bundle = bundle(t, payload, &text("option"));
    t.run_cmd(&bundle, &["--rich"]).ok().prints("");
    bundle.file("/etc/richrun/services.d/10.toml", &text("image"));
    bundle.file(
        "/etc/richrun/services.d/20.json",
        "{\"service\": {\"other\": {\"command\": [\"sleep\", \"9\"]}}}",
    );
    bundle.file("/etc/richrun/services.d/README", "not a service");
    bundle.file("/etc/mine.toml", &text("path"));
    t.run_cmd(&bundle, &["--rich"]).ok().prints("image");
    bundle.edit(|config| config["annotations"]["io.richrun.services"] = json!("/etc/mine.toml"));
    t.run_cmd(&bundle, &["--rich"]).ok().prints("path");
    bundle.edit(|config| config["annotations"]["io.richrun.services"] = json!(text("annotation")));
    t.run_cmd(&bundle, &["--rich"]).ok().prints("annotation");
    command(t, &bundle).ok().prints("option");
    fs::remove_file(bundle.rootfs().join("tmp/by")).expect("remove a file");
    // The image's are for whoever asks for a rich container.
    bundle.edit(|config| config["annotations"] = json!({}));
    t.run(&bundle).says("can't open");
}

/// Four deep; each writes when it starts and when it is asked to end.
fn start_in_order_and_stop_in_reverse(t: &Trial) {
    let mut text = String::new();
    for (name, needs) in [("d", "\"c\""), ("c", "\"b\""), ("b", "\"a\""), ("a", "")] {
        text.push_str(&format!(
            "[service.{name}]\nneeds = [{needs}]\nready = \"fd:3\"\ncommand = \"trap 'echo -{name} >> /tmp/log; \
             exit' TERM; sleep 0.05; echo +{name} >> /tmp/log; echo >&3; while :; do sleep 0.02; done\"\n"
        ));
    }
    text.push_str("[service.once]\ntype = \"oneshot\"\ncommand = \"echo +once >> /tmp/log\"\n");
    text.push_str("finish = \"echo -once >> /tmp/log\"\nneeds = [\"d\"]\n");
    let payload = "trap 'echo -main >> /tmp/log; exit 7' TERM; echo +main >> /tmp/log; \
                   while :; do sleep 0.02; done";
    let bundle = bundle(t, payload, &text);
    let (c, running) = start(t, &bundle);
    wait_until("the payload", || content(&bundle, "tmp/log").contains("+main"));
    c.verb("health", &[]).ok().prints("healthy");
    end(&c, running);
    let log = content(&bundle, "tmp/log");
    let words: Vec<&str> = log.lines().collect();
    let want = ["+a", "+b", "+c", "+d", "+once", "+main", "-main", "-once", "-d", "-c", "-b", "-a"];
    assert_eq!(words, want);
}

fn the_payloads_status_is_the_containers(t: &Trial) {
    let bundle = bundle(t, "true", "[service.side]\ncommand = [\"sleep\", \"100\"]\n");
    for code in [0, 1, 3, 126, 255] {
        bundle.edit(|config| sh(config, &format!("exit {code}")));
        command(t, &bundle).run().exits(code);
    }
    bundle.edit(|config| sh(config, "kill -USR1 $$"));
    command(t, &bundle).run().exits(138);
    bundle.edit(|config| args(config, &["/no/such"]));
    command(t, &bundle).run().fails().says("no such file or directory");
}

/// Services come and go as fast as they can while the payload ends.
fn no_status_is_lost_under_load(t: &Trial) {
    let mut text = String::new();
    for i in 0..8 {
        text.push_str(&format!(
            "[service.s{i}]\ncommand = \"exit {i}\"\nrestart = \"always\"\nrestart-delay = 0\nrestart-tries = 0\n"
        ));
    }
    text.push_str("[service.main]\n");
    let bundle = bundle(t, "true", &text);
    for code in 40..60 {
        bundle.edit(|config| sh(config, &format!("sleep 0.0{}; exit {code}", code % 7)));
        command(t, &bundle).run().exits(code);
    }
}

fn main_service_of_the_file(t: &Trial) {
    let text =
        "main = \"web\"\n[service.web]\ncommand = \"echo web; exit 9\"\nrestart = \"never\"\n";
    let bundle = bundle(t, "echo payload", text);
    command(t, &bundle).run().exits(9).prints("web");
}

fn failures_end_what_needs_them(t: &Trial) {
    let text = "[service.a]\ntype = \"oneshot\"\ncommand = \"exit 5\"\n\
                [service.b]\ntype = \"oneshot\"\ncommand = \"echo b\"\nneeds = [\"a\"]\n";
    let bundle = bundle(t, "echo payload", text);
    let out = command(t, &bundle).run().exits(5).says("service a: failed: ended with 5");
    out.says("service main: failed: what it needs is not there").prints("");
    describe(&bundle, &text.replace("needs", "wants"));
    let text = text.replace("needs", "wants") + "[service.main]\nneeds = []\nafter = [\"b\"]\n";
    describe(&bundle, &text);
    command(t, &bundle).run().exits(0).shows("payload").shows("b\n");
    describe(&bundle, "[service.a]\ncommand = [\"/no/such\"]\nrestart = \"never\"\n");
    command(t, &bundle).run().exits(127).says("service a: exec: no such file or directory");
}

/// Waits until the process is gone whose number `/tmp/a` tells: PID 1 knows of its end then.
const AFTER_A: &str =
    "until [ -s /tmp/a ] && ! kill -0 $(cat /tmp/a) 2>/dev/null; do sleep 0.02; done";

fn essential_failures_end_the_container(t: &Trial) {
    let text = "[service.a]\ncommand = \"echo $$ > /tmp/a; exit 11\"\nrestart = \"never\"\nessential = true\n\
                [service.main]\nneeds = []\n";
    let bundle = bundle(t, IDLE, text);
    command(t, &bundle).run().exits(11);
    // One that is not may fail; the payload waits until it is gone.
    describe(&bundle, &text.replace("essential = true\n", ""));
    bundle.edit(|config| sh(config, &format!("{AFTER_A}; exit 4")));
    fs::remove_file(bundle.rootfs().join("tmp/a")).expect("remove the pid");
    command(t, &bundle).run().exits(4).says("service a: failed: ended with 11");
}

fn restarts_back_off_and_give_up(t: &Trial) {
    let text = "[service.a]\ncommand = \"date +%s.%N >> /tmp/log; echo x >> /tmp/starts; exit 3\"\n\
                restart-delay = \"100ms\"\nrestart-tries = 3\n\
                [service.ok]\ncommand = \"echo x >> /tmp/ok; exit 3\"\nsuccess = [3]\n";
    let bundle = bundle(t, IDLE, text);
    let begun = Instant::now();
    let (c, running) = start(t, &bundle);
    wait_for(t, &c, "a", "failed");
    // 100, 200 and 400 ms.
    assert!(begun.elapsed() >= Duration::from_millis(700), "{:?}", begun.elapsed());
    assert_eq!(content(&bundle, "tmp/starts").lines().count(), 4);
    let a = told(t, &c, "a");
    assert_eq!(
        (&a["restarts"], &a["status"], &a["reason"]),
        (&json!(3), &json!(3), &json!("ended"))
    );
    c.verb("health", &[]).run().exits(1).prints("unhealthy");
    // An expected status is no failure.
    wait_for(t, &c, "ok", "done");
    assert_eq!(content(&bundle, "tmp/ok").lines().count(), 1);
    end(&c, running);
}

fn readiness(t: &Trial) {
    let text = "[service.fd]\nready = \"fd:7\"\ncommand = \"until [ -s /tmp/log ]; do sleep 0.02; done; echo fd >> /tmp/log; echo >&7; sleep 100\"\n\
                [service.sd]\nready = \"notify\"\ncommand = \"echo sd >> /tmp/log; /probe notify \
                STATUS=no READY=1; sleep 100\"\n";
    let bundle =
        bundle(t, "cat /tmp/log; echo $NOTIFY_SOCKET; ls -A /run /dev | grep -c notify", text)
            .with_probe();
    fs::create_dir_all(bundle.rootfs().join("run")).expect("make /run");
    if !t.is_root() {
        bundle.give_away();
    }
    let out = command(t, &bundle).run();
    assert_eq!(out.out.lines().collect::<Vec<_>>(), ["sd", "fd", "", "1"], "{out:?}");
    // The socket's name goes with its service.
    for place in ["run", "dev", "tmp"] {
        let left = fs::read_dir(bundle.rootfs().join(place)).into_iter().flatten().flatten();
        let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
        let is_left = |name: &std::ffi::OsString| name.to_string_lossy().contains("notify");
        assert!(!left.iter().any(is_left), "/{place}: {left:?}");
    }
}

fn late_readiness_is_a_failure(t: &Trial) {
    let text = "[service.slow]\nready = \"fd:3\"\nstart-timeout = \"200ms\"\nrestart = \"never\"\n\
                command = [\"sleep\", \"100\"]\n";
    let bundle = bundle(t, "echo payload", text);
    let out = command(t, &bundle).run().exits(143).says("service slow: not ready in time");
    out.says("service main: failed: what it needs is not there").prints("");
}

fn surroundings(t: &Trial) {
    let text = "[service.a]\ntype = \"oneshot\"\nuser = \"app\"\ncwd = \"/tmp\"\numask = \"027\"\n\
                limits = { nofile = \"100:200\" }\nenv = { A = \"x y\", PATH = \"/bin\" }\n\
                command = \"id -u; id -g; id -G; pwd; umask; ulimit -n; ulimit -Hn; echo $A $HOME $KEPT; \
                readlink /proc/self/fd/0; ls /proc/self/fd | wc -l\"\n";
    let bundle = bundle(t, "true", text);
    bundle.edit(|config| {
        let all = ["CAP_SETUID", "CAP_SETGID", "CAP_KILL"];
        richrun_tests::bundle::caps(config, &all);
        config["process"]["env"] = json!(["PATH=/bin", "KEPT=kept"]);
    });
    let out = command(t, &bundle).ok();
    let lines: Vec<&str> = out.out.lines().collect();
    let want = [
        "1000",
        "1000",
        "1000 2000",
        "/tmp",
        "0027",
        "100",
        "200",
        "x y /home/app kept",
        "/dev/null",
        "4",
    ];
    assert_eq!(lines, want, "{out:?}");
    bundle.edit(|config| config["process"]["user"] = json!({"uid": 5, "gid": 5}));
    command(t, &bundle).run().exits(1).says("line 1: service.a.user: rich-init runs as user 5");
}

fn descriptors_are_the_payloads(t: &Trial) {
    let text = "[service.a]\ntype = \"oneshot\"\ncommand = \"ls /proc/self/fd | tr '\\\\n' ' '\"\n";
    let bundle = bundle(t, "cat <&3; ls /proc/self/fd | tr '\\n' ' '", text);
    let passed = bundle.file("/passed", "passed\n");
    let passed = fs::File::open(passed).expect("open a file");
    let options = ["--rich", "--services", &file(&bundle), "--preserve-fds", "1"];
    let out = t.run_cmd(&bundle, &options).fd(3, passed).ok();
    assert_eq!(out.out, "0 1 2 3 passed\n0 1 2 3 4 ", "{out:?}");
}

fn stubborn_services(t: &Trial) {
    let text = "[service.a]\nstop-timeout = \"200ms\"\ncommand = \"trap '' TERM; sleep 1000 & \
                while :; do sleep 0.1; done\"\n\
                [service.b]\ncommand = \"sleep 1001 & exit 3\"\nrestart = \"never\"\n";
    let bundle = bundle(t, IDLE, text);
    let (c, running) = start(t, &bundle);
    wait_for(t, &c, "a", "running");
    wait_for(t, &c, "b", "failed");
    wait_until("b's stray to go", || !c.exec("ps").out.contains("sleep 1001"));
    wait_until("a's trap", || c.exec("ps").out.contains("sleep 1000"));
    t.rt(&["service", "stop", &c.id, "a"]).ok();
    assert_eq!(told(t, &c, "a")["status"], 137);
    wait_until("a's stray to go", || !c.exec("ps").out.contains("sleep 1000"));
    end(&c, running).says("service a: did not end when asked to, killed");
}

fn orphans_are_reaped(t: &Trial) {
    let text = "[service.a]\ncommand = \"for i in $(seq 500); do (sleep 0 &); done; sleep 100\"\n";
    let bundle = bundle(t, IDLE, text);
    let (c, running) = start(t, &bundle);
    wait_until("all orphans to be gone", || {
        let all = c.exec("cat /proc/[0-9]*/stat 2>/dev/null").out;
        !all.contains(") Z ") && all.matches("(sleep)").count() == 1
    });
    end(&c, running);
}

fn a_full_log_disk_stops_nobody(t: &Trial) {
    let text = "[service.a]\ncommand = \"while :; do echo x; echo y >> /tmp/alive; sleep 0.05; done\"\n\
                log = \"/small/log\"\n[service.main]\nneeds = []\n";
    let bundle = bundle(t, IDLE, text);
    bundle.edit(|config| {
        richrun_tests::bundle::mounts(config).push(json!({
            "destination": "/small", "type": "tmpfs", "source": "tmpfs", "options": ["size=4096"],
        }));
    });
    let (c, running) = start(t, &bundle);
    c.exec("dd if=/dev/zero of=/small/fill bs=1k count=8").fails();
    wait_until("output without a place", || content(&bundle, "tmp/alive").lines().count() > 5);
    assert_eq!(told(t, &c, "a")["state"], "running");
    end(&c, running);
}

/// A service whose log is a pipe that is read slowly waits, as every program expects.
fn a_log_that_is_a_stream(t: &Trial) {
    let text = "[service.a]\ncommand = [\"seq\", \"200000\"]\nlog = \"/dev/stdout\"\ntype = \"oneshot\"\n\
                start-timeout = \"100s\"\n[service.main]\nneeds = [\"a\"]\n";
    let bundle = bundle(t, "exit 7", text);
    let (mut reader, writer) = std::io::pipe().expect("pipe");
    let running = command(t, &bundle).stdio(1, std::os::fd::OwnedFd::from(writer)).spawn();
    let c = t.take(&bundle);
    wait_until("the services to answer", || !c.verb("health", &[]).run().out.is_empty());
    wait_for(t, &c, "a", "starting");
    let mut said = String::new();
    std::io::Read::read_to_string(&mut reader, &mut said).expect("read");
    assert!(said.lines().eq((1..=200_000).map(|n| n.to_string())), "{} bytes", said.len());
    running.wait().exits(7);
}
