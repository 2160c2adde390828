//! Terminals: by a console socket, and shown by the runtime itself.

use std::fs::File;

use richrun_tests::bundle::sh;
use richrun_tests::command::{Running, wait_until};
use richrun_tests::container::IDLE;
use richrun_tests::suite::{BOTH, ONE};
use richrun_tests::terminal::{FdSocket, Terminal, pair};
use richrun_tests::{Kind, Suite, Trial};
use rustix::termios::{LocalModes, tcgetattr};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite
        .on(BOTH, "console_of_create", console_of_create)
        .on(BOTH, "console_of_run", console_of_run)
        .on(BOTH, "console_of_exec", console_of_exec)
        .on(BOTH, "foreground_terminal", foreground_terminal)
        .on(ONE, "foreground_terminal_of_exec", foreground_terminal_of_exec)
        .on(BOTH, "the_terminal_is_ready_first", the_terminal_is_ready_first)
        .on(BOTH, "no_terminal_to_show_it_on", no_terminal_to_show_it_on)
        .on(ONE, "input_that_ends_before_the_terminal", input_that_ends_before_the_terminal)
        .on(ONE, "job_control", job_control)
        .on(ONE, "a_terminal_left_behind_is_nobodys", a_terminal_left_behind_is_nobodys);
}

/// A payload on a terminal that shows all that it knows of it, says the size
/// whenever that changes, and echoes lines.
fn talker(c: &mut Value) {
    c["process"]["terminal"] = json!(true);
    sh(c, SHOW);
}

const SHOW: &str =
    "trap 'echo new $(stty -F /dev/tty size)' WINCH; trap 'echo interrupted; exit 5' INT
    for n in 0 1 2; do readlink /proc/self/fd/$n; done
    echo size $(stty -F /dev/tty size)
    echo by its name > /dev/tty
    [ $(stat -c %t:%T /dev/console) = $(stat -c %t:%T /dev/pts/0) ] && echo same device
    echo by the console > /dev/console
    while :; do if read -t 1 word; then echo you said $word; fi; done";

/// What [`SHOW`] has to show on a terminal that it holds alone.
fn check_talk(terminal: &mut Terminal, size: &str) {
    terminal.expect("/dev/pts/0\r\n/dev/pts/0\r\n/dev/pts/0\r\n");
    terminal.expect(&format!("{size}\r\n"));
    terminal.expect("by its name\r\n");
    terminal.expect("same device\r\n");
    terminal.expect("by the console\r\n");
    terminal.send("a word\n");
    terminal.expect("you said a word\r\n");
    terminal.resize(44, 55);
    terminal.expect("new 44 55\r\n");
}

fn console_of_create(t: &Trial) {
    let socket = FdSocket::new(&t.dir.join("run/console"));
    let bundle = t.bundle(|c| {
        talker(c);
        c["process"]["consoleSize"] = json!({"height": 30, "width": 100});
    });
    let line = ["create", "--console-socket", socket.path(), "-b", bundle.path(), &bundle.id];
    t.rt(&line).ok();
    let (name, master) = socket.receive();
    if t.is_richrun() {
        assert_eq!(name, "/dev/ptmx");
    }
    let c = t.take(&bundle);
    assert_eq!(c.status(), "created", "the terminal is there before the payload");
    c.start();
    let mut terminal = Terminal::from(master);
    check_talk(&mut terminal, "size 30 100");
    c.remove();
    terminal.drain();
}

fn console_of_run(t: &Trial) {
    let socket = FdSocket::new(&t.dir.join("run/console"));
    let bundle = t.bundle(talker);
    t.rt(&["run", "-d", "--console-socket", socket.path(), "-b", bundle.path(), &bundle.id]).ok();
    let mut terminal = Terminal::from(socket.receive().1);
    let c = t.take(&bundle);
    // busybox says nothing of a size of 0.
    check_talk(&mut terminal, "size");
    // It is the controlling terminal: the line discipline's signals arrive.
    terminal.send("\x03");
    terminal.expect("interrupted\r\n");
    c.wait("stopped");
    c.remove();
}

