//! Who asks for what: an image may ask by its variables and annotations, which engines copy
//! into config.json; it gets nothing that config.json does not give to its payload.

use std::fs;
use std::path::PathBuf;

use richrun_tests::bundle::{caps, sh};
use richrun_tests::podman_caps::PODMAN_CAPS;
use richrun_tests::suite::{BOTH, ONE, V2};
use richrun_tests::{Bundle, Kind, Suite, Trial};
use serde_json::{Value, json};

use super::annotate;

pub fn register(suite: &mut Suite) {
    suite
        .on(ONE, "an_images_init_is_not_roots", an_images_init_is_not_roots)
        .on(ONE, "an_images_script_is_the_payload", an_images_script_is_the_payload)
        .on(ONE, "an_images_script_has_no_rights", an_images_script_has_no_rights)
        .on(V2, "an_images_cgroups_stay_read_only", an_images_cgroups_stay_read_only)
        .on(ONE, "an_images_services_are_the_payload", an_images_services_are_the_payload)
        .on(ONE, "an_images_environment_file", an_images_environment_file)
        .on(ONE, "trust_is_the_administrators", trust_is_the_administrators)
        .on(ONE, "the_weakest_word_counts", the_weakest_word_counts)
        .on(BOTH, "root_payloads_have_roots_init", root_payloads_have_roots_init)
        .on(BOTH, "names_of_another_meaning", names_of_another_meaning)
        .on(BOTH, "rich_false_overrules_all", rich_false_overrules_all)
        .on(ONE, "the_nearest_word_is_offered", the_nearest_word_is_offered);
}

/// Says who it is; its lines stand in the error.
const WHO: &str = "id -u; id -g; id -G; grep -E 'Cap(Eff|Prm|Bnd)|NoNew|Seccomp:' \
                   /proc/self/status | tr -d '\\t'; cut -d' ' -f1 /proc/self/oom_score_adj; \
                   ulimit -Hn; exit 3";

