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
//!    itself give the default action.

mod compare;
mod libseccomp;
mod peer;
mod profiles;

use richrun_tests::suite::ONE;
use richrun_tests::{Suite, Trial};
use serde_json::Value;

pub fn register(suite: &mut Suite) {
    for (name, profile) in profiles::engines().into_iter().chain(profiles::crafted()) {
        suite.compare(ONE, &name, move |t| same_verdicts(t, &profile));
    }
    for (name, profile) in profiles::refused() {
        suite.compare(ONE, &format!("refused_{name}"), move |t| refused(t, &profile));
    }
    for (name, flags) in profiles::FLAGS {
        suite.compare(ONE, &format!("flags_{name}"), move |t| flags_are_kept(t, flags));
    }
    suite.compare(ONE, "names", names_are_known);
    suite.on(ONE, "libseccomp_table", libseccomp::same_table);
    suite.on(ONE, "libseccomp_random_profiles", libseccomp::same_verdicts);
}

/// The loaded program answers as the library's.
fn same_verdicts(t: &Trial, profile: &Value) {
    crate::needs(t, "run");
    let peer = peer::Peer::of(t);
    for no_new_privileges in [true, false] {
        let loaded = peer::load(t, profile, no_new_privileges);
        peer.check(profile, &loaded.program);
    }
}

/// What the library refuses, the runtime refuses.
fn refused(t: &Trial, profile: &Value) {
    crate::needs(t, "run");
    assert!(compare::compile(profile).is_err(), "the library accepts the profile");
    let bundle = t.bundle(|c| c["linux"]["seccomp"] = profile.clone());
    let out = t.run(&bundle).fails();
    assert!(out.err.contains("seccomp") || out.err.contains("notify"), "{}", out.err);
    t.rt(&["delete", "--force", &bundle.id]).run();
}

/// The flags that the kernel shows are those of the profile.
fn flags_are_kept(t: &Trial, flags: &profiles::Flags) {
    crate::needs(t, "run");
    let mut profile = profiles::plain();
    match flags.asked {
        Some(words) => profile["flags"] = serde_json::json!(words),
        None => {
            profile.as_object_mut().expect("an object").remove("flags");
        }
    }
    let loaded = peer::load(t, &profile, true);
    assert_eq!(loaded.flags & 2 != 0, flags.log, "SECCOMP_FILTER_FLAG_LOG");
    let mitigated = loaded.status.contains("thread force mitigated");
    let vulnerable = loaded.status.contains("Speculation_Store_Bypass:\tnot vulnerable");
    if !vulnerable && loaded.status.contains("Speculation_Store_Bypass:") {
        assert!(!(flags.spec_allow && mitigated), "SPEC_ALLOW: {}", loaded.status);
    }
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
