//! What happened to containers.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

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
    let mut current: Option<BufReader<File>> = None;
    let mut line = String::new();
    loop {
        let mut any = false;
        if let Some(reader) = &mut current {
            while reader.read_line(&mut line).at("read", path.display())? > 0 {
                any = true;
                if !line.ends_with('\n') {
                    continue;
                }
                let event: Option<Event> = serde_json::from_str(&line).ok();
                line.clear();
                let Some(event) = event else { continue };
                let wanted = filter.namespace.as_ref().is_none_or(|name| *name == event.namespace)
                    && filter.since.is_none_or(|since| event.time >= since);
                if wanted && !act(&event)? {
                    return Ok(());
                }
            }
        }
        let inode = |file: &File| file.metadata().map(|file| file.ino()).ok();
        let read = current.as_ref().and_then(|reader| inode(reader.get_ref()));
        if !any
            && let Ok(file) = File::open(&path)
            && inode(&file) != read
        {
            current = Some(BufReader::new(file));
            continue;
        }
        if !filter.follow && !any {
            return Ok(());
        }
        if !any {
            std::thread::sleep(LOOK);
        }
    }
}
