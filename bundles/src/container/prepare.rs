//! From a SOURCE to its root file system.

use crate::error::Result;
use crate::image::ImageSource;
use crate::source::{Bundle, PreparedRoot, Rootfs, Source, SourceKind, Workshop};

/// Prepares a source of any kind.
///
/// # Errors
/// The source's.
pub fn prepare(kind: &SourceKind, shop: &Workshop) -> Result<PreparedRoot> {
    match kind {
        SourceKind::Bundle(dir) => Bundle(dir.clone()).prepare(shop),
        SourceKind::Rootfs(dir) => Rootfs(dir.clone()).prepare(shop),
        SourceKind::Image(image) => ImageSource::new(image.clone()).prepare(shop),
    }
}
