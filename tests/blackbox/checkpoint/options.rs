//! Every option of both commands.

use std::fs;
use std::io::Read;

use richrun_tests::suite::{ONE, V1};
use richrun_tests::{Suite, Trial};
use serde_json::json;

use super::{checkpoint, count, counting, criu, goes_on, restore, restored, rt};

pub fn register(suite: &mut Suite) {
    suite
        .on(ONE, "every_switch_is_taken", switches)
        .on(V1, "control_groups_by_each_mode", modes)
        .on(ONE, "work_path_and_current_directory", places)
        .on(ONE, "pre_dump_and_parent_path", pre_dump)
        .on(ONE, "lazy_pages", lazy_pages)
        .on(ONE, "an_annotation_configures_criu_where_that_is_allowed", annotation)
        .on(ONE, "options_that_are_wrong", wrong)
        .on(ONE, "help_says_that_it_is_there", help);
}

fn switches(t: &Trial) {
    let c = counting(t, |_| {});
    let both = ["--tcp-established", "--ext-unix-sk", "--shell-job", "--file-locks"];
    let dump = ["--leave-running", "--tcp-skip-in-flight", "--link-remap", "-auto-dedup"];
    checkpoint(t, &c, &[&both[..], &dump].concat()).ok();
    let before = count(&c);
    c.remove();
    let more = ["--no-pivot", "--no-subreaper", "--auto-dedup"];
    restore(t, &c.bundle, &[&both[..], &more].concat(), &c.id).ok();
    goes_on(&c, before.min(3));
    checkpoint(t, &c, &["--empty-ns", "network"]).ok();
    restore(t, &c.bundle, &["--empty-ns", "network"], &c.id).ok();
    goes_on(&c, 3);
    c.remove();
    // No such security module here: CRIU says so, and it is CRIU that is asked.
    let out = restore(t, &c.bundle, &["--lsm-profile", "selinux:a_u:b_r:c_t:s0"], &c.id).run();
    if out.code != 0 {
        out.says("criu failed: type RESTORE");
    } else {
        c.remove();
    }
    let out = restore(t, &c.bundle, &["--lsm-mount-context", "a_u:b_r:c_t:s0"], &c.id).run();
    if out.code == 0 {
        c.remove();
    }
}

fn modes(t: &Trial) {
    for mode in ["soft", "full", "strict", "ignore"] {
        let c = counting(t, |_| {});
        checkpoint(t, &c, &["--manage-cgroups-mode", mode]).ok();
        let before = count(&c);
        let words = ["--manage-cgroups-mode", mode];
        let out = restore(t, &c.bundle, &words, &c.id).run();
        if ["full", "strict"].contains(&mode) && out.code != 0 {
            // CRIU's own: values that the kernel refuses, or groups that are there already.
            out.says("criu failed: type RESTORE");
            super::gone(t, &c.id);
            continue;
        }
        assert_eq!(out.code, 0, "{mode}: {}", out.err);
        goes_on(&c, before);
        let groups = c.proc_file("cgroup");
        assert!(groups.lines().any(|line| line.ends_with(&c.id)), "{mode}: {groups}");
        c.remove();
    }
}

fn places(t: &Trial) {
    let c = counting(t, |_| {});
    let work = t.dir.join("run/work");
    let text = work.to_str().expect("utf-8 path");
    rt(t, &["checkpoint", "--work-path", text, &c.id]).dir(&t.dir.join("run")).ok();
    assert!(work.join("dump.log").exists());
    let here = t.dir.join("run/checkpoint");
    assert!(here.join("core-1.img").exists() && !here.join("dump.log").exists());
    rt(t, &["restore", "-d", "--work-path", text, "-b", c.bundle.path(), &c.id])
        .dir(&t.dir.join("run"))
        .ok();
    assert!(work.join("restore.log").exists());
    goes_on(&c, 3);
    c.remove();
}

