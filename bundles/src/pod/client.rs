//! What commands do with pods: begin them, ask their supervisors, take them away.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

use super::oci;
use super::setup::{PodDirs, Setup};
use super::status::PodStatus;
use crate::error::{At, Error, Kind, Result};
use crate::runtime::{Program, Runtime};
use crate::store::write_json;

/// How long a supervisor has to begin; it takes some milliseconds.
const BEGIN: Duration = Duration::from_secs(60);
/// Between two looks whether it has.
const LOOK: Duration = Duration::from_millis(2);

/// Begins a pod: takes its name, writes its setup, starts its supervisor.
///
/// # Errors
/// [`Kind::Exists`]; what the supervisor says.
pub fn begin(setup: &Setup) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::new(
            Kind::Refused,
            format!(
                "pod {}: holding a pod's namespaces and volumes takes root: run it as root, or as \
                 an ordinary user its containers each by 'richctl run', or several in one network \
                 by 'richctl env'",
                setup.pod.name
            ),
        ));
    }
    let dirs = setup.dirs();
    if let Some(parent) = dirs.data.parent() {
        fs::create_dir_all(parent).at("make", parent.display())?;
    }
    // Secrets are in there: nobody else's eyes.
    match fs::DirBuilder::new().mode(0o700).create(&dirs.data) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let name = &setup.pod.name;
            let what = format!("pod {name} is there already: 'richctl pod rm {name}' or --replace");
            return Err(Error::new(Kind::Exists, what));
        }
        made => made.at("make", dirs.data.display())?,
    }
    let begun = private(&dirs).and_then(|()| {
        write_json(&dirs.setup(), setup)?;
        attend(&dirs)
    });
    if begun.is_err() {
        let _ = oci::remove(&dirs);
    }
    begun
}

fn private(dirs: &PodDirs) -> Result<()> {
    if let Some(parent) = dirs.run.parent() {
        fs::create_dir_all(parent).at("make", parent.display())?;
    }
    match fs::DirBuilder::new().mode(0o700).create(&dirs.run) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(error).at("make", dirs.run.display())
        }
        _ => Ok(()),
    }
}

/// Whether a supervisor looks after it.
pub fn is_attended(dirs: &PodDirs) -> bool {
    let Ok(lock) = File::open(dirs.lock()) else { return false };
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err()
}

/// Starts a supervisor and waits until it answers or the pod is over.
///
/// # Errors
/// It cannot be started, or ends at once.
pub fn attend(dirs: &PodDirs) -> Result<()> {
    let own = std::env::current_exe().at("find", "this program")?;
    let words = OpenOptions::new().append(true).create(true).mode(0o600).open(dirs.words());
    let words = words.at("open", dirs.words().display())?;
    let mut command = Command::new(&own);
    command.arg("pod").arg("supervise").arg(dirs.setup());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(words).current_dir("/");
    let mut child = command.spawn().at("run", own.display())?;
    let until = Instant::now() + BEGIN;
    while Instant::now() < until {
        if UnixStream::connect(dirs.socket()).is_ok() {
            return Ok(());
        }
        if let Some(status) = child.try_wait().at("wait for", "the supervisor")? {
            return match dirs.read_status()? {
                Some(_) => Ok(()),
                None if is_attended(dirs) => Ok(()),
                None => Err(Error::system(format!(
                    "the pod's supervisor ended ({status}): {}",
                    last_word(dirs)
                ))),
            };
        }
        std::thread::sleep(LOOK);
    }
    Err(Error::system("the pod's supervisor does not answer"))
}

fn last_word(dirs: &PodDirs) -> String {
    let words = fs::read_to_string(dirs.words()).unwrap_or_default();
    words.lines().last().unwrap_or("it said nothing").to_owned()
}

/// How a pod is; one that nobody looks after is taken over first, and said to be.
///
/// # Errors
/// [`Kind::NotFound`]; the supervisor's.
pub fn status(dirs: &PodDirs) -> Result<PodStatus> {
    let known = known(dirs)?;
    if let Some(status) = known.as_ref().filter(|status| status.over || is_attended(dirs)) {
        return Ok(status.clone());
    }
    let mut answer = ask(dirs, "status")?;
    next(&mut answer)?.ok_or_else(|| Error::system("the pod's supervisor gives no answer"))
}

/// The last status that is known. What runs is forgotten when the machine is restarted,
/// and so is the directory of it.
fn known(dirs: &PodDirs) -> Result<Option<PodStatus>> {
    if dirs.run.exists() {
        return dirs.read_status();
    }
    let setup = dirs.read_setup()?;
    Ok(Some(PodStatus::lost(&setup.pod, "MachineRestarted")))
}

