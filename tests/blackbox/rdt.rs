//! `linux.intelRdt`: classes of cache and memory bandwidth, monitoring groups.
//!
//! Resctrl is a stand-in (`richrun_tests::resctrl`) in a mount namespace of the trial's own, and
//! a copy of mountinfo over the runtime's own calls it by the kernel's name.

use std::path::Path;

use richrun_tests::bundle::{Bundle, probe, sh};
use richrun_tests::suite::ROOT;
use richrun_tests::{Kind, Output, Suite, Trial, View};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite
        .on(ROOT, "without_resctrl_nothing_is_made", without_resctrl)
        .on(ROOT, "a_named_class_is_joined_and_kept", a_named_class_is_joined_and_kept)
        .on(ROOT, "not_asked_for_it_is_left_alone", left_alone)
        .on(ROOT, "the_default_class", the_default_class)
        .on(ROOT, "a_class_of_its_own", a_class_of_its_own)
        .on(ROOT, "schemas_in_their_order", schemas_in_their_order)
        .on(ROOT, "a_class_that_is_there_must_be_the_same", must_be_the_same)
        .on(ROOT, "others_in_a_class_keep_it", others_in_a_class_keep_it)
        .on(ROOT, "a_monitoring_group", a_monitoring_group)
        .on(ROOT, "a_failed_create_leaves_nothing", a_failed_create_leaves_nothing)
        .on(ROOT, "an_entering_process_is_in_the_class", an_entering_process)
        .on(ROOT, "other_schemas_for_a_running_container", other_schemas)
        .on(ROOT, "hooks_and_init_scripts_find_it_there", hooks_find_it_there)
        .on(ROOT, "events_tell_what_the_groups_count", events_tell_what_the_groups_count)
        .on(ROOT, "without_a_readable_state_it_goes_too", without_a_readable_state_it_goes_too);
}

fn with(t: &Trial, rdt: Value) -> Bundle {
    t.bundle(|c| {
        sh(c, "exec sleep 1000");
        c["linux"]["intelRdt"] = rdt;
    })
}

