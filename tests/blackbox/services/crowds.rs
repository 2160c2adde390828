//! The control socket when many ask, when nobody answers, and when PID 1 has more to do.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use richrun_tests::command::wait_until;
use richrun_tests::container::{Container, IDLE};
use richrun_tests::suite::ONE;
use richrun_tests::{Suite, Trial};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use super::{bundle, end, start, told, wait_for};

pub fn register(suite: &mut Suite) {
    suite
        .on(ONE, "many_at_once_are_all_answered", many_at_once_are_all_answered)
        .on(ONE, "who_waits_leaves_room", who_waits_leaves_room)
        .on(ONE, "a_stopped_pid_1_holds_nobody_up", a_stopped_pid_1_holds_nobody_up)
        .on(ONE, "a_number_that_is_another_descriptors_now", another_descriptors_number)
        .on(ONE, "without_descriptors_nobody_waits_in_vain", without_descriptors)
        .on(ONE, "what_cannot_be_executed_is_tried_in_peace", tried_in_peace);
}

const QUIET: &str = "[service.a]\ncommand = [\"sleep\", \"1000\"]\n";

/// PID 1 is sent a signal from outside.
fn signal(c: &Container<'_>, signal: Signal) {
    kill(Pid::from_raw(c.pid()), signal).expect("kill");
}

/// A connection that does not wait.
fn connect(t: &Trial, c: &Container<'_>) -> rustix::io::Result<OwnedFd> {
    let directory = std::fs::File::open(t.root().join(&c.id)).expect("the state directory");
    let path = format!("/proc/self/fd/{}/services.sock", directory.as_raw_fd());
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path.as_str())?)?;
    Ok(socket)
}

fn many_at_once_are_all_answered(t: &Trial) {
    let bundle = bundle(t, IDLE, QUIET);
    let (c, running) = start(t, &bundle);
    wait_for(t, &c, "main", "running");
    // All of them are there before the first is answered.
    signal(&c, Signal::SIGSTOP);
    let sockets: Vec<OwnedFd> = (0..100).map(|_| connect(t, &c).expect("connect")).collect();
    for socket in &sockets {
        rustix::net::send(socket, b"\x01\x01\0\0", SendFlags::NOSIGNAL).expect("ask for the list");
    }
    signal(&c, Signal::SIGCONT);
    for (number, socket) in sockets.iter().enumerate() {
        let mut bytes = [0; 4096];
        let mut packets = 0;
        wait_until("an answer", || {
            match rustix::net::recv(socket, &mut bytes, RecvFlags::empty()) {
                Err(Errno::AGAIN) => return false,
                Ok((0, _)) => panic!("{number}: refused after {packets} packets"),
                Ok(_) => packets += 1,
                Err(errno) => panic!("{number}: {errno}"),
            }
            bytes[1] == 0
        });
        assert_eq!((packets, bytes[2]), (3, 0), "{number}: two services and a good end");
        // Whoever has his answer makes room for another.
        rustix::net::shutdown(socket, rustix::net::Shutdown::Both).expect("shutdown");
    }
    end(&c, running);
}

fn who_waits_leaves_room(t: &Trial) {
    let bundle = bundle(t, IDLE, QUIET);
    let (c, running) = start(t, &bundle);
    wait_for(t, &c, "main", "running");
    let mut watching = Vec::new();
    for _ in 0..12 {
        let one = t.rt(&["events", &c.id]).spawn();
        one.wait_for("\"health\"");
        watching.push(one);
    }
    t.rt(&["events", &c.id]).run().exits(1).says("too many others wait");
    t.rt(&["service", "start", &c.id, "a"]).run().exits(1).says("too many others wait");
    c.verb("health", &[]).ok().prints("healthy");
    end(&c, running);
    for one in watching {
        one.wait().ok().shows("\"stopping\"");
    }
}

