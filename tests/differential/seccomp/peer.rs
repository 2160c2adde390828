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

/// A filter as a container's process has it.
pub struct Loaded {
    /// The program.
    pub program: Vec<sock_filter>,
    /// The flags that the kernel keeps.
    pub flags: u64,
    /// The process's `/proc/PID/status`.
    pub status: String,
}

/// Starts a container with the profile and reads the filter of its process.
pub fn load(t: &Trial, profile: &Value, no_new_privileges: bool) -> Loaded {
    let bundle = t.bundle(|c| {
        args(c, &["sleep", "100"]);
        c["process"]["noNewPrivileges"] = json!(no_new_privileges);
        c["linux"]["seccomp"] = profile.clone();
    });
    let container = t.detach(&bundle);
    let pid = container.pid();
    // Without new privileges the filter is loaded as the last thing before the payload.
    wait_until("the payload", || container.proc_file("comm").trim() == "sleep");
    let status = container.proc_file("status");
    let mut filters = ptrace::filters(pid).unwrap_or_else(|error| match error.raw_os_error() {
        Some(libc::EACCES) => t.skip("this process has a seccomp filter itself"),
        Some(libc::EIO) => t.skip("the kernel lacks CONFIG_CHECKPOINT_RESTORE"),
        _ => panic!("read the filter of {pid}: {error}"),
    });
    assert_eq!(filters.len(), 1, "filters of {pid}");
    container.remove();
    let filter = filters.remove(0);
    let line = |(code, jt, jf, k)| sock_filter { code, jt, jf, k };
    Loaded { program: filter.program.into_iter().map(line).collect(), flags: filter.flags, status }
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
        let program = load(t, &everything(), true).program;
        let knows = |numbers| {
            let mut places = places(numbers).peekable();
            places.peek().is_none()
                || places.any(|(arch, nr)| {
                    verdict(&program, &Call::new(arch, nr, [0; 6])).action == ALLOW
                })
        };
        let peer = Peer::lacking(Some(t.kind()), knows);
        peer.check(&everything(), &program);
        peer
    }

    /// libseccomp itself.
    pub fn lacking(kind: Option<Kind>, knows: impl Fn([Option<u32>; 6]) -> bool) -> Peer {
        let unknown: BTreeSet<_> =
            calls().filter(|(_, numbers)| !knows(*numbers)).map(|(name, _)| name).collect();
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

    /// Whether it answers ENOSYS to what is newer than the profile.
    fn answers_enosys(&self) -> bool {
        matches!(self.kind, Some(Kind::Runc | Kind::Richrun))
    }

    /// Asserts that the program answers as the library's, the rules aside.
    #[track_caller]
    pub fn check(&self, profile: &Value, program: &[sock_filter]) {
        let profile = self.without_unknown(profile);
        let library = compile(&profile).expect("the library compiles the profile");
        if self.kind == Some(Kind::Richrun) {
            assert_eq!(program, library, "the runtime loads what the library compiles");
        }
        let mut wrong = differences(&profile, &library, program);
        if !self.answers_enosys() {
            let default = default_action(&profile);
            let named = named(&profile);
            wrong.retain(|d| {
                let newer = !named.contains(&(d.call.arch, d.call.nr));
                !(newer && d.library == ENOSYS && d.other == default)
            });
        }
        assert!(wrong.is_empty(), "{} verdicts differ:\n{}{profile}", wrong.len(), list(&wrong));
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

/// What the default action returns.
fn default_action(profile: &Value) -> u32 {
    let mut profile = profile.clone();
    profile["syscalls"] = json!([]);
    let program = compile(&profile).expect("a profile without rules");
    verdict(&program, &Call::new(X86_64, 0, [0; 6])).action
}

/// The first differences, for a message.
fn list(differences: &[Difference]) -> String {
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
