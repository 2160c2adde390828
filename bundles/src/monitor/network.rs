//! The network of a container that has one by `pasta`.

use std::fs;

use rustix::mount::{UnmountFlags, mount_bind, unmount};

use crate::error::{At, Error, Kind, Result};
use crate::pasta::{self, Of, Published};
use crate::store::{Dirs, Port, Record};

/// The name of the namespace in the run directory.
const NAME: &str = "net";

/// Connects the network namespace of a created container, as root.
pub fn connect(record: &Record, dirs: &Dirs, pid: i32) -> Result<()> {
    // pasta gives up the rights to look into another process before it opens the namespace.
    let file = dirs.run.join(NAME);
    fs::write(&file, "").at("write", file.display())?;
    mount_bind(format!("/proc/{pid}/ns/net"), &file).at("mount", file.display())?;
    let ports: Vec<Published> = record.ports.iter().map(published).collect();
    match pasta::connect(Of::File(&file), &ports) {
        Ok(None) => Ok(()),
        Ok(Some(said)) => Err(Error::new(Kind::Program, format!("pasta: {said}"))),
        Err(error) => Err(error),
    }
    .at("connect the network:", record.name.as_str())
}

/// Takes away what [`connect`] has made: pasta ends with it.
pub fn disconnect(dirs: &Dirs) {
    let file = dirs.run.join(NAME);
    let _ = unmount(&file, UnmountFlags::DETACH);
    let _ = fs::remove_file(file);
}

fn published(port: &Port) -> Published {
    Published {
        address: port.address.clone(),
        host: port.host,
        inside: port.container,
        udp: port.udp,
    }
}
