//! Mounts: options, order, propagation, where mount points may be.

mod callers;
mod foreign;
mod late;
mod limits;
mod links;
mod running;
mod words;

use std::fs;
use std::os::unix::fs::symlink;

use nix::mount::{MsFlags, mount};
use richrun_tests::bundle::{bind, caps, mounts, sh};
use richrun_tests::suite::{BOTH, ONE, ROOT};
use richrun_tests::{Kind, Suite, Trial};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite
        .on(BOTH, "stock_table", stock_table)
        .on(ROOT, "cgroup_mount", cgroup_mount)
        .on(ONE, "each_option", each_option)
        .on(ONE, "super_block_options", super_block_options)
        .on(BOTH, "bind_read_only", bind_read_only)
        .on(BOTH, "bind_file", bind_file)
        .on(ONE, "bind_options", bind_options)
        .on(ONE, "rbind", rbind)
        .on(ONE, "recursive_attributes", recursive_attributes)
        .on(BOTH, "order", order)
        .on(BOTH, "mount_points_are_made", mount_points_are_made)
        .on(ONE, "mount_point_modes", mount_point_modes)
        .on(BOTH, "symlink_in_target", symlink_in_target)
        .on(BOTH, "relative_source", relative_source)
        .on(ONE, "relative_destination", relative_destination)
        .on(ONE, "mount_propagation", mount_propagation)
        .on(ONE, "rootfs_propagation", rootfs_propagation)
        .on(ONE, "host_never_sees_mounts", host_never_sees_mounts)
        .on(BOTH, "read_only_root", read_only_root)
        .on(ONE, "tmpfs_data", tmpfs_data)
        .on(ONE, "tmpcopyup", tmpcopyup)
        .on(ONE, "idmap", idmap)
        .on(ONE, "overlay", overlay)
        .on(BOTH, "masked_paths", masked_paths)
        .on(BOTH, "read_only_paths", read_only_paths)
        .on(BOTH, "masked_missing", masked_missing)
        .on(ONE, "proc_options", proc_options)
        .on(ONE, "no_pivot", no_pivot)
        .on(ONE, "pivot_leaves_nothing", pivot_leaves_nothing)
        .on(ONE, "many_mounts", many_mounts)
        .on(ONE, "source_missing", source_missing)
        .on(ONE, "rootfs_on_itself", rootfs_on_itself)
        .on(ONE, "mtab_of_dev", mtab_of_dev);
    foreign::register(suite);
    late::register(suite);
    limits::register(suite);
    callers::register(suite);
    links::register(suite);
    running::register(suite);
    words::register(suite);
}

/// The line of `/proc/self/mountinfo` for a mount point (the last one wins).
pub fn mount_line(table: &str, point: &str) -> String {
    table
        .lines()
        .rfind(|line| line.split(' ').nth(4) == Some(point))
        .unwrap_or_else(|| panic!("no mount on {point} in\n{table}"))
        .to_owned()
}

/// Options, type and superblock options of a mount point.
fn fields(table: &str, point: &str) -> (String, String, String) {
    let line = mount_line(table, point);
    let (before, after) = line.split_once(" - ").expect("a separator");
    let options = before.split(' ').nth(5).expect("options").to_owned();
    let after: Vec<_> = after.split(' ').collect();
    (options, after[0].to_owned(), after[2].to_owned())
}

fn table(t: &Trial, edit: impl FnOnce(&mut Value)) -> String {
    t.sh_with("cat /proc/self/mountinfo", edit).ok().out
}

/// Adds a tmpfs mount with options.
fn tmpfs(c: &mut Value, destination: &str, options: &[&str]) {
    mounts(c).push(json!({
        "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options,
    }));
}

