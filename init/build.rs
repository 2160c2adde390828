//! Links the program without the C library's start-up code.

#[path = "link_args.rs"]
mod link_args;

fn main() {
    println!("cargo:rerun-if-changed=link_args.rs");
    for arg in link_args::LINK_ARGS {
        println!("cargo:rustc-link-arg-bins={arg}");
    }
}
