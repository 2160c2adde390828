//! Containers, hooks, commands and errors.
//!
//! Each module is a table: one row a case, with what all three runtimes show.
//! Where a peer shows something else, its row says what and why.

mod errors;
mod hooks;
mod hooks_odd;
mod mount_flags;
mod mounts;
mod process;
mod states;
mod update;

use richrun_tests::bundle::sh;
use richrun_tests::suite::Case;
use richrun_tests::{Kind, Suite, Trial};
use serde_json::Value;

pub fn register(suite: &mut Suite) {
    for row in process::ROWS.iter().chain(mounts::ROWS) {
        suite.compare(row.cases, row.name, |t| row.check(t));
    }
    for row in errors::bundles::ROWS.iter().chain(errors::commands::ROWS) {
        suite.compare(row.cases, &format!("error_{}", row.name), |t| row.check(t));
    }
    hooks::register(suite);
    hooks_odd::register(suite);
    states::register(suite);
    update::register(suite);
    mount_flags::register(suite);
}

/// A container in the foreground and what its script prints.
pub struct Row {
    /// The case's name.
    pub name: &'static str,
    /// The views and users it is tried with.
    pub cases: &'static [Case],
    /// What is changed in the stock configuration.
    pub edit: fn(&mut Value),
    /// What the container runs.
    pub script: &'static str,
    /// What it prints; the container's id reads `ID`.
    pub prints: &'static str,
    /// How it ends.
    pub code: i32,
    /// Who shows something else.
    pub differs: &'static [Difference],
}

/// Defaults of a [`Row`].
pub const ROW: Row =
    Row { name: "", cases: &[], edit: |_| {}, script: "", prints: "", code: 0, differs: &[] };

/// What a runtime does instead.
pub enum Instead {
    /// Another output.
    Prints(&'static str),
    /// An error with this word in it.
    Refuses(&'static str),
}

/// A documented difference.
pub struct Difference {
    /// The peer.
    pub kind: Kind,
    /// What it does.
    pub instead: Instead,
    /// Why.
    pub reason: &'static str,
    /// The first version without the difference.
    pub until: (u32, u32),
}

impl Difference {
    /// Limits it to versions before this one.
    pub const fn until(self, major: u32, minor: u32) -> Difference {
        Difference { until: (major, minor), ..self }
    }
}

/// Of all versions so far.
const ALWAYS: (u32, u32) = (u32::MAX, 0);

/// Ends the trial as ignored if the runtime does not have a command yet, or is
/// older than what the tables are written for: crun's words change.
pub fn needs(t: &Trial, verb: &str) {
    if t.kind() == Kind::Crun && t.runtime.version < (1, 20) {
        t.skip("written for crun 1.20 and newer: integration/peers.sh unpacks one");
    }
    crate::needs(t, verb);
}

/// A peer's other output.
pub const fn prints(kind: Kind, instead: &'static str, reason: &'static str) -> Difference {
    Difference { kind, instead: Instead::Prints(instead), reason, until: ALWAYS }
}

/// A peer's refusal.
pub const fn refuses(kind: Kind, word: &'static str, reason: &'static str) -> Difference {
    Difference { kind, instead: Instead::Refuses(word), reason, until: ALWAYS }
}

impl Row {
    fn check(&self, t: &Trial) {
        needs(t, "run");
        let bundle = t.bundle(|c| {
            sh(c, self.script);
            (self.edit)(c);
        });
        let out = t.run(&bundle);
        let differs = self
            .differs
            .iter()
            .find(|other| other.kind == t.kind() && t.runtime.version < other.until);
        let wanted = match differs {
            None => self.prints,
            Some(Difference { instead: Instead::Prints(text), reason, .. }) => {
                eprintln!("{}: {reason}", t.kind());
                text
            }
            Some(Difference { instead: Instead::Refuses(word), reason, .. }) => {
                eprintln!("{}: {reason}", t.kind());
                out.fails().says(word);
                t.rt(&["delete", "--force", &bundle.id]).run();
                return;
            }
        };
        let out = out.exits(self.code);
        let got = out.out.replace(&bundle.id, "ID");
        let (got, wanted) = (lines(&got), lines(wanted));
        assert_eq!(got, wanted, "{}", out.err);
    }
}

/// The lines of a text without the blanks around them.
fn lines(text: &str) -> Vec<&str> {
    text.trim().lines().map(str::trim).collect()
}