fn stock_table(t: &Trial) {
    let table = table(t, |_| {});
    for (point, kind, wanted) in [
        ("/proc", "proc", &["rw"][..]),
        ("/dev", "tmpfs", &["rw", "nosuid"]),
        ("/dev/pts", "devpts", &["nosuid", "noexec"]),
        ("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev"]),
        ("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        ("/sys", "sysfs", &["ro", "nosuid", "noexec", "nodev"]),
    ] {
        let (options, got, _) = fields(&table, point);
        assert_eq!(got, kind, "{point}");
        for option in wanted {
            assert!(options.split(',').any(|o| o == *option), "{option} of {point}: {options}");
        }
    }
    let (_, _, data) = fields(&table, "/dev");
    assert!(data.contains("mode=755") && data.contains("size=65536k"), "{data}");
    let (_, _, data) = fields(&table, "/dev/pts");
    assert!(data.contains("gid=") && data.contains("ptmxmode=666"), "{data}");
    assert!(!mount_line(&table, "/").contains("shared:"), "the root does not propagate");
}

fn cgroup_mount(t: &Trial) {
    let table = table(t, |_| {});
    let (options, kind, _) = fields(&table, "/sys/fs/cgroup");
    if t.is_richrun() || t.view == richrun_tests::View::V2 {
        assert!(options.starts_with("ro"), "{options}");
    }
    if t.view == richrun_tests::View::V2 {
        assert_eq!(kind, "cgroup2");
    } else {
        assert_eq!(kind, "tmpfs");
        for controller in ["memory", "pids", "devices", "freezer"] {
            let (options, kind, _) = fields(&table, &format!("/sys/fs/cgroup/{controller}"));
            assert_eq!(kind, "cgroup");
            assert!(options.contains("ro"), "{controller}: {options}");
        }
    }
}

fn each_option(t: &Trial) {
    // option, wanted among the mount's options, wanted to be absent
    let table_of: &[(&[&str], &[&str], &[&str])] = &[
        (&["ro"], &["ro"], &["rw"]),
        (&["rw"], &["rw"], &["ro"]),
        (&["nosuid"], &["nosuid"], &[]),
        (&["nodev"], &["nodev"], &[]),
        (&["noexec"], &["noexec"], &[]),
        (&["noatime"], &["noatime"], &["relatime"]),
        (&["nodiratime"], &["nodiratime"], &[]),
        (&["relatime"], &["relatime"], &["noatime"]),
        (&["strictatime"], &[], &["relatime", "noatime"]),
        (&["nosuid", "suid"], &[], &["nosuid"]),
        (&["nodev", "dev"], &[], &["nodev"]),
        (&["noexec", "exec"], &[], &["noexec"]),
        (&["ro", "rw"], &["rw"], &["ro"]),
        (&["noatime", "atime"], &[], &["noatime"]),
        (&["defaults"], &["rw"], &["nosuid", "nodev", "noexec"]),
        (&["nosymfollow"], &["nosymfollow"], &[]),
    ];
    for (options, wanted, absent) in table_of {
        if t.kind() == Kind::Runc && ["nosymfollow", "defaults"].contains(&options[0]) {
            continue;
        }
        let text = table(t, |c| tmpfs(c, "/mnt", options));
        let (got, ..) = fields(&text, "/mnt");
        let got: Vec<_> = got.split(',').collect();
        assert!(wanted.iter().all(|word| got.contains(word)), "{options:?}: {got:?}");
        assert!(!absent.iter().any(|word| got.contains(word)), "{options:?}: {got:?}");
    }
    for option in ["sync", "dirsync"] {
        let text = table(t, |c| tmpfs(c, "/mnt", &[option]));
        assert!(mount_line(&text, "/mnt").contains(option), "{option}");
    }
}

