//! Another process in a running container, as data.

use std::ffi::CString;

use caps::{Capability, CapsHashSet};
use oci_spec::runtime::{Process, Spec};

use super::namespaces::Namespaces;
use super::process::{CapPlan, ProcessPlan};
use super::seccomp::Filter;
use super::{filter, keyring_name, process};
use crate::config::{Config, validate};
use crate::error::{Error, Kind, Result};

/// Everything that `exec` will do.
#[derive(Debug, Clone)]
pub struct ExecPlan {
    /// The process.
    pub process: ProcessPlan,
    /// The container's namespaces: the mappings of its user namespace.
    pub namespaces: Namespaces,
    /// System call filter: the container's.
    pub seccomp: Option<Filter>,
    /// The container's session keyring.
    pub keyring: Option<CString>,
    /// personality(2).
    pub personality: Option<u32>,
    /// set_mempolicy(2): mode, nodes.
    pub memory_policy: Option<(u32, Vec<u64>)>,
    /// The CPUs that it runs on while it is still in our groups, a bit each
    /// (`process.execCPUAffinity`); empty: as they are.
    pub first_cpus: Vec<u64>,
    /// The CPUs that it runs on in the container's groups; empty: theirs.
    pub last_cpus: Vec<u64>,
    /// Descriptors from 3 on that it gets.
    pub descriptors: u32,
    /// What is tolerated and should be told.
    pub warnings: Vec<String>,
}

/// What the command line says about the process.
#[derive(Debug, Clone, Default)]
pub struct ExecAsked {
    /// The process document that replaces the container's.
    pub process: Option<Process>,
    /// The command.
    pub command: Vec<String>,
    /// Working directory.
    pub cwd: Option<String>,
    /// Variables on top of the container's.
    pub env: Vec<String>,
    /// A terminal.
    pub tty: bool,
    /// User and group.
    pub user: Option<(u32, Option<u32>)>,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// SELinux label.
    pub label: Option<String>,
    /// AppArmor profile.
    pub apparmor: Option<String>,
    /// No new privileges.
    pub no_new_privs: bool,
    /// Capabilities on top of the container's.
    pub caps: Vec<String>,
    /// Descriptors from 3 on.
    pub descriptors: u32,
    /// The container's id.
    pub id: String,
}

impl ExecPlan {
    /// Plans a process in the container of a saved configuration; `env` are
    /// variables of the runtime's own (`LISTEN_FDS`).
    ///
    /// # Errors
    /// A field or an option that cannot be honoured.
    pub fn new(config: &Config, asked: ExecAsked, env: &[String]) -> Result<ExecPlan> {
        let spec = &config.spec;
        let document = asked.process.as_ref().or(spec.process().as_ref());
        let affinity = document.and_then(|process| process.exec_cpu_affinity().as_ref());
        let cpus = |list: Option<&String>, field: &str| {
            let field = format!("process.execCPUAffinity.{field}");
            process::bit_mask(list.map_or("", String::as_str), &field, process::MAX_CPUS)
        };
        let first_cpus = cpus(affinity.and_then(|cpus| cpus.initial().as_ref()), "initial")?;
        let last_cpus =
            cpus(affinity.and_then(|cpus| cpus.cpu_affinity_final().as_ref()), "final")?;
        let mut warnings = Vec::new();
        let mut process = match &asked.process {
            Some(process) => of_document(process, spec)?,
            None => {
                let none = || Error::config("process: missing");
                let own = spec.process().as_ref().ok_or_else(none)?;
                changed(ProcessPlan::new(own)?, &asked, env, &mut warnings)?
            }
        };
        // What the container's first process has given up, no later one has.
        process.no_new_privs |= spec.process().as_ref().is_some_and(gives_up_privileges);
        if asked.process.is_some() {
            process.env = process::deduplicated(&[&process.env[..], env].concat());
        }
        if process.args.is_empty() {
            return Err(Error::new(Kind::Usage, "process args cannot be empty"));
        }
        Ok(ExecPlan {
            namespaces: Namespaces::new(spec),
            seccomp: filter(spec)?,
            keyring: Some(keyring_name(&asked.id)?),
            personality: process::personality(spec),
            memory_policy: process::memory_policy(spec)?,
            descriptors: asked.descriptors,
            first_cpus,
            last_cpus,
            process,
            warnings,
        })
    }
}

/// A process of a document of its own. One that says nothing of capabilities has the
/// container's, as with runc.
fn of_document(process: &Process, spec: &Spec) -> Result<ProcessPlan> {
    let mut plan = ProcessPlan::new(process)?;
    if let (None, Some(own)) = (process.capabilities(), spec.process()) {
        plan.caps = own.capabilities().as_ref().map(process::cap_plan).unwrap_or_default();
    }
    Ok(plan)
}