/// Runs `script` beside a stand-in for resctrl at `$R`; `RUN` in it is the runtime with its root
/// directory, and `groups` prints the classes and monitoring groups.
fn beside_resctrl(t: &Trial, script: &str) -> Output {
    t.only(&[Kind::Richrun], "looks for the processor's flags as well");
    if !Path::new("/dev/fuse").exists() {
        t.skip("no /dev/fuse, for a stand-in for resctrl");
    }
    let (runtime, root) = (t.runtime_path(), t.root());
    let place = t.dir.join("resctrl");
    std::fs::create_dir(&place).expect("make a directory");
    let script = format!(
        "set -e
         R={place}
         sed \"s# - fuse # - resctrl #\" /proc/self/mountinfo > $R.mounts
         run() {{
             sh -c 'mount --bind '$R'.mounts /proc/$$/mountinfo; exec \"$@\"' sh {runtime} --root {root} \"$@\"
         }}
         groups() {{
             for d in $R/* $R/mon_groups/* $R/*/mon_groups/*; do
                 if [ -e $d/tasks ]; then echo \"<${{d#$R/}}>\"; fi
             done
         }}
         {script}",
        place = place.display(),
        runtime = runtime.display(),
        root = root.display(),
        script = script.replace("RUN", "run"),
    );
    let (probe, place) = (probe(), place.display().to_string());
    let probe = probe.to_str().expect("utf-8");
    t.cmd(
        "unshare",
        &["-m", "--propagation", "private", probe, "resctrl", &place, "sh", "-c", &script],
    )
    .run()
}

fn without_resctrl(t: &Trial) {
    t.only(&[Kind::Richrun], "says it in other words");
    if std::fs::read_to_string("/proc/mounts").is_ok_and(|mounts| mounts.contains(" resctrl ")) {
        t.skip("resctrl is mounted here");
    }
    let bundle = with(t, json!({"closID": "gold"}));
    let name = t.name("none");
    let out = t.rt(&["create", "-b", bundle.path(), &name]).run().exits(1);
    out.says("linux.intelRdt: no resctrl file system is mounted");
    assert!(!t.root().join(&name).exists(), "a state is left");
}

fn a_named_class_is_joined_and_kept(t: &Trial) {
    let bundle = with(t, json!({"closID": "gold"}));
    let name = t.name("named");
    let script = format!(
        "! RUN create -b {bundle} {name} 2>&1
         mkdir $R/gold
         RUN run -d -b {bundle} {name}
         [ $(cat $R/gold/tasks) = $(RUN state {name} | jq .pid) ]
         RUN delete -f {name}
         groups; grep schemata $R/info/log | grep write || echo none written",
        bundle = bundle.path(),
    );
    beside_resctrl(t, &script)
        .exits(0)
        .shows("no class gold is there")
        .shows("<gold>\nnone written");
}

fn left_alone(t: &Trial) {
    let bundle = t.bundle(|c| sh(c, "exec sleep 1000"));
    let name = t.name("alone");
    let script = format!(
        "cat $R/info/log > $R.before
         RUN run -d -b {bundle} {name}; RUN exec {name} true; RUN delete -f {name}
         diff $R.before $R/info/log && echo same",
        bundle = bundle.path(),
    );
    beside_resctrl(t, &script).exits(0).shows("same");
}

fn the_default_class(t: &Trial) {
    let bundle =
        with(t, json!({"closID": "/", "memBwSchema": "MB:0=100", "enableMonitoring": true}));
    let name = t.name("default");
    let script = format!(
        "RUN run -d -b {bundle} {name}
         pid=$(RUN state {name} | jq .pid)
         grep -x $pid $R/tasks; grep -x $pid $R/mon_groups/{name}/tasks
         RUN delete -f {name}; groups; echo end",
        bundle = bundle.path(),
    );
    let out = beside_resctrl(t, &script).exits(0);
    assert!(out.out.ends_with("\nend\n") && !out.out.contains('<'), "{}", out.out);
}

fn a_class_of_its_own(t: &Trial) {
    let bundle = with(t, json!({"l3CacheSchema": "L3:0=f;1=f0"}));
    let name = t.name("own");
    let script = format!(
        "RUN create -b {bundle} {name}
         [ $(cat $R/{name}/tasks) = $(RUN state {name} | jq .pid) ]
         cat $R/{name}/schemata
         RUN start {name}; RUN delete -f {name}; groups; echo end
         mkdir $R/{name}
         ! RUN create -b {bundle} {name} 2>&1; groups",
        bundle = bundle.path(),
    );
    let out = beside_resctrl(t, &script).exits(0);
    let out = out.shows("L3:0=  f;1= f0").shows("\nend\n").shows("is there already");
    // Somebody else's is not taken away.
    assert!(out.out.ends_with(&format!("<{name}>\n")), "{}", out.out);
}

fn schemas_in_their_order(t: &Trial) {
    let asked = json!({"closID": "gold", "schemata": ["L3:1=3", "MB:1=30"],
        "memBwSchema": "MB:0=20", "l3CacheSchema": "L3:0=f;1=f\nMB:0=90", "enableMBM": true});
    let bundle = with(t, asked);
    let name = t.name("order");
    let script = format!(
        "RUN run -d -b {bundle} {name}
         RUN delete -f {name}; groups; grep write.gold/schemata $R/info/log",
        bundle = bundle.path(),
    );
    let out = beside_resctrl(t, &script).exits(0);
    let out = out.shows("write gold/schemata \"L3:0=f;1=f\\nMB:0=20\\nL3:1=3\\nMB:1=30\\n\"");
    let out = out.says("enableMBM: the host has no counter");
    assert!(!out.out.contains('<'), "what was made is gone: {}", out.out);
}

fn must_be_the_same(t: &Trial) {
    let bundle = with(t, json!({"closID": "gold", "l3CacheSchema": "L3:0=00f"}));
    let name = t.name("same");
    let script = format!(
        "mkdir $R/gold
         ! RUN run -d -b {bundle} {name} 2>&1
         echo 'L3:0=f' > $R/gold/schemata
         RUN run -d -b {bundle} {name}; wc -l < $R/gold/tasks
         RUN delete -f {name}; groups",
        bundle = bundle.path(),
    );
    let out = beside_resctrl(t, &script).exits(0);
    out.shows("other schemata: L3:0 is to be 00f and has fffff").shows("1\n<gold>");
}

fn others_in_a_class_keep_it(t: &Trial) {
    let asked = json!({"closID": "gold", "l3CacheSchema": "L3:0=f"});
    let (one, other) = (with(t, asked.clone()), with(t, asked));
    let (first, second) = (t.name("first"), t.name("second"));
    let script = format!(
        "RUN run -d -b {one} {first}; RUN run -d -b {other} {second}
         RUN delete -f {first}; groups
         grep -qx $(RUN state {second} | jq .pid) $R/gold/tasks && echo in
         RUN delete -f {second}; groups",
        one = one.path(),
        other = other.path(),
    );
    // It was the first one's to remove, and the second one was in it.
    beside_resctrl(t, &script).exits(0).shows("<gold>\nin\n<gold>\n");
}

fn a_monitoring_group(t: &Trial) {
    let bundle = with(t, json!({"closID": "gold", "enableMonitoring": true}));
    let name = t.name("monitored");
    let script = format!(
        "mkdir $R/gold
         RUN run -d -b {bundle} {name}
         [ $(cat $R/gold/mon_groups/{name}/tasks) = $(RUN state {name} | jq .pid) ]
         RUN delete -f {name}; groups; echo end
         mkdir $R/gold/mon_groups/{name}
         ! RUN create -b {bundle} {name} 2>&1; groups",
        bundle = bundle.path(),
    );
    let out = beside_resctrl(t, &script).exits(0);
    let out = out
        .shows("<gold>\nend\n")
        .shows("enableMonitoring: make gold/mon_groups/")
        .shows("file exists");
    // One that was there is not the container's, and is left.
    assert!(out.out.ends_with(&format!("<gold>\n<gold/mon_groups/{name}>\n")), "{}", out.out);
}

fn a_failed_create_leaves_nothing(t: &Trial) {
    let late = with(t, json!({"l3CacheSchema": "L3:0=f", "enableMonitoring": true}));
    late.edit(|c| c["process"]["cwd"] = json!("/proc/version"));
    let wrong = with(t, json!({"schemata": ["L9:0=f"]}));
    let full = with(t, json!({}));
    let name = t.name("failed");
    let script = format!(
        "! RUN run -d -b {late} {name} 2>&1
         ! RUN run -d -b {wrong} {name} 2>&1
         groups; echo end
         mkdir $R/a $R/b $R/c
         ! RUN run -d -b {full} {name} 2>&1
         groups",
        late = late.path(),
        wrong = wrong.path(),
        full = full.path(),
    );
    let out = beside_resctrl(t, &script).exits(0);
    let out = out.shows("Unknown or unsupported resource name 'L9'): invalid argument");
    let out = out.shows("(Out of CLOSIDs): no space left on device");
    let (first, then) = out.out.split_once("end\n").expect("both");
    assert!(!first.contains('<'), "{first}");
    assert!(then.ends_with("<a>\n<b>\n<c>\n"), "{then}");
    assert!(!t.root().join(&name).exists(), "a state is left");
}

fn an_entering_process(t: &Trial) {
    let bundle = with(t, json!({"enableMonitoring": true}));
    let name = t.name("enter");
    let script = format!(
        "RUN run -d -b {bundle} {name}
         RUN exec -d {name} sleep 1000
         wc -l < $R/{name}/tasks; wc -l < $R/{name}/mon_groups/{name}/tasks
         rmdir $R/{name}
         RUN exec {name} echo entered
         RUN delete -f {name}; echo deleted",
        bundle = bundle.path(),
    );
    beside_resctrl(t, &script).exits(0).shows("2\n2\nentered\ndeleted");
}

fn other_schemas(t: &Trial) {
    let bundle = with(t, json!({"l3CacheSchema": "L3:0=f"}));
    let name = t.name("update");
    // Where one of the two is refused the other stays as it was.
    let both = format!(
        "! RUN update --pids-limit 77 --l3-cache-schema L7:0=3 {name} 2>&1
         echo limit $(RUN events --stats {name} | jq .data.pids.limit)
         ! RUN update --cpuset-cpus 4000 --l3-cache-schema L3:0=7 {name} 2>&1
         cat $R/{name}/schemata"
    );
    let script = format!(
        "RUN run -d -b {bundle} {name}
         RUN update --l3-cache-schema L3:0=3 --mem-bw-schema MB:1=40 {name}
         cat $R/{name}/schemata
         ! RUN update --mem-bw-schema L3:0=3 {name} 2>&1
         ! RUN update --l3-cache-schema L7:0=3 {name} 2>&1
         {both}
         jq -c .linux.intelRdt {root}/{name}/config.json
         RUN delete -f {name}; groups",
        bundle = bundle.path(),
        root = t.root().display(),
        both = if t.view == View::V1 { both.as_str() } else { "" },
    );
    let out = beside_resctrl(t, &script).exits(0);
    assert!(!out.out.contains("limit 77") && !out.out.contains("L3:0=  7"), "{}", out.out);
    let out = out.shows("    L3:0=  3;1=fffff\n    MB:0=100;1= 40\n");
    let out = out.shows("--mem-bw-schema: one line that starts with MB:");
    let out = out.shows(r#"{"l3CacheSchema":"L3:0=3","memBwSchema":"MB:1=40"}"#);
    assert!(!out.out.contains('<'), "{}", out.out);
}

fn events_tell_what_the_groups_count(t: &Trial) {
    let own = with(t, json!({"l3CacheSchema": "L3:0=f"}));
    let monitored = with(t, json!({"closID": "gold", "enableMonitoring": true}));
    let (one, other) = (t.name("counted"), t.name("monitored"));
    let script = format!(
        "mkdir $R/gold
         RUN run -d -b {own} {one}; RUN run -d -b {monitored} {other}
         RUN events --stats {one} | jq -c .data.intel_rdt
         RUN events --stats {other} | jq -c .data.intel_rdt.cmt_stats
         RUN delete -f {one}; RUN delete -f {other}",
        own = own.path(),
        monitored = monitored.path(),
    );
    let out = beside_resctrl(t, &script).exits(0);
    let lines: Vec<&str> = out.out.lines().collect();
    let [told, counted] = lines[..] else { panic!("{lines:?}") };
    let told: Value = serde_json::from_str(told).expect("JSON");
    let wanted = json!({
        "l3_cache_schema_root": "L3:0=fffff;1=fffff", "l3_cache_schema": "L3:0=  f;1=fffff",
        "mem_bw_schema_root": "MB:0=100;1=100", "mem_bw_schema": "MB:0=100;1=100",
        "cmt_stats": [{"llc_occupancy": 4096}, {"llc_occupancy": 4096}],
    });
    assert_eq!(told, wanted);
    // Those of the monitoring group, which are the container's alone.
    assert_eq!(counted, r#"[{"llc_occupancy":8192},{"llc_occupancy":8192}]"#);
}

fn without_a_readable_state_it_goes_too(t: &Trial) {
    let own = with(t, json!({"l3CacheSchema": "L3:0=f", "enableMonitoring": true}));
    let named = with(t, json!({"closID": "gold", "enableMonitoring": true}));
    let (one, other) = (t.name("own"), t.name("named"));
    let script = format!(
        "mkdir $R/gold
         RUN run -d -b {own} {one}; RUN run -d -b {named} {other}
         for id in {one} {other}; do
             echo '{{' > {root}/$id/state.json
             RUN delete -f $id
         done
         groups",
        own = own.path(),
        named = named.path(),
        root = t.root().display(),
    );
    let out = beside_resctrl(t, &script).exits(0);
    assert_eq!(out.out, "<gold>\n", "{}", out.err);
    for name in [one, other] {
        assert!(!t.root().join(&name).exists(), "a state is left");
    }
}

/// Whatever is started for a container before its payload is started by who is in the class.
fn hooks_find_it_there(t: &Trial) {
    let bundle = with(t, json!({}));
    let seen = t.dir.join("seen");
    let name = t.name("hooked");
    let class = t.dir.join("resctrl").join(&name);
    bundle.edit(|c| {
        let script = format!("cat {}/tasks > {}; jq .pid >> {1}", class.display(), seen.display());
        let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script],
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}]);
        c["hooks"] = json!({"createRuntime": hook});
    });
    let script = format!("RUN run -d -b {} {name}; RUN delete -f {name}", bundle.path());
    beside_resctrl(t, &script).exits(0);
    let seen = std::fs::read_to_string(&seen).expect("what the hook has seen");
    let pids: Vec<&str> = seen.lines().collect();
    assert!(pids.len() == 2 && pids[0] == pids[1], "{seen}");
}
