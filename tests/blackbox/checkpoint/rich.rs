//! Rich containers: PID 1 comes from memory, and goes on with its services and their socket.

use std::fs;

use richrun_tests::bundle::sh;
use richrun_tests::command::wait_until;
use richrun_tests::suite::{ONE, ROOT};
use richrun_tests::{Kind, Suite, Trial};

use super::{COUNTER, checkpoint, count, criu, goes_on, restore, rt};

pub fn register(suite: &mut Suite) {
    suite.on(ROOT, "the_init_goes_on", init).on(ONE, "services_and_their_socket", services);
}

fn init(t: &Trial) {
    t.only(&[Kind::Richrun], "has no init of its own");
    criu(t);
    let bundle = t.bundle(|c| sh(c, &format!("trap 'exit 5' TERM; {COUNTER}")));
    rt(t, &["run", "-d", "--rich", "-b", bundle.path(), &bundle.id]).ok();
    let c = t.take(&bundle);
    wait_until("the count to begin", || count(&c) > 3);
    checkpoint(t, &c, &[]).ok();
    let before = count(&c);
    restore(t, &bundle, &[], &c.id).ok();
    goes_on(&c, before);
    assert_eq!(c.proc_file("comm").trim(), "rich-init");
    assert_eq!(c.verb("inspect", &[]).ok().json()["rich"]["mode"], "dumb-init");
    // It forwards, as before.
    c.kill("TERM");
    c.wait("stopped");
    // And leaves how its payload ended, in a file of the restored container's.
    assert_eq!(c.verb("inspect", &[]).ok().json()["exit"]["code"], 5);
    c.remove();
}

fn services(t: &Trial) {
    t.only(&[Kind::Richrun], "has no services");
    criu(t);
    let bundle = t.bundle(|c| sh(c, COUNTER));
    let file = t.dir.join("run/services.toml");
    let service = "[service.web]\ncommand = \"i=0; while :; do i=$((i+1)); echo $i > /tmp/web; \
        sleep 0.02; done\"\n";
    fs::write(&file, service).expect("write");
    let file = file.to_str().expect("utf-8 path");
    rt(t, &["run", "-d", "--rich", "--services", file, "-b", bundle.path(), &bundle.id]).ok();
    let c = t.take(&bundle);
    let web = || -> u64 {
        let text = fs::read_to_string(bundle.rootfs().join("tmp/web")).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    };
    wait_until("both to count", || count(&c) > 3 && web() > 3);
    checkpoint(t, &c, &[]).ok();
    let (before, served) = (count(&c), web());
    restore(t, &bundle, &[], &c.id).ok();
    goes_on(&c, before);
    wait_until("the service to go on", || web() > served);
    c.verb("health", &[]).ok().prints("healthy");
    t.rt(&["service", "list", &c.id]).ok().shows("web");
    t.rt(&["service", "restart", &c.id, "web"]).ok();
    wait_until("the service to begin anew", || (1..served).contains(&web()));
    t.rt(&["service", "stop", &c.id, "web"]).ok();
    goes_on(&c, before);
    c.remove();
}
