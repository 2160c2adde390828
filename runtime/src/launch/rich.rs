//! The built-in PID 1 in front of the payload.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use super::own_image::sealed_image;
use crate::config::rich::{RichConfig, RichMode};
use crate::error::Result;
use crate::rich_init::RICH_INIT;

/// The program, in memory that nobody can write to: nothing of it is in the
/// image, and a container that writes to `/proc/1/exe` changes nothing.
pub fn image() -> Result<OwnedFd> {
    sealed_image(c"rich-init", RICH_INIT)
}

/// Its command line for a payload.
pub fn arguments<'a>(config: &RichConfig, payload: &'a [CString]) -> Vec<&'a CStr> {
    let own: &[&CStr] = match config.mode {
        RichMode::DumbInit => &[c"rich-init", c"--"],
        RichMode::Systemd | RichMode::SbinInit => &[c"rich-init", c"--hand-off"],
    };
    own.iter().copied().chain(payload.iter().map(CString::as_c_str)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_follows_two_dashes() {
        let payload = [c"sh".to_owned(), c"--".to_owned()];
        let mut config = RichConfig {
            mode: RichMode::DumbInit,
            scripts: Vec::new(),
            init_timeout: 60,
            environment_file: true,
            stop_signal: None,
        };
        assert_eq!(arguments(&config, &payload), [c"rich-init", c"--", c"sh", c"--"]);
        config.mode = RichMode::Systemd;
        let init = [c"/sbin/init".to_owned()];
        assert_eq!(arguments(&config, &init), [c"rich-init", c"--hand-off", c"/sbin/init"]);
    }
}
