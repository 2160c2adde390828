//! Bad input: the exit status and the words that engines look for.

use std::fs;

use richrun_tests::Kind::{Crun, Richrun, Runc};
use richrun_tests::bundle::{args, namespaces, sh};
use richrun_tests::suite::{BOTH, Case, ONE};
use richrun_tests::{Bundle, Kind, Output, Trial};
use serde_json::json;

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
            crate::needs(t, verb);
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
        if t.kind() == Crun {
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

pub const ROWS: &[Row] = &[
    Row {
        name: "no_such_binary",
        cases: BOTH,
        act: |t| create(t, |c| args(c, &["nothing-here"])),
        says: "executable file not found in $PATH",
        differs: &[other(
            Crun,
            "executable file `nothing-here` not found in $PATH",
            1,
            "its words",
        )],
        ..PLAIN
    },
    Row {
        name: "no_such_path",
        act: |t| create(t, |c| args(c, &["/bin/nothing"])),
        says: "no such file or directory",
        ..PLAIN
    },
    Row {
        name: "not_executable",
        act: |t| create(t, |c| args(c, &["/etc/passwd"])),
        says: "permission denied",
        differs: &[other(Crun, "not executable", 1, "its words")],
        ..PLAIN
    },
    Row {
        name: "directory_as_binary",
        act: |t| create(t, |c| args(c, &["/etc"])),
        says: "permission denied",
        differs: &[other(Crun, "not a regular file", 1, "its words")],
        ..PLAIN
    },
    Row {
        name: "working_directory_is_a_file",
        act: |t| create(t, |c| c["process"]["cwd"] = json!("/etc/passwd")),
        says: "not a directory",
        ..PLAIN
    },
    Row {
        name: "no_bundle",
        act: |t| t.rt(&["create", "--bundle", "/mnt/nowhere", "x"]).run(),
        says: "no such file or directory",
        ..PLAIN
    },
    Row {
        name: "no_configuration",
        act: |t| {
            let bundle = t.bundle(|_| {});
            fs::remove_file(bundle.dir.join("config.json")).expect("remove config.json");
            attempt(t, &bundle)
        },
        says: "config.json",
        ..PLAIN
    },
    Row {
        name: "configuration_is_not_json",
        act: |t| with_text(t, "{\"ociVersion\": \"1.0.2\", }"),
        says: "parse",
        differs: &[
            other(Runc, "invalid character", 1, "Go's words"),
            other(Crun, "error loading config.json", 1, "its words"),
        ],
        ..PLAIN
    },
    Row {
        name: "configuration_of_the_wrong_type",
        act: |t| with_text(t, "{\"ociVersion\": \"1.0.2\", \"process\": 7}"),
        says: "process",
        differs: &[other(Crun, "no `linux` block", 1, "passes over what has the wrong type")],
        ..PLAIN
    },
    Row {
        name: "configuration_is_empty",
        act: |t| with_text(t, ""),
        says: "config",
        differs: &[other(Runc, "EOF", 1, "Go's words")],
        ..PLAIN
    },
    Row {
        name: "no_root_file_system",
        cases: BOTH,
        act: |t| create(t, |c| c["root"]["path"] = json!("gone")),
        says: "no such file or directory",
        ..PLAIN
    },
    Row {
        name: "no_arguments",
        act: |t| create(t, |c| args(c, &[])),
        says: "args",
        differs: &[other(Crun, "cannot find ``", 1, "an empty list is an empty name")],
        ..PLAIN
    },
    Row {
        name: "relative_working_directory",
        act: |t| create(t, |c| c["process"]["cwd"] = json!("tmp")),
        says: "cwd",
        differs: &[other(Crun, "", 0, "takes it from the root")],
        ..PLAIN
    },
    Row {
        name: "unknown_namespace",
        act: |t| create(t, |c| namespaces(c).push(json!({"type": "space"}))),
        says: "namespace",
        differs: &[other(Richrun, "`space`", 1, "names the word and its place in the file")],
        ..PLAIN
    },
    Row {
        name: "namespace_twice",
        act: |t| create(t, |c| namespaces(c).push(json!({"type": "pid"}))),
        says: "namespace",
        differs: &[other(Runc, "duplicated ns", 1, "its words")],
        ..PLAIN
    },
    Row {
        name: "namespace_path_is_missing",
        act: |t| create(t, |c| namespaces(c)[1] = json!({"type": "network", "path": "/mnt/none"})),
        says: "/mnt/none",
        ..PLAIN
    },
    Row {
        name: "unknown_limit",
        act: |t| {
            create(t, |c| {
                c["process"]["rlimits"] = json!([{"type": "RLIMIT_LUCK", "soft": 1, "hard": 1}]);
            })
        },
        says: "RLIMIT_LUCK",
        ..PLAIN
    },
    Row {
        name: "soft_limit_above_hard",
        act: |t| {
            create(t, |c| {
                c["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 9, "hard": 8}]);
            })
        },
        says: "invalid argument",
        differs: &[other(Richrun, "RLIMIT_NOFILE", 1, "checks before the kernel does")],
        ..PLAIN
    },
    Row {
        name: "sysctl_of_the_host",
        act: |t| create(t, |c| c["linux"]["sysctl"] = json!({"vm.swappiness": "1"})),
        says: "vm.swappiness",
        ..PLAIN
    },
    Row {
        name: "mount_source_is_missing",
        act: |t| {
            create(t, |c| {
                richrun_tests::bundle::bind(c, "/mnt/none".as_ref(), "/x", &["bind"]);
            })
        },
        says: "/mnt/none",
        ..PLAIN
    },
    Row {
        name: "id_with_a_slash",
        act: |t| {
            let bundle = t.bundle(|_| {});
            t.rt(&["create", "--bundle", bundle.path(), "a/b"]).run()
        },
        says: "id",
        ..PLAIN
    },
    Row {
        name: "id_in_use",
        cases: BOTH,
        act: |t| {
            let container = t.idle();
            let out = t.rt(&["create", "--bundle", container.bundle.path(), &container.id]).run();
            container.remove();
            out
        },
        says: "exist",
        ..PLAIN
    },
    Row {
        name: "state_of_nobody",
        cases: BOTH,
        act: |t| t.rt(&["state", "nobody"]).run(),
        says: "does not exist",
        differs: &[other(Crun, "no such file or directory", 1, "its words")],
        ..PLAIN
    },
    Row {
        name: "kill_of_nobody",
        cases: BOTH,
        act: |t| t.rt(&["kill", "nobody", "TERM"]).run(),
        says: "does not exist",
        differs: &[other(Crun, "no such file or directory", 1, "its words")],
        ..PLAIN
    },
    Row {
        name: "delete_of_nobody",
        cases: BOTH,
        act: |t| t.rt(&["delete", "nobody"]).run(),
        says: "does not exist",
        differs: &[other(Crun, "no such file or directory", 1, "its words")],
        ..PLAIN
    },
    Row {
        name: "forced_delete_of_nobody",
        cases: BOTH,
        act: |t| t.rt(&["delete", "--force", "nobody"]).run(),
        says: "",
        code: 0,
        ..PLAIN
    },
    Row {
        name: "start_of_nobody",
        act: |t| t.rt(&["start", "nobody"]).run(),
        says: "does not exist",
        differs: &[other(Crun, "no such file or directory", 1, "its words")],
        ..PLAIN
    },
    Row {
        name: "exec_in_nobody",
        act: |t| t.rt(&["exec", "nobody", "true"]).run(),
        says: "does not exist",
        code: 255,
        differs: &[other(Crun, "no such file or directory", 1, "its words")],
        ..PLAIN
    },
    Row {
        name: "delete_of_a_running_one",
        cases: BOTH,
        act: |t| running(t, &["delete"]),
        says: "running",
        differs: &[other(Crun, "not in `created` or `stopped` state", 1, "its words")],
        ..PLAIN
    },
    Row {
        name: "start_of_a_running_one",
        act: |t| running(t, &["start"]),
        says: "running",
        differs: &[other(Crun, "exec.fifo", 1, "its words")],
        ..PLAIN
    },
    Row { name: "unknown_signal", act: |t| running(t, &["kill", "LOUD"]), says: "signal", ..PLAIN },
    Row {
        name: "kill_of_a_stopped_one",
        act: |t| stopped(t, &["kill", "TERM"]),
        says: "container not running",
        differs: &[other(Crun, "no such process", 1, "the kernel's words, which engines know too")],
        ..PLAIN
    },
    Row {
        name: "start_of_a_stopped_one",
        act: |t| stopped(t, &["start"]),
        says: "stopped",
        differs: &[other(Crun, "is not running", 1, "its words")],
        ..PLAIN
    },
    Row {
        name: "pause_of_a_stopped_one",
        act: |t| stopped(t, &["pause"]),
        says: "not running",
        ..PLAIN
    },
    Row {
        name: "exec_in_a_stopped_one",
        act: |t| {
            let bundle = t.bundle(|c| sh(c, "exit 0"));
            let container = t.detach(&bundle);
            container.wait("stopped");
            let out = container.exec_cmd(&[], &["true"]).run();
            container.remove();
            out
        },
        says: "stopped",
        code: 255,
        differs: &[other(Crun, "is not running", 1, "has 255 for what fails inside only")],
        ..PLAIN
    },
    Row {
        name: "exec_of_nothing",
        act: |t| exec(t, &[], &["nothing-here"]),
        says: "executable file not found in $PATH",
        code: 255,
        differs: &[other(
            Crun,
            "executable file `nothing-here` not found in $PATH",
            255,
            "its words",
        )],
        ..PLAIN
    },
    Row {
        name: "exec_of_a_missing_path",
        act: |t| exec(t, &[], &["/bin/nothing"]),
        says: "no such file or directory",
        code: 255,
        ..PLAIN
    },
    Row {
        name: "exec_of_a_plain_file",
        act: |t| exec(t, &[], &["/etc/passwd"]),
        says: "permission denied",
        code: 255,
        differs: &[other(Crun, "not executable", 255, "its words")],
        ..PLAIN
    },
    Row {
        name: "exec_with_a_bad_user",
        act: |t| exec(t, &["--user", "a:b"], &["true"]),
        says: "",
        code: 255,
        differs: &[other(Crun, "invalid USERSPEC", 1, "has 255 for what fails inside only")],
        ..PLAIN
    },
    Row {
        name: "unknown_option",
        act: |t| t.rt(&["create", "--no-such-option", "x"]).run(),
        says: "no-such-option",
        differs: &[other(
            Crun,
            "unrecognized option",
            64,
            "the C library's status for a wrong command line",
        )],
        ..PLAIN
    },
    Row {
        name: "no_id",
        act: |t| t.rt(&["create"]).run(),
        says: "argument",
        differs: &[other(Crun, "please specify a ID", 1, "its words")],
        ..PLAIN
    },
];
