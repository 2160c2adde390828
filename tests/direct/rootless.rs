//! What is special about an ordinary user's containers, and networks.

use richrun_tests::suite::{BOTH, ONE, USER};
use richrun_tests::{Suite, Trial};

use super::setup::Direct;

pub fn register(suite: &mut Suite) {
    suite.on(USER, "root_inside_is_the_user", root_inside_is_the_user);
    suite.on(BOTH, "networks", networks);
    suite.on(ONE, "a_named_network", a_named_network);
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
