//! The machine against tables, and against chance.

use super::*;
use crate::pod::read;

/// A pod of one container `c` with more lines, and more of the spec.
fn pod(container: &str, spec: &str) -> Machine {
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n{spec}\n  containers:\n  \
         - name: c\n    image: x\n{container}\n"
    );
    let read = read::pods("t", &text, "t").unwrap_or_else(|wrong| panic!("{wrong}"));
    Machine::new(&read.pods[0], 0)
}

fn acts(machine: &mut Machine, now: Millis) -> Vec<Act> {
    let acts: Vec<Act> = std::iter::from_fn(|| machine.next(now)).take(100).collect();
    assert!(machine.deadline().is_none_or(|deadline| deadline > now), "it would spin");
    acts
}

/// What is done at this time, with each start succeeding at once.
fn run(machine: &mut Machine, now: Millis) -> Vec<Act> {
    let mut all = Vec::new();
    loop {
        let some = acts(machine, now);
        let starts: Vec<usize> = some
            .iter()
            .filter_map(|act| if let Act::Start(at) = act { Some(*at) } else { None })
            .collect();
        starts.iter().for_each(|at| machine.started(*at, now));
        all.extend(some);
        if starts.is_empty() {
            return all;
        }
    }
}

const SECOND: Millis = 1000;
const LIVE: &str = "    livenessProbe: {exec: {command: [a]}, failureThreshold: 2}";
const READY: &str = "    readinessProbe: {exec: {command: [a]}, successThreshold: 2}";
const INIT: &str = "  initContainers: [{name: i, image: x}]";
const SIDE: &str = "  initContainers: [{name: s, image: x, restartPolicy: Always}]";

#[test]
fn init_containers_go_first_and_a_failure_is_repeated_or_ends_the_pod() {
    let mut machine = pod("", INIT);
    assert_eq!(run(&mut machine, 0), [Act::Start(0)]);
    assert_eq!(machine.phase(), PodPhase::Pending);
    assert!(!machine.healthy());
    machine.ended(0, 3, None, SECOND);
    assert_eq!(run(&mut machine, SECOND), [Act::Start(0)]);
    machine.ended(0, 3, None, 2 * SECOND);
    assert_eq!(run(&mut machine, 2 * SECOND), []);
    assert_eq!(machine.deadline(), Some(12 * SECOND));
    assert_eq!(run(&mut machine, 12 * SECOND), [Act::Start(0)]);
    machine.ended(0, 0, None, 13 * SECOND);
    assert_eq!(run(&mut machine, 13 * SECOND), [Act::Start(1)]);
    assert_eq!(machine.phase(), PodPhase::Running);
    assert!(machine.healthy() && machine.ready());

    let mut machine = pod("", &format!("{INIT}\n  restartPolicy: Never"));
    run(&mut machine, 0);
    machine.ended(0, 3, None, 0);
    assert_eq!(run(&mut machine, 0), []);
    assert!(machine.is_over());
    assert_eq!((machine.phase(), machine.status()), (PodPhase::Failed, 3));
}

#[test]
fn back_off_doubles_to_its_bound_and_is_forgotten() {
    let mut machine = pod("", "");
    run(&mut machine, 0);
    let mut now = 0;
    let mut waits = Vec::new();
    for _ in 0..8 {
        machine.ended(0, 0, None, now);
        let mut wait = 0;
        while run(&mut machine, now + wait).is_empty() {
            wait = machine.deadline().expect("a restart") - now;
        }
        waits.push(wait / SECOND);
        now += wait;
    }
    assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
    now += 601 * SECOND;
    machine.ended(0, 0, None, now);
    assert_eq!(run(&mut machine, now), [Act::Start(0)]);
    assert_eq!(machine.ones()[0].restarts, 9);
}

