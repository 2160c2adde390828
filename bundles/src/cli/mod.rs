//! richctl's command line: one file a verb.

mod attach;
mod create;
mod env;
mod events;
mod exec;
mod foreground;
mod image;
mod inspect;
mod kill;
mod label;
mod list;
mod logs;
mod output;
mod pod;
mod rename;
mod restart;
mod rm;
mod run;
mod run_options;
mod runtimes;
mod start;
mod stats;
mod stop;
mod template;
mod top;
mod wait;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::container::Containers;
use crate::error::Result;

/// Runs containers, pods and environments without an engine.
///
/// A container is held by a small process of its own, rich-monitor: nothing happens to it when
/// richctl, its caller or the login session ends.
#[derive(Debug, Parser)]
#[command(name = "richctl", version, after_long_help = EXAMPLES)]
pub struct Line {
    /// What all commands have.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub verb: Verb,
}

const EXAMPLES: &str = "Examples:
  richctl run -d --name web ./rootfs httpd -f -p 8080     a root file system, in the background
  richctl run --rm -it oci:./layout:latest sh             an image, with a terminal
  richctl logs -f web                                     its output, as it comes
  richctl exec -it web sh                                 a shell beside it
  richctl stop web; richctl rm web                        the end";

/// Options of every command.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// Keep everything below DIR [default: /run/richctl and /var/lib/richctl; for an ordinary
    /// user $XDG_RUNTIME_DIR/richctl and $XDG_DATA_HOME/richctl]
    #[arg(long, global = true, value_name = "DIR", env = "RICHCTL_ROOT")]
    pub root: Option<PathBuf>,
    /// The OCI runtime: a program with runc's command line [default: richrun beside richctl,
    /// else on the PATH]
    #[arg(long, global = true, value_name = "PROGRAM", env = "RICHCTL_RUNTIME")]
    pub runtime: Option<PathBuf>,
    /// The tenant whose containers are meant
    #[arg(
        long,
        global = true,
        value_name = "NS",
        default_value = "default",
        env = "RICHCTL_NAMESPACE"
    )]
    pub namespace: String,
}

