//! `rich-monitor --data DIR --run DIR [--take-over] [--attach]`: holds one container. It is
//! started by `richctl`, whose end of a socket is its standard input.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

use rich_bundles::error::At;
use rich_bundles::monitor::{self, Start};
use rich_bundles::store::Dirs;
use rich_bundles::sys;

fn main() -> ExitCode {
    let Some(start) = read(std::env::args_os().skip(1)) else {
        eprintln!("rich-monitor: it is started by richctl (--data DIR --run DIR)");
        return ExitCode::from(2);
    };
    // Nobody's child, so that its end leaves nothing to a caller that lives long.
    match sys::fork(&[], || hold(start)) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rich-monitor: fork: {error}");
            ExitCode::FAILURE
        }
    }
}

fn hold(start: Start) {
    // Standard input is nothing from now on: the starter sees it when the copy is closed.
    let starter = std::io::stdin().as_fd().try_clone_to_owned().and_then(|starter| {
        rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        Ok(UnixStream::from(starter))
    });
    let held = starter.at("take", "standard input").and_then(|it| monitor::main(start, it));
    if let Err(error) = held {
        eprintln!("rich-monitor: {error}");
    }
}

fn read(words: impl Iterator<Item = std::ffi::OsString>) -> Option<Start> {
    let (mut data, mut run, mut take_over, mut attach) = (None, None, false, false);
    let mut words = words;
    while let Some(word) = words.next() {
        match word.to_str()? {
            "--data" => data = words.next().map(PathBuf::from),
            "--run" => run = words.next().map(PathBuf::from),
            "--take-over" => take_over = true,
            "--attach" => attach = true,
            _ => return None,
        }
    }
    Some(Start { dirs: Dirs { data: data?, run: run? }, take_over, attach })
}
