//! What probes do to a service: the machine's decisions about them, one by one.

use super::machine::{Act, Health, Machine};
use super::probe::{LIVENESS, Probe, READINESS, STARTUP};
use super::rules::Rules;
use super::service_state::{Phase, ServiceState};
use super::wire;
use crate::time::Millis;

/// A probe that fails or passes at once.
fn probe(initial_delay: Millis, grace: Millis) -> Probe {
    let mut probe = Probe::NONE;
    (probe.kind, probe.failure) = (wire::PROBE_TCP, 1);
    (probe.initial_delay, probe.grace) = (initial_delay, grace);
    probe
}

/// One service, the main one, launched at `now`.
fn launched(states: &mut [ServiceState], now: Millis) -> Machine<'_> {
    let mut machine = Machine::new(states, 0, 0, 0);
    machine.begin();
    while let Some(act) = machine.next(now) {
        if act == Act::Launch(0) {
            machine.launched(0, 7, now);
        }
    }
    machine
}

fn acts(machine: &mut Machine<'_>, now: Millis) -> Vec<Act> {
    std::iter::from_fn(|| machine.next(now)).filter(|act| *act != Act::Changed(0)).collect()
}

/// As with Kubernetes, a delay counts from the service's start, not from the startup probe's end.
#[test]
fn delays_count_from_the_start() {
    let mut rules = Rules { ready: wire::READY_PROBE, ..Rules::PLAIN };
    rules.probes[STARTUP] = probe(0, 0);
    rules.probes[LIVENESS] = probe(5000, 0);
    rules.probes[READINESS] = probe(40_000, 0);
    let mut states = [ServiceState::new(rules)];
    let mut machine = launched(&mut states, 1000);
    machine.probed(0, STARTUP, true, 21_000);
    assert_eq!(acts(&mut machine, 21_000), [Act::Probe(0, LIVENESS)]);
    machine.probed(0, LIVENESS, true, 21_000);
    assert_eq!(acts(&mut machine, 40_999), [Act::Probe(0, LIVENESS)]);
    assert!(acts(&mut machine, 41_000).contains(&Act::Probe(0, READINESS)));
}

/// A service that says itself when it is up is not ready before its readiness probe passes.
#[test]
fn readiness_begins_as_not_ready() {
    let mut rules = Rules { ready: wire::READY_NOTIFY, ..Rules::PLAIN };
    rules.probes[READINESS] = probe(0, 0);
    let mut states = [ServiceState::new(rules)];
    let mut machine = launched(&mut states, 0);
    let seen = |machine: &Machine<'_>| {
        let state = &machine.states()[0];
        (state.phase, state.ready, machine.health())
    };
    machine.ready(0, 1);
    assert_eq!(seen(&machine), (Phase::Up, false, Health::Starting));
    machine.probed(0, READINESS, false, 2);
    assert_eq!(seen(&machine), (Phase::Up, false, Health::Unhealthy));
    machine.probed(0, READINESS, true, 3);
    assert_eq!(seen(&machine), (Phase::Up, true, Health::Healthy));
    assert!(machine.next(3).is_some_and(|act| act == Act::Changed(0)), "listeners are told");
}

/// And one whose probe passed before it said so is.
#[test]
fn readiness_may_come_first() {
    let mut rules = Rules { ready: wire::READY_NOTIFY, ..Rules::PLAIN };
    rules.probes[READINESS] = probe(0, 0);
    let mut states = [ServiceState::new(rules)];
    let mut machine = launched(&mut states, 0);
    machine.probed(0, READINESS, true, 1);
    assert_eq!(machine.states()[0].phase, Phase::Starting);
    machine.ready(0, 2);
    assert!(machine.states()[0].ready && machine.health() == Health::Healthy);
}

#[test]
fn a_failed_probe_brings_its_own_grace() {
    for (grace, killed) in [(0, 10_000), (3000, 3000)] {
        let mut rules = Rules::PLAIN;
        rules.probes[LIVENESS] = probe(0, grace);
        let mut states = [ServiceState::new(rules)];
        let mut machine = launched(&mut states, 0);
        machine.probed(0, LIVENESS, false, 0);
        assert_eq!(acts(&mut machine, 0), [Act::Signal(0, 15)]);
        assert_eq!(acts(&mut machine, killed - 1), []);
        assert_eq!(acts(&mut machine, killed), [Act::Signal(0, 9)]);
    }
}

/// What cannot be executed is tried again and again, but never without an end.
#[test]
fn nothing_is_tried_without_a_pause() {
    let rules = Rules { restart: wire::RESTART_ALWAYS, delay: 0, ..Rules::PLAIN };
    let mut states = [ServiceState::new(Rules::PLAIN), ServiceState::new(rules)];
    let mut machine = Machine::new(&mut states, 0, 0, 0);
    machine.begin();
    let mut tries = 0;
    while let Some(act) = machine.next(0) {
        match act {
            Act::Launch(0) => machine.launched(0, 7, 0),
            Act::Launch(i) => {
                tries += 1;
                assert!(tries < 10, "it is tried without an end");
                machine.not_started(i, 127, 0);
            }
            _ => {}
        }
    }
    assert_eq!(tries, 1);
}
