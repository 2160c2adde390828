//! Kubernetes manifests: Pods, with the ConfigMaps, Secrets and claims they refer to.

mod container;
mod env;
mod pod;
mod probe;
mod restart;
mod security;
mod volume;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as api;

use super::tree::Node;
use super::{Notes, Object};
use crate::pod::model::Pod;

pub(super) use probe::{Times, probe};

/// The objects of a file that pods refer to, by name.
#[derive(Default)]
struct Shelf {
    configs: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    secrets: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
}

/// The pods of a file's documents.
pub(super) fn pods(notes: &mut Notes, documents: &[Node]) -> Vec<Pod> {
    let mut shelf = Shelf::default();
    let mut pods = Vec::new();
    for tree in documents {
        let mut object = Object { notes, tree };
        match (text(tree, "kind"), text(tree, "apiVersion")) {
            ("Pod", "v1") => pods.push(tree),
            ("ConfigMap", "v1") => config(&mut object, &mut shelf),
            ("Secret", "v1") => secret(&mut object, &mut shelf),
            ("PersistentVolumeClaim", "v1") => claim(&mut object),
            ("", _) => object.error("kind", "missing"),
            (kind, version) => {
                let what = format!(
                    "{version} {kind}: only v1 Pod, ConfigMap, Secret and PersistentVolumeClaim"
                );
                object.error("kind", what);
            }
        }
    }
    let pods: Vec<Pod> = pods
        .into_iter()
        .filter_map(|tree| {
            let mut object = Object { notes, tree };
            let typed = object.typed::<api::Pod>()?;
            pod::pod(&mut object, typed, &shelf)
        })
        .collect();
    for (at, pod) in pods.iter().enumerate() {
        let same = |other: &Pod| other.name == pod.name && other.namespace == pod.namespace;
        if pods[..at].iter().any(same) {
            notes.errors.push(format!("{}: two pods are named {:?}", notes.file, pod.name));
        }
    }
    pods
}

fn text<'a>(tree: &'a Node, key: &str) -> &'a str {
    tree.get(key).and_then(Node::text).unwrap_or_default()
}

fn config(object: &mut Object<'_>, shelf: &mut Shelf) {
    let Some(api::ConfigMap { binary_data, data, immutable: _, metadata }) = object.typed() else {
        return;
    };
    let texts = data.unwrap_or_default().into_iter().map(|(key, text)| (key, text.into_bytes()));
    let bytes = binary_data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0));
    let all = texts.chain(bytes).collect();
    put(object, &mut shelf.configs, metadata.name, all);
}

fn secret(object: &mut Object<'_>, shelf: &mut Shelf) {
    let Some(api::Secret { data, immutable: _, metadata, string_data, type_: _ }) = object.typed()
    else {
        return;
    };
    let bytes = data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0));
    let texts =
        string_data.unwrap_or_default().into_iter().map(|(key, text)| (key, text.into_bytes()));
    let all = bytes.chain(texts).collect();
    put(object, &mut shelf.secrets, metadata.name, all);
}

fn put(
    object: &mut Object<'_>,
    shelf: &mut BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    name: Option<String>,
    data: BTreeMap<String, Vec<u8>>,
) {
    for key in data.keys() {
        if !volume::is_key(key) {
            object.error("data", format!("{key:?}: letters, digits, -, _ and . only"));
        }
    }
    let Some(name) = name else { return object.error("metadata.name", "missing") };
    if shelf.insert(name.clone(), data).is_some() {
        object.error("metadata.name", format!("a second object is named {name:?}"));
    }
}

/// A claim is a directory here; what it asks of a storage class means nothing.
fn claim(object: &mut Object<'_>) {
    if let Some(api::PersistentVolumeClaim { metadata, spec, status: _ }) = object.typed() {
        if !metadata.name.as_deref().is_some_and(volume::is_name) {
            object.error("metadata.name", "missing, or not lower-case letters, digits, - and .");
        }
        object.idle("spec.storageClassName", &spec.and_then(|spec| spec.storage_class_name));
    }
}
