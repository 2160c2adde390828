//! The probe's commands, run inside containers.

use std::process::ExitCode;

/// Runs one command of the probe.
pub fn main(words: &[String]) -> ExitCode {
    match words.first().map(String::as_str) {
        Some("ioprio") => {
            let value = crate::sys::io_priority();
            println!("{} {}", value >> 13, value & 0x1fff);
        }
        Some("keyring") => println!("{}", crate::sys::session_keyring()),
        Some("name") => println!("probe"),
        Some("notify") => notify(&words[1..]),
        Some("ask") => ask(&words[1..]),
        _ => return ExitCode::from(2),
    }
    ExitCode::SUCCESS
}

/// sd_notify(3): sends each word as a message.
fn notify(words: &[String]) {
    let path = std::env::var("NOTIFY_SOCKET").expect("NOTIFY_SOCKET");
    let socket = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
    for word in words {
        socket.send_to(word.as_bytes(), &path).expect("send a notification");
    }
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
