//! podman and Docker: rich containers, `rich-init` in front of the payload.
//!
//! That all the ordinary scenarios hold in them too is shown by the runtime
//! `richrun-rich`; here is what only a rich container has.

use std::fs;
use std::path::Path;

use richrun_engines::command::{PATIENCE, run};
use richrun_engines::engine::Engine;
use richrun_engines::kind::Kind;
use richrun_engines::runtimes::RICH_NAME;
use richrun_engines::{Verdict, ensure, within};

use crate::{EngineScenario, scenario};

/// podman as the superuser, and Docker.
pub const BOTH: &[EngineScenario] = &[
    scenario("rich::modes", modes),
    scenario("rich::hooks_by_annotation", hooks_by_annotation),
    scenario("rich::taken_out", taken_out),
    scenario("rich::refusals", refusals),
    scenario("rich::deaths", deaths),
    scenario("rich::restart", restart),
    scenario("rich::init_scripts", init_scripts),
    scenario("rich::init_script_fails", init_script_fails),
    scenario("rich::images_are_not_trusted", images_are_not_trusted),
    scenario("rich::environment_for_logins", environment_for_logins),
    scenario("rich::services_by_annotation", services_by_annotation),
    scenario("rich::services_in_the_image", services_in_the_image),
    scenario("rich::engines_init", engines_init),
    scenario("rich::seen_from_outside", seen_from_outside),
];

pub const ROOTLESS: &[EngineScenario] = &[
    scenario("rich::modes", modes),
    scenario("rich::annotation_or_variable", annotation_or_variable),
    scenario("rich::by_settings", by_settings),
    scenario("rich::hooks_by_annotation", hooks_by_annotation),
    scenario("rich::taken_out", taken_out),
    scenario("rich::restart", restart),
    scenario("rich::init_scripts", init_scripts),
    scenario("rich::services_by_annotation", services_by_annotation),
    scenario("rich::engines_init", engines_init),
    scenario("rich::seen_from_outside", seen_from_outside),
];

/// The same two, and what a Docker without annotations (before 24) has too.
pub const VARIABLES: &[EngineScenario] = &[
    scenario("rich::annotation_or_variable", annotation_or_variable),
    scenario("rich::by_settings", by_settings),
    scenario("systemd::by_variables", systemd_by_variables).boots().in_one_view(),
];

/// The options that ask for a mode.
pub fn ask(mode: &str) -> Vec<String> {
    annotations(&[("rich", "true"), ("mode", mode)])
}

/// Pouch's two variables, as options.
fn variables(mode: &str) -> Vec<String> {
    ["-e", "rich_mode=true", "-e", &format!("rich_mode_launch_manner={mode}")]
        .map(str::to_owned)
        .to_vec()
}

/// Annotations of richrun's, as options.
fn annotations(pairs: &[(&str, &str)]) -> Vec<String> {
    let option = |(name, value): &(&str, &str)| format!("io.richrun.{name}={value}");
    pairs.iter().flat_map(|pair| ["--annotation".to_owned(), option(pair)]).collect()
}

/// Options that are owned, and more.
pub fn with<'a>(owned: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    owned.iter().map(String::as_str).chain(more.iter().copied()).collect()
}

/// Prints PID 1's name.
const FIRST: &str = "read -r name </proc/1/comm; echo $name";
/// Ends with 3 when TERM comes; prints `ready` before.
const OBEDIENT: [&str; 3] =
    ["sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done"];

fn modes(engine: &Engine<'_>) -> Verdict {
    for mode in ["dumb-init", "init", "auto"] {
        let options = ask(mode);
        let outcome = engine
            .run(&with(&options, &[]), &["sh", "-c", &format!("{FIRST}; exit 5")])?
            .exits(5)?;
        ensure(outcome.stdout == "rich-init\n" && outcome.stderr.is_empty(), || {
            format!("mode {mode}: {outcome}")
        })?;
    }
    Ok(())
}

