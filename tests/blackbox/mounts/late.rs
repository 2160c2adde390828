//! What becomes read-only last, what becomes the root, where mount points are made, and whose
//! peers bound control groups are.

use std::fs;

use richrun_tests::bundle::{bind, mounts, sh};
use richrun_tests::suite::{BOTH, ONE, V1};
use richrun_tests::{Kind, Suite, Trial};
use serde_json::json;

use super::{fields, tmpfs};

pub fn register(suite: &mut Suite) {
    suite
        .on(BOTH, "read_only_dev", read_only_dev)
        .on(BOTH, "mount_points_in_a_read_only_tmpfs", mount_points_in_a_read_only_tmpfs)
        .on(ONE, "read_only_binds_stay_so", read_only_binds_stay_so)
        .on(ONE, "covered_read_only_tmpfs", covered_read_only_tmpfs)
        .on(BOTH, "read_only_below_a_read_only_path", read_only_below_a_read_only_path)
        .on(V1, "bound_groups_are_nobodys_peers", bound_groups_are_nobodys_peers)
        .on(BOTH, "mount_on_root", mount_on_root)
        .on(BOTH, "root_in_the_destination", root_in_the_destination);
}

fn read_only_dev(t: &Trial) {
    let out = t.sh_with("cat /proc/self/mountinfo; echo x > /dev/null && touch /dev/x", |c| {
        for entry in mounts(c).iter_mut().filter(|entry| entry["destination"] == "/dev") {
            entry["options"] = json!(["nosuid", "ro", "mode=755", "size=65536k"]);
        }
    });
    let out = out.fails().says("Read-only file system");
    assert!(fields(&out.out, "/dev").0.starts_with("ro"), "{}", out.out);
    // Devices and mounts in it are there.
    fields(&out.out, "/dev/pts");
}

fn mount_points_in_a_read_only_tmpfs(t: &Trial) {
    for options in [&["ro"][..], &["rro"]] {
        let out = t.sh_with("cat /proc/self/mountinfo; pwd; touch /x/other", |c| {
            tmpfs(c, "/x", options);
            tmpfs(c, "/x/deep/er", &[]);
            bind(c, std::path::Path::new("/etc/passwd"), "/x/file", &["bind"]);
            c["process"]["cwd"] = json!("/x/work");
        });
        let out = out.fails().says("Read-only file system");
        assert!(out.out.contains("/x/work"), "{}", out.out);
        assert!(fields(&out.out, "/x").0.starts_with("ro"), "{}", out.out);
        assert!(fields(&out.out, "/x/deep/er").0.starts_with("rw"), "{}", out.out);
        fields(&out.out, "/x/file");
    }
}

/// What is bound read-only is the host's: nothing is made in it.
fn read_only_binds_stay_so(t: &Trial) {
    let source = t.dir.join("source");
    fs::create_dir(&source).expect("mkdir");
    let out = t.sh_with("true", |c| {
        bind(c, &source, "/x", &["bind", "ro"]);
        tmpfs(c, "/x/below", &[]);
    });
    out.fails().says("read-only file system");
    assert!(!source.join("below").exists());
}

fn covered_read_only_tmpfs(t: &Trial) {
    t.only(&[Kind::Richrun], "makes the upper one read-only");
    let out = t.sh_with("touch /x/y/new && echo made", |c| {
        tmpfs(c, "/x/y", &["ro"]);
        tmpfs(c, "/x", &[]);
        tmpfs(c, "/x/y", &[]);
    });
    out.ok().says("covered").prints("made");
}

/// The mount itself is read-only, and not only what covers it.
fn read_only_below_a_read_only_path(t: &Trial) {
    let out = t.sh_with("cat /proc/self/mountinfo", |c| {
        tmpfs(c, "/x", &["ro"]);
        c["linux"]["readonlyPaths"] = json!(["/x"]);
    });
    let out = out.ok();
    let lines: Vec<Vec<&str>> = out.out.lines().map(|line| line.split(' ').collect()).collect();
    let mut on = lines.iter().filter(|line| line[4] == "/x").peekable();
    assert!(on.peek().is_some() && on.all(|line| line[5].starts_with("ro")), "{}", out.out);
    assert!(!out.err.contains("writable"), "{}", out.err);
}

/// Otherwise what is mounted there would show on the host, whose mounts are shared under systemd.
fn bound_groups_are_nobodys_peers(t: &Trial) {
    t.only(&[Kind::Richrun], "mounts each hierarchy anew");
    let out = t.sh_with("cat /proc/self/mountinfo", |c| {
        c["linux"]["rootfsPropagation"] = json!("shared");
    });
    let out = out.ok();
    let groups: Vec<&str> = out.out.lines().filter(|line| line.contains(" - cgroup ")).collect();
    assert!(groups.len() > 1, "{}", out.out);
    assert!(groups.iter().all(|line| !line.contains("shared:")), "{}", out.out);
}

fn mount_on_root(t: &Trial) {
    t.only(&[Kind::Richrun], "1.1 looks for the sources below the covered root");
    let bundle = t.bundle(|c| sh(c, "cat /proc/self/mountinfo; ls /; cat /mine/file; touch /new"));
    let source = bundle.dir.join("other");
    richrun_tests::bundle::make_rootfs(&source);
    let data = bundle.dir.join("data");
    fs::create_dir(&data).expect("mkdir");
    fs::write(data.join("file"), "found\n").expect("write");
    bundle.edit(|c| {
        mounts(c).insert(0, json!({"destination": "/./", "type": "bind", "source": source, "options": ["rbind", "ro"]}));
        mounts(c).insert(1, json!({"destination": "/tmp/../tmp", "type": "tmpfs", "source": "x"}));
        bind(c, &data, "/mnt", &["bind"]);
        bind(c, &data, "/mine", &["bind"]);
    });
    for place in ["mnt", "mine"] {
        fs::create_dir(source.join(place)).expect("mkdir");
    }
    if !t.is_root() {
        bundle.give_away();
    }
    let out = t.run(&bundle).fails().says("Read-only file system");
    assert!(out.out.ends_with("found\n"), "{}", out.out);
    let roots = out.out.lines().filter(|line| line.split(' ').nth(4) == Some("/"));
    assert_eq!(roots.count(), 1, "{}", out.out);
    assert!(!bundle.rootfs().join("mine").exists(), "made in the covered root");
}

fn root_in_the_destination(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, "grep -c ' /mnt ' /proc/self/mountinfo"));
    let inside = bundle.rootfs().join("mnt");
    bundle.edit(|c| tmpfs(c, inside.to_str().expect("utf-8"), &[]));
    t.run(&bundle).ok().prints("1");
}
