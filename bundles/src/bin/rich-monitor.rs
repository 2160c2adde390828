//! `rich-monitor`: holds one container; started by `richctl`.

fn main() -> std::process::ExitCode {
    eprintln!("rich-monitor: it is started by richctl");
    std::process::ExitCode::from(125)
}