/// A supervisor's answers.
pub type Answer = BufReader<UnixStream>;

/// Asks the supervisor, taking the pod over where there is none.
///
/// # Errors
/// [`Kind::NotFound`]; the supervisor's.
pub fn ask(dirs: &PodDirs, question: &str) -> Result<Answer> {
    let setup = dirs.read_setup()?;
    let mut stream = match UnixStream::connect(dirs.socket()) {
        Ok(stream) => stream,
        Err(_) => {
            if !is_attended(dirs) {
                let name = &setup.pod.name;
                eprintln!("richctl: pod {name}: its supervisor is gone: another takes over");
                attend(dirs)?;
            }
            let patience = Instant::now() + BEGIN;
            loop {
                match UnixStream::connect(dirs.socket()) {
                    Ok(stream) => break stream,
                    Err(_) if Instant::now() < patience && is_attended(dirs) => {
                        std::thread::sleep(LOOK);
                    }
                    Err(error) => return Err(error).at("ask the supervisor of", &setup.pod.name),
                }
            }
        }
    };
    stream.write_all(format!("{question}\n").as_bytes()).at("ask", "the supervisor")?;
    Ok(BufReader::new(stream))
}

/// The next status of an answer; none when there are no more.
///
/// # Errors
/// Not a status.
pub fn next(answer: &mut Answer) -> Result<Option<PodStatus>> {
    let mut line = String::new();
    match answer.read_line(&mut line) {
        Ok(0) | Err(_) => Ok(None),
        // Its end came in the middle: whoever goes on says it again.
        Ok(_) if !line.ends_with('\n') => Ok(None),
        Ok(_) => serde_json::from_str(&line).map(Some).at("read", "the supervisor's answer"),
    }
}

/// Follows a pod until `enough` says so or it is over: the last status.
///
/// # Errors
/// [`Kind::NotFound`]; the supervisor's.
pub fn follow(dirs: &PodDirs, mut enough: impl FnMut(&PodStatus) -> bool) -> Result<PodStatus> {
    loop {
        if let Some(status) = known(dirs)?.filter(|status| status.over) {
            enough(&status);
            return Ok(status);
        }
        // A supervisor that is killed meanwhile is replaced by the next question.
        let Ok(mut answer) = ask(dirs, "watch") else {
            match dirs.read_status()?.filter(|status| status.over) {
                Some(_) => continue,
                None => return Err(Error::system("the pod's supervisor does not answer")),
            }
        };
        while let Some(status) = next(&mut answer)? {
            if enough(&status) || status.over {
                return Ok(status);
            }
        }
    }
}

/// Asks a pod to end and waits until it has.
///
/// # Errors
/// [`Kind::NotFound`]; the supervisor's.
pub fn stop(dirs: &PodDirs, grace: Option<u64>) -> Result<PodStatus> {
    dirs.read_setup()?;
    if let Some(status) = known(dirs)?.filter(|status| status.over) {
        return Ok(status);
    }
    let question = grace.map_or("stop".to_owned(), |seconds| format!("stop {seconds}"));
    if ask(dirs, &question).and_then(|mut answer| next(&mut answer)).is_err() {
        // It may have ended by itself meanwhile.
        return follow(dirs, |_| false);
    }
    follow(dirs, |_| false)
}

/// Takes a pod away; with `force` one that runs.
///
/// # Errors
/// [`Kind::State`] when it runs; what remains.
pub fn remove(dirs: &PodDirs, force: bool) -> Result<()> {
    let setup = dirs.read_setup()?;
    let over = known(dirs)?.is_some_and(|status| status.over);
    if !over && !force {
        let name = &setup.pod.name;
        let what = format!("pod {name} runs: 'richctl pod stop {name}' first, or rm --force");
        return Err(Error::new(Kind::State, what));
    }
    if !over {
        stop(dirs, Some(0))?;
    }
    // It clears its ground after its last word.
    let until = Instant::now() + BEGIN;
    while is_attended(dirs) && Instant::now() < until {
        std::thread::sleep(LOOK);
    }
    let runtime = Program {
        path: setup.runtime.clone(),
        root: setup.place().runtime_root(),
        options: Vec::new(),
    };
    for one in &setup.pod.containers {
        if runtime.state(&setup.id_of(&one.name)).is_ok() {
            runtime.delete(&setup.id_of(&one.name), true)?;
        }
        let _ = fs::remove_file(setup.log_of(&one.name));
    }
    oci::remove(dirs)
}