fn a_stopped_pid_1_holds_nobody_up(t: &Trial) {
    let bundle = bundle(t, IDLE, QUIET);
    let (c, running) = start(t, &bundle);
    wait_for(t, &c, "main", "running");
    signal(&c, Signal::SIGSTOP);
    // As many as the socket takes, none of which is ever answered.
    let mut sockets = Vec::new();
    let full = loop {
        match connect(t, &c) {
            Ok(socket) => sockets.push(socket),
            Err(errno) => break errno,
        }
    };
    assert_eq!(full, Errno::AGAIN);
    c.verb("health", &[]).run().exits(1).says("no answer in 10 s");
    drop(sockets);
    signal(&c, Signal::SIGCONT);
    c.verb("health", &[]).ok().prints("healthy");
    end(&c, running);
}

/// A service's end closes a descriptor of which PID 1 is told in the same moment, and a
/// client's connection gets its number.
fn another_descriptors_number(t: &Trial) {
    let text = "[service.late]\ncommand = [\"sleep\", \"1000\"]\nready = \"fd:3\"\nrestart = \"never\"\n\
                start-timeout = \"forever\"\n[service.main]\nneeds = []\n";
    let bundle = bundle(t, IDLE, text);
    let (c, running) = start(t, &bundle);
    wait_for(t, &c, "late", "starting");
    wait_for(t, &c, "main", "running");
    let late = told(t, &c, "late")["pid"].to_string();
    signal(&c, Signal::SIGSTOP);
    c.exec(&format!("kill -9 {late}")).ok();
    let socket = connect(t, &c).expect("connect");
    let gone = || c.exec(&format!("grep -q '^State:.Z' /proc/{late}/status")).code == 0;
    wait_until("the service's end", gone);
    signal(&c, Signal::SIGCONT);
    // By then it has seen to all that it was told of in that moment.
    wait_for(t, &c, "late", "failed");
    let sent = rustix::net::send(&socket, b"\x01\x01\0\0", SendFlags::NOSIGNAL);
    assert_eq!(sent, Ok(4), "the connection was closed without a question");
    let mut bytes = [0; 4096];
    wait_until("an answer", || match rustix::net::recv(&socket, &mut bytes, RecvFlags::empty()) {
        Err(Errno::AGAIN) => false,
        Ok((size, _)) => {
            assert!(size > 0, "the connection was closed without an answer");
            true
        }
        Err(errno) => panic!("{errno}"),
    });
    end(&c, running);
}

fn tried_in_peace(t: &Trial) {
    let text = "[service.a]\ncommand = [\"/missing\"]\nrestart-delay = 0\nrestart-tries = 0\n\
                [service.main]\nneeds = []\n";
    let bundle = bundle(t, IDLE, text);
    let running = super::command(t, &bundle).spawn();
    let c = t.take(&bundle);
    wait_until("the container to run", || c.verb("state", &[]).run().out.contains("\"running\""));
    c.verb("health", &[]).run().exits(1).prints("unhealthy");
    end(&c, running);
}

/// PID 1 has no descriptor left: who comes is refused rather than left waiting, which would
/// wake it again and again.
fn without_descriptors(t: &Trial) {
    let bundle = bundle(t, IDLE, QUIET);
    bundle.edit(|config| {
        config["process"]["rlimits"] =
            serde_json::json!([{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 10}]);
    });
    let (c, running) = start(t, &bundle);
    wait_for(t, &c, "main", "running");
    let mut held = Vec::new();
    wait_until("a refusal", || {
        let socket = connect(t, &c).expect("connect");
        let mut refused = false;
        wait_until("an answer", || {
            let asked = rustix::net::send(&socket, b"\x01\x01\0\0", SendFlags::NOSIGNAL);
            match rustix::net::recv(&socket, &mut [0; 4096], RecvFlags::empty()) {
                Err(Errno::AGAIN) => return asked.is_err(),
                answer => refused = answer.map_or(true, |answer| answer.0 == 0),
            }
            true
        });
        held.push(socket);
        refused
    });
    assert!(held.len() < 10, "{}", held.len());
    drop(held);
    wait_until("an answer", || c.verb("health", &[]).run().trimmed() == "healthy");
    end(&c, running);
}
