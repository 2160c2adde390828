//! The runtime that a trial looks at: how its filters are loaded and read back,
//! and what is known about its libseccomp.

use std::collections::BTreeSet;
use std::fmt::Write;

use richrun::plan::seccomp::calls;
use richrun::plan::seccomp::interpret::Call;
use richrun_tests::bundle::args;
use richrun_tests::command::wait_until;
use richrun_tests::sys::ptrace;
use richrun_tests::{Kind, Trial};
use seccompiler::sock_filter;
use serde_json::{Value, json};

use super::compare::{Difference, ENOSYS, X32_BIT, X86, X86_64, compile, differences, verdict};

const ALLOW: u32 = 0x7fff_0000;
const KILL_THREAD: u32 = 0;

/// Starts a container with the profile and reads the filter of its process.
pub fn load(t: &Trial, profile: &Value, no_new_privileges: bool) -> Vec<sock_filter> {
    let bundle = t.bundle(|c| {
        args(c, &["sleep", "100"]);
        c["process"]["noNewPrivileges"] = json!(no_new_privileges);
        c["linux"]["seccomp"] = profile.clone();
    });
    let container = t.detach(&bundle);
    let pid = container.pid();
    // With no_new_privs the filter is loaded as the last thing before the payload.
    wait_until("the payload", || container.proc_file("comm").trim() == "sleep");
    let mut filters = ptrace::filters(pid).unwrap_or_else(|error| match error.raw_os_error() {
        Some(libc::EACCES) => t.skip("this process has a seccomp filter itself"),
        Some(libc::EIO) => t.skip("the kernel lacks CONFIG_CHECKPOINT_RESTORE"),
        _ => panic!("read the filter of {pid}: {error}"),
    });
    assert_eq!(filters.len(), 1, "filters of {pid}");
    container.remove();
    let line = |(code, jt, jf, k)| sock_filter { code, jt, jf, k };
    filters.remove(0).into_iter().map(line).collect()
}

/// What decides how a peer's programs compare with the library's.
pub struct Peer {
    kind: Option<Kind>,
    /// The names that its libseccomp does not know.
    pub unknown: BTreeSet<&'static str>,
}

/// The numbers of a call as the kernel sees them: architecture and number.
fn places(numbers: [Option<u32>; 6]) -> impl Iterator<Item = (u32, u32)> {
    let x32 = numbers[2].map(|number| (X86_64, number | X32_BIT));
    let own = [numbers[0].map(|number| (X86_64, number)), numbers[1].map(|number| (X86, number))];
    own.into_iter().chain([x32]).flatten()
}

/// A profile that names every call there is.
fn everything() -> Value {
    let names: Vec<_> = calls().map(|(name, _)| name).collect();
    json!({
        "defaultAction": "SCMP_ACT_LOG",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
    })
}

impl Peer {
    /// Measures the trial's runtime: a call whose name it knows is answered as
    /// [`everything`] says.
    pub fn of(t: &Trial) -> Peer {
        let program = load(t, &everything(), true);
        let allows = |(arch, nr)| verdict(&program, &Call::new(arch, nr, [0; 6])).action == ALLOW;
        let knows = |_: &str, numbers| places(numbers).any(allows);
        let peer = Peer::lacking(Some(t.kind()), knows);
        peer.check(&everything(), &program);
        peer
    }

    /// libseccomp itself.
    pub fn lacking(kind: Option<Kind>, knows: impl Fn(&str, [Option<u32>; 6]) -> bool) -> Peer {
        // Calls of other architectures alone play no part here.
        let here = calls().filter(|(_, numbers)| places(*numbers).next().is_some());
        let unknown: BTreeSet<_> =
            here.filter(|(name, numbers)| !knows(name, *numbers)).map(|(name, _)| name).collect();
        // Since 2018 all architectures give a new call the same number, in order
        // of age, from 424 on; x86-64 alone has filled the gap below since.
        let known = calls().filter(|(name, _)| !unknown.contains(name));
        let newest = known.filter_map(|(_, numbers)| numbers[0]).filter(|nr| *nr < 512).max();
        for (name, numbers) in calls().filter(|(name, _)| unknown.contains(name)) {
            let young = numbers[0].is_some_and(|nr| Some(nr) > newest || (335..424).contains(&nr));
            assert!(young, "{name} {numbers:?} is not known, {newest:?} is");
        }
        Peer { kind, unknown }
    }

