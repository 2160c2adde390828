//! What `events` tells of a container's class of cache and memory bandwidth: runc's names, out of
//! the texts of resctrl's files (the kernel's `filesystems/resctrl.rst`). A file that is not there
//! leaves its field out.

use serde::Serialize;

/// The caches' and the bandwidth's share of `events`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct IntelRdt {
    #[serde(skip_serializing_if = "Option::is_none")]
    l3_cache_info: Option<CacheInfo>,
    #[serde(skip_serializing_if = "String::is_empty")]
    l3_cache_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    l3_cache_schema: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_bw_info: Option<BandwidthInfo>,
    #[serde(skip_serializing_if = "String::is_empty")]
    mem_bw_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    mem_bw_schema: String,
    /// One for each cache.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mbm_stats: Vec<Bandwidth>,
    /// One for each cache.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cmt_stats: Vec<Occupancy>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct CacheInfo {
    cbm_mask: String,
    min_cbm_bits: u64,
    num_closids: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct BandwidthInfo {
    bandwidth_gran: u64,
    delay_linear: u64,
    min_bandwidth: u64,
    num_closids: u64,
}

/// Bytes since the group was made.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Bandwidth {
    mbm_total_bytes: u64,
    mbm_local_bytes: u64,
}

/// Bytes of the cache in use.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Occupancy {
    llc_occupancy: u64,
}

/// Reads a file by its name from resctrl's root.
pub type Read<'r> = &'r dyn Fn(&str) -> Option<String>;

impl IntelRdt {
    /// For a class with these `schemata`, and counters in the directories `domains` of `data`.
    pub fn new(read: Read<'_>, schemata: &str, data: &str, domains: &[String]) -> IntelRdt {
        let number = |name: &str| read(name).and_then(|text| text.trim().parse::<u64>().ok());
        let root = read("schemata").unwrap_or_default();
        let all = || domains.iter().filter(|name| name.starts_with("mon_L3_"));
        let count = |domain: &String, what: &str| number(&format!("{data}/{domain}/{what}"));
        let bandwidth = all().filter_map(|domain| {
            let (total, local) =
                (count(domain, "mbm_total_bytes"), count(domain, "mbm_local_bytes"));
            (total.is_some() || local.is_some()).then(|| Bandwidth {
                mbm_total_bytes: total.unwrap_or(0),
                mbm_local_bytes: local.unwrap_or(0),
            })
        });
        let occupancy = all().filter_map(|domain| count(domain, "llc_occupancy"));
        IntelRdt {
            l3_cache_info: read("info/L3/cbm_mask").map(|mask| CacheInfo {
                cbm_mask: mask.trim().to_owned(),
                min_cbm_bits: number("info/L3/min_cbm_bits").unwrap_or(0),
                num_closids: number("info/L3/num_closids").unwrap_or(0),
            }),
            l3_cache_schema_root: lines(&root, "L3"),
            l3_cache_schema: lines(schemata, "L3"),
            mem_bw_info: number("info/MB/min_bandwidth").map(|min_bandwidth| BandwidthInfo {
                bandwidth_gran: number("info/MB/bandwidth_gran").unwrap_or(0),
                delay_linear: number("info/MB/delay_linear").unwrap_or(0),
                min_bandwidth,
                num_closids: number("info/MB/num_closids").unwrap_or(0),
            }),
            mem_bw_schema_root: lines(&root, "MB"),
            mem_bw_schema: lines(schemata, "MB"),
            mbm_stats: bandwidth.collect(),
            cmt_stats: occupancy.map(|llc_occupancy| Occupancy { llc_occupancy }).collect(),
        }
    }
}

/// The lines of a resource: with code and data prioritisation a cache has two.
fn lines(schemata: &str, resource: &str) -> String {
    let own = schemata.lines().map(str::trim).filter(|line| line.starts_with(resource));
    own.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_told_and_nothing_else() {
        let files = [
            ("schemata", "    L3:0=fffff;1=fffff\n    MB:0=100;1=100\n"),
            ("info/L3/cbm_mask", "fffff\n"),
            ("info/L3/min_cbm_bits", "2\n"),
            ("info/L3/num_closids", "16\n"),
            ("a/mon_data/mon_L3_00/llc_occupancy", "4096\n"),
            ("a/mon_data/mon_L3_00/mbm_total_bytes", "7\n"),
            ("a/mon_data/mon_L3_00/mbm_local_bytes", "Unavailable\n"),
            ("a/mon_data/mon_L3_01/llc_occupancy", "Unavailable\n"),
        ];
        let read =
            |name: &str| files.iter().find(|file| file.0 == name).map(|file| file.1.to_owned());
        let domains = ["mon_L3_00", "mon_L3_01", "mon_other"].map(str::to_owned);
        let told = IntelRdt::new(&read, "  L3CODE:0=f\n  L3DATA:0=3\n", "a/mon_data", &domains);
        assert_eq!(
            serde_json::to_value(told).unwrap(),
            serde_json::json!({
                "l3_cache_info": {"cbm_mask": "fffff", "min_cbm_bits": 2, "num_closids": 16},
                "l3_cache_schema_root": "L3:0=fffff;1=fffff",
                "l3_cache_schema": "L3CODE:0=f\nL3DATA:0=3",
                "mem_bw_schema_root": "MB:0=100;1=100",
                "mbm_stats": [{"mbm_total_bytes": 7, "mbm_local_bytes": 0}],
                "cmt_stats": [{"llc_occupancy": 4096}],
            })
        );
        let none = IntelRdt::new(&|_| None, "", "mon_data", &[]);
        assert_eq!(serde_json::to_string(&none).unwrap(), "{}");
    }
}
