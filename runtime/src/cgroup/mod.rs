//! Effects on control groups: create, join, freeze, kill, remove.
