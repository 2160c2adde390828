//! `update`: other limits for a container.

use std::path::Path;

use serde_json::{Value, json};

use super::input::standard_input;
use crate::cgroup::{self, rdt::RdtRecord};
use crate::cli::{Global, UpdateArgs};
use crate::config::{Config, check_resources, rdt, read_bounded};
use crate::error::{Error, Kind, Result};
use crate::life::{State, Status, Store, signal};
use crate::plan::cgroup::{Mode, limits, shared::ZeroPids};
use crate::plan::update::Update;
use crate::{log, plan};

/// Changes the limits, and keeps what they are now. A hook of the command that has the
/// container's lock may do so too.
pub fn run(global: &Global, args: &UpdateArgs) -> Result<u8> {
    let (entry, state) = Store::new(global.root()).load_also_from_a_hook(&args.id)?;
    if matches!(entry.status(&state), Status::Stopped | Status::Creating) {
        return Err(Error::new(Kind::WrongState, "container not running"));
    }
    let asked = asked(args)?;
    let class = class_lines(args, &state)?;
    let config = Config::from_saved(&state.bundle, entry.read_config()?)?;
    let mut document = document(&config)?;
    let update = Update::new(document.pointer("/linux/resources"), asked)?;
    check_resources(&update.whole)?;
    let cgroup = signal::cgroup(&state)?.ok_or_else(|| cgroup::without_groups(&args.id))?;
    let mode = state.cgroup.as_ref().map_or(Mode::None, |record| record.mode);
    let knobs = limits(&update.written, mode, ZeroPids::of(&config.spec))?;
    knobs.warnings.iter().for_each(log::warn);
    document["linux"]["resources"] = update.kept;
    for (name, schema) in schemas(args) {
        document["linux"]["intelRdt"][name] = json!(schema);
    }
    let bytes = serde_json::to_vec(&document)
        .map_err(|error| Error::system(format!("encode config.json: {error}")))?;
    // Written first and named last: a full disk is found before anything has changed.
    entry.prepare_config(&bytes)?;
    let before = class.as_ref().map(|(class, lines)| class.update(lines)).transpose()?;
    let scope = state.cgroup.as_ref().and_then(|groups| groups.scope.as_ref());
    cgroup.update(&knobs, scope).map_err(|error| {
        match class.zip(before).map(|((class, _), before)| class.update(&before)) {
            Some(Err(_)) => error.within("the schemata could not be taken back"),
            _ => error,
        }
    })?;
    entry.replace_config()?;
    Ok(0)
}

/// The schemas that are given, by their names in `linux.intelRdt`.
fn schemas(args: &UpdateArgs) -> impl Iterator<Item = (&'static str, &str)> {
    let all = [("l3CacheSchema", &args.l3_cache_schema), ("memBwSchema", &args.mem_bw_schema)];
    let given = all.into_iter().filter_map(|(name, schema)| Some((name, schema.as_deref()?)));
    given.filter(|(_, schema)| !schema.is_empty())
}

/// What is to be written, and into which class.
fn class_lines<'s>(
    args: &UpdateArgs,
    state: &'s State,
) -> Result<Option<(&'s RdtRecord, Vec<String>)>> {
    if schemas(args).next().is_none() {
        return Ok(None);
    }
    let bandwidth = args.mem_bw_schema.as_deref().unwrap_or_default();
    rdt::bandwidth_schema(bandwidth)
        .map_err(|cause| Error::config(format!("--mem-bw-schema: {cause}")))?;
    let lines = plan::rdt::lines(args.l3_cache_schema.as_deref().unwrap_or_default(), bandwidth);
    let class = state.rdt.as_ref().ok_or_else(|| {
        Error::config("--l3-cache-schema, --mem-bw-schema: the container was made without linux.intelRdt, and has no class of resctrl")
    })?;
    Ok(Some((class, lines)))
}

/// The kept configuration as it was read, with what this program does not know.
fn document(config: &Config) -> Result<Value> {
    serde_json::from_slice(&config.bytes)
        .or_else(|_| serde_json::to_value(&config.spec))
        .map_err(|error| Error::system(format!("read config.json: {error}")))
}

/// What is asked for, as a document of resources.
fn asked(args: &UpdateArgs) -> Result<Value> {
    if let Some(path) = &args.resources {
        let bytes =
            if path == Path::new("-") { standard_input("resources")? } else { read_bounded(path)? };
        let from = if path == Path::new("-") {
            "standard input".into()
        } else {
            path.display().to_string()
        };
        return serde_json::from_slice(&bytes)
            .map_err(|error| Error::config(format!("resources: parse {from}: {error}")));
    }
    Ok(json!({
        "memory": {
            "limit": args.memory, "reservation": args.memory_reservation, "swap": args.memory_swap,
            "kernel": args.kernel_memory, "kernelTCP": args.kernel_memory_tcp,
        },
        "cpu": {
            "shares": args.cpu_share, "quota": args.cpu_quota, "period": args.cpu_period,
            "burst": args.cpu_burst, "idle": args.cpu_idle,
            "realtimeRuntime": args.cpu_rt_runtime, "realtimePeriod": args.cpu_rt_period,
            "cpus": args.cpuset_cpus, "mems": args.cpuset_mems,
        },
        "blockIO": {"weight": args.blkio_weight},
        "pids": args.pids_limit.map(|limit| json!({"limit": limit})),
    }))
}
