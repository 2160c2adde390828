//! System calls: the only module of this crate with `unsafe`.
