//! The first process of a pid namespace that a pod's containers share: rich-init, which
//! reaps what they leave behind. Its payload is a program of some twenty instructions
//! that waits for ever.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use oci_spec::runtime::Spec;
use rustix::mount::mount_bind;
use rustix::process::{Pid, WaitOptions, waitpid};
use serde_json::json;

use crate::error::{At, Error, Kind, Result};
use crate::pod::setup::{PodDirs, Setup};
use crate::runtime::{Launch, Program, Runtime, Streams};
use crate::store::write_json;

/// A name that no container has.
const NAME: &str = ".init";
/// Where the program is in memory.
const BASE: u64 = 0x40_0000;
/// The sizes of an ELF header and of one program header.
const HEADER: u16 = 64;
const SEGMENT: u16 = 56;

fn runtime(setup: &Setup) -> Program {
    let root = setup.place().runtime_root();
    Program { path: setup.runtime.clone(), root, options: Vec::new() }
}

/// Starts it and binds its pid namespace to `file`.
///
/// # Errors
/// A runtime that has no init of its own.
pub fn start(setup: &Setup, dirs: &PodDirs, file: &Path) -> Result<()> {
    let dir = dirs.data.join("init");
    let root = dir.join("rootfs");
    for part in ["", "proc", "dev", "sys"] {
        let part = root.join(part);
        fs::create_dir_all(&part).at("make", part.display())?;
    }
    let program = root.join("hold");
    fs::write(&program, waiting()).at("write", program.display())?;
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&program, mode).at("open", program.display())?;
    let mut spec = serde_json::to_value(Spec::default()).at("write", "config.json")?;
    let none: [&str; 0] = [];
    spec["root"] = json!({ "path": root, "readonly": true });
    spec["process"]["args"] = json!(["/hold"]);
    spec["process"]["terminal"] = json!(false);
    // It has nothing that a container of the pod could take from it.
    spec["process"]["capabilities"] = json!({ "bounding": none });
    spec["process"]["noNewPrivileges"] = json!(true);
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("hostname");
    }
    let kinds = ["pid", "mount", "network", "ipc", "uts"];
    spec["linux"]["namespaces"] = kinds.iter().map(|kind| json!({ "type": kind })).collect();
    let id = setup.id_of(NAME);
    spec["linux"]["cgroupsPath"] = json!(format!("/{id}"));
    write_json(&dir.join("config.json"), &spec)?;
    let launch = Launch {
        id,
        bundle: dir.clone(),
        pid_file: dir.join("pid"),
        options: vec!["--rich".into()],
        ..Launch::default()
    };
    runtime(setup).run(&launch, Streams::null()).map_err(|error| {
        let what = format!("shareProcessNamespace takes richrun's own init: {error}");
        Error::new(Kind::Program, what)
    })?;
    let pid = fs::read_to_string(&launch.pid_file).at("read", launch.pid_file.display())?;
    fs::write(file, "").at("write", file.display())?;
    mount_bind(format!("/proc/{}/ns/pid", pid.trim()), file)
        .at("hold a namespace at", file.display())
}

/// Ends it, where it is.
pub fn end(setup: &Setup, dirs: &PodDirs) {
    let dir = dirs.data.join("init");
    let Ok(pid) = fs::read_to_string(dir.join("pid")) else { return };
    if let Err(error) = runtime(setup).delete(&setup.id_of(NAME), true) {
        eprintln!("the pod's init: {error}");
    }
    // A child of this process, if it was this one that made it.
    let pid = pid.trim().parse().ok().and_then(Pid::from_raw);
    let _ = pid.map(|pid| waitpid(Some(pid), WaitOptions::empty()));
    let _ = fs::remove_dir_all(dir);
}

/// The program: an ELF file of one segment that makes one call again and again.
fn waiting() -> Vec<u8> {
    let (machine, code) = code();
    let mut file = Vec::new();
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend(2_u16.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    file.extend((BASE + u64::from(HEADER + SEGMENT)).to_le_bytes());
    file.extend(u64::from(HEADER).to_le_bytes());
    file.extend(0_u64.to_le_bytes());
    file.extend(0_u32.to_le_bytes());
    for number in [HEADER, SEGMENT, 1, 0, 0, 0] {
        file.extend(number.to_le_bytes());
    }
    // PT_LOAD, readable and executable, the whole file.
    file.extend(1_u32.to_le_bytes());
    file.extend(5_u32.to_le_bytes());
    let size = u64::from(HEADER + SEGMENT) + code.len() as u64;
    for number in [0, BASE, BASE, size, size, 0x1000] {
        file.extend(number.to_le_bytes());
    }
    file.extend(code);
    file
}

/// The machine's number and its instructions: pause(2), or ppoll(2) of nothing for ever.
fn code() -> (u16, Vec<u8>) {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
    match std::env::consts::ARCH {
        "aarch64" => (
            183,
            words(&[
                0xD280_0000,
                0xD280_0001,
                0xD280_0002,
                0xD280_0003,
                0xD280_0004,
                0xD280_0928,
                0xD400_0001,
                0x17FF_FFF9,
            ]),
        ),
        "riscv64" => (
            243,
            words(&[
                0x0000_0513,
                0x0000_0593,
                0x0000_0613,
                0x0000_0693,
                0x0000_0713,
                0x0490_0893,
                0x0000_0073,
                0xFE5F_F06F,
            ]),
        ),
        _ => (62, vec![0xB8, 0x22, 0, 0, 0, 0x0F, 0x05, 0xEB, 0xF7]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_waits_until_it_is_killed() {
        use std::os::unix::process::ExitStatusExt;
        let path = std::env::temp_dir().join(format!("rich-hold-{}", std::process::id()));
        fs::write(&path, waiting()).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("opened");
        let mut child = std::process::Command::new(&path).spawn().expect("run");
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(child.try_wait().expect("waited"), None);
        child.kill().expect("killed");
        assert_eq!(child.wait().expect("waited").signal(), Some(9));
        fs::remove_file(path).expect("removed");
    }
}
