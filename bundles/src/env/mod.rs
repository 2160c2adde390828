//! Environments: the containers of a work tree.
