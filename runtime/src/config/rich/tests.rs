use std::collections::HashMap;

use super::words::BadWords;
use super::*;

fn asks(rich: Option<bool>, mode: Option<&str>) -> Request {
    Request { rich, mode: mode.map(str::to_owned), ..Request::default() }
}

fn resolve(requests: Vec<(Origin, Request)>) -> Result<Option<RichConfig>> {
    RichConfig::resolve(requests, &["sh".to_owned()], 0)
}

fn mode(requests: Vec<(Origin, Request)>) -> Option<RichMode> {
    resolve(requests).unwrap().map(|config| config.mode)
}

use Origin::{Annotations, Command, CommandLine, Environment, File as OfFile, Name, Runtime};

#[test]
fn modes_resolve_with_pouchs_words() {
    assert_eq!(mode(vec![(CommandLine, asks(None, None))]), None);
    for (name, expected) in [
        (None, RichMode::DumbInit),
        (Some("dumb-init"), RichMode::DumbInit),
        (Some("init"), RichMode::DumbInit),
        (Some("systemd"), RichMode::Systemd),
        (Some("sbin-init"), RichMode::SbinInit),
        (Some("auto"), RichMode::DumbInit),
    ] {
        assert_eq!(mode(vec![(CommandLine, asks(Some(true), name))]), Some(expected), "{name:?}");
    }
    for origin in [CommandLine, Annotations, Environment] {
        let error = resolve(vec![(origin, asks(None, Some("dumb-init")))]).unwrap_err();
        assert_eq!(error.to_string(), "must first enable rich mode, then specify a rich mode type");
    }
    let error = resolve(vec![(CommandLine, asks(Some(true), Some("upstart")))]).unwrap_err();
    assert_eq!(error.to_string(), "not supported rich mode: upstart");
}

#[test]
fn the_stronger_way_wins_field_by_field() {
    let ways = [CommandLine, Annotations, Environment, Runtime, OfFile, Name];
    for (at, weak) in ways.iter().enumerate() {
        for strong in &ways[..at] {
            let requests = vec![
                (*weak, asks(Some(false), Some("sbin-init"))),
                (*strong, asks(Some(true), Some("systemd"))),
            ];
            assert_eq!(mode(requests), Some(RichMode::Systemd), "{strong:?} over {weak:?}");
            let requests = vec![
                (*weak, asks(Some(true), Some("systemd"))),
                (*strong, asks(Some(false), None)),
            ];
            assert_eq!(mode(requests), None, "{strong:?} switches {weak:?} off");
            let requests =
                vec![(*weak, asks(None, Some("sbin-init"))), (*strong, asks(Some(true), None))];
            assert_eq!(mode(requests), Some(RichMode::SbinInit), "{weak:?} completes {strong:?}");
        }
    }
}

#[test]
fn a_files_defaults_are_for_whoever_asks() {
    assert_eq!(mode(vec![(OfFile, asks(None, Some("systemd")))]), None);
    let named = vec![(OfFile, asks(None, Some("systemd"))), (Name, asks(Some(true), None))];
    assert_eq!(mode(named), Some(RichMode::Systemd));
}

#[test]
fn scripts_need_rich_mode_and_keep_their_arguments() {
    let with = |rich, script: &str| Request {
        rich,
        initscript: Some(script.to_owned()),
        ..Request::default()
    };
    let error = resolve(vec![(CommandLine, with(None, "/a"))]).unwrap_err().to_string();
    assert_eq!(error, "must first enable rich mode, then specify an initscript");
    let command = Request { initcmd: Some("true".to_owned()), ..Request::default() };
    let error = resolve(vec![(Annotations, command.clone())]).unwrap_err().to_string();
    assert_eq!(error, "must first enable rich mode, then specify an initcmd");
    assert_eq!(resolve(vec![(OfFile, command.clone())]).unwrap(), None);
    let both = vec![(CommandLine, with(Some(true), "/a 'b c' d")), (Annotations, command)];
    let config = resolve(both).unwrap().unwrap();
    let words = ["/a", "b c", "d"].map(str::to_owned).to_vec();
    let expected = [
        Script { what: InitScript::File(words), as_root: true },
        Script { what: InitScript::Command("true".to_owned()), as_root: false },
    ];
    assert_eq!(config.scripts, expected, "the annotation's is not the administrator's");
    let error = resolve(vec![(CommandLine, with(Some(true), "/a 'b"))]).unwrap_err().to_string();
    assert_eq!(error, "initscript: a quotation mark is not closed");
}

