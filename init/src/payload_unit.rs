//! Rich containers whose PID 1 is the image's own init (systemd, /sbin/init): the parts
//! that rich-init plays there.
//!
//! `rich-init --hand-off PROGRAM...` is PID 1 first. It leaves a process behind that holds
//! the container's standard streams, and becomes the init. `rich-init --payload FILE` is
//! what the init starts: it fetches the streams, and runs the payload that FILE describes
//! as ever, but with the payload's own user, rights, directory and environment.
//!
//! `rich-init --stand-in` stands where SysV's init was, which becomes `/sbin/init` anew when
//! it is told to, and has no other end: once there is a status, that is the end.
//!
//! FILE is a row of texts, each ended by a NUL: `1`, directory, uid, gid, groups (with
//! commas), umask (octal, or nothing), no_new_privs (0 or 1), capabilities (five
//! hexadecimal masks with commas: bounding, effective, permitted, inheritable, ambient; or
//! nothing), the file that tells the exit status (or nothing), the signal that then asks
//! PID 1 to end (0: none), the numbers of the following options, arguments and variables,
//! and those.

use crate::identity::{Identity, MAX_GROUPS};
use crate::message::Line;
use crate::options::OWN_FAILURE;
use crate::sys::payload_unit as sys;
use crate::sys::{self as base, Errno, Start};
use crate::time;
use core::ffi::CStr;

/// Where the standard streams are fetched.
pub const STREAMS: &CStr = c"/run/richrun/streams";
/// The exit status, for [`stand_in`].
const STATUS: &CStr = c"/run/richrun/status";
/// The init that [`stand_in`] stands in for.
const INIT: &CStr = c"/run/richrun/init";
/// What FILE says.
pub struct Described {
    /// The command line and environment, as if rich-init had been started with them.
    pub start: Start,
    /// Who the payload is.
    pub identity: Identity,
    /// Where the exit status is written, for an init that does not pass it on.
    pub told: Option<&'static CStr>,
    /// The signal that asks PID 1 to end.
    pub signal: u8,
    /// Standard input is a terminal that is the payload's.
    pub terminal: bool,
}

/// `--hand-off`: becomes the init; returns (an exit status) only when that failed.
pub fn hand_off(start: Start) -> u8 {
    let fail = |what: &str, errno: Errno| {
        Line::new("rich-init").text(what).text(": ").errno(errno).write();
        OWN_FAILURE
    };
    // For the process that stays behind; what is executed here is not bound by it.
    base::refuse_tracing();
    let listener = match sys::listen(STREAMS) {
        Ok(listener) => listener,
        Err(errno) => return fail("listen at /run/richrun/streams", errno),
    };
    // The terminal is the payload's. Whoever leaves it hangs up on its group, which is this
    // process alone by now, and PID 1 takes no harm.
    let terminal = base::leave_terminal().unwrap_or(false);
    match sys::fork() {
        Ok(0) => hold(listener, terminal),
        Ok(_) => {}
        Err(errno) => return fail("clone", errno),
    }
    // The init's streams are nobody's: it tells what it has to tell by its own means.
    let kept = match sys::null_streams() {
        Ok(kept) => kept,
        Err(errno) => return fail("open /dev/null", errno),
    };
    let errno = sys::execute(start, 2);
    sys::restore_error(kept);
    let name = start.arg(2).unwrap_or_default();
    Line::new("rich-init").text("exec ").bytes(name.to_bytes()).text(": ").errno(errno).write();
    if errno == Errno::ENOENT { 127 } else { 126 }
}

/// Holds the standard streams for whoever is root in the container, until it is ended.
fn hold(listener: i32, terminal: bool) -> ! {
    base::set_name(b"rich-streams\0\0\0\0");
    loop {
        if sys::give_streams(listener, terminal).is_err() {
            base::exit(1);
        }
    }
}

/// `--payload FILE`: reads what is to be run, and fetches the standard streams.
///
/// # Errors
/// What to tell, and the errno.
pub fn describe(file: &CStr) -> Result<Described, (&'static str, Errno)> {
    // First of all: what goes wrong is told on them.
    let terminal =
        sys::fetch_streams(STREAMS).map_err(|errno| ("fetch the standard streams", errno))?;
    let text = sys::map_file(file).map_err(|errno| ("read the payload's file", errno))?;
    let described = parse(text).ok_or(("the payload's file is damaged", Errno(22)))?;
    Ok(Described { terminal, ..described })
}

/// The NUL-ended texts of a file, one after the other.
struct Texts(&'static [u8]);

impl Texts {
    fn next(&mut self) -> Option<&'static CStr> {
        let text = CStr::from_bytes_until_nul(self.0).ok()?;
        self.0 = &self.0[text.count_bytes() + 1..];
        Some(text)
    }

    fn number(&mut self) -> Option<usize> {
        usize::try_from(time::number(self.next()?.to_bytes())?).ok()
    }
}