/// How an ordinary container of an ordinary user looks.
fn ordinary(config: &mut Value) {
    let process = &mut config["process"];
    process["user"] = json!({"uid": 1000, "gid": 1001, "additionalGids": [5]});
    process["noNewPrivileges"] = json!(true);
    process["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}]);
    caps(config, &[]);
}

/// Asks as an image does: by a variable or by an annotation.
fn ask(config: &mut Value, mode: &str, by_variable: bool) {
    if by_variable {
        let env = config["process"]["env"].as_array_mut().expect("an environment");
        let words = ["rich_mode=true".to_owned(), format!("rich_mode_launch_manner={mode}")];
        env.extend(words.map(Value::from));
    } else {
        annotate(config, &[("io.richrun.rich", "true"), ("io.richrun.mode", mode)]);
    }
}

/// A root with busybox's init, whose inittab writes who it is.
fn with_init(t: &Trial, edit: impl Fn(&mut Value)) -> Bundle {
    let bundle = t.bundle(|config| {
        sh(config, "cat /proc/1/comm; id -u");
        config["root"]["readonly"] = json!(false);
        edit(config);
    });
    fs::create_dir(bundle.rootfs().join("sbin")).expect("make /sbin");
    std::os::unix::fs::symlink("../bin/busybox", bundle.rootfs().join("sbin/init")).expect("link");
    bundle.file("/etc/inittab", "::sysinit:/bin/sh -c 'id -u >/taken'\n");
    if !t.is_root() {
        bundle.give_away();
    }
    bundle
}

fn settings(t: &Trial, text: &str) -> String {
    let file: PathBuf = t.dir.join(format!("run/config-{}.toml", t.next()));
    fs::write(&file, text).expect("write the file");
    file.to_str().expect("utf-8 path").to_owned()
}

fn an_images_init_is_not_roots(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    for by_variable in [true, false] {
        let bundle = with_init(t, |config| {
            ordinary(config);
            ask(config, "sbin-init", by_variable);
        });
        let out = t.run(&bundle).exits(1);
        let out = out.says("must using privileged mode when create sbin-init rich container");
        let word = if by_variable { "environment:root" } else { "annotations:root" };
        out.says("user 0 (process.user.uid is 1000)").says("group 0").says(word);
        assert!(!bundle.rootfs().join("taken").exists());
        // With a whole bounding set too: it is root's, and not this user's.
        bundle.edit(|config| {
            config["process"]["noNewPrivileges"] = json!(false);
            config["process"]["capabilities"] = json!({"bounding": PODMAN_CAPS});
        });
        t.run(&bundle).exits(1).says("user 0 (process.user.uid is 1000)");
        assert!(!bundle.rootfs().join("taken").exists());
        // The administrator's word is another thing.
        let options = ["--rich", "--rich-mode", "sbin-init"];
        t.run_cmd(&bundle, &options).ok().prints("init\n1000");
        assert!(bundle.rootfs().join("taken").exists());
    }
}

fn an_images_script_is_the_payload(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    let ids = "1000; 1001; 1001 5";
    let none = "0000000000000000";
    let rest = "NoNewPrivs:1; Seccomp:0; 7; 60";
    for name in ["io.richrun.initcmd", "io.richrun.initscript"] {
        let bundle = t.bundle(|config| {
            ordinary(config);
            config["process"]["oomScoreAdj"] = json!(7);
            let line = if name.ends_with("cmd") { WHO } else { "/usr/who" };
            annotate(config, &[("io.richrun.rich", "true"), (name, line)]);
        });
        bundle.script("/usr/who", &format!("#!/bin/sh\n{WHO}\n"));
        let out = t.run(&bundle).exits(1);
        // The last lines are told: ids come first, so they are asked for apart.
        out.says(&format!("CapBnd:{none}; {rest}"));
        let first = WHO.split("; grep").next().expect("the first part");
        bundle.script("/usr/who", &format!("#!/bin/sh\n{first}; exit 3\n"));
        if name.ends_with("cmd") {
            let line = format!("{first}; exit 3");
            bundle.edit(|config| annotate(config, &[(name, &line)]));
        }
        t.run(&bundle).exits(1).says(&format!(": {ids}"));
        // By the administrator, in spite of the image's words.
        let option = format!("--{}", name.rsplit('.').next().expect("a name"));
        let line = if name.ends_with("cmd") { "id -u; exit 3" } else { "/usr/who" };
        t.run_cmd(&bundle, &["--rich", &option, line]).run().exits(1).says("exit status 3: 0");
    }
}

/// Root without capabilities is nobody who may write to others' files.
fn an_images_script_has_no_rights(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    let bundle = t.bundle(|config| {
        caps(config, &[]);
        config["root"]["readonly"] = json!(false);
        config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        let line = "echo taken >/etc/taken; grep Cap /proc/self/status; exit 3";
        annotate(config, &[("io.richrun.rich", "true"), ("io.richrun.initcmd", line)]);
    });
    t.run(&bundle).exits(1).says("ermission denied");
    assert!(!bundle.rootfs().join("etc/taken").exists());
    // What is root's payload may do, its script may.
    bundle.edit(|config| config["process"]["user"] = json!({"uid": 0, "gid": 0}));
    t.run(&bundle).exits(1).says("CapBnd:\\t0000000000000000");
    assert!(bundle.rootfs().join("etc/taken").exists());
}

fn an_images_cgroups_stay_read_only(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    let bundle = t.bundle(|config| {
        caps(config, PODMAN_CAPS);
        ask(config, "systemd", true);
    });
    bundle.script("/usr/lib/systemd/systemd", "#!/bin/sh\nmkdir /sys/fs/cgroup/mine\n");
    let out = t.run(&bundle).exits(1);
    out.says("control groups that can be written to").says("environment:cgroups");
    // Nor without any, and nor in a hierarchy that is the host's.
    bundle.edit(|config| richrun_tests::bundle::without_mount(config, "/sys/fs/cgroup"));
    t.run(&bundle).exits(1).says("control groups that can be written to");
}

/// Users of services are those that the payload could become.
fn an_images_services_are_the_payload(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    let script = "until [ -e /tmp/web ]; do sleep 0.05; done; cat /tmp/web";
    let bundle = t.bundle(|config| {
        sh(config, script);
        caps(config, &[]);
        config["root"]["readonly"] = json!(false);
        ask(config, "dumb-init", false);
        // Root without the right to become anybody, nor to raise a limit.
        config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}]);
    });
    let service = |more: &str| {
        let text = format!(
            "[service.web]\ntype = \"oneshot\"\nessential = true\n{more}\n\
             command = \"grep -E 'Uid|CapBnd' /proc/self/status >/tmp/web.new; \
             mv /tmp/web.new /tmp/web\"\n"
        );
        bundle.file("/etc/richrun/services.d/web.toml", &text);
    };
    service("");
    t.run(&bundle).ok().prints("Uid:\t0\t0\t0\t0\nCapBnd:\t0000000000000000");
    fs::remove_file(bundle.rootfs().join("tmp/web")).expect("remove the file");
    for more in ["user = \"1000\"", "limits = { nofile = 1000 }"] {
        service(more);
        let out = t.run(&bundle);
        assert!(out.code != 0, "{more}: {} {}", out.out, out.err);
        assert!(!bundle.rootfs().join("tmp/web").exists(), "{more}");
    }
}

