//! Builds rich-init, so that the runtime carries its own PID 1.
//!
//! Two calls of rustc rather than cargo: rich-init has no dependencies, and a cargo inside
//! of cargo would wait for the lock that the outer one holds, or need a second target
//! directory. Always optimised for size, whatever the profile of the runtime.

#[path = "../init/link_args.rs"]
mod link_args;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let init = here.parent().expect("the crate is in a workspace").join("init");
    let out = PathBuf::from(variable("OUT_DIR"));
    println!("cargo:rerun-if-changed={}", init.join("src").display());
    println!("cargo:rerun-if-changed={}", init.join("link_args.rs").display());
    println!("cargo:rerun-if-env-changed=RUSTC_LINKER");

    // Its symbols are of use to integration/bench/hot.sh only.
    println!("cargo:rerun-if-env-changed=RICHRUN_SYMBOLS");
    if variable("PROFILE") == "release" && env::var_os("RICHRUN_SYMBOLS").is_none() {
        println!("cargo:rustc-link-arg-bins=-Wl,--strip-all");
    }

    println!("cargo::rustc-check-cfg=cfg(own_clib)");
    let architecture = variable("CARGO_CFG_TARGET_ARCH");
    if variable("CARGO_CFG_TARGET_ENV") == "gnu" {
        // The program begins before the C library (src/sys/entry.rs).
        if matches!(architecture.as_str(), "x86_64" | "aarch64" | "riscv64") {
            println!("cargo:rustc-link-arg-bins=-Wl,--entry=richrun_entry");
        }
        if architecture == "x86_64" && variable("PROFILE") == "release" {
            release_layout(&here, &out);
        }
    }

    let library = out.join("librich_init.rlib");
    let mut rustc = compiler("rich_init", "lib", &init.join("src/lib.rs"), &library);
    run(rustc.arg("-Cembed-bitcode=yes"));

    for (source, name) in [("main", "rich-init"), ("main_services", "rich-init-services")] {
        let source = init.join(format!("src/{source}.rs"));
        let mut rustc = compiler("rich_init_program", "bin", &source, &out.join(name));
        rustc.arg("-Clto=fat").arg("-Cstrip=symbols");
        rustc.arg(format!("--extern=rich_init={}", library.display()));
        for arg in link_args::LINK_ARGS {
            rustc.arg(format!("-Clink-arg={arg}"));
        }
        if let Ok(linker) = env::var("RUSTC_LINKER") {
            rustc.arg(format!("-Clinker={linker}"));
        }
        run(&mut rustc);
    }
}

/// What a release on x86-64 is besides, unless a feature is left out.
fn release_layout(here: &Path, out: &Path) {
    // The map is what the tests look at (tests/blackbox/host.rs).
    println!("cargo:rustc-link-arg-bins=-Wl,-Map={}", out.join("richrun.map").display());
    // Its own C library (src/sys/clib): the first of two definitions counts, and that is
    // the program's.
    if env::var_os("CARGO_FEATURE_OWN_CLIB").is_some() {
        println!("cargo:rustc-cfg=own_clib");
        println!("cargo:rustc-link-arg-bins=-Wl,--allow-multiple-definition");
    }
    // The functions of the usual commands stand together (integration/bench/hot.sh).
    if env::var_os("CARGO_FEATURE_HOT_LAYOUT").is_some() {
        let hot = here.join("hot.ld");
        println!("cargo:rerun-if-changed={}", hot.display());
        println!("cargo:rustc-link-arg-bins=-Wl,-T,{}", hot.display());
    }
}

/// rustc with what the library and the program have in common.
fn compiler(name: &str, kind: &str, source: &Path, output: &Path) -> Command {
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(["--edition=2024", "-Copt-level=s", "-Cpanic=abort", "-Ccodegen-units=1"]);
    rustc.arg(format!("--target={}", variable("TARGET")));
    rustc.arg("-Ctarget-feature=+crt-static");
    rustc.arg(format!("--crate-name={name}")).arg(format!("--crate-type={kind}"));
    // Panic messages name files; where this one was built is nobody's business.
    let top = Path::new(&variable("CARGO_MANIFEST_DIR")).with_file_name("");
    rustc.arg(format!("--remap-path-prefix={}=", top.display()));
    rustc.arg(source).arg("-o").arg(output);
    rustc.env("CARGO_PKG_VERSION", variable("CARGO_PKG_VERSION"));
    rustc
}

fn run(rustc: &mut Command) {
    let output = rustc.output().unwrap_or_else(|error| panic!("{rustc:?}: {error}"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{rustc:?}: {}\n{told}", output.status);
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
