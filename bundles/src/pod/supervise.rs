//! The process that looks after one pod.
//!
//! It is the parent of the pod's containers (a subreaper: the runtime that makes them ends
//! at once). When it is killed the containers run on, writing to their logs themselves; the
//! next command starts another one, which takes over by what is kept on disk.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::FlockOperation;

use super::controller::Controller;
use super::oci::Oci;
use super::plugin::Plugin;
use super::setup::{PodDirs, Setup};
use super::status::PodStatus;
use crate::error::{At, Result};
use crate::store::{read_json, write_json};

/// How many may ask at a time.
const GUESTS: usize = 64;
/// How long a question may be, in bytes, and take.
const LONGEST_QUESTION: u64 = 256;
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nobody is let in when there is no room.
const BUSY: Duration = Duration::from_millis(50);

/// Looks after the pod whose setup is in this file, until it is over.
///
/// # Errors
/// What cannot be set up; the pod has failed then.
pub fn supervise(setup: &Path) -> Result<()> {
    // Not of the session that began the pod: its end is not the pod's.
    let _ = rustix::process::setsid();
    let setup: Setup = read_json(setup)?.unwrap_or_else(|| std::process::exit(0));
    let dirs = setup.dirs();
    fs::create_dir_all(&dirs.run).at("make", dirs.run.display())?;
    let lock = File::create(dirs.lock()).at("open", dirs.lock().display())?;
    if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        // Somebody else was quicker.
        return Ok(());
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .at("become the parent of", "the pod's containers")?;
    let _ = fs::remove_file(dirs.socket());
    let looked_after = look_after(setup, &dirs);
    let _ = fs::remove_file(dirs.socket());
    looked_after
}

fn look_after(setup: Setup, dirs: &PodDirs) -> Result<()> {
    let pod = setup.pod.clone();
    let oci = match Oci::new(setup) {
        Ok(oci) => Arc::new(oci),
        Err(error) => {
            write_json(&dirs.status(), &PodStatus::lost(&pod, &error.to_string()))?;
            return Err(error);
        }
    };
    // Whoever began the pod waits for the socket: it is there once the ground is laid.
    let listener = UnixListener::bind(dirs.socket()).at("listen at", dirs.socket().display())?;
    let plugin = Arc::clone(&oci) as Arc<dyn Plugin>;
    let controller = match dirs.read_kept()? {
        Some(kept) => Controller::resume(pod, kept, plugin)?,
        None => Controller::start(pod, plugin)?,
    };
    let own = controller.clone();
    let answer = thread::Builder::new().name("answer".into()).stack_size(128 << 10);
    answer.spawn(move || answer_all(&listener, &own)).at("start a thread for", "answers")?;
    controller.wait();
    oci.clear();
    Ok(())
}

fn answer_all(listener: &UnixListener, controller: &Controller) {
    let guests = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // No descriptor is left: some will be.
            thread::sleep(BUSY);
            continue;
        };
        if guests.fetch_add(1, Ordering::Relaxed) >= GUESTS {
            guests.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (own, count) = (controller.clone(), Arc::clone(&guests));
        let answer = thread::Builder::new().name("guest".into()).stack_size(128 << 10);
        let spawned = answer.spawn(move || {
            // Whoever asks and goes away has no answer.
            let _ = answer_one(stream, &own);
            count.fetch_sub(1, Ordering::Relaxed);
        });
        if spawned.is_err() {
            guests.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Answers one question: `status`, `watch`, `stop` or `stop SECONDS`.
fn answer_one(mut stream: UnixStream, controller: &Controller) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut question = String::new();
    BufReader::new(stream.try_clone()?.take(LONGEST_QUESTION)).read_line(&mut question)?;
    let mut words = question.split_ascii_whitespace();
    match words.next() {
        Some("stop") => {
            controller.stop("Asked", words.next().and_then(|word| word.parse().ok()));
            say(&mut stream, &controller.status())
        }
        Some("watch") => watch(&mut stream, controller),
        _ => say(&mut stream, &controller.status()),
    }
}

fn watch(stream: &mut UnixStream, controller: &Controller) -> std::io::Result<()> {
    let mut seen = 0;
    loop {
        let (number, status) = controller.next_status(seen, Duration::from_secs(3600));
        // The number moves on with each change; an hour without one is said again, so that
        // who has gone away is noticed.
        say(stream, &status)?;
        if status.over {
            return Ok(());
        }
        seen = number;
    }
}

fn say(stream: &mut UnixStream, status: &PodStatus) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(status)?;
    line.push(b'\n');
    stream.write_all(&line)
}