    /// Whether it answers ENOSYS to what is newer than the profile; runc 1.1 only for the
    /// architectures that the profile names.
    fn answers_enosys(&self, profile: &Value) -> bool {
        let mut named = profile["architectures"].as_array().into_iter().flatten();
        match self.kind {
            Some(Kind::Richrun) => true,
            Some(Kind::Runc) => named.any(|name| name == "SCMP_ARCH_X86_64"),
            _ => false,
        }
    }

    /// Asserts that the program answers as the library's, the rules aside.
    #[track_caller]
    pub fn check(&self, profile: &Value, program: &[sock_filter]) {
        let wrong = self.wrong(profile, program);
        assert!(wrong.is_empty(), "{} verdicts differ:\n{}{profile}", wrong.len(), list(&wrong));
    }

    /// The differences that no rule explains.
    pub fn wrong(&self, profile: &Value, program: &[sock_filter]) -> Vec<Difference> {
        let profile = self.without_unknown(profile);
        let library = compile(&profile).expect("the library compiles the profile");
        if self.kind == Some(Kind::Richrun) {
            assert_eq!(program, library, "the runtime loads what the library compiles");
        }
        let mut wrong = differences(&profile, &library, program);
        wrong.retain(|d| !numbered_by_libseccomp_alone(d, program));
        if !self.answers_enosys(&profile) {
            let default = default_action(&profile);
            let named = named(&profile);
            wrong.retain(|d| {
                let newer = !named.contains(&(d.call.arch, d.call.nr)) || is_multiplexed(&d.call);
                let x32 = d.call.nr >= X32_BIT && d.other == KILL_THREAD;
                !(newer && d.library == ENOSYS && (d.other == default || x32))
            });
        }
        wrong
    }

    /// The profile as a libseccomp that lacks names sees it.
    fn without_unknown(&self, profile: &Value) -> Value {
        let mut profile = profile.clone();
        for entry in profile["syscalls"].as_array_mut().into_iter().flatten() {
            let names = entry["names"].as_array_mut().expect("names");
            names.retain(|name| !self.unknown.contains(name.as_str().expect("a name")));
        }
        profile
    }
}

/// The third rule of the module: whether the difference is at an x32 number that the
/// kernel does not have, and the filter answers there as for x86-64's call.
fn numbered_by_libseccomp_alone(d: &Difference, program: &[sock_filter]) -> bool {
    let nr = d.call.nr & !X32_BIT;
    let own = calls().any(|(_, numbers)| numbers[0] == Some(nr) && numbers[2].is_none());
    let shared = calls().any(|(_, numbers)| numbers[2] == Some(nr));
    let native = Call { nr, ..d.call };
    d.call.arch == X86_64
        && (X32_BIT..2 * X32_BIT).contains(&d.call.nr)
        && own
        && !shared
        && verdict(program, &native).action == d.other
}

/// Where the calls that a profile names are.
fn named(profile: &Value) -> BTreeSet<(u32, u32)> {
    let entries = profile["syscalls"].as_array().into_iter().flatten();
    let names: BTreeSet<_> = entries
        .flat_map(|entry| entry["names"].as_array().into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    let known = calls().filter(|(name, _)| names.contains(name));
    known.flat_map(|(_, numbers)| places(numbers)).collect()
}

/// Whether it is one of x86's calls that go through socketcall (direct since Linux
/// 4.3) or ipc (5.1) as well: libseccomp gives their names negative numbers, so
/// runc does not count them among those that a profile names.
fn is_multiplexed(call: &Call) -> bool {
    call.arch == X86 && ((359..=373).contains(&call.nr) || (393..=402).contains(&call.nr))
}

/// What the default action returns.
fn default_action(profile: &Value) -> u32 {
    let mut profile = profile.clone();
    profile["syscalls"] = json!([]);
    let program = compile(&profile).expect("a profile without rules");
    verdict(&program, &Call::new(X86_64, 0, [0; 6])).action
}

/// The first differences, for a message.
pub fn list(differences: &[Difference]) -> String {
    let mut text = String::new();
    for Difference { call, library, other } in differences.iter().take(12) {
        let name = calls()
            .find(|(_, numbers)| places(*numbers).any(|place| place == (call.arch, call.nr)));
        let name = name.map_or("?", |(name, _)| name);
        let _ = writeln!(
            text,
            "arch {:#x} {name} ({:#x}) args {:x?}: {library:#x} by the library, {other:#x} loaded",
            call.arch, call.nr, call.args
        );
    }
    text
}