#[test]
fn what_follows_an_end() {
    for (policy, status, again, phase) in [
        ("Always", 0, true, PodPhase::Running),
        ("OnFailure", 1, true, PodPhase::Running),
        ("OnFailure", 0, false, PodPhase::Succeeded),
        ("Never", 0, false, PodPhase::Succeeded),
        ("Never", 9, false, PodPhase::Failed),
    ] {
        let mut machine = pod("", &format!("  restartPolicy: {policy}"));
        run(&mut machine, 0);
        machine.ended(0, status, None, 5);
        let acts = run(&mut machine, 5);
        assert_eq!(!acts.is_empty(), again, "{policy} {status}");
        assert_eq!(machine.phase(), phase, "{policy} {status}");
    }
    let rule = "    restartPolicy: Never\n    restartPolicyRules: [{action: Restart, exitCodes: \
                {operator: In, values: [42]}}]";
    for (status, again) in [(42, true), (41, false)] {
        let mut machine = pod(rule, "");
        run(&mut machine, 0);
        machine.ended(0, status, None, 5);
        assert_eq!(!run(&mut machine, 5).is_empty(), again);
    }
}

#[test]
fn liveness_ends_after_its_threshold_and_another_start_follows_whatever_the_status() {
    let mut machine = pod(LIVE, "  restartPolicy: OnFailure");
    let probe = Act::Probe(0, Which::Liveness);
    assert_eq!(run(&mut machine, 0), [Act::Start(0), probe]);
    assert_eq!(machine.ones()[0].state(), State::Started);
    machine.probed(0, Which::Liveness, true, 500);
    assert_eq!(machine.ones()[0].state(), State::Healthy);
    assert_eq!(machine.deadline(), Some(10 * SECOND));
    assert_eq!(run(&mut machine, 10 * SECOND), [probe]);
    machine.probed(0, Which::Liveness, false, 11 * SECOND);
    assert_eq!(machine.ones()[0].state(), State::Failing);
    assert!(machine.healthy());
    assert_eq!(run(&mut machine, 20 * SECOND), [probe]);
    machine.probed(0, Which::Liveness, false, 21 * SECOND);
    assert_eq!(machine.ones()[0].state(), State::Terminal);
    assert!(!machine.healthy());
    assert_eq!(run(&mut machine, 21 * SECOND), [Act::Stop(0)]);
    assert_eq!(machine.deadline(), Some(51 * SECOND));
    assert_eq!(run(&mut machine, 51 * SECOND), [Act::Kill(0)]);
    machine.ended(0, 0, None, 52 * SECOND);
    assert_eq!(run(&mut machine, 52 * SECOND), [Act::Start(0), probe]);
}

#[test]
fn a_probes_own_grace_and_never() {
    let live = "    livenessProbe: {exec: {command: [a]}, failureThreshold: 1, \
                terminationGracePeriodSeconds: 3}";
    let mut machine = pod(live, "  restartPolicy: Never");
    run(&mut machine, 0);
    machine.probed(0, Which::Liveness, false, 0);
    assert_eq!(run(&mut machine, 0), [Act::Stop(0)]);
    assert_eq!(machine.deadline(), Some(3 * SECOND));
    machine.ended(0, 143, None, SECOND);
    assert_eq!(run(&mut machine, SECOND), []);
    assert_eq!((machine.phase(), machine.ones()[0].state()), (PodPhase::Failed, State::Failed));
}

#[test]
fn the_startup_probe_holds_the_others_back() {
    let startup = "    startupProbe: {tcpSocket: {port: 1}, periodSeconds: 1, failureThreshold: 3}";
    let mut machine = pod(&format!("{startup}\n{LIVE}\n{READY}"), "");
    let probe = |which| Act::Probe(0, which);
    assert_eq!(run(&mut machine, 0), [Act::Start(0), probe(Which::Startup)]);
    machine.probed(0, Which::Startup, false, 0);
    assert_eq!(run(&mut machine, SECOND), [probe(Which::Startup)]);
    assert!(!machine.ready());
    machine.probed(0, Which::Startup, true, 1500);
    assert_eq!(run(&mut machine, 1500), [probe(Which::Readiness)]);
    machine.probed(0, Which::Readiness, true, 1600);
    assert!(!machine.ready());
    // Liveness keeps its turns, counted from the start.
    assert_eq!(run(&mut machine, 10 * SECOND), [probe(Which::Liveness)]);
    assert_eq!(run(&mut machine, 11_500), [probe(Which::Readiness)]);
    machine.probed(0, Which::Readiness, true, 11_600);
    assert!(machine.ready());
    for at in [21_500, 31_500, 41_500] {
        assert!(machine.ready());
        run(&mut machine, at);
        machine.probed(0, Which::Readiness, false, at);
    }
    assert!(!machine.ready());
    assert!(machine.healthy(), "readiness ends nothing");
}