/// The variables are for the runtime: the payload, and what joins it, do not see them.
fn annotation_or_variable(engine: &Engine<'_>) -> Verdict {
    let options = variables("dumb-init");
    let script = format!("{FIRST}; env | grep -c rich_mode");
    engine
        .run(&with(&options, &[]), &["sh", "-c", &script])?
        .exits(1)
        .and_then(|outcome| ensure(outcome.stdout == "rich-init\n0\n", || format!("{outcome}")))?;
    let container = engine.detached(&engine.unique("var"), &with(&options, &[]), &OBEDIENT)?;
    container.logs("ready")?;
    let joined = container.exec(&[], &["env"])?.exits(0)?;
    ensure(!joined.stdout.contains("rich_mode"), || format!("seen by exec: {joined}"))
}

/// The administrator's file makes everything rich, and has a default for whoever is.
fn by_settings(engine: &Engine<'_>) -> Verdict {
    let configured = engine.sandbox.configured(engine.runtime)?;
    let engine = engine.with_runtime(&configured);
    let script = ["sh", "-c", &format!("{FIRST}; cat /tmp/order")];
    engine.run(&[], &script)?.prints("rich-init\nby file")?;
    engine.run(&["-e", "rich_mode=false"], &["sh", "-c", FIRST])?.prints("sh")
}

/// A hook of the administrator's directory, for those who have an annotation; it is told of it.
fn hooks_by_annotation(engine: &Engine<'_>) -> Verdict {
    let configured = engine.sandbox.configured(engine.runtime)?;
    let engine = engine.with_runtime(&configured);
    let word = engine.unique("noted");
    engine.run(&["--annotation", &format!("org.example.note={word}")], &["true"])?.exits(0)?;
    engine.run(&["--annotation", &format!("org.example.other={word}-not")], &["true"])?.exits(0)?;
    let noted = fs::read_to_string(engine.sandbox.noted()).map_err(|error| error.to_string())?;
    ensure(noted.contains(&word) && !noted.contains(&format!("{word}-not")), || noted.clone())
}

fn systemd_by_variables(engine: &Engine<'_>) -> Verdict {
    let script = ["sh", "-c", "cat /proc/1/comm; env | grep -c rich_mode; exit 6"];
    let outcome = engine.run(&with(&variables("systemd"), &[]), &script)?.exits(6)?;
    ensure(outcome.stdout == "systemd\n0\n", || format!("{outcome}"))
}

/// The runtime's second name, by `containers.conf` or `daemon.json`; `io.richrun.rich=false` is stronger.
fn taken_out(engine: &Engine<'_>) -> Verdict {
    let first = ["sh", "-c", FIRST];
    engine.with_runtime(Path::new("richrun")).run(&[], &first)?.prints("sh")?;
    engine.sandbox.stage(RICH_NAME, engine.runtime)?;
    let engine = engine.with_runtime(Path::new(RICH_NAME));
    engine.run(&[], &first)?.prints("rich-init")?;
    let options = annotations(&[("rich", "false")]);
    engine.run(&with(&options, &[]), &first)?.prints("sh")
}

fn refusals(engine: &Engine<'_>) -> Verdict {
    let options = ask("upstart");
    let outcome = engine.run(&with(&options, &[]), &["true"])?;
    ensure(
        outcome.code > 124 && outcome.stderr.contains("not supported rich mode: upstart"),
        || format!("{outcome}"),
    )?;
    let outcome = engine.run(&["-e", "rich_mode_launch_manner=systemd"], &["true"])?;
    ensure(outcome.code > 124 && outcome.stderr.contains("must first enable rich mode"), || {
        format!("{outcome}")
    })
}

