//! Bad input: the exit status and the words that engines look for.

pub mod bundles;
pub mod commands;

use std::fs;

use richrun_tests::bundle::sh;
use richrun_tests::suite::{Case, ONE};
use richrun_tests::{Bundle, Kind, Output, Trial};

/// A command that fails.
pub struct Row {
    /// What is wrong.
    pub name: &'static str,
    /// The views and users it is tried with.
    pub cases: &'static [Case],
    act: fn(&Trial) -> Output,
    /// What the error says, in any case of letters.
    says: &'static str,
    code: i32,
    /// Who says something else, and why it need not be the same.
    differs: &'static [Other],
}

/// Another message or status of a peer.
struct Other {
    kind: Kind,
    says: &'static str,
    code: i32,
    reason: &'static str,
}

const fn other(kind: Kind, says: &'static str, code: i32, reason: &'static str) -> Other {
    Other { kind, says, code, reason }
}

impl Row {
    pub fn check(&self, t: &Trial) {
        for verb in ["create", "exec", "delete", "kill", "state"] {
            crate::lifecycle::needs(t, verb);
        }
        let out = (self.act)(t);
        let other = self.differs.iter().find(|other| other.kind == t.kind());
        let (says, code) = other.map_or((self.says, self.code), |other| (other.says, other.code));
        if let Some(other) = other {
            eprintln!("{}: {}", t.kind(), other.reason);
        }
        let error = out.err.to_lowercase();
        assert!(error.contains(&says.to_lowercase()), "no {says:?} in {:?}", out.err);
        assert_eq!(out.code, code, "{}: {}", out.text, out.err);
        // Nothing is left: `finish` looks at processes, cgroups, mounts and state.
        for id in fs::read_dir(t.root()).into_iter().flatten().flatten() {
            let id = id.file_name().to_string_lossy().into_owned();
            let created = out.code != 0 && out.text.contains(" create ");
            assert!(!created || id.starts_with('.'), "left: {id}");
            t.rt(&["delete", "--force", &id]).run();
        }
        if t.kind() == Kind::Crun {
            // It forgets the cgroup of a container whose creation fails late.
            richrun_tests::leftovers::remove_groups(&t.id);
        }
    }
}

/// `create` of a bundle with a changed configuration.
fn create(t: &Trial, edit: impl FnOnce(&mut serde_json::Value)) -> Output {
    attempt(t, &t.bundle(edit))
}

fn attempt(t: &Trial, bundle: &Bundle) -> Output {
    t.rt(&["create", "--bundle", bundle.path(), &bundle.id]).run()
}

/// `create` with another text as configuration.
fn with_text(t: &Trial, text: &str) -> Output {
    let bundle = t.bundle(|_| {});
    fs::write(bundle.dir.join("config.json"), text).expect("write config.json");
    attempt(t, &bundle)
}

/// A command about a container that has ended.
fn stopped(t: &Trial, words: &[&str]) -> Output {
    let bundle = t.bundle(|c| sh(c, "exit 0"));
    let container = t.detach(&bundle);
    container.wait("stopped");
    let out = t.rt(&[words[0], &container.id]).args(&words[1..]).run();
    container.remove();
    out
}

/// A command about a container that runs.
fn running(t: &Trial, words: &[&str]) -> Output {
    let container = t.idle();
    let out = t.rt(&[words[0], &container.id]).args(&words[1..]).run();
    container.remove();
    out
}

/// `exec` in a container that runs.
fn exec(t: &Trial, options: &[&str], words: &[&str]) -> Output {
    let container = t.idle();
    let out = container.exec_cmd(options, words).run();
    container.remove();
    out
}

const PLAIN: Row =
    Row { name: "", cases: ONE, act: |t| t.rt(&["state"]).run(), says: "", code: 1, differs: &[] };
