//! The image of the scenarios: busybox and nothing else, made on the spot.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{PATIENCE, find, run};

/// Programs of the image; each is busybox under another name.
const PROGRAMS: [&str; 33] = [
    "cat", "chmod", "cp", "dd", "echo", "env", "false", "grep", "head", "hostname", "httpd", "id",
    "kill", "ls", "mkdir", "mount", "mv", "nc", "ps", "pwd", "readlink", "rm", "sh", "sleep",
    "stat", "stty", "test", "touch", "chown", "wc", "true", "tty", "wget",
];

/// The image's name under podman and containerd.
pub const NAME: &str = "localhost/scenario:1";

/// A service that is up before the payload: `/srv/services.json` of the image.
const SERVICES: &str = r#"{"service": {"web": {
    "command": "echo up >/tmp/web; sleep 1000",
    "readiness": {"exec": {"command": ["test", "-e", "/tmp/web"]}}}}}"#;

/// The name of the image of the container that holds a pod's namespaces.
pub const PAUSE: &str = "localhost/pause:1";

/// Writes `DIR/image.tar`, a root file system, and returns its path.
pub fn root_archive(dir: &Path) -> Result<PathBuf, String> {
    let root = dir.join("image");
    let busybox = find("busybox").ok_or("no busybox")?;
    let told = |step: &str, result: std::io::Result<()>| {
        result.map_err(|error| format!("image: {step}: {error}"))
    };
    for name in ["bin", "dev", "etc", "proc", "root", "sys", "tmp", "srv"] {
        told(name, fs::create_dir_all(root.join(name)))?;
    }
    told("busybox", fs::copy(busybox, root.join("bin/busybox")).map(drop))?;
    for program in PROGRAMS {
        told(program, symlink("busybox", root.join("bin").join(program)))?;
    }
    told(
        "passwd",
        fs::write(
            root.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n",
        ),
    )?;
    told(
        "group",
        fs::write(root.join("etc/group"), "root:x:0:\nuser:x:1000:\nextra:x:2000:user\n"),
    )?;
    told("profile.d", fs::create_dir_all(root.join("etc/profile.d")))?;
    for (name, text) in
        [("first.sh", "#!/bin/sh\necho \"script: $1\" >>/tmp/order\n"), ("services.json", SERVICES)]
    {
        let file = root.join("srv").join(name);
        told(name, fs::write(&file, text))?;
        told(name, fs::set_permissions(&file, fs::Permissions::from_mode(0o755)))?;
    }
    told("page", fs::write(root.join("srv/index.html"), "served\n"))?;
    told("tmp", fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)))?;
    let archive = dir.join("image.tar");
    archive_of(&root, &archive, &[])?;
    Ok(archive)
}

/// Writes an archive of a root file system, with the owners by number and
/// without what is in the directories `empty`.
pub fn archive_of(root: &Path, archive: &Path, empty: &[&str]) -> crate::Verdict {
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(root).args(empty.iter().map(|dir| format!("--exclude=./{dir}/*")));
    tar.args(["--numeric-owner", "-cf"]).arg(archive).arg(".");
    run(tar, b"", PATIENCE)?.exits(0).map(drop)
}

/// Writes an OCI image layout of a root file system's archive into `DIR`, and returns its path.
pub fn oci_archive(
    dir: &Path,
    layer: &Path,
    name: &str,
    command: &[&str],
) -> Result<PathBuf, String> {
    let short = name.replace(['/', ':'], "-");
    let layout = dir.join(format!("oci-{short}"));
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(|error| format!("image: {error}"))?;
    let layer = blob(&blobs, &fs::read(layer).map_err(|error| format!("image: {error}"))?)?;
    let config = serde_json::json!({
        "architecture": architecture(), "os": "linux",
        "config": {"Env": ["PATH=/bin:/usr/sbin:/usr/bin"], "Cmd": command},
        "rootfs": {"type": "layers", "diff_ids": [layer.0]},
    });
    let config = blob(&blobs, config.to_string().as_bytes())?;
    let described = |kind: &str, (digest, size): &(String, usize)| serde_json::json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest, "size": size});
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "config": described("config.v1+json", &config),
        "layers": [described("layer.v1.tar", &layer)],
    });
    let mut entry = described("manifest.v1+json", &blob(&blobs, manifest.to_string().as_bytes())?);
    entry["annotations"] = serde_json::json!({"io.containerd.image.name": name});
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [entry]});
    fs::write(layout.join("index.json"), index.to_string())
        .map_err(|error| format!("image: {error}"))?;
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
        .map_err(|error| format!("image: {error}"))?;
    let archive = dir.join(format!("{short}.tar"));
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(&layout).arg("-cf").arg(&archive).arg(".");
    run(tar, b"", PATIENCE)?.exits(0)?;
    Ok(archive)
}

/// Stores `bytes` under their digest; gives digest and size.
fn blob(blobs: &Path, bytes: &[u8]) -> Result<(String, usize), String> {
    let sum = run(Command::new("sha256sum"), bytes, PATIENCE)?.text()?;
    let digest = sum.split(' ').next().unwrap_or_default();
    fs::write(blobs.join(digest), bytes).map_err(|error| format!("image: {error}"))?;
    Ok((format!("sha256:{digest}"), bytes.len()))
}

/// The machine's name in Go's words.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
