//! What a trial can make and call: bundles, the runtime, other programs.

use std::path::Path;

use serde_json::Value;

use crate::bundle::Bundle;
use crate::command::Cmd;
use crate::trial::Trial;

impl Trial {
    /// A bundle with the stock configuration, changed by `edit`.
    pub fn bundle(&self, edit: impl FnOnce(&mut Value)) -> Bundle {
        Bundle::new(self, edit)
    }

    /// A command of the runtime, `--root` given.
    pub fn rt<S: AsRef<str>>(&self, args: &[S]) -> Cmd<'_> {
        let mut command = Cmd::new(self, &self.runtime_path());
        command = command.arg("--root").arg(self.root().to_str().expect("utf-8 path"));
        for arg in args {
            command = command.arg(arg.as_ref());
        }
        command
    }

    /// Any other program.
    pub fn cmd<S: AsRef<str>>(&self, program: &str, args: &[S]) -> Cmd<'_> {
        args.iter().fold(Cmd::new(self, Path::new(program)), |cmd, arg| cmd.arg(arg.as_ref()))
    }
}
