//! Black-box tests of the runtime under test, one module a behaviour.
//!
//! `RICHRUN=/path` chooses the runtime; see `richrun_tests::runtime`.

mod annotations;
mod bad_input;
mod boot;
mod cgroups;
mod check;
mod checkpoint;
mod cleanup;
mod devices;
mod doctor;
mod ending;
mod events;
mod examples;
mod exec;
mod exec_prepared;
mod exec_serve;
mod extras;
mod grants;
mod hardening;
mod hooks;
mod hooks_d;
mod hooks_edges;
mod host;
mod lifecycle;
mod listing;
mod mounts;
mod namespaces;
mod network;
mod process;
mod rdt;
mod rich;
mod services;
mod signals;
mod streams;
mod stress;
mod systemd;
mod update;
mod words;

use richrun_tests::Suite;

fn main() -> std::process::ExitCode {
    let mut suite = Suite::default();
    bad_input::register(suite.module("bad_input"));
    lifecycle::register(suite.module("lifecycle"));
    exec::register(suite.module("exec"));
    exec_prepared::register(suite.module("exec_prepared"));
    exec_serve::register(suite.module("exec_serve"));
    extras::register(suite.module("extras"));
    grants::register(suite.module("grants"));
    annotations::register(suite.module("annotations"));
    boot::register(suite.module("boot"));
    cgroups::register(suite.module("cgroups"));
    check::register(suite.module("check"));
    checkpoint::register(suite.module("checkpoint"));
    doctor::register(suite.module("doctor"));
    cleanup::register(suite.module("cleanup"));
    devices::register(suite.module("devices"));
    hardening::register(suite.module("hardening"));
    hooks::register(suite.module("hooks"));
    hooks_d::register(suite.module("hooks_d"));
    hooks_edges::register(suite.module("hooks_edges"));
    host::register(suite.module("host"));
    listing::register(suite.module("listing"));
    mounts::register(suite.module("mounts"));
    namespaces::register(suite.module("namespaces"));
    network::register(suite.module("network"));
    rdt::register(suite.module("rdt"));
    process::register(suite.module("process"));
    rich::register(suite.module("rich"));
    services::register(suite.module("services"));
    signals::register(suite.module("signals"));
    streams::register(suite.module("streams"));
    stress::register(suite.module("stress"));
    systemd::register(suite.module("systemd"));
    ending::register(suite.module("ending"));
    events::register(suite.module("events"));
    examples::register(suite.module("examples"));
    update::register(suite.module("update"));
    words::register(suite.module("words"));
    suite.main()
}
