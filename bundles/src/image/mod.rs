//! Images as sources: layers are unpacked once, by content, and shared.
