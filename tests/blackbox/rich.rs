//! Rich containers: asking for them, init scripts, the environment file.

mod output;
mod trust;

use std::os::unix::fs::symlink;

use richrun_tests::bundle::{args, caps, sh};
use richrun_tests::suite::{ALL, BOTH, ONE};
use richrun_tests::{Bundle, Kind, Suite, Trial};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite
        .on(BOTH, "asked_in_five_ways", asked_in_five_ways)
        .on(BOTH, "stronger_ways_win", stronger_ways_win)
        .on(ONE, "refusals_in_pouchs_words", refusals_in_pouchs_words)
        .on(ONE, "inspect_shows_the_answer", inspect_shows_the_answer)
        .on(ALL, "init_scripts_run_before_the_payload", init_scripts_run_before_the_payload)
        .on(BOTH, "init_scripts_are_the_containers_root", init_scripts_are_the_containers_root)
        .on(ONE, "init_scripts_of_create_run_at_start", init_scripts_of_create_run_at_start)
        .on(BOTH, "init_script_failures_end_the_start", init_script_failures_end_the_start)
        .on(ONE, "init_scripts_leave_agents_running", init_scripts_leave_agents_running)
        .on(ONE, "init_scripts_have_the_filter", init_scripts_have_the_filter)
        .on(ONE, "pod_holders_stay_plain", pod_holders_stay_plain)
        .on(ONE, "an_engines_init_is_left_out", an_engines_init_is_left_out)
        .on(BOTH, "environment_file", environment_file);
    output::register(suite);
    trust::register(suite);
}

/// Prints the name of PID 1.
const WHO: &str = "cat /proc/1/comm; true";

fn annotate(config: &mut Value, pairs: &[(&str, &str)]) {
    for (name, value) in pairs {
        config["annotations"][*name] = json!(value);
    }
}

/// A root that may be written to, and a shell script.
fn writable(t: &Trial, script: &str) -> Bundle {
    t.bundle(|config| {
        sh(config, script);
        config["root"]["readonly"] = json!(false);
    })
}

fn asked_in_five_ways(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    t.sh(WHO).ok().prints("sh");
    let bundle = t.bundle(|config| sh(config, WHO));
    t.run_cmd(&bundle, &["--rich"]).ok().prints("rich-init");
    t.run_cmd(&bundle, &["--rich", "--rich-mode", "init"]).ok().prints("rich-init");
    t.run_cmd(&bundle, &[]).env("rich_mode", "true").ok().prints("rich-init");
    let manner = ("rich_mode_launch_manner", "dumb-init");
    let out = t.run_cmd(&bundle, &[]).env("rich_mode", "true").env(manner.0, manner.1).ok();
    out.prints("rich-init");
    let file = t.dir.join("run/config.toml");
    std::fs::write(&file, "[rich]\nrich = true\n").expect("write the file");
    let file = file.to_str().expect("utf-8 path");
    t.run_cmd(&bundle, &[]).env("RICHRUN_CONFIG", file).ok().prints("rich-init");
    bundle.edit(|config| annotate(config, &[("io.richrun.rich", "true")]));
    t.run(&bundle).ok().prints("rich-init");
    let link = t.dir.join("bin/richrun-rich");
    symlink(t.runtime_path(), &link).expect("link the runtime");
    let plain = t.bundle(|config| sh(config, WHO));
    let (link, root) = (link.to_str().expect("utf-8 path"), t.root());
    let root = root.to_str().expect("utf-8 path");
    let words = ["--root", root, "run", "-b", plain.path(), &plain.id];
    t.cmd(link, &words).ok().prints("rich-init");
}

/// What is asked of a pod is not for the container that holds its namespaces:
/// its image has neither an init nor a shell.
fn pod_holders_stay_plain(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    let asks = [
        ("io.richrun.rich", "true"),
        ("io.richrun.mode", "systemd"),
        ("io.richrun.initcmd", "exit 3"),
    ];
    for holder in ["io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"] {
        let bundle = t.bundle(|config| {
            sh(config, WHO);
            annotate(config, &asks);
            annotate(config, &[(holder, "sandbox")]);
        });
        t.run(&bundle).ok().prints("sh");
        bundle.edit(|config| annotate(config, &[(holder, "container")]));
        t.run(&bundle).exits(1).says("rich mode systemd: no such file");
    }
}

