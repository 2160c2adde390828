//! PID 1 of rich containers.
