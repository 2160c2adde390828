//! Signals by name and number, and sets of them.

/// The first real-time signal as C libraries count them (32 and 33 are theirs).
pub const RTMIN: u8 = 34;
/// The last signal.
pub const RTMAX: u8 = 64;

/// Hang-up.
pub const HUP: u8 = 1;
/// Interrupt, Ctrl-C.
pub const INT: u8 = 2;
/// Quit, Ctrl-\.
pub const QUIT: u8 = 3;
/// Cannot be caught.
pub const KILL: u8 = 9;
/// The polite request to end.
pub const TERM: u8 = 15;
/// A child has ended or stopped.
pub const CHLD: u8 = 17;
/// Continue.
pub const CONT: u8 = 18;
/// Stop; cannot be caught.
pub const STOP: u8 = 19;
/// Stop, from the terminal: Ctrl-Z.
pub const TSTP: u8 = 20;
/// Terminal input wanted in the background.
pub const TTIN: u8 = 21;
/// Terminal output wanted in the background.
pub const TTOU: u8 = 22;

/// Names of signals 1 to 31, the same on x86-64, 64-bit ARM and RISC-V (signal(7)).
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
const OTHER_NAMES: [(&str, u8); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];

/// The name of a signal below 32, without `SIG`.
pub fn name(signal: u8) -> Option<&'static str> {
    NAMES.get(usize::from(signal).checked_sub(1)?).copied()
}

/// Reads `TERM`, `SIGTERM`, `15`, `RTMIN+3`, `SIGRTMAX-2`, in any case; 1 to 64.
pub fn parse(text: &[u8]) -> Option<u8> {
    if text.first()?.is_ascii_digit() {
        let number = crate::time::number(text)?;
        return (1..=u64::from(RTMAX)).contains(&number).then_some(number as u8);
    }
    let bare = match text.split_at_checked(3) {
        Some((sig, rest)) if sig.eq_ignore_ascii_case(b"SIG") => rest,
        _ => text,
    };
    let by_name =
        NAMES.iter().zip(1..).find(|(name, _)| bare.eq_ignore_ascii_case(name.as_bytes()));
    let by_other = || {
        OTHER_NAMES
            .iter()
            .find(|(name, _)| bare.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, n)| *n)
    };
    by_name.map(|(_, number)| number).or_else(by_other).or_else(|| real_time(bare))
}

fn real_time(text: &[u8]) -> Option<u8> {
    let (base, rest) = text.split_at_checked(5)?;
    let offset = match rest {
        [] => 0,
        [b'+' | b'-', digits @ ..] => crate::time::number(digits)?,
        _ => return None,
    };
    let minus = rest.first() == Some(&b'-');
    let number = if base.eq_ignore_ascii_case(b"RTMIN") && !minus {
        u64::from(RTMIN).checked_add(offset)?
    } else if base.eq_ignore_ascii_case(b"RTMAX") && (minus || offset == 0) {
        u64::from(RTMAX).checked_sub(offset)?
    } else {
        return None;
    };
    (u64::from(RTMIN)..=u64::from(RTMAX)).contains(&number).then_some(number as u8)
}

/// A set of signals, as the kernel keeps it: bit `n - 1` is signal `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalSet(pub u64);

impl SignalSet {
    /// No signal.
    pub const NONE: SignalSet = SignalSet(0);
    /// Every signal.
    pub const ALL: SignalSet = SignalSet(u64::MAX);
    /// Those that the processor raises for a fault, and the ones like them.
    pub const FAULTS: SignalSet = SignalSet::of(&[4, 5, 6, 7, 8, 11, 31]);
    /// A terminal's stop signals, which can be caught.
    pub const TERMINAL_STOPS: SignalSet = SignalSet::of(&[TSTP, TTIN, TTOU]);
    /// What asks a whole container to end.
    pub const STOP_REQUESTS: SignalSet = SignalSet::of(&[TERM, INT, QUIT]);

    /// The set of these.
    pub const fn of(signals: &[u8]) -> SignalSet {
        let (mut set, mut i) = (0, 0);
        while i < signals.len() {
            set |= 1 << (signals[i] - 1);
            i += 1;
        }
        SignalSet(set)
    }

    /// Whether it has this signal.
    pub const fn has(self, signal: u8) -> bool {
        signal >= 1 && signal <= RTMAX && self.0 & (1 << (signal - 1)) != 0
    }

    /// Those of `self` that are not in `other`.
    pub const fn without(self, other: SignalSet) -> SignalSet {
        SignalSet(self.0 & !other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_and_number_reads_back() {
        for signal in 1..=31 {
            let name = name(signal).unwrap();
            for text in
                [name.to_string(), format!("SIG{name}"), name.to_lowercase(), signal.to_string()]
            {
                assert_eq!(parse(text.as_bytes()), Some(signal), "{text}");
            }
        }
        for signal in RTMIN..=RTMAX {
            for text in
                [format!("RTMIN+{}", signal - RTMIN), format!("sigrtmax-{}", RTMAX - signal)]
            {
                assert_eq!(parse(text.as_bytes()), Some(signal), "{text}");
            }
        }
    }

    #[test]
    fn odd_names() {
        for (text, want) in [
            ("RTMIN", Some(34)),
            ("RTMAX", Some(64)),
            ("POLL", Some(29)),
            ("SIGIOT", Some(6)),
            ("64", Some(64)),
            ("32", Some(32)),
            ("0", None),
            ("65", None),
            ("RTMIN+31", None),
            ("RTMIN-1", None),
            ("RTMAX+1", None),
            ("RTMAX-31", None),
            ("RTMIN+", None),
            ("", None),
            ("SIG", None),
            ("SIG15", None),
            ("TERMINATE", None),
            ("999999999999999999999", None),
        ] {
            assert_eq!(parse(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn sets() {
        let set = SignalSet::of(&[1, 64]);
        assert_eq!(set.0, 1 | 1 << 63);
        assert!(set.has(1) && set.has(64) && !set.has(2) && !set.has(0));
        assert!(!SignalSet::ALL.without(set).has(1));
    }
}