/// `--init` of podman and Docker: one init, not two.
fn an_engines_init_is_left_out(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    for init in ["/run/podman-init", "/sbin/docker-init"] {
        let bundle = t.bundle(|config| {
            args(config, &[init, "--", "sh", "-c", WHO]);
            annotate(config, &[("io.richrun.rich", "true")]);
        });
        t.run(&bundle).ok().prints("rich-init");
    }
}

fn stronger_ways_win(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    let bundle = t.bundle(|config| {
        sh(config, &format!("{WHO}; echo ${{rich_mode:-none}} ${{rich_mode_launch_manner:-none}}"));
        annotate(config, &[("io.richrun.rich", "false")]);
    });
    let pouch = |cmd: richrun_tests::command::Cmd<'_>| {
        cmd.env("rich_mode", "true").env("rich_mode_launch_manner", "dumb-init").ok()
    };
    // An annotation switches off what the environment asks for; the payload
    // sees none of Pouch's variables.
    pouch(t.run_cmd(&bundle, &[])).prints("sh\nnone none");
    pouch(t.run_cmd(&bundle, &["--rich"])).prints("rich-init\nnone none");
    // In the process's environment, where Pouch's daemon writes them.
    let own = t.bundle(|config| {
        sh(config, &format!("{WHO}; echo ${{rich_mode:-none}} ${{rich_mode_launch_manner:-none}}"));
        let env = config["process"]["env"].as_array_mut().expect("an environment");
        env.extend(["rich_mode=true", "rich_mode_launch_manner=dumb-init"].map(|word| json!(word)));
    });
    t.run_cmd(&own, &[]).ok().prints("rich-init\nnone none");
    bundle.edit(|config| annotate(config, &[("io.richrun.moode", "x")]));
    t.run(&bundle)
        .ok()
        .says("ignoring unknown annotation io.richrun.moode")
        .prints("sh\nnone none");
}

fn refusals_in_pouchs_words(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    let bundle = t.bundle(|config| sh(config, "true"));
    for (options, words) in [
        (
            &["--rich-mode", "systemd"][..],
            "must first enable rich mode, then specify a rich mode type",
        ),
        (&["--rich", "--rich-mode", "upstart"], "not supported rich mode: upstart"),
        (&["--initscript", "/x"], "must first enable rich mode, then specify an initscript"),
        (&["--initcmd", "true"], "must first enable rich mode, then specify an initcmd"),
        (&["--rich", "--initscript", "/x 'y"], "initscript: a quotation mark is not closed"),
        (&["--rich", "--initscript", "/no/such"], "stat /no/such: no such file or directory"),
    ] {
        t.run_cmd(&bundle, options).run().exits(1).says(words);
    }
    for (name, value, words) in [
        ("io.richrun.rich", "perhaps", "is neither true nor false"),
        ("io.richrun.mode", "init", "must first enable rich mode, then specify a rich mode type"),
    ] {
        let bundle = t.bundle(|config| annotate(config, &[(name, value)]));
        t.run(&bundle).exits(1).says(words);
    }
    let file = t.dir.join("run/bad.toml");
    std::fs::write(&file, "[rich]\nmood = 1\n").expect("write the file");
    let file = file.to_str().expect("utf-8 path");
    let out = t.run_cmd(&bundle, &[]).env("RICHRUN_CONFIG", file).run().exits(1);
    out.says("line 2: unknown field `mood`");
    t.run_cmd(&bundle, &[]).env("RICHRUN_CONFIG", "/no/file").run().exits(1).says("open /no/file");
}

