//! The `richrun` command: argv to command, nothing else.

fn main() {}
