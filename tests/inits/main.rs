//! rich-init beside tini, dumb-init and catatonit, behaviour by behaviour: the
//! table in `docs/inits.md` is what this test sees.
//!
//! Each row is one experiment that is made with all four programs as PID 1 of
//! a fresh pid namespace, and once more with rich-init under each of the other
//! names, where it must do as the original. `RICHRUN_BLESS=1` writes the table.

mod cross;
mod start;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Trial};
use richrun_tests::sys::kill;

/// How long is waited for what must come. What must not come is never waited for: something
/// that comes after it is.
const PATIENCE: Duration = Duration::from_secs(120);

/// The signal that comes after all others: each of the programs takes what waits for it by
/// number, the lowest first, and so do their payloads.
const LAST: i32 = 64;

/// The programs, in the order of the table's columns.
const PROGRAMS: [&str; 4] = ["rich-init", "tini", "dumb-init", "catatonit"];

/// One experiment.
struct Row {
    /// What stands in the first column.
    title: &'static str,
    /// Makes it; what stands in the program's column.
    act: fn(&Init) -> String,
    /// Whether rich-init under another's name does as that does.
    same: bool,
}

const ROWS: &[Row] = &[
    Row {
        title: "payload exits with 7",
        act: |init| init.code(&["sh", "-c", "exit 7"]),
        same: true,
    },
    Row {
        title: "payload is ended by TERM",
        act: |init| init.code(&["sh", "-c", "kill -TERM $$"]),
        same: true,
    },
    Row { title: "exit statuses 0 to 255", act: start::statuses, same: true },
    Row { title: "exits with 7, ended by TERM, by SEGV ✕", act: cross::ends, same: true },
    Row {
        title: "exits with 7, SIGCHLD was ignored at the start",
        act: start::child_signal_ignored,
        same: false,
    },
    Row { title: "payload not found", act: |init| init.code(&["/no/such"]), same: true },
    Row { title: "payload not executable", act: |init| init.code(&["/etc/passwd"]), same: true },
    Row { title: "orphans", act: orphans, same: true },
    Row { title: "10 000 orphans at once", act: start::many_orphans, same: true },
    Row { title: "where it is not PID 1, orphans are", act: start::not_first, same: true },
    Row { title: "TERM goes to", act: term_goes_to, same: true },
    Row { title: "signals not passed on", act: cross::not_passed_on, same: false },
    Row { title: "real-time signals", act: real_time, same: true },
    Row { title: "signals that the payload gets ✕", act: cross::payload_gets, same: false },
    Row { title: "signals that its child gets ✕", act: cross::child_gets, same: false },
    Row { title: "with TSTP, then CONT, the payload ✕", act: cross::stop, same: true },
    Row { title: "HUP and CONT from before the start ✕", act: cross::early, same: false },
    Row { title: "Ctrl-C at a terminal ✕", act: cross::interrupt, same: true },
    Row { title: "with Ctrl-Z at a terminal, the payload ✕", act: cross::suspend, same: false },
    Row { title: "payload is told of a new window size ✕", act: cross::window, same: true },
    Row { title: "signal mask and ignored signals", act: start::signals, same: false },
    Row { title: "piped standard input", act: start::piped_input, same: true },
    Row { title: "signal when the parent dies", act: start::parent_death, same: true },
    Row { title: "payload's process group", act: group, same: true },
    Row { title: "when the payload has ended, a descendant", act: descendant, same: true },
    Row { title: "a descendant in its own session gets TERM", act: own_session, same: true },
    Row { title: "idle, for 3 s", act: idle, same: false },
    Row { title: "TERM passed on as INT", act: rewritten, same: false },
    Row { title: "exit status 7 taken for 0", act: mapped, same: false },
    Row { title: "exit statuses that can be replaced", act: start::replaced, same: false },
    Row { title: "its version begins with", act: start::version, same: true },
];

