//! The options of `checkpoint` and `restore`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// How control groups are written and restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CgroupsMode {
    /// The values of groups that CRIU makes itself: those below the container's own.
    Soft,
    /// The values of all.
    Full,
    /// As full, and no group may be there already.
    Strict,
    /// Not at all.
    Ignore,
}

/// A namespace that can be left empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EmptyNs {
    /// The network namespace.
    Network,
}

/// What `checkpoint` and `restore` have in common.
#[derive(Debug, Clone, Default, Args)]
pub struct CriuArgs {
    /// The directory of the images [default: checkpoint, in the current directory]
    #[arg(long, value_name = "DIR")]
    pub image_path: Option<PathBuf>,
    /// The directory of CRIU's log and statistics [default: that of the images]
    #[arg(long, value_name = "DIR")]
    pub work_path: Option<PathBuf>,
    /// Keep established TCP connections
    #[arg(long)]
    pub tcp_established: bool,
    /// Allow unix sockets that are connected to what is outside
    #[arg(long)]
    pub ext_unix_sk: bool,
    /// Allow the caller's terminal
    #[arg(long)]
    pub shell_job: bool,
    /// Fetch memory when it is used, from the host that was left (`criu lazy-pages`)
    #[arg(long)]
    pub lazy_pages: bool,
    /// Keep file locks
    #[arg(long)]
    pub file_locks: bool,
    /// How control groups are kept [default: soft]
    #[arg(long, value_name = "MODE", value_enum)]
    pub manage_cgroups_mode: Option<CgroupsMode>,
    /// Make a namespace, and leave it empty: network
    #[arg(long, value_name = "NAMESPACE", value_enum)]
    pub empty_ns: Vec<EmptyNs>,
    /// Take memory that is in a later image out of the earlier ones
    #[arg(long)]
    pub auto_dedup: bool,
}

/// `checkpoint`
#[derive(Debug, Clone, Args)]
pub struct CheckpointArgs {
    /// Options shared with `restore`.
    #[command(flatten)]
    pub criu: CriuArgs,
    /// The directory of an earlier checkpoint or pre-dump, from that of the images
    #[arg(long, value_name = "DIR")]
    pub parent_path: Option<PathBuf>,
    /// Let the container run on
    #[arg(long)]
    pub leave_running: bool,
    /// Pass over TCP connections that are being made
    #[arg(long)]
    pub tcp_skip_in_flight: bool,
    /// Allow files without a name, by giving them one meanwhile
    #[arg(long)]
    pub link_remap: bool,
    /// Write a zero byte to this descriptor when memory can be fetched (--lazy-pages)
    #[arg(long, value_name = "FD")]
    pub status_fd: Option<i32>,
    /// Send memory to CRIU's page server there
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = super::values::server)]
    pub page_server: Option<(String, u16)>,
    /// Write memory only, and let the container run on: less is left for the checkpoint
    #[arg(long)]
    pub pre_dump: bool,
    /// The container's name
    #[arg(value_name = "ID")]
    pub id: String,
}

/// `restore`
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// Options shared with `checkpoint`.
    #[command(flatten)]
    pub criu: CriuArgs,
    /// The bundle: a directory with config.json [default: the current directory]
    #[arg(short, long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// Send the terminal's master end over this unix socket
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// Return once the container runs
    #[arg(short, long)]
    pub detach: bool,
    /// Write the process id of the container's init to FILE
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Do not adopt and reap processes that the container's hooks leave behind
    #[arg(long)]
    pub no_subreaper: bool,
    /// Accepted for compatibility: how the root is entered is CRIU's to choose
    #[arg(long)]
    pub no_pivot: bool,
    /// The processes' profile instead of the written one: apparmor:NAME or selinux:LABEL
    #[arg(long, value_name = "TYPE:NAME")]
    pub lsm_profile: Option<String>,
    /// The SELinux context of mounts instead of the written one
    #[arg(long, value_name = "CONTEXT")]
    pub lsm_mount_context: Option<String>,
    /// The container's name; it may be another than before
    #[arg(value_name = "ID")]
    pub id: String,
}
