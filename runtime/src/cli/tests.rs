//! Command lines as engines send them.

use super::*;

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

fn verb(line: &str) -> (Global, Verb) {
    match parse(&words(line)) {
        (global, Ok(Asked::Run(verb))) => (global, *verb),
        (_, other) => panic!("{line}: {other:?}"),
    }
}

fn refused(line: &str) -> Refusal {
    match parse(&words(line)) {
        (_, Err(refusal)) => refusal,
        (_, other) => panic!("{line}: {other:?}"),
    }
}

#[test]
fn clap_finds_no_fault_in_the_tree() {
    whole().debug_assert();
    for name in VERBS {
        build(name).unwrap().0.debug_assert();
    }
}

#[test]
fn containerd_creates() {
    let (global, verb) = verb(
        "--root /run/containerd/runc/default --log /b/log.json --log-format json --systemd-cgroup \
         create --bundle /b --pid-file /b/init.pid --console-socket /tmp/pty.sock -no-pivot \
         -no-new-keyring -preserve-fds 3 c1",
    );
    assert_eq!(global.root(), PathBuf::from("/run/containerd/runc/default"));
    assert_eq!(global.log_format, LogFormat::Json);
    assert!(global.systemd_cgroup && !global.debug);
    let Verb::Create(CreateArgs { launch }) = verb else { panic!("{verb:?}") };
    assert_eq!(launch.id, "c1");
    assert_eq!(launch.bundle, Some("/b".into()));
    assert_eq!(launch.console_socket, Some("/tmp/pty.sock".into()));
    assert!(launch.no_pivot && launch.no_new_keyring && launch.rich.is_none());
    assert_eq!(launch.preserve_fds, 3);
}

#[test]
fn go_runc_runs() {
    let (global, verb) = verb("--rootless=true run --detach=false -no-subreaper --keep -b /b c1");
    assert_eq!(global.rootless, Rootless::True);
    let Verb::Run(run) = verb else { panic!("{verb:?}") };
    assert!(!run.detach && run.no_subreaper && run.keep);
}

#[test]
fn conmon_and_podman_exec() {
    let (global, verb) =
        verb("--cgroup-manager disabled exec --pid-file /p --process /proc.json -d -t c1");
    assert_eq!(global.cgroup_manager, Some(CgroupManager::Disabled));
    let Verb::Exec(exec) = verb else { panic!("{verb:?}") };
    assert!(exec.detach && exec.tty && exec.command.is_empty());
    assert_eq!(exec.process, Some("/proc.json".into()));
}

#[test]
fn what_follows_the_id_is_the_command() {
    let (_, verb) = verb("exec -u 1:2 -g 3 -g 4 --env A=1 -e B= -c CAP_KILL c1 ls -t -- --help");
    let Verb::Exec(exec) = verb else { panic!("{verb:?}") };
    assert_eq!(exec.command, ["ls", "-t", "--", "--help"]);
    assert_eq!(exec.user, Some(values::UserArg { uid: 1, gid: Some(2) }));
    assert_eq!(exec.additional_gids, [3, 4]);
    assert_eq!(exec.env, ["A=1", "B="]);
    assert!(!exec.tty);
    for line in ["exec c1 -- sh -c x", "exec -- c1 sh -c x", "exec c1 sh -c x"] {
        let (_, Verb::Exec(exec)) = self::verb(line) else { panic!("{line}") };
        assert_eq!((exec.id.as_str(), exec.command.len()), ("c1", 3), "{line}");
    }
}

#[test]
fn ps_options_go_to_ps() {
    let (_, Verb::Ps(ps)) = verb("ps -f json c1 -ef -o pid") else { panic!() };
    assert_eq!((ps.format, ps.ps_args.len()), (Format::Json, 3));
}

#[test]
fn kill_takes_names_and_numbers_and_all() {
    let (_, Verb::Kill(kill)) = verb("kill --all c1 9") else { panic!() };
    assert!(kill.all && kill.signal == "9");
    let (_, Verb::Kill(kill)) = verb("kill c1") else { panic!() };
    assert_eq!(kill.signal, "SIGTERM");
}

#[test]
fn options_may_follow_the_id_elsewhere() {
    let (_, Verb::Delete(delete)) = verb("delete c1 --force") else { panic!() };
    assert!(delete.force);
}

