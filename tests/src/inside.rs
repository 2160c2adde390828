//! The probe's commands, run inside containers.

mod hostile;
mod observe;
mod stress;

pub use observe::CALLS;

use std::io::{IoSlice, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

/// Runs one command of the probe.
pub fn main(words: &[String]) -> ExitCode {
    match words.first().map(String::as_str) {
        Some("ioprio") => {
            let value = crate::sys::io_priority();
            println!("{} {}", value >> 13, value & 0x1fff);
        }
        Some("call") => println!("{}", crate::sys::call(words[1].parse().expect("a number"))),
        Some("keyring") => println!("{}", crate::sys::session_keyring()),
        Some("name") => println!("probe"),
        Some("descriptors") => descriptors(&words[1]),
        Some("overwrite") => hostile::overwrite(&words[1]),
        Some("snoop") => hostile::snoop(&words[1]),
        Some("watch") => hostile::watch(&words[1], &words[2], &words[3..]),
        Some("climb") => hostile::climb(&words[1]),
        Some("rights") => hostile::rights(&words[1]),
        Some("kill-all") => hostile::kill_all(&words[1]),
        Some("reap") => hostile::reap(),
        Some("take") => hostile::take(&words[1]),
        Some("follow") => return crate::follow::main(&words[1..]),
        Some("resctrl") => return crate::resctrl::main(&words[1..]),
        Some("headless") => stress::headless(),
        Some("notify") => notify(&words[1..]),
        Some("ask") => ask(&words[1..]),
        Some("observe") => observe::observe(&words[1]),
        Some("idle") => stress::idle(),
        Some("later") => stress::later(&words[1], &words[2]),
        Some("eat") => stress::eat(&words[1]),
        Some("bomb") => stress::bomb(),
        Some("orphans") => stress::orphans(&words[1], words.get(2).is_some_and(|w| w == "at-once")),
        Some("catch") => stress::catch(words.get(1).is_some_and(|word| word == "with-child")),
        _ => return ExitCode::from(2),
    }
    ExitCode::SUCCESS
}

/// Sends each word to `NOTIFY_SOCKET` as a datagram of its own; with `BARRIER=1`
/// goes a pipe's end, and the answer is waited for (sd_notify(3)).
fn notify(words: &[String]) {
    let path = std::env::var("NOTIFY_SOCKET").expect("NOTIFY_SOCKET");
    let socket = UnixDatagram::unbound().expect("socket");
    socket.connect(&path).unwrap_or_else(|error| panic!("connect to {path}: {error}"));
    for word in words {
        if word != "BARRIER=1" {
            socket.send(word.as_bytes()).expect("send");
            continue;
        }
        let (mut ours, theirs) = std::io::pipe().expect("pipe");
        let fds = [theirs.as_fd()];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        let parts = [IoSlice::new(word.as_bytes())];
        rustix::net::sendmsg(&socket, &parts, &mut control, SendFlags::NOSIGNAL).expect("send");
        drop(theirs);
        let end = ours.read(&mut [0]).expect("read the barrier");
        println!("barrier {end}");
    }
}

/// Writes the number and the target of each descriptor of this process into a file.
fn descriptors(file: &str) {
    let mut text = String::new();
    for number in 0..1024 {
        if let Ok(target) = std::fs::read_link(format!("/proc/self/fd/{number}")) {
            text.push_str(&format!("{number} {}\n", target.display()));
        }
    }
    std::fs::write(file, text).expect("write the descriptors");
}

/// Asks the control socket at a path for its services, as the user of that number: prints
/// how many bytes came back, 0 when the other end hung up.
fn ask(words: &[String]) {
    use rustix::net;
    let kind = net::SocketType::SEQPACKET;
    let socket = net::socket(net::AddressFamily::UNIX, kind, None).expect("a socket");
    let address = net::SocketAddrUnix::new(words[0].as_str()).expect("an address");
    if let Some(user) = words.get(1) {
        let user = rustix::process::Uid::from_raw(user.parse().expect("a number"));
        rustix::thread::set_thread_uid(user).expect("become a user");
    }
    net::connect(&socket, &address).expect("connect");
    let _refused = net::send(&socket, &[1, 1, 0, 0], net::SendFlags::NOSIGNAL);
    let mut bytes = [0; 4096];
    println!("{}", net::recv(&socket, &mut bytes, net::RecvFlags::empty()).map_or(0, |got| got.0));
}