/// The rest of the options that the specification wants of every runtime: some
/// belong to the file system as a whole, some only undo others.
fn super_block_options(t: &Trial) {
    t.only(&[Kind::Richrun], "1.1 does not know all of them");
    for (options, wanted, absent) in [
        (&["sync"][..], "sync", ""),
        (&["sync", "async"], "", "sync"),
        (&["dirsync"], "dirsync", ""),
        (&["lazytime"], "lazytime", ""),
        (&["lazytime", "nolazytime"], "", "lazytime"),
        (&["nodiratime", "diratime"], "", "nodiratime"),
        (&["norelatime"], "relatime", ""),
        (&["strictatime", "nostrictatime"], "relatime", ""),
        (&["iversion"], "", "iversion="),
        (&["noiversion"], "", "iversion="),
        (&["silent"], "", "silent"),
        (&["loud"], "", "loud"),
        (&["remount"], "", "remount"),
    ] {
        let text = table(t, |c| tmpfs(c, "/mnt", options));
        let (mount, _, whole) = fields(&text, "/mnt");
        let all = format!("{mount},{whole}");
        let got: Vec<_> = all.split(',').collect();
        assert!(wanted.is_empty() || got.contains(&wanted), "{options:?}: {got:?}");
        assert!(absent.is_empty() || !got.contains(&absent), "{options:?}: {got:?}");
    }
}

fn bind_read_only(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, "cat /data/file; echo no > /data/file; echo $?"));
    let source = bundle.dir.join("data");
    fs::create_dir(&source).expect("mkdir");
    fs::write(source.join("file"), "kept\n").expect("write");
    bundle.edit(|c| bind(c, &source, "/data", &["bind", "ro"]));
    if !t.is_root() {
        bundle.give_away();
    }
    let out = t.run(&bundle).ok();
    out.says("Read-only file system").prints("kept\n1");
}

fn bind_file(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, "cat /etc/passwd /new/dir/file"));
    let source = bundle.dir.join("one");
    fs::write(&source, "one file\n").expect("write");
    bundle.edit(|c| {
        bind(c, &source, "/etc/passwd", &["bind"]);
        bind(c, &source, "/new/dir/file", &["rbind"]);
    });
    if !t.is_root() {
        bundle.give_away();
    }
    t.run(&bundle).ok().prints("one file\none file");
}

fn bind_options(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, "cat /proc/self/mountinfo"));
    let source = bundle.dir.join("data");
    fs::create_dir(&source).expect("mkdir");
    let all = ["nosuid", "nodev", "noexec", "ro", "noatime"];
    bundle.edit(|c| {
        let mut options = vec!["bind"];
        options.extend(all);
        bind(c, &source, "/strict", &options);
        bind(c, &source, "/plain", &["bind"]);
        // The type may be left out or be "none": the option says it all.
        mounts(c).push(
            json!({"destination": "/none", "source": source, "type": "none", "options": ["bind"]}),
        );
        mounts(c).push(json!({"destination": "/typeless", "source": source, "options": ["rbind"]}));
    });
    let table = t.run(&bundle).ok().out;
    let (strict, ..) = fields(&table, "/strict");
    for option in all {
        assert!(strict.split(',').any(|word| word == option), "{option}: {strict}");
    }
    for point in ["/plain", "/none", "/typeless"] {
        assert!(fields(&table, point).0.starts_with("rw"));
    }
}

/// A directory with a tmpfs below it.
fn tree(t: &Trial) -> std::path::PathBuf {
    let source = t.dir.join("tree");
    fs::create_dir_all(source.join("sub")).expect("mkdir");
    mount(Some("sub"), &source.join("sub"), Some("tmpfs"), MsFlags::empty(), None::<&str>)
        .expect("mount a tmpfs");
    fs::write(source.join("sub/file"), "below").expect("write");
    t.accept_mounts();
    source
}

fn rbind(t: &Trial) {
    let source = tree(t);
    t.sh_with("cat /data/sub/file", |c| bind(c, &source, "/data", &["rbind"])).ok().prints("below");
    t.sh_with("ls /data/sub", |c| bind(c, &source, "/data", &["bind"])).ok().prints("");
}

