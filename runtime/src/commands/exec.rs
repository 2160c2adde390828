//! `exec`: another process in a container.

use std::os::fd::AsFd;

use super::exec_gate::Waiting;
use super::output::print;
use super::terminal::{self, Terminal};
use super::{descriptors, pid_file};
use crate::cgroup::{Cgroup, CgroupRecord};
use crate::cli::{ExecArgs, Global};
use crate::config::annotations::{KEEP_GROUPS, SECCOMP_BPF_DATA};
use crate::config::file::Settings;
use crate::config::rich::RichMode;
use crate::config::{Config, load_process};
use crate::error::{Error, Kind, Result};
use crate::launch::exec::{ExecOrder, enter, meeting_the_end};
use crate::launch::foreground::{Child, Foreground};
use crate::launch::sync::Word;
use crate::launch::terminal_relay::TerminalRelay;
use crate::launch::{Launched, console, own_image};
use crate::life::{State, Status, Store};
use crate::log;
use crate::plan::annotations;
use crate::plan::cgroup::Place;
use crate::plan::exec::{ExecAsked, ExecPlan};

/// Runs a process in a container; returns its exit status, or 0 with `--detach`.
///
/// The container's lock is not taken: any number of these may run at once,
/// for as long as they like. What is relied on is the init's pidfd.
pub fn run(global: &Global, args: &ExecArgs) -> Result<u8> {
    run_through(global, args).or_else(Foreground::interrupted)
}

fn run_through(global: &Global, args: &ExecArgs) -> Result<u8> {
    let passed = descriptors::passed(args.preserve_fds)?;
    let needed = needed(&args.needs)?;
    own_image::protect()?;
    let store = Store::new(global.root());
    let (state, status) = store.peek(&args.id)?;
    check(status, args.ignore_paused)?;
    if !needed.is_empty() {
        super::service::need(&store, &args.id, &needed)?;
    }
    let init = state.init.ok_or_else(|| refusal(Status::Stopped))?;
    let pidfd = init.pidfd().map_err(|error| error.if_gone(|| refusal(Status::Stopped)))?;
    let config = Config::from_saved(&state.bundle, store.read_config(&args.id)?)?;
    let plan = planned(&config, &state, asked(args, passed.count)?, &passed.env)?;
    plan.warnings.iter().for_each(log::warn);
    if let Some(filter) = &plan.seccomp {
        filter.warnings.iter().for_each(log::warn);
    }
    let wanted = plan.process.terminal;
    let detached = args.detach || args.prepare;
    let Terminal { to, from } =
        terminal::prepare(wanted, detached, args.console_socket.as_deref())?;
    let foreground = if detached { None } else { Some(Foreground::begin(false)?) };
    let cgroup = groups(&state, &args.cgroup)?;
    let waiting = args.prepare.then(|| Waiting::make(&store, &args.id)).transpose()?;
    let order = ExecOrder {
        plan: &plan,
        state: &state,
        init,
        pidfd: pidfd.as_fd(),
        console: to,
        ordinary: !rustix::process::geteuid().is_root(),
        gate: waiting.as_ref().map(Waiting::gate),
    };
    let launched = enter(&order, &cgroup)?;
    drop(order);
    let begun = (|| {
        let master = from.as_ref().map(|from| console::receive_master(from.as_fd())).transpose()?;
        // The terminal has its size and modes before the program can look.
        let relay = TerminalRelay::new(master);
        announce(args, &launched)?;
        match waiting {
            Some(waiting) => {
                waiting.settle(launched.pid)?;
                launched.channel.tell(Word::Wait)?;
                if args.pid_file.is_none() {
                    print(&format!("{}\n", launched.pid))?;
                }
            }
            None => launched.start()?,
        }
        Ok(relay)
    })();
    let relay = begun.map_err(|error| launched.end(meeting_the_end(init, pidfd.as_fd(), error)))?;
    let Some(foreground) = foreground else { return Ok(0) };
    let child = Child { pid: launched.pid, pidfd: launched.pidfd.as_fd(), stop: None };
    foreground.wait(child, relay, None).map(|exit| exit.code)
}

/// The services of `--needs`, each of whose values is a list.
fn needed(lists: &[String]) -> Result<Vec<String>> {
    let names = lists.iter().flat_map(|list| list.split(','));
    let named = |name: &str| match name {
        "" => {
            let words = "exec --needs: a name is empty: name services, with commas between them";
            Err(Error::new(Kind::Usage, words))
        }
        name => Ok(name.to_owned()),
    };
    names.map(named).collect()
}

/// Whether processes can enter a container of this status.
pub(super) fn check(status: Status, ignore_paused: bool) -> Result<()> {
    if status.can_exec(ignore_paused) { Ok(()) } else { Err(refusal(status)) }
}

/// Why they cannot.
pub(super) fn refusal(status: Status) -> Error {
    let words = match status {
        Status::Paused => {
            "cannot exec in a paused container (use --ignore-paused to override)".to_owned()
        }
        other => format!("cannot exec in a {other} container"),
    };
    Error::new(Kind::WrongState, words)
}

