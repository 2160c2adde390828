//! Descriptors that the payload gets from our caller: `$LISTEN_FDS`
//! (sd_listen_fds(3)) and `--preserve-fds`.

use std::os::fd::RawFd;

use crate::error::{Error, Kind, Result};

/// What is passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// How many, from 3 on.
    pub count: u32,
    /// What the payload is told of them.
    pub env: Vec<String>,
}

/// The first descriptor that can be passed.
const FIRST: u32 = 3;

/// Finds the descriptors, and that they are there. Call it before anything is
/// opened: a missing one's number would be taken by our own.
///
/// # Errors
/// A descriptor that was promised is not open.
pub fn passed(preserved: u32) -> Result<Passed> {
    let own = std::process::id().to_string();
    let variable = |name: &str| std::env::var(name).ok();
    let (listen, env) = listened(&own, variable);
    let count = listen.saturating_add(preserved);
    for number in FIRST..FIRST.saturating_add(count) {
        let open = RawFd::try_from(number)
            .is_ok_and(|fd| std::fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_ok());
        if !open {
            return Err(Error::new(
                Kind::Usage,
                format!("please check that preserved-fd {number} (of {count}) is present"),
            ));
        }
    }
    Ok(Passed { count, env })
}

/// They are ours only if `LISTEN_PID` is us.
fn listened(own: &str, variable: impl Fn(&str) -> Option<String>) -> (u32, Vec<String>) {
    let count = variable("LISTEN_FDS").and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
    if count == 0 || variable("LISTEN_PID").as_deref() != Some(own) {
        return (0, Vec::new());
    }
    let mut env = vec![format!("LISTEN_FDS={count}"), "LISTEN_PID=1".to_owned()];
    env.extend(variable("LISTEN_FDNAMES").map(|names| format!("LISTEN_FDNAMES={names}")));
    (count, env)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_for_somebody_else_are_not_passed() {
        let variables = |pid: &'static str| {
            move |name: &str| match name {
                "LISTEN_FDS" => Some("2".to_owned()),
                "LISTEN_PID" => Some(pid.to_owned()),
                _ => None,
            }
        };
        assert_eq!(listened("7", variables("8")), (0, Vec::new()));
        let (count, env) = listened("7", variables("7"));
        assert_eq!((count, env), (2, vec!["LISTEN_FDS=2".to_owned(), "LISTEN_PID=1".to_owned()]));
        assert_eq!(listened("7", |_| None), (0, Vec::new()));
    }

    #[test]
    fn a_promised_descriptor_must_be_there() {
        let error = passed(5000).unwrap_err().to_string();
        assert!(error.starts_with("please check that preserved-fd "), "{error}");
    }
}
