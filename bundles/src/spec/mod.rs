//! From options to `config.json`: pure.

mod identity;
mod ids;
mod options;
pub mod rights;
mod rootless;

use std::collections::HashSet;
use std::path::Path;

use oci_spec::runtime::{
    Capability, Hooks, LinuxBuilder, LinuxCapabilities, LinuxCpu, LinuxMemory, LinuxNamespace,
    LinuxNamespaceType, LinuxPids, LinuxResources, Mount, Process, Root, Spec, User,
};

pub use identity::{Identity, identity};
pub use ids::{Ids, Range, mappings};
pub use options::{Bind, NetworkNamespace, Options, memory_size, parse_mount, parse_volume};

use crate::error::{Error, Result};

/// The search path where the image has none.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The configuration of a container: a bundle's own where there is one, with the options laid on it.
///
/// # Errors
/// No command.
pub fn configuration(base: Option<Spec>, root: &Path, options: &Options) -> Result<Spec> {
    let own = base.is_some();
    let mut spec = base.unwrap_or_else(fresh);
    let mut at = Root::default();
    at.set_path(root.to_owned());
    at.set_readonly(Some(options.readonly));
    spec.set_root(Some(at));
    let mut process = spec.process().clone().unwrap_or_default();
    command(&mut process, options)?;
    environment(&mut process, options, own);
    rights_of(&mut process, options);
    process.set_terminal(Some(options.terminal));
    if let Some(cwd) = &options.cwd {
        process.set_cwd(cwd.into());
    }
    spec.set_process(Some(process));
    if options.hostname.is_some() {
        spec.set_hostname(options.hostname.clone());
    }
    mounts(&mut spec, options);
    namespaces(&mut spec, options, own);
    resources(&mut spec, options);
    annotations(&mut spec, options);
    if let Some(maps) = &options.rootless {
        rootless::adapt(&mut spec, maps, options);
    }
    if let Some(hooks) = &options.hooks {
        let hooks: Hooks = hooks.clone();
        spec.set_hooks(Some(hooks));
    }
    Ok(spec)
}

/// What runtimes' own `spec` writes, without a terminal and with an engine's capabilities.
fn fresh() -> Spec {
    let mut spec = Spec::default();
    let mut process = Process::default();
    process.set_args(None);
    process.set_env(Some(vec![PATH.to_owned()]));
    process.set_rlimits(None);
    process.set_no_new_privileges(Some(false));
    process.set_capabilities(Some(sets(&rights::USUAL)));
    spec.set_process(Some(process));
    spec.set_hostname(None);
    spec
}

fn command(process: &mut Process, options: &Options) -> Result<()> {
    if !options.args.is_empty() {
        process.set_args(Some(options.args.clone()));
    }
    match process.args() {
        Some(args) if !args.is_empty() => Ok(()),
        _ => Err(Error::usage("no command: the source has none, so give one after it")),
    }
}

/// A later word for a variable replaces an earlier one.
fn environment(process: &mut Process, options: &Options, own: bool) {
    let mut all = process.env().clone().unwrap_or_default();
    if !own && options.terminal {
        all.push("TERM=xterm".to_owned());
    }
    for word in &options.env {
        let key = word.split('=').next().unwrap_or_default();
        all.retain(|known| known.split('=').next() != Some(key));
        all.push(word.clone());
    }
    process.set_env(Some(all));
}

fn rights_of(process: &mut Process, options: &Options) {
    if let Some(who) = &options.user {
        let mut user = User::default();
        user.set_uid(who.uid);
        user.set_gid(who.gid);
        user.set_additional_gids((!who.groups.is_empty()).then(|| who.groups.clone()));
        process.set_user(user);
    }
    if options.no_new_privileges {
        process.set_no_new_privileges(Some(true));
    }
    if let Some(all) = &options.capabilities {
        process.set_capabilities(Some(sets(all)));
    }
}

/// The sets of a root that holds these. To an ordinary user the kernel gives none of them at the
/// execve.
fn sets(held: &[caps::Capability]) -> LinuxCapabilities {
    let typed = |one: &caps::Capability| one.to_string().strip_prefix("CAP_")?.parse().ok();
    let all: HashSet<Capability> = held.iter().filter_map(typed).collect();
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(all.clone()));
    sets.set_permitted(Some(all.clone()));
    sets.set_effective(Some(all));
    sets.set_inheritable(None);
    sets.set_ambient(None);
    sets
}

fn mounts(spec: &mut Spec, options: &Options) {
    let mut all = spec.mounts().clone().unwrap_or_default();
    for bind in &options.mounts {
        all.retain(|mount| mount.destination() != &bind.target);
        let mut mount = Mount::default();
        mount.set_destination(bind.target.clone());
        mount.set_typ(Some(bind.kind.clone()));
        mount.set_source(Some(bind.source.clone()));
        mount.set_options((!bind.options.is_empty()).then(|| bind.options.clone()));
        all.push(mount);
    }
    spec.set_mounts(Some(all));
}

