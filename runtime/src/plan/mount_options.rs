//! Mount options: what each means is a row of `OPTIONS`.

use std::ffi::CString;

use oci_spec::runtime::Mount;

use super::id_ranges::{IdMap, IdRange};
use super::mount_attr::{FsParam, MountAttr, attr, propagation};
use crate::error::{Error, Result};

/// What an option does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Sets attributes of the mount.
    Set(u64),
    /// Clears attributes of the mount.
    Clear(u64),
    /// Chooses the access-time mode.
    Atime(u64),
    /// Takes the choice of an access-time mode back.
    NoAtime,
    /// A flag of the file system.
    Flag(&'static str),
    /// Takes a flag of the file system back.
    NoFlag(&'static str),
    /// Propagation of the mount.
    Propagate(u64),
    /// A bind mount.
    Bind,
    /// Id-mapped by the container's user namespace unless mappings are given.
    Idmap,
    /// The directory's content is copied up.
    CopyUp,
    /// A link at the source is itself what is mounted.
    SourceItself,
    /// A link at the destination is itself what is mounted over.
    DestinationItself,
    /// A link at the source is made anew at the destination.
    CopyLink,
    /// A flag of mount(2) that does nothing.
    Unused,
    /// Nothing.
    Nothing,
}

/// The options (mount(8) and the specification's "Linux mount options") that
/// are not for the file system itself. Those whose last column is true have a
/// recursive form with an `r` in front.
const OPTIONS: &[(&str, Effect, bool)] = &[
    ("defaults", Effect::Nothing, false),
    ("remount", Effect::Nothing, false),
    ("ro", Effect::Set(attr::RDONLY), true),
    ("rw", Effect::Clear(attr::RDONLY), true),
    ("nosuid", Effect::Set(attr::NOSUID), true),
    ("suid", Effect::Clear(attr::NOSUID), true),
    ("nodev", Effect::Set(attr::NODEV), true),
    ("dev", Effect::Clear(attr::NODEV), true),
    ("noexec", Effect::Set(attr::NOEXEC), true),
    ("exec", Effect::Clear(attr::NOEXEC), true),
    ("nodiratime", Effect::Set(attr::NODIRATIME), true),
    ("diratime", Effect::Clear(attr::NODIRATIME), true),
    ("nosymfollow", Effect::Set(attr::NOSYMFOLLOW), true),
    ("symfollow", Effect::Clear(attr::NOSYMFOLLOW), true),
    ("noatime", Effect::Atime(attr::NOATIME), true),
    ("atime", Effect::NoAtime, true),
    ("relatime", Effect::Atime(attr::RELATIME), true),
    ("norelatime", Effect::NoAtime, true),
    ("strictatime", Effect::Atime(attr::STRICTATIME), true),
    ("nostrictatime", Effect::NoAtime, true),
    ("sync", Effect::Flag("sync"), false),
    ("async", Effect::NoFlag("sync"), false),
    ("dirsync", Effect::Flag("dirsync"), false),
    ("lazytime", Effect::Flag("lazytime"), false),
    ("nolazytime", Effect::NoFlag("lazytime"), false),
    ("mand", Effect::Flag("mand"), false),
    ("nomand", Effect::NoFlag("mand"), false),
    // The kernel knows these by flags of mount(2) only and does nothing by them.
    ("silent", Effect::Unused, false),
    ("loud", Effect::Unused, false),
    ("iversion", Effect::Unused, false),
    ("noiversion", Effect::Unused, false),
    ("acl", Effect::Unused, false),
    ("noacl", Effect::Unused, false),
    ("private", Effect::Propagate(propagation::PRIVATE), true),
    ("shared", Effect::Propagate(propagation::SHARED), true),
    ("slave", Effect::Propagate(propagation::SLAVE), true),
    ("unbindable", Effect::Propagate(propagation::UNBINDABLE), true),
    ("bind", Effect::Bind, true),
    ("idmap", Effect::Idmap, true),
    ("tmpcopyup", Effect::CopyUp, false),
    // crun's, for bind mounts.
    ("src-nofollow", Effect::SourceItself, false),
    ("dest-nofollow", Effect::DestinationItself, false),
    ("copy-symlink", Effect::CopyLink, false),
];

/// The names of all options that `MountStep` knows, recursive forms
/// included, sorted: for the Features document.
pub fn known_options() -> Vec<String> {
    let mut names: Vec<String> = OPTIONS
        .iter()
        .flat_map(|(name, _, recursive)| {
            let other = recursive.then(|| format!("r{name}"));
            [Some((*name).to_owned()), other].into_iter().flatten()
        })
        .collect();
    names.sort();
    names
}

/// An option's effect, and whether it is the recursive form.
fn effect_of(option: &str) -> Option<(Effect, bool)> {
    let find = |name: &str| OPTIONS.iter().find(|row| row.0 == name);
    if let Some(row) = find(option) {
        return Some((row.1, false));
    }
    let row = option.strip_prefix('r').and_then(find).filter(|row| row.2)?;
    Some((row.1, true))
}

/// What a link at an end of a bind mount means; it is followed otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Links {
    /// The source is the link itself.
    pub source: bool,
    /// The destination is the link itself.
    pub destination: bool,
    /// A link at the source is made anew at the destination.
    pub copy: bool,
}

