//! The examples of the first help, README and the documents run as they stand.

use std::fs;

use richrun_tests::bundle::args;
use richrun_tests::suite::ONE;
use richrun_tests::{Suite, Trial};

use super::setup::Direct;

pub fn register(suite: &mut Suite) {
    suite.on(ONE, "of_the_documents", of_the_documents);
}

const README: &str = include_str!("../../README.md");
const DIRECT: &str = include_str!("../../docs/direct.md");
const PODS: &str = include_str!("../../docs/pods.md");

const WEB: &str = "apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - {name: web, image: ./rootfs, command: [httpd]}
";

/// It ends when it is asked to, so that nobody waits for a grace time.
const SERVER: &str = "#!/bin/sh\ntrap 'exit 0' TERM\necho up\nwhile :; do sleep 0.1; done\n";

/// What other trials run, and why it is not run here.
const ELSEWHERE: &[(&str, &str)] = &[
    ("-it ", "needs a terminal: containers::terminals"),
    ("oci:", "needs an image: images"),
    ("─", "a picture"),
    ("--namespace tenant", "needs a network: containers::three_verbs_of_a_tenant"),
    ("demo", "takes ten seconds: pods::the_controllers_own_example"),
    ("health --listen", "serves until it is ended: the suite pods"),
    ("generate ", "written for the host's systemd: the suite pods"),
];

/// The lines of a text that are commands of richctl, without what is said of them.
fn examples(text: &str) -> Vec<&str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("    "));
    let lines = lines.map(|line| line.split("  #").next().unwrap_or(line).trim_end());
    let ours = lines.filter(|line| line.starts_with("richctl"));
    ours.filter(|line| ELSEWHERE.iter().all(|(words, _)| !line.contains(words))).collect()
}

/// The commands below `Examples:`, without the column that says what they do.
fn examples_of_help(text: &str) -> Vec<&str> {
    let (_, below) = text.split_once("Examples:").expect("examples");
    let lines = below.lines().filter_map(|line| line.strip_prefix("  "));
    let lines = lines.map(|line| line.split("   ").next().unwrap_or(line));
    lines.filter(|line| ELSEWHERE.iter().all(|(words, _)| !line.contains(words))).collect()
}

fn of_the_documents(t: &Trial) {
    let d = Direct::new(t);
    let here = t.dir.join("examples");
    fs::create_dir(&here).expect("make a directory");
    std::os::unix::fs::symlink(d.bundle.rootfs(), here.join("rootfs")).expect("a root");
    std::os::unix::fs::symlink(d.bundle.path(), here.join("bundle")).expect("a bundle");
    d.bundle.script("bin/httpd", SERVER);
    d.bundle.edit(|config| args(config, &["httpd"]));
    fs::write(here.join("web.yaml"), WEB).expect("write a manifest");
    let help = d.ctl(&["--help"]).ok().out;
    let all = [examples_of_help(&help), examples(README), examples(DIRECT), examples(PODS)];
    let mut count = 0;
    for examples in all {
        assert!(examples.len() >= 2, "{examples:?}");
        count += examples.len();
        // One after the other, as they are read; who follows a log is ended by who wants to go on.
        let follows = |line: &str| line.replace("logs -f", "logs").replace("logs --follow", "logs");
        for line in examples {
            let script = format!("cd '{}' && {}", here.display(), follows(line));
            let path = std::env::var("PATH").unwrap_or_default();
            t.cmd("sh", &["-c", &script])
                .env("PATH", &format!("{}:{path}", d.bin.display()))
                .env("RICHCTL_ROOT", &d.place.display().to_string())
                .ok();
        }
        d.ctl(&["rm", "--all", "--force"]).ok();
        d.ctl(&["pod", "rm", "--force", "web"]).run();
    }
    assert!(count >= 10, "{count}");
    d.clean();
}