fn gives_up_privileges(process: &Process) -> bool {
    process.no_new_privileges() == Some(true)
}

/// The container's process with what the command line changes.
fn changed(
    mut plan: ProcessPlan,
    asked: &ExecAsked,
    env: &[String],
    warnings: &mut Vec<String>,
) -> Result<ProcessPlan> {
    validate::environment(&asked.env, "--env")?;
    plan.args =
        asked.command.iter().map(|arg| process::c_string(arg, "command")).collect::<Result<_>>()?;
    plan.env = process::deduplicated(&[&plan.env[..], &asked.env, env].concat());
    plan.terminal = asked.tty;
    plan.console_size = None;
    plan.oom_score_adj = None;
    // exec leaves the umask as it is unless its process says otherwise.
    if let Some(cwd) = &asked.cwd {
        if !cwd.starts_with('/') {
            return Err(Error::new(Kind::Usage, format!("--cwd: {cwd:?} is not absolute")));
        }
        plan.cwd = cwd.into();
    }
    if let Some((uid, gid)) = asked.user {
        plan.user.uid = uid;
        plan.user.gid = gid.unwrap_or(plan.user.gid);
    }
    plan.user.groups.extend(&asked.groups);
    if let Some(label) = &asked.label {
        plan.selinux = Some(label.clone());
    }
    if let Some(profile) = &asked.apparmor {
        plan.apparmor = Some(profile.clone());
    }
    plan.no_new_privs |= asked.no_new_privs;
    let unknown = add_capabilities(&mut plan.caps, &asked.caps);
    warnings.extend(unknown.iter().map(|name| format!("ignoring unknown capability {name}")));
    Ok(plan)
}

/// `--cap` goes into bounding, permitted and effective, and never into inheritable: whatever
/// has file capabilities would get it back (CVE-2022-29162). It is ambient where the
/// container has it inheritable already: nothing else can be.
/// Unknown names come back: as in a document, they are ignored.
fn add_capabilities(plan: &mut CapPlan, names: &[String]) -> Vec<String> {
    let mut added = CapsHashSet::new();
    let mut unknown = Vec::new();
    for name in names {
        match name.to_uppercase().parse::<Capability>() {
            Ok(capability) => _ = added.insert(capability),
            Err(_) => unknown.push(name.clone()),
        }
    }
    if added.is_empty() {
        return unknown;
    }
    for set in [&mut plan.bounding, &mut plan.permitted, &mut plan.effective] {
        set.extend(&added);
    }
    plan.ambient.extend(added.intersection(&plan.inheritable));
    unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_capabilities_are_never_inheritable() {
        let kill = CapsHashSet::from([Capability::CAP_KILL]);
        let names = ["CAP_CHOWN", "CAP_KILL"].map(str::to_owned);
        let mut plain = CapPlan { bounding: kill.clone(), ..CapPlan::default() };
        assert!(add_capabilities(&mut plain, &names).is_empty());
        assert_eq!(plain.bounding.len(), 2);
        assert!(plain.inheritable.is_empty() && plain.ambient.is_empty());

        let mut heir = CapPlan { inheritable: kill.clone(), ..CapPlan::default() };
        assert!(add_capabilities(&mut heir, &names).is_empty());
        assert_eq!((&heir.inheritable, &heir.ambient), (&kill, &kill));
    }

    #[test]
    fn a_document_without_capabilities_has_the_containers() {
        let document = |caps: &str| -> Process {
            let text = format!(r#"{{"cwd":"/","args":["x"],"user":{{"uid":0,"gid":0}}{caps}}}"#);
            serde_json::from_str(&text).unwrap()
        };
        let mut spec = Spec::default();
        spec.set_process(Some(document(r#","capabilities":{"permitted":["CAP_KILL"]}"#)));
        let of = |text: &str| of_document(&document(text), &spec).unwrap().caps.permitted;
        assert_eq!(of(""), CapsHashSet::from([Capability::CAP_KILL]));
        assert!(of(r#","capabilities":{}"#).is_empty());
        spec.set_process(Some(document("")));
        assert!(of_document(&document(""), &spec).unwrap().caps.permitted.is_empty());
    }

    #[test]
    fn unknown_capabilities_are_told_and_change_nothing() {
        let names = ["CAP_FLY".to_owned()];
        let mut none = CapPlan::default();
        assert_eq!(add_capabilities(&mut none, &names), names);
        assert_eq!(none, CapPlan::default());
    }
}
