//! What a container is asked to be.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::spec::Options;
use crate::store::{Driver, Format, Network, Port, Restart};

/// What a container is asked to be.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// SOURCE, as on the command line.
    pub source: String,
    /// The command, instead of the source's.
    pub command: Vec<String>,
    /// The words before the command, instead of the image's.
    pub entrypoint: Option<Vec<String>>,
    /// Its name; made from its id where nothing is said.
    pub name: Option<String>,
    /// For people and filters.
    pub labels: BTreeMap<String, String>,
    /// `USER[:GROUP]`, names or numbers.
    pub user: Option<String>,
    /// What the configuration gets; the command, the network, the user and the ids of an ordinary
    /// user come from the rest of the request.
    pub options: Options,
    /// Its network; a bundle's own where nothing is said, else none.
    pub network: Option<Network>,
    /// Published ports.
    pub ports: Vec<Port>,
    /// When it is started anew.
    pub restart: Restart,
    /// Forget it when it has ended.
    pub remove: bool,
    /// A terminal.
    pub terminal: bool,
    /// Standard input is kept open for who attaches.
    pub interactive: bool,
    /// More options of the runtime's `run`: `--rich`.
    pub launch_options: Vec<String>,
    /// What asks it to end.
    pub stop_signal: Option<String>,
    /// Seconds until it is killed then.
    pub stop_timeout: Option<u32>,
    /// Where its output goes.
    pub log: LogRequest,
    /// The pod that it belongs to.
    pub pod: Option<String>,
}

/// Where output is to go.
#[derive(Debug, Clone, Default)]
pub struct LogRequest {
    /// By which way.
    pub driver: Driver,
    /// How lines look.
    pub format: Format,
    /// The directory: the file is `DIR/NS/NAME.log`.
    pub dir: Option<PathBuf>,
    /// Bytes before it is rotated; 0: never.
    pub max_size: u64,
    /// How many files.
    pub max_files: u32,
}

/// Refuses what is no name of a container or a namespace.
///
/// # Errors
/// A word with other characters than letters, digits, `_`, `.` and `-`, or that begins with
/// one of the last three.
pub fn check_name(what: &str, name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins && name.chars().all(fits) && name.len() <= 128 {
        return Ok(());
    }
    Err(Error::usage(format!(
        "{what} {name:?}: letters, digits, '_', '.' and '-', 128 at most, a letter or digit first"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["web", "a.b-c_d", "0"] {
            assert!(check_name("name", good).is_ok(), "{good}");
        }
        for wrong in ["", ".", "../x", "a/b", "-x", "a b", "ä"] {
            assert!(check_name("name", wrong).is_err(), "{wrong}");
        }
    }
}
