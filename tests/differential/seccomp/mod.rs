//! What seccomp filters answer.
//!
//! A container is started with a profile, the program that the runtime loaded
//! is read back (`PTRACE_SECCOMP_GET_FILTER`) and interpreted beside the one
//! that [`richrun::plan::seccomp::compile`] makes of the same profile, for every
//! system call number and the corners of its arguments. All verdicts must be
//! equal, but for these rules about the peers:
//!
//! 1. *Names.* A peer passes over the names that its libseccomp does not know,
//!    so they are taken out of the profile that its program is compared with.
//!    Which they are is measured (see [`peer`]), not listed, and only names that
//!    are younger than every name the peer knows may be among them.
//! 2. *ENOSYS.* For a number larger than every one the profile names, runc and
//!    richrun answer ENOSYS where the default action is not one that lets the
//!    call pass (see runc's `libcontainer/seccomp/patchbpf`). crun and libseccomp
//!    itself give the default action, or their kill where they take the number for
//!    one of x32. runc 1.1 does so too on the host's own architecture, unless the profile names it.
//! 3. *x32.* libseccomp 2.6 also numbers calls for x32 that the kernel has for
//!    x86-64 alone (`64` in arch/x86/entry/syscalls/syscall_64.tbl: uretprobe,
//!    map_shadow_stack). The kernel answers ENOSYS there whatever a filter allows.

mod compare;
mod denied;
mod libseccomp;
mod notify;
mod peer;
mod profiles;
mod random;

use richrun_tests::bundle::args;
use richrun_tests::suite::ONE;
use richrun_tests::{Kind, Suite, Trial};
use serde_json::Value;

pub fn register(suite: &mut Suite) {
    for (name, profile) in profiles::engines().into_iter().chain(profiles::crafted()).chain(lone())
    {
        suite.compare(ONE, &name, move |t| same_verdicts(t, &profile));
    }
    for profile in profiles::refused() {
        let name = format!("refused_{}", profile.name);
        suite.compare(ONE, &name, move |t| refused(t, &profile));
    }
    for (name, flags) in profiles::FLAGS {
        suite.compare(ONE, &format!("flags_{name}"), move |t| flags_are_passed(t, flags));
    }
    suite.compare(ONE, "notify", notify::agent_is_told);
    suite.compare(ONE, "names", names_are_known);
    suite.long(ONE, "one_call_denied", 1800, denied::one_call_denied);
    suite.on(ONE, "pid_1_lacks_a_call", denied::pid_1_lacks_a_call);
    suite.on(ONE, "pid_1_ends_without_leave", denied::pid_1_ends_without_leave);
    suite.on(ONE, "libseccomp_table", libseccomp::same_table);
    suite.on(ONE, "libseccomp_random_profiles", libseccomp::same_verdicts);
}

/// Random profiles for the runtimes themselves, which also decide what is newer than a
/// profile and which conventions it names.
fn lone() -> impl Iterator<Item = (String, Value)> {
    (0..12).map(|seed| (format!("random_{seed}"), random::profile(seed, random::Rules::Lone)))
}

/// The loaded program answers as the library's.
fn same_verdicts(t: &Trial, profile: &Value) {
    crate::needs(t, "run");
    let peer = peer::Peer::of(t);
    for no_new_privileges in [true, false] {
        let loaded = peer::load(t, profile, no_new_privileges);
        peer.check(profile, &loaded);
    }
}

/// What the library refuses, the runtime refuses.
fn refused(t: &Trial, profile: &profiles::Refused) {
    crate::needs(t, "run");
    if let Some((_, reason)) = profile.accepted.iter().find(|(kind, _)| *kind == t.kind()) {
        t.skip(&format!("{} accepts it: {reason}", t.kind()));
    }
    assert!(compare::compile(&profile.profile).is_err(), "the library accepts the profile");
    let bundle = t.bundle(|c| c["linux"]["seccomp"] = profile.profile.clone());
    let out = t.run(&bundle).fails();
    let named = ["seccomp", "SCMP_ACT_NOTIFY", "listenerPath"];
    assert!(named.iter().any(|word| out.err.contains(word)), "{}", out.err);
    t.rt(&["delete", "--force", &bundle.id]).run();
}

/// The flags that seccomp(2) is given are those of the profile, as strace shows them.
fn flags_are_passed(t: &Trial, flags: &profiles::Flags) {
    crate::needs(t, "run");
    let asked = flags.asked.unwrap_or_default();
    if t.kind() == Kind::Runc && t.runtime.version < (1, 2) {
        t.skip("runc before 1.2 has no seccomp flags");
    }
    if !std::path::Path::new("/usr/bin/strace").exists() {
        t.skip("strace is not installed");
    }
    let mut profile = profiles::plain();
    match flags.asked {
        Some(words) => profile["flags"] = serde_json::json!(words),
        None => {
            profile.as_object_mut().expect("an object").remove("flags");
        }
    }
    let bundle = t.bundle(|c| {
        args(c, &["true"]);
        c["linux"]["seccomp"] = profile;
    });
    let trace = t.dir.join("trace");
    let trace = trace.to_str().expect("utf-8 path");
    let runtime = t.runtime_path();
    let runtime = runtime.to_str().expect("utf-8 path");
    let root = t.root();
    let root = root.to_str().expect("utf-8 path");
    let words = ["-f", "-qq", "-e", "trace=seccomp", "-e", "signal=none", "-o", trace, runtime];
    let run = ["--root", root, "run", "--bundle", bundle.path(), &bundle.id];
    t.cmd("/usr/bin/strace", &words).args(&run).ok();
    let text = std::fs::read_to_string(trace).expect("the trace");
    // Probes for what the kernel knows pass no program.
    let loads = text.lines().filter(|line| line.contains("_FILTER, ") && line.contains("filter="));
    let loaded: Vec<_> = loads.filter(|line| line.trim_end().ends_with("= 0")).collect();
    let [load] = loaded[..] else { panic!("one filter is loaded: {text}") };
    let given = load.split("_FILTER, ").nth(1).and_then(|rest| rest.split(", {").next());
    let mut given: Vec<_> = given.expect("flags").split('|').filter(|word| *word != "0").collect();
    // Both peers synchronise threads (of which there is one) unless the profile has flags.
    given.retain(|word| asked.contains(word) || *word != "SECCOMP_FILTER_FLAG_TSYNC");
    given.sort_unstable();
    assert_eq!(given, flags.passed, "{load}");
}

/// The names that the runtime knows, measured: see the first rule above.
fn names_are_known(t: &Trial) {
    crate::needs(t, "run");
    let unknown = peer::Peer::of(t).unknown;
    if t.is_richrun() {
        assert!(unknown.is_empty(), "not known: {unknown:?}");
    }
    eprintln!("names that {} does not know: {unknown:?}", t.kind());
}
