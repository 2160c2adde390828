//! The built-in PID 1 in front of the payload.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use caps::Capability;
use rustix::fs::Mode;

use super::own_image::sealed_image;
use crate::config::rich::{RichConfig, RichMode};
use crate::error::{Result, Step};
use crate::plan::Plan;
use crate::plan::process::CapPlan;
use crate::rich_init::{RICH_INIT, RICH_INIT_SERVICES};

/// The program, in memory that nobody can write to: nothing of it is in the
/// image, and a container that writes to `/proc/1/exe` changes nothing.
pub fn image(services: bool) -> Result<OwnedFd> {
    let image = sealed_image(c"rich-init", if services { RICH_INIT_SERVICES } else { RICH_INIT })?;
    // Who executes what it may not read cannot be traced by others of its user, not even
    // before rich-init itself has said so.
    rustix::fs::fchmod(&image, Mode::from_raw_mode(0o111))
        .step(|| "image of rich-init in memory: make it unreadable")?;
    Ok(image)
}

/// What tells it of the descriptors that it inherits; nothing without services.
pub fn services_option(services: Option<(i32, i32)>) -> Vec<CString> {
    let pair = services.and_then(|(plan, control)| CString::new(format!("{plan}:{control}")).ok());
    pair.map_or_else(Vec::new, |pair| vec![c"--services".to_owned(), pair])
}

/// Whether it may have a descriptor to a file of the host's, for how its payload ended: one that
/// could be taken from it by tracing would let the container write as much as it likes.
pub fn may_record(plan: &Plan) -> bool {
    let traces = |caps: &CapPlan| caps.bounding.contains(&Capability::CAP_SYS_PTRACE);
    plan.rich.as_ref().is_some_and(|rich| rich.mode == RichMode::DumbInit)
        && !traces(&plan.process.caps)
}

/// What tells it of the descriptor of its record.
pub fn record_option(record: Option<i32>) -> Vec<CString> {
    let number = record.and_then(|record| CString::new(record.to_string()).ok());
    number.map_or_else(Vec::new, |number| vec![c"--record".to_owned(), number])
}

/// Its command line for a payload; `inherited`: the options that tell of descriptors.
pub fn arguments<'a>(
    config: &RichConfig,
    inherited: &'a [CString],
    payload: &'a [CString],
) -> Vec<&'a CStr> {
    let own: &[&CStr] = match config.mode {
        RichMode::DumbInit => &[c"--"],
        RichMode::Systemd | RichMode::SbinInit => &[c"--hand-off"],
    };
    let name = std::iter::once(c"rich-init").chain(inherited.iter().map(CString::as_c_str));
    name.chain(own.iter().copied()).chain(payload.iter().map(CString::as_c_str)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::trust::{Origin, Rights};

    #[test]
    fn the_payload_follows_two_dashes() {
        let payload = [c"sh".to_owned(), c"--".to_owned()];
        let mut config = RichConfig {
            mode: RichMode::DumbInit,
            asked_by: Origin::Name,
            granted: Rights::default(),
            scripts: Vec::new(),
            init_timeout: 60,
            environment_file: true,
            stop_signal: None,
        };
        assert_eq!(arguments(&config, &[], &payload), [c"rich-init", c"--", c"sh", c"--"]);
        assert!(services_option(None).is_empty());
        let services = services_option(Some((7, 8)));
        let words = [c"rich-init", c"--services", c"7:8", c"--", c"sh", c"--"];
        assert_eq!(arguments(&config, &services, &payload), words);
        config.mode = RichMode::Systemd;
        let init = [c"/sbin/init".to_owned()];
        assert_eq!(arguments(&config, &[], &init), [c"rich-init", c"--hand-off", c"/sbin/init"]);
    }
}
