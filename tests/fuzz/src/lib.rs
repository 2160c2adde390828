//! Fuzz targets: each reads bytes that somebody else wrote, as the runtime, PID 1 or the
//! hooks would, and must neither panic, nor hang, nor take more than its share of time
//! and memory.
//!
//! The targets are plain functions. `tests/corpus.rs` runs each over its corpus, over
//! seeded mutations of it, and over documents that grow, in every `make test`, with the
//! stable compiler; `libfuzzer/` runs the same ones guided by coverage (`make fuzz`).

pub mod growth;
pub mod mutate;
mod targets;

pub use targets::TARGETS;

/// One reader of foreign bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and its corpus's: `corpus/NAME/`.
    pub name: &'static str,
    /// Reads the bytes; a panic is a fault.
    pub run: fn(&[u8]),
}

/// Runs the target of that name.
///
/// # Panics
/// There is none.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.unwrap_or_else(|| panic!("no target {name}")).run)(bytes);
}
