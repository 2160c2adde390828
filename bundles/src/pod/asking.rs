//! Probes and hooks as they are carried out.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::thread::LinkNameSpaceType;

use super::model::Handler;
use super::plugin::Container;
use crate::error::{At, Error, Kind, Result};

/// How much of an answer is taken in, as with Kubernetes.
const LONGEST_ANSWER: usize = 10 << 10;
/// How long a status line may be.
const LONGEST_LINE: usize = 4 << 10;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It comes again and again.
    Probe,
    /// It is carried out once.
    Hook,
}

/// Asks once. To be called in a thread of its own: it may enter a network namespace, and
/// a thread does not come back from there.
///
/// # Errors
/// Why the answer is no.
pub fn ask(
    container: &dyn Container,
    handler: &Handler,
    limit: Duration,
    purpose: Purpose,
) -> Result<()> {
    let run = |words: &[String]| match purpose {
        Purpose::Probe => container.probe(words, limit),
        Purpose::Hook => container.exec(words, limit),
    };
    match handler {
        Handler::Sleep(seconds) => {
            std::thread::sleep(Duration::from_secs(*seconds).min(limit));
            Ok(())
        }
        Handler::Exec(words) => match run(words)? {
            0 => Ok(()),
            status => Err(Error::new(Kind::Program, format!("exit status {status}"))),
        },
        Handler::Tcp { host, port } => connect(container, host.as_deref(), *port, limit).map(drop),
        Handler::Http { host, port, path, headers } => {
            let until = Instant::now() + limit;
            let stream = connect(container, host.as_deref(), *port, limit)?;
            let host = host.as_deref().unwrap_or("localhost");
            let request = request(host, *port, path, headers);
            http(stream, &request, until)
        }
    }
}

fn connect(
    container: &dyn Container,
    host: Option<&str>,
    port: u16,
    limit: Duration,
) -> Result<TcpStream> {
    if let Some(file) = container.network() {
        enter(&file)?;
    }
    let name = host.unwrap_or("localhost");
    let addresses: Vec<SocketAddr> = match host {
        // Where nothing else is said both of the pod's own are tried: services bind to either.
        None => vec![([127, 0, 0, 1], port).into(), (std::net::Ipv6Addr::LOCALHOST, port).into()],
        Some(host) => (host, port).to_socket_addrs().at("look up", name)?.collect(),
    };
    let until = Instant::now() + limit;
    let mut last = Error::new(Kind::NotFound, format!("{name}: no address"));
    for address in addresses {
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&address, left).at("connect to", address) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn enter(file: &Path) -> Result<()> {
    let namespace = std::fs::File::open(file).at("open", file.display())?;
    let kind = Some(LinkNameSpaceType::Network);
    rustix::thread::move_into_link_name_space(namespace.as_fd(), kind).at("enter", file.display())
}

fn request(host: &str, port: u16, path: &str, headers: &[(String, String)]) -> String {
    let own = |name: &str| headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
    let mut text = format!("GET {path} HTTP/1.1\r\n");
    if !own("host") {
        text += &format!("Host: {host}:{port}\r\n");
    }
    if !own("user-agent") {
        text += "User-Agent: kube-probe/richctl\r\n";
    }
    if !own("accept") {
        text += "Accept: */*\r\n";
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text + "Connection: close\r\n\r\n"
}

/// Sends the request and looks at the status line; 200 to 399 is good.
fn http(mut stream: TcpStream, request: &str, until: Instant) -> Result<()> {
    let wait = |stream: &TcpStream| -> Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::new(Kind::Program, "no answer in time"));
        }
        stream.set_read_timeout(Some(left)).at("set", "a time limit")?;
        stream.set_write_timeout(Some(left)).at("set", "a time limit")
    };
    wait(&stream)?;
    stream.write_all(request.as_bytes()).at("ask", "over HTTP")?;
    let mut answer = Vec::new();
    let mut part = [0; 1024];
    while !answer.contains(&b'\n') {
        wait(&stream)?;
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&part[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(Error::new(Kind::Program, "no answer in time"));
            }
            Err(error) => return Err(error).at("read", "the answer"),
        }
        if answer.len() > LONGEST_LINE {
            break;
        }
    }
    let status = status_of(&answer)?;
    // Some of the rest is taken in, so that the other side need not see a reset.
    let mut taken = answer.len();
    while taken < LONGEST_ANSWER && wait(&stream).is_ok() {
        match stream.read(&mut part) {
            Ok(length) if length > 0 => taken += length,
            _ => break,
        }
    }
    match status {
        200..=399 => Ok(()),
        other => Err(Error::new(Kind::Program, format!("HTTP status {other}"))),
    }
}

/// The status of an answer's first line.
fn status_of(answer: &[u8]) -> Result<u16> {
    let line = answer.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_ascii_whitespace();
    let http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    let status = words.next().filter(|word| http && word.len() == 3).and_then(|w| w.parse().ok());
    status.ok_or_else(|| Error::new(Kind::Program, "the answer is not HTTP"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_decides() {
        assert_eq!(status_of(b"HTTP/1.1 204 No Content\r\n").ok(), Some(204));
        assert_eq!(status_of(b"HTTP/1.0 503\r\n").ok(), Some(503));
        for odd in [&b""[..], b"HTTP/1.1\r\n", b"HTTP/1.1 20 x\n", b"SSH-2.0 200\n", b"HTTP/2 200"]
        {
            assert!(status_of(odd).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn a_request_has_its_own_headers_once() {
        let headers = [("Host".to_owned(), "a".to_owned()), ("X".to_owned(), "1".to_owned())];
        let text = request("b", 80, "/x", &headers);
        assert_eq!(text.matches("Host:").count(), 1);
        assert!(text.starts_with("GET /x HTTP/1.1\r\n") && text.ends_with("\r\n\r\n"));
    }
}
