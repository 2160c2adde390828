//! The modes: which init a rich container gets.

use serde::{Deserialize, Serialize};

use crate::config::nearest::did_you_mean;

/// Which init a rich container gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RichMode {
    /// The built-in init in front of the payload.
    DumbInit,
    /// The image's systemd, the payload beside it as a unit.
    Systemd,
    /// The image's `/sbin/init`, whatever it is, the payload beside it.
    SbinInit,
}

/// The modes by the names that `--rich-mode` takes, the first being the
/// default; `auto` has none of its own (`settle`).
pub const MODES: &[(&str, Option<RichMode>)] = &[
    ("dumb-init", Some(RichMode::DumbInit)),
    ("init", Some(RichMode::DumbInit)),
    ("systemd", Some(RichMode::Systemd)),
    ("sbin-init", Some(RichMode::SbinInit)),
    ("auto", None),
];

/// The mode of that name; `None` for `auto`. Or, in Pouch's words, that there is none.
pub fn mode_named(name: &str) -> std::result::Result<Option<RichMode>, String> {
    let row = MODES.iter().find(|row| row.0 == name);
    let names = MODES.iter().map(|row| row.0);
    let unknown = || format!("not supported rich mode: {name}{}", did_you_mean(name, names));
    row.map(|row| row.1).ok_or_else(unknown)
}

/// The programs that are an init themselves: as the command of a container
/// they become PID 1 and no unit is made for them.
const INITS: &[(&str, RichMode)] = &[
    ("systemd", RichMode::Systemd),
    ("/lib/systemd/systemd", RichMode::Systemd),
    ("/usr/lib/systemd/systemd", RichMode::Systemd),
    ("/sbin/init", RichMode::SbinInit),
    ("/usr/sbin/init", RichMode::SbinInit),
    ("/bin/init", RichMode::SbinInit),
    ("init", RichMode::SbinInit),
];

/// Whether a container's command is an init itself, and which.
pub fn init_named(args: &[String]) -> Option<RichMode> {
    let name = args.first()?;
    INITS.iter().find(|row| row.0 == name).map(|row| row.1)
}