/// A file of root's is written for root's payloads, or for the administrator.
fn an_images_environment_file(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    let bundle = t.bundle(|config| {
        sh(config, "true");
        config["root"]["readonly"] = json!(false);
        config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        ask(config, "dumb-init", false);
    });
    let directory = bundle.rootfs().join("etc/profile.d");
    fs::create_dir_all(&directory).expect("make profile.d");
    let file = directory.join("richrun.sh");
    t.run(&bundle).ok();
    assert!(!file.exists(), "written for a user who could not");
    t.run_cmd(&bundle, &["--rich"]).ok();
    assert!(file.exists());
    fs::remove_file(&file).expect("remove the file");
    bundle.edit(|config| config["process"]["user"] = json!({"uid": 0, "gid": 0}));
    t.run(&bundle).ok();
    assert!(file.exists());
}

fn trust_is_the_administrators(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    let bundle = with_init(t, |config| {
        ordinary(config);
        // What no word of trust gives is given here.
        config["process"]["capabilities"]["bounding"] = json!(PODMAN_CAPS);
        ask(config, "sbin-init", false);
        annotate(config, &[("io.richrun.initcmd", "id -u >/script")]);
    });
    let run = |trust: &str| {
        let file = settings(t, &format!("[rich]\ntrust = {trust}\n"));
        t.run_cmd(&bundle, &[]).env("RICHRUN_CONFIG", &file).run()
    };
    for little in ["[]", "[\"environment\"]", "[\"annotations:cgroups\"]"] {
        run(little).exits(1).says("user 0 (process.user.uid is 1000)");
    }
    for enough in ["[\"annotations\"]", "[\"annotations:root\"]"] {
        run(enough).ok().prints("init\n1000");
        let by = fs::read_to_string(bundle.rootfs().join("script")).expect("the script's word");
        assert_eq!(by, "0\n");
    }
    run("[\"image\"]").exits(1).says("line 2: ").says("is none of annotations");
    run("[\"anotations\"]").exits(1).says("did you mean annotations?");
}