/// A payload that is not PID 1 can die of a signal; its orphans are reaped.
fn deaths(engine: &Engine<'_>) -> Verdict {
    let options = ask("dumb-init");
    for (signal, code) in [("KILL", 137), ("TERM", 143)] {
        let script = format!("kill -{signal} $$; sleep 5");
        engine.run(&with(&options, &[]), &["sh", "-c", &script])?.exits(code)?;
    }
    let script = "orphan=$(sh -c 'sleep 0.1 >/dev/null & echo $!'); \
                  while [ -e /proc/$orphan ]; do sleep 0.02; done; exit 5";
    engine.run(&with(&options, &[]), &["sh", "-c", script])?.exits(5).map(drop)
}

fn restart(engine: &Engine<'_>) -> Verdict {
    let options = ask("dumb-init");
    let container = engine.detached(&engine.unique("richly"), &with(&options, &[]), &OBEDIENT)?;
    container.logs("ready")?;
    for verb in ["restart", "stop"] {
        engine.call(&[verb, "-t", "20", &container.name])?.exits(0)?;
        if verb == "stop" {
            ensure(container.field(".State.ExitCode")? == "3", || "exit code 3".into())?;
            engine.call(&["start", &container.name])?.exits(0)?;
        }
        container.exec(&[], &["sh", "-c", FIRST])?.prints("rich-init")?;
    }
    Ok(())
}

/// They run before the payload, at every start.
fn init_scripts(engine: &Engine<'_>) -> Verdict {
    let options = annotations(&[
        ("rich", "true"),
        ("initscript", "/srv/first.sh 'a word'"),
        ("initcmd", "echo line >>/tmp/order"),
    ]);
    let payload = ["sh", "-c", "cat /tmp/order; echo ready; while :; do sleep 0.05; done"];
    let container = engine.detached(&engine.unique("script"), &with(&options, &[]), &payload)?;
    let once = "script: a word\nline\n";
    let logs = container.logs("ready")?;
    ensure(logs == format!("{once}ready\n"), || format!("logs: {logs}"))?;
    engine.call(&["restart", "-t", "0", &container.name])?.exits(0)?;
    container.logs(&format!("{once}{once}ready\n")).map(drop)
}

/// The engine says which one failed, and why.
fn init_script_fails(engine: &Engine<'_>) -> Verdict {
    let options = annotations(&[("rich", "true"), ("initcmd", "echo no route; exit 4")]);
    let outcome = engine.run(&with(&options, &[]), &["echo", "payload"])?;
    ensure(outcome.code > 124 && !outcome.stdout.contains("payload"), || format!("{outcome}"))?;
    ensure(
        ["initcmd", "no route", "exit status 4"].iter().all(|word| outcome.stderr.contains(word)),
        || format!("{outcome}"),
    )
}

/// Who asks by what an image may have in it gets what the engine gives to the payload.
fn images_are_not_trusted(engine: &Engine<'_>) -> Verdict {
    let script = "id -u; grep CapBnd /proc/self/status; exit 4";
    let options = annotations(&[("rich", "true"), ("initcmd", script)]);
    let poor = ["-u", "1000", "--cap-drop", "all", "--security-opt", "no-new-privileges"];
    let outcome = engine.run(&with(&options, &poor), &["echo", "payload"])?;
    ensure(outcome.code > 124 && !outcome.stdout.contains("payload"), || format!("{outcome}"))?;
    let words = ["exit status 4: 1000", "0000000000000000"];
    ensure(words.iter().all(|word| outcome.stderr.contains(word)), || format!("{outcome}"))
}

fn environment_for_logins(engine: &Engine<'_>) -> Verdict {
    let options = ask("dumb-init");
    let script = ". /etc/profile.d/richrun.sh; echo \"$PLACE\"; cat /etc/profile.d/richrun.sh";
    let outcome =
        engine.run(&with(&options, &["-e", "PLACE=it's $here"]), &["sh", "-c", script])?;
    let text = outcome.text()?;
    ensure(text.starts_with("it's $here\n") && !text.contains("rich_mode"), || text.clone())
}

