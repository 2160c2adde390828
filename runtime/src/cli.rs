//! The command line: argv to a [`Global`] and a [`Verb`], nothing else.
//!
//! Only the command that was asked for is built: the whole tree costs several
//! times as much as reading the line, and a runtime is started very often.

mod args;
mod criu;
mod hooks_args;
mod mounts;
pub mod pages;
mod quick;
mod services;
mod spelling;
mod update;
pub mod values;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Args, Command, FromArgMatches};

pub use args::*;
pub use criu::*;
pub use hooks_args::*;
pub use mounts::*;
pub use services::*;
pub use update::*;

use crate::error::{Error, Kind};
use spelling::Until;

/// The version of the runtime specification that is implemented.
pub const SPEC_VERSION: &str = "1.3.0";

/// Lists the commands once: the enum, the builders and the names follow.
macro_rules! verbs {
    ($($(#[$doc:meta])* $name:literal $variant:ident($args:ty) $until:ident;)*) => {
        /// A command with its options.
        #[derive(Debug, Clone)]
        pub enum Verb { $($(#[$doc])* $variant($args)),* }

        /// Every command's name, in the order in which help lists them.
        pub const VERBS: &[&str] = &[$($name),*];

        /// The options of one command, as clap has them.
        fn build(name: &str) -> Option<(Command, Until)> {
            match name {
                $($name => Some((<$args>::augment_args(describe($name)), Until::$until)),)*
                _ => None,
            }
        }

        fn read(name: &str, command: Command, words: Vec<OsString>) -> Result<Verb, clap::Error> {
            let mut matches = command.try_get_matches_from(words)?;
            match name {
                $($name => Ok(Verb::$variant(<$args>::from_arg_matches_mut(&mut matches)?)),)*
                _ => Err(clap::Error::new(ErrorKind::InvalidSubcommand)),
            }
        }

        impl Verb {
            /// The command's name.
            pub fn name(&self) -> &'static str {
                match self { $(Verb::$variant(_) => $name),* }
            }
        }
    };
}

verbs! {
    /// Set up a container.
    "create" Create(CreateArgs) End;
    /// Start what `create` made.
    "start" Start(StartArgs) End;
    /// Create, start and wait.
    "run" Run(RunArgs) End;
    /// Run another process in a container.
    "exec" Exec(ExecArgs) FirstArgument;
    /// Signal a container's init.
    "kill" Kill(KillArgs) End;
    /// Ask a container to end.
    "stop" Stop(StopArgs) End;
    /// Wait for a container's end.
    "wait" Wait(WaitArgs) End;
    /// Freeze a container.
    "pause" Pause(PauseArgs) End;
    /// Thaw a container.
    "resume" Resume(ResumeArgs) End;
    /// Write a container to images on disk.
    "checkpoint" Checkpoint(CheckpointArgs) End;
    /// Make a container of such images.
    "restore" Restore(RestoreArgs) End;
    /// Change a container's limits.
    "update" Update(UpdateArgs) End;
    /// Mount and unmount in a running container.
    "mounts" Mounts(MountsArgs) End;
    /// Remove a container.
    "delete" Delete(DeleteArgs) End;
    /// Print all that is known of a container.
    "inspect" Inspect(InspectArgs) End;
    /// Print a container's state.
    "state" State(StateArgs) End;
    /// List containers.
    "list" List(ListArgs) End;
    /// List a container's processes.
    "ps" Ps(PsArgs) FirstArgument;
    /// Run, list and check hooks.
    "hooks" Hooks(HooksArgs) End;
    /// Say what is wrong with a bundle.
    "check" Check(CheckArgs) End;
    /// Write a configuration to start from.
    "spec" Spec(SpecArgs) End;
    /// Look at and steer a rich container's services.
    "service" Service(ServiceArgs) End;
    /// Print a rich container's health.
    "health" Health(HealthArgs) End;
    /// Print what happens to a rich container's services.
    "events" Events(EventsArgs) End;
    /// Print what is supported.
    "features" Features(FeaturesArgs) End;
    /// Say what this host can do.
    "doctor" Doctor(DoctorArgs) End;
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Asked {
    /// Run a command.
    Run(Box<Verb>),
    /// Print this text on standard output and succeed.
    Print(String),
}

/// A command line that cannot be run; `status` is the exit status.
#[derive(Debug)]
pub struct Refusal {
    /// One line for the log.
    pub error: Error,
    /// The exit status: 1, or runc's 3 for an unknown command.
    pub status: u8,
}

/// Reads a command line (without the program's own name). The global options
/// come back also when the rest is refused: they say where to log.
pub fn parse(words: &[OsString]) -> (Global, Result<Asked, Refusal>) {
    match quick::read(words) {
        Some((global, verb)) => (global, Ok(Asked::Run(Box::new(verb)))),
        None => parse_with_clap(words),
    }
}

fn parse_with_clap(words: &[OsString]) -> (Global, Result<Asked, Refusal>) {
    let command = Global::augment_args(Command::new("richrun"));
    let command = command.disable_help_flag(true).args_override_self(true);
    let (mut line, read) = spelling::to_gnu(&command, words, Until::FirstArgument);
    if let Some(length) = help_asked(&line) {
        return (Global::default(), Ok(Asked::Print(help(&mut whole(), length))));
    }
    if line.iter().any(|word| word == "--version" || word == "-v") {
        return (Global::default(), Ok(Asked::Print(version())));
    }
    line.insert(0, "richrun".into());
    let where_to_log = log_options(&line);
    let global = command
        .try_get_matches_from(line)
        .and_then(|mut matches| Global::from_arg_matches_mut(&mut matches));
    match global {
        Ok(global) => {
            let rest = words[read..].strip_prefix(&["--".into()]).unwrap_or(&words[read..]);
            (global, parse_verb(rest))
        }
        Err(error) => (where_to_log, Err(refusal("", &error))),
    }
}

/// Where to log, by options of which others may be wrong: who reads the log is told of it.
fn log_options(line: &[OsString]) -> Global {
    let mut global = Global::default();
    for word in line.iter().filter_map(|word| word.to_str()) {
        match word.split_once('=') {
            Some(("--log", file)) => global.log = Some(file.into()),
            Some(("--log-format", "json")) => global.log_format = LogFormat::Json,
            _ => global.debug |= word == "--debug",
        }
    }
    global
}

/// How much of a page is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    /// `-h`: what there is, a line each.
    Short,
    /// `--help`: with explanations and examples.
    Long,
}

fn help_asked(line: &[OsString]) -> Option<Length> {
    let has = |option: &str| line.iter().any(|word| word == option);
    let short = || has("-h").then_some(Length::Short);
    has("--help").then_some(Length::Long).or_else(short)
}

fn parse_verb(words: &[OsString]) -> Result<Asked, Refusal> {
    let Some((name, rest)) = words.split_first() else {
        return Ok(Asked::Print(help(&mut whole(), Length::Long)));
    };
    let name = name.to_string_lossy();
    let Some((command, until)) = build(&name) else {
        return match &*name {
            "help" | "h" => help_on(rest, Length::Long),
            _ => Err(unknown(&name)),
        };
    };
    if command.has_subcommands() {
        return parse_nested(command, words);
    }
    let (mut line, read) = spelling::to_gnu(&command, rest, until);
    if let Some(length) = help_asked(&line) {
        return help_on(&words[..1], length);
    }
    if read < rest.len() {
        // Everything from the first argument on is arguments; a `--` between
        // ID and the command is a habit from elsewhere.
        let tail = rest[read..].strip_prefix(&["--".into()]).unwrap_or(&rest[read..]);
        line.push("--".into());
        if let Some((id, tail)) = tail.split_first() {
            line.push(id.clone());
            line.extend_from_slice(tail.strip_prefix(&["--".into()]).unwrap_or(tail));
        }
    }
    line.insert(0, words[0].clone());
    match self::read(&name, command, line) {
        Ok(verb) => Ok(Asked::Run(Box::new(verb))),
        Err(error) => Err(refusal(&name, &error)),
    }
}

/// A command that has commands of its own: `words` are its name, the inner one's
/// name, and that one's options.
fn parse_nested(command: Command, words: &[OsString]) -> Result<Asked, Refusal> {
    let outer = words[0].to_string_lossy();
    let Some((name, rest)) = words[1..].split_first() else {
        return help_on(&words[..1], Length::Long);
    };
    let inner = name.to_string_lossy();
    let Some(nested) = command.find_subcommand(&*inner) else {
        return match &*inner {
            "help" | "h" => help_on(&[&words[..1], rest].concat(), Length::Long),
            "--help" | "-help" => help_on(&words[..1], Length::Long),
            "-h" => help_on(&words[..1], Length::Short),
            _ => Err(unknown(&format!("{outer} {inner}"))),
        };
    };
    let (line, _) = spelling::to_gnu(nested, rest, Until::End);
    if let Some(length) = help_asked(&line) {
        return help_on(&words[..2], length);
    }
    let line = [&words[..2], &line].concat();
    match read(&outer, command, line) {
        Ok(verb) => Ok(Asked::Run(Box::new(verb))),
        Err(error) => Err(refusal(&format!("{outer} {inner}"), &error)),
    }
}

/// The help of a command, or of a command's command.
fn help_on(names: &[OsString], length: Length) -> Result<Asked, Refusal> {
    let Some(first) = names.first() else { return Ok(Asked::Print(help(&mut whole(), length))) };
    let first = first.to_string_lossy();
    let Some((command, _)) = build(&first) else { return Err(unknown(&first)) };
    let mut command = with_pages(&first, command);
    let Some(second) = names.get(1).filter(|_| command.has_subcommands()) else {
        return Ok(Asked::Print(help(&mut command, length)));
    };
    let name = format!("{first} {}", second.to_string_lossy());
    match command.find_subcommand_mut(second) {
        Some(nested) => {
            let mut nested = nested.clone().bin_name(format!("richrun {name}"));
            Ok(Asked::Print(help(&mut nested, length)))
        }
        None => Err(unknown(&name)),
    }
}

fn unknown(name: &str) -> Refusal {
    let message = format!("unknown command '{name}' (see 'richrun --help')");
    Refusal { error: Error::new(Kind::Usage, message), status: 3 }
}

/// A command without its words: enough to read a line.
fn describe(name: &'static str) -> Command {
    let command = Command::new(name).bin_name(format!("richrun {name}"));
    command.disable_help_flag(true).args_override_self(true)
}

/// The same with all that help shows, of its own commands too.
fn with_pages(name: &str, command: Command) -> Command {
    let nested: Vec<String> =
        command.get_subcommands().map(|nested| nested.get_name().to_owned()).collect();
    let command = with_page(command, pages::page(name));
    nested.into_iter().fold(command, |command, inner| {
        command.mut_subcommand(&inner, |nested| {
            with_page(nested, pages::page(&format!("{name} {inner}")))
        })
    })
}

/// The same with all that help shows.
fn with_page(command: Command, page: &pages::Page) -> Command {
    command
        .disable_help_flag(false)
        .disable_help_subcommand(true)
        .about(page.about)
        .long_about(format!("{}\n\n{}", page.about, page.long))
        .after_long_help(page.examples)
}

/// The whole command line as clap has it: for help, man pages, completions.
pub fn whole() -> Command {
    let mut command =
        Global::augment_args(Command::new("richrun").version(env!("CARGO_PKG_VERSION")));
    for name in VERBS {
        if let Some((verb, _)) = build(name) {
            command = command.subcommand(with_pages(name, verb));
        }
    }
    // runc's letter is `-v`, clap's own would be `-V`.
    let version = Arg::new("version").short('v').long("version").action(ArgAction::Version);
    with_page(command, &pages::TOP)
        .subcommand_required(true)
        .disable_version_flag(true)
        .arg(version.help("Print version"))
}

fn help(command: &mut Command, length: Length) -> String {
    let text = match length {
        Length::Short => command.render_help(),
        Length::Long => command.render_long_help(),
    };
    text.to_string()
}

/// What `--version` prints; go-runc reads the words `version`, `commit:` and
/// `spec:`.
pub fn version() -> String {
    let (number, commit) = (env!("CARGO_PKG_VERSION"), commit().unwrap_or("unknown"));
    format!("richrun version {number}\ncommit: {commit}\nspec: {SPEC_VERSION}\n")
}

/// The commit that was built, where the builder said (`RICHRUN_COMMIT`; the
/// Makefile does).
pub fn commit() -> Option<&'static str> {
    option_env!("RICHRUN_COMMIT").filter(|commit| !commit.is_empty())
}

/// clap's error in one line.
fn refusal(verb: &str, error: &clap::Error) -> Refusal {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    let mut message = String::new();
    if !verb.is_empty() {
        message.push_str(&format!("{verb}: "));
    }
    message.push_str(&first.split_whitespace().collect::<Vec<_>>().join(" "));
    if let Some(ContextValue::String(near)) = error.get(ContextKind::SuggestedArg) {
        message.push_str(&format!("; is it '{near}'?"));
    }
    let of = if verb.is_empty() { String::new() } else { format!(" {verb}") };
    message.push_str(&format!(" (see 'richrun{of} --help')"));
    // runc reads the values of exec's options late, and exits as exec does.
    let late = verb == "exec" && error.kind() == ErrorKind::ValueValidation;
    Refusal { error: Error::new(Kind::Usage, message), status: if late { 255 } else { 1 } }
}

impl Global {
    /// Where state is kept: `--root`, else `/run/richrun`, else, for an
    /// ordinary user, `richrun` under `XDG_RUNTIME_DIR` or `/run/user/UID`.
    pub fn root(&self) -> PathBuf {
        if let Some(root) = &self.root {
            return std::path::absolute(root).unwrap_or_else(|_| root.clone());
        }
        let user = rustix::process::geteuid();
        let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
        match own {
            Some(dir) if !user.is_root() || is_mapped_root() => PathBuf::from(dir).join("richrun"),
            None if !user.is_root() => {
                PathBuf::from(format!("/run/user/{}/richrun", user.as_raw()))
            }
            _ => PathBuf::from("/run/richrun"),
        }
    }

    /// Whether `root()` was chosen in the user's runtime directory, which
    /// clean-up services empty unless the sticky bit says otherwise.
    pub fn root_is_users(&self) -> bool {
        self.root.is_none() && self.root() != std::path::Path::new("/run/richrun")
    }
}

/// Root by a user namespace's mapping, with another user's environment.
fn is_mapped_root() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let whole = map.split_whitespace().eq(["0", "0", "4294967295"]);
    !whole && std::env::var_os("USER").is_none_or(|user| user != "root")
}

#[cfg(test)]
mod tests;
