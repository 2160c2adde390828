//! Pods' containers beside those that stand alone.

use jiff::Timestamp;

use super::client;
use super::machine::State;
use super::model::{Container, Role};
use super::setup::{self, PodDirs, Setup};
use super::status::{ContainerStatus, PodStatus};
use crate::error::{Error, Kind, Result};
use crate::runtime::{Exec, Program, Runtime, Streams};
use crate::store::{Exit, Found, Life, Phase, Place, Record};

/// The containers of a namespace's pods, or of all, as if each stood alone: `POD/CONTAINER` is
/// the name.
pub fn containers(place: &Place, namespace: Option<&str>) -> Vec<Found> {
    let mut all = Vec::new();
    for (of, name) in setup::all(place) {
        if namespace.is_some_and(|wanted| wanted != of) {
            continue;
        }
        let dirs = PodDirs::of(place, &of, &name);
        let known = dirs.read_setup().and_then(|setup| Ok((client::status(&dirs)?, setup)));
        match known {
            Ok((status, setup)) => {
                let each = setup.pod.containers.iter();
                all.extend(each.map(|own| found(&setup, &status, own)));
            }
            // It may just have been removed, or not have begun.
            Err(error) if error.kind == Kind::NotFound => {}
            Err(error) => eprintln!("richctl: pod {name}: {error}"),
        }
    }
    all
}

fn found(setup: &Setup, status: &PodStatus, own: &Container) -> Found {
    let record = Record {
        id: setup.id_of(&own.name),
        namespace: setup.pod.namespace.clone(),
        name: format!("{}/{}", setup.pod.name, own.name),
        created: Timestamp::from_second(status.since).unwrap_or_default(),
        source: own.image.clone().or(setup.source.clone()).unwrap_or_default(),
        command: own.command.iter().chain(&own.args).cloned().collect(),
        labels: setup.pod.labels.clone(),
        pod: Some(setup.pod.name.clone()),
        ..Record::default()
    };
    let one = status.containers.iter().find(|one| one.name == own.name);
    Found { record, life: one.map(life).unwrap_or_default() }
}

fn life(one: &ContainerStatus) -> Life {
    let since = Timestamp::from_second(one.since).unwrap_or_default();
    let exit = one.exit_status.map(|code| Exit {
        code: Some(code),
        signal: None,
        oom_kills: u64::from(one.reason == "OOMKilled"),
        oom_killed: Vec::new(),
        finished: since,
    });
    let phase = match (one.running, one.state) {
        (true, _) => Phase::Running,
        (false, State::Created) => Phase::Created,
        (false, _) if exit.is_some() => Phase::Exited,
        (false, _) => Phase::Failed,
    };
    Life {
        phase,
        pid: one.pid,
        started: one.running.then_some(since),
        exit: exit.filter(|_| !one.running),
        restarts: one.restarts,
        error: Some(one.reason.clone()).filter(|reason| !reason.is_empty()),
        ..Life::default()
    }
}

/// The pod and the container that a word names: `POD/CONTAINER`, or the id that a list shows.
///
/// # Errors
/// [`Kind::NotFound`].
pub fn find(place: &Place, namespace: &str, word: &str) -> Result<(Setup, String)> {
    let id = || {
        let rest = word.strip_prefix(namespace)?.strip_prefix('_')?;
        rest.split_once('_')
    };
    let names = word.split_once('/').or_else(id);
    let none = || Error::new(Kind::NotFound, format!("no container {word} of a pod"));
    let (pod, container) = names.ok_or_else(none)?;
    if pod.is_empty() || pod.starts_with('.') || container.contains('/') {
        return Err(none());
    }
    let setup = PodDirs::of(place, namespace, pod).read_setup()?;
    let container = named(&setup, Some(container))?;
    Ok((setup, container))
}

/// The container of that name; the first main one where nothing is said.
///
/// # Errors
/// [`Kind::NotFound`].
pub fn named(setup: &Setup, name: Option<&str>) -> Result<String> {
    let all = &setup.pod.containers;
    let one = match name {
        Some(name) => all.iter().find(|one| one.name == name),
        None => all.iter().find(|one| one.role == Role::Main).or(all.first()),
    };
    one.map(|one| one.name.clone()).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
        let name = name.unwrap_or_default();
        let words =
            format!("pod {} has no container {name}: it has {}", setup.pod.name, names.join(", "));
        Error::new(Kind::NotFound, words)
    })
}

/// Runs a process beside the payload of a pod's container: its exit status.
///
/// # Errors
/// [`Kind::State`] for one that does not run; what the runtime says.
pub fn exec(setup: &Setup, container: &str, exec: &Exec, streams: Streams) -> Result<i32> {
    let status = client::status(&setup.dirs())?;
    if !status.containers.iter().any(|one| one.name == container && one.running) {
        let words = format!("container {container} of pod {} does not run", setup.pod.name);
        return Err(Error::new(Kind::State, words));
    }
    let runtime = Program {
        path: setup.runtime.clone(),
        root: setup.place().runtime_root(),
        options: Vec::new(),
    };
    runtime.exec(&Exec { id: setup.id_of(container), ..exec.clone() }, streams)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: State, running: bool, code: Option<i32>, reason: &str) -> ContainerStatus {
        ContainerStatus {
            name: "c".into(),
            role: "main".into(),
            state,
            reason: reason.into(),
            ready: false,
            running,
            restarts: 2,
            pid: running.then_some(7),
            exit_status: code,
            since: 100,
            probes: Vec::new(),
        }
    }

    #[test]
    fn how_a_pods_container_is_as_one_that_stands_alone() {
        let of = |state, running, code, reason| life(&status(state, running, code, reason));
        assert_eq!(of(State::Created, false, None, "").phase, Phase::Created);
        let runs = of(State::Failing, true, Some(1), "");
        assert_eq!((runs.phase, runs.pid, runs.exit), (Phase::Running, Some(7), None));
        let ended = of(State::Failed, false, Some(137), "OOMKilled");
        let exit = ended.exit.expect("an end");
        assert_eq!((ended.phase, exit.code, exit.oom_kills), (Phase::Exited, Some(137), 1));
        let failed = of(State::Failed, false, None, "no such program");
        assert_eq!(
            (failed.phase, failed.error.as_deref()),
            (Phase::Failed, Some("no such program"))
        );
    }

    #[test]
    fn words_that_name_no_container_of_a_pod() {
        let place = Place { run: "/no/run".into(), data: "/no/data".into() };
        for word in ["", "web", "/", "../x/y", "a/b/c", "other_pod_c", "pod/c"] {
            let error = find(&place, "default", word).expect_err(word);
            assert_eq!(error.kind, Kind::NotFound, "{word}");
        }
    }
}