fn recursive_attributes(t: &Trial) {
    let source = tree(t);
    for (option, word) in [
        ("rro", "ro"),
        ("rnosuid", "nosuid"),
        ("rnodev", "nodev"),
        ("rnoexec", "noexec"),
        ("rnoatime", "noatime"),
    ] {
        let text = table(t, |c| bind(c, &source, "/data", &["rbind", option]));
        for point in ["/data", "/data/sub"] {
            let (got, ..) = fields(&text, point);
            assert!(got.split(',').any(|o| o == word), "{option} on {point}: {got}");
        }
    }
    let text = table(t, |c| bind(c, &source, "/data", &["rbind", "ro"]));
    assert!(fields(&text, "/data").0.starts_with("ro"), "ro is not recursive: top");
    assert!(fields(&text, "/data/sub").0.starts_with("rw"), "ro is not recursive: below");
    t.only(&[Kind::Richrun], "rrw after rro stays read-only");
    let text = table(t, |c| bind(c, &source, "/data", &["rbind", "rro", "rrw"]));
    assert!(fields(&text, "/data/sub").0.starts_with("rw"), "the later option wins");
}

fn order(t: &Trial) {
    let out = t.sh_with("cat /one/a; ls /one /two", |c| {
        tmpfs(c, "/one", &[]);
        tmpfs(c, "/one/below", &[]);
        tmpfs(c, "/two/below", &[]);
        tmpfs(c, "/two", &[]);
    });
    // /two/below is hidden by the later mount on /two.
    out.shows("/one:\nbelow\n\n/two:\n");
}

fn mount_points_are_made(t: &Trial) {
    let out = t.sh_with(
        "stat -c %a:%F /a /a/b /a/b/c; grep -q \" /a/b/c \" /proc/self/mountinfo && echo mounted",
        |c| {
            tmpfs(c, "/a/b/c", &["mode=1777"]);
        },
    );
    out.ok().prints("755:directory\n755:directory\n1777:directory\nmounted");
}

/// The directories made are 0755 whatever the caller's umask is.
fn mount_point_modes(t: &Trial) {
    t.only(&[Kind::Richrun], "lets the caller's umask through");
    let bundle = t.bundle(|c| {
        sh(c, "stat -c %a /a /a/b");
        tmpfs(c, "/a/b/c", &[]);
    });
    let path = t.runtime_path();
    let line = format!(
        "umask 077; exec {} --root {} run -b {} {}",
        path.display(),
        t.root().display(),
        bundle.path(),
        bundle.id
    );
    t.cmd("/bin/busybox", &["sh", "-c", &line]).ok().prints("755\n755");
}

fn symlink_in_target(t: &Trial) {
    let bundle = t.bundle(|c| {
        sh(c, "m=/proc/self/mountinfo; grep -q ' /real ' $m && echo real; grep -q ' /inside/dir ' $m && echo inside");
        tmpfs(c, "/link", &[]);
        tmpfs(c, "/absolute/dir", &[]);
    });
    fs::create_dir_all(bundle.rootfs().join("real")).expect("mkdir");
    fs::create_dir_all(bundle.rootfs().join("inside")).expect("mkdir");
    symlink("../../../../../real", bundle.rootfs().join("link")).expect("symlink");
    symlink("/inside", bundle.rootfs().join("absolute")).expect("symlink");
    if !t.is_root() {
        bundle.give_away();
    }
    t.run(&bundle).ok().prints("real\ninside");
    assert!(!std::path::Path::new("/real").exists() && !std::path::Path::new("/inside").exists());
}

fn relative_source(t: &Trial) {
    let bundle = t.bundle(|c| {
        sh(c, "cat /data/file");
        bind(c, std::path::Path::new("data"), "/data", &["bind"]);
    });
    fs::create_dir(bundle.dir.join("data")).expect("mkdir");
    fs::write(bundle.dir.join("data/file"), "from the bundle").expect("write");
    if !t.is_root() {
        bundle.give_away();
    }
    t.run(&bundle).ok().prints("from the bundle");
}

/// An old form: a destination without its leading slash is taken from the root.
fn relative_destination(t: &Trial) {
    t.sh_with("grep -q ' /mnt ' /proc/self/mountinfo && echo yes", |c| tmpfs(c, "mnt", &[]))
        .ok()
        .prints("yes");
}

