//! Volumes and where they are mounted.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use k8s_openapi::api::core::v1 as api;

use super::super::{Object, expand::expand, quantity};
use super::Shelf;
use crate::pod::model::{File, Mount, Pod, Volume};

/// Kubernetes' mode of a file of a ConfigMap or Secret.
const MODE: i32 = 0o644;

/// A name of Kubernetes: it becomes a directory's.
pub(super) fn is_name(name: &str) -> bool {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() <= 253
        && name.chars().all(ok)
        && edge(name.chars().next())
        && edge(name.chars().last())
}

/// A key of a ConfigMap or Secret: it becomes a file's name.
pub(super) fn is_key(key: &str) -> bool {
    let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !key.is_empty() && key.len() <= 253 && key.chars().all(ok) && key != "." && key != ".."
}

/// Whether a path stays where it is put.
fn is_below(path: &str) -> bool {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    !path.is_empty() && !path.contains('\0') && Path::new(path).components().all(plain)
}

/// A field of the pod that is known before it runs.
pub(super) fn field(pod: &Pod, path: &str) -> Option<String> {
    let key = |prefix: &str| path.strip_prefix(prefix)?.strip_suffix("']");
    match path {
        "metadata.name" => Some(pod.name.clone()),
        "metadata.namespace" => Some(pod.namespace.clone()),
        "spec.serviceAccountName" => Some("default".into()),
        _ => match (key("metadata.labels['"), key("metadata.annotations['")) {
            (Some(key), _) => Some(pod.labels.get(key).cloned().unwrap_or_default()),
            (_, Some(key)) => Some(pod.annotations.get(key).cloned().unwrap_or_default()),
            _ => None,
        },
    }
}

/// Where a container's volumes are mounted.
pub(super) fn mounts(
    object: &mut Object<'_>,
    path: &str,
    typed: &api::Container,
    pod: &Pod,
    env: &[(String, String)],
) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for (at, mount) in typed.volume_mounts.iter().flatten().enumerate() {
        let path = format!("{path}.volumeMounts[{at}]");
        let api::VolumeMount {
            mount_path,
            mount_propagation,
            name,
            read_only,
            recursive_read_only,
            sub_path,
            sub_path_expr,
        } = mount;
        let strict = recursive_read_only.as_ref().filter(|how| *how == "Enabled");
        object.refuse(&format!("{path}.recursiveReadOnly"), &strict);
        if !pod.volumes.contains_key(name) {
            object.error(&path, format!("there is no volume {name:?}"));
        }
        let value =
            |name: &str| env.iter().rev().find(|(key, _)| key == name).map(|(_, v)| v.clone());
        let sub = sub_path_expr.as_ref().map(|text| expand(text, value)).or(sub_path.clone());
        let sub = sub.filter(|sub| !sub.is_empty());
        if sub.as_deref().is_some_and(|sub| !is_below(sub)) {
            object.error(&path, "subPath has to be relative and without ..");
        }
        // A relative path counts from the root, as with every engine.
        let target = format!("/{}", mount_path.trim_start_matches('/'));
        if target == "/" || target.split('/').any(|part| part == "..") || target.contains('\0') {
            object.error(&path, format!("mountPath {mount_path:?} cannot be mounted over"));
        }
        if mounts.iter().any(|mount| mount.path == target) {
            object.error(&path, format!("two volumes at {target}"));
        }
        let propagation = mount_propagation.clone().filter(|how| how != "None");
        if !matches!(propagation.as_deref(), None | Some("HostToContainer" | "Bidirectional")) {
            object.error(&path, "mountPropagation is None, HostToContainer or Bidirectional");
        }
        mounts.push(Mount {
            volume: name.clone(),
            path: target,
            sub_path: sub,
            read_only: *read_only == Some(true),
            propagation,
        });
    }
    mounts
}

/// A pod's volumes.
pub(super) fn volumes(
    object: &mut Object<'_>,
    typed: &[api::Volume],
    shelf: &Shelf,
    pod: &Pod,
) -> BTreeMap<String, Volume> {
    let mut volumes = BTreeMap::new();
    for (at, volume) in typed.iter().enumerate() {
        let path = format!("spec.volumes[{at}]");
        if !is_name(&volume.name) {
            object.error(&format!("{path}.name"), "not lower-case letters, digits and -");
        }
        if let Some(read) = one(object, &path, volume, shelf, pod)
            && volumes.insert(volume.name.clone(), read).is_some()
        {
            object.error(&path, format!("two volumes are named {:?}", volume.name));
        }
    }
    volumes
}

