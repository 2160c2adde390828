//! Every option and argument of every command, as engines send them.
//!
//! A doc comment here is the help text; what needs more room, and the
//! examples, are in [`super::pages`].

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// `time="..." level=error msg="..."`
    #[default]
    Text,
    /// One JSON object a line: `level`, `msg`, `time`.
    Json,
}

/// Whether errors that a user without privileges cannot avoid are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Rootless {
    /// Ignore them.
    True,
    /// Report them.
    False,
    /// Decide by who is asking.
    #[default]
    Auto,
}

/// Who manages the containers' cgroups (crun's option).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CgroupManager {
    /// The runtime writes to the cgroup file system itself.
    Cgroupfs,
    /// systemd makes a scope for each container.
    Systemd,
    /// No cgroup is made or joined.
    Disabled,
}

/// How `list` and `ps` print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Aligned columns with a heading.
    #[default]
    Table,
    /// One JSON document.
    Json,
}

/// Options before the command's name.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// Log what is done, too
    #[arg(long)]
    pub debug: bool,
    /// Append the log to FILE [default: standard error]
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// How the log is written
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// Where the state of containers is kept; a tmpfs is best
    /// [default: /run/richrun, or $XDG_RUNTIME_DIR/richrun for an ordinary user]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Let systemd manage cgroups; cgroupsPath reads `slice:prefix:name`
    #[arg(long)]
    pub systemd_cgroup: bool,
    /// Who manages cgroups [default: cgroupfs]
    #[arg(long, value_name = "MANAGER", value_enum)]
    pub cgroup_manager: Option<CgroupManager>,
    /// Ignore cgroup permission errors
    #[arg(long, value_name = "WHEN", value_enum, default_value = "auto")]
    pub rootless: Rootless,
    /// Accepted for compatibility and ignored
    #[arg(long, value_name = "PATH", hide = true)]
    pub criu: Option<PathBuf>,
}

/// What `create` and `run` have in common.
#[derive(Debug, Clone, Default, Args)]
pub struct LaunchArgs {
    /// The bundle: a directory with config.json [default: the current directory]
    #[arg(short, long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// Send the terminal's master end over this unix socket
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// Send a pidfd of the container's init over this unix socket
    #[arg(long, value_name = "SOCKET")]
    pub pidfd_socket: Option<PathBuf>,
    /// Write the process id of the container's init to FILE
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Use MS_MOVE and chroot instead of pivot_root (for a root on a ramdisk)
    #[arg(long)]
    pub no_pivot: bool,
    /// Keep the caller's session keyring
    #[arg(long)]
    pub no_new_keyring: bool,
    /// Pass N more descriptors, from 3 (and after $LISTEN_FDS) on
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
    /// Run the payload under an init as PID 1; =false: run it as PID 1, whoever else asks
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", hide_possible_values = true)]
    pub rich: Option<bool>,
    /// Which PID 1: dumb-init, init, systemd, sbin-init or auto [default:
    /// dumb-init]; needs --rich
    #[arg(long, value_name = "MODE", value_parser = super::values::not_empty)]
    pub rich_mode: Option<String>,
    /// Run FILE of the container's root, with arguments, before the payload;
    /// needs --rich
    #[arg(long, value_name = "FILE", value_parser = super::values::not_empty)]
    pub initscript: Option<String>,
    /// Run a command line in the container's shell before the payload; needs
    /// --rich
    #[arg(long, value_name = "CMD", value_parser = super::values::not_empty)]
    pub initcmd: Option<String>,
    /// Add the hooks that this directory defines for such containers (hooks.d);
    /// may be repeated [default: hooks_dirs of /etc/richrun/config.toml]
    #[arg(long, value_name = "DIR")]
    pub hooks_dir: Vec<PathBuf>,
    /// Take rights away from all that runs in the container: ro=/PATH, exec=/PATH, rw=/PATH,
    /// bind=PORT, connect=PORT, scope=signal, scope=abstract-unix-socket, best-effort; may be
    /// repeated
    #[arg(long, value_name = "RULE")]
    pub landlock: Vec<String>,
    /// Put the payload into a group below the container's own, whose controllers are enabled;
    /// =best-effort: if that is possible
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    pub delegate_cgroup: Option<String>,
    /// Describe services beside the payload (TOML or JSON); needs --rich
    #[arg(long, value_name = "FILE")]
    pub services: Option<PathBuf>,
    /// The container's name, unique on this host
    #[arg(value_name = "ID")]
    pub id: String,
    /// Instead of config.json's command and arguments
    #[arg(value_name = "COMMAND", last = true)]
    pub command: Vec<String>,
}

