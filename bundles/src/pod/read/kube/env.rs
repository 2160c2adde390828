//! A container's environment: values, ConfigMaps, Secrets and the pod's own fields.

use k8s_openapi::api::core::v1 as api;

use super::super::{Object, expand::expand};
use super::Shelf;
use crate::pod::model::Pod;

/// All variables in their order; a later one counts, as with Kubernetes.
pub(super) fn env(
    object: &mut Object<'_>,
    path: &str,
    typed: &api::Container,
    pod: &Pod,
    shelf: &Shelf,
) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = Vec::new();
    for (at, source) in typed.env_from.iter().flatten().enumerate() {
        from(object, &format!("{path}.envFrom[{at}]"), source, shelf, &mut env);
    }
    for (at, one) in typed.env.iter().flatten().enumerate() {
        let path = format!("{path}.env[{at}]");
        if one.name.is_empty() || one.name.contains(['=', '\0']) {
            object.error(&path, format!("{:?} cannot be a variable's name", one.name));
        }
        let value = match (&one.value, &one.value_from) {
            (value, None) => {
                let text = value.as_deref().unwrap_or_default();
                let known = |name: &str| look_up(&env, name);
                Some(expand(text, known))
            }
            (None, Some(source)) => referred(object, &path, source, pod, shelf),
            (Some(_), Some(_)) => {
                object.error(&path, "either value or valueFrom");
                None
            }
        };
        env.extend(value.map(|value| (one.name.clone(), value)));
    }
    if env.iter().any(|(_, value)| value.contains('\0')) {
        object.error(path, "a variable's value has a NUL in it");
    }
    env
}

fn look_up(env: &[(String, String)], name: &str) -> Option<String> {
    env.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone())
}

fn from(
    object: &mut Object<'_>,
    path: &str,
    source: &api::EnvFromSource,
    shelf: &Shelf,
    env: &mut Vec<(String, String)>,
) {
    let api::EnvFromSource { config_map_ref, prefix, secret_ref } = source;
    let (name, optional, things) = match (config_map_ref, secret_ref) {
        (Some(map), None) => (&map.name, map.optional, &shelf.configs),
        (None, Some(secret)) => (&secret.name, secret.optional, &shelf.secrets),
        _ => return object.error(path, "exactly one of configMapRef and secretRef"),
    };
    let Some(data) = things.get(name) else {
        if optional != Some(true) {
            object.error(path, format!("nothing in this file is named {name:?}"));
        }
        return;
    };
    for (key, bytes) in data {
        let name = format!("{}{key}", prefix.as_deref().unwrap_or_default());
        match String::from_utf8(bytes.clone()) {
            Ok(value) => env.push((name, value)),
            Err(_) => object.error(path, format!("{key}: not a text")),
        }
    }
}

fn referred(
    object: &mut Object<'_>,
    path: &str,
    source: &api::EnvVarSource,
    pod: &Pod,
    shelf: &Shelf,
) -> Option<String> {
    let api::EnvVarSource {
        config_map_key_ref,
        field_ref,
        file_key_ref,
        resource_field_ref,
        secret_key_ref,
    } = source;
    object.refuse(&format!("{path}.valueFrom.fileKeyRef"), file_key_ref);
    object.refuse(&format!("{path}.valueFrom.resourceFieldRef"), resource_field_ref);
    let (name, key, optional, things) = match (config_map_key_ref, secret_key_ref, field_ref) {
        (Some(map), None, None) => (&map.name, &map.key, map.optional, &shelf.configs),
        (None, Some(secret), None) => (&secret.name, &secret.key, secret.optional, &shelf.secrets),
        (None, None, Some(field)) => {
            let value = super::volume::field(pod, &field.field_path);
            if value.is_none() {
                object.error(path, format!("{}: not known here", field.field_path));
            }
            return value;
        }
        _ => {
            object.error(&format!("{path}.valueFrom"), "exactly one source");
            return None;
        }
    };
    let bytes = things.get(name).and_then(|data| data.get(key));
    if bytes.is_none() && optional != Some(true) {
        object.error(path, format!("nothing in this file is named {name:?} and has {key:?}"));
    }
    match String::from_utf8(bytes?.clone()) {
        Ok(value) => Some(value),
        Err(_) => {
            object.error(path, format!("{key}: not a text"));
            None
        }
    }
}
