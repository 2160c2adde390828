//! What systemd's container interface asks of whoever makes the container
//! (systemd.io/CONTAINER_INTERFACE), line by line.

use std::fs;

use richrun_tests::suite::{ROOT, V2};
use richrun_tests::terminal::NotifySocket;
use richrun_tests::{Suite, Trial};
use serde_json::json;

use super::{PATIENCE, PAYLOAD, boot, detached, patiently, ready, since, systemd, version};

pub fn register(suite: &mut Suite) {
    suite
        .on(ROOT, "systemd_finds_its_interface", systemd_finds_its_interface)
        .on(V2, "systemd_tells_that_it_is_ready", systemd_tells_that_it_is_ready)
        .on(V2, "systemd_gets_credentials", systemd_gets_credentials)
        .on(V2, "systemd_ends_by_its_own_commands", systemd_ends_by_its_own_commands)
        .on(V2, "systemd_emergency_is_an_end", systemd_emergency_is_an_end);
}

/// Variables, machine id, file systems, read-only parts, units that are masked.
fn systemd_finds_its_interface(t: &Trial) {
    let bundle = systemd(t, PAYLOAD);
    fs::write(bundle.rootfs().join("etc/machine-id"), "").expect("empty the machine id");
    fs::create_dir_all(bundle.rootfs().join("tmp/there")).expect("make a directory in /tmp");
    let c = detached(t, &bundle);
    let said = |script: &str| c.exec(script).ok().out.trim().to_owned();
    let env = said("tr '\\0' '\\n' </proc/1/environ");
    let variable = |name: &str| {
        let line = env.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {name} in {env}"))
    };
    assert_eq!(variable("container"), "richrun");
    let uuid = variable("container_uuid");
    assert_eq!(said("cat /run/host/container-uuid"), uuid);
    assert_eq!(said("cat /etc/machine-id"), uuid.replace('-', ""));
    let release = fs::read_to_string("/etc/os-release").expect("the host's os-release");
    assert_eq!(said("cat /run/host/os-release"), release.trim());
    if let Some(id) = release.lines().find_map(|line| line.strip_prefix("ID=")) {
        assert_eq!(variable("container_host_id"), id.trim_matches('"'));
    }
    for place in ["/run", "/run/lock", "/tmp", "/var/log/journal"] {
        let mount = said(&format!("grep ' {place} tmpfs ' /proc/mounts"));
        assert!(!mount.is_empty() && !mount.contains("noexec"), "{place}: {mount}");
    }
    // Older ones come with a rule that empties /tmp at boot.
    if version(t) >= 257 {
        said("test -d /tmp/there");
    }
    said("test -p /run/host/inaccessible/fifo && test -S /run/host/inaccessible/sock");
    for place in ["/sys", "/proc/sys"] {
        let mount = said(&format!("grep ' {place} ' /proc/mounts"));
        assert!(mount.contains(" ro,"), "{place}: {mount}");
    }
    for unit in ["systemd-udevd.service", "console-getty.service"] {
        assert_eq!(said(&format!("systemctl show -P LoadState {unit}")), "masked");
    }
    assert_eq!(said("systemctl show -P Delegate richrun-payload"), "yes");
    t.rt(&["kill", &c.id]).ok();
    patiently("the end", || c.status() == "stopped");
    c.remove();
}

/// PID 1's READY=1 is the container's, and what starts it in the background
/// waits for it.
fn systemd_tells_that_it_is_ready(t: &Trial) {
    let bundle = systemd(t, &format!("env >/var/tmp/env; {PAYLOAD}"));
    let path = t.dir.join("run/host");
    let host = NotifySocket::new(&path);
    let words = ["run", "-d", "--rich", "--rich-mode", "systemd", "-b", bundle.path(), &bundle.id];
    let starting =
        t.rt(&words).env("NOTIFY_SOCKET", path.to_str().expect("a path")).timeout(PATIENCE).spawn();
    let mut said = String::new();
    patiently("the start", || {
        let ended = !starting.alive();
        // Dropping a barrier's descriptor passes it.
        while let Some((text, _fds)) = host.receive(0) {
            said.push_str(&text);
        }
        ended
    });
    starting.wait().ok();
    let c = t.take(&bundle);
    assert!(said.contains("READY=1\n"), "{said}");
    assert!(said.contains(&format!("MAINPID={}\n", c.pid())), "{said} {}", c.pid());
    c.exec("systemctl is-active multi-user.target").ok().prints("active");
    // The payload has nobody to tell: it is systemd's word that counts.
    let env = fs::read_to_string(bundle.rootfs().join("var/tmp/env")).expect("its environment");
    assert!(!env.contains("NOTIFY_SOCKET"), "{env}");
    t.rt(&["kill", &c.id]).ok();
    patiently("the end", || c.status() == "stopped");
    c.remove();
}

/// A directory that an engine mounts, and names in the environment.
fn systemd_gets_credentials(t: &Trial) {
    since(t, 254, "ImportCredential= is newer");
    let bundle = systemd(t, "cat /var/tmp/seen");
    let source = bundle.dir.join("credentials");
    fs::create_dir(&source).expect("make the directory");
    fs::write(source.join("secret"), "opened").expect("write a credential");
    let unit = "[Service]\nType=oneshot\nImportCredential=secret\nExecStart=/bin/sh -c 'cat \
                $CREDENTIALS_DIRECTORY/secret >/var/tmp/seen'\n[Unit]\nBefore=richrun-payload.service\n";
    let units = bundle.rootfs().join("etc/systemd/system");
    fs::create_dir_all(units.join("multi-user.target.wants")).expect("make the directory");
    fs::write(units.join("reader.service"), unit).expect("write a unit");
    std::os::unix::fs::symlink(
        "../reader.service",
        units.join("multi-user.target.wants/reader.service"),
    )
    .expect("want it");
    bundle.edit(|config| {
        let env = config["process"]["env"].as_array_mut().expect("env");
        env.push(json!("CREDENTIALS_DIRECTORY=/run/host/credentials"));
        let mount = json!({"destination": "/run/host/credentials", "type": "bind",
            "source": source, "options": ["bind", "ro"]});
        config["mounts"].as_array_mut().expect("mounts").push(mount);
    });
    boot(t, &bundle, &[]).ok().prints("opened");
}

fn systemd_ends_by_its_own_commands(t: &Trial) {
    for (command, code) in
        [("systemctl exit 9", 9), ("systemctl poweroff", 7), ("systemctl reboot", 129)]
    {
        let bundle = systemd(t, &format!("echo ready; {PAYLOAD}"));
        let running = boot(t, &bundle, &[]).spawn();
        ready(&running);
        let words = ["exec", &bundle.id, "sh", "-c", command];
        t.rt(&words).run();
        running.wait().exits(code);
    }
}

/// Where others ask for root's password for ever.
fn systemd_emergency_is_an_end(t: &Trial) {
    let bundle = systemd(t, "true");
    let fstab = "/no/such/device /mnt ext4 defaults,x-systemd.device-timeout=1 0 0\n";
    fs::write(bundle.rootfs().join("etc/fstab"), fstab).expect("write the fstab");
    let out = boot(t, &bundle, &[]).run();
    assert!(out.code != 0, "{}", out.out);
}