/// The administrator's defaults are for whoever asks, and give him no more than he has.
fn the_weakest_word_counts(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    let bundle = with_init(t, |config| {
        ordinary(config);
        config["process"]["capabilities"]["bounding"] = json!(PODMAN_CAPS);
    });
    let run = |text: &str| {
        let file = settings(t, &format!("[rich]\n{text}\n"));
        t.run_cmd(&bundle, &[]).env("RICHRUN_CONFIG", &file).run()
    };
    run("rich = true\nmode = \"sbin-init\"").ok().prints("init\n1000");
    bundle.edit(|config| annotate(config, &[("io.richrun.rich", "true")]));
    run("mode = \"sbin-init\"").exits(1).says("asked for by an annotation");
    run("initcmd = \"id -u; exit 3\"").exits(1).says("exit status 3: 1000");
    bundle.edit(|config| {
        config["annotations"] = json!({});
        richrun_tests::bundle::args(config, &["/sbin/init"]);
    });
    run("rich = true\nmode = \"auto\"").exits(1).says("asked for by the container's command");
}

/// Whom config.json makes root has root's init, whoever asks.
fn root_payloads_have_roots_init(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    for by_variable in [true, false] {
        let bundle = with_init(t, |config| {
            caps(config, PODMAN_CAPS);
            ask(config, "sbin-init", by_variable);
        });
        t.run(&bundle).ok().prints("init\n0");
        let taken = fs::read_to_string(bundle.rootfs().join("taken")).expect("the init's word");
        assert_eq!(taken, "0\n");
        let bundle = t.bundle(|config| {
            caps(config, &["CAP_KILL"]);
            ask(config, "init", by_variable);
            annotate(
                config,
                &[("io.richrun.initcmd", "id -u; grep CapEff /proc/self/status; exit 3")],
            );
        });
        t.run(&bundle).exits(1).says("exit status 3: 0; CapEff:\\t0000000000000020");
    }
}

fn names_of_another_meaning(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    let script = "cat /proc/1/comm; echo $rich_mode; echo $rich_mode_launch_manner";
    for (rich, manner) in [("fancy", "slow"), ("2", "systemd"), ("yes please", "")] {
        let bundle = t.bundle(|config| {
            sh(config, script);
            let env = config["process"]["env"].as_array_mut().expect("an environment");
            env.push(json!(format!("rich_mode={rich}")));
            env.push(json!(format!("rich_mode_launch_manner={manner}")));
        });
        t.run(&bundle).ok().prints(format!("sh\n{rich}\n{manner}").trim_end());
    }
}

fn rich_false_overrules_all(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    let bundle = t.bundle(|config| {
        sh(config, "cat /proc/1/comm; true");
        let env = config["process"]["env"].as_array_mut().expect("an environment");
        env.push(json!("rich_mode=true"));
        let asked =
            [("rich", "true"), ("mode", "nonsense"), ("init-timeout", "x"), ("initcmd", "exit 3")];
        for (name, value) in asked {
            annotate(config, &[(&format!("io.richrun.{name}"), value)]);
        }
    });
    let file = settings(t, "[rich]\nrich = true\n");
    let run = |option: &str| t.run_cmd(&bundle, &[option]).env("RICHRUN_CONFIG", &file).run();
    for option in ["--rich=false", "-rich=false", "--rich=0"] {
        run(option).exits(0).prints("sh");
    }
    bundle.edit(|config| config["annotations"] = json!({}));
    run("--rich=true").exits(0).prints("rich-init");
    run("--rich").exits(0).prints("rich-init");
    let out = run("--rich=perhaps");
    assert!(out.code != 0 && out.err.contains("perhaps"), "{}", out.err);
}

fn the_nearest_word_is_offered(t: &Trial) {
    t.only(&[Kind::Richrun], "has no rich containers");
    let bundle = t.bundle(|config| {
        sh(config, "true");
        annotate(config, &[("io.richrun.inti-timeout", "5")]);
    });
    let out = t.run_cmd(&bundle, &["--rich", "--rich-mode", "sytemd"]).run().exits(1);
    out.says("not supported rich mode: sytemd; did you mean systemd?");
    let out = t.run(&bundle).exits(0);
    out.says("io.richrun.inti-timeout; did you mean io.richrun.init-timeout?");
}