/// `create`
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// Options shared with `run`.
    #[command(flatten)]
    pub launch: LaunchArgs,
}

/// `run`
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Return once the container runs
    #[arg(short, long)]
    pub detach: bool,
    /// Do not delete the container when it has ended
    #[arg(long)]
    pub keep: bool,
    /// Do not adopt and reap processes that the container's hooks leave behind
    #[arg(long)]
    pub no_subreaper: bool,
    /// Options shared with `create`.
    #[command(flatten)]
    pub launch: LaunchArgs,
}

/// `start`
#[derive(Debug, Clone, Args)]
pub struct StartArgs {
    /// The container's name
    #[arg(value_name = "ID")]
    pub id: String,
}

/// `state`
#[derive(Debug, Clone, Args)]
pub struct StateArgs {
    /// The container's name
    #[arg(value_name = "ID")]
    pub id: String,
}

/// `inspect`
#[derive(Debug, Clone, Args)]
pub struct InspectArgs {
    /// The container's name
    #[arg(value_name = "ID")]
    pub id: String,
}

/// `pause`
#[derive(Debug, Clone, Args)]
pub struct PauseArgs {
    /// The container's name
    #[arg(value_name = "ID")]
    pub id: String,
}

/// `resume`
#[derive(Debug, Clone, Args)]
pub struct ResumeArgs {
    /// The container's name
    #[arg(value_name = "ID")]
    pub id: String,
}

/// `kill`
#[derive(Debug, Clone, Args)]
pub struct KillArgs {
    /// Signal every process of the container
    #[arg(short, long, hide = true)]
    pub all: bool,
    /// The container's name
    #[arg(value_name = "ID")]
    pub id: String,
    /// The signal, by name or number
    #[arg(value_name = "SIGNAL", default_value = "SIGTERM", allow_hyphen_values = true)]
    pub signal: String,
}

/// `stop`
#[derive(Debug, Clone, Args)]
pub struct StopArgs {
    /// Kill it after so many seconds
    #[arg(short, long, value_name = "S", default_value_t = 10)]
    pub time: u32,
    /// The signal that asks it to end
    #[arg(
        short,
        long,
        value_name = "SIGNAL",
        default_value = "SIGTERM",
        allow_hyphen_values = true
    )]
    pub signal: String,
    /// The container's name
    #[arg(value_name = "ID")]
    pub id: String,
}

/// `wait`
#[derive(Debug, Clone, Args)]
pub struct WaitArgs {
    /// The container's name
    #[arg(value_name = "ID")]
    pub id: String,
}

/// `delete`
#[derive(Debug, Clone, Args)]
pub struct DeleteArgs {
    /// Wait for the container's end first
    #[arg(long)]
    pub wait: bool,
    /// Kill the container first if it still runs; no error if there is none
    #[arg(short, long)]
    pub force: bool,
    /// The container's name
    #[arg(value_name = "ID")]
    pub id: String,
}

