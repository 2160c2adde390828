//! The pod controller: carries out what the [`Machine`] decides, over a [`Plugin`].
//!
//! One thread decides; each container that runs has one that waits for its end; a probe,
//! a hook or a start has one as long as it takes. They tell the first one over a channel,
//! so nothing wakes while nothing happens.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use super::asking::{Purpose, ask};
use super::kept::Kept;
use super::machine::{Act, Machine, Millis, Phase, State, Which};
use super::model::{Handler, Pod, Role};
use super::plugin::{Container, End, Plugin};
use super::status::{ContainerStatus, PodStatus, ProbeStatus};
use crate::error::{At, Error, Kind, Result};

/// The stack of a thread that waits or asks.
const STACK: usize = 256 << 10;
/// A hook has no time limit of its own; the machine's grace ends what it delays.
const HOOK_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// How many probes and hooks of a pod are on their way at a time.
const AT_ONCE: usize = 64;

enum News {
    Started(usize, Result<Option<i32>>, Arc<dyn Container>),
    Made(usize, Error),
    Ended(usize, End),
    PostStarted(usize, u32, Result<()>),
    PreStopped(usize, u32),
    Probed(usize, u32, Which, Result<()>),
    Stop(String, Option<u64>),
}

/// What everybody may look at.
struct Seen {
    status: Mutex<(u64, PodStatus)>,
    changed: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A pod that is looked after. Dropping it leaves everything as it is.
#[derive(Clone)]
pub struct Controller {
    seen: Arc<Seen>,
    tell: Sender<News>,
}

impl Controller {
    /// Starts a pod.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn start(pod: Pod, plugin: Arc<dyn Plugin>) -> Result<Controller> {
        let kept = Kept {
            machine: Machine::new(&pod, now()),
            pids: BTreeMap::new(),
            since: BTreeMap::new(),
            begun: Timestamp::now().as_second(),
        };
        Controller::resume(pod, kept, plugin)
    }