#[test]
fn a_refusal_is_one_line_and_status_1() {
    for (line, says) in [
        ("create", "create: the following required arguments were not provided: <ID>"),
        ("create a b", "create: unexpected argument 'b' found"),
        ("create --bundel x id", "is it '--bundle'?"),
        ("--log-format xml list", "invalid value 'xml' for '--log-format <FORMAT>'"),
        ("exec -u 4294967296 id true", "an id is a number from 0 to 4294967294"),
        ("run --preserve-fds -1 id", "invalid value '-1'"),
        ("exec", "<ID>"),
    ] {
        let refusal = refused(line);
        let text = refusal.error.to_string();
        assert!(text.contains(says), "{line}: {text}");
        assert!(!text.contains('\n'), "{line}: {text}");
        // runc finds out about exec's values when it runs: exec's own failure.
        let status = if line.starts_with("exec -u") { 255 } else { 1 };
        assert_eq!(refusal.status, status, "{line}");
    }
}

#[test]
fn the_last_of_several_counts() {
    let (global, verb) = verb("--debug --root a --debug --root b exec -u 1 -t -u 2 -tt id true");
    assert_eq!((global.debug, global.root), (true, Some("b".into())));
    let Verb::Exec(exec) = verb else { panic!("{verb:?}") };
    assert_eq!((exec.tty, exec.user.unwrap().uid), (true, 2));
    let (_, Verb::List(list)) = self::verb("list -q -q -f json -f table") else { panic!() };
    assert_eq!((list.quiet, list.format), (true, Format::Table));
    let (_, Verb::Exec(exec)) = self::verb("exec -e A=1 -g 3 -e A=2 -g 4 id true") else {
        panic!()
    };
    assert_eq!((exec.env.len(), exec.additional_gids), (2, vec![3, 4]));
}

/// Who reads the log hears of a wrong line too, whatever is wrong with it.
#[test]
fn a_wrong_global_option_leaves_the_log_s() {
    for wrong in ["--no-such", "--rootless perhaps", "--log-format xml"] {
        let line = format!("--log /l/log.json --log-format json {wrong} --debug list");
        let (global, asked) = parse(&words(&line));
        assert!(asked.is_err(), "{line}");
        assert_eq!(global.log, Some("/l/log.json".into()), "{line}");
        assert_eq!(global.log_format == LogFormat::Json, !wrong.contains("xml"), "{line}");
        assert!(global.debug, "{line}");
    }
}

#[test]
fn an_unknown_command_is_status_3_as_with_runc() {
    let refusal = refused("frobnicate x");
    assert_eq!(refusal.status, 3);
    assert!(refusal.error.to_string().starts_with("unknown command 'frobnicate'"));
}

#[test]
fn help_teaches_and_version_is_go_runcs() {
    for line in ["", "--help", "help", "-help", "-h --help"] {
        let (_, Ok(Asked::Print(text))) = parse(&words(line)) else { panic!("{line}") };
        assert!(text.contains("richrun run --rich -b box demo"), "{line}: {text}");
        assert!(VERBS.iter().all(|verb| text.contains(verb)));
    }
    for name in VERBS {
        let (_, Ok(Asked::Print(text))) = parse(&words(&format!("{name} --help"))) else {
            panic!("{name}")
        };
        assert!(text.contains("Examples:") && text.contains(pages::page(name).about), "{text}");
    }
    for line in ["-h", "run -h", "hooks -h", "hooks run -h", "--debug run -b box -h"] {
        let (_, Ok(Asked::Print(short))) = parse(&words(line)) else { panic!("{line}") };
        let (_, Ok(Asked::Print(long))) = parse(&words(&line.replace("-h", "--help"))) else {
            panic!("{line}")
        };
        assert!(short.contains("see more with '--help'"), "{line}: {short}");
        assert!(!short.contains("Examples:") && short.len() < long.len(), "{line}: {short}");
        assert!(long.contains("see a summary with '-h'"), "{line}: {long}");
    }
    let (_, Ok(Asked::Print(text))) = parse(&words("--version")) else { panic!() };
    assert!(text.starts_with("richrun version ") && text.contains("\nspec: "), "{text}");
}
