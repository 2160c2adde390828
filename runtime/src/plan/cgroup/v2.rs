//! The knobs of cgroup v2, as rows (kernel: Documentation/admin-guide/cgroup-v2.rst),
//! and how values in terms of v1 are converted.

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};

use super::knob::{Knobs, UsageCheck, given, impossible, page_size};
use super::shared::{self, ZeroPids};
use crate::error::Result;

/// The kernel's default of `cpu.max`'s period, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;

/// The rows for `linux.resources`, devices apart.
///
/// # Errors
/// A limit of v1 that has no counterpart (the specification: "If the conversion
/// is not possible the runtime MUST generate an error"), or values that
/// contradict each other.
pub fn knobs(resources: &LinuxResources, zero: ZeroPids) -> Result<Knobs> {
    let mut knobs = Knobs::default();
    if let Some(cpu) = resources.cpu() {
        shared::cpuset(cpu, &mut knobs);
    }
    if let Some(memory) = resources.memory() {
        self::memory(memory, &mut knobs)?;
    }
    if let Some(cpu) = resources.cpu() {
        self::cpu(cpu, &mut knobs)?;
    }
    if let Some(pids) = resources.pids() {
        shared::pids(pids.limit(), zero, &mut knobs);
    }
    if let Some(io) = resources.block_io() {
        block_io(io, &mut knobs)?;
    }
    for (index, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        let size = page_size(index, limit.page_size())?;
        let (field, bytes) = (format!("hugepageLimits[{index}].limit"), bytes(limit.limit()));
        knobs.set(&field, &format!("hugetlb.{size}.max"), &bytes);
        knobs.set(&field, &format!("hugetlb.{size}.rsvd.max"), &bytes).skipped_if_absent();
    }
    if let Some(network) = resources.network() {
        let priorities = network.priorities().as_ref().is_some_and(|list| !list.is_empty());
        if given(network.class_id()).is_some() || priorities {
            return Err(no_counterpart("network"));
        }
    }
    shared::rdma(resources, &mut knobs);
    unified(resources, &mut knobs)?;
    Ok(knobs)
}

fn no_counterpart(field: &str) -> crate::error::Error {
    impossible(field, "this host has cgroup v2, which has no such knob")
}

/// A number of bytes; a negative one is no limit.
fn bytes(value: i64) -> String {
    match value {
        ..0 => "max".to_owned(),
        value => value.to_string(),
    }
}

fn memory(memory: &LinuxMemory, knobs: &mut Knobs) -> Result<()> {
    if memory.swappiness().is_some() {
        return Err(no_counterpart("memory.swappiness"));
    }
    if memory.disable_oom_killer() == Some(true) {
        return Err(no_counterpart("memory.disableOOMKiller"));
    }
    if given(memory.kernel()).is_some() {
        knobs.passed_over("memory.kernel", shared::NO_KERNEL_MEMORY);
    }
    if given(memory.kernel_tcp()).is_some() {
        knobs.passed_over("memory.kernelTCP", "cgroup v2 has no such limit");
    }
    let limit = given(memory.limit());
    if let (Some(true), Some(bytes)) = (memory.check_before_update(), limit) {
        knobs.check = u64::try_from(bytes).ok().map(|limit| UsageCheck {
            controller: "memory".to_owned(),
            file: "memory.current".to_owned(),
            limit,
        });
    }
    if let Some(swap) = swap(limit, given(memory.swap()))? {
        let row = knobs.set("memory.swap", "memory.swap.max", &swap);
        // A kernel without swap has no such file, and keeps to both.
        if swap == "max" || swap == "0" {
            row.skipped_if_absent();
        }
    }
    if let Some(limit) = limit {
        knobs.set("memory.limit", "memory.max", bytes(limit));
    }
    if let Some(reservation) = given(memory.reservation()) {
        knobs.set("memory.reservation", "memory.low", bytes(reservation));
    }
    Ok(())
}

/// The limit on swap alone, out of limits on memory and on memory+swap.
fn swap(limit: Option<i64>, swap: Option<i64>) -> Result<Option<String>> {
    match (limit, swap) {
        // No limit on memory means none on swap.
        (Some(..0), None) => Ok(Some("max".to_owned())),
        (_, None) => Ok(None),
        (_, Some(..0)) => Ok(Some("max".to_owned())),
        // Nothing to subtract: swap is taken as it is.
        (Some(..0), Some(swap)) => Ok(Some(swap.to_string())),
        (None, Some(_)) => Err(impossible("memory.swap", "needs memory.limit as well")),
        (Some(limit), Some(swap)) if swap < limit => Err(impossible(
            "memory.swap",
            &format!("{swap} (memory+swap) is less than memory.limit {limit}"),
        )),
        (Some(limit), Some(swap)) => Ok(Some((swap - limit).to_string())),
    }
}

