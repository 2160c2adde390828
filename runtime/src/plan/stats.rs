//! What a container uses, as `events` tells it: runc's names, out of the texts of the
//! kernel's files. A file that is not there (no such controller, `psi=0`, no accounting
//! for swap) leaves its field out or at 0.

use std::collections::BTreeMap;

use serde::Serialize;

use super::rdt_stats::IntelRdt;

/// One moment's statistics.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Stats {
    pub cpu: Cpu,
    pub cpuset: CpuSet,
    pub memory: Memory,
    pub pids: Pids,
    pub blkio: Blkio,
    pub hugetlb: BTreeMap<String, Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rdma: Option<Rdma>,
    pub intel_rdt: IntelRdt,
    pub network_interfaces: Option<Vec<Interface>>,
}

/// Pressure stall information of one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Psi {
    pub some: PsiLine,
    pub full: PsiLine,
}

/// Shares of time in percent, and microseconds in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct PsiLine {
    pub avg10: f64,
    pub avg60: f64,
    pub avg300: f64,
    pub total: u64,
}

/// CPU time in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Cpu {
    pub usage: CpuUsage,
    pub throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct CpuUsage {
    pub total: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    pub percpu_kernel: Option<Vec<u64>>,
    pub percpu_user: Option<Vec<u64>>,
    pub kernel: u64,
    pub user: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Throttling {
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_time: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct CpuSet {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u64>,
    pub cpu_exclusive: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u64>,
    pub mem_hardwall: u64,
    pub mem_exclusive: u64,
    pub memory_migrate: u64,
    pub memory_spread_page: u64,
    pub memory_spread_slab: u64,
    pub memory_pressure: u64,
    pub sched_load_balance: u64,
    pub sched_relax_domain_level: i64,
}

/// Bytes; `u64::MAX` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Entry {
    pub limit: u64,
    pub usage: u64,
    pub max: u64,
    pub failcnt: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Memory {
    pub cache: u64,
    pub usage: Entry,
    pub swap: Entry,
    pub kernel: Entry,
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: Entry,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// Processes; a limit of 0 is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Pids {
    pub current: u64,
    pub limit: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct BlkioEntry {
    pub major: u64,
    pub minor: u64,
    pub op: String,
    pub value: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Blkio {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Rdma {
    pub rdma_limit: Vec<RdmaEntry>,
    pub rdma_current: Vec<RdmaEntry>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct RdmaEntry {
    pub device: String,
    pub hca_handles: u32,
    pub hca_objects: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct Interface {
    pub name: String,
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

/// Reads a file of the group that has its controller, which is the first part of its name.
pub type Read<'r> = &'r dyn Fn(&str) -> Option<String>;

/// Nanoseconds in a tick of `USER_HZ`.
const TICK: u64 = 10_000_000;

/// What cgroup v1 says; `pages` are the names of the sizes of huge pages.
pub fn v1(read: Read<'_>, pages: &[String]) -> Stats {
    let number = |file: &str| read(file).map_or(0, |text| first_number(&text));
    let map = |file: &str| read(file).map(|text| pairs(&text)).unwrap_or_default();
    let entry = |name: &str| Entry {
        limit: number(&format!("{name}limit_in_bytes")),
        usage: number(&format!("{name}usage_in_bytes")),
        max: number(&format!("{name}max_usage_in_bytes")),
        failcnt: number(&format!("{name}failcnt")),
    };
    let (ticks, throttling) = (map("cpuacct.stat"), map("cpu.stat"));
    let of = |map: &BTreeMap<String, u64>, key: &str| map.get(key).copied().unwrap_or(0);
    let each = read("cpuacct.usage_all").unwrap_or_default();
    let column = |at: usize| {
        let lines = each.lines().skip(1);
        let column: Option<Vec<u64>> =
            lines.map(|line| line.split(' ').nth(at)?.parse().ok()).collect();
        column.filter(|column| !column.is_empty())
    };
    let percpu = read("cpuacct.usage_percpu").unwrap_or_default();
    let raw = map("memory.stat");
    let first = |files: [&str; 3]| {
        let all = files.iter().filter_map(|file| read(file)).map(|text| blkio(&text));
        all.into_iter().find(|list| !list.is_empty()).unwrap_or_default()
    };
    Stats {
        cpu: Cpu {
            usage: CpuUsage {
                total: number("cpuacct.usage"),
                percpu: percpu.split_whitespace().filter_map(|n| n.parse().ok()).collect(),
                percpu_user: column(1),
                percpu_kernel: column(2),
                kernel: of(&ticks, "system") * TICK,
                user: of(&ticks, "user") * TICK,
            },
            throttling: Throttling {
                periods: of(&throttling, "nr_periods"),
                throttled_periods: of(&throttling, "nr_throttled"),
                throttled_time: of(&throttling, "throttled_time"),
            },
            psi: None,
        },
        cpuset: CpuSet {
            cpus: read("cpuset.cpus").map(|text| numbers(&text)).unwrap_or_default(),
            cpu_exclusive: number("cpuset.cpu_exclusive"),
            mems: read("cpuset.mems").map(|text| numbers(&text)).unwrap_or_default(),
            mem_hardwall: number("cpuset.mem_hardwall"),
            mem_exclusive: number("cpuset.mem_exclusive"),
            memory_migrate: number("cpuset.memory_migrate"),
            memory_spread_page: number("cpuset.memory_spread_page"),
            memory_spread_slab: number("cpuset.memory_spread_slab"),
            memory_pressure: number("cpuset.memory_pressure"),
            sched_load_balance: number("cpuset.sched_load_balance"),
            sched_relax_domain_level: read("cpuset.sched_relax_domain_level")
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(0),
        },
        memory: Memory {
            cache: of(&raw, "cache"),
            usage: entry("memory."),
            swap: entry("memory.memsw."),
            kernel: entry("memory.kmem."),
            kernel_tcp: entry("memory.kmem.tcp."),
            raw,
            psi: None,
        },
        pids: pids(read),
        blkio: Blkio {
            io_service_bytes_recursive: first([
                "blkio.bfq.io_service_bytes_recursive",
                "blkio.io_service_bytes_recursive",
                "blkio.throttle.io_service_bytes_recursive",
            ]),
            io_serviced_recursive: first([
                "blkio.bfq.io_serviced_recursive",
                "blkio.io_serviced_recursive",
                "blkio.throttle.io_serviced_recursive",
            ]),
            psi: None,
        },
        hugetlb: hugetlb(pages, "usage_in_bytes", read, &entry),
        rdma: rdma(read),
        ..Stats::default()
    }
}

/// What cgroup v2 says.
pub fn v2(read: Read<'_>, pages: &[String]) -> Stats {
    let number = |file: &str| read(file).map_or(0, |text| first_number(&text));
    let cpu = read("cpu.stat").map(|text| pairs(&text)).unwrap_or_default();
    let of = |key: &str| cpu.get(key).copied().unwrap_or(0);
    let raw = read("memory.stat").map(|text| pairs(&text)).unwrap_or_default();
    let events = read("memory.events").map(|text| pairs(&text)).unwrap_or_default();
    let usage = Entry {
        limit: number("memory.max"),
        usage: number("memory.current"),
        max: number("memory.peak"),
        failcnt: events.get("max").copied().unwrap_or(0),
    };
    // As v1 has it: memory and swap together.
    let swap = read("memory.swap.current").map_or(Entry::default(), |current| Entry {
        limit: number("memory.swap.max").saturating_add(usage.limit),
        usage: first_number(&current).saturating_add(usage.usage),
        ..Entry::default()
    });
    let io = read("io.stat").unwrap_or_default();
    let psi = |file: &str| read(file).as_deref().and_then(pressure);
    let set = |file: &str| read(file).map(|text| numbers(&text)).unwrap_or_default();
    let pages_entry = |name: &str| Entry {
        limit: number(&format!("{name}max")),
        usage: number(&format!("{name}current")),
        max: 0,
        failcnt: read(&format!("{}events", name.replace("rsvd.", "")))
            .map_or(0, |text| pairs(&text).get("max").copied().unwrap_or(0)),
    };
    Stats {
        cpu: Cpu {
            usage: CpuUsage {
                total: of("usage_usec") * 1000,
                kernel: of("system_usec") * 1000,
                user: of("user_usec") * 1000,
                ..CpuUsage::default()
            },
            throttling: Throttling {
                periods: of("nr_periods"),
                throttled_periods: of("nr_throttled"),
                throttled_time: of("throttled_usec") * 1000,
            },
            psi: psi("cpu.pressure"),
        },
        cpuset: CpuSet {
            cpus: set("cpuset.cpus.effective"),
            mems: set("cpuset.mems.effective"),
            ..CpuSet::default()
        },
        memory: Memory {
            cache: raw.get("file").copied().unwrap_or(0),
            usage,
            swap,
            raw,
            psi: psi("memory.pressure"),
            ..Memory::default()
        },
        pids: pids(read),
        blkio: Blkio {
            io_service_bytes_recursive: io_stat(&io, [("rbytes", "Read"), ("wbytes", "Write")]),
            io_serviced_recursive: io_stat(&io, [("rios", "Read"), ("wios", "Write")]),
            psi: psi("io.pressure"),
        },
        hugetlb: hugetlb(pages, "current", read, &pages_entry),
        rdma: rdma(read),
        ..Stats::default()
    }
}

/// What interfaces of `/proc/PID/net/dev` have moved, loopback aside.
pub fn interfaces(text: &str) -> Vec<Interface> {
    let one = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let n: Vec<u64> = rest.split_whitespace().map_while(|n| n.parse().ok()).collect();
        (n.len() >= 12 && name.trim() != "lo").then(|| Interface {
            name: name.trim().to_owned(),
            rx_bytes: n[0],
            rx_packets: n[1],
            rx_errors: n[2],
            rx_dropped: n[3],
            tx_bytes: n[8],
            tx_packets: n[9],
            tx_errors: n[10],
            tx_dropped: n[11],
        })
    };
    text.lines().filter_map(one).collect()
}

/// The name that cgroups give to a size (`hugepages-2048kB`: `2MB`).
pub fn page_name(directory: &str) -> Option<String> {
    let kib: u64 = directory.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    Some(match kib {
        kib if kib >= 1 << 20 => format!("{}GB", kib >> 20),
        kib if kib >= 1 << 10 => format!("{}MB", kib >> 10),
        kib => format!("{kib}KB"),
    })
}

/// Reserved pages count where the kernel tells of them: they are what a limit is reached by.
fn hugetlb(
    pages: &[String],
    usage: &str,
    read: Read<'_>,
    entry: &dyn Fn(&str) -> Entry,
) -> BTreeMap<String, Entry> {
    let one = |size: &String| {
        let (plain, reserved) = (format!("hugetlb.{size}."), format!("hugetlb.{size}.rsvd."));
        let names = [reserved, plain];
        let name = names.iter().find(|name| read(&format!("{name}{usage}")).is_some())?;
        Some((size.clone(), entry(name)))
    };
    pages.iter().filter_map(one).collect()
}

fn pids(read: Read<'_>) -> Pids {
    let limit = read("pids.max").and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    Pids { current: read("pids.current").map_or(0, |text| first_number(&text)), limit }
}

fn rdma(read: Read<'_>) -> Option<Rdma> {
    let list = |file: &str| read(file).map(|text| text.lines().map(rdma_line).collect());
    Some(Rdma { rdma_limit: list("rdma.max")?, rdma_current: list("rdma.current")? })
}

fn rdma_line(line: &str) -> RdmaEntry {
    let mut words = line.split_whitespace();
    let device = words.next().unwrap_or_default().to_owned();
    let mut entry = RdmaEntry { device, ..RdmaEntry::default() };
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        let value = if value == "max" { u32::MAX } else { value.parse().unwrap_or(0) };
        match key {
            "hca_handle" => entry.hca_handles = value,
            "hca_object" => entry.hca_objects = value,
            _ => {}
        }
    }
    entry
}

/// `max` is the largest number.
fn first_number(text: &str) -> u64 {
    match text.split_whitespace().next() {
        Some("max") => u64::MAX,
        word => word.and_then(|word| word.parse().ok()).unwrap_or(0),
    }
}

fn pairs(text: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

/// A list like `0-3,7`.
fn numbers(text: &str) -> Vec<u64> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<u64>().ok()?..=last.parse::<u64>().ok()?)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

fn device(word: &str) -> Option<(u64, u64)> {
    let (major, minor) = word.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// v1: `8:0 Read 4096`.
fn blkio(text: &str) -> Vec<BlkioEntry> {
    let one = |line: &str| {
        let mut words = line.split_whitespace();
        let (major, minor) = device(words.next()?)?;
        let op = words.next()?.to_owned();
        Some(BlkioEntry { major, minor, op, value: words.next()?.parse().ok()? })
    };
    text.lines().filter_map(one).collect()
}

/// v2: `8:0 rbytes=1 wbytes=2 rios=3 ...`.
fn io_stat(text: &str, keys: [(&str, &str); 2]) -> Vec<BlkioEntry> {
    let mut all = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some((major, minor)) = words.next().and_then(device) else { continue };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let op = keys.iter().find(|(name, _)| *name == key);
            if let (Some((_, op)), Ok(value)) = (op, value.parse()) {
                all.push(BlkioEntry { major, minor, op: (*op).to_owned(), value });
            }
        }
    }
    all
}

/// Pressure stall information; `None` where the kernel keeps none.
fn pressure(text: &str) -> Option<Psi> {
    let mut psi = Psi::default();
    let mut any = false;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let target = match words.next() {
            Some("some") => &mut psi.some,
            Some("full") => &mut psi.full,
            _ => continue,
        };
        any = true;
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            match key {
                "avg10" => target.avg10 = value.parse().unwrap_or(0.0),
                "avg60" => target.avg60 = value.parse().unwrap_or(0.0),
                "avg300" => target.avg300 = value.parse().unwrap_or(0.0),
                "total" => target.total = value.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
    any.then_some(psi)
}

#[cfg(test)]
mod tests;
