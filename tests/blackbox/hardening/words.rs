//! What a container or an image has others read: errors, lines of scripts, documents.

use std::fs;

use richrun_tests::bundle::{args, sh};
use richrun_tests::container::IDLE;
use richrun_tests::suite::ONE;
use richrun_tests::{Output, Suite, Trial};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite
        .on(ONE, "errors_obey_nobody", errors_obey_nobody)
        .on(ONE, "lines_of_scripts_obey_nobody", lines_of_scripts_obey_nobody)
        .on(ONE, "documents_obey_nobody", documents_obey_nobody);
}

/// A terminal's title, its screen, the other direction, a line of its own.
const ODD: &str = "a\u{1b}]0;title\u{7}\u{9b}2J\u{202e}b\u{2066}\rc";

/// What would move a cursor or turn a text round.
fn obeyed(text: &str) -> Vec<char> {
    let bad = |c: &char| {
        (c.is_control() && *c != '\n')
            || ('\u{202a}'..='\u{202e}').contains(c)
            || ('\u{2066}'..='\u{2069}').contains(c)
    };
    text.chars().filter(bad).collect()
}

/// The command's error, on standard error and in both forms of the log.
fn everywhere(t: &Trial, run: impl Fn(&[&str]) -> Output) -> String {
    let log = t.dir.join("run/log");
    let path = log.to_str().expect("utf-8 path");
    let mut all = String::new();
    for options in [&[][..], &["--log", path], &["--log-format", "json"]] {
        all += &run(options).fails().err;
        if let Ok(text) = fs::read_to_string(&log) {
            all += &text;
            fs::remove_file(&log).expect("remove the log");
        }
    }
    let json = run(&["--log", path, "--log-format", "json"]).fails().err;
    let text = fs::read_to_string(&log).expect("the log");
    let document: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    fs::remove_file(&log).expect("remove the log");
    all + &json + &text + document["msg"].as_str().expect("a message")
}

fn with_options(t: &Trial, options: &[&str], line: &[&str]) -> Output {
    let mut all = options.to_vec();
    all.extend(line);
    t.rt(&all).run()
}

fn errors_obey_nobody(t: &Trial) {
    for edit in [
        |c: &mut Value| args(c, &[ODD]),
        |c: &mut Value| c["process"]["cwd"] = json!(format!("/{ODD}\nx/y")),
        |c: &mut Value| c["mounts"][0]["source"] = json!(format!("/{ODD}")),
        |c: &mut Value| c["process"]["rlimits"] = json!([{"type": ODD, "soft": 1, "hard": 1}]),
    ] {
        let bundle = t.bundle(edit);
        if bundle.config()["process"]["cwd"] != "/" {
            bundle.file(&format!("/{ODD}\nx"), "no directory");
        }
        bundle.edit(|c| {
            if c["mounts"][0]["source"].as_str().is_some_and(|s| s.contains("title")) {
                c["mounts"][0] = json!({"destination": "/x", "type": "bind", "options": ["bind"],
                    "source": c["mounts"][0]["source"]});
            }
        });
        let line = ["run", "-b", bundle.path(), &bundle.id];
        let said = everywhere(t, |options| with_options(t, options, &line));
        assert_eq!(obeyed(&said), [], "{said:?}");
        assert!(said.contains("]0;title"), "what it is called is told: {said}");
    }
}

fn lines_of_scripts_obey_nobody(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, "true"));
    bundle.script("/init.sh", &format!("#!/bin/sh\nprintf '%s\\n' '{ODD}' 'd\u{1b}[2J'; exit 3\n"));
    let line = ["run", "--rich", "--initscript", "/init.sh", "-b", bundle.path(), &bundle.id];
    let said = everywhere(t, |options| with_options(t, options, &line));
    let errors: String = said.lines().filter(|line| line.contains("exit status 3")).collect();
    assert_eq!(obeyed(&errors), [], "{errors:?}");
    assert!(errors.contains("\\x1b]0;title"), "{said}");
}

/// JSON says the same with escapes; a table and a terminal get them too.
fn documents_obey_nobody(t: &Trial) {
    let c = t.idle_with(|c| {
        sh(c, IDLE);
        c["annotations"] = json!({"odd": ODD});
    });
    for line in [&["state", &c.id][..], &["list", "-f", "json"], &["inspect", &c.id]] {
        if line[0] == "inspect" && !t.is_richrun() {
            continue;
        }
        let out = t.rt(line).ok();
        assert_eq!(obeyed(&out.out), [], "{line:?}: {}", out.out);
        let document: Value = serde_json::from_str(&out.out).expect("JSON");
        let document = if line[0] == "list" { document[0].clone() } else { document };
        assert_eq!(document["annotations"]["odd"], ODD);
    }
    c.remove();
}
