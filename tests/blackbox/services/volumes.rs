//! Services that are not the image's: on volumes, in Kubernetes' ConfigMaps, in YAML; and what
//! they will miss when they start.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use richrun_tests::bundle::{bind, caps, mounts, user_namespace};
use richrun_tests::suite::{BOTH, ONE};
use richrun_tests::{Suite, Trial};
use serde_json::{Value, json};

use super::{bundle, describe, file};

pub fn register(suite: &mut Suite) {
    suite
        .on(BOTH, "services_on_a_volume", services_on_a_volume)
        .on(ONE, "services_of_a_config_map", services_of_a_config_map)
        .on(ONE, "a_volume_hides_the_images_services", a_volume_hides_the_images_services)
        .on(ONE, "hostile_volumes", hostile_volumes)
        .on(BOTH, "services_in_yaml", services_in_yaml)
        .on(ONE, "what_services_will_miss", what_services_will_miss)
        .on(ONE, "users_that_cannot_be_become", users_that_cannot_be_become);
}

const DIRECTORY: &str = "/etc/richrun/services.d";
/// Says what the services have made.
const PAYLOAD: &str = "sort /tmp/*.out; rm /tmp/*.out";

/// A one-shot that writes its own name.
fn service(name: &str) -> String {
    format!("[service.{name}]\ntype = \"oneshot\"\ncommand = \"echo {name} > /tmp/{name}.out\"\n")
}

fn services_on_a_volume(t: &Trial) {
    let bundle = bundle(t, PAYLOAD, "");
    let volume = t.dir.join("volume");
    fs::create_dir(&volume).expect("mkdir");
    fs::write(volume.join("a.toml"), service("a")).expect("write");
    fs::write(t.dir.join("b.toml"), service("b")).expect("write");
    let plain: fn(&mut Value) = |_| {};
    for edit in [plain, user_namespace].into_iter().take(if t.is_root() { 2 } else { 1 }) {
        bundle.edit(|c| {
            bind(c, &volume, DIRECTORY, &["rbind", "ro"]);
            edit(c);
        });
        t.run_cmd(&bundle, &["--rich"]).ok().prints("a");
        // A file of its own in there, and a path in an annotation.
        bundle.edit(|c| {
            bind(c, &t.dir.join("b.toml"), &format!("{DIRECTORY}/b.toml"), &["bind"]);
        });
        fs::write(volume.join("b.toml"), "covered").expect("write");
        t.run_cmd(&bundle, &["--rich"]).ok().prints("a\nb");
        fs::remove_file(volume.join("b.toml")).expect("remove");
        let before = bundle.config();
        bundle.edit(|c| {
            mounts(c).retain(|mount| mount["destination"] != format!("{DIRECTORY}/b.toml"));
            bind(c, &volume, "/data", &["rbind"]);
            c["annotations"]["io.richrun.services"] = json!("/data/./a.toml");
        });
        t.run_cmd(&bundle, &["--rich"]).ok().prints("a");
        bundle.write(&before);
        bundle.edit(|c| mounts(c).retain(|mount| mount["destination"] != DIRECTORY));
        bundle.edit(|c| {
            mounts(c).retain(|mount| mount["destination"] != format!("{DIRECTORY}/b.toml"));
        });
    }
}

/// Names that are links to `..data`, which is one to the present directory.
fn services_of_a_config_map(t: &Trial) {
    let bundle = bundle(t, PAYLOAD, "");
    let volume = t.dir.join("volume");
    let present = volume.join("..2026_01_01");
    fs::create_dir_all(&present).expect("mkdir");
    fs::write(
        present.join("a.yaml"),
        "service: {a: {type: oneshot, command: echo a > /tmp/a.out}}",
    )
    .expect("write");
    symlink("..2026_01_01", volume.join("..data")).expect("link");
    symlink("..data/a.yaml", volume.join("a.yaml")).expect("link");
    bundle.edit(|c| bind(c, &volume, DIRECTORY, &["rbind", "ro"]));
    t.run_cmd(&bundle, &["--rich"]).ok().prints("a");
}

fn a_volume_hides_the_images_services(t: &Trial) {
    let bundle = bundle(t, "ls /tmp", "");
    bundle.file(&format!("{DIRECTORY}/image.toml"), &service("image"));
    t.run_cmd(&bundle, &["--rich"]).ok().prints("image.out");
    fs::remove_file(bundle.rootfs().join("tmp/image.out")).expect("remove");
    let empty = t.dir.join("empty");
    fs::create_dir(&empty).expect("mkdir");
    bundle.edit(|c| bind(c, &empty, DIRECTORY, &["rbind"]));
    t.run_cmd(&bundle, &["--rich"]).ok().prints("");
    bundle.edit(|c| {
        mounts(c).push(json!({"destination": DIRECTORY, "type": "tmpfs", "source": "tmpfs"}));
    });
    t.run_cmd(&bundle, &["--rich"]).ok().prints("");
}

