//! Bundles that cannot become containers.

use std::fs;

use richrun_tests::Kind::{Crun, Richrun, Runc};
use richrun_tests::bundle::{args, namespaces};
use richrun_tests::suite::BOTH;
use serde_json::json;

use super::{PLAIN, Row, attempt, create, other, with_text};

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
];
