//! Calls that wait for an agent's answer: what the agent is told, and the filter.

use std::fs;

use richrun_tests::Trial;
use richrun_tests::terminal::FdSocket;
use serde_json::{Value, json};

use super::peer::{Peer, load};

/// The agent receives the process's state (runtime-spec config-linux.md, "The
/// Container Process State") and the listener's descriptor.
pub fn agent_is_told(t: &Trial) {
    crate::needs(t, "run");
    let peer = Peer::of(t);
    let agent = FdSocket::new(&t.dir.join("run/agent"));
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "listenerPath": agent.path(),
        "listenerMetadata": "some words",
        "syscalls": [{"names": ["kcmp", "mknodat"], "action": "SCMP_ACT_NOTIFY"}],
    });
    for no_new_privileges in [true, false] {
        let program = load(t, &profile, no_new_privileges);
        let (text, descriptor) = agent.receive();
        let told: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        assert_eq!(told["fds"], json!(["seccompFd"]), "{told}");
        assert_eq!(told["metadata"], "some words", "{told}");
        assert!(told["ociVersion"].is_string(), "{told}");
        assert!(told["pid"].as_i64().is_some_and(|pid| pid > 0), "{told}");
        assert!(told["state"]["id"].as_str().is_some_and(|id| id.starts_with(&t.id)), "{told}");
        assert!(
            told["state"]["bundle"].as_str().is_some_and(|b| b.starts_with("/mnt/b")),
            "{told}"
        );
        let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&descriptor));
        let link = fs::read_link(link).expect("the descriptor");
        assert_eq!(link.to_string_lossy(), "anon_inode:seccomp notify");
        peer.check(&profile, &program);
    }
}