fn propagation_of(line: &str) -> &'static str {
    match (line.contains(" shared:"), line.contains(" master:"), line.contains(" unbindable")) {
        (true, ..) => "shared",
        (_, true, _) => "slave",
        (_, _, true) => "unbindable",
        _ => "private",
    }
}

fn mount_propagation(t: &Trial) {
    let source = t.dir.join("prop");
    fs::create_dir(&source).expect("mkdir");
    mount(Some("x"), &source, Some("tmpfs"), MsFlags::empty(), None::<&str>).expect("mount");
    mount(None::<&str>, &source, None::<&str>, MsFlags::MS_SHARED, None::<&str>).expect("share");
    t.accept_mounts();
    for (option, wanted) in [
        ("private", "private"),
        ("rprivate", "private"),
        ("slave", "slave"),
        ("rslave", "slave"),
        ("shared", "shared"),
        ("rshared", "shared"),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
    ] {
        let text = table(t, |c| {
            bind(c, &source, "/data", &["rbind", option]);
            // A root that is not private lets peers through.
            c["linux"]["rootfsPropagation"] = json!("rslave");
        });
        assert_eq!(propagation_of(&mount_line(&text, "/data")), wanted, "{option}");
    }
    // rshared carries a mount made in the container back to the host.
    t.sh_with("mkdir /data/x && mount -t tmpfs inner /data/x && sleep 0.3", |c| {
        bind(c, &source, "/data", &["rbind", "rshared"]);
        c["linux"]["rootfsPropagation"] = json!("shared");
        caps(c, &["CAP_SYS_ADMIN"]);
    })
    .ok();
    let seen = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    assert!(seen.contains("prop/x"), "the inner mount came through");
    nix::mount::umount2(&source.join("x"), nix::mount::MntFlags::MNT_DETACH).expect("umount");
    t.accept_mounts();
}

fn rootfs_propagation(t: &Trial) {
    for (word, wanted) in [
        ("private", "private"),
        ("rprivate", "private"),
        ("rslave", "slave"),
        ("shared", "shared"),
        ("rshared", "shared"),
        ("unbindable", "unbindable"),
    ] {
        // These versions leave the root private in the end.
        if t.kind() != Kind::Richrun && ["shared", "rshared", "unbindable"].contains(&word) {
            continue;
        }
        // The caller's root is made shared, so that a slave has a master.
        mount(None::<&str>, t.dir.as_path(), None::<&str>, MsFlags::MS_SHARED, None::<&str>)
            .expect("share");
        let out = t.sh_with("cat /proc/self/mountinfo", |c| {
            c["linux"]["rootfsPropagation"] = json!(word);
        });
        let line = mount_line(&out.ok().out, "/");
        let got = propagation_of(&line);
        // A shared mount may at once be another's slave.
        assert!(got == wanted, "{word}: {line}");
    }
}

fn host_never_sees_mounts(t: &Trial) {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>)
        .expect("share everything");
    t.accept_mounts();
    let before = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let c = t.idle_with(|c| tmpfs(c, "/mnt", &[]));
    let during = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    assert_eq!(before.lines().count(), during.lines().count(), "{during}");
    c.remove();
}

fn read_only_root(t: &Trial) {
    t.sh_with("touch /file", |c| c["root"]["readonly"] = json!(true))
        .fails()
        .says("Read-only file system");
    t.sh("touch /file && echo yes").ok().prints("yes");
    let out = t.sh_with("touch /dev/shm/x && echo shm; touch /tmp/x || echo no", |c| {
        c["root"]["readonly"] = json!(true);
    });
    out.shows("shm\nno");
}

fn tmpfs_data(t: &Trial) {
    let text = table(t, |c| {
        tmpfs(c, "/mnt", &["size=4096k", "mode=700", "uid=1000", "gid=2000", "nr_inodes=100"])
    });
    let (_, kind, data) = fields(&text, "/mnt");
    assert_eq!(kind, "tmpfs");
    for word in ["size=4096k", "mode=700", "uid=1000", "gid=2000", "nr_inodes=100"] {
        assert!(data.split(',').any(|o| o == word), "{word}: {data}");
    }
    t.sh_with("true", |c| tmpfs(c, "/mnt", &["no_such_option=1"])).fails().says("/mnt");
}