fn console_of_exec(t: &Trial) {
    let socket = FdSocket::new(&t.dir.join("run/console"));
    let c = t.idle();
    let options = ["-d", "-t", "--console-socket", socket.path()];
    let script = "readlink /proc/self/fd/0; stty size; read word; echo you said $word";
    c.exec_cmd(&options, &["sh", "-c", script]).ok();
    let mut terminal = Terminal::from(socket.receive().1);
    terminal.expect("/dev/pts/0\r\n");
    terminal.send("hello\n");
    terminal.expect("you said hello\r\n");
    terminal.drain();
    c.remove();
}

/// Whether lines are not edited on this side any more.
fn is_raw(slave: &File) -> bool {
    !tcgetattr(slave).expect("tcgetattr").local_modes.contains(LocalModes::ICANON)
}

/// The foreground against a user's terminal, until it is interrupted.
fn check_foreground(terminal: &mut Terminal, slave: &File, running: Running) {
    terminal.expect(" 11 22\r\n");
    assert!(is_raw(slave), "keys go to the payload as they are");
    terminal.send("word\r");
    terminal.expect("you said word\r\n");
    terminal.resize(33, 66);
    terminal.expect("new 33 66\r\n");
    terminal.send("\x03");
    terminal.expect("interrupted\r\n");
    running.wait().exits(5);
    assert!(!is_raw(slave), "the terminal is as it was");
}

fn clones(slave: &File) -> [File; 3] {
    [(); 3].map(|()| slave.try_clone().expect("clone"))
}

fn foreground_terminal(t: &Trial) {
    let (mut terminal, slave) = pair(11, 22);
    let bundle = t.bundle(talker);
    let [a, b, c] = clones(&slave);
    let run = t.run_cmd(&bundle, &[]).stdio(0, a).stdio(1, b).stdio(2, c).with_terminal();
    check_foreground(&mut terminal, &slave, run.spawn());
}

fn foreground_terminal_of_exec(t: &Trial) {
    let (mut terminal, slave) = pair(11, 22);
    let container = t.idle();
    let [a, b, c] = clones(&slave);
    // Without a console the test of the device would fail: only what follows counts.
    let exec = container.exec_cmd(&["-t"], &["sh", "-c", SHOW]);
    let exec = exec.stdio(0, a).stdio(1, b).stdio(2, c).with_terminal();
    check_foreground(&mut terminal, &slave, exec.spawn());
    container.remove();
}

/// A stopped job gives the terminal back in its old modes, and takes it again.
fn job_control(t: &Trial) {
    t.only(&[Kind::Richrun], "passes the signal on and stays");
    let (mut terminal, slave) = pair(11, 22);
    let bundle = t.bundle(|c| {
        c["process"]["terminal"] = json!(true);
        sh(c, &format!("echo payload up; {IDLE}"));
    });
    let [a, b, c] = clones(&slave);
    let shell =
        t.cmd("/bin/bash", &["--norc", "--noprofile", "--noediting", "-i"]).env("PS1", "prompt> ");
    let shell = shell.stdio(0, a).stdio(1, b).stdio(2, c).with_terminal().spawn();
    let (program, root) = (t.runtime_path(), t.root());
    let file = t.dir.join("run/shell.pid");
    terminal.send(&format!(
        "sh -c 'echo $$ > {}; exec {} --root {} run -b {} {}'; echo status $?\n",
        file.display(),
        program.display(),
        root.display(),
        bundle.path(),
        bundle.id
    ));
    terminal.expect("payload up\r");
    wait_until("raw mode", || is_raw(&slave));
    let pid = std::fs::read_to_string(&file).expect("the pid").trim().parse().expect("a pid");
    richrun_tests::sys::kill(pid, libc::SIGTSTP);
    terminal.expect("Stopped");
    terminal.send("stty -a | grep -o '.icanon'; fg\n");
    terminal.expect(" icanon");
    wait_until("raw mode again", || is_raw(&slave));
    t.rt(&["kill", &bundle.id, "TERM"]).ok();
    terminal.send("");
    wait_until("the modes to be back", || !is_raw(&slave));
    terminal.send("exit 0\n");
    shell.wait().ok();
}

