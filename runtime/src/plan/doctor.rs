//! What a host can do for containers, and the line to paste for what it cannot: decided from
//! [`Facts`], which `host` reads.

use super::cgroup::layout::Mode;
use super::kernel::{Feature, OLDEST, release};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Good,
    /// Containers run; something that one may want does not.
    Note,
    /// Containers cannot run.
    Bad,
}

impl Level {
    /// The word that is printed.
    pub fn name(self) -> &'static str {
        match self {
            Level::Good => "good",
            Level::Note => "note",
            Level::Bad => "bad",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it concerns: `kernel`, `cgroups`, an engine's name.
    pub area: &'static str,
    /// How it is.
    pub level: Level,
    /// In words.
    pub what: String,
    /// What to paste or to do; several lines where it is a file.
    pub way_out: Option<String>,
}

/// Whether this user can make a user namespace.
#[derive(Debug, Clone, Default)]
pub struct UserNamespaces {
    /// What the kernel said when one was made; `None`: it was.
    pub refused: Option<String>,
    /// `kernel.unprivileged_userns_clone` (Debian) is 0.
    pub switched_off: bool,
    /// `kernel.apparmor_restrict_unprivileged_userns` (Ubuntu) is 1.
    pub restricted: bool,
    /// `user.max_user_namespaces` is 0.
    pub none_allowed: bool,
}

/// Ids beyond a user's own.
#[derive(Debug, Clone, Default)]
pub struct Subordinate {
    /// The user's name, else its number.
    pub user: String,
    /// How many are given in `/etc/subuid` and `/etc/subgid`.
    pub ids: [u64; 2],
    /// Whether `newuidmap` and `newgidmap` are there, and may set maps.
    pub helpers: [Helper; 2],
}

/// A program that sets id maps for ordinary users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Helper {
    /// Not on the PATH.
    #[default]
    Absent,
    /// There, without set-user-ID or the capability.
    Powerless,
    /// There.
    Works,
}

/// An engine that is installed.
#[derive(Debug, Clone)]
pub struct Engine {
    /// Its name.
    pub name: &'static str,
    /// Its program.
    pub program: String,
    /// The file of its that names richrun.
    pub known_in: Option<String>,
    /// Where its settings go.
    pub file: &'static str,
    /// What to write there.
    pub snippet: &'static str,
}

/// What was read of the host.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Where this program is.
    pub program: String,
    /// The effective user.
    pub uid: u32,
    /// Whether this is not the host's superuser.
    pub unprivileged: bool,
    /// uname's release.
    pub release: String,
    /// Features that the kernel lacks; with whether the kernel was asked (else: by release).
    pub absent: Vec<(&'static Feature, bool)>,
    /// How control groups are mounted.
    pub mode: Mode,
    /// Controllers that a container's group can get.
    pub controllers: Vec<String>,
    /// Why a group cannot be made in the own one, where it cannot.
    pub no_group: Option<String>,
    /// Whether systemd runs the host.
    pub systemd: bool,
    /// User namespaces.
    pub user_namespaces: UserNamespaces,
    /// Subordinate ids of an ordinary user.
    pub subordinate: Option<Subordinate>,
    /// Security modules that are active; empty where it cannot be read.
    pub modules: Vec<String>,
    /// Whether the kernel filters system calls.
    pub seccomp: bool,
    /// The state directory, and why it cannot be used, where it cannot.
    pub state: (String, Option<String>),
    /// Engines.
    pub engines: Vec<Engine>,
}

/// What a host should let groups be limited by.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];
/// What lets systemd give an ordinary user its controllers.
const DELEGATE: &str = "mkdir -p /etc/systemd/system/user@.service.d
printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' >/etc/systemd/system/user@.service.d/delegate.conf
systemctl daemon-reload";

/// All findings, in the order in which one would read them.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let mut all = vec![kernel(facts)];
    all.extend(facts.absent.iter().map(|(feature, asked)| absent(feature, *asked)));
    all.extend(cgroups(facts));
    all.extend(user_namespaces(facts));
    all.extend(facts.subordinate.as_ref().map(subordinate));
    all.extend(security(facts));
    all.push(state(facts));
    all.extend(facts.engines.iter().map(|engine| self::engine(engine, &facts.program)));
    all
}

fn finding(area: &'static str, level: Level, what: impl Into<String>) -> Finding {
    Finding { area, level, what: what.into(), way_out: None }
}

fn with(finding: Finding, way_out: impl Into<String>) -> Finding {
    Finding { way_out: Some(way_out.into()), ..finding }
}

fn kernel(facts: &Facts) -> Finding {
    let (major, minor) = OLDEST;
    match release(&facts.release) {
        Some(found) if found < OLDEST => {
            let what = format!("Linux {}: older than {major}.{minor}", facts.release);
            with(finding("kernel", Level::Bad, what), "a newer kernel")
        }
        _ => finding("kernel", Level::Good, format!("Linux {}", facts.release)),
    }
}

fn absent(feature: &Feature, asked: bool) -> Finding {
    let by = if asked { "" } else { " (by the release)" };
    let (name, since) = (feature.name.replace('`', ""), feature.since);
    let what = format!("{name} is absent{by}: since Linux {since}, for {}", feature.used_for);
    // What there is no other way for is refused where it is asked for.
    let without = if feature.without.is_empty() { "nothing else is done" } else { feature.without };
    let what = format!("{what}; without it: {without}").replace('`', "");
    finding("kernel", Level::Note, what)
}

