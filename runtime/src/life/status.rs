//! The states of a container (runtime-spec, runtime.md "State") and what each
//! command may do in them.

use serde::{Deserialize, Serialize};

/// A container's status. `paused` is runc's extension of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// `create` has begun and not finished.
    Creating,
    /// Set up; the payload waits for `start`.
    Created,
    /// The payload runs.
    Running,
    /// Frozen by `pause`.
    Paused,
    /// The init process has ended.
    Stopped,
}

impl Status {
    /// Every status, for tables and tests.
    pub const ALL: [Status; 5] =
        [Status::Creating, Status::Created, Status::Running, Status::Paused, Status::Stopped];

    /// The word of the specification.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }

    /// `start`: only a created container.
    pub fn can_start(self) -> bool {
        self == Status::Created
    }

    /// `kill`: anything whose init process lives.
    pub fn can_kill(self) -> bool {
        matches!(self, Status::Created | Status::Running | Status::Paused)
    }

    /// `delete` without `--force`: stopped, or created (whose init is ended).
    pub fn can_delete(self) -> bool {
        matches!(self, Status::Stopped | Status::Created)
    }

    /// `exec`: running; created too, as with runc; paused only on request.
    pub fn can_exec(self, ignore_paused: bool) -> bool {
        matches!(self, Status::Created | Status::Running)
            || (self == Status::Paused && ignore_paused)
    }

    /// `pause`: created or running.
    pub fn can_pause(self) -> bool {
        matches!(self, Status::Created | Status::Running)
    }

    /// `resume`: paused.
    pub fn can_resume(self) -> bool {
        self == Status::Paused
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_in_every_status() {
        // columns: start kill delete exec exec(ignore paused) pause resume
        let table = [
            (Status::Creating, [false, false, false, false, false, false, false]),
            (Status::Created, [true, true, true, true, true, true, false]),
            (Status::Running, [false, true, false, true, true, true, false]),
            (Status::Paused, [false, true, false, false, true, false, true]),
            (Status::Stopped, [false, false, true, false, false, false, false]),
        ];
        assert_eq!(table.map(|row| row.0), Status::ALL);
        for (status, expected) in table {
            let got = [
                status.can_start(),
                status.can_kill(),
                status.can_delete(),
                status.can_exec(false),
                status.can_exec(true),
                status.can_pause(),
                status.can_resume(),
            ];
            assert_eq!(got, expected, "{status}");
        }
    }
}
