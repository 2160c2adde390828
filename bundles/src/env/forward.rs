//! Published ports without pasta: one process that listens on the host and connects in the
//! pod. It carries TCP into the pod, and nothing out of it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::template::{Port, Published};
use crate::error::{At, Error, Kind, Result};

/// How long nobody is let in when there is no room.
const BUSY: Duration = Duration::from_millis(50);

/// Starts the process for a pod whose first process is `pid`, and returns when it listens.
/// It ends with the pod.
///
/// # Errors
/// A port is taken.
pub fn start(program: &Path, pid: i32, ports: &[Published]) -> Result<()> {
    let mut command = Command::new(program);
    command.args(["env", "forward", "--pid", &pid.to_string()]);
    for port in ports {
        let address = port.address.as_deref().unwrap_or("0.0.0.0");
        command.arg(format!("{address}:{}:{}", port.host, port.inside));
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().at("run", program.display())?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut line).at("read from", program.display())?;
    }
    match line.trim() {
        "listening" => Ok(()),
        said => Err(Error::new(Kind::Program, format!("env: publish ports: {said}"))),
    }
}

/// What the process does: listens, enters the pod's network, and carries until the pod
/// ends.
///
/// # Errors
/// It cannot; the starter has read why.
pub fn main(pid: i32, ports: &[String]) -> Result<()> {
    let prepared = prepare(pid, ports);
    let line = prepared.as_ref().err().map_or("listening".to_owned(), Error::to_string);
    println!("{line}");
    io::stdout().flush().at("write", "an answer")?;
    let (pod, listeners) = prepared?;
    for (listener, inside) in listeners {
        thread::spawn(move || {
            for stream in listener.incoming() {
                match stream {
                    Ok(stream) => drop(thread::spawn(move || carry(stream, inside))),
                    // No descriptor is left: some will be.
                    Err(_) => thread::sleep(BUSY),
                }
            }
        });
    }
    let mut fds = [PollFd::new(&pod, PollFlags::IN)];
    while poll(&mut fds, None) == Err(rustix::io::Errno::INTR) {}
    Ok(())
}

type Listeners = Vec<(TcpListener, u16)>;

fn prepare(pid: i32, ports: &[String]) -> Result<(rustix::fd::OwnedFd, Listeners)> {
    let process = Pid::from_raw(pid).ok_or_else(|| Error::usage("env forward: no process"))?;
    let pod = pidfd_open(process, PidfdFlags::empty()).at("find the pod", pid)?;
    let mut listeners = Vec::new();
    for text in ports {
        let port = Port::Text(text.clone()).published()?;
        let address = port.address.as_deref().unwrap_or("0.0.0.0");
        let listener = TcpListener::bind((address, port.host));
        let listener = listener.at("listen at", format_args!("{address}:{}", port.host))?;
        listeners.push((listener, port.inside));
    }
    // The sockets stay where they were made; those to come are the pod's.
    let open = |name: &str| File::open(format!("/proc/{pid}/ns/{name}"));
    if !rustix::process::geteuid().is_root() {
        let user = open("user").at("enter the pod", pid)?;
        let user = move_into_link_name_space(user.as_fd(), Some(LinkNameSpaceType::User));
        user.at("enter the pod", pid)?;
    }
    let net = open("net").at("enter the pod", pid)?;
    let net = move_into_link_name_space(net.as_fd(), Some(LinkNameSpaceType::Network));
    net.at("enter the pod", pid)?;
    Ok((pod, listeners))
}

fn carry(outside: TcpStream, port: u16) {
    let Ok(inside) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return };
    let (Ok(from), Ok(to)) = (outside.try_clone(), inside.try_clone()) else { return };
    let back = thread::spawn(move || copy(inside, outside));
    copy(from, to);
    let _ = back.join();
}

/// One direction, to its end; the other may go on.
fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
