//! Commands that cannot be carried out.

use richrun_tests::Kind::Crun;
use richrun_tests::bundle::sh;
use richrun_tests::suite::BOTH;

use super::{PLAIN, Row, exec, other, running, stopped};

pub const ROWS: &[Row] = &[
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
