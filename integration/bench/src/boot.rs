//! Booting a container whose PID 1 is systemd, to its payload and back: under
//! richrun, which makes the payload's unit; under crun and systemd-nspawn, with
//! the same unit in a copy of the root file system. Every run must end with the
//! payload's exit code.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::podman_caps::PODMAN_CAPS;
use crate::row::{Row, id, text, words};
use crate::sample::{self, Case};
use crate::stage::{Result, Stage, variant};

/// The payload, and its exit code: not one that systemd or a runtime might end with by itself.
const PAYLOAD: [&str; 3] = ["/usr/bin/sh", "-c", "exit 42"];
const STATUS: &str = "42";

/// The unit by hand.
const UNIT: &str = "[Unit]\nSuccessAction=exit\nFailureAction=exit\n\n[Service]\nType=exec\n\
                    ExecStart=/usr/bin/sh -c \"exit 42\"\n";

/// Whose the row is, in the order of its table.
const NSPAWN: &str = "nspawn";

/// The row; where nothing can be booted it says why.
pub fn row(stage: &Stage, runs: usize) -> Row {
    // crun by hand is shown beside them: it makes no unit, so it does less.
    let limits: &[(&str, f64)] = &[(NSPAWN, 1.0)];
    let title = "systemd as PID 1: boot, a unit that exits with 42, end";
    let row = Row::new("boot-v2", title, "ms", limits);
    let image = stage.rootfs.join("systemd");
    let cases = match image.join("usr/lib/systemd/systemd").exists() {
        true => cases(stage, &image),
        false => Err("no build/rootfs/systemd (integration/peers.sh systemd)".to_owned()),
    };
    match cases {
        Ok(cases) => {
            eprintln!("{} ({runs} runs each)", row.title);
            let outcomes = sample::alternate(&cases, runs, sample::LONG, &stage.out);
            let row = row.take(cases, outcomes);
            match stage.nspawn {
                Some(_) => row,
                None => row.without(NSPAWN, "there is none (integration/peers.sh nspawn)"),
            }
        }
        Err(reason) => row.without("richrun", &reason),
    }
}

fn cases(stage: &Stage, image: &Path) -> Result<Vec<Case>> {
    let by_hand = copy(stage, image)?;
    let ours = variant(&stage.stock, "boot", |config| {
        base(config, image);
        config["process"]["args"] = json!(PAYLOAD);
    })?;
    let theirs = variant(&stage.stock, "boot-by-hand", |config| {
        base(config, &by_hand);
        by_crun(config);
    })?;
    let expected = words(&[text(&stage.measure), "expect", STATUS]);
    let mut cases = Vec::new();
    if let Some(nspawn) = &stage.nspawn {
        shade()?;
        let directory = format!("--directory={}", text(&by_hand));
        let mut argv = expected.clone();
        argv.extend(words(&[text(nspawn), "--quiet", "--register=no", "--keep-unit"]));
        argv.extend(words(&["--console=pipe", "--boot", &directory]));
        cases.push(Case { column: NSPAWN.into(), argv });
    }
    for runtime in &stage.runtimes {
        let (options, bundle): (&[&str], _) = match runtime.name {
            "richrun" => (&["--rich", "--rich-mode", "systemd"], &ours),
            "crun" => (&[], &theirs),
            _ => continue,
        };
        let mut argv = expected.clone();
        argv.extend(words(&[&runtime.path, "run"]));
        argv.extend(words(options));
        argv.extend(words(&["--bundle", text(bundle), &id(runtime.name)]));
        cases.push(Case { column: runtime.name.into(), argv });
    }
    Ok(cases)
}

/// Hides what systemd-nspawn leaves in /run/systemd, where no host can see it: in a mount
/// namespace of our own. Elsewhere its directories stay, as they do after any nspawn.
fn shade() -> Result<()> {
    let namespace = |who: &str| fs::read_link(format!("/proc/{who}/ns/mnt")).ok();
    let place = "/run/systemd";
    if namespace("self") == namespace("1") || fs::create_dir_all(place).is_err() {
        return Ok(());
    }
    let mount = Command::new("mount").args(["-t", "tmpfs", "tmpfs", place]).status();
    let status = mount.map_err(|error| format!("mount: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("mount a tmpfs on {place}: {status}")) }
}

/// The image with the unit in it.
fn copy(stage: &Stage, image: &Path) -> Result<PathBuf> {
    let place = stage.out.join("systemd-by-hand");
    if !place.exists() {
        // What a link names, and not the link: the image itself stays as it is.
        let image = image.canonicalize().map_err(|e| format!("{}: {e}", image.display()))?;
        let copied = Command::new("cp").arg("-a").arg(image).arg(&place).status();
        copied.map_err(|error| format!("cp: {error}"))?;
    }
    let units = place.join("etc/systemd/system");
    let wants = units.join("default.target.wants");
    let failed = |error: std::io::Error| format!("{}: {error}", units.display());
    fs::create_dir_all(&wants).map_err(failed)?;
    fs::write(units.join("payload.service"), UNIT).map_err(failed)?;
    let link = wants.join("payload.service");
    if !link.is_symlink() {
        symlink("../payload.service", link).map_err(failed)?;
    }
    Ok(place)
}

fn base(config: &mut Value, root: &Path) {
    config["root"] = json!({"path": root, "readonly": false});
    config["process"]["terminal"] = json!(false);
    config["process"]["capabilities"] =
        json!({"bounding": PODMAN_CAPS, "effective": PODMAN_CAPS, "permitted": PODMAN_CAPS});
}

/// What richrun adds by itself.
fn by_crun(config: &mut Value) {
    config["process"]["args"] = json!(["/sbin/init"]);
    config["process"]["env"] = json!(["container=oci"]);
    if let Some(mounts) = config["mounts"].as_array_mut() {
        mounts.retain(|mount| mount["type"] != "cgroup");
        mounts.push(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "rw"]}));
        for place in ["/run", "/run/lock", "/tmp", "/var/log/journal"] {
            mounts.push(json!({"destination": place, "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "nodev"]}));
        }
    }
    if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut()
        && namespaces.iter().all(|namespace| namespace["type"] != "cgroup")
    {
        namespaces.push(json!({"type": "cgroup"}));
    }
}
