//! `label`.

use clap::Args;

use super::Global;
use super::run_options::labels;
use crate::error::Result;

/// `label`
#[derive(Debug, Clone, Args)]
pub struct LabelArgs {
    /// The container: a name, an id, or the beginning of an id
    #[arg(value_name = "CONTAINER")]
    pub container: String,
    /// K=V sets a label, K- removes one; nothing prints them
    #[arg(value_name = "K=V")]
    pub labels: Vec<String>,
}

/// Sets, removes or prints a container's labels.
pub(super) fn run(global: &Global, args: &LabelArgs) -> Result<u8> {
    let containers = global.containers()?;
    let mut record = containers.find(&args.container)?;
    if args.labels.is_empty() {
        for (key, value) in &record.labels {
            println!("{key}={value}");
        }
        return Ok(0);
    }
    let removed = |word: &&String| word.ends_with('-') && !word.contains('=');
    for word in args.labels.iter().filter(removed) {
        record.labels.remove(word.trim_end_matches('-'));
    }
    let set: Vec<String> = args.labels.iter().filter(|word| !removed(word)).cloned().collect();
    record.labels.extend(labels(&set)?);
    containers.store.save(&record)?;
    Ok(0)
}
