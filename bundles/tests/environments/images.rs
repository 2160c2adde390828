//! Images: of all kinds, shared, refused, forgotten.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::stage::{Stage, wait_until, write_layout};

/// Directories of layers in the store.
fn layers(stage: &Stage) -> usize {
    let path = stage.dir.join("r/data/images/layers");
    fs::read_dir(path).map_or(0, Iterator::count)
}

/// One image in four forms is one image, and its layers are there once.
pub fn of_all_kinds(stage: &Stage) {
    let more = vec![("more", 0o600, 0, &b"x"[..])];
    let dir = stage.image(&json!({ "Cmd": ["sh"] }), &[more]);
    let archive = stage.dir.join("image.tar");
    let packed = Command::new("tar").arg("-C").arg(&dir).arg("-cf").arg(&archive).arg(".").status();
    assert!(packed.is_ok_and(|status| status.success()));
    let gz = stage.dir.join("image.tar.gz");
    let packed = Command::new("tar").arg("-C").arg(&dir).arg("-czf").arg(&gz).arg(".").status();
    assert!(packed.is_ok_and(|status| status.success()));
    let mut ids = Vec::new();
    for form in [
        format!("oci:{}", dir.display()),
        format!("oci:{}:test", dir.display()),
        format!("oci-archive:{}", archive.display()),
        format!("oci-archive:{}", gz.display()),
    ] {
        ids.push(stage.ok(&stage.dir, &["image", "pull", &form]));
    }
    ids.dedup();
    assert_eq!((ids.len(), layers(stage)), (1, 2), "{ids:?}");
    let list: Value =
        serde_json::from_str(&stage.ok(&stage.dir, &["image", "list", "--format", "json"]))
            .expect("a list");
    assert_eq!(list[0]["names"].as_array().map(Vec::len), Some(4), "{list}");
    // An image that shares the first layer is one layer more.
    let other = stage.image(&json!({}), &[vec![("other", 0o600, 0, &b"y"[..])]]);
    let other = stage.ok(&stage.dir, &["image", "pull", &format!("oci:{}", other.display())]);
    assert_eq!(layers(stage), 3);
    stage.ok(&stage.dir, &["image", "rm", other.trim()]);
    assert_eq!(layers(stage), 2);
    stage.ok(&stage.dir, &["image", "prune", "--all"]);
    assert_eq!(layers(stage), 0);
    let left = fs::read_dir(stage.dir.join("r/data/images/tmp")).expect("read tmp").count();
    assert_eq!(left, 0);
}

/// Of pulls of one image at the same moment each leaves the name that it was asked for by.
pub fn pulled_at_once(stage: &Stage) {
    let dir = stage.image(&json!({}), &[]);
    stage.ok(&stage.dir, &["image", "pull", &format!("oci:{}", dir.display())]);
    let names: Vec<PathBuf> = (0..16).map(|at| stage.dir.join(format!("name{at}"))).collect();
    for name in &names {
        std::os::unix::fs::symlink(&dir, name).expect("link");
    }
    let pull = |name: &PathBuf| {
        let source = format!("oci:{}", name.display());
        let mut command = stage.richctl(&stage.dir, &["image", "pull", &source]);
        command.stdout(Stdio::null()).spawn().expect("start a pull")
    };
    let pulls: Vec<_> = names.iter().map(pull).collect();
    for mut one in pulls {
        assert!(one.wait().expect("wait").success());
    }
    let list = stage.ok(&stage.dir, &["image", "list", "--format", "json"]);
    let list: Value = serde_json::from_str(&list).expect("a list");
    assert_eq!(list[0]["names"].as_array().map(Vec::len), Some(names.len() + 1), "{list}");
}

/// Hostile and broken images are refused by name, and leave nothing.
pub fn refused(stage: &Stage) {
    let canary = stage.directory("canary");
    fs::write(canary.join("file"), "untouched").expect("write");
    let out = format!("../../../../../../../..{}/file", canary.display());
    let hostile = hostile_tar(&out);
    let dir = stage.directory("hostile");
    write_layout(&dir, &json!({}), &[hostile]);
    let done = stage.run(&stage.dir, &["image", "pull", &format!("oci:{}", dir.display())]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.err.contains("`..`"), "{done:?}");
    assert_eq!(fs::read_to_string(canary.join("file")).expect("read"), "untouched");
    assert_eq!(layers(stage), 0);
    // Another content than the digest says.
    let dir = stage.image(&json!({}), &[]);
    for blob in fs::read_dir(dir.join("blobs/sha256")).expect("read").flatten() {
        let mut bytes = fs::read(blob.path()).expect("read a blob");
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            fs::write(blob.path(), bytes).expect("write a blob");
        }
    }
    let done = stage.run(&stage.dir, &["image", "pull", &format!("oci:{}", dir.display())]);
    assert_eq!(done.code, 1, "{done:?}");
    assert_eq!(layers(stage), 0);
    for (form, word) in [
        ("oci:/no/such", "no directory"),
        ("oci-archive:/no/such", "No such file"),
        ("oci:", "no path"),
        ("/etc", "no image"),
    ] {
        let done = stage.run(&stage.dir, &["image", "pull", form]);
        assert!(done.code == 1 && done.err.contains(word), "{form}: {done:?}");
    }
}

