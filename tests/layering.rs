//! Checks of the source tree itself: who imports whom, where `unsafe` stands,
//! how long files are, and that nothing is left unfinished.
//!
//! Each check is a function from one file to the complaints about it, and is
//! itself tested on samples that break it.

use std::fs;
use std::path::{Path, PathBuf};

use richrun_tests::imports::Crate;
use richrun_tests::source::{Source, Token};

/// What each room of `runtime/src` may import of the others (docs/design.md).
/// A room not listed here is one that nobody has thought about. `sys` takes
/// what it does to the kernel from `plan`, as data; `plan` never calls `sys`.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("shown", &[]),
    ("log", &["error", "cli", "shown"]),
    ("config", &["error", "shown"]),
    ("plan", &["error", "config"]),
    ("sys", &["error", "plan"]),
    ("rich_init", &["error", "sys"]),
    ("cgroup", &["error", "log", "plan", "sys"]),
    ("host", &["error", "log", "cli", "config", "plan", "cgroup", "sys"]),
    ("life", &["error", "log", "config", "plan", "cgroup", "host", "shown", "sys"]),
    (
        "launch",
        &["error", "log", "config", "plan", "cgroup", "host", "life", "rich_init", "shown", "sys"],
    ),
    ("cli", &["error", "config"]),
    (
        "commands",
        &[
            "error",
            "log",
            "cli",
            "config",
            "plan",
            "cgroup",
            "host",
            "life",
            "launch",
            "rich_init",
            "shown",
        ],
    ),
    ("main", &["error", "log", "cli", "commands"]),
    ("lib", &[]),
];

/// The same of `bundles/src`: what drives the runtime from outside. `richrun` itself never sees it.
const BUNDLES: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("sys", &["error"]),
    ("store", &["error", "sys"]),
    ("runtime", &["error", "sys", "store"]),
    ("pasta", &["error", "runtime"]),
    ("spec", &["error"]),
    ("users", &["error", "spec"]),
    ("source", &["error", "sys", "store"]),
    ("image", &["error", "sys", "store", "spec", "users", "source"]),
    ("monitor", &["error", "sys", "store", "runtime", "pasta"]),
    (
        "container",
        &["error", "sys", "store", "runtime", "spec", "users", "source", "image", "monitor"],
    ),
    (
        "pod",
        &[
            "error",
            "sys",
            "store",
            "runtime",
            "pasta",
            "spec",
            "users",
            "source",
            "image",
            "monitor",
            "container",
        ],
    ),
    (
        "env",
        &[
            "error",
            "sys",
            "store",
            "runtime",
            "pasta",
            "spec",
            "users",
            "source",
            "image",
            "monitor",
            "container",
            "pod",
        ],
    ),
    (
        "cli",
        &[
            "error",
            "sys",
            "store",
            "runtime",
            "spec",
            "users",
            "source",
            "image",
            "monitor",
            "container",
            "pod",
            "env",
        ],
    ),
    ("bin", &["error", "sys", "store", "monitor", "cli"]),
    ("lib", &["error"]),
];

/// What has no place in decisions: `plan` reads no file and starts nothing.
const EFFECTS: &[&[&str]] = &[
    &["std", ":", ":", "fs"],
    &["std", ":", ":", "env"],
    &["std", ":", ":", "net"],
    &["std", ":", ":", "process"],
    &["rustix", ":", ":", "fs"],
    &["rustix", ":", ":", "mount"],
    &["nix", ":", ":", "mount"],
    &["nix", ":", ":", "sched"],
];

/// Lines that a file may have at most; 400 are the aim.
const LONGEST: usize = 700;

/// One file of the tree.
struct File {
    /// Relative to the top.
    path: String,
    source: Source,
}

impl File {
    fn new(path: &str, text: &str) -> File {
        File { path: path.to_owned(), source: Source::parse(text) }
    }