fn cgroups(facts: &Facts) -> Vec<Finding> {
    let layout = match facts.mode {
        Mode::V2 => "v2",
        Mode::Hybrid => "v1, with v2 beside it (hybrid)",
        Mode::V1 => "v1",
        Mode::None => {
            let what = "no control groups are mounted at /sys/fs/cgroup";
            let way_out = "mount -t cgroup2 cgroup2 /sys/fs/cgroup; or richrun --cgroup-manager disabled run ...";
            return vec![with(finding("cgroups", Level::Note, what), way_out)];
        }
    };
    let by = if facts.systemd { ", systemd manages them" } else { "" };
    let mut all = vec![finding("cgroups", Level::Good, format!("{layout}{by}"))];
    if let Some(why) = &facts.no_group {
        let what = format!("no group can be made: {why}: limits cannot be set");
        let way_out = if facts.unprivileged {
            "run under systemd's user manager (a login session; systemd-run --user --scope), or richrun --cgroup-manager disabled run ..."
        } else {
            "mount /sys/fs/cgroup writable, or richrun --cgroup-manager disabled run ..."
        };
        all.push(with(finding("cgroups", Level::Note, what), way_out));
        return all;
    }
    let has = |name: &&str| facts.controllers.iter().any(|found| found == name);
    let missing: Vec<&str> = CONTROLLERS.iter().copied().filter(|name| !has(name)).collect();
    if missing.is_empty() {
        all.push(finding("cgroups", Level::Good, facts.controllers.join(" ")));
    } else {
        let what = format!("no controller {}: its limits are refused", missing.join(" "));
        let lacking = finding("cgroups", Level::Note, what);
        all.push(match facts.unprivileged && facts.systemd {
            true => with(lacking, DELEGATE),
            false => lacking,
        });
    }
    all
}

fn user_namespaces(facts: &Facts) -> Option<Finding> {
    let found = &facts.user_namespaces;
    let Some(why) = &found.refused else {
        return Some(finding("user namespaces", Level::Good, "can be made"));
    };
    let level = if facts.unprivileged { Level::Bad } else { Level::Note };
    let refused = finding("user namespaces", level, format!("cannot be made: {why}"));
    let ways = [
        (found.none_allowed, "sysctl user.max_user_namespaces=15000"),
        (found.switched_off, "sysctl kernel.unprivileged_userns_clone=1"),
        (found.restricted, "sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
    ];
    let ways: Vec<&str> = ways.iter().filter(|(is, _)| *is).map(|(_, way)| *way).collect();
    Some(if ways.is_empty() { refused } else { with(refused, ways.join("\n")) })
}

fn subordinate(found: &Subordinate) -> Finding {
    let [uids, gids] = found.ids;
    let user = &found.user;
    if uids == 0 || gids == 0 {
        let what = format!("{user} has none: its containers have one user and one group");
        let way_out =
            format!("usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}");
        return with(finding("subordinate ids", Level::Note, what), way_out);
    }
    let programs = ["newuidmap", "newgidmap"];
    for (program, helper) in programs.iter().zip(found.helpers) {
        let (why, way_out) = match helper {
            Helper::Works => continue,
            Helper::Absent => ("is not installed", "apt-get install uidmap".to_owned()),
            Helper::Powerless => {
                ("has no right to set id maps", format!("chmod u+s $(command -v {program})"))
            }
        };
        let what = format!("{program} {why}: the ids of {user} cannot be used");
        return with(finding("subordinate ids", Level::Note, what), way_out);
    }
    finding("subordinate ids", Level::Good, format!("{user}: {uids} users, {gids} groups"))
}

fn security(facts: &Facts) -> Vec<Finding> {
    let modules = match facts.modules.is_empty() {
        true => finding(
            "security modules",
            Level::Note,
            "none can be seen (/sys/kernel/security/lsm): labels are refused where none is loaded",
        ),
        false => finding("security modules", Level::Good, facts.modules.join(" ")),
    };
    let filters = match facts.seccomp {
        true => finding("seccomp", Level::Good, "filters can be loaded"),
        false => with(
            finding(
                "seccomp",
                Level::Note,
                "the kernel has none: a configuration with a profile is refused",
            ),
            "a kernel with CONFIG_SECCOMP_FILTER",
        ),
    };
    vec![modules, filters]
}

fn state(facts: &Facts) -> Finding {
    let (directory, wrong) = &facts.state;
    match wrong {
        None => finding("state", Level::Good, directory.as_str()),
        Some(why) => with(
            finding("state", Level::Bad, format!("{directory}: {why}")),
            "richrun --root DIR, or set XDG_RUNTIME_DIR to a directory of your own",
        ),
    }
}

fn engine(engine: &Engine, program: &str) -> Finding {
    match &engine.known_in {
        Some(file) => {
            finding(engine.name, Level::Good, format!("{}: knows richrun ({file})", engine.program))
        }
        None if engine.snippet.is_empty() => {
            finding(engine.name, Level::Good, format!("{}: by the engine below it", engine.program))
        }
        None => {
            let what = format!("{}: does not know richrun; write {}", engine.program, engine.file);
            let snippet = snippet(engine.snippet, program);
            with(finding(engine.name, Level::Note, what), snippet)
        }
    }
}

/// The lines for the program where it is; its second name is a link beside it.
fn snippet(text: &str, program: &str) -> String {
    let (directory, _) = program.rsplit_once('/').unwrap_or_default();
    text.replace("/usr/local/bin/richrun-rich", &format!("{directory}/richrun-rich"))
        .replace("/usr/local/bin/richrun", program)
}

#[cfg(test)]
mod tests;