/// Its size and modes are there before the program is: a program that looks at once
/// sees them, each time.
fn the_terminal_is_ready_first(t: &Trial) {
    let show = "stty size; echo hi";
    let bundle = t.bundle(|c| {
        c["process"]["terminal"] = json!(true);
        sh(c, show);
    });
    let idle = t.idle();
    for turn in 0..30 {
        let (mut terminal, slave) = pair(11, 22);
        let [a, b, c] = clones(&slave);
        drop(slave);
        let command = match turn % 2 {
            0 => t.run_cmd(&bundle, &[]),
            _ => idle.exec_cmd(&["-t"], &["sh", "-c", show]),
        };
        command.stdio(0, a).stdio(1, b).stdio(2, c).with_terminal().ok();
        assert_eq!(terminal.drain(), "11 22\r\nhi\r\n", "{turn}");
    }
    idle.remove();
}

/// From cron or a pipeline without a terminal: an error before anything is made, and
/// no payload that waits for keys that nobody can press.
fn no_terminal_to_show_it_on(t: &Trial) {
    let idle = t.idle();
    let bundle = t.bundle(|c| {
        c["process"]["terminal"] = json!(true);
        sh(c, "read word");
    });
    let program = t.runtime_path();
    let root = t.root();
    let words = [program.to_str().expect("utf-8"), "--root", root.to_str().expect("utf-8")];
    let alone = |line: &[&str]| t.cmd("setsid", &["-w"]).args(&words).args(line);
    let run = ["run", "-b", bundle.path(), &bundle.id];
    let exec = ["exec", "-t", &idle.id, "sh"];
    for (line, status) in [(&run[..], 1), (&exec[..], 255)] {
        for command in [alone(line), alone(line).input("echo hi\n")] {
            command.run().exits(status).says("open /dev/tty: no such device or address");
        }
    }
    t.rt(&["state", &bundle.id]).run().fails();
    idle.remove();
    t.finish();
}

/// Keys from a pipe, the terminal elsewhere: when the pipe ends, so does the input.
fn input_that_ends_before_the_terminal(t: &Trial) {
    t.only(&[Kind::Richrun], "leaves the payload waiting");
    for input in ["a line\n", "a line without an end", ""] {
        let (mut terminal, slave) = pair(11, 22);
        let bundle = t.bundle(|c| {
            c["process"]["terminal"] = json!(true);
            sh(c, "cat; exit 3");
        });
        let [_, b, c] = clones(&slave);
        drop(slave);
        t.run_cmd(&bundle, &[]).input(input).stdio(1, b).stdio(2, c).run().exits(3);
        assert!(terminal.drain().contains(input.trim()));
    }
}

/// A detached container outlives the terminal that it was started from: PID 1 takes no
/// terminal that is not the container's own, even where it is free.
fn a_terminal_left_behind_is_nobodys(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    let services = t.dir.join("services.toml");
    std::fs::write(&services, "").expect("write the services file");
    let services = services.to_str().expect("utf-8 path");
    for options in [&["--rich"][..], &["--rich", "--services", services], &[]] {
        let (terminal, slave) = pair(11, 22);
        let bundle = t.bundle(|c| {
            sh(c, "trap 'exit 9' HUP; echo $(cut -d' ' -f7 /proc/self/stat) > /tmp/tty; while :; do sleep 0.02; done");
            c["root"]["readonly"] = json!(false);
        });
        let [a, b, c] = clones(&slave);
        // Free: it is on no session of its own.
        let line = [&["-d"], options].concat();
        t.run_cmd(&bundle, &line).stdio(0, a).stdio(1, b).stdio(2, c).ok();
        let c = t.take(&bundle);
        let tty = bundle.rootfs().join("tmp/tty");
        wait_until("the payload", || {
            std::fs::read_to_string(&tty).is_ok_and(|text| text.ends_with('\n'))
        });
        drop((slave, terminal));
        c.exec("true").ok();
        assert_eq!(std::fs::read_to_string(&tty).expect("the terminal").trim(), "0", "{options:?}");
        assert_eq!(c.status(), "running", "{options:?}");
        c.remove();
    }
}
