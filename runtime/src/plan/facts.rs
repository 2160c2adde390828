//! What a launch will do, in a few lines for the debug log: a reader of it can tell where the
//! container's parts came from without reading its configuration. Arguments and environment are
//! not among it: they may hold secrets.

use oci_spec::runtime::LinuxNamespaceType as Kind;

use super::Plan;
use super::cgroup::{CgroupPlan, DevicePlan, Mode};
use super::exec::ExecPlan;
use super::namespaces::{JOIN_ORDER, Namespaces, proc_name};
use super::process::ProcessPlan;
use super::seccomp::{Filter, Flags};
use crate::config::rich::MODES;

/// The facts of a launch, a line each.
pub fn of_launch(plan: &Plan) -> Vec<String> {
    let root = &plan.root;
    let how = match (root.readonly, root.no_pivot) {
        (true, true) => ", read-only, entered by chroot",
        (true, false) => ", read-only",
        (false, true) => ", entered by chroot",
        (false, false) => "",
    };
    let mounts = plan.mounts.iter().map(|step| step.destination.display().to_string());
    let mut facts = vec![
        format!("root: {}{how}", root.path.display()),
        namespaces(&plan.namespaces),
        format!("mounts: {}", list(mounts)),
        groups(&plan.cgroup),
    ];
    facts.extend(devices(&plan.cgroup.devices));
    facts.extend(plan.sysctls.iter().map(|(name, value)| format!("sysctl: {name}={value}")));
    facts.push(process(&plan.process));
    facts.push(filter(plan.seccomp.as_ref()));
    if let Some(rich) = &plan.rich {
        let name = MODES.iter().find(|row| row.1 == Some(rich.mode)).map_or("", |row| row.0);
        facts.push(format!("init: {name}, asked for by {}", rich.asked_by.shown()));
    }
    facts
}

/// The facts of another process in a container.
pub fn of_exec(plan: &ExecPlan) -> Vec<String> {
    let mut facts = vec![process(&plan.process), filter(plan.seccomp.as_ref())];
    for (name, cpus) in [("initial", &plan.first_cpus), ("final", &plan.last_cpus)] {
        if !cpus.is_empty() {
            let words: Vec<String> = cpus.iter().rev().map(|word| format!("{word:x}")).collect();
            facts.push(format!("CPU affinity, {name}: mask {}", words.join(",")));
        }
    }
    facts
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

fn namespaces(plan: &Namespaces) -> String {
    let new = JOIN_ORDER.into_iter().filter(|kind| plan.has_new(*kind));
    let joined = plan
        .joined
        .iter()
        .map(|joined| format!("{} {}", proc_name(joined.kind), joined.path.display()));
    let callers = JOIN_ORDER.into_iter().filter(|kind| !plan.has(*kind));
    let name = |kind: Kind| proc_name(kind).to_owned();
    format!(
        "namespaces: new: {}; joined: {}; the caller's: {}",
        list(new.map(name)),
        list(joined),
        list(callers.map(name))
    )
}

fn groups(plan: &CgroupPlan) -> String {
    let places = plan.v1.iter().chain(&plan.unified).map(|place| place.directory());
    let by = if plan.scope.is_some() { ", made by systemd" } else { "" };
    match plan.mode {
        Mode::None => "cgroups: the caller's".to_owned(),
        Mode::V1 => format!("cgroups (v1): {}{by}", list(places)),
        Mode::V2 => format!("cgroup (v2): {}{by}", list(places)),
        Mode::Hybrid => format!("cgroups (hybrid): {}{by}", list(places)),
    }
}

fn devices(plan: &DevicePlan) -> Option<String> {
    match plan {
        DevicePlan::Nothing => None,
        DevicePlan::Lines(lines) => Some(format!("device rules: {} lines", lines.len())),
        DevicePlan::Program(program) => {
            Some(format!("device rules: a program of {} instructions", program.len()))
        }
    }
}

fn process(plan: &ProcessPlan) -> String {
    let user = &plan.user;
    let words = [(plan.terminal, "; a terminal"), (plan.no_new_privs, "; no_new_privs")];
    let words: String = words.iter().filter(|row| row.0).map(|row| row.1).collect();
    let mut names: Vec<String> = plan.caps.permitted.iter().map(ToString::to_string).collect();
    names.sort();
    let caps = list(names.into_iter());
    let (uid, gid, cwd) = (user.uid, user.gid, plan.cwd.display());
    format!("process: user {uid}:{gid}, directory {cwd}{words}; capabilities: {caps}")
}

fn filter(filter: Option<&Filter>) -> String {
    let Some(filter) = filter else { return "seccomp: no filter".to_owned() };
    let flags = filter.flags.iter_names().map(|(name, _): (_, Flags)| name.to_owned());
    format!("seccomp: {} instructions; flags: {}", filter.program.len(), list(flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_told_by_where_they_come_from() {
        let text = r#"{"ociVersion":"1.0.0","linux":{"namespaces":[
            {"type":"mount"},{"type":"network","path":"/run/netns/a"}]}}"#;
        let told = namespaces(&Namespaces::new(&serde_json::from_str(text).unwrap()));
        assert_eq!(
            told,
            "namespaces: new: mnt; joined: net /run/netns/a; the caller's: user, pid, ipc, uts, cgroup, time"
        );
    }

    #[test]
    fn a_filter_and_its_absence_are_told() {
        assert_eq!(filter(None), "seccomp: no filter");
        let flags = Flags::LOG | Flags::NEW_LISTENER;
        let filter_of = Filter { program: Vec::new(), flags, listener: None, warnings: Vec::new() };
        assert_eq!(filter(Some(&filter_of)), "seccomp: 0 instructions; flags: LOG, NEW_LISTENER");
    }

    #[test]
    fn groups_are_told_by_their_directories() {
        assert_eq!(groups(&CgroupPlan::none()), "cgroups: the caller's");
    }
}