    /// Goes on with a pod that another process began.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn resume(pod: Pod, kept: Kept, plugin: Arc<dyn Plugin>) -> Result<Controller> {
        let (tell, hear) = channel();
        let count = pod.containers.len();
        let mut keeper = Keeper {
            pod,
            plugin,
            kept,
            lives: (0..count).map(|_| None).collect(),
            messages: BTreeMap::new(),
            states: vec![State::Created; count],
            tell: tell.clone(),
            seen: None,
            asking: 0,
            waiting: VecDeque::new(),
        };
        let status = keeper.status();
        let seen = Arc::new(Seen { status: Mutex::new((0, status)), changed: Condvar::new() });
        keeper.seen = Some(Arc::clone(&seen));
        spawn("pod", move || keeper.keep(&hear))?;
        Ok(Controller { seen, tell })
    }

    /// The one bit: every main container is STARTED, HEALTHY or FAILING.
    pub fn healthy(&self) -> bool {
        lock(&self.seen.status).1.healthy
    }

    /// How the pod is.
    pub fn status(&self) -> PodStatus {
        lock(&self.seen.status).1.clone()
    }

    /// Waits for another status than the one with this number; 0 returns at once.
    pub fn next_status(&self, after: u64, limit: Duration) -> (u64, PodStatus) {
        let status = lock(&self.seen.status);
        let same = |status: &mut (u64, PodStatus)| status.0 == after && !status.1.over;
        let waited = self.seen.changed.wait_timeout_while(status, limit, same);
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Asks the pod to end; `grace` in seconds instead of its own.
    pub fn stop(&self, why: &str, grace: Option<u64>) {
        // Nobody hears it when the pod is over.
        let _ = self.tell.send(News::Stop(why.to_owned(), grace));
    }

    /// Waits until it is over.
    pub fn wait(&self) -> PodStatus {
        let status = lock(&self.seen.status);
        let waited = self.seen.changed.wait_while(status, |status| !status.1.over);
        waited.unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}

/// Milliseconds of the clock that all processes share and nobody sets.
fn now() -> Millis {
    let time = clock_gettime(ClockId::Boottime);
    let part = time.tv_nsec / 1_000_000;
    u64::try_from(time.tv_sec * 1000 + part).unwrap_or(0)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = thread::Builder::new().name(name.to_owned()).stack_size(STACK);
    thread.spawn(work).map(drop).at("start a thread for", name)
}

/// The thread that decides.
struct Keeper {
    pod: Pod,
    plugin: Arc<dyn Plugin>,
    kept: Kept,
    lives: Vec<Option<Arc<dyn Container>>>,
    messages: BTreeMap<(usize, u8), String>,
    states: Vec<State>,
    tell: Sender<News>,
    seen: Option<Arc<Seen>>,
    asking: usize,
    /// Probes and hooks that begin when others have ended; nothing else waits for them.
    waiting: VecDeque<Box<dyn FnOnce() + Send>>,
}

impl Keeper {
    fn keep(mut self, hear: &Receiver<News>) {
        self.take_over();
        loop {
            while let Some(act) = self.kept.machine.next(now()) {
                self.act(act);
            }
            self.begin_asking();
            self.publish();
            if self.kept.machine.is_over() {
                return;
            }
            let news = match self.kept.machine.deadline() {
                None => hear.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => {
                    let wait = Duration::from_millis(deadline.saturating_sub(now()));
                    hear.recv_timeout(wait)
                }
            };
            match news {
                Ok(news) => self.hear(news),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// What the process before left running.
    fn take_over(&mut self) {
        for at in 0..self.kept.machine.ones().len() {
            let phase = self.kept.machine.ones()[at].phase;
            if !matches!(phase, Phase::Starting | Phase::Running) {
                continue;
            }
            let pid = self.kept.pids.get(&at).copied();
            match self.plugin.adopt(&self.pod, at, pid) {
                Some(container) => {
                    if phase == Phase::Starting {
                        self.kept.machine.started(at, now());
                    }
                    self.lives[at] = Some(Arc::clone(&container));
                    let tell = self.tell.clone();
                    let _ = spawn("wait", move || {
                        let _ = tell.send(News::Ended(at, container.wait()));
                    });
                }
                None => {
                    let reason = Some("ContainerStatusUnknown");
                    self.kept.machine.ended(at, 137, reason, now());
                    self.kept.pids.remove(&at);
                }
            }
        }
        self.kept.machine.forget_asked();
    }

    fn life(&self, at: usize) -> u32 {
        self.kept.machine.ones()[at].restarts
    }

    fn hear(&mut self, news: News) {
        let machine = &mut self.kept.machine;
        match news {
            News::Started(at, Ok(pid), container) => {
                machine.started(at, now());
                self.lives[at] = Some(container);
                self.kept.pids.extend(pid.map(|pid| (at, pid)));
            }
            News::Started(at, Err(error), _) | News::Made(at, error) => {
                machine.not_started(at, &format!("StartError: {error}"), now());
            }
            News::Ended(at, end) => {
                machine.ended(at, end.status, end.reason.as_deref(), now());
                self.kept.pids.remove(&at);
                self.lives[at] = None;
            }
            News::PostStarted(at, life, done) => {
                self.asking -= 1;
                if life == self.life(at) {
                    self.kept.machine.post_started(at, done.is_ok(), now());
                }
            }
            News::PreStopped(at, life) => {
                self.asking -= 1;
                if life == self.life(at) {
                    self.kept.machine.pre_stopped(at);
                }
            }
            News::Probed(at, life, which, answer) => {
                self.asking -= 1;
                if life == self.life(at) {
                    self.kept.machine.probed(at, which, answer.is_ok(), now());
                    let key = (at, which as u8);
                    match answer {
                        Ok(()) => self.messages.remove(&key),
                        Err(error) => self.messages.insert(key, error.to_string()),
                    };
                }
            }
            News::Stop(why, grace) => machine.stop(&why, grace, now()),
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Start(at) => self.start(at),
            Act::Stop(at) => {
                let own = self.pod.containers[at].stop_signal.as_deref().unwrap_or("");
                let signal = own.strip_prefix("SIG").unwrap_or(own).to_owned();
                self.signal(at, &signal);
            }
            Act::Kill(at) => self.signal(at, "KILL"),
            Act::PostStart(at) => {
                let hook = self.pod.containers[at].post_start.clone();
                self.ask(at, hook, HOOK_LIMIT, Purpose::Hook, move |life, done| {
                    News::PostStarted(at, life, done)
                });
            }
            Act::PreStop(at) => {
                let hook = self.pod.containers[at].pre_stop.clone();
                self.ask(at, hook, HOOK_LIMIT, Purpose::Hook, move |life, _| {
                    News::PreStopped(at, life)
                });
            }
            Act::Probe(at, which) => {
                let one = &self.pod.containers[at];
                let probe = [&one.startup, &one.liveness, &one.readiness][which as usize];
                let limit = Duration::from_secs(probe.as_ref().map_or(1, |probe| probe.timeout));
                let handler = probe.as_ref().map(|probe| probe.handler.clone());
                self.ask(at, handler, limit, Purpose::Probe, move |life, answer| {
                    News::Probed(at, life, which, answer)
                });
            }
        }
    }

    fn signal(&self, at: usize, signal: &str) {
        if let Some(container) = &self.lives[at]
            && let Err(error) = container.kill(signal)
        {
            eprintln!("container {}: {error}", self.pod.containers[at].name);
        }
    }

    fn start(&mut self, at: usize) {
        let (plugin, pod, tell) = (Arc::clone(&self.plugin), self.pod.clone(), self.tell.clone());
        let work = move || {
            let container = match plugin.container(&pod, at) {
                Ok(container) => container,
                Err(error) => return drop(tell.send(News::Made(at, error))),
            };
            drop(pod);
            let started = container.start();
            let runs = started.is_ok();
            let _ = tell.send(News::Started(at, started, Arc::clone(&container)));
            if runs {
                let _ = tell.send(News::Ended(at, container.wait()));
            }
        };
        if let Err(error) = spawn("container", work) {
            let _ = self.tell.send(News::Made(at, error));
        }
    }

    fn begin_asking(&mut self) {
        while self.asking < AT_ONCE
            && let Some(begin) = self.waiting.pop_front()
        {
            self.asking += 1;
            begin();
        }
    }

    /// Asks in a thread of its own; the news it makes carries the container's life.
    fn ask(
        &mut self,
        at: usize,
        handler: Option<Handler>,
        limit: Duration,
        purpose: Purpose,
        news: impl Fn(u32, Result<()>) -> News + Send + Sync + 'static,
    ) {
        let life = self.life(at);
        let asked = self.lives[at].clone().zip(handler);
        let (tell, told) = (self.tell.clone(), self.tell.clone());
        let news = Arc::new(news);
        let again = Arc::clone(&news);
        self.waiting.push_back(Box::new(move || {
            let Some((container, handler)) = asked else {
                let gone = Error::new(Kind::State, "it does not run");
                return drop(told.send(again(life, Err(gone))));
            };
            let work =
                move || drop(tell.send(news(life, ask(&*container, &handler, limit, purpose))));
            if let Err(error) = spawn("ask", work) {
                let _ = told.send(again(life, Err(error)));
            }
        }));
    }

    fn publish(&mut self) {
        for at in 0..self.states.len() {
            let state = self.kept.machine.ones()[at].state();
            if state != self.states[at] {
                self.states[at] = state;
                self.kept.since.insert(at, Timestamp::now().as_second());
            }
        }
        let status = self.status();
        let Some(seen) = &self.seen else { return };
        let mut shown = lock(&seen.status);
        if shown.1 == status && shown.0 > 0 {
            return;
        }
        // On disk before anybody is told.
        self.plugin.changed(&self.kept, &status);
        *shown = (shown.0 + 1, status);
        seen.changed.notify_all();
    }

    fn status(&self) -> PodStatus {
        let machine = &self.kept.machine;
        PodStatus {
            name: self.pod.name.clone(),
            namespace: self.pod.namespace.clone(),
            phase: machine.phase(),
            reason: machine.reason().to_owned(),
            healthy: machine.healthy(),
            ready: machine.ready(),
            over: machine.is_over(),
            exit_status: machine.is_over().then(|| machine.status()),
            since: self.kept.begun,
            containers: (0..self.pod.containers.len()).map(|at| self.container(at)).collect(),
        }
    }

    fn container(&self, at: usize) -> ContainerStatus {
        let one = &self.kept.machine.ones()[at];
        let role = match one.rules.role {
            Role::Init => "init",
            Role::Sidecar => "sidecar",
            Role::Main => "main",
        };
        let probes =
            Which::ALL.into_iter().filter(|which| one.rules.probes[*which as usize].is_some());
        let probes = probes.map(|which| {
            let tries = one.tries[which as usize];
            ProbeStatus {
                probe: which.name().to_owned(),
                passed: tries.last,
                // A count that grows for ever would be news for ever.
                in_a_row: if tries.last == Some(true) { tries.run.min(1) } else { tries.run },
                message: self.messages.get(&(at, which as u8)).cloned().unwrap_or_default(),
            }
        });
        let waits = one.phase == Phase::Ended && one.again;
        ContainerStatus {
            name: self.pod.containers[at].name.clone(),
            role: role.to_owned(),
            state: one.state(),
            reason: if waits && !self.kept.machine.is_over() && one.restarts > 0 {
                format!("CrashLoopBackOff: {}", one.reason)
            } else {
                one.reason.clone()
            },
            ready: one.is_ready() && one.rules.role != Role::Init,
            running: one.is_there(),
            restarts: one.restarts,
            pid: self.kept.pids.get(&at).copied(),
            exit_status: one.status,
            since: self.kept.since.get(&at).copied().unwrap_or(0),
            probes: probes.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::pod::read;

    /// What it runs, its hooks too, ends when it is killed.
    #[derive(Default)]
    struct Stubborn {
        killed: Mutex<bool>,
        changed: Condvar,
    }

    impl Stubborn {
        fn until_killed(&self) {
            let killed = lock(&self.killed);
            drop(self.changed.wait_while(killed, |killed| !*killed));
        }
    }

    impl Container for Stubborn {
        fn start(&self) -> Result<Option<i32>> {
            Ok(None)
        }

        fn wait(&self) -> End {
            self.until_killed();
            End { status: 137, reason: None }
        }

        fn kill(&self, signal: &str) -> Result<()> {
            *lock(&self.killed) |= signal == "KILL";
            self.changed.notify_all();
            Ok(())
        }

        fn exec(&self, _: &[String], _: Duration) -> Result<i32> {
            self.until_killed();
            Ok(0)
        }

        fn network(&self) -> Option<PathBuf> {
            None
        }
    }

    struct Many;

    impl Plugin for Many {
        fn container(&self, _: &Pod, _: usize) -> Result<Arc<dyn Container>> {
            Ok(Arc::new(Stubborn::default()))
        }

        fn adopt(&self, _: &Pod, _: usize, _: Option<i32>) -> Option<Arc<dyn Container>> {
            None
        }

        fn changed(&self, _: &Kept, _: &PodStatus) {}
    }

    #[test]
    fn hooks_without_end_hold_up_no_end() {
        let each = (0..AT_ONCE + 6).map(|number| {
            format!("  - {{name: c{number}, image: x, lifecycle: {{preStop: {{exec: {{command: [a]}}}}}}}}\n")
        });
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: many}}\nspec:\n  restartPolicy: Never\n  containers:\n{}",
            each.collect::<String>()
        );
        let pod = read::pods("many.yaml", &text, "many").expect("a pod").pods.remove(0);
        let controller = Controller::start(pod, Arc::new(Many)).expect("started");
        let mut seen = 0;
        loop {
            let (number, status) = controller.next_status(seen, Duration::from_secs(60));
            if status.containers.iter().all(|one| one.running) {
                break;
            }
            assert_ne!(number, seen, "not all were started");
            seen = number;
        }
        controller.stop("Asked", Some(1));
        assert!(controller.wait().over);
    }
}
