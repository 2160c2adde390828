//! What a trial stands on: a directory of its own, an image made here, a caller.

use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rich_bundles::image::digest::Digest;
use serde_json::{Value, json};

/// Bounds stand against hanging only.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// An ordinary user with ranges of ids (`TEST_USER` of integration/peers.sh).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
}

/// The ordinary user, where this machine has him.
pub fn ordinary() -> Option<User> {
    let name = std::env::var("TEST_USER").unwrap_or_else(|_| "richrun-test".to_owned());
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let line = passwd.lines().find(|line| line.split(':').next() == Some(&name))?;
    let mut ids = line.split(':').skip(2).map(|field| field.parse().ok());
    let (uid, gid) = (ids.next()??, ids.next()??);
    let ranges = fs::read_to_string("/etc/subuid").ok()?;
    ranges.lines().any(|line| line.starts_with(&format!("{name}:"))).then_some(User { uid, gid })
}

/// The runtime: `RICHRUN`, or what cargo has built beside.
pub fn richrun() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("RICHRUN") {
        return Some(path.into());
    }
    let here = std::env::current_exe().ok()?;
    let profiles = here.ancestors().nth(3)?;
    let mut all =
        ["release", "debug"].map(|profile| profiles.join(profile).join("richrun")).into_iter();
    all.find(|path| path.is_file())
}

/// A trial's own place, gone when it ends.
pub struct Stage {
    pub dir: PathBuf,
    pub user: Option<User>,
    next: Cell<u32>,
}

/// A file of a layer: its path (a directory's ends in a slash), mode, owner, and content.
pub type Entry<'a> = (&'a str, u32, u32, &'a [u8]);

impl Stage {
    /// A place for this caller; root where there is none.
    pub fn new(name: &str, user: Option<User>) -> Stage {
        let who = if user.is_some() { "user" } else { "root" };
        let dir = std::env::temp_dir().join(format!("richctl-{}-{name}-{who}", std::process::id()));
        fs::create_dir_all(dir.join("bin")).expect("make the stage");
        let stage = Stage { dir, user, next: Cell::new(0) };
        for (name, path) in [
            ("richctl", PathBuf::from(env!("CARGO_BIN_EXE_richctl"))),
            ("rich-monitor", PathBuf::from(env!("CARGO_BIN_EXE_rich-monitor"))),
            ("richrun", richrun().expect("a runtime")),
        ] {
            let target = stage.dir.join("bin").join(name);
            fs::copy(&path, &target).expect("copy a program");
        }
        stage.give(&stage.dir);
        stage
    }

    /// Makes a path the caller's.
    pub fn give(&self, path: &Path) {
        if let Some(user) = &self.user {
            chown(path, Some(user.uid), Some(user.gid)).expect("give away");
        }
    }

    /// A new directory of the caller's.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.dir.join(name);
        fs::create_dir_all(&path).expect("make a directory");
        self.give(&path);
        path
    }

    /// `richctl` as the caller.
    pub fn richctl(&self, here: &Path, words: &[&str]) -> Command {
        let mut line = Vec::new();
        if let Some(user) = &self.user {
            line.extend([
                "setpriv".to_owned(),
                format!("--reuid={}", user.uid),
                format!("--regid={}", user.gid),
            ]);
            line.extend(["--clear-groups".to_owned(), "--".to_owned()]);
        }
        line.push(self.dir.join("bin/richctl").display().to_string());
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).arg("--root").arg(self.dir.join("r")).args(words);
        command.current_dir(here).stdin(Stdio::null());
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.dir.join("bin").display()));
        command.env("HOME", &self.dir).env("XDG_RUNTIME_DIR", &self.dir);
        command
    }

    /// Runs it to its end.
    pub fn run(&self, here: &Path, words: &[&str]) -> Done {
        done(self.richctl(here, words))
    }

    /// Runs it; it must succeed. What it prints.
    pub fn ok(&self, here: &Path, words: &[&str]) -> String {
        let done = self.run(here, words);
        assert_eq!(done.code, 0, "richctl {}: {}{}", words.join(" "), done.out, done.err);
        done.out
    }

    /// A work tree with this template.
    pub fn work_tree(&self, name: &str, template: &str) -> PathBuf {
        let top = self.directory(name);
        self.give(&{
            fs::create_dir_all(top.join(".git")).expect("make .git");
            top.join(".git")
        });
        fs::write(top.join(".qpod.json"), template).expect("write a template");
        top
    }

    /// A file of a work tree.
    pub fn file(&self, path: &Path, text: &str, mode: u32) {
        fs::write(path, text).expect("write a file");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("change its mode");
        self.give(path);
    }

    /// An image of busybox, in OCI's layout, with more layers on it; its directory.
    pub fn image(&self, settings: &Value, layers: &[Vec<Entry<'_>>]) -> PathBuf {
        self.next.set(self.next.get() + 1);
        let dir = self.directory(&format!("image{}", self.next.get()));
        let busybox = fs::read("/usr/bin/busybox").or_else(|_| fs::read("/bin/busybox"));
        let busybox = busybox.expect("a static busybox");
        let mut first = base();
        first.push(("bin/busybox", 0o755, 0, &busybox));
        let mut tars = vec![tar(&first, true)];
        tars.extend(layers.iter().map(|layer| tar(layer, false)));
        write_layout(&dir, settings, &tars);
        dir
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What a failed trial has left running.
        if std::thread::panicking() {
            for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
                if entry.path().join(".git").exists() {
                    let _ = self.run(&entry.path(), &["env", "rm"]);
                }
            }
        }
        let _ = Command::new("rm").arg("-rf").arg(&self.dir).status();
    }
}

