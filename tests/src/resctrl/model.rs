//! What the kernel would do: classes, monitoring groups, their tasks and schemata.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// How many classes this processor has, the default one included.
const CLASSES: usize = 4;
/// The default class's schemata, and what a new one begins with.
const ALL: [(&str, [&str; 2]); 2] = [("L3", ["fffff", "fffff"]), ("MB", ["100", "100"])];

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A directory.
    Directory,
    /// A file.
    File,
}

#[derive(Default)]
struct Group {
    tasks: BTreeSet<i32>,
    /// None in a monitoring group.
    schemata: Option<BTreeMap<String, Vec<String>>>,
}

impl Group {
    fn class() -> Group {
        let line = |(name, values): (&str, [&str; 2])| {
            (name.to_owned(), values.map(str::to_owned).to_vec())
        };
        Group { schemata: Some(ALL.into_iter().map(line).collect()), ..Group::default() }
    }
}

/// All of it. Paths are from the root, which is empty.
pub struct Model {
    groups: BTreeMap<String, Group>,
    log: String,
    last: String,
}

/// The directory and the name of a path.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The class of a monitoring group.
fn class_of(path: &str) -> Option<&str> {
    let (directory, _) = split(path);
    match directory {
        "mon_groups" => Some(""),
        _ => directory.strip_suffix("/mon_groups"),
    }
}

impl Model {
    /// One with the default class only.
    pub fn new() -> Model {
        let groups = BTreeMap::from([(String::new(), Group::class())]);
        Model { groups, log: String::new(), last: "ok\n".to_owned() }
    }

    /// What is at a path.
    pub fn find(&mut self, path: &str) -> Option<Entry> {
        if !path.starts_with("info/log") {
            self.note("find", path, "");
        }
        if self.groups.contains_key(path) || matches!(path, "info" | "info/L3_MON") {
            return Some(Entry::Directory);
        }
        if ["info/last_cmd_status", "info/L3_MON/mon_features", "info/log"].contains(&path) {
            return Some(Entry::File);
        }
        if let Some(counter) = self.counter(path) {
            return match counter {
                "" | "mon_L3_00" | "mon_L3_01" => Some(Entry::Directory),
                "mon_L3_00/llc_occupancy" | "mon_L3_01/llc_occupancy" => Some(Entry::File),
                _ => None,
            };
        }
        let (directory, name) = split(path);
        let group = self.groups.get(directory)?;
        match name {
            "tasks" => Some(Entry::File),
            "schemata" => group.schemata.as_ref().map(|_| Entry::File),
            "mon_groups" => group.schemata.as_ref().map(|_| Entry::Directory),
            _ => None,
        }
    }

