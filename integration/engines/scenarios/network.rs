//! podman and Docker: networks; pods.

use richrun_engines::command::{PATIENCE, run};
use richrun_engines::engine::Engine;
use richrun_engines::view::View;
use richrun_engines::{Verdict, ensure, image, within};

use crate::{EngineScenario, Scenario, scenario};

const SERVER: [&str; 6] = ["httpd", "-f", "-p", "80", "-h", "/srv"];

/// With the cgroupfs manager podman 4 loads a program that denies every device
/// on a pod's own v2 cgroup: not even `/dev/null` opens below it.
const DENIED: &str = "podman denies a v2 pod all devices";

pub const BOTH: &[EngineScenario] =
    &[scenario("published_port", published_port), scenario("no_network", no_network)];

pub const PODMAN: &[EngineScenario] =
    &[Scenario { not_in: Some((View::V2, DENIED)), ..scenario("pod_of_two", pod_of_two) }];

/// A web page of the image, through a port of the sandbox.
pub fn published_port(engine: &Engine<'_>) -> Verdict {
    let port = engine.port();
    let container =
        engine.detached(&engine.unique("web"), &["-p", &format!("{port}:80")], &SERVER)?;
    let fetched = within(&format!("a page of {} on port {port}", container.name), || {
        let mut command = engine.sandbox.command("busybox");
        command.args(["wget", "-q", "-O", "-", &format!("http://127.0.0.1:{port}/index.html")]);
        run(command, b"", PATIENCE).ok().filter(|outcome| outcome.code == 0)
    })?;
    ensure(fetched.stdout == "served\n", || format!("{fetched}"))
}

fn no_network(engine: &Engine<'_>) -> Verdict {
    engine.run(&["--network", "none"], &["ls", "/sys/class/net"])?.prints("lo")
}

fn pod_of_two(engine: &Engine<'_>) -> Verdict {
    let name = engine.unique("pod");
    engine
        .call(&[
            "pod",
            "create",
            "--name",
            &name,
            "--cgroup-parent",
            &format!("/{}", engine.sandbox.cgroup),
        ])?
        .exits(0)?;
    let verdict = two_in(engine, &name);
    engine.call(&["pod", "rm", "-f", "-t", "0", &name])?.exits(0)?;
    verdict
}

fn two_in(engine: &Engine<'_>, pod: &str) -> Verdict {
    let server = engine.detached(&format!("{pod}-web"), &["--pod", pod], &SERVER)?;
    within("the pod's server answers its neighbour", || {
        let fetch = [
            "run",
            "--rm",
            "--pod",
            pod,
            image::NAME,
            "wget",
            "-q",
            "-O",
            "-",
            "http://127.0.0.1/index.html",
        ];
        engine.call(&fetch).ok().filter(|outcome| outcome.code == 0 && outcome.stdout == "served\n")
    })?;
    let names = "for n in net ipc uts; do readlink /proc/self/ns/$n; done";
    let here =
        engine.call(&["run", "--rm", "--pod", pod, image::NAME, "sh", "-c", names])?.text()?;
    let there = server.exec(&[], &["sh", "-c", names])?.text()?;
    ensure(here == there, || format!("namespaces differ: {here}, {there}"))?;
    engine.call(&["pod", "stop", "-t", "1", pod])?.exits(0)?;
    engine.call(&["pod", "start", pod])?.exits(0)?;
    server.exec(&[], &["echo", "back"])?.prints("back")
}