fn hostile_tar(name: &str) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_mode(0o644);
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// Layers as a container sees them: whiteouts, owners, set-id bits, opaque directories.
pub fn seen_inside(stage: &Stage) {
    let first = vec![
        ("gone", 0o644, 0, &b"1"[..]),
        ("dir/", 0o755, 0, b""),
        ("dir/old", 0o644, 0, b"1"),
        ("owned", 0o4755, 1000, b"1"),
    ];
    let second = vec![
        (".wh.gone", 0o644, 0, &b""[..]),
        ("dir/.wh..wh..opq", 0o644, 0, b""),
        ("dir/new", 0o644, 0, b"2"),
    ];
    let image = stage.image(&json!({ "Env": ["FROM=image"] }), &[first, second]);
    let template = json!({ "image": format!("oci:{}", image.display()), "binaries": ["sh"] });
    let top = stage.work_tree("tree", &template.to_string());
    let script = "ls / /dir; stat -c '%u:%g %a' /owned; stat -c %a /; echo $FROM; touch /written";
    let out = stage.ok(&top, &["env", "run", "sh", "-c", script]);
    assert!(!out.contains("gone") && !out.contains("old"), "{out}");
    assert!(out.contains("new") && out.contains("1000:1000 4755\n755\nimage"), "{out}");
    // What a command writes is its own.
    let out = stage.ok(&top, &["env", "run", "sh", "-c", "ls /"]);
    assert!(!out.contains("written"), "{out}");
    let done = stage.run(&top, &["image", "prune", "--all"]);
    assert_eq!(done.code, 0, "{done:?}");
    stage.ok(&top, &["env", "rm"]);
}

/// A registry on this machine, by Debian's docker-registry and skopeo.
pub fn of_a_registry(stage: &Stage) {
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a port").port();
    let config = stage.dir.join("registry.yml");
    let text = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: 127.0.0.1:{port}}}\n",
        stage.directory("registry").display()
    );
    fs::write(&config, text).expect("write");
    let mut server = Command::new("docker-registry")
        .arg("serve")
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start the registry");
    wait_until("the registry listens", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let image = stage.image(&json!({ "Cmd": ["sh"] }), &[]);
    let name = format!("docker://127.0.0.1:{port}/a/b:1");
    let copied = Command::new("skopeo")
        .args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"])
        .args([&format!("oci:{}:test", image.display()), &name])
        .status();
    let pulled = stage.run(&stage.dir, &["image", "pull", &name]);
    let missing = stage.run(&stage.dir, &["image", "pull", &format!("{name}-missing")]);
    let _ = server.kill();
    let _ = server.wait();
    assert!(copied.is_ok_and(|status| status.success()));
    assert_eq!(pulled.code, 0, "{pulled:?}");
    assert!(missing.code == 1 && missing.err.contains("manifest unknown"), "{missing:?}");
    // It is there now, without the registry.
    let top = stage.work_tree("tree", &json!({ "image": name, "binaries": ["echo"] }).to_string());
    assert_eq!(stage.ok(&top, &["env", "run", "echo", "hi"]), "hi\n");
    stage.ok(&top, &["env", "rm"]);
}

/// An image as a SOURCE of `richctl run`: its user by name, its variables, its command.
pub fn in_containers(stage: &Stage) {
    let settings = json!({ "Cmd": ["sh", "-c", "id -u; echo $FROM; pwd; touch /tmp/x"],
        "Env": ["FROM=image"], "User": "me", "WorkingDir": "/root" });
    let image =
        stage.image(&settings, &[vec![("root/", 0o777, 0, &b""[..]), ("tmp/", 0o1777, 0, b"")]]);
    let source = format!("oci:{}", image.display());
    let out = stage.ok(&stage.dir, &["run", "--rm", &source]);
    assert_eq!(out, "1000\nimage\n/root\n");
    let out = stage.ok(&stage.dir, &["run", "--rm", "--user", "0", &source, "ls", "/tmp"]);
    assert_eq!(out, "", "what the first one wrote was its own");
    stage.ok(&stage.dir, &["image", "prune", "--all"]);
    assert_eq!(layers(stage), 0);
}

/// More layers than the names of one page would take by their whole digests.
pub fn many_layers(stage: &Stage) {
    let names: Vec<String> = (0..30).map(|at| format!("file{at}")).collect();
    let layers: Vec<_> =
        names.iter().map(|name| vec![(name.as_str(), 0o644, 0, &b"x"[..])]).collect();
    let image = stage.image(&json!({}), &layers);
    let template = json!({ "image": format!("oci:{}", image.display()), "all": true });
    let top = stage.work_tree("tree", &template.to_string());
    let out =
        stage.ok(&top, &["env", "run", "sh", "-c", "for name in /file*; do echo ${name#/}; done"]);
    assert_eq!(out.lines().filter(|line| line.starts_with("file")).count(), 30, "{out}");
    stage.ok(&top, &["env", "rm"]);
}
