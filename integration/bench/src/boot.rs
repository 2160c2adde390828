//! Booting a container whose PID 1 is systemd, to its payload and back: under
//! richrun, which makes the payload's unit; under crun and systemd-nspawn, with
//! the same unit in a copy of the root file system.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::row::{Row, id, text, words};
use crate::sample::{self, Case};
use crate::stage::{Result, Stage, variant};

/// What podman gives a container by default, and what nspawn needs.
const CAPS: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// The unit by hand.
const UNIT: &str = "[Unit]\nSuccessAction=exit\nFailureAction=exit\n\n[Service]\nType=exec\n\
                    ExecStart=/usr/bin/true\n";

/// The row; `None` where there is no root file system with systemd.
pub fn row(stage: &Stage, top: &Path, runs: usize) -> Option<Row> {
    let image = top.join("build/rootfs/systemd");
    if !image.join("usr/lib/systemd/systemd").exists() {
        eprintln!(
            "no build/rootfs/systemd (integration/peers.sh systemd): booting is not measured"
        );
        return None;
    }
    let limits: &[(&str, f64)] = &[("nspawn", 1.0), ("crun", 1.0)];
    let row = Row::new("boot-v2", "systemd as PID 1: boot, `true` as a unit, end", "ms", limits);
    match cases(stage, &image) {
        Ok(cases) => {
            eprintln!("{} ({runs} runs each)", row.title);
            let outcomes = sample::alternate(&cases, runs, &stage.out);
            Some(row.take(cases, outcomes))
        }
        Err(reason) => {
            eprintln!("booting is not measured: {reason}");
            None
        }
    }
}

fn cases(stage: &Stage, image: &Path) -> Result<Vec<Case>> {
    let by_hand = copy(stage, image)?;
    let ours = variant(&stage.stock, "boot", |config| {
        base(config, image);
        config["process"]["args"] = json!(["/usr/bin/true"]);
    })?;
    let theirs = variant(&stage.stock, "boot-by-hand", |config| {
        base(config, &by_hand);
        by_crun(config);
    })?;
    let mut cases = Vec::new();
    for runtime in &stage.runtimes {
        let (options, bundle): (&[&str], _) = match runtime.name {
            "richrun" => (&["--rich", "--rich-mode", "systemd"], &ours),
            "crun" => (&[], &theirs),
            _ => continue,
        };
        let mut argv = words(&[&runtime.path, "run"]);
        argv.extend(words(options));
        argv.extend(words(&["--bundle", text(bundle), &id(runtime.name)]));
        cases.push(Case { column: runtime.name.into(), argv });
    }
    let nspawn = std::env::var("NSPAWN").unwrap_or("/usr/bin/systemd-nspawn".to_owned());
    if Path::new(&nspawn).exists() {
        let directory = format!("--directory={}", text(&by_hand));
        let argv =
            words(&[&nspawn, "--quiet", "--register=no", "--keep-unit", "--boot", &directory]);
        cases.push(Case { column: "nspawn".into(), argv });
    }
    Ok(cases)
}

/// The image with the unit in it.
fn copy(stage: &Stage, image: &Path) -> Result<PathBuf> {
    let place = stage.out.join("systemd-by-hand");
    if !place.exists() {
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
        json!({"bounding": CAPS, "effective": CAPS, "permitted": CAPS});
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
