//! The state documents: what hooks read, and what `state` and `list` print.

use std::collections::BTreeMap;

use serde::Serialize;

use super::record::{self, Ended};
use super::{State, Status, Store};

/// The state of a container as hooks read it (runtime-spec, runtime.md
/// "State").
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct HookState<'a> {
    oci_version: &'a str,
    id: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    pid: i32,
    bundle: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

fn is_zero(pid: &i32) -> bool {
    *pid == 0
}

/// What `state` prints, and `list --format json` for each container: runc's
/// fields, in runc's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// The version of the specification that the bundle asked for.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// Its first process; 0 when it is stopped.
    pub pid: i32,
    /// Its status.
    pub status: Status,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// Absolute path of the root file system.
    pub rootfs: String,
    /// When it was created (RFC 3339, UTC).
    pub created: String,
    /// The annotations of its configuration.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The name of the user who created it; `#UID` for one without a name.
    pub owner: String,
    /// How it ended, as far as that is known: runc has no such field, and who reads its document
    /// passes over it.
    #[serde(rename = "exit", skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

/// The state document of a container of `store` whose status is `status`.
pub fn state_document(store: &Store, state: &State, status: Status) -> Document {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    Document {
        oci_version: state.oci_version.clone(),
        id: state.id.clone(),
        pid: pid(state, status),
        status,
        bundle: state.bundle.display().to_string(),
        rootfs: state.rootfs.display().to_string(),
        created: state.created.clone(),
        annotations: state.annotations.clone(),
        owner: user_name(&passwd, state.owner),
        ended: record::ended(store, state, status),
    }
}

/// The state document that hooks get on their standard input: the
/// specification's fields, compact.
pub fn hook_state(state: &State, status: &str, pid: i32) -> Vec<u8> {
    let document = HookState {
        oci_version: &state.oci_version,
        id: &state.id,
        status,
        pid,
        bundle: state.bundle.display().to_string(),
        annotations: &state.annotations,
    };
    // A structure of strings and numbers: encoding it cannot fail.
    serde_json::to_vec(&document).unwrap_or_default()
}

fn pid(state: &State, status: Status) -> i32 {
    match (status, state.init) {
        (Status::Stopped, _) | (_, None) => 0,
        (_, Some(init)) => init.pid,
    }
}

/// The name of a user by the text of a passwd file (passwd(5)).
fn user_name(passwd: &str, uid: u32) -> String {
    let found = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    });
    found.map_or_else(|| format!("#{uid}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::ProcessId;

    fn state() -> State {
        State {
            oci_version: "1.3.0".into(),
            id: "web".into(),
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            created: "2026-01-02T03:04:05.000000006Z".into(),
            owner: 4_294_967_294,
            annotations: BTreeMap::new(),
            init: Some(ProcessId { pid: 7, start_time: 1 }),
            cgroup: None,
            rdt: None,
            ready: true,
            poststop_next: None,
            rich: None,
            stop_signal: None,
            extras: Default::default(),
            ends_whole_in: None,
        }
    }

    #[test]
    fn a_document_has_runcs_fields_in_runcs_order() {
        let text = serde_json::to_string(&state_document(
            &Store::new("/nowhere"),
            &state(),
            Status::Running,
        ))
        .unwrap();
        assert_eq!(
            text,
            "{\"ociVersion\":\"1.3.0\",\"id\":\"web\",\"pid\":7,\"status\":\"running\",\
             \"bundle\":\"/b\",\"rootfs\":\"/b/rootfs\",\
             \"created\":\"2026-01-02T03:04:05.000000006Z\",\"owner\":\"#4294967294\"}"
        );
        assert_eq!(state_document(&Store::new("/nowhere"), &state(), Status::Stopped).pid, 0);
    }

    #[test]
    fn hooks_read_the_specifications_fields() {
        let mut state = state();
        state.annotations.insert("k".into(), "v".into());
        let text = |status, pid| String::from_utf8(hook_state(&state, status, pid)).unwrap();
        assert_eq!(
            text("creating", 7),
            "{\"ociVersion\":\"1.3.0\",\"id\":\"web\",\"status\":\"creating\",\"pid\":7,\
             \"bundle\":\"/b\",\"annotations\":{\"k\":\"v\"}}"
        );
        assert!(!text("stopped", 0).contains("pid"));
    }

    #[test]
    fn users_have_names_or_numbers() {
        let passwd = "root:x:0:0::/root:/bin/sh\nbroken\napp:x:1000:5::/:\n";
        assert_eq!(user_name(passwd, 1000), "app");
        assert_eq!(user_name(passwd, 5), "#5");
    }
}