#[test]
fn a_startup_probe_that_never_passes_ends_the_container() {
    let mut machine =
        pod("    startupProbe: {tcpSocket: {port: 1}, periodSeconds: 1, failureThreshold: 2}", "");
    run(&mut machine, 0);
    machine.probed(0, Which::Startup, false, 0);
    run(&mut machine, SECOND);
    machine.probed(0, Which::Startup, false, SECOND);
    assert_eq!(run(&mut machine, SECOND), [Act::Stop(0)]);
}

#[test]
fn sidecars_come_before_and_go_after() {
    let mut machine = pod("", &format!("{SIDE}\n  restartPolicy: Never"));
    assert_eq!(run(&mut machine, 0), [Act::Start(0), Act::Start(1)]);
    machine.ended(1, 7, None, SECOND);
    assert_eq!(run(&mut machine, SECOND), [Act::Stop(0)]);
    assert_eq!(machine.phase(), PodPhase::Running);
    machine.ended(0, 143, None, 2 * SECOND);
    assert_eq!(run(&mut machine, 2 * SECOND), []);
    assert_eq!((machine.phase(), machine.status()), (PodPhase::Failed, 7));

    let startup = "  initContainers: [{name: s, image: x, restartPolicy: Always, startupProbe: \
                   {tcpSocket: {port: 1}}}]";
    let mut machine = pod("", startup);
    assert_eq!(run(&mut machine, 0), [Act::Start(0), Act::Probe(0, Which::Startup)]);
    machine.probed(0, Which::Startup, true, 5);
    assert_eq!(run(&mut machine, 5), [Act::Start(1)]);
    // One that ends is started again, and the pod runs on.
    machine.ended(0, 1, None, 6);
    assert_eq!(run(&mut machine, 6), [Act::Start(0), Act::Probe(0, Which::Startup)]);
}

#[test]
fn hooks_hold_up_what_they_should() {
    let hooks =
        "    lifecycle: {postStart: {exec: {command: [a]}}, preStop: {exec: {command: [b]}}}";
    let two = format!("{hooks}\n  - {{name: d, image: x}}");
    let mut machine = pod(&two, "");
    assert_eq!(run(&mut machine, 0), [Act::Start(0), Act::PostStart(0)]);
    machine.post_started(0, true, SECOND);
    assert_eq!(run(&mut machine, SECOND), [Act::Start(1)]);
    machine.stop("Asked", Some(10), 2 * SECOND);
    assert_eq!(run(&mut machine, 2 * SECOND), [Act::PreStop(0), Act::Stop(1)]);
    machine.ended(1, 143, None, 3 * SECOND);
    machine.pre_stopped(0);
    assert_eq!(run(&mut machine, 4 * SECOND), [Act::Stop(0)]);
    assert_eq!(machine.deadline(), Some(12 * SECOND));
    // Its hook takes longer than all there is: two seconds are left to it.
    let mut machine = pod(hooks, "");
    run(&mut machine, 0);
    machine.post_started(0, false, 0);
    assert_eq!(run(&mut machine, 0), [Act::PreStop(0)]);
    assert_eq!(run(&mut machine, 30 * SECOND), [Act::Stop(0)]);
    assert_eq!(run(&mut machine, 32 * SECOND), [Act::Kill(0)]);
    machine.ended(0, 137, None, 32 * SECOND);
    assert_eq!(machine.ones()[0].reason, "PostStartHookError");
}

