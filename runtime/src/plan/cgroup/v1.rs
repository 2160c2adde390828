//! The knobs of cgroup v1, as rows (kernel: Documentation/admin-guide/cgroup-v1).

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};

use super::knob::{Knobs, UsageCheck, given, impossible, page_size};
use super::shared::{self, ZeroPids};
use crate::error::Result;

/// The shares that the kernel takes (`MIN_SHARES` and `MAX_SHARES`,
/// kernel/sched/sched.h); it would silently round others.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

/// The rows for `linux.resources`, devices apart.
///
/// # Errors
/// A limit that v1 does not know, or a value that it would not take.
pub fn knobs(resources: &LinuxResources, zero: ZeroPids) -> Result<Knobs> {
    let mut knobs = Knobs::default();
    if resources.unified().as_ref().is_some_and(|unified| !unified.is_empty()) {
        return Err(impossible("unified", "this host has cgroup v1"));
    }
    if let Some(cpu) = resources.cpu() {
        shared::cpuset(cpu, &mut knobs);
    }
    if let Some(memory) = resources.memory() {
        self::memory(memory, &mut knobs);
    }
    if let Some(cpu) = resources.cpu() {
        self::cpu(cpu, &mut knobs)?;
    }
    if let Some(pids) = resources.pids() {
        shared::pids(pids.limit(), zero, &mut knobs);
    }
    if let Some(io) = resources.block_io() {
        block_io(io, &mut knobs);
    }
    for (index, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        let size = page_size(index, limit.page_size())?;
        let field = format!("hugepageLimits[{index}].limit");
        knobs.set(&field, &format!("hugetlb.{size}.limit_in_bytes"), limit.limit());
        knobs
            .set(&field, &format!("hugetlb.{size}.rsvd.limit_in_bytes"), limit.limit())
            .skipped_if_absent();
    }
    if let Some(network) = resources.network() {
        if let Some(class) = given(network.class_id()) {
            knobs.set("network.classID", "net_cls.classid", class);
        }
        for (index, entry) in network.priorities().iter().flatten().enumerate() {
            let value = format!("{} {}", entry.name(), entry.priority());
            knobs.set(&format!("network.priorities[{index}]"), "net_prio.ifpriomap", value);
        }
    }
    shared::rdma(resources, &mut knobs);
    Ok(knobs)
}

fn memory(memory: &LinuxMemory, knobs: &mut Knobs) {
    let limit = given(memory.limit());
    if let (Some(true), Some(bytes)) = (memory.check_before_update(), limit) {
        knobs.check = u64::try_from(bytes).ok().map(|limit| UsageCheck {
            controller: "memory".to_owned(),
            file: "memory.usage_in_bytes".to_owned(),
            limit,
        });
    }
    // The kernel keeps limit <= memory+swap at every moment: raising, the limit
    // has to wait for memory+swap.
    if let Some(limit) = limit {
        knobs.set("memory.limit", "memory.limit_in_bytes", limit).retried();
    }
    match (given(memory.swap()), limit) {
        (Some(swap), _) => {
            knobs.set("memory.swap", "memory.memsw.limit_in_bytes", swap);
        }
        // No limit on memory means none on memory+swap.
        (None, Some(-1)) => {
            knobs.set("memory.limit", "memory.memsw.limit_in_bytes", -1).skipped_if_absent();
        }
        (None, _) => {}
    }
    if let Some(reservation) = given(memory.reservation()) {
        knobs.set("memory.reservation", "memory.soft_limit_in_bytes", reservation);
    }
    if given(memory.kernel()).is_some() {
        knobs.passed_over("memory.kernel", shared::NO_KERNEL_MEMORY);
    }
    if let Some(limit) = given(memory.kernel_tcp()) {
        knobs.set("memory.kernelTCP", "memory.kmem.tcp.limit_in_bytes", limit).warned_if_absent();
    }
    if memory.disable_oom_killer() == Some(true) {
        knobs.set("memory.disableOOMKiller", "memory.oom_control", 1);
    }
    if let Some(swappiness) = memory.swappiness() {
        knobs.set("memory.swappiness", "memory.swappiness", swappiness);
    }
}

fn cpu(cpu: &LinuxCpu, knobs: &mut Knobs) -> Result<()> {
    // A group needs a share of the realtime time before realtime tasks may join.
    if let Some(period) = given(cpu.realtime_period()) {
        knobs.set("cpu.realtimePeriod", "cpu.rt_period_us", period).retried();
    }
    if let Some(runtime) = given(cpu.realtime_runtime()) {
        knobs.set("cpu.realtimeRuntime", "cpu.rt_runtime_us", runtime);
    }
    if let Some(shares) = given(cpu.shares()) {
        if !SHARES.contains(&shares) {
            let (least, most) = SHARES.into_inner();
            return Err(impossible("cpu.shares", &format!("{shares} is not in {least}..={most}")));
        }
        // Refused while the group is idle.
        knobs.set("cpu.shares", "cpu.shares", shares).retried();
    }
    // quota/period must not exceed the parent's, nor burst the quota, at any
    // moment: what is refused is written again after the quota.
    if let Some(period) = given(cpu.period()) {
        knobs.set("cpu.period", "cpu.cfs_period_us", period).retried();
    }
    if let Some(burst) = cpu.burst() {
        knobs.set("cpu.burst", "cpu.cfs_burst_us", burst).skipped_if_absent().retried();
    }
    if let Some(quota) = given(cpu.quota()) {
        knobs.set("cpu.quota", "cpu.cfs_quota_us", quota);
    }
    if let Some(idle) = cpu.idle() {
        knobs.set("cpu.idle", "cpu.idle", idle);
    }
    Ok(())
}

fn block_io(io: &LinuxBlockIo, knobs: &mut Knobs) {
    if let Some(weight) = given(io.weight()) {
        knobs.set("blockIO.weight", "blkio.bfq.weight", weight).or("blkio.weight", weight);
    }
    if let Some(weight) = given(io.leaf_weight()) {
        knobs.set("blockIO.leafWeight", "blkio.leaf_weight", weight);
    }
    for (index, device) in io.weight_device().iter().flatten().enumerate() {
        let field = format!("blockIO.weightDevice[{index}]");
        let value = |weight| format!("{}:{} {weight}", device.major(), device.minor());
        if let Some(weight) = given(device.weight()) {
            knobs
                .set(&field, "blkio.bfq.weight_device", value(weight))
                .or("blkio.weight_device", value(weight));
        }
        if let Some(weight) = given(device.leaf_weight()) {
            knobs.set(&field, "blkio.leaf_weight_device", value(weight));
        }
    }
    for throttle in shared::throttles(io) {
        let value = format!("{}:{} {}", throttle.major, throttle.minor, throttle.rate);
        knobs.set(&throttle.field, throttle.row.v1, value);
    }
}
