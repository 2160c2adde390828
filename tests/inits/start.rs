//! What a payload starts with, and what becomes of its exit status.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Init, PATIENCE, wait};

/// Every exit status there is.
pub fn statuses(init: &Init) -> String {
    let wrong: Vec<String> = (0..256)
        .filter(|code| init.code(&["sh", "-c", &format!("exit {code}")]) != code.to_string())
        .map(|code| code.to_string())
        .collect();
    if wrong.is_empty() { "all passed on".to_owned() } else { format!("not {}", wrong.join(" ")) }
}

/// What `--version` calls it: Docker asks its init.
pub fn version(init: &Init) -> String {
    let output = Command::new(&init.path).arg("--version").output().expect("ask its version");
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    told.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default().trim().to_owned()
}

/// Each status with an option that replaces it.
pub fn replaced(init: &Init) -> String {
    let all = |option: &dyn Fn(u8) -> [String; 2], wanted: &dyn Fn(u8) -> u8| {
        (0..=255).all(|code| {
            let options = option(code);
            let options = [options[0].as_str(), options[1].as_str()];
            let payload = ["sh", "-c", &format!("exit {code}")];
            let output = init.command(&options, &payload).output().expect("unshare");
            output.status.code() == Some(i32::from(wanted(code)))
        })
    };
    let map = |code: u8| ["--exit-map".to_owned(), format!("{code}:{}", 255 - code)];
    let zero = |code: u8| ["-e".to_owned(), code.to_string()];
    let done = match init.name {
        "rich-init" => all(&map, &|code| 255 - code).then_some("each by any"),
        "tini" => all(&zero, &|_| 0).then_some("each by 0"),
        _ => Some("none"),
    };
    done.unwrap_or("not all").to_owned()
}

/// Whether the payload has the mask and the ignored signals that the program was given.
pub fn signals(init: &Init) -> String {
    let wrapper = ["env", "--block-signal=USR1", "--ignore-signal=USR2"];
    let script = ["grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status"];
    let output = init.command_by(&wrapper, &[], &script).output().expect("unshare");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let set = |name: &str| -> Vec<i32> {
        let mask = text.lines().find_map(|line| line.strip_prefix(name));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
        // 32 and 33 are the C library's: whoever has started the test may have them so or so.
        let named = (1..=64).filter(|signal| ![32, 33].contains(signal));
        named.filter(|signal| mask & (1 << (signal - 1)) != 0).collect()
    };
    match (&set("SigBlk:")[..], &set("SigIgn:")[..]) {
        ([10], [12]) => "as they were".to_owned(),
        ([], []) => "none blocked, none ignored".to_owned(),
        ([10, more @ ..], [12]) => {
            let names: Vec<&str> = more.iter().map(|number| super::name(*number)).collect();
            format!("{} blocked", names.join(" "))
        }
        other => format!("{other:?}"),
    }
}

/// The exit status of a payload, where the program was started with SIGCHLD ignored: then
/// the kernel itself takes children in, unless somebody changes that.
pub fn child_signal_ignored(init: &Init) -> String {
    let wrapper = ["env", "--ignore-signal=CHLD"];
    let payload = ["sh", "-c", "sleep 0.1; exit 7"];
    let mut child = init.command_by(&wrapper, &[], &payload).spawn().expect("unshare");
    let mut code = None;
    let mut alone = None;
    wait(PATIENCE, || {
        code = child.try_wait().expect("wait");
        // No payload any more, and still there long after: it has not noticed.
        let childless = init.first(&child).is_some_and(|pid| super::children(pid).is_empty());
        let since = if childless { Some(*alone.get_or_insert_with(Instant::now)) } else { None };
        alone = since;
        code.is_some() || since.is_some_and(|since| since.elapsed() > Duration::from_secs(5))
    });
    let Some(status) = code else {
        super::end(child);
        return "never ends".to_owned();
    };
    status.code().map_or("none".to_owned(), |code| code.to_string())
}

/// Whether the program asks for a signal when its parent dies, and passes it on.
pub fn parent_death(init: &Init) -> String {
    let options: &[&str] = match init.name {
        "rich-init" => &["--parent-death-signal", "USR1"],
        "tini" => &["-p", "SIGUSR1"],
        _ => return "cannot".to_owned(),
    };
    let script = "trap ': > got; exit' USR1; : > ready; while :; do sleep 0.02; done";
    let got = init.dir.join("got");
    let _ = fs::remove_file(&got);
    // Not as PID 1: there the parent's death is the end of unshare, which kills its child.
    let mark = init.dir.join("ready");
    let _ = fs::remove_file(&mark);
    let mut parent = Command::new("sh")
        .args(["-c", "\"$@\" & echo $! > pid; wait", "sh"])
        .arg(&init.path)
        .args(options)
        .args(["--", "sh", "-c", script])
        .current_dir(&init.dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh");
    wait(PATIENCE, || mark.exists());
    parent.kill().expect("kill the parent");
    parent.wait().expect("wait");
    let told = wait(PATIENCE, || got.exists());
    let pid = fs::read_to_string(init.dir.join("pid")).expect("the pid");
    if !told {
        richrun_tests::sys::kill(pid.trim().parse().expect("a pid"), 9);
    }
    if told { format!("`{}`", options[0]) } else { "not told".to_owned() }
}

/// Who reads from a pipe that is standard input.
pub fn piped_input(init: &Init) -> String {
    let mut command = init.command(&[], &["cat"]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("unshare");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"words").expect("write");
    drop(input);
    let output = child.wait_with_output().expect("wait");
    if output.stdout == b"words" { "the payload's" } else { "lost" }.to_owned()
}

/// Who is the parent of an orphan, where the program is not PID 1. It is one as soon as the
/// subshell has ended, which the script waits for, and lives until it has been looked at.
pub fn not_first(init: &Init) -> String {
    let script = "(sleep 1000 & echo $! > pid); read -r pid < pid; cut -d' ' -f4 /proc/$pid/stat; \
                  echo $PPID; kill $pid; exit 7";
    let adopts = |options: &[&str]| {
        let output = Command::new(&init.path)
            .args(options)
            .args(["--", "sh", "-c", script])
            .current_dir(&init.dir)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .expect("run");
        assert_eq!(output.status.code(), Some(7), "{}", init.name);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let pids: Vec<&str> = text.split_whitespace().collect();
        pids.len() == 2 && pids[0] == pids[1]
    };
    if adopts(&[]) {
        return "adopted".to_owned();
    }
    let by_option = init.name == "tini" && adopts(&["-s"]);
    if by_option { "adopted with `-s`" } else { "left to PID 1" }.to_owned()
}

/// Ten thousand orphans that all end at the same time.
pub fn many_orphans(init: &Init) -> String {
    let probe = richrun_tests::bundle::probe();
    let output = init.run(&[probe.to_str().expect("utf-8 path"), "orphans", "10000", "at-once"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let good = output.status.success() && said.starts_with("reaped 10000 in ");
    if good { "reaped" } else { "left as zombies" }.to_owned()
}
