//! What a container's sd_notify(3) datagram comes to outside: pure.
//!
//! Nothing of it is passed on as it came. The service manager of the host takes
//! a datagram apart at line feeds and carriage returns, and obeys what it
//! finds there: a main process, descriptors to keep, who else may send. So the
//! few assignments that are the container's to make are recognised and written anew.

use crate::shown::shown;

/// The longest STATUS that goes on, in bytes.
const LONGEST_STATUS: usize = 500;

/// What goes on to the host.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The datagram; empty where there is nothing to say.
    pub text: String,
    /// The container says that it is ready.
    pub ready: bool,
    /// It says what is not to be missed: that it is ready, or stops.
    pub grave: bool,
}

/// Translates a datagram. With readiness goes `main_pid` as the service's process.
pub fn translate(datagram: &[u8], main_pid: Option<i32>) -> Message {
    let mut message = Message::default();
    // As systemd does, the first of several counts.
    let mut seen: Vec<&str> = Vec::new();
    let text = String::from_utf8_lossy(datagram);
    for line in text.split(['\n', '\r', '\0']) {
        let Some((key, value)) = line.split_once('=') else { continue };
        let Some(value) = allowed(key, value) else { continue };
        if seen.contains(&key) {
            continue;
        }
        seen.push(key);
        message.text += &format!("{key}={value}\n");
        message.ready |= key == "READY";
        message.grave |= matches!(key, "READY" | "STOPPING");
    }
    if let (true, Some(pid)) = (message.ready, main_pid) {
        message.text += &format!("MAINPID={pid}\n");
    }
    message
}

/// The value as it goes on, of an assignment that is the container's to make.
fn allowed(key: &str, value: &str) -> Option<String> {
    match (key, value) {
        ("READY" | "STOPPING" | "WATCHDOG", "1") | ("WATCHDOG", "trigger") => {
            Some(value.to_owned())
        }
        ("EXTEND_TIMEOUT_USEC", digits) => digits.parse::<u64>().ok().map(|n| n.to_string()),
        ("STATUS", text) => {
            let text = shown(text);
            let end = (0..=text.len().min(LONGEST_STATUS)).rfind(|at| text.is_char_boundary(*at));
            Some(text[..end.unwrap_or(0)].to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(datagram: &[u8]) -> String {
        translate(datagram, Some(42)).text
    }

    #[test]
    fn only_what_is_the_containers_to_say_goes_on() {
        assert_eq!(
            text(b"MAINPID=7\nSTATUS=up\nFDSTORE=1\nREADY=1\nERRNO=2\n"),
            "STATUS=up\nREADY=1\nMAINPID=42\n"
        );
        assert_eq!(
            text(b"WATCHDOG=1\nEXTEND_TIMEOUT_USEC=007"),
            "WATCHDOG=1\nEXTEND_TIMEOUT_USEC=7\n"
        );
        for nothing in [
            &b"BARRIER=1"[..],
            b"",
            b"READY=2",
            b"STOPPING=1 ",
            b"WATCHDOG_USEC=1",
            b"EXTEND_TIMEOUT_USEC=-1",
            b" READY=1",
            b"ready=1",
            b"NOTIFYACCESS=all",
            b"\xff=1",
        ] {
            assert_eq!(text(nothing), "", "{nothing:?}");
        }
        assert!(!translate(b"STATUS=x", None).grave);
        assert!(translate(b"STOPPING=1", None).grave);
    }

    #[test]
    fn a_line_cannot_hide_in_another() {
        for end in ["\r", "\n", "\r\n", "\0"] {
            let said = format!("STATUS=x{end}MAINPID=4242{end}NOTIFYACCESS=all");
            assert_eq!(text(said.as_bytes()), "STATUS=x\n", "{end:?}");
        }
        // Whatever bytes: each line of what goes on is one that we wrote.
        for byte in 0..=u8::MAX {
            let said = [b"STATUS=a", &[byte][..], b"MAINPID=1"].concat();
            let went = text(&said);
            assert!(went.starts_with("STATUS=a"), "{byte}");
            let lines: Vec<&str> = went.split(['\n', '\r']).collect();
            assert_eq!((lines.len(), lines[1]), (2, ""), "{byte}: {went:?}");
        }
    }

    #[test]
    fn it_is_short_and_says_a_thing_once() {
        let long = format!("STATUS={}\nSTATUS=b\nREADY=1\nREADY=1", "é".repeat(3000));
        let went = text(long.as_bytes());
        assert_eq!(went.matches("READY").count(), 1);
        assert_eq!(went.matches("STATUS").count(), 1);
        assert!(went.len() < 600, "{}", went.len());
    }
}