fn tmpcopyup(t: &Trial) {
    let bundle = t.bundle(|c| {
        sh(
            c,
            "cat /data/a /data/sub/b; stat -c %a:%u /data/a; readlink /data/link; touch /data/new",
        );
        tmpfs(c, "/data", &["tmpcopyup"]);
    });
    let a = bundle.file("data/a", "first\n");
    bundle.file("data/sub/b", "second\n");
    symlink("a", bundle.rootfs().join("data/link")).expect("symlink");
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&a, fs::Permissions::from_mode(0o640)).expect("chmod");
    std::os::unix::fs::chown(&a, Some(1000), None).expect("chown");
    t.run(&bundle).ok().prints("first\nsecond\n640:1000\na");
    assert!(!bundle.rootfs().join("data/new").exists(), "written to the tmpfs");
    // With ro: filled first, read-only afterwards.
    bundle.edit(|c| {
        sh(c, "cat /data/a; touch /data/new");
        for entry in mounts(c) {
            if entry["destination"] == "/data" {
                entry["options"] = json!(["tmpcopyup", "ro"]);
            }
        }
    });
    t.run(&bundle).fails().says("Read-only").shows("first");
}

fn idmap(t: &Trial) {
    t.only(&[Kind::Richrun], "1.1 and 1.8 want other forms of id-mapped mounts");
    let source = t.dir.join("mapped");
    fs::create_dir(&source).expect("mkdir");
    fs::write(source.join("file"), "x").expect("write");
    std::os::unix::fs::chown(source.join("file"), Some(5), Some(6)).expect("chown");
    let maps = |c: &mut Value, option: &str| {
        mounts(c).push(json!({
            "destination": "/data", "type": "bind", "source": source, "options": ["rbind", option],
            "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 100}],
            "gidMappings": [{"containerID": 0, "hostID": 2000, "size": 100}],
        }));
    };
    // What is mounted below is mapped by ridmap only.
    let below = source.join("below");
    fs::create_dir(&below).expect("mkdir");
    mount(Some("below"), &below, Some("tmpfs"), MsFlags::empty(), None::<&str>).expect("mount");
    fs::write(below.join("file"), "x").expect("write");
    std::os::unix::fs::chown(below.join("file"), Some(7), Some(8)).expect("chown");
    t.accept_mounts();
    for (option, other) in [("idmap", "7:8"), ("ridmap", "1007:2008")] {
        let out = t.sh_with("stat -c %u:%g /data/file /data/below/file", |c| maps(c, option));
        out.ok().prints(&format!("1005:2006\n{other}"));
    }
    let bundle = t.bundle(|c| {
        sh(c, "stat -c %u:%g /data/file");
        richrun_tests::bundle::user_namespace(c);
        bind(c, &source, "/data", &["rbind", "idmap"]);
    });
    // The namespace's root may not make it in a root file system of others.
    bundle.file("data/covered", "");
    t.run(&bundle).ok().prints("5:6");
}

fn overlay(t: &Trial) {
    let dirs = ["lower", "upper", "work"].map(|name| t.dir.join(name));
    for dir in &dirs {
        fs::create_dir(dir).expect("mkdir");
    }
    fs::write(dirs[0].join("file"), "lower").expect("write");
    let out = t.sh_with("cat /data/file; echo upper > /data/file; cat /data/file", |c| {
        mounts(c).push(json!({
            "destination": "/data", "type": "overlay", "source": "overlay",
            "options": [
                format!("lowerdir={}", dirs[0].display()),
                format!("upperdir={}", dirs[1].display()),
                format!("workdir={}", dirs[2].display()),
            ],
        }));
    });
    out.ok().prints("lowerupper");
    assert_eq!(fs::read_to_string(dirs[1].join("file")).expect("the upper file"), "upper\n");
}

