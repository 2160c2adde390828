//! What is special about an ordinary user's containers, and networks.

use richrun_tests::command::wait_until;
use richrun_tests::suite::{BOTH, ONE, ROOT, USER};
use richrun_tests::{Suite, Trial};

use super::setup::Direct;

pub fn register(suite: &mut Suite) {
    suite.on(USER, "root_inside_is_the_user", root_inside_is_the_user);
    suite.on(BOTH, "networks", networks);
    suite.on(ONE, "a_named_network", a_named_network);
    suite.on(ROOT, "a_network_by_pasta", a_network_by_pasta);
}

fn root_inside_is_the_user(t: &Trial) {
    let d = Direct::new(t);
    let rootfs = d.rootfs();
    let out = d
        .ctl(&["run", "--rm", &rootfs, "sh", "-c", "id -u; sed 's/  */ /g' /proc/self/uid_map"])
        .ok()
        .out;
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some("0"));
    assert!(lines.next().is_some_and(|line| line.trim().starts_with("0 20001 1")), "{out}");
    let refused = d.ctl(&["run", "--rm", "--netns", "pasta", &rootfs, "true"]).run().exits(125);
    refused.says("--netns pasta: as an ordinary user");
    d.clean();
}

fn networks(t: &Trial) {
    let d = Direct::new(t);
    let rootfs = d.rootfs();
    let own = std::fs::read_link("/proc/self/ns/net").expect("the host's network");
    let own = own.to_str().expect("utf-8").to_owned();
    let show = "readlink /proc/self/ns/net";
    let none = d.ctl(&["run", "--rm", &rootfs, "sh", "-c", show]).ok().out;
    assert_ne!(none.trim(), own);
    let host = d.ctl(&["run", "--rm", "--netns", "host", &rootfs, "sh", "-c", show]).ok().out;
    assert_eq!(host.trim(), own);
    d.clean();
}

/// A network namespace that is there, by its path: the container module's way.
fn a_named_network(t: &Trial) {
    let d = Direct::new(t);
    let rootfs = d.rootfs();
    let path = t.dir.join("run/net");
    std::fs::write(&path, "").expect("make a file");
    let path = path.to_str().expect("utf-8").to_owned();
    t.cmd("unshare", &[&format!("--net={path}"), "true"]).ok();
    t.accept_mounts();
    let inside =
        t.cmd("nsenter", &[&format!("--net={path}"), "readlink", "/proc/self/ns/net"]).ok().out;
    let seen = d
        .ctl(&["run", "--rm", "--netns", &path, &rootfs, "readlink", "/proc/self/ns/net"])
        .ok()
        .out;
    assert_eq!(seen, inside);
    d.clean();
}

/// An interface of its own, and a port that the host's leads to.
fn a_network_by_pasta(t: &Trial) {
    if !std::path::Path::new("/usr/bin/pasta").exists() {
        t.skip("pasta is not installed (Debian's package passt)");
    }
    let d = Direct::new(t);
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
        free.local_addr().expect("an address").port()
    };
    let publish = format!("127.0.0.1:{port}:80");
    let script = "ls /sys/class/net; echo up; while :; do echo from inside | nc -l -p 80; done";
    d.background("c", &["--netns", "pasta", "-p", &publish], script);
    d.wait_for_log("c", "up");
    let shown = d.ctl(&["logs", "c"]).ok().out;
    assert!(shown.lines().count() > 2, "nothing but lo: {shown}");
    wait_until("an answer from inside", || {
        use std::io::Read;
        let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else {
            return false;
        };
        let mut answer = String::new();
        let _ = stream.set_read_timeout(Some(std::time::Duration::from_secs(5)));
        stream.read_to_string(&mut answer).is_ok() && answer == "from inside\n"
    });
    d.ctl(&["stop", "-t", "0", "c"]).ok();
    d.clean();
    wait_until("the end of pasta", || {
        let all = richrun_tests::leftovers::processes();
        !all.iter().any(|(_, stat)| stat.contains("(pasta"))
    });
}