    /// The modules it is, below `runtime/src` or `bundles/src`: `["plan", "cgroup", "v1"]`.
    fn module(&self) -> Option<Vec<&str>> {
        let below = |top| self.path.strip_prefix(top);
        let inside =
            below("runtime/src/").or_else(|| below("bundles/src/"))?.strip_suffix(".rs")?;
        Some(inside.split('/').filter(|part| *part != "mod").collect())
    }

    /// The rooms of its crate.
    fn rooms(&self) -> &'static [(&'static str, &'static [&'static str])] {
        if self.path.starts_with("bundles/") { BUNDLES } else { ROOMS }
    }

    /// The room that it belongs to.
    fn room(&self) -> Option<&str> {
        self.module()?.first().copied()
    }

    /// Whether it may hold `unsafe` code.
    fn is_sys(&self) -> bool {
        self.path.ends_with("/sys.rs") || self.path.contains("/sys/")
    }

    fn complain(&self, line: usize, what: impl std::fmt::Display) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

/// The rooms that a file of `runtime/src` names, with the line.
fn named_rooms(file: &File) -> Vec<(String, usize)> {
    let Some(module) = file.module() else { return Vec::new() };
    // `main.rs` sees the library by the crate's name; every other file is in it.
    let program = file.path.ends_with("/main.rs") || file.path.contains("/bin/");
    let level = if program { 0 } else { module.len() };
    let tokens = &file.source.tokens;
    let mut found = Vec::new();
    let mut braces: Vec<bool> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let before = |back: usize| at.checked_sub(back).map_or("", |at| tokens[at].text.as_str());
        match token.text.as_str() {
            "{" => braces.push(before(2) == "mod"),
            "}" => drop(braces.pop()),
            "super" if !after_path(before(1), before(2)) => {
                let supers = count_supers(&tokens[at..]);
                let depth = level + braces.iter().filter(|is_module| **is_module).count();
                if supers == depth {
                    found.extend(heads(&tokens[at + 3 * supers - 3..]));
                }
            }
            "crate" | "richrun" | "rich_bundles" if !after_path(before(1), before(2)) => {
                found.extend(heads(&tokens[at..]));
            }
            _ => {}
        }
    }
    found
}

/// Whether the word after these two belongs to a path already begun.
fn after_path(last: &str, one_before: &str) -> bool {
    last == ":" && one_before == ":"
}

/// How many `super::` stand at the beginning.
fn count_supers(tokens: &[Token]) -> usize {
    tokens.chunks(3).take_while(|part| part[0].text == "super").count()
}

/// The first names of the path or the tree of paths after `crate`:
/// `crate::a::b` gives `a`; `crate::{a::{x, y}, b}` gives `a` and `b`.
fn heads(tokens: &[Token]) -> Vec<(String, usize)> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    if text(1) != ":" || text(2) != ":" {
        return Vec::new();
    }
    if text(3) != "{" {
        return tokens.get(3).map(|token| (token.text.clone(), token.line)).into_iter().collect();
    }
    let mut found = Vec::new();
    let mut depth = 1;
    for (at, token) in tokens.iter().enumerate().skip(4) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            name if depth == 1 && (text(at - 1) == "{" || text(at - 1) == ",") => {
                found.push((name.to_owned(), token.line));
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found
}

/// Imports run one way.
fn imports(file: &File) -> Vec<String> {
    let Some(room) = file.room() else { return Vec::new() };
    let rooms = file.rooms();
    let Some((_, allowed)) = rooms.iter().find(|(name, _)| *name == room) else {
        return vec![file.complain(1, format!("room {room} is not in tests/layering.rs"))];
    };
    let is_room = |name: &str| rooms.iter().any(|(room, _)| *room == name);
    named_rooms(file)
        .into_iter()
        .filter(|(name, _)| name != room && is_room(name) && !allowed.contains(&name.as_str()))
        .map(|(name, line)| file.complain(line, format!("{room} must not import {name}")))
        .collect()
}

