//! What init scripts print is the container's output.

use std::fs::{self, File};
use std::io::{Read, Write};

use richrun_tests::bundle::{sh, user_namespace};
use richrun_tests::container::IDLE;
use richrun_tests::suite::{BOTH, ONE};
use richrun_tests::terminal::pair;
use richrun_tests::{Kind, Suite, Trial};
use serde_json::{Value, json};

use super::annotate;

pub fn register(suite: &mut Suite) {
    suite
        .on(BOTH, "scripts_print_where_the_payload_does", scripts_print_where_the_payload_does)
        .on(ONE, "scripts_of_start_print_there_too", scripts_of_start_print_there_too)
        .on(ONE, "scripts_print_to_the_terminal", scripts_print_to_the_terminal)
        .on(ONE, "a_scripts_reader_that_has_stopped", a_scripts_reader_that_has_stopped)
        .on(ONE, "a_scripts_reader_that_has_gone", a_scripts_reader_that_has_gone);
}

const WHY: &str = "has no rich containers";

fn scripts_print_where_the_payload_does(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let plain: fn(&mut Value) = |_| {};
    for edit in [plain, user_namespace].into_iter().take(if t.is_root() { 2 } else { 1 }) {
        let bundle = t.bundle(|c| {
            sh(c, "echo payload; echo wrong >&2");
            edit(c);
        });
        let options = ["--rich", "--initcmd", "printf 'a\\n  b '; echo bad >&2; echo c"];
        let out = t.run_cmd(&bundle, &options).ok();
        assert_eq!((out.out.as_str(), out.err.as_str()), ("a\n  b c\npayload\n", "bad\nwrong\n"));
        // In one pipe the lines keep their order.
        let (mut ours, theirs) = std::io::pipe().expect("pipe");
        let script = "for n in 1 2 3; do echo $n; echo $n >&2; done";
        let both = theirs.try_clone().expect("dup");
        let run = t.run_cmd(&bundle, &["--rich", "--initcmd", script]);
        run.stdio(1, theirs).stdio(2, both).ok();
        let mut text = String::new();
        ours.read_to_string(&mut text).expect("read");
        assert_eq!(text, "1\n1\n2\n2\n3\n3\npayload\nwrong\n");
    }
}

fn scripts_of_start_print_there_too(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let bundle = t.bundle(|c| sh(c, "echo payload; exec sleep 1000"));
    let file = t.dir.join("output");
    let create = ["create", "--rich", "--initcmd", "echo script; seq 20000", "-b"];
    let words = [&create[..], &[bundle.path(), &bundle.id]].concat();
    t.rt(&words).stdio(1, File::create(&file).expect("create")).ok();
    assert_eq!(fs::read_to_string(&file).expect("read"), "");
    t.rt(&["start", &bundle.id]).ok();
    let c = t.take(&bundle);
    let read = || fs::read_to_string(&file).expect("read");
    richrun_tests::command::wait_until("the payload", || read().ends_with("payload\n"));
    assert!(read().starts_with("script\n1\n2\n"), "{}", &read()[..100]);
    assert_eq!(read().lines().count(), 20_002);
    c.remove();
}

fn scripts_print_to_the_terminal(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let bundle = t.bundle(|c| {
        c["process"]["terminal"] = json!(true);
        sh(c, "echo payload");
    });
    let (mut terminal, slave) = pair(24, 80);
    let dup = || slave.try_clone().expect("dup");
    // More than a terminal takes while nobody reads: the start is not held up.
    let script = "echo script; i=0; while [ $i -lt 4000 ]; do echo some forty characters of a line $i; i=$((i+1)); done";
    let run = t.run_cmd(&bundle, &["--rich", "--initcmd", script]).with_terminal();
    let running = run.stdio(0, dup()).stdio(1, dup()).stdio(2, dup()).spawn();
    terminal.expect("script\r\n");
    terminal.expect("payload\r\n");
    running.wait().ok();
}

/// As with a payload, it is the writer that waits: the script, to the end of its time.
fn a_scripts_reader_that_has_stopped(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let bundle = t.bundle(|c| {
        sh(c, IDLE);
        annotate(c, &[("io.richrun.init-timeout", "1")]);
    });
    for (script, fails) in [("seq 100000", true), ("echo few", false)] {
        let (reader, mut full) = std::io::pipe().expect("pipe");
        let size = rustix::pipe::fcntl_getpipe_size(&full).expect("size");
        full.write_all(&vec![b'.'; size]).expect("fill");
        let words = ["run", "--rich", "--initcmd", script, "-d", "-b", bundle.path(), &bundle.id];
        let out = t.rt(&words).stdio(1, full).run();
        match fails {
            true => drop(out.fails().says("no end after 1 s")),
            false => {
                out.ok();
                t.take(&bundle).remove();
            }
        }
        drop(reader);
    }
}

fn a_scripts_reader_that_has_gone(t: &Trial) {
    t.only(&[Kind::Richrun], WHY);
    let bundle = t.bundle(|c| sh(c, "cat /proc/self/status | grep SigCgt >&2"));
    let (reader, closed) = std::io::pipe().expect("pipe");
    drop(reader);
    let options = ["--rich", "--initcmd", "echo lost; seq 100000"];
    // The payload takes no signal for granted that a script's output needed.
    let out = t.run_cmd(&bundle, &options).stdio(1, closed).ok();
    out.says("SigCgt");
}
