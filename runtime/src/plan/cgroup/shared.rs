//! Knobs that both generations have.

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxResources, Spec};

use super::knob::Knobs;

/// Why `memory.kernel` is passed over.
pub(super) const NO_KERNEL_MEMORY: &str = "the kernel has no such limit any more";

/// `cpuset.cpus` and `cpuset.mems`.
pub(super) fn cpuset(cpu: &LinuxCpu, knobs: &mut Knobs) {
    for (field, file, value) in
        [("cpu.cpus", "cpuset.cpus", cpu.cpus()), ("cpu.mems", "cpuset.mems", cpu.mems())]
    {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            knobs.set(field, file, value);
        }
    }
}

/// What `pids.limit: 0` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZeroPids {
    /// Nothing is limited.
    Unlimited,
    /// No process but the first.
    Limit,
}

impl ZeroPids {
    /// By the version that a document says it is of.
    pub fn of(spec: &Spec) -> Self {
        let mut parts = spec.version().split('.').map(str::parse::<u32>);
        match (parts.next(), parts.next()) {
            (Some(Ok(1)), Some(Ok(0..=2))) => ZeroPids::Unlimited,
            _ => ZeroPids::Limit,
        }
    }
}

/// `pids.max`: a negative limit is none. A limit of 0 is none for documents before version
/// 1.3 of the specification, whose engines meant "not set"; since then it is a limit. That is
/// written as 1, which comes to the same, because the group's first process counts
/// and cannot be refused, and systemd knows no 0.
pub(super) fn pids(limit: i64, zero: ZeroPids, knobs: &mut Knobs) {
    let value = match (limit, zero) {
        (..0, _) => "max".to_owned(),
        (0, ZeroPids::Unlimited) => "max".to_owned(),
        (0, ZeroPids::Limit) => "1".to_owned(),
        (limit, _) => limit.to_string(),
    };
    knobs.set("pids.limit", "pids.max", value);
}

/// `rdma.max`: what is not limited is `max`.
pub(super) fn rdma(resources: &LinuxResources, knobs: &mut Knobs) {
    let mut devices: Vec<_> = resources.rdma().iter().flatten().collect();
    devices.sort_by_key(|(name, _)| *name);
    for (name, limits) in devices {
        let value = |limit: Option<u32>| limit.map_or("max".to_owned(), |n| n.to_string());
        let (handles, objects) = (value(limits.hca_handles()), value(limits.hca_objects()));
        let line = format!("{name} hca_handle={handles} hca_object={objects}");
        knobs.set(&format!("rdma[{name:?}]"), "rdma.max", line);
    }
}

/// A throttle of `linux.resources.blockIO`.
pub(super) struct Throttle {
    /// The field, below `linux.resources`.
    pub field: String,
    /// How the two generations call it.
    pub row: &'static ThrottleRow,
    /// The device.
    pub major: i64,
    /// The device.
    pub minor: i64,
    /// Bytes or operations a second.
    pub rate: u64,
}

/// How the two generations call a throttle.
pub(super) struct ThrottleRow {
    field: &'static str,
    /// The file of v1.
    pub v1: &'static str,
    /// The key in `io.max` of v2.
    pub v2: &'static str,
}

const THROTTLES: [ThrottleRow; 4] = [
    ThrottleRow {
        field: "throttleReadBpsDevice",
        v1: "blkio.throttle.read_bps_device",
        v2: "rbps",
    },
    ThrottleRow {
        field: "throttleWriteBpsDevice",
        v1: "blkio.throttle.write_bps_device",
        v2: "wbps",
    },
    ThrottleRow {
        field: "throttleReadIOPSDevice",
        v1: "blkio.throttle.read_iops_device",
        v2: "riops",
    },
    ThrottleRow {
        field: "throttleWriteIOPSDevice",
        v1: "blkio.throttle.write_iops_device",
        v2: "wiops",
    },
];

/// The throttles that are asked for.
pub(super) fn throttles(io: &LinuxBlockIo) -> Vec<Throttle> {
    let lists = [
        io.throttle_read_bps_device(),
        io.throttle_write_bps_device(),
        io.throttle_read_iops_device(),
        io.throttle_write_iops_device(),
    ];
    THROTTLES
        .iter()
        .zip(lists)
        .flat_map(|(row, list)| {
            list.iter().flatten().enumerate().map(move |(index, device)| Throttle {
                field: format!("blockIO.{}[{index}]", row.field),
                row,
                major: device.major(),
                minor: device.minor(),
                rate: device.rate(),
            })
        })
        .collect()
}
