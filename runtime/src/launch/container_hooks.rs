//! createContainer hooks where the first process cannot run them: its children are born among
//! others already (`launch::last`), who might see in them what is the host's still.

use std::os::fd::AsFd;

use rich_hooks::Phase;

use super::child::{hear_of_the_end, join_groups};
use super::intermediate::{attach_self, into_cgroup, see_the_end_of, tell_and_end};
use super::sync::{ChildEnd, Conversation, News, RuntimeEnd};
use super::{Launched, Order, join};
use crate::cgroup::Cgroup;
use crate::error::{Error, Result, Step};
use crate::life::State;
use crate::life::hooks::{self, Place};
use crate::sys::clone::Cloned;
use crate::sys::{arguments, interrupt, process, signals};

/// Runs them in the namespaces and groups of the first process, by one of the runtime's children.
///
/// # Errors
/// A hook's; what keeps them from being run.
pub fn run(order: &Order<'_>, cgroup: &Cgroup, launched: &Launched, state: &State) -> Result<()> {
    if !hooks::any(&order.plan.hooks, &[Phase::CreateContainer]) {
        return Ok(());
    }
    let mut groups = cgroup.join_files()?;
    let conversation = Conversation::new()?;
    let (cloned, outside) = into_cgroup(0, cgroup, &mut groups)?;
    match cloned {
        Cloned::Child => {
            let channel = conversation.of_child();
            let ran = (|| {
                hear_of_the_end()?;
                if outside {
                    attach_self(cgroup)?;
                }
                join_groups(&groups)?;
                run_there(order, launched, state, &channel)
            })();
            tell_and_end(&channel, &ran.map_or_else(News::Failed, |()| News::Ready))
        }
        Cloned::Parent(_, pidfd) => {
            let ran = follow(&conversation.of_runtime());
            if ran.is_err() {
                // It has ended, or is to.
                let _gone = signals::send(pidfd.as_fd(), libc::SIGKILL);
            }
            ran.and(see_the_end_of(&pidfd))
        }
    }
}

fn follow(channel: &RuntimeEnd) -> Result<()> {
    loop {
        match channel.listen()? {
            News::Ready => return Ok(()),
            News::Failed(error) => return Err(error),
            News::Said(line) => crate::log::debug(|| line),
            _ => return Err(Error::system("the process that runs createContainer hooks died")),
        }
    }
}

fn run_there(
    order: &Order<'_>,
    launched: &Launched,
    state: &State,
    channel: &ChildEnd,
) -> Result<()> {
    let plan = order.plan;
    crate::log::collect();
    interrupt::ignore();
    process::reset_signals();
    rustix::process::setsid().step(|| "setsid")?;
    arguments::wipe();
    join::of_process(launched.pid, launched.pidfd.as_fd(), &join::foreign(launched.pid)?)?;
    join::become_root(&plan.namespaces, &plan.process.user)?;
    process::forbid_tracing().step(|| "become untraceable")?;
    // Without a runtime the next word will fail.
    let tell = |line| drop(channel.report(&News::Said(line)));
    let cwd = Some(plan.root.path.as_path());
    let place = Place { cwd, tell: Some(&tell), ..Place::default() };
    Ok(hooks::run_in(Phase::CreateContainer, &plan.hooks, state, launched.pid, place)?)
}