#[test]
fn auto_takes_the_init_that_the_command_names() {
    for (command, expected) in [
        ("/sbin/init", RichMode::SbinInit),
        ("/usr/lib/systemd/systemd", RichMode::Systemd),
        ("/usr/bin/init", RichMode::DumbInit),
    ] {
        let requests = vec![(CommandLine, asks(Some(true), Some("auto")))];
        let config = RichConfig::resolve(requests, &[command.to_owned()], 0).unwrap().unwrap();
        assert_eq!(config.mode, expected, "{command}");
    }
}

#[test]
fn words_are_split_as_a_shell_does() {
    for (text, expected) in [
        ("a  b\tc\n", &["a", "b", "c"][..]),
        (r#"/x "a b" 'c "d' e\ f"#, &["/x", "a b", "c \"d", "e f"]),
        (r#"/x "a\"b\n" '' "#, &["/x", "a\"b\\n", ""]),
        (r#"/x a'b'"c"d"#, &["/x", "abcd"]),
        ("/x $HOME *", &["/x", "$HOME", "*"]),
    ] {
        assert_eq!(split_words(text).unwrap(), expected, "{text}");
    }
    for (bad, why) in [
        ("", BadWords::Empty),
        ("''", BadWords::Empty),
        ("a \"b", BadWords::OpenQuote),
        ("a\0", BadWords::Nul),
    ] {
        assert_eq!(split_words(bad), Err(why), "{bad:?}");
    }
}

#[test]
fn annotations_are_read_and_the_unknown_named() {
    let pairs = [
        ("io.richrun.rich", "true"),
        ("io.richrun.mode", "systemd"),
        ("io.richrun.init-timeout", "7s"),
        ("io.richrun.moode", "x"),
        ("org.other", "y"),
    ];
    let all: HashMap<String, String> =
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let (request, unknown) = Request::of_annotations(&all).unwrap();
    assert_eq!(request.mode.as_deref(), Some("systemd"));
    assert_eq!((request.rich, request.init_timeout), (Some(true), Some(7)));
    assert_eq!(unknown, ["io.richrun.moode; did you mean io.richrun.mode?"]);
    let bad = HashMap::from([("io.richrun.rich".to_owned(), "maybe".to_owned())]);
    let error = Request::of_annotations(&bad).unwrap_err().to_string();
    assert_eq!(error, "io.richrun.rich: \"maybe\" is neither true nor false");
}

#[test]
fn pouchs_variables() {
    let read = |rich, mode| Request::of_runtime(rich, mode).unwrap();
    assert_eq!(read(None, None), Request::default());
    assert_eq!(read(Some("true"), Some("systemd")), asks(Some(true), Some("systemd")));
    assert_eq!(read(Some("false"), Some("")), asks(Some(false), None));
    assert!(Request::of_runtime(Some("yes please"), None).is_err());
}

#[test]
fn a_process_may_mean_something_else_by_pouchs_names() {
    for (env, asked, stripped) in [
        ("A=1", asks(None, None), ""),
        ("rich_mode=true", asks(Some(true), None), "rich_mode"),
        ("rich_mode=false", asks(Some(false), None), "rich_mode"),
        ("rich_mode=fancy", asks(None, None), ""),
        ("rich_mode=fancy rich_mode_launch_manner=systemd", asks(None, None), ""),
        ("rich_mode_launch_manner=slow", asks(None, None), ""),
        ("rich_mode_launch_manner=systemd", asks(None, Some("systemd")), "rich_mode_launch_manner"),
        (
            "rich_mode=true rich_mode_launch_manner=upstart",
            asks(Some(true), Some("upstart")),
            "rich_mode rich_mode_launch_manner",
        ),
        ("rich_mode=fancy rich_mode=true", asks(Some(true), None), "rich_mode"),
    ] {
        let all: Vec<String> = env.split(' ').map(str::to_owned).collect();
        assert_eq!(Request::of_process(&all), asked, "{env}");
        let for_us: Vec<&str> = for_the_runtime(&all).collect();
        assert_eq!(for_us.join(" "), stripped, "{env}");
    }
}

/// A request by each of the ways, with the rights that its mode, its script and its
/// environment file get.
#[test]
fn the_weakest_of_those_who_have_a_say_decides() {
    let all = |origin, rich, mode| {
        let initcmd = Some("true".to_owned());
        (origin, Request { initcmd, ..asks(rich, mode) })
    };
    let resolve = |requests: Vec<(Origin, Request)>, command: &str, uid| {
        RichConfig::resolve(requests, &[command.to_owned()], uid).unwrap().unwrap()
    };
    for (origin, trusted) in [
        (CommandLine, true),
        (Annotations, false),
        (Environment, false),
        (Runtime, true),
        (OfFile, true),
    ] {
        let config = resolve(vec![all(origin, Some(true), Some("systemd"))], "sh", 1000);
        assert_eq!(config.granted == Rights::all(), trusted, "{origin:?}");
        assert_eq!(config.granted == Rights::default(), !trusted, "{origin:?}");
        assert_eq!((config.asked_by, config.scripts[0].as_root), (origin, trusted));
        assert_eq!(config.environment_file, trusted);
        // What is root's may be written for root.
        let root = resolve(vec![all(origin, Some(true), None)], "sh", 0);
        assert!(root.environment_file);
    }
    // The file's mode and script, for one who has only asked to be rich.
    let file = all(OfFile, None, Some("systemd"));
    let config = resolve(vec![file, (Annotations, asks(Some(true), None))], "sh", 1000);
    assert_eq!((config.asked_by, config.granted), (Annotations, Rights::default()));
    assert!(!config.scripts[0].as_root && !config.environment_file);
    // The administrator says rich, the image which init and which script.
    let asked = vec![all(Environment, None, Some("systemd")), (Name, asks(Some(true), None))];
    let config = resolve(asked, "sh", 1000);
    assert_eq!((config.asked_by, config.granted), (Environment, Rights::default()));
    assert!(!config.scripts[0].as_root && config.environment_file);
    // `auto`: the command decides, but for whoever is on the command line himself.
    for (origin, by) in [(OfFile, Command), (CommandLine, CommandLine)] {
        let config = resolve(vec![all(origin, Some(true), Some("auto"))], "/sbin/init", 1000);
        assert_eq!(config.asked_by, by);
    }
    let trust: Trust = vec!["annotations:cgroups".to_owned()].try_into().unwrap();
    let file = (OfFile, Request { trust, ..Request::default() });
    let config = resolve(vec![file, all(Annotations, Some(true), Some("systemd"))], "sh", 0);
    assert!(config.granted.has(Right::Cgroups) && !config.granted.has(Right::Root));
    assert!(!config.scripts[0].as_root);
}

#[test]
fn an_engines_init_is_left_out() {
    for (line, kept) in [
        ("/sbin/docker-init -- sh -c x", "sh -c x"),
        ("/run/podman-init -- sh -- x", "sh -- x"),
        ("/dev/init -- /sbin/init", "/sbin/init"),
        ("/sbin/docker-init --", "/sbin/docker-init --"),
        ("/sbin/docker-init sh", "/sbin/docker-init sh"),
        ("/usr/bin/tini -- sh", "/usr/bin/tini -- sh"),
        ("sh -- x", "sh -- x"),
        ("", ""),
    ] {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        assert_eq!(without_engines_init(&args).join(" "), kept, "{line}");
    }
}

#[test]
fn a_pods_holder_is_known_by_its_engines_annotation() {
    for (name, value, holds) in [
        ("io.kubernetes.cri.container-type", "sandbox", true),
        ("io.kubernetes.cri-o.ContainerType", "sandbox", true),
        ("io.kubernetes.cri.container-type", "container", false),
        ("io.richrun.rich", "sandbox", false),
    ] {
        let all = HashMap::from([(name.to_owned(), value.to_owned())]);
        assert_eq!(holds_a_pod(&all), holds, "{name}={value}");
    }
}

#[test]
fn services_are_meant_for_this_container() {
    let asks = |rich, mode: Option<&str>| {
        let services = HashMap::from([("io.richrun.services".to_owned(), "{}".to_owned())]);
        let (mut request, unknown) = Request::of_annotations(&services).unwrap();
        assert!(unknown.is_empty());
        (request.rich, request.mode) = (rich, mode.map(str::to_owned));
        resolve(vec![(Annotations, request)])
    };
    let error = asks(None, None).unwrap_err().to_string();
    assert_eq!(error, "must first enable rich mode, then specify services");
    for mode in ["systemd", "sbin-init"] {
        let error = asks(Some(true), Some(mode)).unwrap_err().to_string();
        assert_eq!(error, "services need rich mode dumb-init: another init runs its own");
    }
    assert!(asks(Some(true), None).unwrap().is_some());
    assert_eq!(asks(Some(false), None), Ok(None));
}
