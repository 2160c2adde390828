//! What PID 1 is asked to do: the options, their defaults, and how each is written.

use crate::dialect::Dialect;
use crate::signals::{self, SignalSet};
use crate::time::{self, FOREVER, Millis};

/// Exit status when rich-init itself fails; a payload that cannot be executed is 126 or 127.
pub const OWN_FAILURE: u8 = 125;
/// Where the payload is looked for when PATH is not set.
pub const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The arguments and the environment, wherever they come from.
pub trait Words {
    /// Argument `i`, 0 being the program's name.
    fn word(&self, i: usize) -> Option<&[u8]>;
    /// The value of an environment variable.
    fn variable(&self, name: &[u8]) -> Option<&[u8]>;
}

/// The session or group in which the payload starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// Its own session, which takes over the terminal.
    New,
    /// Its own group in the same session, in the terminal's foreground.
    Group,
    /// Those of rich-init.
    Keep,
}

/// Who gets a forwarded signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The payload alone.
    Child,
    /// The payload's process group.
    Group,
    /// Every descendant, those in sessions of their own too.
    All,
}

/// Everything that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whose command line this is.
    pub dialect: Dialect,
    /// Where the payload's session or group comes from.
    pub session: Session,
    /// Who gets forwarded signals.
    pub target: Target,
    /// What each signal (by number) is forwarded as; 0 drops it.
    pub rewrite: [u8; 65],
    /// Signals that keep their default meaning for rich-init itself.
    pub uncaught: SignalSet,
    /// Whether rich-init itself stops with TSTP, TTIN and TTOU, after forwarding.
    pub stops_itself: bool,
    /// What each exit status of the payload becomes.
    pub exit_map: [u8; 256],
    /// How long descendants may go on undisturbed after the payload has ended.
    pub linger: Millis,
    /// How long they may take after the TERM that follows.
    pub grace: Millis,
    /// How long the payload may take after a stop request, before it is killed.
    pub stop_timeout: Millis,
    /// How long a TERM is held back before it is forwarded.
    pub delay_term: Millis,
    /// The group gets a last TERM when the payload has ended and nobody is waited for.
    pub last_term: bool,
    /// Become the parent of orphans when not PID 1.
    pub subreaper: bool,
    /// The signal to get when the parent dies; 0 for none.
    pub parent_death_signal: u8,
    /// How much to say on standard error; 0 only what cannot be left unsaid.
    pub verbosity: u8,
    /// Exit status for a payload that is not found, and for one that cannot be executed.
    pub exec_failure: (u8, u8),
    /// The descriptor to which the payload's wait status is written when it has ended.
    pub record: Option<u32>,
    /// Run no payload: wait for a stop request and reap (catatonit's pause).
    pub pause: bool,
    /// Index of the payload's name among the arguments.
    pub command: usize,
}

impl Options {
    /// rich-init's own defaults; time limits as the manual has them.
    pub const fn new() -> Options {
        let mut options = Options {
            dialect: Dialect::Rich,
            session: Session::New,
            target: Target::Group,
            rewrite: [0; 65],
            uncaught: SignalSet::NONE,
            stops_itself: true,
            exit_map: [0; 256],
            linger: 2000,
            grace: 5000,
            stop_timeout: FOREVER,
            delay_term: 0,
            last_term: false,
            subreaper: true,
            parent_death_signal: 0,
            verbosity: 0,
            exec_failure: (127, 126),
            record: None,
            pause: false,
            command: 0,
        };
        let mut i = 0;
        while i < 256 {
            options.exit_map[i] = i as u8;
            if i < 65 {
                options.rewrite[i] = i as u8;
            }
            i += 1;
        }
        options
    }

