//! Bundles, made offline: a root file system of busybox and a configuration.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::case::{User, View};
use crate::stage::{SUB_COUNT, SUB_FIRST, USER_ID};
use crate::trial::Trial;

/// What `spec` writes, apart from `terminal`, which is off here.
pub const STOCK: &str = include_str!("stock.json");

/// Commands of busybox that the trials use.
const APPLETS: &str = "sh cat ls echo id hostname sleep true false mount umount mkdir mknod touch \
    stat env pwd kill ps head tail cut grep sed awk sort tr wc dd test rm mv cp ln chmod chown \
    readlink ulimit printf seq date uname tty stty nproc sysctl ip ifconfig setsid find df sync \
    dirname basename od tee xargs mktemp nc mkfifo trap usleep timeout md5sum mountpoint realpath";

/// A bundle's directory.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The directory that holds `config.json` and `rootfs`.
    pub dir: PathBuf,
    /// A container id to go with it.
    pub id: String,
}

impl Bundle {
    /// Makes a bundle: root file system, stock configuration for the trial's
    /// user and view, then `edit`.
    pub fn new(trial: &Trial, edit: impl FnOnce(&mut Value)) -> Bundle {
        let number = trial.next();
        let dir = trial.dir.join(format!("b{number}"));
        let id = trial.name(&format!("c{number}"));
        make_rootfs(&dir.join("rootfs"));
        let mut config = stock(trial.user, trial.view);
        if trial.is_root() {
            config["linux"]["cgroupsPath"] = json!(format!("/{id}"));
        }
        edit(&mut config);
        let bundle = Bundle { dir, id };
        bundle.write(&config);
        if trial.user == User::Ordinary {
            bundle.give_away();
        }
        bundle
    }

    /// The root file system.
    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// The directory as text.
    pub fn path(&self) -> &str {
        self.dir.to_str().expect("utf-8 path")
    }

    /// Reads the configuration.
    pub fn config(&self) -> Value {
        let text = fs::read_to_string(self.dir.join("config.json")).expect("read config.json");
        serde_json::from_str(&text).expect("parse config.json")
    }

    /// Writes the configuration.
    pub fn write(&self, config: &Value) {
        fs::write(self.dir.join("config.json"), config.to_string()).expect("write config.json");
    }

    /// Changes the configuration.
    pub fn edit(&self, edit: impl FnOnce(&mut Value)) {
        let mut config = self.config();
        edit(&mut config);
        self.write(&config);
    }

    /// Puts the project's probe program into the root file system, as `/probe`.
    pub fn with_probe(self) -> Bundle {
        let place = self.rootfs().join("probe");
        fs::copy(probe(), &place).expect("copy the probe");
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).expect("chmod the probe");
        self
    }

    /// Writes a file into the root file system, with its directories.
    pub fn file(&self, path: &str, text: &str) -> PathBuf {
        let place = self.rootfs().join(path.trim_start_matches('/'));
        fs::create_dir_all(place.parent().expect("a parent")).expect("make directories");
        fs::write(&place, text).expect("write a file");
        place
    }

    /// Writes an executable script into the root file system.
    pub fn script(&self, path: &str, text: &str) -> PathBuf {
        let place = self.file(path, text);
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).expect("chmod a script");
        place
    }

    /// Makes everything in it belong to the ordinary user.
    pub fn give_away(&self) {
        give(&self.dir);
    }
}

fn give(path: &Path) {
    let _ = std::os::unix::fs::lchown(path, Some(USER_ID), Some(USER_ID));
    if path.symlink_metadata().is_ok_and(|data| data.is_dir()) {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            give(&entry.path());
        }
    }
}

/// The probe program that cargo built beside the test binary.
pub fn probe() -> PathBuf {
    let here = std::env::current_exe().expect("own path");
    here.ancestors().nth(2).expect("a target directory").join("richrun-probe")
}

/// A root file system: busybox, its commands, the usual directories, three accounts.
pub fn make_rootfs(root: &Path) {
    for dir in ["bin", "dev", "etc", "proc", "sys", "tmp", "root", "home/app", "usr", "var/run"] {
        fs::create_dir_all(root.join(dir)).expect("make the root file system");
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("chmod /tmp");
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|p| Path::new(p).exists());
    let busybox = busybox.expect("busybox-static is installed");
    fs::copy(busybox, root.join("bin/busybox")).expect("copy busybox");
    for name in APPLETS.split_whitespace() {
        symlink("busybox", root.join("bin").join(name)).expect("link a command");
    }
    let passwd = "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n\
                  bare:x:1001:1001:::/bin/sh\n";
    fs::write(root.join("etc/passwd"), passwd).expect("write passwd");
    let group = "root:x:0:\napp:x:1000:\nextra:x:2000:app\n";
    fs::write(root.join("etc/group"), group).expect("write group");
    chown(root.join("home/app"), Some(1000), Some(1000)).expect("chown a home");
}

/// The stock configuration as the user needs it in the view.
pub fn stock(user: User, view: View) -> Value {
    let mut config: Value = serde_json::from_str(STOCK).expect("stock.json");
    if view == View::V2 {
        namespaces(&mut config).push(json!({"type": "cgroup"}));
    }
    if user == User::Ordinary {
        rootless(&mut config);
    }
    config
}

/// The namespace list of a configuration.
pub fn namespaces(config: &mut Value) -> &mut Vec<Value> {
    config["linux"]["namespaces"].as_array_mut().expect("namespaces")
}

/// The mount list of a configuration.
pub fn mounts(config: &mut Value) -> &mut Vec<Value> {
    config["mounts"].as_array_mut().expect("mounts")
}

/// Takes a namespace type out of a configuration.
pub fn without_namespace(config: &mut Value, kind: &str) {
    namespaces(config).retain(|entry| entry["type"] != kind);
}

/// Takes the mount at a destination out of a configuration.
pub fn without_mount(config: &mut Value, destination: &str) {
    mounts(config).retain(|entry| entry["destination"] != destination);
}

/// Adds a bind mount.
pub fn bind(config: &mut Value, source: &Path, destination: &str, options: &[&str]) {
    mounts(config).push(json!({
        "destination": destination, "type": "bind", "source": source, "options": options,
    }));
}

/// Sets the command line.
pub fn args(config: &mut Value, words: &[&str]) {
    config["process"]["args"] = json!(words);
}

/// Sets the command line to a shell script.
pub fn sh(config: &mut Value, script: &str) {
    args(config, &["sh", "-c", script]);
}

/// Gives the process these capabilities, in the bounding, effective and permitted sets.
pub fn caps(config: &mut Value, names: &[&str]) {
    config["process"]["capabilities"] =
        json!({"bounding": names, "effective": names, "permitted": names});
}

/// Puts the container into a user namespace of a rootful caller.
pub fn user_namespace(config: &mut Value) {
    namespaces(config).push(json!({"type": "user"}));
    for kind in ["uidMappings", "gidMappings"] {
        config["linux"][kind] = json!([{"containerID": 0, "hostID": SUB_FIRST, "size": SUB_COUNT}]);
    }
}

/// A user namespace for the ordinary user: itself as 0, then its subordinate ids.
fn rootless(config: &mut Value) {
    namespaces(config).push(json!({"type": "user"}));
    for kind in ["uidMappings", "gidMappings"] {
        config["linux"][kind] = json!([
            {"containerID": 0, "hostID": USER_ID, "size": 1},
            {"containerID": 1, "hostID": SUB_FIRST, "size": SUB_COUNT - 1},
        ]);
    }
    if let Some(linux) = config["linux"].as_object_mut() {
        linux.remove("resources");
    }
}
