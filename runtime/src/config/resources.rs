//! Checks on `linux.resources` that need nothing of the host.

use oci_spec::runtime::{LinuxResources, Spec};

use super::finding::wrong;
use crate::error::Result;

/// Refuses limits that contradict each other or limit nothing.
///
/// # Errors
/// The field and the cause.
pub fn check(spec: &Spec, _: &mut Vec<String>) -> Result<()> {
    match spec.linux().as_ref().and_then(|linux| linux.resources().as_ref()) {
        Some(resources) => check_resources(resources),
        None => Ok(()),
    }
}

/// The same for resources of their own.
///
/// # Errors
/// The field and the cause.
pub fn check_resources(resources: &LinuxResources) -> Result<()> {
    cpu(resources)?;
    block_io(resources)?;
    network(resources)?;
    rdma(resources)
}

/// The kernel accumulates no more than a quota (config-linux.md, "burst"). A
/// quota of 0 or below is none.
fn cpu(resources: &LinuxResources) -> Result<()> {
    let Some(cpu) = resources.cpu() else { return Ok(()) };
    let quota = cpu.quota().and_then(|quota| u64::try_from(quota).ok()).unwrap_or(0);
    match cpu.burst() {
        Some(burst) if quota > 0 && burst > quota => {
            let cause = format!("{burst} is more than the quota of {quota}");
            Err(wrong("linux.resources.cpu.burst", cause))
        }
        _ => Ok(()),
    }
}

/// An entry without any weight says nothing about its device.
fn block_io(resources: &LinuxResources) -> Result<()> {
    let Some(io) = resources.block_io() else { return Ok(()) };
    for (index, device) in io.weight_device().iter().flatten().enumerate() {
        if device.weight().is_none() && device.leaf_weight().is_none() {
            let field = format!("linux.resources.blockIO.weightDevice[{index}]");
            return Err(wrong(&field, "needs weight or leafWeight"));
        }
    }
    Ok(())
}

/// A priority is one of an interface (config-linux.md, "priorities").
fn network(resources: &LinuxResources) -> Result<()> {
    let priorities = resources.network().as_ref().and_then(|network| network.priorities().as_ref());
    for (index, entry) in priorities.into_iter().flatten().enumerate() {
        if entry.name().is_empty() {
            let field = format!("linux.resources.network.priorities[{index}].name");
            return Err(wrong(&field, "is required"));
        }
    }
    Ok(())
}

fn rdma(resources: &LinuxResources) -> Result<()> {
    for (name, limits) in resources.rdma().iter().flatten() {
        if limits.hca_handles().is_none() && limits.hca_objects().is_none() {
            let field = format!("linux.resources.rdma[{name:?}]");
            return Err(wrong(&field, "needs hcaHandles or hcaObjects"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(resources: &str) -> Option<String> {
        let resources: LinuxResources = serde_json::from_str(resources).unwrap();
        check_resources(&resources).err().map(|error| error.to_string())
    }

    #[test]
    fn a_burst_is_no_larger_than_a_positive_quota() {
        let error = error_of(r#"{"cpu": {"quota": 1000, "burst": 1001}}"#).unwrap();
        assert_eq!(error, "linux.resources.cpu.burst: 1001 is more than the quota of 1000");
        for good in [
            r#"{"cpu": {"quota": 1000, "burst": 1000}}"#,
            r#"{"cpu": {"quota": -1, "burst": 1001}}"#,
            r#"{"cpu": {"quota": 0, "burst": 1001}}"#,
            r#"{"cpu": {"burst": 1001}}"#,
            "{}",
        ] {
            assert_eq!(error_of(good), None, "{good}");
        }
    }

    #[test]
    fn a_weight_entry_has_a_weight() {
        let error = error_of(
            r#"{"blockIO": {"weightDevice": [{"major":8,"minor":0,"weight":10},{"major":8,"minor":1}]}}"#,
        );
        let wanted = "linux.resources.blockIO.weightDevice[1]: needs weight or leafWeight";
        assert_eq!(error.as_deref(), Some(wanted));
        let good = r#"{"blockIO": {"weightDevice": [{"major":8,"minor":0,"leafWeight":10}]}}"#;
        assert_eq!(error_of(good), None);
    }

    #[test]
    fn a_priority_is_of_an_interface() {
        let error = error_of(r#"{"network": {"priorities": [{"name": "a"}, {"priority": 1}]}}"#);
        assert_eq!(error.unwrap(), "linux.resources.network.priorities[1].name: is required");
    }

    #[test]
    fn an_rdma_entry_limits_something() {
        let error = error_of(r#"{"rdma": {"mlx5_1": {}}}"#).unwrap();
        assert_eq!(error, "linux.resources.rdma[\"mlx5_1\"]: needs hcaHandles or hcaObjects");
        assert_eq!(error_of(r#"{"rdma": {"mlx5_1": {"hcaHandles": 3}}}"#), None);
        assert_eq!(error_of(r#"{"rdma": {"mlx5_1": {"hcaObjects": 0}}}"#), None);
    }
}