/// The runtime knows nothing of the programs that drive it.
fn nothing_of_the_drivers(file: &File) -> Vec<String> {
    if !["runtime/", "init/", "hooks/"].iter().any(|top| file.path.starts_with(top)) {
        return Vec::new();
    }
    let lines = file.source.find(&["rich_bundles"]).into_iter();
    lines.map(|line| file.complain(line, "nothing of rich_bundles belongs here")).collect()
}

/// `plan` only decides, and so does the `spec` of the bundles.
fn purity(file: &File) -> Vec<String> {
    let of_bundles = file.path.starts_with("bundles/src/spec");
    if !of_bundles && (file.room() != Some("plan") || file.path.starts_with("bundles/")) {
        return Vec::new();
    }
    let lines = |words: &&[&str]| file.source.find(words);
    EFFECTS
        .iter()
        .flat_map(|words| lines(words).into_iter().map(move |line| (line, words.concat())))
        .map(|(line, name)| file.complain(line, format!("plan must not use {name}")))
        .collect()
}

/// `unsafe` stands in `sys` modules only, and each block says why it is sound.
fn unsafety(file: &File) -> Vec<String> {
    let mut found = Vec::new();
    for (at, token) in file.source.tokens.iter().enumerate() {
        let next = file.source.tokens.get(at + 1).map_or("", |next| next.text.as_str());
        match token.text.as_str() {
            "unsafe_code" | "unsafe" if !file.is_sys() => {
                found.push(file.complain(token.line, format!("{} outside sys", token.text)));
            }
            "unsafe" if (next == "{" || next == "impl") && !explained(file, at) => {
                found.push(file.complain(token.line, "unsafe without a SAFETY comment"));
            }
            _ => {}
        }
    }
    found
}

/// Whether a SAFETY comment stands between the statement before the token and
/// the token itself.
fn explained(file: &File, at: usize) -> bool {
    let tokens = &file.source.tokens[..at];
    let end = tokens.iter().rposition(|token| matches!(token.text.as_str(), ";" | "{" | "}"));
    let first = end.map_or(0, |end| tokens[end].line);
    let last = file.source.tokens[at].line;
    let says = |text: &str| text.starts_with("SAFETY:");
    file.source.comments.iter().any(|c| (first..=last).contains(&c.line) && says(&c.text))
}

/// No file outgrows its reader.
fn length(file: &File) -> Vec<String> {
    let lines = file.source.lines;
    let long = lines > LONGEST;
    long.then(|| file.complain(lines, format!("more than {LONGEST} lines"))).into_iter().collect()
}

/// One thread in the runtime, in what it runs hooks by and in PID 1: what is cloned has a copy of
/// one, and the program's own C library keeps one errno. Their tests may have more.
fn one_thread(file: &File) -> Vec<String> {
    let program = ["runtime/src/", "hooks/src/", "init/src/"];
    if !program.iter().any(|top| file.path.starts_with(top)) {
        return Vec::new();
    }
    let tests = if file.path.ends_with("/tests.rs") { 0 } else { usize::MAX };
    let tests = file
        .source
        .find(&["#", "[", "cfg", "(", "test", ")", "]"])
        .into_iter()
        .min()
        .unwrap_or(tests);
    let makers = ["spawn", "scope", "Builder"].iter();
    let found = makers.flat_map(|name| file.source.find(&["thread", ":", ":", name]));
    found
        .filter(|line| *line < tests)
        .map(|line| file.complain(line, "a second thread in a program that has one"))
        .collect()
}

