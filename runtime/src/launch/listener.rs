//! Handing a seccomp listener to the agent that answers for it
//! (runtime-spec config-linux.md, "The Container Process State").

use std::os::fd::AsFd;

use super::{Launched, Order, console};
use crate::error::{Error, Result, Step};
use crate::life::State;
use crate::plan::seccomp::Filter;
use crate::sys::process;

/// Takes listener `fd` of the first process and sends it, with the container
/// process state, to the agent.
pub fn hand_over(order: &Order<'_>, launched: &Launched, fd: i32) -> Result<()> {
    send(
        order.plan.seccomp.as_ref(),
        order.state,
        "creating",
        launched.pid,
        launched.pidfd.as_fd(),
        fd,
    )
}

/// As [`hand_over`], for any process of the container.
pub fn send(
    filter: Option<&Filter>,
    state: &State,
    status: &str,
    pid: i32,
    pidfd: std::os::fd::BorrowedFd<'_>,
    fd: i32,
) -> Result<()> {
    let agent = filter.and_then(|filter| filter.listener.as_ref());
    let agent = agent.ok_or_else(|| Error::system("a seccomp listener that nobody asked for"))?;
    let listener = process::take_fd(pidfd, fd).step(|| "take the seccomp listener")?;
    let document = serde_json::json!({
        "ociVersion": state.oci_version,
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": agent.metadata,
        "state": {
            "ociVersion": state.oci_version,
            "id": state.id,
            "status": status,
            "pid": state.init.map_or(pid, |init| init.pid),
            "bundle": state.bundle,
            "annotations": state.annotations,
        },
    });
    let socket = console::connect("linux.seccomp.listenerPath", &agent.path)?;
    console::send(socket.as_fd(), document.to_string().as_bytes(), listener.as_fd())
        .step(|| "linux.seccomp.listenerPath: send the listener")
}
