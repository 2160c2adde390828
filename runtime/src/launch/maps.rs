//! The id mappings of a new user namespace (user_namespaces(7)).
//!
//! Root writes them itself. An ordinary user may map its own ids, one each;
//! for more, newuidmap(1) and newgidmap(1) check them against the ranges that
//! the administrator gave to the user.

use std::process::{Command, Stdio};

use super::host_path;
use crate::error::{Error, Kind, Result, Step};
use crate::plan::Host;
use crate::plan::id_ranges::IdRange;
use crate::plan::namespaces::Namespaces;

/// Maps the ids of the user namespace that process `pid` has just made.
pub fn write(pid: i32, namespaces: &Namespaces, host: &Host) -> Result<()> {
    let (uids, gids) = (&namespaces.uids, &namespaces.gids);
    if host.uid == 0 {
        map(pid, "uid_map", "linux.uidMappings", uids)?;
        return map(pid, "gid_map", "linux.gidMappings", gids);
    }
    if is_only(uids, host.uid) {
        map(pid, "uid_map", "linux.uidMappings", uids)?;
    } else {
        map_by("newuidmap", pid, "linux.uidMappings", uids)?;
    }
    if is_only(gids, host.gid) {
        // Who may drop groups could gain what a group is denied (CVE-2014-8989).
        let path = format!("/proc/{pid}/setgroups");
        host_path::write_proc(&path, "deny").step(|| format!("linux.gidMappings: write {path}"))?;
        map(pid, "gid_map", "linux.gidMappings", gids)
    } else {
        map_by("newgidmap", pid, "linux.gidMappings", gids)
    }
}

/// The id mappings of the user namespace of process `pid`, users' and groups'.
pub fn read(pid: i32) -> Result<(Vec<IdRange>, Vec<IdRange>)> {
    let ranges = |file: &str| -> Result<Vec<IdRange>> {
        let path = format!("/proc/{pid}/{file}");
        let text = host_path::read_text(&path).step(|| format!("read {path}"))?;
        Ok(IdRange::parse(&text))
    };
    Ok((ranges("uid_map")?, ranges("gid_map")?))
}

/// Whether the only id that is mapped is the caller's own.
fn is_only(ranges: &[IdRange], own: u32) -> bool {
    matches!(ranges, [range] if range.count == 1 && range.outside == own)
}

fn map(pid: i32, file: &str, field: &str, ranges: &[IdRange]) -> Result<()> {
    let path = format!("/proc/{pid}/{file}");
    host_path::write_proc(&path, &IdRange::text(ranges)).step(|| format!("{field}: write {path}"))
}

fn map_by(program: &str, pid: i32, field: &str, ranges: &[IdRange]) -> Result<()> {
    let mut command = Command::new(program);
    command.arg(pid.to_string()).stdin(Stdio::null());
    for range in ranges {
        command.args([range.inside, range.outside, range.count].map(|id| id.to_string()));
    }
    let output = match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::system(format!(
                "{field}: an ordinary user needs {program} for these mappings, and it is not installed (package uidmap)"
            )));
        }
        output => output.step(|| format!("{field}: run {program}"))?,
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let file = if program == "newuidmap" { "/etc/subuid" } else { "/etc/subgid" };
    let way_out = format!("ids beyond this user's own must be given to it in {file}");
    Err(Error::new(Kind::Config, format!("{field}: {program}: {said}; {way_out}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ones_own_id_needs_no_helper() {
        let range = |outside, count| IdRange { inside: 0, outside, count };
        assert!(is_only(&[range(1000, 1)], 1000));
        assert!(!is_only(&[range(1000, 2)], 1000));
        assert!(!is_only(&[range(1001, 1)], 1000));
        assert!(!is_only(&[range(1000, 1), range(1001, 1)], 1000));
        assert!(!is_only(&[], 1000));
    }
}