fn inspect_shows_the_answer(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    let c = t.idle_with(|config| {
        annotate(
            config,
            &[
                ("io.richrun.rich", "true"),
                ("io.richrun.mode", "auto"),
                ("io.richrun.initcmd", "echo hello"),
                ("io.richrun.init-timeout", "7"),
            ],
        );
    });
    let seen = c.verb("inspect", &[]).ok().json();
    assert_eq!(seen["rich"]["mode"], "dumb-init");
    assert_eq!(seen["rich"]["scripts"], json!([{"command": "echo hello", "asRoot": false}]));
    assert_eq!(
        (&seen["rich"]["askedBy"], &seen["rich"]["granted"]),
        (&json!("annotations"), &json!([]))
    );
    assert_eq!((&seen["rich"]["initTimeout"], &seen["status"]), (&json!(7), &json!("running")));
    assert_eq!(seen["pid"], json!(c.pid()));
    let paths = seen["cgroupPaths"].as_object().expect("paths");
    for path in paths.values() {
        let path = std::path::Path::new(path.as_str().expect("a path"));
        assert!(path.join("cgroup.procs").exists(), "{}", path.display());
    }
    assert!(!paths.is_empty());
    c.remove();
    let plain = t.idle();
    assert_eq!(plain.verb("inspect", &[]).ok().json()["rich"], Value::Null);
    plain.remove();
}

fn init_scripts_run_before_the_payload(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    let bundle = writable(t, "cat /tmp/order; echo payload");
    bundle.script(
        "/usr/prepare",
        "#!/bin/sh\necho \"script $# $1 $MARK\" >> /tmp/order\ncat > /tmp/state\n",
    );
    if !t.is_root() {
        bundle.give_away();
    }
    bundle.edit(|config| config["process"]["env"].as_array_mut().unwrap().push(json!("MARK=m")));
    let options = [
        "--rich",
        "--initscript",
        "/usr/prepare 'a b' c",
        "--initcmd",
        "echo command >> /tmp/order",
    ];
    t.run_cmd(&bundle, &options).ok().prints("script 2 a b m\ncommand\npayload");
    let state = std::fs::read_to_string(bundle.rootfs().join("tmp/state")).expect("the state");
    let state: Value = serde_json::from_str(&state).expect("JSON");
    assert_eq!(state["id"], json!(bundle.id));
    assert_eq!(state["bundle"], json!(bundle.path()));
    assert_eq!(state["pid"], json!(1));
}

fn init_scripts_are_the_containers_root(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    let bundle = writable(t, "cat /tmp/who; id -u");
    bundle.edit(|config| {
        config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        config["process"]["cwd"] = json!("/tmp");
        caps(config, &["CAP_KILL", "CAP_CHOWN"]);
        config["process"]["capabilities"]["effective"] = json!([]);
        config["process"]["capabilities"]["permitted"] = json!([]);
    });
    let script = "(id -u; pwd; grep -E 'Cap(Eff|Bnd)' /proc/self/status; cat /proc/self/cgroup \
                  /proc/1/cgroup | sort -u | wc -l; ls /proc/self/fd | wc -l) > /tmp/who";
    let out = t.run_cmd(&bundle, &["--rich", "--initcmd", script]).ok();
    let lines: Vec<&str> = out.out.lines().collect();
    assert_eq!(lines[..2], ["0", "/"], "{}", out.out);
    let set = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
    assert_eq!(set(lines[2]), Some("0000000000000021".to_owned()), "{}", out.out);
    assert_eq!(set(lines[2]), set(lines[3]));
    // Its own groups are those of PID 1; and ls has its three streams and the directory.
    let groups = std::fs::read_to_string("/proc/self/cgroup").expect("groups").lines().count();
    assert_eq!(lines[4].trim(), groups.to_string());
    assert_eq!(lines[5].trim(), "4");
    assert_eq!(lines[6], "1000");
}

fn init_scripts_of_create_run_at_start(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    let bundle = writable(t, "sleep 100");
    let command = "echo done > /tmp/done; echo told; echo twice";
    let options = ["create", "--rich", "--initcmd", command, "-b", bundle.path(), &bundle.id];
    t.rt(&options).ok();
    let file = bundle.rootfs().join("tmp/done");
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(!file.exists());
    let log = t.dir.join("run/log");
    let words = ["--log", log.to_str().expect("utf-8 path"), "start", &bundle.id];
    t.rt(&words).ok();
    assert!(file.exists());
    let log = std::fs::read_to_string(log).expect("the log");
    assert!(log.contains("level=info") && log.contains(": told"), "{log}");
    assert!(log.contains(": twice"), "{log}");
    let c = t.take(&bundle);
    assert_eq!(c.status(), "running");
    c.remove();
}

