//! Which class of service of the processor's caches and memory bandwidth a container is in
//! (`linux.intelRdt`; the kernel's resctrl): names, lines of schemata, and what is made or must
//! be there, all without an effect.

use std::collections::BTreeMap;

use oci_spec::runtime::Spec;

use super::cgroup::layout::unescape;
use crate::config::rdt::asked;
use crate::error::{Error, Result};

/// The file system's name in mountinfo.
const FILE_SYSTEM: &str = "resctrl";

/// A class of service: a directory of resctrl.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// `closID` is `/`: the class of all that is in no other, the root directory.
    Default,
    /// `closID` is not given: one of the container's own, by its id.
    Own(String),
    /// The one that `closID` names.
    Named(String),
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RdtPlan {
    /// The class.
    pub class: Class,
    /// Lines for its `schemata`, in this order; none: the file is left alone.
    pub lines: Vec<String>,
    /// The name of a monitoring group of the container's own.
    pub monitoring: Option<String>,
    /// Counters (names in `info/L3_MON/mon_features`) that the host should have, by the field
    /// that asks for them: each class has those that the host has.
    pub counters: Vec<(&'static str, &'static [&'static str])>,
}

/// What is to be done about a class's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It is made, and the lines are written.
    Make,
    /// It is used as it is.
    Use,
}

impl RdtPlan {
    /// What a configuration asks for.
    pub fn new(spec: &Spec, id: &str) -> Option<RdtPlan> {
        let rdt = asked(spec)?;
        let class = match rdt.clos_id().as_deref().unwrap_or_default() {
            "" => Class::Own(id.to_owned()),
            "/" => Class::Default,
            name => Class::Named(name.to_owned()),
        };
        let cache = rdt.l3_cache_schema().as_deref().unwrap_or_default();
        let bandwidth = rdt.mem_bw_schema().as_deref().unwrap_or_default();
        let schemata = rdt.schemata().iter().flatten().map(String::as_str);
        let mut lines = lines(cache, bandwidth);
        lines.extend(schemata.filter(|line| !line.trim().is_empty()).map(str::to_owned));
        #[allow(deprecated, reason = "configurations before 1.3 have them")]
        let (occupancy, bandwidth) = (rdt.enable_cmt(), rdt.enable_mbm());
        let mut counters: Vec<(&'static str, &'static [&'static str])> = Vec::new();
        if *occupancy == Some(true) {
            counters.push(("enableCMT", &["llc_occupancy"]));
        }
        if *bandwidth == Some(true) {
            counters.push(("enableMBM", &["mbm_total_bytes", "mbm_local_bytes"]));
        }
        let monitoring = *rdt.enable_monitoring() == Some(true);
        Some(RdtPlan { class, lines, monitoring: monitoring.then(|| id.to_owned()), counters })
    }

    /// What is to be done where the class's directory has `there` in its `schemata`, or is not
    /// there.
    ///
    /// # Errors
    /// It must be there and is not, or the other way round; it is there with other schemata.
    pub fn act(&self, there: Option<&str>) -> Result<Act> {
        match (&self.class, there) {
            (Class::Own(name), Some(_)) => Err(Error::config(format!(
                "linux.intelRdt: a class {name} is there already and is not this container's: closID names one that is to be shared"
            ))),
            (Class::Own(_), None) => Ok(Act::Make),
            (Class::Named(name), None) if self.lines.is_empty() => Err(Error::config(format!(
                "linux.intelRdt.closID: no class {name} is there, and no schema is given to make it by"
            ))),
            (Class::Named(_), None) => Ok(Act::Make),
            (Class::Default, None) => Err(Error::system("resctrl: it has no schemata")),
            (Class::Named(_) | Class::Default, Some(there)) => match difference(&self.lines, there)
            {
                None => Ok(Act::Use),
                Some(what) => Err(Error::config(format!(
                    "linux.intelRdt.closID: the class is there with other schemata: {what}"
                ))),
            },
        }
    }

    /// What the older fields ask for and `features` (`info/L3_MON/mon_features`) does not have.
    pub fn missing(&self, features: &str) -> Vec<String> {
        let has = |name: &&str| features.lines().any(|line| line.trim() == *name);
        let lacks = self.counters.iter().filter(|(_, names)| !names.iter().any(has));
        lacks
            .map(|(field, names)| {
                format!("linux.intelRdt.{field}: the host has no counter {}", names.join(", "))
            })
            .collect()
    }
}

/// The lines of a schema of the L3 cache and one of memory bandwidth: the cache's first, without
/// lines of bandwidth of its own where that has one.
pub fn lines(cache: &str, bandwidth: &str) -> Vec<String> {
    let doubled = |line: &&str| !bandwidth.is_empty() && line.trim_start().starts_with("MB:");
    let cache = cache.lines().filter(|line| !doubled(line));
    let all = cache.chain(bandwidth.lines());
    all.filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}

/// What a write to `schemata` takes: each line with its end.
pub fn text(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

/// The first thing that `lines` ask for and `there` has otherwise. What they do not name is not
/// compared: to write them would leave it alone, too.
fn difference(lines: &[String], there: &str) -> Option<String> {
    let there = values(there.lines());
    values(lines.iter().map(String::as_str)).into_iter().find_map(|((name, domain), wanted)| {
        let has = there.get(&(name, domain)).copied();
        if has.is_some_and(|has| same(name, has, wanted)) {
            return None;
        }
        let has = has.map_or_else(String::new, |has| format!(" and has {has}"));
        Some(format!("{name}:{domain} is to be {wanted}{has}"))
    })
}

/// Resource and domain (`L3`, `0`) with its value, the last one where there are several; what is
/// no such line (the kernel pads its own with blanks) is a resource without a value.
fn values<'t>(lines: impl Iterator<Item = &'t str>) -> BTreeMap<(&'t str, &'t str), &'t str> {
    let mut found = BTreeMap::new();
    for line in lines.map(str::trim).filter(|line| !line.is_empty()) {
        let (name, domains) = line.split_once(':').unwrap_or((line, ""));
        for part in domains.split(';').filter(|part| !part.trim().is_empty()) {
            let (domain, value) = part.split_once('=').unwrap_or((part, ""));
            found.insert((name.trim(), domain.trim()), value.trim());
        }
    }
    found
}

/// Whether two values of a resource are the same number: a mask of a cache in hexadecimal, a
/// bandwidth in decimal.
fn same(name: &str, one: &str, other: &str) -> bool {
    let base = if name.ends_with("MB") || name.ends_with("MBA") { 10 } else { 16 };
    let number = |text: &str| {
        u64::from_str_radix(text.trim_start_matches("0x"), base).map_err(|_| text.to_owned())
    };
    number(one) == number(other)
}

/// Where resctrl is mounted, by the text of `/proc/self/mountinfo`: the file system's own root.
pub fn mount_point(mountinfo: &str) -> Option<String> {
    mountinfo.lines().find_map(|line| {
        let (mount, rest) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let found = rest.split(' ').next() == Some(FILE_SYSTEM) && root == "/";
        found.then(|| unescape(point))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(rdt: serde_json::Value) -> RdtPlan {
        let document = serde_json::json!({"ociVersion": "1.3.0", "linux": {"intelRdt": rdt}});
        RdtPlan::new(&serde_json::from_value(document).unwrap(), "box").unwrap()
    }

    #[test]
    fn the_cache_comes_first_then_bandwidth_then_the_rest() {
        let plan = plan(serde_json::json!({
            "closID": "gold", "schemata": ["L2:0=f", "", "L3:0=3"],
            "memBwSchema": "MB:0=20", "l3CacheSchema": "L3:0=f;1=f\nMB:0=90\n", "enableCmt": true,
        }));
        assert_eq!(plan.lines, ["L3:0=f;1=f", "MB:0=20", "L2:0=f", "L3:0=3"]);
        assert_eq!(lines("L3:0=f\nMB:0=90", ""), ["L3:0=f", "MB:0=90"]);
        assert_eq!(text(&plan.lines[..2]), "L3:0=f;1=f\nMB:0=20\n");
        assert_eq!(plan.class, Class::Named("gold".into()));
        assert_eq!(plan.monitoring, None);
        assert!(plan.missing("llc_occupancy\n").is_empty());
        assert!(plan.missing("mbm_total_bytes\n")[0].starts_with("linux.intelRdt.enableCMT: "));
    }

    #[test]
    fn a_class_is_the_containers_the_default_one_or_a_named_one() {
        let own = plan(serde_json::json!({"enableMonitoring": true}));
        assert_eq!(own.class, Class::Own("box".into()));
        assert_eq!(own.monitoring.as_deref(), Some("box"));
        assert!(own.lines.is_empty());
        assert_eq!(plan(serde_json::json!({"closID": "/"})).class, Class::Default);
        let spec = serde_json::from_str(r#"{"ociVersion": "1.3.0", "linux": {}}"#).unwrap();
        assert_eq!(RdtPlan::new(&spec, "box"), None);
    }

    #[test]
    fn what_is_made_and_what_must_be_there() {
        let there = Some("    L3:0=fffff;1=0f0\n    MB:0= 20;1=100\n");
        for (rdt, there, wanted) in [
            (serde_json::json!({}), None, Ok(Act::Make)),
            (serde_json::json!({}), there, Err("there already")),
            (serde_json::json!({"closID": "a"}), None, Err("no class a is there")),
            (serde_json::json!({"closID": "a"}), there, Ok(Act::Use)),
            (serde_json::json!({"closID": "/"}), there, Ok(Act::Use)),
            (serde_json::json!({"closID": "a", "memBwSchema": "MB:0=20"}), None, Ok(Act::Make)),
            (serde_json::json!({"closID": "a", "memBwSchema": "MB:0=20"}), there, Ok(Act::Use)),
            (serde_json::json!({"closID": "a", "schemata": ["L3:1=F0"]}), there, Ok(Act::Use)),
            (
                serde_json::json!({"closID": "a", "memBwSchema": "MB:0=21"}),
                there,
                Err("MB:0 is to be 21 and has 20"),
            ),
            (
                serde_json::json!({"closID": "/", "l3CacheSchema": "L3:0=fffff;2=1"}),
                there,
                Err("L3:2 is to be 1"),
            ),
            // What comes later is what would be written last.
            (
                serde_json::json!({"closID": "a", "l3CacheSchema": "L3:1=1", "schemata": ["L3:1=f0"]}),
                there,
                Ok(Act::Use),
            ),
        ] {
            match (plan(rdt.clone()).act(there), wanted) {
                (Ok(act), Ok(wanted)) => assert_eq!(act, wanted, "{rdt}"),
                (Err(error), Err(words)) => {
                    assert!(error.to_string().contains(words), "{rdt}: {error}");
                }
                (got, wanted) => panic!("{rdt}: {got:?} instead of {wanted:?}"),
            }
        }
    }

    #[test]
    fn it_is_found_by_its_type() {
        let text = "20 1 0:19 / /sys rw - sysfs sysfs rw\n\
                    30 20 0:40 /gold /srv/part rw - resctrl resctrl rw\n\
                    31 20 0:40 / /sys/fs/re\\040sctrl rw shared:9 - resctrl resctrl rw,cdp\n";
        assert_eq!(mount_point(text).as_deref(), Some("/sys/fs/re sctrl"));
        assert_eq!(mount_point("20 1 0:19 / /sys/fs/resctrl rw - tmpfs resctrl rw\n"), None);
    }
}
