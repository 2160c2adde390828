//! Probes, run by PID 1 inside the container.

use std::time::{Duration, Instant};

use richrun_tests::command::wait_until;
use richrun_tests::container::IDLE;
use richrun_tests::suite::{BOTH, ONE};
use richrun_tests::{Suite, Trial};

use super::{bundle, command, content, end, start, told, wait_for};

pub fn register(suite: &mut Suite) {
    suite
        .on(BOTH, "readiness_gates_and_is_seen", readiness_gates_and_is_seen)
        .on(BOTH, "http_and_tcp", http_and_tcp)
        .on(ONE, "liveness_restarts", liveness_restarts)
        .on(ONE, "startup_gates_the_others", startup_gates_the_others)
        .on(ONE, "a_probe_that_hangs_has_failed", a_probe_that_hangs_has_failed)
        .on(ONE, "an_answer_is_taken_in_to_its_end", an_answer_is_taken_in_to_its_end)
        .on(ONE, "a_probes_own_grace", a_probes_own_grace)
        .on(ONE, "idle_without_a_wake", idle_without_a_wake);
}

fn readiness_gates_and_is_seen(t: &Trial) {
    let text = "[service.a]\ncommand = \"sleep 0.3; touch /tmp/ok; exec sleep 100\"\n\
                readiness = { exec = { command = [\"test\", \"-e\", \"/tmp/ok\"] }, periodSeconds = 1, timeoutSeconds = 60, failureThreshold = 1 }\n";
    let bundle = bundle(t, &format!("test -e /tmp/ok && echo gated > /tmp/log; {IDLE}"), text);
    let (c, running) = start(t, &bundle);
    wait_until("the payload", || content(&bundle, "tmp/log") == "gated\n");
    c.verb("health", &[]).ok().prints("healthy");
    c.exec("rm /tmp/ok").ok();
    wait_until("unhealthy", || c.verb("health", &[]).run().trimmed() == "unhealthy");
    // Not ready is not dead.
    let a = told(t, &c, "a");
    assert_eq!(
        (a["state"].as_str(), a["ready"].as_bool(), a["restarts"].as_u64()),
        (Some("running"), Some(false), Some(0))
    );
    c.exec("touch /tmp/ok").ok();
    wait_until("healthy", || c.verb("health", &[]).run().trimmed() == "healthy");
    end(&c, running);
}

fn http_and_tcp(t: &Trial) {
    let answer = |status: &str| {
        format!(
            "while :; do printf 'HTTP/1.1 {status}\\\\r\\\\n\\\\r\\\\n' | nc -l -p 8001 >> /tmp/asked; done"
        )
    };
    let text = format!(
        "[service.web]\ncommand = \"{}\"\nreadiness = {{ httpGet = {{ port = 8001, path = \"/ready#part\" }}, periodSeconds = 1 }}\n\
         [service.gone]\ncommand = \"{}\"\nstart = \"manual\"\nstart-timeout = \"1500ms\"\nrestart = \"never\"\n\
         readiness = {{ httpGet = {{ port = 8002 }}, periodSeconds = 1 }}\n\
         [service.raw]\ncommand = \"while :; do nc -l -p 8003; done\"\nreadiness = {{ tcpSocket = {{ port = 8003 }}, periodSeconds = 1 }}\n\
         [service.shut]\ncommand = [\"sleep\", \"100\"]\nstart = \"manual\"\nstart-timeout = \"1500ms\"\nrestart = \"never\"\n\
         readiness = {{ tcpSocket = {{ port = 8004 }}, periodSeconds = 1 }}\n",
        answer("103 Early Hints\\r\\nLink: x\\r\\n\\r\\nHTTP/1.1 302 Found"),
        answer("404 Not Found").replace("8001", "8002"),
    );
    let bundle = bundle(t, IDLE, &text);
    let (c, running) = start(t, &bundle);
    wait_for(t, &c, "main", "running");
    wait_until("the request", || {
        content(&bundle, "tmp/asked").contains("GET /ready HTTP/1.1\r\nHost: 127.0.0.1:8001\r\n")
    });
    for name in ["gone", "shut"] {
        t.rt(&["service", "start", &c.id, name])
            .run()
            .exits(1)
            .says(&format!("service {name} has failed"));
        assert_eq!(told(t, &c, name)["reason"], "start-timeout");
    }
    end(&c, running);
}

fn liveness_restarts(t: &Trial) {
    let text = "[service.a]\ncommand = \"touch /tmp/ok; echo x >> /tmp/starts; exec sleep 100\"\nrestart-delay = 0\n\
                liveness = { exec = [\"test\", \"-e\", \"/tmp/ok\"], initialDelaySeconds = 2, periodSeconds = 1, timeoutSeconds = 60, failureThreshold = 1 }\n";
    let bundle = bundle(t, IDLE, text);
    let (c, running) = start(t, &bundle);
    let starts = || content(&bundle, "tmp/starts").lines().count();
    wait_until("the start", || starts() > 0);
    c.exec("rm /tmp/ok").ok();
    // Where it takes longer than two seconds to begin, it is ended more than once.
    wait_until("a restart", || starts() > 1);
    wait_for(t, &c, "a", "running");
    assert!(told(t, &c, "a")["restarts"].as_u64().is_some_and(|count| count >= 1));
    end(&c, running).says("service a: its probe failed, it is ended");
}