/// Needs a kernel that tells which memory was written (CONFIG_MEM_SOFT_DIRTY).
fn pre_dump(t: &Trial) {
    let c = counting(t, |_| {});
    let place = t.dir.join("run/images");
    fs::create_dir(&place).expect("mkdir");
    let at = |name: &str| place.join(name).to_str().expect("utf-8 path").to_owned();
    let out = rt(t, &["checkpoint", "--pre-dump", "--image-path", &at("0"), &c.id]).run();
    assert_eq!(c.status(), "running");
    if out.code != 0 {
        let out = out.says("criu is missing features: [MemTrack]");
        c.remove();
        t.skip(out.err.trim());
    }
    let words = ["checkpoint", "--image-path", &at("1"), "--parent-path", "../0", &c.id];
    rt(t, &words).ok();
    let before = count(&c);
    let words = ["restore", "-d", "--image-path", &at("1"), "-b", c.bundle.path(), &c.id];
    rt(t, &words).ok();
    goes_on(&c, before);
    c.remove();
}

/// Who asks is told when memory can be fetched. Here nobody fetches any: CRIU says so, and the
/// container runs on.
fn lazy_pages(t: &Trial) {
    let program = criu(t).join("criu");
    let program = program.to_str().expect("utf-8 path");
    let check = t.cmd(program, &["check", "--feature", "uffd-noncoop"]).run();
    if check.code != 0 {
        t.skip(check.err.trim());
    }
    let c = counting(t, |_| {});
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = free.local_addr().expect("an address").to_string();
    drop(free);
    let (mut ready, status) = std::io::pipe().expect("pipe");
    let dump = checkpoint(t, &c, &["--lazy-pages", "--page-server", &server, "--status-fd", "9"])
        .fd(9, status)
        .spawn();
    let mut byte = Vec::new();
    ready.read_to_end(&mut byte).expect("read");
    if byte != [0] {
        let out = dump.wait();
        t.skip(&format!("criu cannot serve pages here: {}", out.err.trim()));
    }
    drop(std::net::TcpStream::connect(&server).expect("CRIU's page server"));
    let out = dump.wait();
    if out.code != 0 {
        out.says("criu failed: type DUMP").says("Error (");
        goes_on(&c, count(&c));
        c.remove();
    }
}

fn annotation(t: &Trial) {
    let marks = t.dir.join("run/marks");
    let script = t.dir.join("run/script");
    fs::write(&script, format!("#!/bin/sh\necho $CRTOOLS_SCRIPT_ACTION >> {}\n", marks.display()))
        .expect("write");
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("chmod");
    let file = t.dir.join("run/criu.conf");
    fs::write(&file, format!("action-script {}\n", script.display())).expect("write");
    let c = counting(t, |c| c["annotations"] = json!({"org.criu.config": file}));
    let out = checkpoint(t, &c, &[]).ok();
    out.says("annotation org.criu.config: ignored: annotations.allow");
    assert!(!marks.exists(), "CRIU ran what an annotation names");
    let again = restored(t, &c);
    let settings = t.dir.join("run/settings.toml");
    fs::write(&settings, "[annotations]\nallow = [\"org.criu.config\"]\n").expect("write");
    let settings = settings.to_str().expect("utf-8 path");
    checkpoint(t, &again, &[]).env("RICHRUN_CONFIG", settings).ok();
    let said = fs::read_to_string(&marks).expect("CRIU is configured by the file");
    assert!(said.contains("post-dump"), "{said}");
}

fn wrong(t: &Trial) {
    let c = counting(t, |_| {});
    for (words, says) in [
        (&["--page-server", "nowhere"][..], "--page-server ADDRESS:PORT"),
        (&["--parent-path", "/absolute"], "must be relative"),
        (&["--manage-cgroups-mode", "hard"], "manage-cgroups-mode"),
        (&["--empty-ns", "pid"], "empty-ns"),
        (&["--status-fd", "99"], "invalid --status-fd argument 99"),
        (&["--status-fd", "0"], "invalid --status-fd argument 0"),
        (&["--image-path", "/nowhere/images"], "--image-path /nowhere/images"),
    ] {
        checkpoint(t, &c, words).run().exits(1).says(says);
    }
    goes_on(&c, count(&c));
    c.remove();
}

/// podman and CRI-O ask so.
fn help(t: &Trial) {
    for verb in ["checkpoint", "restore"] {
        t.rt(&[verb, "--help"]).ok().shows("--image-path");
    }
    // An option of the peers' that is gone there.
    t.rt(&["--criu", "/usr/sbin/criu", "list"]).ok();
}