/// A path in the image, or the document itself: for podman, which reads the value as a
/// line of CSV, without quotation marks and commas.
fn services_by_annotation(engine: &Engine<'_>) -> Verdict {
    let options = annotations(&[("rich", "true"), ("services", "/srv/services.json")]);
    let show = ["sh", "-c", "cat /tmp/web; exit 6"];
    let outcome = engine.run(&with(&options, &[]), &show)?.exits(6)?;
    ensure(outcome.stdout == "up\n", || format!("{outcome}"))?;
    let document = match engine.kind {
        Kind::Docker => {
            r#"{"service": {"web": {"command": ["sh", "-c", "echo up >/tmp/web; sleep 1000"]}}}"#
        }
        Kind::Podman | Kind::Rootless => "service.web.command = 'echo up >/tmp/web; sleep 1000'",
    };
    let options = annotations(&[("rich", "true"), ("services", document)]);
    let container = engine.detached(&engine.unique("service"), &with(&options, &[]), &OBEDIENT)?;
    container.logs("ready")?;
    within("the service is up", || {
        container.exec(&[], &["cat", "/tmp/web"]).ok().filter(|outcome| outcome.stdout == "up\n")
    })?;
    engine.call(&["stop", "-t", "20", &container.name])?.exits(0)?;
    ensure(container.field(".State.ExitCode")? == "3", || "exit code 3".into())
}

/// A file of the image describes them.
fn services_in_the_image(engine: &Engine<'_>) -> Verdict {
    let maker = engine.unique("maker");
    let image = format!("localhost/{maker}:1");
    let script =
        "mkdir -p /etc/richrun/services.d; cp /srv/services.json /etc/richrun/services.d/web.json";
    let made = engine.detached(&maker, &[], &["sh", "-c", script])?;
    ensure(made.wait()? == 0, || "the file could not be made".into())?;
    engine.call(&["commit", &made.name, &image])?.exits(0)?;
    let options = ask("dumb-init");
    let outcome =
        engine.with_image(&image).run(&with(&options, &[]), &["sh", "-c", "cat /tmp/web; exit 6"]);
    engine.call(&["rmi", &image])?.exits(0)?;
    let outcome = outcome?.exits(6)?;
    ensure(outcome.stdout == "up\n", || format!("{outcome}"))
}

/// `--init` asks for what a rich container has: one init, not two.
fn engines_init(engine: &Engine<'_>) -> Verdict {
    let options = ask("dumb-init");
    let script = "read -r one </proc/1/comm; read -r own </proc/$PPID/comm; echo $one $own; exit 5";
    let outcome = engine.run(&with(&options, &["--init"]), &["sh", "-c", script])?.exits(5)?;
    ensure(outcome.stdout == "rich-init rich-init\n" && outcome.stderr.is_empty(), || {
        format!("{outcome}")
    })
}

/// richrun's own commands find the engine's container, where the engine keeps it.
fn seen_from_outside(engine: &Engine<'_>) -> Verdict {
    let options = ask("dumb-init");
    let container = engine.detached(&engine.unique("seen"), &with(&options, &[]), &OBEDIENT)?;
    container.logs("ready")?;
    let id = container.field(".Id")?;
    let root = match engine.kind {
        Kind::Podman => "/run/richrun".into(),
        Kind::Rootless => engine.sandbox.user_runtime_dir().join("richrun"),
        Kind::Docker => "/run/docker/runtime-runc/moby".into(),
    };
    let mut command = match engine.kind {
        Kind::Rootless => engine.sandbox.command_as_user(engine.runtime),
        _ => engine.sandbox.command(engine.runtime),
    };
    command.arg("--root").arg(&root).args(["inspect", &id]);
    let shown = run(command, b"", PATIENCE)?.exits(0)?;
    ensure(shown.stdout.contains("dumb-init"), || format!("{shown}"))
}
