//! The PID 1 that the runtime carries inside itself.

/// The `rich-init` program, a static executable for this machine's architecture: put it in
/// a sealed memfd and execute it as `rich-init [option...] -- command [argument...]`.
pub static RICH_INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rich-init"));

#[cfg(test)]
mod tests {
    use super::RICH_INIT;

    #[test]
    fn is_a_small_executable() {
        assert!(RICH_INIT.starts_with(b"\x7fELF"));
        assert!(RICH_INIT.len() <= 64 * 1024, "{} bytes", RICH_INIT.len());
    }
}
