//! Options of `update`: runc's.

use std::path::PathBuf;

use clap::Args;

/// `update`
#[derive(Debug, Clone, Default, Args)]
pub struct UpdateArgs {
    /// Read linux.resources as JSON from FILE (`-`: standard input) and ignore all other options
    #[arg(short, long, value_name = "FILE")]
    pub resources: Option<PathBuf>,
    /// Weight of block I/O, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    pub blkio_weight: Option<u16>,
    /// Period of the CPU quota, in microseconds
    #[arg(long, value_name = "USECS")]
    pub cpu_period: Option<u64>,
    /// CPU time that may be used in a period, in microseconds; -1: any
    #[arg(long, value_name = "USECS", allow_hyphen_values = true)]
    pub cpu_quota: Option<i64>,
    /// CPU time beyond the quota that may be saved up, in microseconds
    #[arg(long, value_name = "USECS")]
    pub cpu_burst: Option<u64>,
    /// Weight of CPU time beside other groups
    #[arg(long, visible_alias = "cpu-shares", value_name = "SHARES")]
    pub cpu_share: Option<u64>,
    /// Period of real-time scheduling, in microseconds
    #[arg(long, value_name = "USECS")]
    pub cpu_rt_period: Option<u64>,
    /// Real-time scheduling's time in a period, in microseconds
    #[arg(long, value_name = "USECS", allow_hyphen_values = true)]
    pub cpu_rt_runtime: Option<i64>,
    /// 1: run only while nobody else wants to
    #[arg(long, value_name = "0|1", allow_hyphen_values = true)]
    pub cpu_idle: Option<i64>,
    /// CPUs to use (0-2,7)
    #[arg(long, value_name = "CPUS")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes to use (0-2,7)
    #[arg(long, value_name = "NODES")]
    pub cpuset_mems: Option<String>,
    /// Limit of memory (64M); -1: none
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = super::values::bytes)]
    pub memory: Option<i64>,
    /// Soft limit of memory; -1: none
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = super::values::bytes)]
    pub memory_reservation: Option<i64>,
    /// Limit of memory and swap together; -1: none
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = super::values::bytes)]
    pub memory_swap: Option<i64>,
    /// Accepted for compatibility: kernels have no such limit any more
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = super::values::bytes)]
    pub kernel_memory: Option<i64>,
    /// Limit of memory for TCP buffers (cgroup v1)
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = super::values::bytes)]
    pub kernel_memory_tcp: Option<i64>,
    /// How many processes there may be; -1: any
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub pids_limit: Option<i64>,
    /// Intel RDT: the L3 cache schema of the container's class
    #[arg(long, value_name = "SCHEMA")]
    pub l3_cache_schema: Option<String>,
    /// Intel RDT: the memory bandwidth schema of the container's class
    #[arg(long, value_name = "SCHEMA")]
    pub mem_bw_schema: Option<String>,
    /// The container's name
    #[arg(value_name = "ID")]
    pub id: String,
}
