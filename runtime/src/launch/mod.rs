//! Launching a container: the parent's and the child's sequences.
