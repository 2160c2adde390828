//! Values that need more than clap's own parsers: ids that must not wrap, sizes.

use std::time::Duration;

/// A user as `exec --user` takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserArg {
    /// The user id.
    pub uid: u32,
    /// The group id, where one was given.
    pub gid: Option<u32>,
}

/// A user or group id: decimal digits, 32 bits, not the "no change" id -1.
/// Anything else is refused, never wrapped (CVE-2016-3697 and kin).
pub fn id(text: &str) -> Result<u32, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(number) if digits && number != u32::MAX => Ok(number),
        _ => Err("an id is a number from 0 to 4294967294".into()),
    }
}

/// Any text but none: what runc has no option for has no default that `""` could mean.
pub fn not_empty(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("the value is empty".into()) } else { Ok(text.to_owned()) }
}

/// `UID` or `UID:GID`.
pub fn user(text: &str) -> Result<UserArg, String> {
    match text.split_once(':') {
        Some((uid, gid)) => Ok(UserArg { uid: id(uid)?, gid: Some(id(gid)?) }),
        None => Ok(UserArg { uid: id(text)?, gid: None }),
    }
}

/// `ADDRESS:PORT`, an IPv6 address in brackets.
pub fn server(text: &str) -> Result<(String, u16), String> {
    let wrong = || "Use --page-server ADDRESS:PORT to specify page server".to_owned();
    let (address, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
    match bare.unwrap_or(address) {
        "" => Err(wrong()),
        address => Ok((address.to_owned(), port)),
    }
}

/// A size in bytes with a unit of 1024s (`64M`, `1.5GiB`), or -1: what runc takes.
pub fn bytes(text: &str) -> Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    let wrong = || "a size is a number with a unit (64M, 1.5G) or -1".to_owned();
    let lower = text.trim().to_ascii_lowercase();
    let number = lower.trim_end_matches("ib").trim_end_matches('b');
    let (number, power) = match number.chars().last().and_then(|unit| "kmgtp".find(unit)) {
        Some(at) => (&number[..number.len() - 1], at as u32 + 1),
        None => (number, 0),
    };
    let scale = 1_i64 << (10 * power);
    let number = number.trim_end();
    if let Ok(whole) = number.parse::<i64>() {
        return (whole >= 0).then_some(whole).and_then(|n| n.checked_mul(scale)).ok_or_else(wrong);
    }
    let number: f64 = number.parse().map_err(|_| wrong())?;
    // Far below the largest number; a part of a byte is none.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    match number * scale as f64 {
        size if (0.0..9e18).contains(&size) => Ok(size as i64),
        _ => Err(wrong()),
    }
}

/// A time as Go writes it (`1m30s`, `500ms`), above 0.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a time is numbers with units above 0 (500ms, 5s, 1m30s)".to_owned();
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let end = rest.find(|c: char| c != '.' && !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: f64 = rest[..end].parse().map_err(|_| wrong())?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
        sum += number
            * match &rest[..end] {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return Err(wrong()),
            };
        rest = &rest[end..];
    }
    Duration::try_from_secs_f64(sum).ok().filter(|time| !time.is_zero()).ok_or_else(wrong)
}

/// A time in seconds, above 0; decimals are taken.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse::<f64>().ok().filter(|number| *number > 0.0);
    let time = number.and_then(|number| Duration::try_from_secs_f64(number).ok());
    time.filter(|time| !time.is_zero())
        .ok_or_else(|| "a number of seconds above 0 is needed".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_server_has_a_port() {
        assert_eq!(server("10.0.0.1:27"), Ok(("10.0.0.1".into(), 27)));
        assert_eq!(server("[::1]:27"), Ok(("::1".into(), 27)));
        for bad in ["", "h", "h:", ":1", "h:0", "h:65536", "h:-1", "h:x"] {
            assert!(server(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_gos() {
        for (text, millis) in [("5s", 5000), ("500ms", 500), ("1m30s", 90_000), ("1.5s", 1500)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "5", "s", "-5s", "0s", "5x", "1e3s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, size) in [
            ("0", 0),
            ("-1", -1),
            ("4096", 4096),
            ("64M", 64 << 20),
            ("64mb", 64 << 20),
            ("1.5GiB", 3 << 29),
            ("10b", 10),
            ("1 k", 1024),
        ] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for bad in ["", "M", "-2", "-1M", "1x", "1e", "nan", "inf", "9223372036854775807K"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_never_wrap() {
        for bad in
            ["-1", "4294967295", "4294967296", "18446744073709551616", "", "+1", "1:", "root"]
        {
            assert!(id(bad).is_err(), "{bad}");
        }
        assert_eq!(id("0"), Ok(0));
        assert_eq!(id("4294967294"), Ok(4294967294));
    }

    #[test]
    fn seconds_are_above_zero() {
        assert_eq!(seconds("2"), Ok(Duration::from_secs(2)));
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for bad in ["0", "-1", "", "x", "NaN", "inf", "1e300", "1e-30", "5s"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_user_is_one_or_two_ids() {
        assert_eq!(user("1000"), Ok(UserArg { uid: 1000, gid: None }));
        assert_eq!(user("1000:5"), Ok(UserArg { uid: 1000, gid: Some(5) }));
        for bad in [":", "1:", ":1", "1:2:3", "a:b", "1:-1"] {
            assert!(user(bad).is_err(), "{bad}");
        }
    }
}