#[test]
fn without_grace_it_is_killed() {
    let mut machine = pod("    lifecycle: {preStop: {sleep: {seconds: 5}}}", SIDE);
    run(&mut machine, 0);
    machine.stop("Asked", Some(0), SECOND);
    assert_eq!(run(&mut machine, SECOND), [Act::Stop(1), Act::Kill(1)]);
    machine.ended(1, 137, None, SECOND);
    assert_eq!(run(&mut machine, SECOND), [Act::Stop(0), Act::Kill(0)]);
}

#[test]
fn a_deadline_ends_the_pod() {
    let mut machine = pod("", "  activeDeadlineSeconds: 5");
    run(&mut machine, 0);
    assert_eq!(machine.deadline(), Some(5 * SECOND));
    assert_eq!(run(&mut machine, 5 * SECOND), [Act::Stop(0)]);
    machine.ended(0, 0, None, 6 * SECOND);
    assert_eq!((machine.phase(), machine.reason()), (PodPhase::Failed, "DeadlineExceeded"));
}

#[test]
fn what_cannot_be_started_waits_and_is_tried_again() {
    let mut machine = pod("", "");
    assert_eq!(acts(&mut machine, 0), [Act::Start(0)]);
    machine.not_started(0, "no such image", 0);
    assert_eq!(machine.ones()[0].state(), State::Failed);
    assert_eq!(acts(&mut machine, 0), [Act::Start(0)]);
    machine.not_started(0, "no such image", 0);
    assert_eq!(acts(&mut machine, 0), []);
    assert_eq!(machine.deadline(), Some(10 * SECOND));
}

/// Whatever happens in whatever order: it never spins, nobody is started twice, and when
/// it is asked to end it does.
#[test]
fn whatever_happens_it_comes_to_an_end() {
    let two = format!(
        "{LIVE}\n{READY}\n    lifecycle: {{postStart: {{sleep: {{seconds: 1}}}}, preStop: {{sleep: {{seconds: 1}}}}}}\n  - {{name: d, image: x}}"
    );
    let inits = "  initContainers: [{name: i, image: x}, {name: s, image: x, restartPolicy: Always, startupProbe: {tcpSocket: {port: 1}}}]";
    let mut dice: u64 = 88_172_645_463_325_252;
    let mut roll = move |sides: u64| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice % sides
    };
    for _ in 0..300 {
        let mut machine = pod(&two, inits);
        let mut now = 0;
        for step in 0..400 {
            if step == 200 {
                machine.stop("Asked", None, now);
            }
            let news = acts(&mut machine, now);
            for act in news {
                let good = roll(4) > 0;
                match act {
                    Act::Start(at) if good => machine.started(at, now),
                    Act::Start(at) => machine.not_started(at, "no", now),
                    Act::PostStart(at) => machine.post_started(at, good, now),
                    Act::PreStop(at) => machine.pre_stopped(at),
                    Act::Stop(at) if good => machine.ended(at, 143, None, now),
                    Act::Stop(_) => {}
                    Act::Kill(at) => machine.ended(at, 137, None, now),
                    Act::Probe(at, which) => machine.probed(at, which, good, now),
                }
            }
            let running: Vec<usize> = (0..machine.ones().len())
                .filter(|at| machine.ones()[*at].phase == Phase::Running)
                .collect();
            if !running.is_empty() && roll(10) == 0 {
                let at = running[usize::try_from(roll(running.len() as u64)).expect("small")];
                machine.ended(at, i32::try_from(roll(2)).expect("small"), None, now);
            }
            now += roll(5 * SECOND);
        }
        assert!(machine.is_over(), "{machine:#?}");
        let kept = serde_json::to_string(&machine).expect("kept");
        assert_eq!(serde_json::from_str::<Machine>(&kept).expect("read"), machine);
    }
}
