//! Images and environments by the built `richctl`, as root and as an ordinary user.
//!
//! A trial that this machine cannot run is counted as ignored, with its reason.

#[path = "environments/images.rs"]
mod images;
#[path = "environments/pages.rs"]
mod pages;
#[path = "environments/stage.rs"]
mod stage;

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

use self::stage::{Stage, User};

/// A trial.
type Act = fn(&Stage);

const TRIALS: &[(&str, Act, &[&str])] = &[
    ("image::of_all_kinds", images::of_all_kinds, &[]),
    ("image::pulled_at_once", images::pulled_at_once, &[]),
    ("image::refused", images::refused, &[]),
    ("image::seen_inside", images::seen_inside, &[]),
    ("image::in_containers", images::in_containers, &[]),
    ("image::many_layers", images::many_layers, &[]),
    (
        "image::of_a_registry",
        images::of_a_registry,
        &["/usr/bin/skopeo", "/usr/bin/docker-registry"],
    ),
    ("env::of_the_page", pages::of_the_page, &[]),
    ("env::of_the_document", pages::of_the_document, &[]),
    ("env::commands", pages::commands, &[]),
    ("env::ends", pages::ends, &[]),
    ("env::apart", pages::apart, &[]),
    ("env::content", pages::content, &[]),
    ("env::restarts", pages::restarts, &[]),
];

fn missing(programs: &[&str], user: Option<&Option<User>>) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("not root".to_owned());
    }
    if stage::richrun().is_none() {
        return Some("no richrun is built".to_owned());
    }
    if user == Some(&None) {
        return Some("no ordinary user with ranges of ids (integration/peers.sh user)".to_owned());
    }
    let busybox = ["/usr/bin/busybox", "/bin/busybox"].iter().any(|path| Path::new(path).exists());
    if !busybox {
        return Some("no busybox".to_owned());
    }
    let gone = programs.iter().find(|path| !Path::new(path).exists());
    gone.map(|path| format!("{path} is not installed"))
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    let ordinary = stage::ordinary();
    for (name, act, programs) in TRIALS.iter().copied() {
        for (who, user) in [("root", None), ("user", Some(ordinary.clone()))] {
            let reason = missing(programs, user.as_ref());
            trials.push(Trial::ignorable_test(format!("{name}::{who}"), move || {
                if let Some(reason) = reason {
                    return Ok(Completion::ignored_with(reason));
                }
                let word = name.replace("::", "-");
                act(&Stage::new(&word, user.flatten()));
                Ok(Completion::Completed)
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