fn one(
    object: &mut Object<'_>,
    path: &str,
    typed: &api::Volume,
    shelf: &Shelf,
    pod: &Pod,
) -> Option<Volume> {
    if let Some(api::HostPathVolumeSource { path: host, type_ }) = &typed.host_path {
        if !host.starts_with('/') || host.split('/').any(|part| part == "..") {
            object.error(path, "hostPath has to be absolute and without ..");
        }
        return Some(Volume::HostPath {
            path: host.clone(),
            kind: type_.clone().unwrap_or_default(),
        });
    }
    if let Some(api::EmptyDirVolumeSource { medium, size_limit }) = &typed.empty_dir {
        let memory = match medium.as_deref() {
            None | Some("") => false,
            Some("Memory") => true,
            Some(_) => {
                object.error(path, "medium is empty or Memory");
                false
            }
        };
        let size = size_limit.as_ref().and_then(|size| quantity::whole(&size.0));
        if size_limit.is_some() && size.is_none() {
            object.error(path, "sizeLimit is not a quantity");
        } else if size.is_some() && !memory {
            object.warn(path, "sizeLimit is kept in memory only");
        }
        return Some(Volume::EmptyDir { memory, size });
    }
    if let Some(map) = &typed.config_map {
        let mut files = Files { object, path, mode: map.default_mode, files: Vec::new() };
        files.take(&map.name, map.optional, map.items.as_deref(), &shelf.configs);
        return Some(Volume::Files(files.files));
    }
    if let Some(secret) = &typed.secret {
        let mut files = Files { object, path, mode: secret.default_mode, files: Vec::new() };
        let name = secret.secret_name.as_deref().unwrap_or_default();
        files.take(name, secret.optional, secret.items.as_deref(), &shelf.secrets);
        return Some(Volume::Files(files.files));
    }
    if let Some(down) = &typed.downward_api {
        let mut files = Files { object, path, mode: down.default_mode, files: Vec::new() };
        files.fields(down.items.as_deref(), pod);
        return Some(Volume::Files(files.files));
    }
    if let Some(projected) = &typed.projected {
        let mut files = Files { object, path, mode: projected.default_mode, files: Vec::new() };
        files.project(projected, shelf, pod);
        return Some(Volume::Files(files.files));
    }
    if let Some(claim) = &typed.persistent_volume_claim {
        if !is_name(&claim.claim_name) {
            object.error(path, "claimName is not lower-case letters, digits, - and .");
        }
        let read_only = claim.read_only == Some(true);
        return Some(Volume::Claim { name: claim.claim_name.clone(), read_only });
    }
    // No source at all is an emptyDir for Kubernetes; any other source is unknown here.
    let bare = api::Volume { name: typed.name.clone(), ..api::Volume::default() };
    if *typed != bare {
        let kinds = "hostPath, emptyDir, configMap, secret, downwardAPI, projected and \
                     persistentVolumeClaim";
        object.error(path, format!("not supported here; there are {kinds}"));
        return None;
    }
    Some(Volume::EmptyDir { memory: false, size: None })
}

/// Files that are gathered for one volume.
struct Files<'a, 'b> {
    object: &'a mut Object<'b>,
    path: &'a str,
    mode: Option<i32>,
    files: Vec<File>,
}

impl Files<'_, '_> {
    fn add(&mut self, path: &str, mode: Option<i32>, bytes: Vec<u8>) {
        if !is_below(path) {
            return self.object.error(self.path, format!("{path:?}: relative, without .."));
        }
        let mode = mode.or(self.mode).unwrap_or(MODE);
        match u32::try_from(mode) {
            Ok(mode) if mode <= 0o777 => {
                self.files.push(File { path: path.to_owned(), bytes, mode });
            }
            _ => self.object.error(self.path, format!("mode {mode}: 0 to 511 (octal 0777)")),
        }
    }

    fn take(
        &mut self,
        name: &str,
        optional: Option<bool>,
        items: Option<&[api::KeyToPath]>,
        things: &BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    ) {
        let optional = optional == Some(true);
        let Some(data) = things.get(name) else {
            if !optional {
                let what = format!("nothing in this file is named {name:?}");
                self.object.error(self.path, what);
            }
            return;
        };
        let Some(items) = items.filter(|items| !items.is_empty()) else {
            return data.iter().for_each(|(key, bytes)| self.add(key, None, bytes.clone()));
        };
        for item in items {
            match data.get(&item.key) {
                Some(bytes) => self.add(&item.path, item.mode, bytes.clone()),
                None if optional => {}
                None => {
                    let what = format!("{name:?} has no {:?}", item.key);
                    self.object.error(self.path, what);
                }
            }
        }
    }

    fn fields(&mut self, items: Option<&[api::DownwardAPIVolumeFile]>, pod: &Pod) {
        for item in items.unwrap_or_default() {
            let path = item.field_ref.as_ref().map(|field| field.field_path.as_str());
            let lines = |map: &BTreeMap<String, String>| {
                map.iter().map(|(key, value)| format!("{key}={value:?}\n")).collect::<String>()
            };
            let value = match path {
                Some("metadata.labels") => Some(lines(&pod.labels)),
                Some("metadata.annotations") => Some(lines(&pod.annotations)),
                Some(path) => field(pod, path),
                None => None,
            };
            match value {
                Some(value) => self.add(&item.path, item.mode, value.into_bytes()),
                None => self.object.error(self.path, format!("{}: not known here", item.path)),
            }
        }
    }

    fn project(&mut self, typed: &api::ProjectedVolumeSource, shelf: &Shelf, pod: &Pod) {
        for source in typed.sources.iter().flatten() {
            let api::VolumeProjection {
                cluster_trust_bundle,
                config_map,
                downward_api,
                pod_certificate,
                secret,
                service_account_token,
            } = source;
            self.object.refuse(self.path, cluster_trust_bundle);
            self.object.refuse(self.path, pod_certificate);
            self.object.refuse(self.path, service_account_token);
            if let Some(map) = config_map {
                self.take(&map.name, map.optional, map.items.as_deref(), &shelf.configs);
            }
            if let Some(secret) = secret {
                self.take(&secret.name, secret.optional, secret.items.as_deref(), &shelf.secrets);
            }
            if let Some(down) = downward_api {
                self.fields(down.items.as_deref(), pod);
            }
        }
    }
}
