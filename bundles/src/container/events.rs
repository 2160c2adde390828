//! What happened to containers.

use std::time::Duration;

use super::growing::Growing;
use crate::error::{At, Result};
use crate::store::{Event, Place};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Which events are wanted.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Of this namespace only.
    pub namespace: Option<String>,
    /// Not before.
    pub since: Option<jiff::Timestamp>,
    /// Wait for more.
    pub follow: bool,
}

/// Hands the events on, the oldest first, until `act` says that it wants no more.
///
/// # Errors
/// The file system's; those of `act`.
pub fn events(
    place: &Place,
    filter: &EventFilter,
    mut act: impl FnMut(&Event) -> Result<bool>,
) -> Result<()> {
    let path = place.data.join("events.jsonl");
    let mut file = Growing::new(&path, 1);
    let mut line = Vec::new();
    loop {
        let mut any = false;
        while file.read_line(&mut line).at("read", path.display())? {
            any = true;
            if !line.ends_with(b"\n") {
                continue;
            }
            let event: Option<Event> = serde_json::from_slice(&line).ok();
            line.clear();
            let Some(event) = event else { continue };
            let wanted = filter.namespace.as_ref().is_none_or(|name| *name == event.namespace)
                && filter.since.is_none_or(|since| event.time >= since);
            if wanted && !act(&event)? {
                return Ok(());
            }
        }
        if !filter.follow {
            return Ok(());
        }
        if !any {
            std::thread::sleep(LOOK);
        }
    }
}
