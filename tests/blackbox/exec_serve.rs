//! exec --serve: one process after another, asked for over a socket.

use std::fs;
use std::io::{IoSlice, PipeReader, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use richrun_tests::command::{Cmd, Running, wait_until};
use richrun_tests::container::Container;
use richrun_tests::suite::{ALL, ONE, ROOT};
use richrun_tests::{Kind, Suite, Trial};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    sendmsg, socketpair,
};

pub fn register(suite: &mut Suite) {
    suite
        .on(ALL, "one_after_another", one_after_another)
        .on(ONE, "who_takes_too_long_is_killed", late)
        .on(ROOT, "not_into_a_paused_container", paused)
        .on(ONE, "ends_with_the_socket_and_the_container", ends)
        .on(ONE, "many_leave_nothing", many);
}

/// `exec --serve` and the other end of its socket.
struct Served {
    running: Running,
    socket: OwnedFd,
}

/// What was asked for: its output and its answer, each up to its end.
struct Asked {
    output: PipeReader,
    answer: PipeReader,
}

fn serve(t: &Trial, c: &Container<'_>) -> Served {
    t.only(&[Kind::Richrun], "has no exec --serve");
    let kind = (AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC);
    let (socket, theirs) = socketpair(kind.0, kind.1, kind.2, None).expect("a pair");
    let command: Cmd<'_> = c.exec_cmd(&["--serve"], &[]);
    Served { running: command.stdio(0, theirs).spawn(), socket }
}

impl Served {
    fn ask(&self, limit: u64, words: &[&str]) -> Asked {
        let (output, said) = std::io::pipe().expect("a pipe");
        let (answer, told) = std::io::pipe().expect("a pipe");
        let packet = format!("{limit}\0{}\0", words.join("\0"));
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fds = [said.as_fd(), told.as_fd()];
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
        let parts = [IoSlice::new(packet.as_bytes())];
        sendmsg(&self.socket, &parts, &mut ancillary, SendFlags::NOSIGNAL).expect("ask");
        Asked { output, answer }
    }

    fn sh(&self, script: &str) -> (String, String) {
        self.ask(60_000, &["sh", "-c", script]).both()
    }
}

impl Asked {
    fn both(mut self) -> (String, String) {
        let (mut answer, mut output) = (String::new(), String::new());
        self.answer.read_to_string(&mut answer).expect("the answer");
        self.output.read_to_string(&mut output).expect("the output");
        (answer, output)
    }
}

fn said(answer: &str, output: &str) -> (String, String) {
    (format!("{answer}\n"), output.to_owned())
}

fn one_after_another(t: &Trial) {
    let c = t.idle();
    let served = serve(t, &c);
    assert_eq!(served.sh("echo out; echo err >&2; exit 3"), said("exit 3", "out\nerr\n"));
    assert_eq!(served.sh("kill -9 $$"), said("exit 137", ""));
    // The same as a plain exec has: namespaces, groups, identity, limits, filters.
    let look = "for n in pid net ipc uts mnt user cgroup; do readlink /proc/self/ns/$n; done; \
                id; ulimit -n; grep -E '^(Cap|NoNew|Seccomp:|Sig[BIC])' /proc/self/status; \
                cat /proc/self/cgroup; env | sort; ls /proc/self/fd; readlink /proc/self/fd/0";
    let plain = c.exec(look).ok().out;
    assert_eq!(served.sh(look), said("exit 0", &plain));
    assert!(plain.ends_with("/dev/null\n"), "{plain}");
    // Several at once, and each has its own end.
    let slow = served.ask(60_000, &["sh", "-c", "while [ ! -e /tmp/go ]; do sleep 0.01; done"]);
    assert_eq!(served.sh("touch /tmp/go"), said("exit 0", ""));
    assert_eq!(slow.both(), said("exit 0", ""));
    let (answer, _) = served.ask(60_000, &["no-such-program"]).both();
    assert!(answer.starts_with("error ") && answer.contains("no-such-program"), "{answer}");
    drop(served.socket);
    served.running.wait().ok().prints("");
    c.remove();
}

fn late(t: &Trial) {
    let c = t.idle();
    let served = serve(t, &c);
    assert_eq!(served.ask(100, &["sleep", "7654"]).both(), said("late", ""));
    wait_until("it is gone", || !c.exec("ps").ok().out.contains("sleep 7654"));
    assert_eq!(served.sh("echo next"), said("exit 0", "next\n"));
    drop(served.socket);
    served.running.wait().ok();
    c.remove();
}

fn paused(t: &Trial) {
    let c = t.idle();
    let served = serve(t, &c);
    assert_eq!(served.sh("true"), said("exit 0", ""));
    c.verb("pause", &[]).ok();
    let (answer, _) = served.sh("true");
    assert!(answer.starts_with("error cannot exec in a paused container"), "{answer}");
    c.verb("resume", &[]).ok();
    assert_eq!(served.sh("true"), said("exit 0", ""));
    // Frozen while it runs: its time is over all the same.
    let mut slow = served.ask(5_000, &["sh", "-c", "echo begun; exec sleep 7655"]);
    slow.output.read_exact(&mut [0; 6]).expect("begun");
    c.verb("pause", &[]).ok();
    let mut answer = String::new();
    (&slow.answer).read_to_string(&mut answer).expect("the answer");
    assert_eq!(answer, "late\n");
    c.verb("resume", &[]).ok();
    slow.both();
    drop(served.socket);
    served.running.wait().ok();
    c.remove();
}

fn ends(t: &Trial) {
    let c = t.idle();
    let served = serve(t, &c);
    let mut slow = served.ask(600_000, &["sh", "-c", "echo begun; exec sleep 7656"]);
    slow.output.read_exact(&mut [0; 6]).expect("begun");
    drop(served.socket);
    served.running.wait().ok();
    // What it has let in ends with it.
    assert_eq!(slow.both().1, "");
    let served = serve(t, &c);
    assert_eq!(served.sh("true"), said("exit 0", ""));
    c.kill("KILL");
    served.running.wait().ok();
    c.remove();
}

/// Neither descriptors, nor processes, nor memory.
fn many(t: &Trial) {
    let c = t.idle();
    let served = serve(t, &c);
    let pid = served.running.pid();
    let held = || {
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors").count();
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps").lines().count();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        (fds, maps, children.expect("children"))
    };
    let ask = |count: usize| {
        for _ in 0..count {
            assert_eq!(served.sh("exit 5").0, "exit 5\n");
        }
    };
    ask(20);
    let before = held();
    ask(200);
    // Before, it may have held what it was just about to give back.
    wait_until("no more than before", || {
        let (fds, maps, children) = held();
        fds <= before.0 && maps <= before.1 && children.is_empty()
    });
    drop(served.socket);
    served.running.wait().ok();
    c.remove();
}
