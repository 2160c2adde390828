//! Where systemd is reached, and what it has on disk.

use rustix::io::Errno;

use crate::plan::dbus::{Address, addresses};

/// Places, and whether it is the manager itself that is there.
pub(super) type Places = std::vec::IntoIter<(Address, bool)>;

/// Where the manager may be reached, and whether it is itself there.
///
/// An address in the environment is the caller's word. Without one the system's manager is asked
/// over the bus: a connection to its own socket costs it 2 ms, since it makes all of its
/// interfaces anew for each. That socket answers also while the bus restarts or where none is
/// installed: where the bus does not, and whenever something is done `again`. A user's bus may
/// not run yet, and would be started for us.
pub(super) fn places(user: bool, again: bool) -> Places {
    if let Some(told) = told(user) {
        let all = addresses(&told).into_iter().map(|address| (address, false));
        return all.collect::<Vec<_>>().into_iter();
    }
    let [own, bus] = match user {
        false => ["/run/systemd/private", "/run/dbus/system_bus_socket"].map(str::to_owned),
        true => ["systemd/private", "bus"].map(|name| format!("{}/{name}", users_directory())),
    };
    let [own, bus] = [(Address::Path(own), true), (Address::Path(bus), false)];
    if user || again { vec![own, bus] } else { vec![bus, own] }.into_iter()
}

/// Whether a scope has gone already: its file is there as long as systemd knows it
/// (`unit_remove_transient`). Where somebody else is asked than this host's systemd, or its files
/// are elsewhere, that is not known.
pub fn has_gone(unit: &str, user: bool) -> bool {
    if told(user).is_some() {
        return false;
    }
    let directory = match user {
        true => format!("{}/systemd/transient", users_directory()),
        false => "/run/systemd/transient".to_owned(),
    };
    let absent = |path: &str| rustix::fs::stat(path).is_err_and(|errno| errno == Errno::NOENT);
    rustix::fs::stat(directory.as_str()).is_ok() && absent(&format!("{directory}/{unit}"))
}

/// The address that the caller's environment names.
fn told(user: bool) -> Option<String> {
    let variable = if user { "DBUS_SESSION_BUS_ADDRESS" } else { "DBUS_SYSTEM_BUS_ADDRESS" };
    std::env::var(variable).ok().filter(|told| !told.is_empty())
}

/// Where a user's manager has its sockets and files.
fn users_directory() -> String {
    let own = std::env::var("XDG_RUNTIME_DIR").ok().filter(|directory| !directory.is_empty());
    own.unwrap_or_else(|| format!("/run/user/{}", outside_uid()))
}

/// Whether the manager to be asked is the user's own: for whoever is not root; and for a root of a
/// user namespace, unless the system's manager is in that namespace, too.
pub fn is_users() -> bool {
    if rustix::process::geteuid().as_raw() != 0 {
        return true;
    }
    if outside_uid() == 0 {
        return false;
    }
    rustix::fs::stat("/run/systemd/private").is_ok_and(|stat| stat.st_uid != 0)
        || rustix::fs::stat("/run/systemd/private").is_err()
}

/// This user's id in the namespace above, which is the host's but for nested ones.
fn outside_uid() -> u32 {
    let own = rustix::process::geteuid().as_raw();
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let outside = map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (inside, outside) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        let count = numbers.next()?.ok()?;
        let offset = own.checked_sub(inside).filter(|offset| *offset < count)?;
        outside.checked_add(offset)
    });
    outside.unwrap_or(own)
}
