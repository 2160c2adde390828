//! `pod health --listen`: health as JSON over HTTP, figures for Prometheus, and a page.
//!
//! Only reading: GET and HEAD. A request is bounded in size and time, connections in
//! number; each has a thread of its own, and nothing is done while nobody asks. The page asks once a second while it is looked at.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::metrics::metrics;
use super::setup::{self, PodDirs, Setup};
use super::status::PodStatus;
use super::{client, tail};
use crate::error::{At, Error, Kind, Result};
use crate::store::Place;

/// Connections at a time.
const GUESTS: usize = 64;
/// A request's head in bytes, and how long it may take to come.
const LONGEST_HEAD: usize = 8 << 10;
const PATIENCE: Duration = Duration::from_secs(10);
/// Of each log, for the page: lines, and characters of one.
const LINES: usize = 5;
const LONGEST_LINE: usize = 500;

const PAGE: &str = include_str!("page/page.html");
const SCRIPT: &str = include_str!("page/page.js");
const STYLE: &str = include_str!("page/page.css");

/// Whose pods are shown.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The user's directories.
    pub place: Place,
    /// Of this namespace only.
    pub namespace: Option<String>,
}

/// Serves until the listener fails. `address`: `HOST:PORT`, or `unix:PATH`.
///
/// # Errors
/// It cannot listen there.
pub fn serve(address: &str, shown: Shown, listening: impl Fn(&str)) -> Result<()> {
    let shown = Arc::new(shown);
    if let Some(path) = address.strip_prefix("unix:") {
        // A socket that nobody listens at any more is in the way.
        if UnixStream::connect(path).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused) {
            let _ = std::fs::remove_file(path);
        }
        let listener = UnixListener::bind(path).at("listen at", path)?;
        listening(address);
        return welcome(&shown, || listener.accept().map(|(stream, _)| stream));
    }
    let listener = TcpListener::bind(address).at("listen at", address)?;
    let own = listener.local_addr().at("listen at", address)?;
    listening(&format!("http://{own}/"));
    welcome(&shown, || listener.accept().map(|(stream, _)| stream))
}

/// A connection.
trait Guest: Read + Write + Send + 'static {
    fn limit(&self, time: Duration) -> std::io::Result<()>;
    /// Whether a browser may have been led here by a name that is not this host's.
    fn has_host(&self) -> bool;
}

impl Guest for TcpStream {
    fn limit(&self, time: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }

    fn has_host(&self) -> bool {
        true
    }
}

impl Guest for UnixStream {
    fn limit(&self, time: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }

    fn has_host(&self) -> bool {
        false
    }
}