impl Global {
    /// The containers that are meant.
    ///
    /// # Errors
    /// As [`Containers::open`].
    pub fn containers(&self) -> Result<Containers> {
        Containers::open(self.root.as_deref(), &self.namespace, self.runtime.as_deref())
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a container and run it
    Run(Box<run::RunArgs>),
    /// Make a container that does not run yet
    Create(Box<create::CreateArgs>),
    /// Start containers that do not run
    Start(start::StartArgs),
    /// List containers, pods' too
    #[command(visible_alias = "ps")]
    List(list::ListArgs),
    /// Print all that is known of containers, as JSON
    Inspect(inspect::InspectArgs),
    /// Print a container's output
    Logs(logs::LogsArgs),
    /// Wait for the end of containers and print their exit codes
    Wait(wait::WaitArgs),
    /// Connect to a container's streams
    Attach(attach::AttachArgs),
    /// Ask containers to end; kill those that do not
    Stop(stop::StopArgs),
    /// Send a signal to containers
    Kill(kill::KillArgs),
    /// Stop containers and start them anew
    Restart(restart::RestartArgs),
    /// Forget containers
    #[command(visible_alias = "delete")]
    Rm(rm::RmArgs),
    /// Run another process in a container, a pod's too
    Exec(exec::ExecArgs),
    /// List a container's processes
    Top(top::TopArgs),
    /// Show what containers use
    Stats(stats::StatsArgs),
    /// Print what happens to containers
    Events(events::EventsArgs),
    /// Give a container another name
    Rename(rename::RenameArgs),
    /// Set or remove labels of a container
    Label(label::LabelArgs),
    /// Run and look after pods: Kubernetes manifests, or the pod controller's JSON
    Pod(pod::PodArgs),
    /// Images that containers are made of
    Image(image::ImageArgs),
    /// Environments: a git work tree whose programs run in containers
    Env(env::EnvArgs),
}

/// The whole command line, for manual pages and completions.
pub fn whole() -> clap::Command {
    Line::command()
}

/// Reads a line by the tables of the command that it names: those of all commands take a third
/// of a millisecond. What is unusual in it is [`Line`]'s to read, and to refuse.
fn quick(words: &[OsString]) -> Option<Line> {
    let mut rest = words.iter().skip(1);
    let name = loop {
        match rest.next()?.to_str()? {
            "--root" | "--runtime" | "--namespace" => drop(rest.next()?),
            word if !word.starts_with('-') => break word,
            word if word.contains('=') => {}
            _ => return None,
        }
    };
    let command = match name {
        "run" => run::RunArgs::augment_args(Command::new("run")),
        "exec" => exec::ExecArgs::augment_args(Command::new("exec")),
        "list" => list::ListArgs::augment_args(Command::new("list")),
        "inspect" => inspect::InspectArgs::augment_args(Command::new("inspect")),
        _ => return None,
    };
    let line = Global::augment_args(Command::new("richctl")).subcommand(command);
    let mut matches = line.try_get_matches_from(words).ok()?;
    let global = Global::from_arg_matches_mut(&mut matches).ok()?;
    let (name, mut own) = matches.remove_subcommand()?;
    let verb = match name.as_str() {
        "run" => Verb::Run(Box::new(run::RunArgs::from_arg_matches_mut(&mut own).ok()?)),
        "exec" => Verb::Exec(exec::ExecArgs::from_arg_matches_mut(&mut own).ok()?),
        "list" => Verb::List(list::ListArgs::from_arg_matches_mut(&mut own).ok()?),
        _ => Verb::Inspect(inspect::InspectArgs::from_arg_matches_mut(&mut own).ok()?),
    };
    Some(Line { global, verb })
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let line = match quick(&words).map_or_else(|| Line::try_parse_from(&words), Ok) {
        Ok(line) => line,
        Err(said) => {
            let _ = said.print();
            return ExitCode::from(if said.use_stderr() { 125 } else { 0 });
        }
    };
    let global = &line.global;
    let done = match &line.verb {
        Verb::Run(args) => run::run(global, args),
        Verb::Create(args) => create::run(global, args),
        Verb::Start(args) => start::run(global, args),
        Verb::List(args) => list::run(global, args),
        Verb::Inspect(args) => inspect::run(global, args),
        Verb::Logs(args) => logs::run(global, args),
        Verb::Wait(args) => wait::run(global, args),
        Verb::Attach(args) => attach::run(global, args),
        Verb::Stop(args) => stop::run(global, args),
        Verb::Kill(args) => kill::run(global, args),
        Verb::Restart(args) => restart::run(global, args),
        Verb::Rm(args) => rm::run(global, args),
        Verb::Exec(args) => exec::run(global, args),
        Verb::Top(args) => top::run(global, args),
        Verb::Stats(args) => stats::run(global, args),
        Verb::Events(args) => events::run(global, args),
        Verb::Rename(args) => rename::run(global, args),
        Verb::Label(args) => label::run(global, args),
        Verb::Pod(args) => pod::run(global, args),
        Verb::Image(args) => image::run(global, args),
        Verb::Env(args) => env::run(global, args),
    };
    match done {
        Ok(status) => ExitCode::from(status),
        // As a program has it that SIGPIPE ends.
        Err(error) if error.message.ends_with("Broken pipe") && nobody_reads() => {
            ExitCode::from(141)
        }
        Err(error) => {
            eprintln!("richctl: {error}");
            // As engines have it: what run fails with is no exit status of a command's.
            ExitCode::from(if runs(&line.verb) { 125 } else { 1 })
        }
    }
}

/// Whether whoever read what this prints has gone, and knows.
fn nobody_reads() -> bool {
    let (out, err) = (std::io::stdout(), std::io::stderr());
    let mut fds = [PollFd::new(&out, PollFlags::OUT), PollFd::new(&err, PollFlags::OUT)];
    let now = Timespec::default();
    poll(&mut fds, Some(&now)).is_ok()
        && fds.iter().any(|fd| fd.revents().intersects(PollFlags::ERR | PollFlags::HUP))
}

/// Whether a command's exit status may be that of what it runs.
fn runs(verb: &Verb) -> bool {
    match verb {
        Verb::Run(_) | Verb::Env(_) | Verb::Exec(_) => true,
        Verb::Pod(args) => args.runs(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_read_by_one_commands_tables_is_read_as_by_all() {
        let lines = [
            "run --rm ./rootfs true",
            "--root /x run -d --name web -v /a:/b:ro --env K=V ./b httpd -f --root /y",
            "--namespace=ns run -it --restart on-failure:3 --memory 64m oci:a:b -- sh -c x",
            "run --namespace ns --rich ./rootfs",
            "exec -it web sh -c x",
            "exec --user 1:2 --env A=B web ls --help",
            "--runtime /r --root /x list -q --filter label=a --filter name=b",
            "list -A --format json",
            "inspect -f {{.Id}} a b",
        ];
        for line in lines {
            let words: Vec<OsString> =
                std::iter::once("richctl").chain(line.split(' ')).map(OsString::from).collect();
            let ours = quick(&words).unwrap_or_else(|| panic!("{line}: not read"));
            let whole = Line::try_parse_from(&words).unwrap_or_else(|e| panic!("{line}: {e}"));
            assert_eq!(format!("{ours:?}"), format!("{whole:?}"), "{line}");
        }
        for line in ["", "run", "ps", "run --help", "--version", "exec", "list --no-such", "-x run"]
        {
            let words = std::iter::once("richctl").chain(line.split_ascii_whitespace());
            let words: Vec<OsString> = words.map(OsString::from).collect();
            assert!(quick(&words).is_none(), "{line}");
        }
    }
}
