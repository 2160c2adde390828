//! The checks on `linux.intelRdt` (runtime-spec 1.3, config-linux.md "IntelRdt").

use oci_spec::runtime::{LinuxIntelRdt, Spec};

use serde_json::Value;

use super::finding::wrong;
use crate::error::Result;

/// Directories that the kernel has made in each group of resctrl: no class has such a name.
const RESERVED: [&str; 3] = ["info", "mon_groups", "mon_data"];

/// Whether the class can have its name, and every line of a schema is one line.
pub fn check(spec: &Spec, warnings: &mut Vec<String>) -> Result<()> {
    let Some(rdt) = asked(spec) else { return Ok(()) };
    if let Some(name) = rdt.clos_id().as_deref() {
        class_name(name).map_err(|cause| wrong("linux.intelRdt.closID", cause))?;
    }
    if let Some(schema) = rdt.mem_bw_schema() {
        bandwidth_schema(schema).map_err(|cause| wrong("linux.intelRdt.memBwSchema", cause))?;
    }
    for (index, line) in rdt.schemata().iter().flatten().enumerate() {
        if line.contains('\n') {
            let field = format!("linux.intelRdt.schemata[{index}]");
            return Err(wrong(&field, "one line, without a newline"));
        }
    }
    let cache = rdt.l3_cache_schema().as_deref().unwrap_or_default();
    let bandwidth = rdt.mem_bw_schema().as_deref().unwrap_or_default();
    if !bandwidth.is_empty() && cache.lines().any(|line| line.trim_start().starts_with("MB:")) {
        warnings.push(
            "linux.intelRdt.l3CacheSchema: its lines of MB: are left out, memBwSchema has them"
                .to_owned(),
        );
    }
    Ok(())
}

/// The fields of `linux.intelRdt` that the config model spells otherwise than the
/// specification, and its words for them.
const RESPELLED: [(&str, &str); 2] = [("enableCMT", "enableCmt"), ("enableMBM", "enableMbm")];

/// Reads again, from the document that `spec` was read from, what the config model passes over.
#[allow(deprecated, reason = "configurations before 1.3 have them")]
pub(super) fn read_older_fields(spec: &mut Spec, document: &[u8]) {
    let linux = spec.linux_mut().as_mut();
    let Some(rdt) = linux.and_then(|linux| linux.intel_rdt_mut().as_mut()) else { return };
    let document: Value = serde_json::from_slice(document).unwrap_or_default();
    let field = |at: usize| document["linux"]["intelRdt"][RESPELLED[at].0].as_bool();
    rdt.set_enable_cmt(field(0));
    rdt.set_enable_mbm(field(1));
}

/// Gives the same fields of a document that the config model has written the specification's
/// names.
pub(super) fn respell(document: &mut Value) {
    let Some(rdt) = document.pointer_mut("/linux/intelRdt").and_then(Value::as_object_mut) else {
        return;
    };
    for (theirs, models) in RESPELLED {
        if let Some(value) = rdt.remove(models) {
            rdt.insert(theirs.to_owned(), value);
        }
    }
}

/// What is asked for, if anything is.
pub fn asked(spec: &Spec) -> Option<&LinuxIntelRdt> {
    spec.linux().as_ref()?.intel_rdt().as_ref()
}

/// Whether a class of resctrl may be called `name`; empty: no name is given.
fn class_name(name: &str) -> std::result::Result<(), String> {
    if name == "/" {
        return Ok(());
    }
    if name == "." || name == ".." || name.contains(['/', '\n', '\0']) || name.len() > 255 {
        return Err(format!("{name:?} is no name of a class: a directory's name, or /"));
    }
    match RESERVED.contains(&name) {
        true => Err(format!("{name:?} is no name of a class: resctrl has such a directory")),
        false => Ok(()),
    }
}

/// Whether `schema` is a line of memory bandwidth; empty: none is given.
pub fn bandwidth_schema(schema: &str) -> std::result::Result<(), &'static str> {
    match schema.is_empty() || schema.starts_with("MB:") && !schema.contains('\n') {
        true => Ok(()),
        false => Err("one line that starts with MB:"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(rdt: serde_json::Value) -> (Option<String>, Vec<String>) {
        let document = serde_json::json!({"ociVersion": "1.3.0", "linux": {"intelRdt": rdt}});
        let spec: Spec = serde_json::from_value(document).unwrap();
        let mut warnings = Vec::new();
        (check(&spec, &mut warnings).err().map(|error| error.to_string()), warnings)
    }

    #[test]
    fn names_and_schemas() {
        for good in [
            serde_json::json!({}),
            serde_json::json!({"closID": "/"}),
            serde_json::json!({"closID": ""}),
            serde_json::json!({"closID": "gold", "memBwSchema": "MB:0=20;1=70"}),
            serde_json::json!({"l3CacheSchema": "L3CODE:0=f\nL3DATA:0=f"}),
            serde_json::json!({"schemata": ["L3:0=f", "L2:0=f"], "enableMonitoring": true}),
        ] {
            assert_eq!(checked(good.clone()), (None, vec![]), "{good}");
        }
        for (bad, field) in [
            (serde_json::json!({"closID": "."}), "closID: \".\""),
            (serde_json::json!({"closID": ".."}), "closID: \"..\""),
            (serde_json::json!({"closID": "a/b"}), "closID: \"a/b\""),
            (serde_json::json!({"closID": "//"}), "closID: \"//\""),
            (serde_json::json!({"closID": "a\nb"}), "closID: \"a\\nb\""),
            (serde_json::json!({"closID": "mon_groups"}), "closID: \"mon_groups\""),
            (serde_json::json!({"memBwSchema": "L3:0=f"}), "memBwSchema: one line"),
            (serde_json::json!({"memBwSchema": "MB:0=9\nL3:0=f"}), "memBwSchema: one line"),
            (serde_json::json!({"schemata": ["L3:0=f", "MB:0=9\n"]}), "schemata[1]: one line"),
        ] {
            let said = checked(bad.clone()).0.unwrap_or_default();
            assert!(said.starts_with(&format!("linux.intelRdt.{field}")), "{bad}: {said}");
        }
    }

    #[test]
    fn older_fields_are_known_by_the_specifications_names() {
        let text = r#"{"ociVersion": "1.2.0", "linux": {"intelRdt": {"enableMBM": true}}}"#;
        let mut spec: Spec = serde_json::from_str(text).unwrap();
        read_older_fields(&mut spec, text.as_bytes());
        let mut written = serde_json::to_value(&spec).unwrap();
        respell(&mut written);
        assert_eq!(written["linux"]["intelRdt"], serde_json::json!({"enableMBM": true}));
        let document = serde_json::from_str(text).unwrap();
        assert!(crate::config::unknown::fields(&document, &spec).is_empty());
    }

    #[test]
    fn bandwidth_among_the_cache_is_told() {
        let both = serde_json::json!({"l3CacheSchema": "L3:0=f\nMB:0=9", "memBwSchema": "MB:0=5"});
        let (error, warnings) = checked(both);
        assert_eq!(error, None);
        assert!(warnings[0].contains("left out"), "{warnings:?}");
    }
}
