//! Every path that the runtime's processes hand to the kernel once the first of them is cloned (the
//! plan is made then): it starts from a descriptor, or is one of the few of [`ALLOWED`], each with
//! its reason. A new call by path cannot be forgotten: it is followed like every other.

use std::collections::BTreeMap;

use richrun_tests::bundle::{namespaces, user_namespace, without_namespace};
use richrun_tests::injection::path_calls;
use richrun_tests::path_calls::{PathCall, Seen};
use richrun_tests::suite::{ONE, ROOT};
use richrun_tests::{Bundle, Kind, Suite, Trial};
use serde_json::{Value, json};

use super::well_known::{SCRIPT, bundle_with, places, volume};
use super::{Canary, steps};

pub fn register(suite: &mut Suite) {
    suite
        .on(ROOT, "no_path_leads_out", |t| no_path_leads_out(t, |_| {}))
        .on(ONE, "no_path_leads_out_in_a_user_namespace", |t| no_path_leads_out(t, user_namespace))
        .on(ONE, "no_path_leads_out_among_others", |t| {
            let (_running, pid) = steps::others(t);
            no_path_leads_out(t, |c| {
                without_namespace(c, "pid");
                let path = format!("/proc/{pid}/ns/pid");
                namespaces(c).push(json!({"type": "pid", "path": path}));
            });
        });
}

/// Calls that may name a path once the container's root is entered, the paths, and why. `PROGRAM`
/// stands for each place where the payload's program is looked for, `CWD` for its directory.
const ALLOWED: &[(&[&str], &str, &str)] = &[
    (&["open", "openat", "chdir"], "/", "the root itself"),
    (&["open", "openat"], "/proc", "no link is followed, and it must be the root of a procfs"),
    (
        &["pivot_root", "umount2", "chroot", "chdir"],
        ".",
        "the directory that was entered by its descriptor",
    ),
    (
        &["chdir"],
        "CWD",
        "of a startContainer hook: where the payload is, by the payload's rights, and nothing of the host's is open",
    ),
    (
        &["execve", "stat", "newfstatat", "access", "faccessat", "faccessat2"],
        "PROGRAM",
        "what execve(2) takes: the path as the payload sees it, with the payload's rights",
    ),
];

/// Where the program may be, by the configuration's `PATH` and its first argument.
fn is_program(path: &str, config: &Value) -> bool {
    let text = |value: &Value| value.as_str().expect("a word").to_owned();
    let env = config["process"]["env"].as_array().into_iter().flatten().map(text);
    let search = env.filter_map(|entry| entry.strip_prefix("PATH=").map(str::to_owned)).next();
    let search = search.unwrap_or_default();
    let hooks = ["startContainer", "createContainer", "createRuntime"];
    let hooks = hooks.map(|kind| config["hooks"][kind][0]["path"].as_str().unwrap_or_default());
    let names = ["sh", "true"];
    let found = search
        .split(':')
        .any(|directory| names.iter().any(|name| path == format!("{directory}/{name}")));
    found || path.is_empty() || hooks.contains(&path) || path == SCRIPT || path == "/bin/true"
}

/// Why a call by path may be made, or not.
fn allowed(call: &PathCall, inside: bool, bundle: &Bundle, config: &Value) -> bool {
    // openat2(2) is told to take such a path as one inside the descriptor's directory.
    if call.from.is_some() && (call.name == "openat2" || !call.path.starts_with('/')) {
        return true;
    }
    let path = call.path.as_str();
    if inside {
        return ALLOWED.iter().any(|(names, named, _)| {
            let same = match *named {
                "PROGRAM" => is_program(path, config),
                "CWD" => config["process"]["cwd"] == path,
                named => path == named,
            };
            same && names.contains(&call.name.as_str())
        });
    }
    // On the host: its own, and what the administrator has named, but nothing below the root, nor
    // by way of another process's.
    let root = bundle.rootfs().display().to_string();
    let below = path.starts_with(&format!("{root}/"));
    let by_another = path.starts_with("/proc/") && path.contains("/root/") || path.contains("/cwd");
    let whole = path.starts_with('/') || path == "." || path.is_empty();
    whole && !below && !by_another && !path.contains("/../")
}

/// Reads what was seen in its order; says what should not have been.
fn judge(seen: &[Seen], bundle: &Bundle, places: &[String], exec: bool) -> Vec<String> {
    let config = bundle.config();
    let mut inside: BTreeMap<usize, bool> = BTreeMap::from([(0, false)]);
    let parents: BTreeMap<usize, usize> = seen
        .iter()
        .filter_map(|one| match one {
            Seen::Clone { parent, child } => Some((*child, *parent)),
            _ => None,
        })
        .collect();
    let mut faults = Vec::new();
    for one in seen {
        let call = match one {
            Seen::Clone { .. } => continue,
            Seen::Joined { role } => {
                // The runtime comes back, and names nothing of the container's meanwhile.
                if *role > 0 && exec {
                    inside.insert(*role, true);
                }
                continue;
            }
            Seen::Path(call) => call,
        };
        let parent = parents.get(&call.role).copied().unwrap_or(0);
        let parents_place = inside.get(&parent).copied().unwrap_or(false);
        let place = *inside.entry(call.role).or_insert(parents_place);
        // What is in the root is in the table of well-known paths.
        let known = |path: &str| {
            path == "/" || places.iter().any(|p| p == path || p.starts_with(&format!("{path}/")))
        };
        let in_root = call.name == "openat2" && call.path.starts_with('/');
        if in_root && !known(&call.path) {
            faults.push(format!("not among the well-known paths: {call:?}"));
        }
        let begun = call.role > 0 || !parents.is_empty();
        if begun && !allowed(call, place, bundle, &config) {
            faults.push(format!("{call:?}, {}", if place { "inside" } else { "outside" }));
        }
        if call.role > 0 && (call.name == "pivot_root" || call.name == "chroot") {
            inside.insert(call.role, true);
        }
    }
    faults
}

fn no_path_leads_out(t: &Trial, edit: impl Fn(&mut Value)) {
    t.only(&[Kind::Richrun], "other calls");
    if !cfg!(target_arch = "x86_64") {
        t.skip("paths are read on x86_64 only");
    }
    let canary = Canary::new(t);
    let home = volume(t, &canary);
    let places = places(t);
    let bundle = bundle_with(t, &home, &edit);
    let id = bundle.id.as_str();
    let mut faults = Vec::new();
    let mut trace = |line: &[&str]| {
        let seen = path_calls(t, line);
        let count = seen.iter().filter(|one| matches!(one, Seen::Path(_))).count();
        assert!(count > 3, "{line:?}: {count} paths");
        let found = judge(&seen, &bundle, &places, line[0] == "exec");
        faults.extend(found.into_iter().map(|fault| format!("{}: {fault}", line[0])));
    };
    trace(&["create", "-b", bundle.path(), id]);
    trace(&["start", id]);
    trace(&["exec", id, "true"]);
    trace(&["delete", "--force", id]);
    trace(&["run", "-d", "-b", bundle.path(), id]);
    t.rt(&["delete", "--force", id]).ok();
    trace(&["run", "-d", "--rich", "--initscript", SCRIPT, "-b", bundle.path(), id]);
    t.rt(&["delete", "--force", id]).ok();
    assert!(faults.is_empty(), "{faults:#?}");
}