fn base<'a>() -> Vec<Entry<'a>> {
    let directories = ["bin/", "dev/", "etc/", "proc/", "root/", "sys/", "tmp/"];
    let mut all: Vec<Entry<'a>> = directories.map(|name| (name, 0o755, 0, &b""[..])).to_vec();
    all.push(("etc/passwd", 0o644, 0, b"root:x:0:0::/root:/bin/sh\nme:x:1000:100::/:/bin/sh\n"));
    all
}

/// A layer's tar stream.
pub fn tar(entries: &[Entry<'_>], applets: bool) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, mode, owner, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(if name.ends_with('/') {
            tar::EntryType::Directory
        } else {
            tar::EntryType::Regular
        });
        header.set_mode(*mode);
        header.set_uid(u64::from(*owner));
        header.set_gid(u64::from(*owner));
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, *content).expect("append");
    }
    let names = [
        "sh", "ls", "cat", "id", "sleep", "echo", "ps", "nc", "stat", "mkdir", "hostname", "touch",
        "true", "env",
    ];
    for name in names.iter().filter(|_| applets) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        builder.append_link(&mut header, format!("bin/{name}"), "busybox").expect("append");
    }
    builder.into_inner().expect("a layer")
}

/// Writes an OCI layout; the first layer is compressed.
pub fn write_layout(dir: &Path, settings: &Value, tars: &[Vec<u8>]) {
    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("make blobs");
    let put = |kind: &str, bytes: &[u8]| {
        let digest = Digest::of(bytes);
        fs::write(blobs.join(digest.hex()), bytes).expect("write a blob");
        json!({ "mediaType": kind, "digest": digest.to_string(), "size": bytes.len() })
    };
    let mut layers = Vec::new();
    for (at, bytes) in tars.iter().enumerate() {
        if at == 0 {
            let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gz.write_all(bytes).expect("compress");
            let bytes = gz.finish().expect("compress");
            layers.push(put("application/vnd.oci.image.layer.v1.tar+gzip", &bytes));
        } else {
            layers.push(put("application/vnd.oci.image.layer.v1.tar", bytes));
        }
    }
    let diffs: Vec<String> = tars.iter().map(|tar| Digest::of(tar).to_string()).collect();
    let config = json!({
        "os": "linux", "architecture": "amd64", "config": settings,
        "rootfs": { "type": "layers", "diff_ids": diffs },
    });
    let config = put("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config, "layers": layers,
    });
    let mut manifest =
        put("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": "test" });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(dir.join("index.json"), index.to_string()).expect("write the index");
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
        .expect("write the layout");
}

/// What a command came to.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs a command to its end, within bounds.
pub fn done(mut command: Command) -> Done {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(command.spawn().expect("start a command"))
}

/// Waits for a command, within bounds.
pub fn finish(mut child: Child) -> Done {
    let began = Instant::now();
    let pid = child.id();
    let watch = std::thread::spawn(move || -> Output {
        let mut out = Vec::new();
        let mut err = Vec::new();
        let errors = child.stderr.take();
        let reader = std::thread::spawn(move || {
            if let Some(mut errors) = errors {
                let _ = std::io::Read::read_to_end(&mut errors, &mut err);
            }
            err
        });
        if let Some(mut output) = child.stdout.take() {
            let _ = std::io::Read::read_to_end(&mut output, &mut out);
        }
        let status = child.wait().expect("wait");
        Output { status, stdout: out, stderr: reader.join().expect("read") }
    });
    while !watch.is_finished() {
        assert!(began.elapsed() < PATIENCE, "process {pid} does not end");
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = watch.join().expect("wait");
    Done {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Waits for a condition, within bounds.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
