//! Images: from where they lie to a container's root.
//!
//! ```text
//! source        ImageSource: an image as a SOURCE (its names: crate::source::Reference)
//! fetch         -> layout, archive   where its bytes lie, its documents
//!               -> store             layers unpacked once by content, records, garbage
//!                  -> unpack         one layer's tar stream to one directory
//! rootfs        layers under a writable one, by overlayfs
//! config        what an image says about how it is run
//! userns        the same for an ordinary user
//! ```
//!
//! All of an image is somebody else's: documents are bounded and held to their digests,
//! and a layer is written by descriptors, never outside of its directory.

pub mod archive;
pub mod config;
pub mod digest;
pub mod fetch;
pub mod layout;
pub mod limits;
pub mod progress;
pub mod rootfs;
mod source;
pub mod store;
mod sys;
pub mod unpack;
pub mod userns;

pub use source::ImageSource;
