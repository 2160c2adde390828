//! How much an image may ask for.

/// Bounds on what one layer is unpacked to, so that a small file cannot fill the disk.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a layer as stored.
    pub compressed: u64,
    /// Bytes of a layer's files.
    pub unpacked: u64,
    /// Unpacked bytes for each stored one, once `ratio_from` bytes have been unpacked.
    pub ratio: u64,
    /// Smaller layers may have any ratio: an empty file of a megabyte is no attack.
    pub ratio_from: u64,
    /// Files, directories and so on in a layer.
    pub entries: u64,
    /// Bytes of the extended headers of one entry: names, attributes.
    pub headers: u64,
    /// Bytes of manifests, indexes and configurations.
    pub document: u64,
    /// Layers of an image: overlayfs takes no more than 500.
    pub layers: usize,
}

const MIB: u64 = 1 << 20;

impl Limits {
    /// What real images stay far below.
    pub const USUAL: Limits = Limits {
        compressed: 64 * 1024 * MIB,
        unpacked: 256 * 1024 * MIB,
        ratio: 1000,
        ratio_from: 512 * MIB,
        entries: 4_000_000,
        headers: MIB,
        document: 4 * MIB,
        layers: 500,
    };

    /// Bytes that a layer of `stored` bytes may have unpacked.
    #[must_use]
    pub fn most_of(&self, stored: u64) -> u64 {
        stored.saturating_mul(self.ratio).saturating_add(self.ratio_from)
    }
}