fn namespaces(spec: &mut Spec, options: &Options, own: bool) {
    let mut linux = spec.linux().clone().unwrap_or_default();
    let mut all = linux.namespaces().clone().unwrap_or_default();
    if let Some(network) = &options.network {
        all.retain(|namespace| namespace.typ() != LinuxNamespaceType::Network);
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(LinuxNamespaceType::Network);
        match network {
            NetworkNamespace::Host => {}
            NetworkNamespace::New => all.push(namespace),
            NetworkNamespace::Path(path) => {
                namespace.set_path(Some(path.clone()));
                all.push(namespace);
            }
        }
    }
    for (kind, path) in &options.join {
        all.retain(|namespace| namespace.typ() != *kind);
        if let Some(path) = path {
            let mut namespace = LinuxNamespace::default();
            namespace.set_typ(*kind);
            namespace.set_path(Some(path.clone()));
            all.push(namespace);
        }
    }
    if !own && !all.iter().any(|namespace| namespace.typ() == LinuxNamespaceType::Cgroup) {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(LinuxNamespaceType::Cgroup);
        all.push(namespace);
    }
    linux.set_namespaces(Some(all));
    spec.set_linux(Some(linux));
}

fn resources(spec: &mut Spec, options: &Options) {
    let mut linux =
        spec.linux().clone().unwrap_or_else(|| LinuxBuilder::default().build().unwrap_or_default());
    let mut resources: LinuxResources = linux.resources().clone().unwrap_or_default();
    if let Some(bytes) = options.memory {
        let mut memory: LinuxMemory = (*resources.memory()).unwrap_or_default();
        memory.set_limit(Some(bytes));
        // No more by swapping.
        memory.set_swap(Some(bytes));
        resources.set_memory(Some(memory));
    }
    if let Some(cpus) = options.cpus {
        let mut cpu: LinuxCpu = resources.cpu().clone().unwrap_or_default();
        cpu.set_period(Some(100_000));
        cpu.set_quota(Some((cpus * 100_000.0) as i64));
        resources.set_cpu(Some(cpu));
    }
    if let Some(limit) = options.pids {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        resources.set_pids(Some(pids));
    }
    linux.set_resources(Some(resources));
    if let Some(path) = &options.cgroup {
        linux.set_cgroups_path(Some(path.clone()));
    }
    spec.set_linux(Some(linux));
}

fn annotations(spec: &mut Spec, options: &Options) {
    if options.annotations.is_empty() {
        return;
    }
    let mut all = spec.annotations().clone().unwrap_or_default();
    all.extend(options.annotations.iter().map(|(key, value)| (key.clone(), value.clone())));
    spec.set_annotations(Some(all));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(options: &Options) -> Spec {
        configuration(None, Path::new("/r"), options).expect("a configuration")
    }

    fn with(change: impl FnOnce(&mut Options)) -> Options {
        let mut options = Options { args: vec!["true".into()], ..Options::default() };
        change(&mut options);
        options
    }

    #[test]
    fn no_command_is_refused() {
        let said = configuration(None, Path::new("/r"), &Options::default()).expect_err("refused");
        assert!(said.message.starts_with("no command"), "{said}");
    }

    #[test]
    fn later_variables_replace_earlier_ones() {
        let spec = made(&with(|o| o.env = vec!["A=1".into(), "PATH=/x".into(), "A=2".into()]));
        let env = spec.process().as_ref().expect("process").env().clone();
        assert_eq!(env, Some(vec!["PATH=/x".to_owned(), "A=2".to_owned()]));
    }

    #[test]
    fn mounts_replace_what_lies_at_their_place() {
        let bind = parse_volume("/h:/dev/shm:ro", Path::new("/")).expect("a volume");
        let spec = made(&with(|o| o.mounts = vec![bind]));
        let all = spec.mounts().clone().expect("mounts");
        let there: Vec<&Mount> =
            all.iter().filter(|mount| mount.destination() == Path::new("/dev/shm")).collect();
        assert_eq!(there.len(), 1);
        assert_eq!(there[0].typ().as_deref(), Some("bind"));
    }

    #[test]
    fn rights_by_name() {
        let held = |spec: &Spec| {
            let process = spec.process().clone().expect("process");
            process.capabilities().clone().expect("sets").bounding().clone().expect("a set")
        };
        assert_eq!(held(&made(&with(|_| {}))).len(), rights::USUAL.len());
        let every = made(&with(|o| o.capabilities = Some(rights::all())));
        assert_eq!(held(&every).len(), rights::all().len());
    }

    #[test]
    fn networks() {
        let networks = |network| {
            let spec = made(&with(|o| o.network = Some(network)));
            let all = spec.linux().clone().expect("linux").namespaces().clone().expect("some");
            let kind = |namespace: &&LinuxNamespace| namespace.typ() == LinuxNamespaceType::Network;
            all.iter().filter(kind).map(|namespace| namespace.path().clone()).collect::<Vec<_>>()
        };
        assert_eq!(networks(NetworkNamespace::Host), []);
        assert_eq!(networks(NetworkNamespace::New), [None]);
        assert_eq!(networks(NetworkNamespace::Path("/n".into())), [Some("/n".into())]);
    }

    #[test]
    fn limits() {
        let spec = made(&with(|o| {
            o.memory = Some(1 << 20);
            o.cpus = Some(1.5);
            o.pids = Some(7);
        }));
        let resources = spec.linux().clone().expect("linux").resources().clone().expect("some");
        assert_eq!(resources.memory().expect("memory").swap(), Some(1 << 20));
        assert_eq!(resources.cpu().clone().expect("cpu").quota(), Some(150_000));
    }
}