/// A program under a name.
struct Init {
    path: PathBuf,
    name: &'static str,
    dir: PathBuf,
}

impl Init {
    /// It as PID 1, with options and a payload.
    fn command(&self, options: &[&str], payload: &[&str]) -> Command {
        self.command_by(&[], options, payload)
    }

    /// The same, started by another command.
    fn command_by(&self, wrapper: &[&str], options: &[&str], payload: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.args(wrapper).arg(&self.path);
        command.args(options).arg("--").args(payload).current_dir(&self.dir);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        // Of a group with a parent beside it in its session, whoever has started these trials:
        // in an orphaned one a terminal's stops are ignored (setpgid(2)).
        command.process_group(0);
        command
    }

    fn run(&self, payload: &[&str]) -> Output {
        self.command(&[], payload).output().expect("unshare")
    }

    fn code(&self, payload: &[&str]) -> String {
        self.run(payload).status.code().map_or("none".to_owned(), |code| code.to_string())
    }

    fn sh(&self, script: &str) -> String {
        let output = self.run(&["sh", "-c", script]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// A payload that has said `ready`; the pid of PID 1 outside.
    fn ready(&self, options: &[&str], script: &str) -> (Child, i32) {
        let mark = self.dir.join("ready");
        let _ = fs::remove_file(&mark);
        let child = self.command(options, &["sh", "-c", script]).spawn().expect("unshare");
        wait(PATIENCE, || mark.exists());
        let pid = self.first(&child).expect("PID 1");
        (child, pid)
    }

    /// PID 1 below `unshare`, seen from outside.
    fn first(&self, unshare: &Child) -> Option<i32> {
        children(unshare.id() as i32).first().copied()
    }
}

/// The children of a process, seen from outside.
fn children(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let text = text.unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// The state of a process, seen from outside.
fn state(pid: i32) -> char {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit_once(") ").and_then(|rest| rest.1.chars().next()).unwrap_or('-')
}

fn wait(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    while Instant::now() < end {
        if done() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

fn end(mut child: Child) {
    child.kill().expect("kill unshare");
    child.wait().expect("wait");
}

fn finish(child: Child) -> String {
    let output = child.wait_with_output().expect("wait");
    output.status.code().map_or("none".to_owned(), |code| code.to_string())
}

fn orphans(init: &Init) -> String {
    let script = "for i in 1 2 3 4 5 6 7 8; do (sleep 0.02 & ); done; n=0; \
                  until [ \"$(cat /proc/[0-9]*/stat | grep -c '(sleep)')\" = 0 ]; do \
                  sleep 0.01; n=$((n+1)); [ $n -lt 10000 ] || exit 0; done; echo gone";
    if init.sh(script) == "gone" { "reaped".to_owned() } else { "left as zombies".to_owned() }
}

/// The payload's child, in its group, notes a TERM too. The last signal ends both, and is sent
/// once PID 1, which sleeps again then, has signalled all whom it signals.
fn term_goes_to(init: &Init) -> String {
    let script = "rm -f got told; (trap 'echo child >> got' TERM; trap 'rm -f up; exit' 64; : > up; \
                  while :; do sleep 0.02; done) & trap ': > told' TERM; \
                  trap 'kill -64 $!; while [ -e up ]; do sleep 0.01; done; exit' 64; \
                  while [ ! -e up ]; do sleep 0.01; done; : > ready; while :; do sleep 0.02; done";
    let _ = fs::remove_file(init.dir.join("up"));
    let (child, pid) = init.ready(&[], script);
    kill(pid, 15);
    assert!(wait(PATIENCE, || init.dir.join("told").exists() && state(pid) == 'S'));
    kill(pid, LAST);
    finish(child);
    let got = init.dir.join("got").exists();
    if got { "the payload's group" } else { "the payload" }.to_owned()
}

fn name(number: i32) -> &'static str {
    match number {
        4 => "ILL",
        5 => "TRAP",
        6 => "ABRT",
        7 => "BUS",
        8 => "FPE",
        11 => "SEGV",
        17 => "CHLD",
        20 => "TSTP",
        21 => "TTIN",
        22 => "TTOU",
        31 => "SYS",
        _ => "other",
    }
}

fn real_time(init: &Init) -> String {
    let script = "trap ': > got' 40; : > ready; while :; do sleep 0.01; done";
    let got = init.dir.join("got");
    let _ = fs::remove_file(&got);
    let (child, pid) = init.ready(&[], script);
    kill(pid, 40);
    let seen = wait(PATIENCE, || got.exists());
    end(child);
    if seen { "passed on" } else { "not passed on" }.to_owned()
}

fn group(init: &Init) -> String {
    // pid, ..., group, session: fields 1, 5 and 6 of /proc/PID/stat.
    let line = init.sh("cut -d' ' -f1,5,6 /proc/self/stat; cut -d' ' -f1,5,6 /proc/$$/stat");
    let own = line.lines().nth(1).unwrap_or_default();
    let fields: Vec<&str> = own.split(' ').collect();
    match fields[..] {
        [pid, _, session] if pid == session => "its own session",
        [pid, group, _] if pid == group => "its own group",
        _ => "that of PID 1",
    }
    .to_owned()
}

/// Something that takes some time to clean up, which must be more than a PID 1 needs to end
/// after its payload, and less than one that waits gives.
const CLEANER: &str = "trap '' HUP; rm -f cleaned started; (trap ':' TERM; : > started; sleep 1.5; \
                       sleep 1; : > cleaned) & while [ ! -e started ]; do sleep 0.01; done; exit 3";

fn descendant(init: &Init) -> String {
    let code = init.code(&["sh", "-c", CLEANER]);
    assert_eq!(code, "3");
    let cleaned = init.dir.join("cleaned").exists();
    if cleaned { "may finish (bounded)" } else { "is killed at once" }.to_owned()
}

fn own_session(init: &Init) -> String {
    let script = "rm -f told up; setsid sh -c 'trap \": > told; exit\" TERM; : > up; while :; do \
                  sleep 0.02; done' & while [ ! -e up ]; do sleep 0.01; done; trap 'exit 0' TERM; \
                  : > ready; while :; do sleep 0.02; done";
    let (child, pid) = init.ready(&[], script);
    kill(pid, 15);
    finish(child);
    if init.dir.join("told").exists() { "yes" } else { "no" }.to_owned()
}

/// How often it wakes in a span of 3 s; one that has nothing to do at all may still be busy
/// with the start in the first.
fn idle(init: &Init) -> String {
    let (child, pid) = init.ready(&[], ": > ready; exec sleep 1000");
    let count = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    let span = || {
        let before = count();
        std::thread::sleep(Duration::from_secs(3));
        count() - before
    };
    let wakes: Vec<u64> = (0..3).map(|_| span()).collect();
    end(child);
    match wakes.into_iter().min().unwrap_or(0) {
        0 => "never wakes".to_owned(),
        1..=4 => "wakes every second".to_owned(),
        other => format!("wakes {other} times"),
    }
}

fn rewritten(init: &Init) -> String {
    let option: &[&str] = match init.name {
        "rich-init" => &["--rewrite", "TERM:INT"],
        "dumb-init" => &["-r", "15:2"],
        _ => return "cannot".to_owned(),
    };
    let script = "trap 'exit 5' INT; trap 'exit 6' TERM; : > ready; while :; do sleep 0.02; done";
    let (child, pid) = init.ready(option, script);
    kill(pid, 15);
    let code = finish(child);
    if code == "5" { format!("`{}`", option.join(" ")) } else { format!("exit {code}") }
}

fn mapped(init: &Init) -> String {
    let option: &[&str] = match init.name {
        "rich-init" => &["--exit-map", "7:0"],
        "tini" => &["-e", "7"],
        _ => return "cannot".to_owned(),
    };
    let output = init.command(option, &["sh", "-c", "exit 7"]).output().expect("unshare");
    let code = output.status.code().unwrap_or(-1);
    if code == 0 { format!("`{}`", option.join(" ")) } else { format!("exit {code}") }
}

/// A directory for one experiment.
fn scratch(word: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("richrun-inits-{}-{word}", std::process::id()));
    fs::create_dir_all(&dir).expect("make a directory");
    dir
}

/// rich-init as this build has it, under a name.
fn own(dir: &Path, name: &str) -> PathBuf {
    let program = dir.join("rich-init");
    if !program.exists() {
        fs::write(&program, richrun::rich_init::RICH_INIT).expect("write rich-init");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    let link = dir.join(name);
    if !link.exists() {
        symlink("rich-init", &link).expect("link");
    }
    link
}

fn experiment(row: &Row, at: usize) -> Vec<(String, String)> {
    let mut cells = Vec::new();
    for name in PROGRAMS {
        let dir = scratch(&format!("{at}-{name}"));
        let installed = Path::new("/usr/bin").join(name);
        let path = if name == "rich-init" { own(&dir, name) } else { installed };
        cells.push((name.to_owned(), (row.act)(&Init { path, name, dir: dir.clone() })));
        if name != "rich-init" && row.same {
            let path = own(&dir, name);
            let cell = (row.act)(&Init { path, name, dir: dir.clone() });
            cells.push((format!("rich-init as {name}"), cell));
        }
        fs::remove_dir_all(&dir).expect("remove the directory");
    }
    cells
}

/// The row of the table.
fn line(row: &Row, cells: &[(String, String)]) -> String {
    let shown = cells.iter().filter(|cell| PROGRAMS.contains(&cell.0.as_str()));
    let texts: Vec<&str> = shown.map(|cell| cell.1.as_str()).collect();
    format!("| {} | {} |", row.title, texts.join(" | "))
}

fn check(row: &Row, at: usize) -> Result<(), String> {
    let cells = experiment(row, at);
    for name in &PROGRAMS[1..] {
        let find = |wanted: &str| cells.iter().find(|cell| cell.0 == wanted).map(|cell| &cell.1);
        let (theirs, ours) = (find(name), find(&format!("rich-init as {name}")));
        if ours.is_some() && ours != theirs {
            return Err(format!("{}: {name}: {theirs:?}, rich-init as it: {ours:?}", row.title));
        }
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/inits.md");
    let text = fs::read_to_string(&page).map_err(|error| format!("{}: {error}", page.display()))?;
    let wanted = line(row, &cells);
    if text.lines().any(|line| line == wanted) {
        return Ok(());
    }
    Err(format!("docs/inits.md does not have: {wanted}"))
}

/// Why the experiments cannot be made here.
fn lacking() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root for pid namespaces".to_owned());
    }
    let missing: Vec<&str> = PROGRAMS[1..]
        .iter()
        .copied()
        .filter(|name| !Path::new("/usr/bin").join(name).exists())
        .collect();
    (!missing.is_empty()).then(|| format!("not installed: {}", missing.join(" ")))
}

/// The signals that wait for a process, a bit each.
fn pending(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let set = |name: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(name));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
    };
    set("SigPnd:") | set("ShdPnd:")
}

fn main() -> ExitCode {
    richrun_tests::sys::forget_inherited_signals();
    if std::env::var_os("RICHRUN_BLESS").is_some() {
        for (at, row) in ROWS.iter().enumerate() {
            println!("{}", line(row, &experiment(row, at)));
        }
        return ExitCode::SUCCESS;
    }
    let trials = ROWS.iter().enumerate().map(|(at, row)| {
        let title = row.title.replace(' ', "_");
        Trial::ignorable_test(title, move || match lacking() {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => check(row, at).map(|()| Completion::Completed).map_err(Into::into),
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}
