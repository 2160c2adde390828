//! Every example of richctl's help and of docs/direct.md runs as it stands, one after the other;
//! those of README and of docs/pods.md too, but for what other trials run.

use std::fs;
use std::path::Path;

use richrun_tests::bundle::args;
use richrun_tests::command::{Cmd, Running};
use richrun_tests::pages::{commands, left_by_exit};
use richrun_tests::suite::ONE;
use richrun_tests::{Suite, Trial, layout};

use crate::setup::Direct;

const PAGE: &str = include_str!("../../docs/direct.md");
const README: &str = include_str!("../../README.md");
const PODS: &str = include_str!("../../docs/pods.md");

pub fn register(suite: &mut Suite) {
    suite.on(ONE, "of_the_help", of_the_help).on(ONE, "of_the_page", of_the_page).on(
        ONE,
        "of_the_documents",
        of_the_documents,
    );
}

/// What the examples take for granted beside the image: a bundle, a network.
const GROUND: &str = "
mkdir -p bundle /srv/data /run/netns
cp -a rootfs bundle/rootfs
richrun spec -b bundle --no-terminal -- sleep 1000
touch /run/netns/tenant
unshare --net=/run/netns/tenant true
";

/// A directory with all that, and places of the host that are this trial's own.
fn ground(d: &Direct<'_>) {
    let t = d.trial;
    let own = |place: &str| {
        let dir = t.dir.join("host").join(place);
        fs::create_dir_all(&dir).expect("mkdir");
        let target = Path::new("/").join(place);
        let none: Option<&str> = None;
        nix::mount::mount(Some(&dir), &target, none, nix::mount::MsFlags::MS_BIND, none)
            .expect("bind a place of the host");
    };
    for place in ["run", "srv", "var/log"] {
        own(place);
    }
    let dir = d.bundle.dir.clone();
    std::os::unix::fs::symlink("busybox", d.bundle.rootfs().join("bin/httpd")).expect("link");
    layout::make(&dir, r#"{"Cmd": ["sh"]}"#);
    shell(d, &dir, GROUND).ok();
    t.accept_mounts();
}

fn shell<'t>(d: &Direct<'t>, dir: &Path, script: &str) -> Cmd<'t> {
    let path = format!("{}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", d.bin.display());
    let place = d.place.to_str().expect("utf-8");
    let command = d.trial.cmd("sh", &["-ec", script]).dir(dir);
    command.env("PATH", &path).env("RICHCTL_ROOT", place).env("RICHCTL_NAMESPACE", "default")
}

/// Runs them in turn; what follows a log ends with its container.
fn session(d: &Direct<'_>, lines: &[String]) {
    let mut following: Vec<Running> = Vec::new();
    for line in lines {
        let command = shell(d, &d.bundle.dir, line);
        if line.contains("logs -f") {
            following.push(command.spawn());
        } else if line.contains("-it ") {
            left_by_exit(command).ok();
        } else {
            command.ok();
        }
    }
    for one in following {
        one.wait().ok();
    }
    d.clean();
}

fn of_the_help(t: &Trial) {
    let d = Direct::new(t);
    ground(&d);
    let help = d.ctl(&["--help"]).ok().out;
    let (_, examples) = help.split_once("Examples:\n").expect("examples");
    let lines = commands(examples);
    assert!(lines.len() >= 5, "{lines:?}");
    session(&d, &lines);
}

fn of_the_page(t: &Trial) {
    let d = Direct::new(t);
    ground(&d);
    let mut lines: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in PAGE.lines().filter_map(|line| line.strip_prefix("    ")) {
        let (line, more) = match line.strip_suffix('\\') {
            Some(line) => (line, true),
            None => (line, false),
        };
        match lines.last_mut().filter(|_| goes_on) {
            Some(last) => last.push_str(line),
            None => lines.push(line.to_owned()),
        }
        goes_on = more;
    }
    // The picture of who holds a container begins with the program's name too.
    lines.retain(|line| line.starts_with("richctl ") && !line.contains('─'));
    assert!(lines.len() >= 7, "{lines:?}");
    session(&d, &lines);
}

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
    ("-it ", "needs a terminal and an image: of_the_help, of_the_page"),
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

fn of_the_documents(t: &Trial) {
    let d = Direct::new(t);
    let here = t.dir.join("examples");
    fs::create_dir(&here).expect("make a directory");
    std::os::unix::fs::symlink(d.bundle.rootfs(), here.join("rootfs")).expect("a root");
    std::os::unix::fs::symlink(d.bundle.path(), here.join("bundle")).expect("a bundle");
    d.bundle.script("bin/httpd", SERVER);
    d.bundle.edit(|config| args(config, &["httpd"]));
    fs::write(here.join("web.yaml"), WEB).expect("write a manifest");
    for examples in [examples(README), examples(PODS)] {
        assert!(examples.len() >= 2, "{examples:?}");
        // One after the other, as they are read; who follows a log is ended by who wants to go on.
        let follows = |line: &str| line.replace("logs -f", "logs").replace("logs --follow", "logs");
        for line in examples {
            shell(&d, &here, &follows(line)).ok();
        }
        d.ctl(&["rm", "--all", "--force"]).ok();
        d.ctl(&["pod", "rm", "--force", "web"]).run();
    }
    d.clean();
}