fn cpu(cpu: &LinuxCpu, knobs: &mut Knobs) -> Result<()> {
    for (field, set) in [
        ("cpu.realtimeRuntime", given(cpu.realtime_runtime()).is_some()),
        ("cpu.realtimePeriod", given(cpu.realtime_period()).is_some()),
    ] {
        if set {
            return Err(no_counterpart(field));
        }
    }
    if let Some(shares) = given(cpu.shares()) {
        // Refused while the group is idle.
        knobs.set("cpu.shares", "cpu.weight", weight_of_shares(shares)).retried();
    }
    if let Some(idle) = cpu.idle() {
        knobs.set("cpu.idle", "cpu.idle", idle);
    }
    // Refused while it exceeds the present quota.
    if let Some(burst) = cpu.burst() {
        knobs.set("cpu.burst", "cpu.max.burst", burst).skipped_if_absent().retried();
    }
    let (quota, period) = (given(cpu.quota()), given(cpu.period()));
    if quota.is_some() || period.is_some() {
        let (field, quota) = match quota {
            Some(quota) if quota > 0 => ("cpu.quota", quota.to_string()),
            Some(_) => ("cpu.quota", "max".to_owned()),
            None => ("cpu.period", "max".to_owned()),
        };
        knobs.set(field, "cpu.max", format!("{quota} {}", period.unwrap_or(DEFAULT_PERIOD)));
    }
    Ok(())
}

/// Shares (2..=262144, default 1024) as a weight (1..=10000, default 100): the
/// quadratic in log2 that maps all three points, which runc and crun have used
/// since 2025; the straight line before it gave 39 for the default.
fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        ..=2 => 1,
        262_144.. => 10_000,
        shares => {
            // Exact: less than 2^18.
            #[allow(clippy::cast_precision_loss)]
            let log = libm::log2(shares as f64);
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            // In 1..=10000.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let weight = libm::ceil(libm::pow(10.0, exponent)) as u64;
            weight.clamp(1, 10_000)
        }
    }
}

/// A weight of blkio (10..=1000) as one of io (1..=10000): a straight line.
fn weight_of_blkio(weight: u16) -> u64 {
    match u64::from(weight) {
        ..=10 => 1,
        weight => 1 + (weight - 10) * 9999 / 990,
    }
}

fn block_io(io: &LinuxBlockIo, knobs: &mut Knobs) -> Result<()> {
    if given(io.leaf_weight()).is_some() {
        return Err(no_counterpart("blockIO.leafWeight"));
    }
    if let Some(weight) = given(io.weight()) {
        knobs
            .set("blockIO.weight", "io.bfq.weight", weight)
            .or("io.weight", weight_of_blkio(weight));
    }
    for (index, device) in io.weight_device().iter().flatten().enumerate() {
        let field = format!("blockIO.weightDevice[{index}]");
        if given(device.leaf_weight()).is_some() {
            return Err(no_counterpart(&format!("{field}.leafWeight")));
        }
        if let Some(weight) = given(device.weight()) {
            let name = format!("{}:{}", device.major(), device.minor());
            knobs
                .set(&field, "io.bfq.weight", format!("{name} {weight}"))
                .or("io.weight", format!("{name} {}", weight_of_blkio(weight)));
        }
    }
    for throttle in shared::throttles(io) {
        let (major, minor) = (throttle.major, throttle.minor);
        let value = format!("{major}:{minor} {}={}", throttle.row.v2, throttle.rate);
        knobs.set(&throttle.field, "io.max", value);
    }
    Ok(())
}

/// `linux.resources.unified`: the files by name, a write a line.
fn unified(resources: &LinuxResources, knobs: &mut Knobs) -> Result<()> {
    let mut files: Vec<_> = resources.unified().iter().flatten().collect();
    files.sort();
    for (file, value) in files {
        let field = format!("unified[{file:?}]");
        if file.is_empty() || file.contains(['/', '\0']) || file == "." || file == ".." {
            return Err(impossible(&field, "must be the name of a file"));
        }
        for line in value.lines().filter(|line| !line.is_empty()) {
            knobs.set(&field, file, line);
        }
    }
    Ok(())
}
