//! Users, capabilities and filters: the pod's, then the container's own.

use k8s_openapi::api::core::v1 as api;

use super::super::Object;
use crate::pod::model::{Seccomp, Security};
use crate::spec::rights;

pub(super) fn security(
    object: &mut Object<'_>,
    path: &str,
    typed: &api::Container,
    pod: &api::PodSecurityContext,
) -> Security {
    let path = format!("{path}.securityContext");
    let of_pod = "spec.securityContext";
    let api::PodSecurityContext {
        app_armor_profile: pod_apparmor,
        fs_group: _,
        fs_group_change_policy: _,
        run_as_group: pod_group,
        run_as_non_root: pod_non_root,
        run_as_user: pod_user,
        se_linux_change_policy,
        se_linux_options: pod_selinux,
        seccomp_profile: pod_seccomp,
        supplemental_groups,
        supplemental_groups_policy,
        sysctls: _,
        windows_options: pod_windows,
    } = pod;
    let api::SecurityContext {
        allow_privilege_escalation,
        app_armor_profile,
        capabilities,
        privileged,
        proc_mount,
        read_only_root_filesystem,
        run_as_group,
        run_as_non_root,
        run_as_user,
        se_linux_options,
        seccomp_profile,
        windows_options,
    } = typed.security_context.clone().unwrap_or_default();
    object.refuse(&format!("{of_pod}.windowsOptions"), pod_windows);
    object.refuse(&format!("{path}.windowsOptions"), &windows_options);
    object.idle(&format!("{of_pod}.seLinuxChangePolicy"), se_linux_change_policy);
    let strict = supplemental_groups_policy.as_ref().filter(|policy| *policy != "Merge");
    object.refuse(&format!("{of_pod}.supplementalGroupsPolicy"), &strict);
    let mut id = |name: &str, value: Option<i64>| {
        let id = value.and_then(|id| u32::try_from(id).ok().filter(|id| *id < u32::MAX));
        if value.is_some() && id.is_none() {
            object.error(&format!("{path}.{name}"), "not a user or group number");
        }
        id
    };
    let user = id("runAsUser", run_as_user.or(*pod_user));
    let group = id("runAsGroup", run_as_group.or(*pod_group));
    let groups = supplemental_groups.iter().flatten().chain(pod.fs_group.as_ref());
    let groups: Vec<u32> =
        groups.filter_map(|group| id("supplementalGroups", Some(*group))).collect();
    let non_root = run_as_non_root.or(*pod_non_root) == Some(true);
    if non_root && user == Some(0) {
        object.error(&format!("{path}.runAsNonRoot"), "runAsUser is 0");
    }
    let unmasked_proc = match proc_mount.as_deref() {
        None | Some("Default") => false,
        Some("Unmasked") => true,
        Some(_) => {
            object.error(&format!("{path}.procMount"), "Default or Unmasked");
            false
        }
    };
    let capabilities = capabilities.unwrap_or_default();
    let privileged = privileged == Some(true);
    if privileged && allow_privilege_escalation == Some(false) {
        let path = format!("{path}.allowPrivilegeEscalation");
        object.error(&path, "cannot be false with privileged");
    }
    Security {
        user,
        group,
        groups,
        non_root,
        privileged,
        add: names(object, &path, capabilities.add),
        drop: names(object, &path, capabilities.drop),
        read_only_root: read_only_root_filesystem == Some(true),
        escalation: allow_privilege_escalation != Some(false),
        seccomp: seccomp(object, &path, seccomp_profile.or(pod_seccomp.clone())),
        apparmor: apparmor(object, &path, app_armor_profile.or(pod_apparmor.clone())),
        selinux: se_linux_options.or(pod_selinux.clone()).map(|options| label(&options)),
        unmasked_proc,
    }
}

fn names(object: &mut Object<'_>, path: &str, names: Option<Vec<String>>) -> Vec<String> {
    let names = names.unwrap_or_default();
    for name in names.iter().filter(|name| !rights::is_known(name)) {
        let what = format!("nobody knows the capability {name:?}");
        object.error(&format!("{path}.capabilities"), &what);
    }
    names
}

fn seccomp(object: &mut Object<'_>, path: &str, typed: Option<api::SeccompProfile>) -> Seccomp {
    let Some(api::SeccompProfile { localhost_profile, type_ }) = typed else {
        return Seccomp::Unconfined;
    };
    match (type_.as_str(), localhost_profile) {
        ("Unconfined", None) => Seccomp::Unconfined,
        ("RuntimeDefault", None) => Seccomp::RuntimeDefault,
        ("Localhost", Some(file)) => Seccomp::File(file),
        _ => {
            let what = "Unconfined, RuntimeDefault, or Localhost with a localhostProfile";
            object.error(&format!("{path}.seccompProfile"), what);
            Seccomp::Unconfined
        }
    }
}

fn apparmor(
    object: &mut Object<'_>,
    path: &str,
    typed: Option<api::AppArmorProfile>,
) -> Option<String> {
    let api::AppArmorProfile { localhost_profile, type_ } = typed?;
    match (type_.as_str(), localhost_profile) {
        ("Unconfined" | "RuntimeDefault", None) => None,
        ("Localhost", Some(name)) => Some(name),
        _ => {
            let what = "Unconfined, RuntimeDefault, or Localhost with a localhostProfile";
            object.error(&format!("{path}.appArmorProfile"), what);
            None
        }
    }
}

fn label(options: &api::SELinuxOptions) -> String {
    let part = |part: &Option<String>, default: &str| part.clone().unwrap_or(default.to_owned());
    let user = part(&options.user, "system_u");
    let role = part(&options.role, "system_r");
    let kind = part(&options.type_, "container_t");
    format!("{user}:{role}:{kind}:{}", part(&options.level, "s0"))
}
