//! What is said over a monitor's socket: frames of a kind, a length and so many bytes. Pure.

/// Bytes that a frame may carry at most.
pub const MOST: usize = 64 << 10;

/// A frame's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To the monitor: standard input.
    Input,
    /// From it: standard output, or what the terminal shows.
    Output,
    /// From it: standard error.
    Errors,
    /// To it: the terminal's size, rows and columns as two big-endian numbers of 16 bits.
    Resize,
    /// To it: no more input.
    EndOfInput,
    /// From it: the container runs; the text is its first process's id.
    Ready,
    /// From it: that cannot be done; the text says why.
    Error,
    /// From it: the container has ended; the text is the exit as JSON.
    Exit,
    /// To it: a [`Request`], as text.
    Request,
    /// From it: it is done.
    Done,
}

const KINDS: [Kind; 10] = [
    Kind::Input,
    Kind::Output,
    Kind::Errors,
    Kind::Resize,
    Kind::EndOfInput,
    Kind::Ready,
    Kind::Error,
    Kind::Exit,
    Kind::Request,
    Kind::Done,
];

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its kind.
    pub kind: Kind,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// Adds frames with this data to a buffer, as many as it takes; one where there is none.
pub fn put(buffer: &mut Vec<u8>, kind: Kind, data: &[u8]) {
    let number = KINDS.iter().position(|known| *known == kind).unwrap_or_default() as u8;
    let mut rest = data;
    loop {
        let (part, others) = rest.split_at(rest.len().min(MOST));
        buffer.push(number);
        buffer.extend_from_slice(&(part.len() as u32).to_be_bytes());
        buffer.extend_from_slice(part);
        if others.is_empty() {
            return;
        }
        rest = others;
    }
}

/// Takes the first frame out of a buffer; `None` until it is whole.
///
/// # Errors
/// What is no frame: the other side is not one of ours.
pub fn take(buffer: &mut Vec<u8>) -> Result<Option<Frame>, &'static str> {
    let Some((head, rest)) = buffer.split_at_checked(5) else { return Ok(None) };
    let kind = *KINDS.get(usize::from(head[0])).ok_or("a frame of no known kind")?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if length > MOST {
        return Err("a frame that is too long");
    }
    let Some(data) = rest.get(..length) else { return Ok(None) };
    let data = data.to_vec();
    buffer.drain(..5 + length);
    Ok(Some(Frame { kind, data }))
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// To be told of the end.
    Wait,
    /// The streams.
    Attach {
        /// Whether the payload waits for this reader.
        hold: bool,
    },
    /// A signal to the first process.
    Kill(String),
    /// To end: the signal, and the seconds until KILL.
    Stop(Option<String>, Option<u32>),
    /// To end, and to be started anew at once.
    Restart(Option<u32>),
}

impl Request {
    /// As text.
    pub fn text(&self) -> String {
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let number = |value: &Option<u32>| or_dash(value.map(|value| value.to_string()));
        match self {
            Request::Wait => "wait".to_owned(),
            Request::Attach { hold: true } => "attach hold".to_owned(),
            Request::Attach { hold: false } => "attach".to_owned(),
            Request::Kill(signal) => format!("kill {signal}"),
            Request::Stop(signal, seconds) => {
                format!("stop {} {}", or_dash(signal.clone()), number(seconds))
            }
            Request::Restart(seconds) => format!("restart {}", number(seconds)),
        }
    }

    /// From text.
    pub fn parse(text: &[u8]) -> Option<Request> {
        let words: Vec<&str> = std::str::from_utf8(text).ok()?.split(' ').collect();
        let seconds = |word: &str| match word {
            "-" => Some(None),
            number => number.parse().ok().map(Some),
        };
        let signal = |word: &str| (word != "-").then(|| word.to_owned());
        match words[..] {
            ["wait"] => Some(Request::Wait),
            ["attach"] => Some(Request::Attach { hold: false }),
            ["attach", "hold"] => Some(Request::Attach { hold: true }),
            ["kill", name] => Some(Request::Kill(name.to_owned())),
            ["stop", name, time] => Some(Request::Stop(signal(name), seconds(time)?)),
            ["restart", time] => Some(Request::Restart(seconds(time)?)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_whole_and_in_order() {
        let mut buffer = Vec::new();
        put(&mut buffer, Kind::Output, b"abc");
        put(&mut buffer, Kind::Exit, b"");
        put(&mut buffer, Kind::Errors, &vec![7; MOST + 1]);
        let mut arrived = Vec::new();
        let mut found = Vec::new();
        for byte in buffer {
            arrived.push(byte);
            while let Some(frame) = take(&mut arrived).expect("frames") {
                found.push((frame.kind, frame.data.len()));
            }
        }
        let errors = [(Kind::Errors, MOST), (Kind::Errors, 1)];
        assert_eq!(found, [&[(Kind::Output, 3), (Kind::Exit, 0)][..], &errors].concat());
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        assert!(take(&mut b"GET / HTTP/1.1".to_vec()).is_err());
        assert!(take(&mut vec![1, 0xff, 0xff, 0xff, 0xff, 0]).is_err());
        assert_eq!(take(&mut vec![1, 0, 0]), Ok(None));
    }

    #[test]
    fn requests_come_back() {
        for request in [
            Request::Wait,
            Request::Attach { hold: true },
            Request::Attach { hold: false },
            Request::Kill("RTMIN+3".into()),
            Request::Stop(None, Some(3)),
            Request::Stop(Some("INT".into()), None),
            Request::Restart(None),
        ] {
            assert_eq!(Request::parse(request.text().as_bytes()), Some(request));
        }
        for wrong in ["", "wait now", "stop", "stop TERM x", "kill", "attach held"] {
            assert_eq!(Request::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
