//! rich-init's own figures: size, private memory as PID 1, wakes when idle.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::peers::Seen;
use crate::process::{field, pid_of, private_kib, read, switches};
use crate::row::{remove, start_with};
use crate::services::{self, ServiceFigures};
use crate::stage::{Result, Runtime, Stage};

/// How long PID 1 is watched.
const WATCH: Duration = Duration::from_secs(10);

/// What was seen of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct InitFigures {
    /// Bytes of the program on disk.
    pub bytes: Option<u64>,
    /// Private (clean and dirty) KiB of the running PID 1.
    pub private_kib: Option<u64>,
    /// Resident KiB of the running PID 1.
    pub resident_kib: Option<u64>,
    /// Context switches in ten seconds of idleness.
    pub wakes: Option<u64>,
    /// What could not be seen, if anything.
    pub trouble: Option<String>,
    /// With services.
    #[serde(default)]
    pub services: ServiceFigures,
    /// It and others, beside each other.
    #[serde(default)]
    pub peers: Vec<Seen>,
}

/// Looks at a rich container whose payload sleeps.
pub fn look(stage: &Stage) -> InitFigures {
    let mut figures = InitFigures::default();
    let Some(runtime) = stage.runtime("richrun") else { return figures };
    let beside = Path::new(&runtime.path).with_file_name("rich-init");
    figures.bytes = fs::metadata(beside).ok().map(|data| data.len());
    eprintln!("rich-init as an idle PID 1 ({} s)", WATCH.as_secs());
    let id = format!("bench-{}-init", std::process::id());
    let watched = start_with(runtime, &["--rich"], &stage.sleeping, &id)
        .and_then(|()| watch(runtime, &id, &mut figures));
    remove(runtime, &id);
    figures.trouble = watched.err();
    figures.services = services::look(stage);
    figures
}

fn watch(runtime: &Runtime, id: &str, figures: &mut InitFigures) -> Result<()> {
    let pid = pid_of(runtime, id)?;
    std::thread::sleep(Duration::from_secs(1));
    let before = switches(pid)?;
    std::thread::sleep(WATCH);
    figures.wakes = Some(switches(pid)? - before);
    figures.private_kib = Some(private_kib(pid)?);
    figures.resident_kib = Some(field(&read(&pid.to_string(), "smaps_rollup")?, "Rss:")?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_the_whole_name() {
        let text = "voluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t2\n";
        assert_eq!(field(text, "voluntary_ctxt_switches:").unwrap(), 7);
        assert_eq!(field(text, "nonvoluntary_ctxt_switches:").unwrap(), 2);
        assert!(field(text, "Rss:").is_err());
    }
}
