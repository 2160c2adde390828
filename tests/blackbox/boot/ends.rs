//! Whatever an image's systemd does before the payload, or instead of it, has an end and a word.

use std::fs;
use std::os::unix::fs::symlink;

use richrun_tests::suite::V2;
use richrun_tests::{Bundle, Suite, Trial};

use super::{PAYLOAD, boot, ready, since, systemd};

pub fn register(suite: &mut Suite) {
    suite
        .on(V2, "systemd_tells_why_not", systemd_tells_why_not)
        .on(V2, "systemd_without_a_default_target", systemd_without_a_default_target)
        .on(V2, "systemd_units_for_every_service", systemd_units_for_every_service)
        .on(V2, "systemd_soft_reboot_is_an_end", systemd_soft_reboot_is_an_end)
        .on(V2, "systemd_never_waits_for_ever", systemd_never_waits_for_ever)
        .on(V2, "systemd_of_a_version_that_cannot", systemd_of_a_version_that_cannot);
}

fn unit(bundle: &Bundle, path: &str, text: &str) {
    bundle.file(&format!("/etc/systemd/system/{path}"), text);
}

/// A file system that a container cannot mount; and a unit that fails before the payload.
fn systemd_tells_why_not(t: &Trial) {
    let bundle = systemd(t, "echo payload");
    let fstab = "/no/such/device /mnt ext4 defaults,x-systemd.device-timeout=1 0 0\n";
    bundle.file("/etc/fstab", fstab);
    let out = boot(t, &bundle, &[]).run().exits(1);
    let out = out.prints("");
    out.says("systemd did not come to the payload; failed:").says("mnt.mount");
    bundle.file("/etc/fstab", "");
    let text = "[Unit]\nDefaultDependencies=no\nBefore=sysinit.target\nOnFailure=emergency.target\n\
                OnFailureJobMode=replace-irreversibly\n[Service]\nType=oneshot\nExecStart=/bin/false\n";
    unit(&bundle, "first.service", text);
    let wants = bundle.rootfs().join("etc/systemd/system/sysinit.target.wants");
    fs::create_dir_all(&wants).expect("make the directory");
    symlink("../first.service", wants.join("first.service")).expect("want it");
    let out = boot(t, &bundle, &[]).run().exits(1);
    out.says("first.service (exit-code)");
}

fn systemd_without_a_default_target(t: &Trial) {
    for target in ["/dev/null", "/no/such.target"] {
        let bundle = systemd(t, "exit 5");
        let place = bundle.rootfs().join("etc/systemd/system/default.target");
        let _absent = fs::remove_file(&place);
        symlink(target, &place).expect("link");
        boot(t, &bundle, &[]).run().exits(5);
    }
}

fn systemd_units_for_every_service(t: &Trial) {
    let bundle = systemd(t, "id -u; echo ${ADDED:-none}; exit 5");
    let all = "[Service]\nUser=nobody\nRestart=always\nRestartSec=0\nEnvironment=ADDED=x\n\
               ExecStartPre=/bin/false\n";
    unit(&bundle, "service.d/10-all.conf", all);
    bundle.file("/usr/lib/systemd/system/service.d/zz-more.conf", all);
    boot(t, &bundle, &[]).run().exits(5).prints("0\nnone");
}

fn systemd_soft_reboot_is_an_end(t: &Trial) {
    since(t, 254, "it knows no soft-reboot");
    let bundle = systemd(t, &format!("echo ready; {PAYLOAD}"));
    let running = boot(t, &bundle, &[]).spawn();
    ready(&running);
    t.rt(&["exec", &bundle.id, "systemctl", "soft-reboot"]).run();
    running.wait().exits(129);
}

/// What comes to no payload and to no emergency has an end too; the image shortens the time.
fn systemd_never_waits_for_ever(t: &Trial) {
    since(t, 257, "it comes to the payload without a masked sysinit.target");
    let soon = "[Timer]\nOnActiveSec=\nOnActiveSec=1\n";
    let bundle = systemd(t, "exit 5");
    unit(&bundle, "richrun-late.timer.d/soon.conf", soon);
    symlink("/dev/null", bundle.rootfs().join("etc/systemd/system/sysinit.target")).expect("link");
    boot(t, &bundle, &[]).run().exits(1).says("systemd did not come to the payload");
    // A payload that is there is left alone.
    let up = "until systemctl is-active -q richrun-late.timer; do sleep 0.1; done; \
              systemctl start richrun-late.service && \
              [ $(systemctl show -P ExecMainExitTimestampMonotonic richrun-late.service) != 0 ] && exit 6";
    let bundle = systemd(t, up);
    boot(t, &bundle, &[]).run().exits(6);
}

/// By the name of its library.
fn systemd_of_a_version_that_cannot(t: &Trial) {
    let bundle = systemd(t, "true");
    bundle.file("/usr/lib/systemd/libsystemd-shared-229.so", "");
    boot(t, &bundle, &[]).run().exits(1).says("missing systemd 232 or later (the image has 229)");
}