fn startup_gates_the_others(t: &Trial) {
    // Liveness would fail at once; it does not begin before the startup probe has passed.
    let text = "[service.a]\ncommand = \"sleep 1.5; touch /tmp/up; exec sleep 100\"\n\
                startup = { exec = [\"test\", \"-e\", \"/tmp/up\"], periodSeconds = 1, failureThreshold = 100 }\n\
                liveness = { exec = [\"test\", \"-e\", \"/tmp/up\"], periodSeconds = 1, failureThreshold = 1 }\n";
    let bundle = bundle(t, "test -e /tmp/up && exit 4", text);
    command(t, &bundle).run().exits(4);
}

fn a_probe_that_hangs_has_failed(t: &Trial) {
    let text = "[service.a]\ncommand = \"echo x >> /tmp/starts; exec sleep 100\"\nrestart = \"never\"\n\
                liveness = { exec = \"sleep 77 & sleep 78\", periodSeconds = 1, failureThreshold = 1 }\n";
    let bundle = bundle(t, IDLE, text);
    let begun = Instant::now();
    let (c, running) = start(t, &bundle);
    wait_for(t, &c, "a", "failed");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(told(t, &c, "a")["reason"], "probe-failed");
    wait_until("the probe to go", || !c.exec("ps").out.contains("sleep 7"));
    end(&c, running);
}

/// A server that has not sent all of its answer sees no broken connection. The port has a name.
fn an_answer_is_taken_in_to_its_end(t: &Trial) {
    let text = "[service.web]\ncommand = [\"nc\", \"-ll\", \"-p\", \"8005\", \"-e\", \"/tmp/serve\"]\nports = { http = 8005 }\n\
                readiness = { httpGet = { port = \"http\" }, timeoutSeconds = 60, periodSeconds = 1 }\n\
                [service.main]\nneeds = []\n";
    let bundle = bundle(t, IDLE, text);
    let serve = bundle.rootfs().join("tmp/serve");
    let script = "#!/bin/sh\nread line\nprintf 'HTTP/1.1 200 OK\\r\\n\\r\\n'\nsleep 0.5\n\
                  echo some\nsleep 0.2\necho more || exit 1\necho whole >> /tmp/served\n";
    std::fs::write(&serve, script).expect("write");
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    std::fs::set_permissions(&serve, mode).expect("chmod");
    let (c, running) = start(t, &bundle);
    wait_for(t, &c, "web", "running");
    wait_until("a whole answer", || content(&bundle, "tmp/served").contains("whole"));
    end(&c, running);
}

/// Instead of the service's own time to stop, where the probe has one.
fn a_probes_own_grace(t: &Trial) {
    // It fails once the service heeds no TERM any more.
    let text = "[service.a]\ncommand = \"trap '' TERM; : >/tmp/armed; while :; do sleep 0.1; done\"\nrestart = \"never\"\n\
                stop-timeout = \"forever\"\n\
                liveness = { exec = \"[ ! -e /tmp/armed ]\", periodSeconds = 1, timeoutSeconds = 60, failureThreshold = 1, terminationGracePeriodSeconds = 1 }\n";
    let bundle = bundle(t, IDLE, text);
    let (c, running) = start(t, &bundle);
    wait_for(t, &c, "a", "failed");
    let a = told(t, &c, "a");
    assert_eq!((a["reason"].as_str(), a["status"].as_u64()), (Some("probe-failed"), Some(137)));
    end(&c, running);
}

/// Nothing is due for an hour: PID 1 does not run.
fn idle_without_a_wake(t: &Trial) {
    let text = "[service.a]\ncommand = [\"sleep\", \"100\"]\nliveness = { exec = \"true\", periodSeconds = 3600 }\n";
    let bundle = bundle(t, IDLE, text);
    bundle.edit(|config| richrun_tests::bundle::args(config, &["sleep", "100"]));
    let (c, running) = start(t, &bundle);
    wait_for(t, &c, "main", "running");
    let switches = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", c.pid())).expect("status");
        let row = |line: &&str| line.contains("ctxt_switches");
        status.lines().filter(row).map(str::to_owned).collect::<Vec<_>>()
    };
    // It is still busy with the start for a while.
    wait_until("two seconds without a wake", || {
        let before = switches();
        std::thread::sleep(Duration::from_secs(2));
        switches() == before
    });
    c.kill("KILL");
    running.wait().exits(137);
}