/// Options as they are read, the later ones overruling the earlier.
#[derive(Debug, Default)]
pub struct Options {
    /// Attributes of the mount itself.
    pub attr: MountAttr,
    /// Attributes of it and all mounts below it.
    pub recursive: MountAttr,
    /// Propagation, in order.
    pub propagation: Vec<(u64, bool)>,
    /// A bind mount.
    pub bind: bool,
    /// With the mounts below it.
    pub recursive_bind: bool,
    /// The directory's content is copied into the new tmpfs.
    pub copy_up: bool,
    /// What links at its ends mean.
    pub links: Links,
    flags: Vec<&'static str>,
    data: Vec<String>,
    mapped: Option<bool>,
    /// The value of `idmap=`.
    ranges: Option<String>,
    /// A flag of mount(2) is named, set or cleared.
    named: bool,
    /// A choice of the access-time mode is taken back.
    no_atime: bool,
}

/// What a mount can lose. The access time is not among it: mount(2) keeps it
/// unless another is named.
const LOSES: u64 = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC | attr::NOSYMFOLLOW;

impl Options {
    /// Reads them in order.
    pub fn read<'o>(options: impl Iterator<Item = &'o String>) -> Self {
        let mut read = Options::default();
        options.for_each(|option| read.option(option));
        read
    }

    /// What a bind mount loses of its source's attributes: all that is not
    /// asked for, as soon as any is named; nothing where none is (mount(8) and
    /// every peer remount it with what is named).
    pub fn implied_clear(&self) -> u64 {
        let flags = if self.named { LOSES & !(self.attr.set | self.attr.clear) } else { 0 };
        flags | if self.no_atime { attr::ATIME } else { 0 }
    }

    fn option(&mut self, option: &str) {
        let (plain, recursive) = (option.strip_prefix("idmap="), option.strip_prefix("ridmap="));
        if let Some(ranges) = plain.or(recursive) {
            self.mapped = Some(recursive.is_some());
            self.ranges = Some(ranges.to_owned());
            return;
        }
        let Some((effect, recursive)) = effect_of(option) else {
            // One option may hold several, as a line of fstab does.
            self.data.extend(option.split(',').filter(|part| !part.is_empty()).map(str::to_owned));
            return;
        };
        let flag = !matches!(
            effect,
            Effect::Propagate(_)
                | Effect::Bind
                | Effect::Idmap
                | Effect::CopyUp
                | Effect::SourceItself
                | Effect::DestinationItself
                | Effect::CopyLink
                | Effect::Nothing
        );
        self.named |= flag && !recursive;
        let attr = if recursive { &mut self.recursive } else { &mut self.attr };
        match effect {
            Effect::Set(bits) => {
                attr.set |= bits;
                attr.clear &= !bits;
            }
            Effect::Clear(bits) => {
                attr.clear |= bits;
                attr.set &= !bits;
            }
            Effect::Atime(mode) => {
                attr.set = attr.set & !attr::ATIME | mode;
                attr.clear |= attr::ATIME;
                self.no_atime &= recursive;
            }
            Effect::NoAtime => {
                attr.set &= !attr::ATIME;
                attr.clear |= if recursive { attr::ATIME } else { 0 };
                self.no_atime |= !recursive;
            }
            Effect::Flag(name) => self.flags.push(name),
            Effect::NoFlag(name) => self.flags.retain(|flag| *flag != name),
            Effect::Propagate(bits) => self.propagation.push((bits, recursive)),
            Effect::Bind => {
                self.bind = true;
                self.recursive_bind |= recursive;
            }
            Effect::Idmap => self.mapped = Some(recursive),
            Effect::CopyUp => self.copy_up = true,
            Effect::SourceItself => self.links.source = true,
            Effect::DestinationItself => self.links.destination = true,
            Effect::CopyLink => self.links.copy = true,
            Effect::Unused | Effect::Nothing => {}
        }
    }

    /// How its ids are mapped, if they are.
    ///
    /// # Errors
    /// Ranges in the option cannot be read, or are given beside the mount's own.
    pub fn idmap(&self, mount: &Mount) -> Result<Option<IdMap>> {
        // An empty list is none.
        let given = mount.uid_mappings().as_ref().is_some_and(|maps| !maps.is_empty());
        if let Some(ranges) = &self.ranges {
            if given {
                let why = format!("idmap={ranges}: uidMappings are given too");
                return Err(Error::config(why));
            }
            return IdMap::parse(ranges, self.mapped == Some(true)).map(Some);
        }
        if self.mapped.is_none() && !given {
            return Ok(None);
        }
        Ok(Some(IdMap {
            uids: IdRange::list(mount.uid_mappings()),
            gids: IdRange::list(mount.gid_mappings()),
            recursive: self.mapped == Some(true),
        }))
    }

    /// Whether the option itself has ranges of ids.
    pub fn has_ranges(&self) -> bool {
        self.ranges.is_some()
    }

    /// The parameters of the file system.
    ///
    /// # Errors
    /// A NUL byte.
    pub fn params(&self, field: &str) -> Result<Vec<FsParam>> {
        let c = |text: &str| {
            let nul = |_| Error::config(format!("{field}.options: contains a NUL byte"));
            CString::new(text).map_err(nul)
        };
        let flags = self.flags.iter().map(|flag| Ok(FsParam { key: c(flag)?, value: None }));
        let data = self.data.iter().map(|option| {
            Ok(match option.split_once('=') {
                Some((key, value)) => FsParam { key: c(key)?, value: Some(c(value)?) },
                None => FsParam { key: c(option)?, value: None },
            })
        });
        flags.chain(data).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[&str]) -> Options {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        Options::read(options.iter())
    }

    #[test]
    fn a_bind_loses_what_is_not_asked_for_once_anything_is() {
        let kept = |options: &[&str]| !read(options).implied_clear();
        for nothing in [&["bind"][..], &["rbind", "rprivate", "remount", "defaults"], &["rro"]] {
            assert_eq!(kept(nothing), !0, "{nothing:?}");
        }
        assert_eq!(kept(&["rw"]) & LOSES, attr::RDONLY, "by name, not by implication");
        assert_eq!(kept(&["bind", "nodev", "suid"]) & LOSES, attr::NODEV | attr::NOSUID);
        assert_eq!(kept(&["sync"]) & LOSES, 0);
    }

    #[test]
    fn atime_of_a_bind_goes_if_it_can() {
        let got = read(&["noatime", "atime"]);
        assert_eq!((got.attr.set, got.implied_clear() & attr::ATIME), (0, attr::ATIME));
        let got = read(&["atime", "noatime"]);
        assert_eq!((got.attr.set, got.implied_clear() & attr::ATIME), (attr::NOATIME, 0));
        assert_eq!(read(&["ro"]).implied_clear() & attr::ATIME, 0);
    }
}