fn welcome<G: Guest>(shown: &Arc<Shown>, accept: impl Fn() -> std::io::Result<G>) -> Result<()> {
    let guests = Arc::new(AtomicUsize::new(0));
    loop {
        let mut guest = match accept() {
            Ok(guest) => guest,
            // Out of descriptors, or gone already: the next one may be luckier.
            Err(_) => {
                thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        if guests.fetch_add(1, Ordering::Relaxed) >= GUESTS {
            let _ = guest.limit(Duration::from_millis(100));
            let _ = guest.write_all(&Answer::text(503, "too many connections\n").bytes(true));
            guests.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (shown, count) = (Arc::clone(shown), Arc::clone(&guests));
        let named = thread::Builder::new().name("guest".into()).stack_size(256 << 10);
        let spawned = named.spawn(move || {
            // Whoever goes away has no answer.
            let _ = receive(guest, &shown);
            count.fetch_sub(1, Ordering::Relaxed);
        });
        if spawned.is_err() {
            guests.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// An answer that is complete.
struct Answer {
    status: u16,
    kind: &'static str,
    body: Vec<u8>,
}

impl Answer {
    fn new(status: u16, kind: &'static str, body: impl Into<Vec<u8>>) -> Answer {
        Answer { status, kind, body: body.into() }
    }

    fn text(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        Answer::new(status, "text/plain; charset=utf-8", body)
    }

    fn json(status: u16, value: &impl serde::Serialize) -> Answer {
        match serde_json::to_vec(value) {
            Ok(body) => Answer::new(status, "application/json", body),
            Err(error) => Answer::text(500, format!("{error}\n")),
        }
    }

    fn bytes(&self, with_body: bool) -> Vec<u8> {
        let mut bytes = head(self.status, self.kind);
        bytes.extend(format!("Content-Length: {}\r\n\r\n", self.body.len()).into_bytes());
        if with_body {
            bytes.extend(&self.body);
        }
        bytes
    }
}

fn head(status: u16, kind: &str) -> Vec<u8> {
    let words = match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    };
    // What is shown comes from containers: nothing of it may become a script.
    format!(
        "HTTP/1.1 {status} {words}\r\nContent-Type: {kind}\r\nConnection: close\r\n\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
         Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; \
         connect-src 'self'; frame-ancestors 'none'\r\n"
    )
    .into_bytes()
}

fn receive(mut guest: impl Guest, shown: &Shown) -> std::io::Result<()> {
    let until = Instant::now() + PATIENCE;
    let mut bytes = Vec::new();
    let mut part = [0; 1024];
    let asked = loop {
        match request(&bytes) {
            Ok(Some(request)) => break Ok(request),
            Ok(None) if bytes.len() >= LONGEST_HEAD => break Err(431),
            Ok(None) => {}
            Err(status) => break Err(status),
        }
        // Each part has what is left of the whole time: a slow one gains nothing.
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break Err(408);
        }
        guest.limit(left)?;
        match guest.read(&mut part) {
            Ok(0) => return Ok(()),
            Ok(length) => bytes.extend_from_slice(&part[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break Err(408),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    };
    guest.limit(PATIENCE)?;
    let (answer, with_body) = match asked {
        Err(status) => (Answer::text(status, "not a request\n"), true),
        Ok(request) if guest.has_host() && !is_own(&request.host) => {
            (Answer::text(421, "ask by address, by localhost or by this host's name\n"), true)
        }
        Ok(request) => (answer(&request.path, shown), request.is_get),
    };
    guest.write_all(&answer.bytes(with_body))
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// GET; else HEAD.
    is_get: bool,
    /// The path without its query.
    path: String,
    /// The Host header.
    host: String,
}

/// Reads a request's head: none while it is not complete, or the status that refuses it.
///
/// # Errors
/// The HTTP status.
pub fn request(bytes: &[u8]) -> Result<Option<Request>, u16> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(bytes) {
        Ok(httparse::Status::Partial) => return Ok(None),
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(431),
        Err(_) => return Err(400),
    }
    let is_get = match parsed.method {
        Some("GET") => true,
        Some("HEAD") => false,
        _ => return Err(405),
    };
    let path = parsed.path.unwrap_or("/").split('?').next().unwrap_or("/").to_owned();
    let host = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case("host"));
    let host = host
        .map_or(String::new(), |header| String::from_utf8_lossy(header.value).trim().to_owned());
    Ok(Some(Request { is_get, path, host }))
}

/// Whether a Host header names this host: a page of somebody else's that had its name
/// point here would read along otherwise.
fn is_own(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let own = rustix::system::uname();
    name.is_empty()
        || name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || own.nodename().to_str().is_ok_and(|own| own.eq_ignore_ascii_case(name))
}

fn answer(path: &str, shown: &Shown) -> Answer {
    let mut parts = path.trim_matches('/').split('/');
    let parts = [parts.next(), parts.next(), parts.next(), parts.next(), parts.next()];
    let all = || known(shown);
    match parts {
        [Some(""), ..] => Answer::new(200, "text/html; charset=utf-8", PAGE),
        [Some("page.js"), None, ..] => Answer::new(200, "text/javascript; charset=utf-8", SCRIPT),
        [Some("page.css"), None, ..] => Answer::new(200, "text/css; charset=utf-8", STYLE),
        [Some("page.json"), None, ..] => Answer::json(200, &picture(shown)),
        [Some("metrics"), None, ..] => {
            Answer::new(200, "text/plain; version=0.0.4; charset=utf-8", metrics(&all()))
        }
        [Some("pods"), None, ..] => Answer::json(200, &all()),
        [Some("healthy"), None, ..] => {
            let healthy = all().iter().all(|pod| pod.healthy);
            let status = if healthy { 200 } else { 503 };
            Answer::json(status, &serde_json::json!({ "healthy": healthy }))
        }
        [Some("pods"), Some(namespace), Some(name), what, None] => {
            one(shown, namespace, name, what)
        }
        _ => Answer::text(
            404,
            "there are /, /pods, /pods/NAMESPACE/NAME[/healthy], /healthy and /metrics\n",
        ),
    }
}

fn one(shown: &Shown, namespace: &str, name: &str, what: Option<&str>) -> Answer {
    // By comparison with what there is: a name of the request never becomes a path.
    let pods = known(shown);
    let found = pods.iter().find(|pod| pod.namespace == namespace && pod.name == name);
    match (found, what) {
        (Some(pod), None) => Answer::json(200, pod),
        (Some(pod), Some("healthy")) => {
            let status = if pod.healthy { 200 } else { 503 };
            Answer::json(status, &serde_json::json!({ "healthy": pod.healthy, "status": pod }))
        }
        _ => Answer::text(404, "no such pod\n"),
    }
}

fn dirs(shown: &Shown) -> Vec<PodDirs> {
    let all = setup::all(&shown.place).into_iter();
    let mine = |namespace: &String| shown.namespace.as_ref().is_none_or(|own| own == namespace);
    let all = all.filter(|(namespace, _)| mine(namespace));
    all.map(|(namespace, name)| PodDirs::of(&shown.place, &namespace, &name)).collect()
}

fn known(shown: &Shown) -> Vec<PodStatus> {
    let all = dirs(shown).into_iter();
    // One that has just gone, or has not begun, is none.
    all.filter_map(|dirs| client::status(&dirs).ok()).collect()
}

/// All pods with the ends of their logs.
fn picture(shown: &Shown) -> serde_json::Value {
    let pods: Vec<serde_json::Value> = dirs(shown).iter().filter_map(pictured).collect();
    pods.into()
}

fn pictured(dirs: &PodDirs) -> Option<serde_json::Value> {
    let mut pod = serde_json::to_value(client::status(dirs).ok()?).ok()?;
    let setup: Setup = dirs.read_setup().ok()?;
    for container in pod["containers"].as_array_mut()? {
        let name = container["name"].as_str()?.to_owned();
        let lines = tail::last_lines(&setup.log_of(&name), LINES).into_iter();
        let lines = lines.map(|line| line.chars().take(LONGEST_LINE).collect::<String>());
        container["log"] = lines.collect::<Vec<_>>().into();
    }
    Some(pod)
}

/// An address that can be listened at.
///
/// # Errors
/// [`Kind::Usage`].
pub fn checked(address: &str) -> Result<()> {
    let tcp = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if tcp || address.starts_with("unix:/") {
        return Ok(());
    }
    let what = format!("--listen {address}: ADDRESS:PORT or unix:/PATH");
    Err(Error::new(Kind::Usage, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_or_refused() {
        let whole = b"GET /pods?x=1 HTTP/1.1\r\nhost: localhost:1\r\n\r\n";
        let read = request(whole).expect("a request").expect("whole");
        assert_eq!(
            (read.is_get, read.path.as_str(), read.host.as_str()),
            (true, "/pods", "localhost:1")
        );
        for end in 0..whole.len() - 1 {
            assert_eq!(request(&whole[..end]), Ok(None), "{end}");
        }
        assert_eq!(request(b"POST / HTTP/1.1\r\n\r\n"), Err(405));
        assert_eq!(request(b"\x00\x01 / HTTP/1.1\r\n\r\n"), Err(400));
        let many = "A: b\r\n".repeat(40);
        assert_eq!(request(format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes()), Err(431));
    }

    #[test]
    fn names_of_this_host_and_no_others() {
        for own in ["localhost", "localhost:80", "127.0.0.1:8080", "[::1]:80", "[::1]", ""] {
            assert!(is_own(own), "{own}");
        }
        for other in ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.x:1"]
        {
            assert!(!is_own(other), "{other}");
        }
    }

    #[test]
    fn addresses() {
        for good in ["127.0.0.1:80", "[::1]:80", "localhost:0", "unix:/run/x"] {
            assert!(checked(good).is_ok(), "{good}");
        }
        for bad in ["", "80", "unix:x", "localhost", "a:b"] {
            assert!(checked(bad).is_err(), "{bad}");
        }
    }
}
