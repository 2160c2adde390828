//! When a container is started anew: pure.

use std::time::Duration;

use crate::store::{Exit, Restart};

/// The first wait; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(60);
/// Who ran for so long begins with the first wait again.
pub const STEADY: Duration = Duration::from_secs(10);

/// What follows an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It stays ended.
    End,
    /// It is started anew after that time.
    After(Duration),
}

/// What follows. `stopped`: somebody asked it to end. `restarts`: how often it was started anew
/// so far. `quick`: how many of the last ends in a row came before [`STEADY`].
pub fn next(restart: Restart, exit: &Exit, stopped: bool, restarts: u32, quick: u32) -> Next {
    let again = match restart {
        _ if stopped => false,
        Restart::No => false,
        Restart::OnFailure(limit) => {
            exit.code != Some(0) && limit.is_none_or(|limit| restarts < limit)
        }
        Restart::Always | Restart::UnlessStopped => true,
    };
    if !again {
        return Next::End;
    }
    let doubled = FIRST.saturating_mul(1 << quick.min(12));
    Next::After(doubled.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: Option<i32>) -> Exit {
        Exit {
            code,
            signal: None,
            oom_kills: 0,
            oom_killed: Vec::new(),
            finished: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn who_is_started_anew() {
        let table = [
            (Restart::No, Some(1), false, 0, false),
            (Restart::OnFailure(None), Some(0), false, 0, false),
            (Restart::OnFailure(None), Some(1), false, 99, true),
            (Restart::OnFailure(None), None, false, 0, true),
            (Restart::OnFailure(Some(2)), Some(1), false, 1, true),
            (Restart::OnFailure(Some(2)), Some(1), false, 2, false),
            (Restart::Always, Some(0), false, 5, true),
            (Restart::Always, Some(0), true, 0, false),
            (Restart::UnlessStopped, Some(1), true, 0, false),
        ];
        for (restart, code, stopped, restarts, again) in table {
            let found = next(restart, &exit(code), stopped, restarts, 0) != Next::End;
            assert_eq!(found, again, "{restart:?} {code:?} {stopped} {restarts}");
        }
    }

    #[test]
    fn waits_double_up_to_a_minute() {
        let wait = |quick| next(Restart::Always, &exit(Some(1)), false, 0, quick);
        assert_eq!(wait(0), Next::After(Duration::from_millis(100)));
        assert_eq!(wait(3), Next::After(Duration::from_millis(800)));
        assert_eq!(wait(10), Next::After(LONGEST));
        assert_eq!(wait(u32::MAX), Next::After(LONGEST));
    }
}