/// What is asked for, in this container.
pub(super) fn planned(
    config: &Config,
    state: &State,
    asked: ExecAsked,
    env: &[String],
) -> Result<ExecPlan> {
    let mut plan = ExecPlan::new(config, asked, env)?;
    if state.extras.no_core_dumps {
        plan.process.without_core_dumps();
    }
    // The init of an image gives its payload the groups of config.json.
    let own_init = state.rich.as_ref().is_some_and(|rich| rich.mode != RichMode::DumbInit);
    if [KEEP_GROUPS, SECCOMP_BPF_DATA].iter().any(|name| state.annotations.contains_key(*name)) {
        let allowed = Settings::load()?.annotations.allow;
        // What is to be told was told by who made the container.
        plan.process.user.keep_groups =
            annotations::keeps_groups(&config.spec, &allowed).0 && !own_init;
        if let (Some(filter), _) = annotations::raw_filter(&config.spec, &allowed)? {
            plan.seccomp = Some(filter);
        }
    }
    Ok(plan)
}

/// What the command line says about the process; `descriptors` from 3 on are for it.
pub(super) fn asked(args: &ExecArgs, descriptors: u32) -> Result<ExecAsked> {
    let mut warnings = Vec::new();
    let process =
        args.process.as_ref().map(|path| load_process(path, &mut warnings)).transpose()?;
    warnings.iter().for_each(log::warn);
    if process.is_none() && args.command.is_empty() && !args.serve {
        return Err(Error::new(Kind::Usage, "process args cannot be empty"));
    }
    Ok(ExecAsked {
        process,
        command: args.command.clone(),
        cwd: args.cwd.clone(),
        env: args.env.clone(),
        tty: args.tty,
        user: args.user.map(|user| (user.uid, user.gid)),
        groups: args.additional_gids.clone(),
        label: args.process_label.clone(),
        apparmor: args.apparmor.clone(),
        no_new_privs: args.no_new_privs,
        caps: args.cap.clone(),
        descriptors,
        id: args.id.clone(),
    })
}

/// The container's groups, or those below them that `--cgroup` names.
pub(super) fn groups(state: &State, below: &[String]) -> Result<Cgroup> {
    let Some(record) = &state.cgroup else { return Ok(Cgroup::none()) };
    let mut record = record.clone();
    if let (Some(place), true) = (&mut record.unified, below.is_empty()) {
        follow_init(place, state);
    }
    let id = &state.id;
    for asked in below {
        narrow(&mut record, asked)?;
    }
    let cgroup = Cgroup::open(&record)?;
    let asked = record.v1.len() + usize::from(record.unified.is_some());
    if cgroup.len() == asked {
        return Ok(cgroup);
    }
    // Its process would stay in the caller's.
    Err(match below.is_empty() {
        true => Error::new(Kind::WrongState, format!("a cgroup of container {id} is gone")),
        false => Error::new(Kind::Usage, format!("--cgroup {}: no such cgroup", below.join(" "))),
    })
}

/// An init may move itself below the container's group and hand controllers on, after which
/// nobody may be in the group itself (cgroups(7), "no internal processes"), or be moved anywhere
/// by the host: as with runc, others join it where it is. What its path does not name here (in
/// another cgroup namespace, or removed) is not followed.
fn follow_init(place: &mut Place, state: &State) {
    let Some(init) = state.init else { return };
    let text = std::fs::read_to_string(format!("/proc/{}/cgroup", init.pid)).unwrap_or_default();
    let Some(path) = unified(&text).filter(|path| *path != place.path) else { return };
    let theirs = Place { path: path.to_owned(), ..place.clone() };
    let record = CgroupRecord { unified: Some(theirs.clone()), ..CgroupRecord::default() };
    let holds = |cgroup: Cgroup| cgroup.pids().is_ok_and(|pids| pids.contains(&init.pid));
    if Cgroup::open(&record).is_ok_and(holds) {
        *place = theirs;
    }
}

/// The unified group of a process by its `/proc/PID/cgroup`.
fn unified(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// `[CONTROLLERS:]PATH`: without controllers, in every hierarchy.
fn narrow(record: &mut CgroupRecord, asked: &str) -> Result<()> {
    let (controllers, path) = match asked.split_once(':') {
        Some((controllers, path)) => (Some(controllers), path),
        None => (None, asked),
    };
    let path = path.trim_matches('/');
    if path.split('/').any(|part| part == "..") {
        return Err(Error::new(
            Kind::Usage,
            format!("--cgroup {asked}: leads out of the container's cgroup"),
        ));
    }
    let below = !path.is_empty() && path != ".";
    let add = |place: &mut Place| {
        if below {
            place.path = format!("{}/{path}", place.path.trim_end_matches('/'));
        }
    };
    match controllers {
        None => record.v1.iter_mut().chain(&mut record.unified).for_each(add),
        Some(list) => {
            for controller in list.split(',') {
                let place = record.v1.iter_mut().find(|place| place.has(controller));
                let unknown = || {
                    Error::new(
                        Kind::Usage,
                        format!("--cgroup {asked}: no hierarchy has controller {controller}"),
                    )
                };
                add(place.ok_or_else(unknown)?);
            }
        }
    }
    Ok(())
}

fn announce(args: &ExecArgs, launched: &Launched) -> Result<()> {
    if let Some(path) = &args.pidfd_socket {
        let socket = console::connect("--pidfd-socket", path)?;
        console::send_pidfd(socket.as_fd(), launched.pidfd.as_fd())?;
    }
    args.pid_file.as_ref().map_or(Ok(()), |path| pid_file::write(path, launched.pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_group_is_the_line_of_number_0() {
        let text = "9:name=systemd:/x\n0::/engine/web/init.scope\n";
        assert_eq!(unified(text), Some("/engine/web/init.scope"));
        assert_eq!(unified("9:memory:/x\n"), None);
    }
}