fn parse(text: &'static [u8]) -> Option<Described> {
    let mut texts = Texts(text);
    if texts.next()? != c"1" {
        return None;
    }
    let identity = Identity {
        cwd: texts.next()?,
        uid: u32::try_from(texts.number()?).ok()?,
        gid: u32::try_from(texts.number()?).ok()?,
        groups: groups(texts.next()?.to_bytes())?,
        umask: match texts.next()?.to_bytes() {
            b"" => None,
            digits => Some(u32::try_from(radix(digits, 8)?).ok()?),
        },
        no_new_privs: texts.next()? == c"1",
        caps: match texts.next()?.to_bytes() {
            b"" => None,
            masks => Some(caps(masks)?),
        },
    };
    let told = texts.next().filter(|path| !path.is_empty());
    let signal = u8::try_from(texts.number()?).ok()?;
    let (options, args, env) = (texts.number()?, texts.number()?, texts.number()?);
    // rich-init, its options, `--`, the arguments; the environment; each with its null.
    let argc = options.checked_add(args)?.checked_add(2)?;
    let count = argc.checked_add(env)?.checked_add(3)?;
    if count > text.len() + 16 {
        return None;
    }
    let mut words = sys::Words::new(count)?;
    words.number(argc);
    words.text(Some(c"rich-init"));
    for _ in 0..options {
        words.text(Some(texts.next()?));
    }
    words.text(Some(c"--"));
    for _ in 0..args {
        words.text(Some(texts.next()?));
    }
    words.text(None);
    for _ in 0..env {
        words.text(Some(texts.next()?));
    }
    words.text(None);
    Some(Described { start: words.start(), identity, told, signal, terminal: false })
}

fn groups(list: &[u8]) -> Option<([u32; MAX_GROUPS], usize)> {
    let mut groups = ([0; MAX_GROUPS], 0);
    for digits in list.split(|byte| *byte == b',').filter(|digits| !digits.is_empty()) {
        *groups.0.get_mut(groups.1)? = u32::try_from(time::number(digits)?).ok()?;
        groups.1 += 1;
    }
    Some(groups)
}

fn caps(list: &[u8]) -> Option<[u64; 5]> {
    let mut masks = [0; 5];
    let mut given = list.split(|byte| *byte == b',');
    for mask in &mut masks {
        *mask = radix(given.next()?, 16)?;
    }
    given.next().is_none().then_some(masks)
}

fn radix(digits: &[u8], radix: u32) -> Option<u64> {
    u64::from_str_radix(core::str::from_utf8(digits).ok()?, radix).ok()
}

/// After the payload's end, where the init is one that cannot pass its status on: writes
/// the status and asks PID 1 to end.
pub fn tell_end(told: Option<&CStr>, signal: u8, status: u8) {
    if let Some(path) = told {
        let (digits, from) = sys::digits(status);
        if let Err(errno) = sys::write_file(path, &digits[from..]) {
            Line::new("rich-init").text("write the exit status: ").errno(errno).write();
        }
    }
    if signal != 0 {
        let _ = base::kill(1, signal);
    }
}

/// `--exit-as FILE`: the status that [`tell_end`] wrote; without one, that of a TERM.
pub fn exit_as(file: Option<&CStr>) -> u8 {
    let text = file.and_then(|file| sys::map_file(file).ok());
    let number = text.and_then(|text| {
        let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
        time::number(&text[..end])
    });
    number.and_then(|number| u8::try_from(number).ok()).unwrap_or(143)
}

/// `--stand-in PROGRAM ARGUMENTS`, where PROGRAM is what the init is called: the end of PID 1
/// when there is a status, else the init itself, as ever.
pub fn stand_in(start: Start) -> u8 {
    if base::getpid() == 1 && sys::map_file(STATUS).is_ok() {
        return exit_as(Some(STATUS));
    }
    let errno = sys::execute_file(INIT, start, 2);
    Line::new("rich-init").text("exec /run/richrun/init: ").errno(errno).write();
    126
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One text a line.
    const LINES: &str = "1\n/w d\n1000\n5\n7,8\n022\n1\nff,1,2,0,0\n\n0\n1\n2\n1\n\
                         --grace=3s\ncat\na\"$ %b\nA=x y\n";

    fn text() -> &'static [u8] {
        LINES.replace('\n', "\0").into_bytes().leak()
    }

    #[test]
    fn a_payloads_file_is_read_back() {
        let described = parse(text()).unwrap();
        let identity = described.identity;
        assert_eq!((identity.cwd, identity.uid, identity.gid), (c"/w d", 1000, 5));
        assert_eq!(&identity.groups.0[..identity.groups.1], [7, 8]);
        assert_eq!((identity.umask, identity.no_new_privs), (Some(0o22), true));
        assert_eq!(identity.caps, Some([0xff, 1, 2, 0, 0]));
        let words: Vec<_> = (0..8).map_while(|i| described.start.arg(i)).collect();
        assert_eq!(words, [c"rich-init", c"--grace=3s", c"--", c"cat", c"a\"$ %b"]);
        assert_eq!(described.start.env(0), Some(c"A=x y"));
        assert_eq!(described.start.env(1), None);
        assert!(described.told.is_none() && described.signal == 0);
    }

    #[test]
    fn a_damaged_file_is_refused() {
        for cut in 0..text().len() - 1 {
            assert!(parse(&text()[..cut]).is_none(), "{cut}");
        }
    }
}
