//! What fails leaves nothing, and says why in one line.

use std::fs;
use std::path::Path;

use richrun_tests::bundle::sh;
use richrun_tests::container::IDLE;
use richrun_tests::suite::{ONE, ROOT, USER};
use richrun_tests::{Suite, Trial};
use serde_json::json;

use super::outside::hook;
use super::{checkpoint, count, counting, criu, goes_on, gone, images, restore, rt};

pub fn register(suite: &mut Suite) {
    suite
        .on(ROOT, "a_broken_image_leaves_nothing", broken)
        .on(ONE, "a_hook_that_fails_leaves_nothing", failed_hook)
        .on(ONE, "a_dump_that_fails_lets_it_run", failed_dump)
        .on(ONE, "in_wrong_states", wrong_states)
        .on(ONE, "what_criu_would_lose_is_refused", lost)
        .on(ONE, "without_criu", without_criu)
        .on(USER, "an_ordinary_user_is_told", ordinary);
}

fn broken(t: &Trial) {
    let c = counting(t, |_| {});
    checkpoint(t, &c, &[]).ok();
    let core = Path::new(&images(t)).join("core-1.img");
    let good = fs::read(&core).expect("an image");
    fs::write(&core, &good[..good.len() / 2]).expect("write");
    let id = t.name("again");
    let out = restore(t, &c.bundle, &[], &id).run().exits(1);
    assert_eq!(out.err.lines().count(), 1, "{}", out.err);
    out.says("criu failed: type").says("Error (").says("restore.log");
    gone(t, &id);
    gone(t, &c.id);
    // The id is free, and the images are as they were.
    fs::write(&core, good).expect("write");
    restore(t, &c.bundle, &[], &id).ok();
    let out = t.rt(&["delete", "-f", &id]).ok();
    assert_eq!(out.err, "");
    gone(t, &c.id);
    fs::remove_dir_all(images(t)).expect("rm");
    restore(t, &c.bundle, &[], &id).run().exits(1).says("--image-path").says("no such file");
    gone(t, &id);
}

fn failed_hook(t: &Trial) {
    let c = counting(t, |_| {});
    checkpoint(t, &c, &[]).ok();
    for kind in ["createRuntime", "poststart"] {
        c.bundle.edit(|c| {
            c["hooks"] = json!({});
            c["hooks"][kind] = hook("echo no >&2; exit 3");
        });
        let out = restore(t, &c.bundle, &[], &c.id).run().exits(1);
        out.says(&format!("error running {kind} hook #0: exit status 3"));
        gone(t, &c.id);
    }
}

/// A file of the host's that is open at a number that nobody inherits.
fn failed_dump(t: &Trial) {
    let outside = t.dir.join("run/outside");
    fs::write(&outside, "x").expect("write");
    criu(t);
    let bundle = t.bundle(|c| sh(c, super::COUNTER));
    let file = fs::File::open(&outside).expect("open");
    rt(t, &["run", "-d", "--preserve-fds", "1", "-b", bundle.path(), &bundle.id]).fd(3, file).ok();
    let c = t.take(&bundle);
    richrun_tests::command::wait_until("the count to begin", || count(&c) > 3);
    let out = checkpoint(t, &c, &[]).run().exits(1);
    assert_eq!(out.err.lines().count(), 1, "{}", out.err);
    out.says("criu failed: type DUMP").says("outside").says("dump.log");
    goes_on(&c, count(&c));
    c.remove();
}

fn wrong_states(t: &Trial) {
    criu(t);
    let bundle = t.bundle(|c| sh(c, IDLE));
    let c = t.create(&bundle);
    let words = "Container cannot be checkpointed in created state";
    checkpoint(t, &c, &[]).run().exits(1).says(words);
    c.start();
    c.kill("KILL");
    c.wait("stopped");
    let words = "Container cannot be checkpointed in stopped state";
    checkpoint(t, &c, &[]).run().exits(1).says(words);
    restore(t, &bundle, &[], &c.id).run().fails();
    assert_eq!(c.status(), "stopped");
    c.remove();
    checkpoint(t, &c, &[]).run().exits(1).says("does not exist");
}

fn lost(t: &Trial) {
    let data = t.dir.join("run/data");
    fs::create_dir_all(&data).expect("mkdir");
    let c = counting(t, |c| {
        richrun_tests::bundle::bind(c, &data, "/data", &["bind", "src-nofollow"]);
    });
    checkpoint(t, &c, &[]).run().exits(1).says("src-nofollow");
    goes_on(&c, count(&c));
    c.remove();
}

fn without_criu(t: &Trial) {
    let c = t.idle();
    let place = images(t);
    let words = ["checkpoint", "--image-path", &place, &c.id];
    let out = t.rt(&words).env("PATH", "/nowhere").run().exits(1);
    out.says("executable file not found in $PATH");
    assert_eq!(c.status(), "running");
    for (path, enabled) in
        [("/nowhere".to_owned(), "false"), (criu(t).display().to_string(), "true")]
    {
        let features = t.rt(&["features"]).env("PATH", &path).ok().json();
        let annotation = &features["annotations"]["org.opencontainers.runc.checkpoint.enabled"];
        assert_eq!(annotation, enabled, "{path}");
    }
    c.remove();
}

fn ordinary(t: &Trial) {
    let c = t.idle();
    let place = images(t);
    let out = t.rt(&["checkpoint", "--image-path", &place, &c.id]).run().exits(1);
    out.says("checkpoint: operation not permitted: CRIU needs root");
    assert_eq!(c.status(), "running");
    let words = ["restore", "--image-path", &place, "-b", c.bundle.path(), "other"];
    t.rt(&words).run().exits(1).says("restore: operation not permitted: CRIU needs root");
    c.remove();
}
