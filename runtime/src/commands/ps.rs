//! `ps`: a container's processes, as the host's ps(1) shows them.

use std::ffi::OsString;
use std::process::Command;

use super::output::{line, print};
use crate::cli::{Format, Global, PsArgs};
use crate::error::{Error, Result};
use crate::life::Store;
use crate::life::members::members;
use crate::shown::shown;

/// Prints the container's pids, or the lines of `ps` that are about them.
pub fn run(global: &Global, args: &PsArgs) -> Result<u8> {
    let (state, _) = Store::new(global.root()).peek(&args.id)?;
    let pids = members(&state)?;
    let text = match args.format {
        Format::Json => line(&pids)?,
        Format::Table => chosen(&host_ps(&args.ps_args)?, &pids)?,
    };
    print(&text)?;
    Ok(0)
}

/// What the host's `ps` prints with these options.
fn host_ps(options: &[OsString]) -> Result<String> {
    let mut ps = Command::new("ps");
    match options {
        [] => ps.arg("-ef"),
        options => ps.args(options),
    };
    let output = ps.output().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::system("exec: \"ps\": executable file not found in $PATH")
        }
        _ => Error::system(format!("exec: \"ps\": {error}")),
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let said: Vec<&str> = said.split_whitespace().collect();
        return Err(Error::system(format!("ps: {}: {}", output.status, said.join(" "))));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The heading and the lines about `pids`.
fn chosen(table: &str, pids: &[i32]) -> Result<String> {
    let mut lines = table.lines();
    let head = lines.next().unwrap_or_default();
    let column = head.split_whitespace().position(|name| name == "PID");
    let column = column.ok_or_else(|| Error::system("couldn't find PID field in ps output"))?;
    let mut text = format!("{head}\n");
    for line in lines.filter(|line| !line.is_empty()) {
        let field = line.split_whitespace().nth(column).unwrap_or_default();
        let pid: i32 = field
            .parse()
            .map_err(|_| Error::system(format!("unable to parse pid {field:?} in ps output")))?;
        if pids.contains(&pid) {
            text.push_str(&shown(line));
            text.push('\n');
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_containers_lines_are_kept() {
        let table = "UID   PID  PPID CMD\nroot    1     0 init 7\nroot    7     1 sh\n\nme     71    7 ps\n";
        assert_eq!(chosen(table, &[7, 8]).unwrap(), "UID   PID  PPID CMD\nroot    7     1 sh\n");
        assert_eq!(chosen(table, &[]).unwrap(), "UID   PID  PPID CMD\n");
    }

    #[test]
    fn without_a_pid_column_nothing_can_be_chosen() {
        let error = chosen("CMD\nsh\n", &[1]).unwrap_err().to_string();
        assert_eq!(error, "couldn't find PID field in ps output");
        assert!(chosen("PID\nx\n", &[1]).is_err());
    }
}