/// `exec`
#[derive(Debug, Clone, Default, Args)]
pub struct ExecArgs {
    /// Send the terminal's master end over this unix socket
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// Send a pidfd of the process over this unix socket
    #[arg(long, value_name = "SOCKET")]
    pub pidfd_socket: Option<PathBuf>,
    /// The working directory in the container
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<String>,
    /// Set an environment variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Give the process a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Run as this user
    #[arg(short, long, value_name = "UID[:GID]", value_parser = super::values::user)]
    pub user: Option<super::values::UserArg>,
    /// Add a supplementary group
    #[arg(short = 'g', long, value_name = "GID", value_parser = super::values::id)]
    pub additional_gids: Vec<u32>,
    /// Read the process from FILE (the specification's `process` object)
    #[arg(short, long, value_name = "FILE")]
    pub process: Option<PathBuf>,
    /// Return once the process runs
    #[arg(short, long)]
    pub detach: bool,
    /// Write the process id to FILE
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// The SELinux label of the process
    #[arg(long, value_name = "LABEL")]
    pub process_label: Option<String>,
    /// The AppArmor profile of the process
    #[arg(long, value_name = "PROFILE")]
    pub apparmor: Option<String>,
    /// Forbid gaining privileges by execve
    #[arg(long)]
    pub no_new_privs: bool,
    /// Add a capability
    #[arg(short, long, value_name = "CAPABILITY")]
    pub cap: Vec<String>,
    /// Pass N more descriptors, from 3 (and after $LISTEN_FDS) on
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
    /// Run in this existing cgroup below the container's own
    #[arg(long, value_name = "[CONTROLLERS:]PATH")]
    pub cgroup: Vec<String>,
    /// Allow a paused container
    #[arg(long)]
    pub ignore_paused: bool,
    /// Start these services first, and wait until they are ready
    #[arg(long, value_name = "SERVICE[,...]")]
    pub needs: Vec<String>,
    /// Do all but execute the command: print the process id (without --pid-file), and leave the
    /// process waiting in the container for --start, for a signal or for the container's end
    #[arg(long, conflicts_with_all = ["serve", "detach"])]
    pub prepare: bool,
    /// Let the process that --prepare has left run
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..),
        conflicts_with_all = ["prepare", "serve", "detach", "tty", "process", "pid_file",
        "console_socket", "pidfd_socket", "preserve_fds", "needs", "command", "cwd", "env", "user",
        "additional_gids", "process_label", "apparmor", "no_new_privs", "cap", "cgroup"])]
    pub start: Option<i32>,
    /// Run one command after another, as they are asked for over the socket at standard input
    /// (docs/design.md); of the other options those that say what the process is count
    #[arg(long, conflicts_with_all = ["detach", "tty", "process", "pid_file", "console_socket",
        "pidfd_socket", "preserve_fds", "needs", "command"])]
    pub serve: bool,
    /// The container's name
    #[arg(value_name = "ID")]
    pub id: String,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// `list`
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// How to print
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "table")]
    pub format: Format,
    /// Print names only
    #[arg(short, long)]
    pub quiet: bool,
}

/// `ps`
#[derive(Debug, Clone, Args)]
pub struct PsArgs {
    /// How to print
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "table")]
    pub format: Format,
    /// The container's name
    #[arg(value_name = "ID")]
    pub id: String,
    /// Options for ps(1) [default: -ef]
    #[arg(value_name = "PS OPTIONS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub ps_args: Vec<OsString>,
}

/// `spec`
#[derive(Debug, Clone, Args)]
pub struct SpecArgs {
    /// Where to write config.json [default: the current directory]
    #[arg(short, long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// Write a configuration that an ordinary user can run
    #[arg(long)]
    pub rootless: bool,
    /// Write what a rich container of MODE needs, and that it is one: dumb-init, init,
    /// systemd, sbin-init or auto
    #[arg(long, value_name = "MODE")]
    pub rich: Option<String>,
    /// The capabilities: default (as Docker has it), none, or a list with commas [default:
    /// three, as runc has it]
    #[arg(long, value_name = "LIST", value_parser = super::values::not_empty)]
    pub caps: Option<String>,
    /// Without a terminal: for `create`, pipelines and services
    #[arg(long)]
    pub no_terminal: bool,
    /// The command and its arguments [default: sh]
    #[arg(value_name = "COMMAND", last = true)]
    pub command: Vec<String>,
}

/// `check`
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// The bundle: a directory with config.json [default: the current directory]
    #[arg(short, long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// Another config.json for the bundle, or services (TOML or JSON) for its container
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// `features`
#[derive(Debug, Clone, Args)]
pub struct FeaturesArgs {}

/// `doctor`
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// How to print
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "table")]
    pub format: Format,
}