/// What is bound is no better than an image.
fn hostile_volumes(t: &Trial) {
    let bundle = bundle(t, "true", "");
    let volume = t.dir.join("volume");
    fs::create_dir(&volume).expect("mkdir");
    fs::write(t.dir.join("secret.toml"), "secret = 1").expect("write");
    bundle.edit(|c| bind(c, &volume, DIRECTORY, &["rbind"]));
    let place = volume.join("x.toml");
    let out = |path: &Path| symlink(path, &place).expect("link");
    let attempts: [&dyn Fn(); 4] = [
        &|| out(&t.dir.join("secret.toml")),
        &|| out(Path::new("../secret.toml")),
        &|| drop(t.cmd("mkfifo", &[place.to_str().expect("utf-8")]).ok()),
        &|| fs::create_dir(&place).expect("mkdir"),
    ];
    for make in attempts {
        make();
        let out = t.run_cmd(&bundle, &["--rich"]).run().exits(1);
        assert!(
            out.err.contains("x.toml in the container's root: ") && !out.err.contains("secret")
        );
        let _one_of_both = fs::remove_file(&place).or_else(|_| fs::remove_dir(&place));
    }
}

const YAML: &str = "\
# As a pod's container has them.
service:
  web:
    command: [sh, -c, 'echo up > /tmp/up; exec sleep 1000']
    readinessProbe:
      exec: {command: [test, -e, /tmp/up]}
      periodSeconds: 1
  main:
    needs: [web]
";

fn services_in_yaml(t: &Trial) {
    let bundle = bundle(t, "cat /tmp/up", "");
    let path = bundle.dir.join("services.yml");
    fs::write(&path, YAML).expect("write");
    let option = path.to_str().expect("utf-8");
    t.run_cmd(&bundle, &["--rich", "--services", option]).ok().prints("up");
    bundle.edit(|c| c["annotations"]["io.richrun.services"] = json!(YAML));
    t.run_cmd(&bundle, &["--rich"]).ok().prints("up");
    t.rt(&["check", "-b", bundle.path(), option]).ok().shows("good");
    fs::write(&path, YAML.replace("needs", "neds")).expect("write");
    let out = t.run_cmd(&bundle, &["--rich", "--services", option]).run().exits(1);
    out.says("services.yml: line 9: service.main.neds: no such field; did you mean needs?");
    fs::write(&path, "service: &a {main: *a}").expect("write");
    let out = t.run_cmd(&bundle, &["--rich", "--services", option]).run().exits(1);
    out.says("services.yml: line 1: aliases are not taken");
}

fn what_services_will_miss(t: &Trial) {
    let services = "\
[service.a]\ncommand = [\"/no/such\"]\nstart = \"manual\"\n\
[service.b]\ncommand = [\"/script\"]\nstart = \"manual\"\nfinish = [\"nobody\"]\n\
[service.c]\ncommand = \"true\"\nstart = \"manual\"\nreload = [\"sleep\", \"1\"]\n\
[service.d]\ncommand = [\"mine\"]\nstart = \"manual\"\nenv = {PATH = \"/opt\"}\n";
    let bundle = bundle(t, "echo payload", services);
    bundle.script("/script", "#!/no/interpreter -x\n");
    bundle.script("/opt/mine", "#!/bin/sh\n");
    let line = "services: not in the container: service.a.command: \\\"/no/such\\\"; \
        service.b.command: \\\"/no/interpreter\\\", the interpreter of \\\"/script\\\"; \
        service.b.finish: \\\"nobody\\\"\"\n";
    let options = ["--rich", "--services", &file(&bundle)];
    let out = t.run_cmd(&bundle, &options).ok();
    out.clone().prints("payload");
    assert_eq!(out.err.lines().count(), 1, "{}", out.err);
    assert!(out.err.ends_with(line), "{}", out.err);
    let out = t.rt(&["check", "-b", bundle.path(), &file(&bundle)]).ok();
    out.shows("warning: services: not in the container: service.a.command: ");
    // On a volume it is there.
    let volume = t.dir.join("volume");
    fs::create_dir(&volume).expect("mkdir");
    fs::copy("/usr/bin/busybox", volume.join("such")).expect("copy");
    bundle.edit(|c| bind(c, &volume, "/no", &["rbind"]));
    bundle.script("/script", "#!/bin/sh\n");
    describe(&bundle, &services.replace("finish = [\"nobody\"]\n", ""));
    let out = t.run_cmd(&bundle, &options).ok();
    assert_eq!(out.err, "");
}

fn users_that_cannot_be_become(t: &Trial) {
    let services = "[service.a]\ncommand = [\"true\"]\nuser = 7\n";
    let bundle = bundle(t, "true", services);
    let options = ["--rich", "--services", &file(&bundle)];
    let run = |names: &[&str]| {
        bundle.edit(|c| caps(c, names));
        t.run_cmd(&bundle, &options).run()
    };
    run(&["CAP_SETUID", "CAP_SETGID", "CAP_KILL"]).exits(0);
    run(&["CAP_SETUID"]).exits(1).says("line 1: service.a.user: rich-init lacks CAP_SETGID");
    run(&[]).exits(1).says("service.a.user: rich-init lacks CAP_SETUID");
}