fn init_script_failures_end_the_start(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    let bundle = writable(t, "echo payload");
    let run = |options: &[&str]| t.run_cmd(&bundle, &[&["--rich"], options].concat()).run();
    let out = run(&["--initcmd", "echo one; echo two >&2; exit 3"]).exits(1);
    out.clone().prints("one");
    out.says("exit status 3: one; two").says("echo one; echo two >&2; exit 3");
    run(&["--initcmd", "kill -9 $$"]).exits(1).says("ended by signal 9");
    bundle.file("/usr/plain", "#!/bin/sh\n");
    let out = run(&["--initscript", "/usr/plain"]).exits(1);
    out.says("initscript /usr/plain: in the container's root: ").says("permission denied");
    bundle.script("/usr/broken", "#!/no/interpreter\n");
    let out = run(&["--initscript", "/usr/broken"]).exits(1);
    out.says("initscript /usr/broken: ").says("no such file or directory");
    bundle.edit(|config| annotate(config, &[("io.richrun.init-timeout", "5")]));
    let out = run(&["--initcmd", "echo waiting; sleep 1000"]).exits(1);
    out.says("no end after 5 s: waiting");
    // By create and start: the start fails, and the container is there to be deleted.
    let words = ["create", "--rich", "--initcmd", "exit 4", "-b", bundle.path(), &bundle.id];
    t.rt(&words).ok();
    t.rt(&["start", &bundle.id]).run().exits(1).says(": exit status 4");
    let c = t.take(&bundle);
    c.wait("stopped");
    c.remove();
}

fn init_scripts_leave_agents_running(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    let bundle = writable(t, "until ps -o comm | grep usleep; do sleep 0.05; done");
    let command = "setsid usleep 1000000000 & echo started";
    t.run_cmd(&bundle, &["--rich", "--initcmd", command]).ok().prints("started\nusleep");
    // It is a descendant of PID 1, which has ended it when its bounds were reached.
}

fn init_scripts_have_the_filter(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    let bundle = writable(t, "cat /tmp/made");
    bundle.edit(|config| {
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
        });
    });
    let command = "mkdir /tmp/x 2>/dev/null && echo made > /tmp/made || echo refused > /tmp/made";
    t.run_cmd(&bundle, &["--rich", "--initcmd", command]).ok().prints("refused");
}

fn environment_file(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    let script = "ls /etc/profile.d; env -i sh -c '. /etc/profile.d/richrun.sh; \
                  printf \"%s|%s|%s\" \"$ODD\" \"$EQ\" \"${HOME:-none}\"'";
    let bundle = writable(t, script);
    let odd = "it's \"a\" $b `c` \\ d";
    bundle.edit(|config| {
        let env = config["process"]["env"].as_array_mut().unwrap();
        env.extend([json!(format!("ODD={odd}")), json!("EQ=x=y"), json!("HOME=/root")]);
        // Such would end the shell that reads the file.
        env.extend(["UID=1000", "OPTIND=x"].map(|own| json!(own)));
    });
    let file = bundle.rootfs().join("etc/profile.d/richrun.sh");
    // Where there is no such directory, none is made.
    t.run_cmd(&bundle, &["--rich"]).run().fails();
    assert!(!file.parent().unwrap().exists());
    std::fs::create_dir(file.parent().unwrap()).expect("make profile.d");
    if !t.is_root() {
        bundle.give_away();
    }
    let expected = format!("richrun.sh\n{odd}|x=y|none");
    t.run_cmd(&bundle, &["--rich"]).ok().prints(&expected);
    std::fs::remove_file(&file).expect("remove the file");
    // A link of that name is replaced, not followed.
    symlink("/etc/passwd", &file).expect("link");
    t.run_cmd(&bundle, &["--rich"]).ok().prints(&expected);
    assert!(file.symlink_metadata().unwrap().is_file());
    std::fs::remove_file(&file).expect("remove the file");
    t.run(&bundle).fails();
    bundle.edit(|config| annotate(config, &[("io.richrun.environment-file", "false")]));
    t.run_cmd(&bundle, &["--rich"]).run().fails();
    bundle.edit(|config| {
        config["annotations"] = json!({});
        config["root"]["readonly"] = json!(true);
    });
    t.run_cmd(&bundle, &["--rich"]).run().fails();
    assert!(!file.exists());
}
