//! Annotations of crun's that engines send (`run.oci.*`), as far as they are heard here.
//!
//! Engines copy an image's annotations into config.json, so what gives a payload more than
//! config.json does counts only where the administrator allows the annotation by its name.

use std::ffi::CStr;
use std::path::PathBuf;

use oci_spec::runtime::Spec;
use seccompiler::sock_filter;

use super::base64;
use super::seccomp::{Filter, Flags};
use crate::config::annotations::{KEEP_GROUPS, PIDFD_RECEIVER, SECCOMP_BPF_DATA};
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
    if let Some(told) = refused(KEEP_GROUPS, allowed) {
        return (false, Some(told));
    }
    let process = spec.process().as_ref();
    let others = process.and_then(|process| process.user().additional_gids().as_ref());
    match others.is_some_and(|groups| !groups.is_empty()) {
        true => {
            let what = "process.user.additionalGids is passed over";
            (true, Some(format!("annotation {KEEP_GROUPS}: {what}")))
        }
        false => (true, None),
    }
}

/// The socket that gets a pidfd of the first process, and what is to be told.
///
/// # Errors
/// It is no absolute path.
pub fn pidfd_receiver(
    spec: &Spec,
    allowed: &[String],
) -> Result<(Option<PathBuf>, Option<String>)> {
    let Some(path) = value(spec, PIDFD_RECEIVER) else { return Ok((None, None)) };
    if let Some(told) = refused(PIDFD_RECEIVER, allowed) {
        return Ok((None, Some(told)));
    }
    match path.starts_with('/') {
        true => Ok((Some(PathBuf::from(path)), None)),
        false => Err(Error::config(format!(
            "annotations: {PIDFD_RECEIVER}: {path:?} is no absolute path"
        ))),
    }
}

/// The most instructions that the kernel takes (`BPF_MAXINSNS`, linux/bpf_common.h).
const MAX_INSTRUCTIONS: usize = 4096;

/// The filter that stands in the place of `linux.seccomp`, and what is to be told. It has no
/// flags, and what the kernel does not take it refuses when the filter is loaded.
///
/// # Errors
/// It is no base64, or no whole number of instructions that the kernel would take.
pub fn raw_filter(spec: &Spec, allowed: &[String]) -> Result<(Option<Filter>, Option<String>)> {
    let Some(text) = value(spec, SECCOMP_BPF_DATA) else { return Ok((None, None)) };
    if let Some(told) = refused(SECCOMP_BPF_DATA, allowed) {
        return Ok((None, Some(told)));
    }
    let wrong = |what: &str| Error::config(format!("annotations: {SECCOMP_BPF_DATA}: {what}"));
    let bytes = base64::decode(text).ok_or_else(|| wrong("is no base64"))?;
    let count = bytes.len() / 8;
    if !bytes.len().is_multiple_of(8) || !(1..=MAX_INSTRUCTIONS).contains(&count) {
        return Err(wrong("is not 1 to 4096 instructions of 8 bytes each"));
    }
    let instruction = |bytes: &[u8; 8]| {
        let [a, b, jt, jf, k @ ..] = *bytes;
        sock_filter { code: u16::from_ne_bytes([a, b]), jt, jf, k: u32::from_ne_bytes(k) }
    };
    let program = bytes.as_chunks().0.iter().map(instruction).collect();
    let filter = Filter { program, flags: Flags::empty(), listener: None, warnings: Vec::new() };
    Ok((Some(filter), None))
}

/// What is told of an annotation that counts only where it is allowed, and is not.
fn refused(name: &str, allowed: &[String]) -> Option<String> {
    let told = || {
        format!("annotation {name}: ignored: annotations.allow of the settings does not have it")
    };
    (!allowed.iter().any(|allowed| allowed == name)).then(told)
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
    fn a_filter_of_ones_own_needs_leave_and_is_whole() {
        let allowed = [SECCOMP_BPF_DATA.to_owned()];
        // ret ALLOW: code 0x06, k 0x7fff0000.
        let text = "BgAAAAAA/38=";
        let asked = |text: &str| spec(serde_json::json!({SECCOMP_BPF_DATA: text}), &[]);
        let (filter, told) = raw_filter(&asked(text), &allowed).unwrap();
        let filter = filter.unwrap();
        assert_eq!((filter.program[0].code, filter.program[0].k), (0x06, 0x7fff_0000));
        assert!(filter.flags.is_empty() && filter.listener.is_none() && told.is_none());
        let (filter, told) = raw_filter(&asked(text), &[]).unwrap();
        assert!(filter.is_none() && told.unwrap().contains("ignored"));
        let long = "AAAA".repeat(8 * 4097 / 3 + 8);
        for wrong in ["", "BgAAAAAA", "BgAAAAAA/38", "/tmp/x.bpf", long.as_str()] {
            assert!(raw_filter(&asked(wrong), &allowed).is_err(), "{wrong:.20}");
        }
        assert!(raw_filter(&spec(serde_json::json!({}), &[]), &[]).unwrap().0.is_none());
    }

    #[test]
    fn a_receiver_needs_leave_and_a_whole_path() {
        let allowed = [PIDFD_RECEIVER.to_owned()];
        let asked = |path: &str| spec(serde_json::json!({PIDFD_RECEIVER: path}), &[]);
        let got = pidfd_receiver(&asked("/s"), &allowed).unwrap();
        assert_eq!(got, (Some(PathBuf::from("/s")), None));
        assert!(pidfd_receiver(&asked("s"), &allowed).is_err());
        let (path, told) = pidfd_receiver(&asked("/s"), &[]).unwrap();
        assert!(path.is_none() && told.unwrap().contains("ignored"));
    }

    #[test]
    fn a_label_is_a_context_unless_another_kind_is_asked_for() {
        let kind = |word: &str| context_type(&spec(serde_json::json!({CONTEXT_TYPE: word}), &[]));
        assert_eq!(context_type(&spec(serde_json::json!({}), &[])).unwrap(), c"context");
        assert_eq!(kind("rootcontext").unwrap(), c"rootcontext");
        assert!(kind("size").unwrap_err().to_string().contains("\"size\" is none of"));
    }
}
