//! `--pid-file`.

use std::io::Write;
use std::path::Path;

use crate::error::{Result, Step};

/// Writes the pid: whole or not at all, by an exclusive temporary file and
/// rename, so that who waits for the file never reads half of it.
pub fn write(path: &Path, pid: i32) -> Result<()> {
    let step = || format!("--pid-file {}", path.display());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let mut file = std::fs::File::options().write(true).create_new(true).open(&new).step(step)?;
    let written =
        file.write_all(pid.to_string().as_bytes()).and_then(|()| std::fs::rename(&new, path));
    if written.is_err() {
        // The failure is what is reported.
        let _ = std::fs::remove_file(&new);
    }
    written.step(step)
}
