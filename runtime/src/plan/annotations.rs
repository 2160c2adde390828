//! Annotations of crun's that engines send (`run.oci.*`), as far as they are heard here.
//!
//! Engines copy an image's annotations into config.json, so what gives a payload more than
//! config.json does counts only where the administrator allows the annotation by its name.

use std::ffi::CStr;

use oci_spec::runtime::Spec;

use crate::config::annotations::KEEP_GROUPS;
use crate::error::{Error, Result};

/// Which of SELinux's mount options `linux.mountLabel` is given by.
const CONTEXT_TYPE: &str = "run.oci.mount_context_type";
/// What it may be.
const CONTEXTS: [&CStr; 4] = [c"context", c"fscontext", c"defcontext", c"rootcontext"];

/// Whether a payload keeps the supplementary groups of who calls the runtime, `allowed` being
/// what the administrator allows; and what is to be told.
pub fn keeps_groups(spec: &Spec, allowed: &[String]) -> (bool, Option<String>) {
    if value(spec, KEEP_GROUPS) != Some("1") {
        return (false, None);
    }
    let told = |what: &str| Some(format!("annotation {KEEP_GROUPS}: {what}"));
    if !allowed.iter().any(|name| name == KEEP_GROUPS) {
        return (false, told("ignored: annotations.allow of the settings does not have it"));
    }
    let process = spec.process().as_ref();
    let others = process.and_then(|process| process.user().additional_gids().as_ref());
    match others.is_some_and(|groups| !groups.is_empty()) {
        true => (true, told("process.user.additionalGids is passed over")),
        false => (true, None),
    }
}

/// The mount option for `linux.mountLabel`.
///
/// # Errors
/// The annotation is none of those.
pub fn context_type(spec: &Spec) -> Result<&'static CStr> {
    let Some(word) = value(spec, CONTEXT_TYPE) else { return Ok(CONTEXTS[0]) };
    let known = CONTEXTS.into_iter().find(|known| known.to_bytes() == word.as_bytes());
    known.ok_or_else(|| {
        Error::config(format!(
            "annotations: {CONTEXT_TYPE}: {word:?} is none of context, fscontext, defcontext, rootcontext"
        ))
    })
}

fn value<'s>(spec: &'s Spec, name: &str) -> Option<&'s str> {
    spec.annotations().as_ref()?.get(name).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(annotations: serde_json::Value, groups: &[u32]) -> Spec {
        let user = serde_json::json!({"uid": 0, "gid": 0, "additionalGids": groups});
        let process = serde_json::json!({"cwd": "/", "args": ["x"], "user": user});
        serde_json::from_value(serde_json::json!({
            "ociVersion": "1.3.0", "process": process, "annotations": annotations,
        }))
        .unwrap()
    }

    #[test]
    fn groups_are_kept_where_that_is_allowed() {
        let allowed = [KEEP_GROUPS.to_owned()];
        let asked = spec(serde_json::json!({KEEP_GROUPS: "1"}), &[]);
        assert_eq!(keeps_groups(&asked, &allowed), (true, None));
        let (keeps, told) = keeps_groups(&asked, &[]);
        assert!(!keeps && told.unwrap().contains("ignored: annotations.allow"));
        let more = spec(serde_json::json!({KEEP_GROUPS: "1"}), &[7]);
        let (keeps, told) = keeps_groups(&more, &allowed);
        assert!(keeps && told.unwrap().contains("additionalGids is passed over"));
        for other in [serde_json::json!({KEEP_GROUPS: "0"}), serde_json::json!({})] {
            assert_eq!(keeps_groups(&spec(other, &[]), &allowed), (false, None));
        }
    }

    #[test]
    fn a_label_is_a_context_unless_another_kind_is_asked_for() {
        let kind = |word: &str| context_type(&spec(serde_json::json!({CONTEXT_TYPE: word}), &[]));
        assert_eq!(context_type(&spec(serde_json::json!({}), &[])).unwrap(), c"context");
        assert_eq!(kind("rootcontext").unwrap(), c"rootcontext");
        assert!(kind("size").unwrap_err().to_string().contains("\"size\" is none of"));
    }
}
