//! `richctl`: see `rich_bundles`.

fn main() -> std::process::ExitCode {
    rich_bundles::cli::main()
}
