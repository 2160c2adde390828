//! Links the program without the C library's start-up code.

#[path = "link_args.rs"]
mod link_args;

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=link_args.rs");
    for arg in link_args::LINK_ARGS {
        println!("cargo:rustc-link-arg-bins={arg}");
    }
    // Cargo strips nothing here, since it is told not to strip the runtime (Cargo.toml).
    if env::var("PROFILE").as_deref() == Ok("release") {
        println!("cargo:rustc-link-arg-bins=-Wl,--strip-all");
    }
}
