//! Which network devices of the host the container gets.

use oci_spec::runtime::Spec;

/// A device of the host that becomes the container's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name on the host.
    pub host: String,
    /// Its name in the container; a template where it has a `%d`.
    pub inside: String,
}

/// The devices by their names: templates get their numbers in this order.
pub fn net_devices(spec: &Spec) -> Vec<NetDevice> {
    let linux = spec.linux().as_ref();
    let asked = linux.and_then(|linux| linux.net_devices().as_ref());
    let mut devices: Vec<NetDevice> = asked
        .into_iter()
        .flatten()
        .map(|(host, device)| {
            let inside = device.name().clone().filter(|name| !name.is_empty());
            NetDevice { host: host.clone(), inside: inside.unwrap_or_else(|| host.clone()) }
        })
        .collect();
    devices.sort_by(|one, other| one.host.cmp(&other.host));
    devices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_keeps_its_name_unless_another_is_given() {
        let text = r#"{"ociVersion": "1.3.0", "linux": {"netDevices":
            {"eth1": {"name": "e%d"}, "eth0": {}, "eth2": {"name": ""}}}}"#;
        let spec: Spec = serde_json::from_str(text).unwrap();
        let names = net_devices(&spec).into_iter().map(|device| (device.host, device.inside));
        let wanted = [("eth0", "eth0"), ("eth1", "e%d"), ("eth2", "eth2")];
        assert_eq!(names.collect::<Vec<_>>(), wanted.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }
}