/// Nothing is ignored, nothing is left for later.
fn unfinished(file: &File) -> Vec<String> {
    let mut found = Vec::new();
    let sets: [(&[&str], &str); 4] = [
        (&["#", "[", "ignore"], "an ignored test"),
        (&["todo", "!"], "unfinished code"),
        (&["unimplemented", "!"], "unfinished code"),
        (&["allow", "(", "clippy", ":", ":", "undocumented_unsafe_blocks"], "a silenced lint"),
    ];
    for (words, what) in sets {
        found.extend(file.source.find(words).into_iter().map(|line| file.complain(line, what)));
    }
    for comment in &file.source.comments {
        let mut words = comment.text.split(|c: char| !c.is_alphanumeric());
        if words.any(|word| matches!(word, "TODO" | "FIXME" | "XXX")) {
            found.push(file.complain(comment.line, "a note of something left for later"));
        }
    }
    found
}

/// A check: the complaints about one file.
type Check = fn(&File) -> Vec<String>;

const CHECKS: &[Check] =
    &[imports, nothing_of_the_drivers, purity, unsafety, length, one_thread, unfinished];

/// Every Rust file of the workspace.
fn tree() -> Vec<File> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut paths = Vec::new();
    for dir in ["runtime", "init", "hooks", "bundles", "tests", "integration"] {
        walk(&top.join(dir), &mut paths);
    }
    paths.sort();
    let relative = |path: &Path| path.strip_prefix(top).expect("below").display().to_string();
    let read = |path: &Path| fs::read_to_string(path).expect("read a source file");
    paths.iter().map(|path| File::new(&relative(path), &read(path))).collect()
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("read a source directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            if !path.ends_with("target") {
                walk(&path, found);
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// The folders that begin a crate, a program or a test of its own.
fn crates(files: &[File]) -> Vec<(String, Crate)> {
    let begins = |file: &File| {
        let (folder, name) = file.path.rsplit_once('/')?;
        matches!(name, "lib.rs" | "main.rs").then(|| folder.to_owned())
    };
    let roots: std::collections::BTreeSet<String> = files.iter().filter_map(begins).collect();
    let read = |root: String| {
        let below = |file: &'_ File| file.path.starts_with(&format!("{root}/"));
        let inside = files.iter().filter(|file| below(file));
        let inside = inside.map(|file| (&file.path[root.len() + 1..], &file.source));
        let name = root.trim_end_matches("/src").rsplit('/').next().expect("a name");
        let name = match name {
            "runtime" => "richrun",
            "bundles" => "rich_bundles",
            other => other,
        };
        let found = Crate::new(&root, name, inside);
        (root, found)
    };
    roots.into_iter().map(read).collect()
}

/// No two files import each other, directly or over others.
#[test]
fn there_are_no_circles_of_files() {
    let crates = crates(&tree());
    let circles = crates.iter().flat_map(|(_, found)| found.circles());
    let complaints: Vec<String> =
        circles.map(|circle| format!("import each other: {}", circle.join(", "))).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// The files of `launch` in which a call by path is not refused by clippy, each with its reason.
const BY_PATH: &[&str] = &[
    "console.rs",
    "host_path.rs",
    "identity.rs",
    "interpreter.rs",
    "join.rs",
    "no_pivot.rs",
    "notify_relay.rs",
    "services.rs",
];

#[test]
fn launch_makes_no_call_by_path() {
    let launch = "runtime/src/launch";
    let mut excused = Vec::new();
    for file in tree() {
        let Some(name) = file.path.strip_prefix(launch) else { continue };
        let find =
            |level| file.source.find(&[level, "(", "clippy", ":", ":", "disallowed_methods"]);
        assert!(find("allow").is_empty(), "{name}: an expect with a reason is wanted");
        if !find("expect").is_empty() {
            excused.push(name.trim_start_matches('/').to_owned());
        }
        assert_eq!(find("deny").len(), usize::from(name == "/mod.rs"), "{name}");
    }
    excused.sort();
    assert_eq!(excused, BY_PATH);
}

#[test]
fn the_tree_keeps_its_rules() {
    let files = tree();
    let complaints: Vec<String> =
        files.iter().flat_map(|file| CHECKS.iter().flat_map(|check| check(file))).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// That the checks see the tree at all, and each room's files as that room's.
#[test]
fn the_tree_is_there() {
    let files = tree();
    assert!(files.len() > 100, "only {} files", files.len());
    for (top, rooms) in [("runtime/", ROOMS), ("bundles/", BUNDLES)] {
        let inside = || files.iter().filter(|file| file.path.starts_with(top));
        for (room, _) in rooms.iter().filter(|(room, _)| *room != "rich_init") {
            assert!(inside().any(|file| file.room() == Some(room)), "no file of room {room}");
        }
    }
    let plan = files.iter().filter(|file| file.room() == Some("plan"));
    assert!(plan.flat_map(named_rooms).any(|(name, _)| name == "error"), "plan imports error");
    let sys = files.iter().filter(|file| file.is_sys());
    assert!(sys.map(|file| file.source.find(&["unsafe", "{"]).len()).sum::<usize>() > 20);
}

/// What the check says about a sample.
#[track_caller]
fn refuses(check: Check, path: &str, text: &str, complaint: &str) {
    let said = check(&File::new(path, text));
    assert!(said.len() == 1 && said[0].contains(complaint), "{text:?}: {said:?}");
}

#[track_caller]
fn accepts(check: Check, path: &str, text: &str) {
    let said = check(&File::new(path, text));
    assert!(said.is_empty(), "{text:?}: {said:?}");
}

#[test]
fn imports_against_the_stream_are_refused() {
    let table = [
        ("plan/mounts.rs", "use crate::sys::mount;", "plan must not import sys"),
        ("plan/mounts.rs", "fn f() { crate::launch::go() }", "plan must not import launch"),
        ("plan/cgroup/v1.rs", "use super::super::super::life;", "plan must not import life"),
        ("plan/mod.rs", "use super::{error::Error, host::Host};", "plan must not import host"),
        ("plan/x.rs", "mod tests { use super::super::super::sys; }", "plan must not import sys"),
        ("config/mod.rs", "use crate::{error::{Error, Kind}, plan::Plan};", "config must not"),
        ("life/store.rs", "use crate::launch::gate;", "life must not import launch"),
        ("commands/run.rs", "use crate::sys::clone;", "commands must not import sys"),
        ("main.rs", "use richrun::launch;", "main must not import launch"),
        ("log.rs", "use crate::commands;", "log must not import commands"),
        ("attic/old.rs", "", "room attic is not in"),
    ];
    for (path, text, complaint) in table {
        refuses(imports, &format!("runtime/src/{path}"), text, complaint);
    }
}

#[test]
fn imports_with_the_stream_are_accepted() {
    let table = [
        ("plan/mounts.rs", "use crate::error::Error; use crate::config::validate;"),
        ("plan/mounts.rs", "// use crate::sys\nconst A: &str = \"crate::sys\";"),
        ("plan/cgroup/v1.rs", "use super::super::devices::Devices; use super::knob;"),
        ("plan/sys_names.rs", "use super::sys; mod tests { use super::super::sys; }"),
        ("launch/child.rs", "use crate::{sys::{mount, clone}, plan::Plan, life::store};"),
        ("main.rs", "use richrun::{cli, commands, log};"),
        ("cli.rs", "mod tests { use super::*; use super::launch; }"),
    ];
    for (path, text) in table {
        accepts(imports, &format!("runtime/src/{path}"), text);
    }
    accepts(imports, "hooks/src/run.rs", "use crate::sys::spawn;");
    accepts(imports, "bundles/src/pod/mod.rs", "use crate::{container, store::Store};");
    accepts(imports, "bundles/src/bin/richctl.rs", "use rich_bundles::cli;");
}

#[test]
fn what_drives_the_runtime_keeps_to_its_rooms() {
    let sample = |path: &str, text: &str, complaint: &str| {
        refuses(imports, &format!("bundles/src/{path}"), text, complaint);
    };
    sample("store/find.rs", "use crate::monitor::Policy;", "store must not import monitor");
    sample("spec/mod.rs", "use crate::store::Store;", "spec must not import store");
    sample("container/run.rs", "use crate::pod;", "container must not import pod");
    sample("bin/rich-monitor.rs", "use rich_bundles::container;", "bin must not import container");
    sample("attic/x.rs", "", "room attic is not in");
    refuses(purity, "bundles/src/spec/mod.rs", "use std::fs;", "must not use std::fs");
    accepts(purity, "bundles/src/store/mod.rs", "use std::fs;");
    let driver = "use rich_bundles::store;";
    refuses(nothing_of_the_drivers, "runtime/src/life/mod.rs", driver, "nothing of rich_bundles");
    accepts(nothing_of_the_drivers, "bundles/src/bin/richctl.rs", driver);
}

#[test]
fn effects_in_plan_are_refused() {
    let path = "runtime/src/plan/mounts.rs";
    refuses(purity, path, "fn f() { std::fs::read(\"x\"); }", "must not use std::fs");
    accepts(purity, path, "use std::path::Path;");
    accepts(purity, "runtime/src/life/store.rs", "use std::fs;");
}

#[test]
fn unsafe_outside_sys_is_refused() {
    let path = "runtime/src/launch/child.rs";
    refuses(unsafety, path, "fn f() { unsafe { g() } }", "unsafe outside sys");
    refuses(unsafety, path, "#![allow(unsafe_code)]", "unsafe_code outside sys");
    accepts(unsafety, path, "// unsafe\nconst A: &str = \"unsafe {\";");
}

#[test]
fn unsafe_without_a_reason_is_refused() {
    let path = "runtime/src/sys/clone.rs";
    let silent = "unsafe without a SAFETY";
    refuses(unsafety, path, "fn f() {\n    unsafe { g() }\n}", silent);
    refuses(unsafety, path, "// SAFETY: a.\nlet a = 1;\n\nlet b = unsafe { g() };", silent);
    refuses(unsafety, path, "unsafe impl Send for A {}", silent);
    accepts(unsafety, path, "#![allow(unsafe_code)]\n// SAFETY: a.\nunsafe { g() }");
    accepts(unsafety, path, "// SAFETY: a\n// and b.\nlet x =\n    unsafe { g() };");
    accepts(unsafety, path, "#[unsafe(no_mangle)]\nunsafe extern \"C\" { fn g(); }");
}

#[test]
fn long_files_are_refused() {
    refuses(length, "init/src/run.rs", &"\n".repeat(LONGEST + 1), "more than 700 lines");
    accepts(length, "init/src/run.rs", &"\n".repeat(LONGEST));
}

#[test]
fn a_second_thread_is_refused() {
    let text = "fn f() { std::thread::spawn(g); }";
    refuses(one_thread, "runtime/src/host.rs", text, "a second thread");
    refuses(
        one_thread,
        "hooks/src/run.rs",
        "use std::thread::{self, Builder}; fn f() { thread::scope(g) }",
        "a second thread",
    );
    accepts(
        one_thread,
        "runtime/src/host.rs",
        "fn f() {}\n#[cfg(test)]\nmod tests { fn f() { std::thread::spawn(g); } }",
    );
    accepts(one_thread, "tests/src/command.rs", text);
}

#[test]
fn unfinished_work_is_refused() {
    let path = "hooks/src/run.rs";
    refuses(unfinished, path, "#[ignore = \"slow\"]\nfn f() {}", "an ignored test");
    refuses(unfinished, path, "fn f() { todo!() }", "unfinished code");
    refuses(unfinished, path, "fn f() { unimplemented!() }", "unfinished code");
    refuses(unfinished, path, "/* TODO: more */", "left for later");
    refuses(unfinished, path, "// FIXME", "left for later");
    accepts(unfinished, path, "// what is left to do\nfn todo() {}\nconst A: &str = \"TODO\";");
}
