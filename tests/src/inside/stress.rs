//! Payloads that make life hard for PID 1, and tell how it did.

use std::io::{Read, Write};
use std::process::exit;
use std::time::{Duration, Instant};

use rustix::termios::tcgetwinsize;

use crate::sys;

/// Says that it is there, and does nothing but say so when the last signal (RTMAX) comes;
/// every other one has its default meaning.
pub fn idle() -> ! {
    let last = sys::SignalSet::of(LAST);
    last.block();
    println!("ready");
    loop {
        last.next();
        println!("last");
    }
}

/// Sleeps and exits with a status.
pub fn later(millis: &str, status: &str) -> ! {
    std::thread::sleep(Duration::from_millis(millis.parse().expect("milliseconds")));
    exit(status.parse().expect("a status"))
}

/// Touches so many MiB of memory, one after the other.
pub fn eat(mib: &str) {
    let mut eaten = Vec::new();
    for _ in 0..mib.parse().expect("a number") {
        eaten.push(vec![1_u8; 1 << 20]);
    }
    println!("ate {}", eaten.len());
}

/// Forks for ever, and so does every child.
pub fn bomb() -> ! {
    loop {
        if sys::fork() < 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Leaves so many orphans to PID 1 and waits until it has reaped them; prints how long the
/// last of them took from their end. All of them live until they end `at once`, or each
/// ends as soon as it is an orphan.
pub fn orphans(count: &str, at_once: bool) {
    let count: usize = count.parse().expect("a number");
    let (mut told, tell) = std::io::pipe().expect("pipe");
    let (gate, open) = std::io::pipe().expect("pipe");
    let parent = sys::fork();
    assert!(parent >= 0, "fork");
    if parent == 0 {
        drop(told);
        bear(count, at_once.then_some(gate), open, tell);
    }
    drop(tell);
    drop(gate);
    let mut pids = Vec::new();
    let mut pid = [0; 4];
    while told.read_exact(&mut pid).is_ok() {
        pids.push(i32::from_ne_bytes(pid));
    }
    assert_eq!(sys::wait_any().map(|ended| ended.1), Some(0), "the parent of all");
    assert_eq!(pids.len(), count);
    let begun = Instant::now();
    drop(open);
    while let Some(&last) = pids.last() {
        match sys::kill(last, 0) {
            true => std::thread::sleep(Duration::from_millis(1)),
            false => drop(pids.pop()),
        }
    }
    println!("reaped {count} in {} ms", begun.elapsed().as_millis());
}

/// The parent of the orphans, which tells their pids and ends before them.
fn bear(
    count: usize,
    gate: Option<std::io::PipeReader>,
    open: std::io::PipeWriter,
    mut tell: std::io::PipeWriter,
) -> ! {
    for _ in 0..count {
        // Those that end one by one have a parent each, which ends at once.
        let parent = if gate.is_none() { sys::fork() } else { 0 };
        if parent > 0 {
            assert_eq!(sys::wait_any().map(|ended| ended.1), Some(0), "an orphan's parent");
            continue;
        }
        let pid = sys::fork();
        assert!(parent == 0 && pid >= 0, "fork");
        if pid > 0 {
            tell.write_all(&pid.to_ne_bytes()).expect("tell");
            if gate.is_none() {
                exit(0);
            }
            continue;
        }
        if let Some(mut gate) = gate {
            drop(open);
            drop(tell);
            let _end = gate.read(&mut [0]);
        }
        exit(0);
    }
    exit(0)
}

/// The last signal: whoever takes his by number has got all others before it.
const LAST: i32 = 64;

/// Receives every signal but KILL and STOP, with none lost to a default meaning: prints
/// `got N` for each at its first time, and the terminal's size with a WINCH. The last
/// signal (RTMAX) ends it with status 5, after `N C` for every signal that came C times.
/// With a child in its group, that does the same and prints `child got N`; its parent waits
/// until it has got the last one too, if from nobody else then from itself.
pub fn catch(with_child: bool) -> ! {
    let every = sys::SignalSet::all();
    every.block();
    let (mut told, mut tell) = std::io::pipe().expect("pipe");
    let child = if with_child { sys::fork() } else { -1 };
    let name = if child == 0 { "child " } else { "" };
    if child == 0 {
        sys::die_with_parent();
    }
    let mut counts = [0_u32; 65];
    if name.is_empty() {
        println!("ready {}", std::process::id());
    }
    loop {
        let signal = every.next();
        counts[signal] += 1;
        if counts[signal] == 1 {
            println!("{name}got {signal}");
        }
        if signal == libc::SIGWINCH as usize
            && let Ok(size) = tcgetwinsize(std::io::stdin())
        {
            println!("{name}size {} {}", size.ws_row, size.ws_col);
        }
        if signal == LAST as usize {
            // The child ends with its parent. The hang-up that the end of a terminal's session
            // brings is no answer to anything that was sent.
            if child == 0 {
                tell.write_all(&[1]).expect("tell");
                loop {
                    every.next();
                }
            }
            if child > 0 {
                sys::kill(child, LAST);
                told.read_exact(&mut [0]).expect("the child");
            }
            for (signal, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                println!("{signal} {count}");
            }
            exit(5);
        }
    }
}

/// Its first thread ends, and another one does not.
pub fn headless() {
    std::thread::spawn(|| {
        loop {
            std::thread::park();
        }
    });
    crate::sys::call(libc::SYS_exit);
}
