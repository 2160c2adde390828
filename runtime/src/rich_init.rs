//! The PID 1 that the runtime carries inside itself.

/// The `rich-init` program, a static executable for this machine's architecture: put it in
/// a sealed memfd and execute it as `rich-init [option...] -- command [argument...]`.
pub static RICH_INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rich-init"));

/// The same program with services, larger: `rich-init --services PLAN:SOCKET [option...] --
/// command`, the numbers being those of descriptors.
pub static RICH_INIT_SERVICES: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/rich-init-services"));

#[cfg(test)]
mod tests {
    use super::{RICH_INIT, RICH_INIT_SERVICES};

    #[test]
    fn is_a_small_executable() {
        assert!(RICH_INIT.starts_with(b"\x7fELF"));
        assert!(RICH_INIT.len() <= 64 * 1024, "{} bytes", RICH_INIT.len());
        let size = RICH_INIT_SERVICES.len();
        assert!(RICH_INIT_SERVICES.starts_with(b"\x7fELF") && size <= 160 * 1024, "{size} bytes");
    }
}