    /// In a session of its own nobody could continue the payload's group from outside, so
    /// the kernel ignores a terminal stop there: the stop that cannot be caught stands in,
    /// unless the user has said otherwise.
    pub(crate) fn finish(mut self) -> Options {
        if self.session == Session::New {
            for signal in [signals::TSTP, signals::TTIN, signals::TTOU] {
                let slot = &mut self.rewrite[usize::from(signal)];
                if *slot == signal {
                    *slot = signals::STOP;
                }
            }
        }
        self
    }
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

/// What the command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one value a process; there is no allocator")]
pub enum Request {
    /// Run the payload.
    Run(Options),
    /// Print this on standard output, and succeed.
    Print(&'static str),
}

/// What is wrong, and with which word.
pub(crate) type Wrong<'a> = (&'static str, &'a [u8]);

/// One of rich-init's long options, as `--name value` or `--name=value`; how many further
/// words it took.
pub(crate) fn own_option<'a>(
    options: &mut Options,
    word: &'a [u8],
    next: Option<&'a [u8]>,
) -> Result<usize, Wrong<'a>> {
    let equals = word.iter().position(|byte| *byte == b'=');
    let name = &word[2..equals.unwrap_or(word.len())];
    match (name, equals) {
        (b"verbose", None) => options.verbosity += 1,
        (b"subreaper", None) => options.subreaper = true,
        (b"no-subreaper", None) => options.subreaper = false,
        _ => {
            let inline = equals.map(|at| &word[at + 1..]);
            if !VALUED.contains(&name) {
                return Err(("unknown option", word));
            }
            let value = inline.or(next).ok_or(("an argument is missing after", word))?;
            set(options, name, value).ok_or(("not a valid value", value))?;
            return Ok(usize::from(inline.is_none()));
        }
    }
    Ok(0)
}

/// The long options that take a value.
const VALUED: [&[u8]; 10] = [
    b"forward-to",
    b"session",
    b"rewrite",
    b"exit-map",
    b"linger",
    b"grace",
    b"stop-timeout",
    b"delay-term",
    b"parent-death-signal",
    b"record",
];

fn set(options: &mut Options, name: &[u8], value: &[u8]) -> Option<()> {
    match name {
        b"forward-to" => {
            options.target = match value {
                b"child" => Target::Child,
                b"group" => Target::Group,
                b"all" => Target::All,
                _ => return None,
            }
        }
        b"session" => {
            options.session = match value {
                b"new" => Session::New,
                b"group" => Session::Group,
                b"keep" => Session::Keep,
                _ => return None,
            }
        }
        b"rewrite" => value.split(|b| *b == b',').try_for_each(|pair| rewrite(options, pair))?,
        b"exit-map" => value.split(|b| *b == b',').try_for_each(|pair| map_exit(options, pair))?,
        b"linger" => options.linger = time::parse(value)?,
        b"grace" => options.grace = time::parse(value)?,
        b"stop-timeout" => options.stop_timeout = time::parse(value)?,
        b"delay-term" => options.delay_term = time::parse(value)?,
        b"parent-death-signal" => options.parent_death_signal = signals::parse(value)?,
        // The standard streams are nobody's record.
        b"record" => {
            let number = u32::try_from(time::number(value)?).ok()?;
            options.record = Some(number).filter(|number| (3..1 << 20).contains(number));
            options.record?;
        }
        _ => return None,
    }
    Some(())
}

/// `FROM:TO`, signals by name or number; `0` or `none` drops it.
pub(crate) fn rewrite(options: &mut Options, pair: &[u8]) -> Option<()> {
    let (from, to) = split_pair(pair)?;
    let to = if matches!(to, b"0" | b"none") { 0 } else { signals::parse(to)? };
    options.rewrite[usize::from(signals::parse(from)?)] = to;
    Some(())
}

/// `FROM:TO`, exit statuses.
fn map_exit(options: &mut Options, pair: &[u8]) -> Option<()> {
    let (from, to) = split_pair(pair)?;
    options.exit_map[usize::from(exit_status(from)?)] = exit_status(to)?;
    Some(())
}

/// An exit status, 0 to 255.
pub(crate) fn exit_status(digits: &[u8]) -> Option<u8> {
    u8::try_from(time::number(digits)?).ok()
}

fn split_pair(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some((&pair[..colon], &pair[colon + 1..]))
}