fn masked_paths(t: &Trial) {
    let bundle = t.bundle(|c| {
        sh(c, "cat /secret/file; ls -A /hidden; cat /proc/kcore | wc -c; touch /hidden/x");
        c["linux"]["maskedPaths"] = json!(["/secret/file", "/hidden", "/proc/kcore"]);
    });
    bundle.file("secret/file", "secret");
    bundle.file("hidden/file", "secret");
    if !t.is_root() {
        bundle.give_away();
    }
    let out = t.run(&bundle).fails();
    out.says("Read-only").prints("0");
}

fn read_only_paths(t: &Trial) {
    let bundle = t.bundle(|c| {
        sh(c, "cat /data/file; echo x > /data/file; echo x > /one; echo x > /proc/sys/kernel/domainname");
        c["linux"]["readonlyPaths"] = json!(["/data", "/one", "/proc/sys", "/not/there"]);
    });
    bundle.file("data/file", "text");
    bundle.file("one", "text");
    if !t.is_root() {
        bundle.give_away();
    }
    let out = t.run(&bundle).fails();
    assert_eq!(out.err.matches("Read-only").count(), 3, "{}", out.err);
    out.prints("text");
}

fn masked_missing(t: &Trial) {
    t.sh_with("echo fine", |c| {
        c["linux"]["maskedPaths"] = json!(["/not/there", "/nor/there"]);
        c["linux"]["readonlyPaths"] = json!(["/neither/there"]);
    })
    .ok()
    .prints("fine");
}

fn proc_options(t: &Trial) {
    let out = t.sh_with("cat /proc/self/mountinfo; ls -d /proc/[0-9]*", |c| {
        for entry in mounts(c) {
            if entry["destination"] == "/proc" {
                entry["options"] = json!(["nosuid", "nodev", "noexec", "hidepid=2"]);
            }
        }
    });
    let out = out.ok();
    let line = mount_line(&out.out, "/proc");
    assert!(line.contains("nosuid,nodev,noexec") && line.contains("hidepid"), "{line}");
}

fn no_pivot(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, "ls / | head -1; cat /proc/self/mountinfo | wc -l; pwd"));
    t.run_cmd(&bundle, &["--no-pivot"]).ok().shows("bin");
}

/// Nothing of the host's mounts is left in the container's table.
fn pivot_leaves_nothing(t: &Trial) {
    let table = table(t, |_| {});
    let points: Vec<_> = table.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    let fine = ["/", "/proc", "/dev", "/sys"];
    for point in points {
        assert!(
            fine.contains(&point)
                || fine[1..].iter().any(|top| point.starts_with(&format!("{top}/"))),
            "{point} in {table}"
        );
    }
}

fn many_mounts(t: &Trial) {
    let out = t.sh_with("grep -c /many/ /proc/self/mountinfo", |c| {
        for number in 0..300 {
            tmpfs(c, &format!("/many/{number}"), &["size=64k"]);
        }
    });
    out.ok().prints("300");
}

fn source_missing(t: &Trial) {
    let out =
        t.sh_with("true", |c| bind(c, std::path::Path::new("/no/such/source"), "/data", &["bind"]));
    out.exits(1).says("/no/such/source").says("no such file or directory");
}

/// A root file system that is already a mount point, and one below a shared mount.
fn rootfs_on_itself(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, "echo fine"));
    let root = bundle.rootfs();
    mount(Some(&root), &root, None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("bind");
    mount(None::<&str>, &root, None::<&str>, MsFlags::MS_SHARED, None::<&str>).expect("share");
    t.accept_mounts();
    t.run(&bundle).ok().prints("fine");
}

fn mtab_of_dev(t: &Trial) {
    let out = t
        .sh("for l in fd stdin stdout stderr core ptmx; do echo $l $(readlink /dev/$l); done")
        .ok();
    for line in [
        "fd /proc/self/fd",
        "stdin /proc/self/fd/0",
        "stdout /proc/self/fd/1",
        "stderr /proc/self/fd/2",
        "ptmx pts/ptmx",
    ] {
        assert!(out.out.contains(line), "{line}: {}", out.out);
    }
}