    /// What is asked of a group's counters.
    fn counter<'p>(&self, path: &'p str) -> Option<&'p str> {
        let (group, counter) = path.split_once("mon_data")?;
        let group = group.trim_end_matches('/');
        self.groups.contains_key(group).then(|| counter.trim_start_matches('/'))
    }

    fn note(&mut self, what: &str, path: &str, text: &str) {
        if path != "info" {
            self.log.push_str(&format!("{what} {path} {text:?}\n"));
        }
    }

    fn refuse(&mut self, errno: i32, words: &str) -> Result<(), i32> {
        self.last = format!("{words}\n");
        Err(errno)
    }

    /// mkdir(2)
    pub fn make(&mut self, path: &str) -> Result<(), i32> {
        self.note("make", path, "");
        self.last = "ok\n".to_owned();
        if self.find(path).is_some() {
            return Err(libc::EEXIST);
        }
        let (directory, _) = split(path);
        let group = match class_of(path) {
            Some(class) if self.groups.contains_key(class) => Group::default(),
            None if directory.is_empty() => {
                let classes = self.groups.values().filter(|group| group.schemata.is_some());
                if classes.count() >= CLASSES {
                    return self.refuse(libc::ENOSPC, "Out of CLOSIDs");
                }
                Group::class()
            }
            _ => return Err(libc::EPERM),
        };
        self.groups.insert(path.to_owned(), group);
        Ok(())
    }

    /// rmdir(2): its tasks are in the class above from then on.
    pub fn remove(&mut self, path: &str) -> Result<(), i32> {
        self.note("remove", path, "");
        if path.is_empty() || !self.groups.contains_key(path) {
            return Err(if self.find(path).is_some() { libc::EPERM } else { libc::ENOENT });
        }
        let below = format!("{path}/");
        let gone = self.groups.remove(path).map(|group| group.tasks).unwrap_or_default();
        self.groups.retain(|name, _| !name.starts_with(&below));
        if class_of(path).is_none() {
            self.class("").extend(gone);
        }
        Ok(())
    }

    fn class(&mut self, path: &str) -> &mut BTreeSet<i32> {
        &mut self.groups.entry(path.to_owned()).or_default().tasks
    }

    /// What a file says.
    pub fn read(&self, path: &str) -> Result<String, i32> {
        match path {
            "info/last_cmd_status" => return Ok(self.last.clone()),
            "info/L3_MON/mon_features" => return Ok("llc_occupancy\n".to_owned()),
            "info/log" => return Ok(self.log.clone()),
            _ => {}
        }
        if self.counter(path).is_some() {
            // A monitoring group's are not its class's.
            let bytes = if path.contains("mon_groups/") { 8192 } else { 4096 };
            return Ok(format!("{bytes}\n"));
        }
        let (directory, name) = split(path);
        let group = self.groups.get(directory).ok_or(libc::ENODEV)?;
        match (name, &group.schemata) {
            ("tasks", _) => {
                let there = |pid: &&i32| Path::new(&format!("/proc/{pid}")).exists();
                Ok(group.tasks.iter().filter(there).map(|pid| format!("{pid}\n")).collect())
            }
            ("schemata", Some(schemata)) => Ok(schemata
                .iter()
                .map(|(name, values)| {
                    let domains =
                        values.iter().enumerate().map(|(at, value)| format!("{at}={value:>3}"));
                    format!("    {name}:{}\n", domains.collect::<Vec<_>>().join(";"))
                })
                .collect()),
            _ => Err(libc::EISDIR),
        }
    }

    /// write(2), all at once.
    pub fn write(&mut self, path: &str, text: &str) -> Result<(), i32> {
        self.note("write", path, text);
        self.last = "ok\n".to_owned();
        let (directory, name) = split(path);
        if !self.groups.contains_key(directory) {
            return Err(libc::ENODEV);
        }
        match name {
            "tasks" => self.enter(directory, text),
            "schemata" if text.ends_with('\n') => {
                text.lines().try_for_each(|line| self.change(directory, line))
            }
            "schemata" => Err(libc::EINVAL),
            _ => Err(libc::EACCES),
        }
    }

    fn enter(&mut self, path: &str, text: &str) -> Result<(), i32> {
        let pid: i32 = text.trim().parse().map_err(|_| libc::EINVAL)?;
        if !Path::new(&format!("/proc/{pid}")).exists() {
            return self.refuse(libc::ESRCH, &format!("No task {pid}"));
        }
        let class = class_of(path).map(str::to_owned);
        match class {
            Some(class) if !self.class(&class).contains(&pid) => {
                return self.refuse(libc::EINVAL, "Can't move task to different control group");
            }
            // The tasks of its monitoring groups are a class's, too.
            Some(_) => {}
            None => {
                for group in self.groups.values_mut() {
                    group.tasks.remove(&pid);
                }
            }
        }
        self.class(path).insert(pid);
        Ok(())
    }

    fn change(&mut self, path: &str, line: &str) -> Result<(), i32> {
        let (name, domains) = line.trim().split_once(':').unwrap_or((line, ""));
        let group = self.groups.get_mut(path).and_then(|group| group.schemata.as_mut());
        let Some(values) = group.and_then(|schemata| schemata.get_mut(name.trim())) else {
            let words = format!("Unknown or unsupported resource name '{name}'");
            return self.refuse(libc::EINVAL, &words);
        };
        for part in domains.split(';') {
            let (domain, value) = part.split_once('=').ok_or(libc::EINVAL)?;
            let domain: usize = domain.trim().parse().map_err(|_| libc::EINVAL)?;
            *values.get_mut(domain).ok_or(libc::EINVAL)? = value.trim().to_owned();
        }
        Ok(())
    }

    /// The names in a directory.
    pub fn names(&self, path: &str) -> Vec<String> {
        if self.counter(path) == Some("") {
            return ["mon_L3_00", "mon_L3_01"].map(str::to_owned).to_vec();
        }
        let groups = self.groups.keys().filter(|name| !name.is_empty() && split(name).0 == path);
        let mut names: Vec<String> = groups.map(|name| split(name).1.to_owned()).collect();
        if let Some(group) = self.groups.get(path) {
            names.extend(["tasks".to_owned(), "mon_data".to_owned()]);
            if group.schemata.is_some() {
                names.extend(["schemata".to_owned(), "mon_groups".to_owned()]);
            }
        }
        names
    }
}
