//! `hooks`: hooks by hand, for those who write them.

mod check;
mod list;
mod run;

use crate::cli::{Global, HooksArgs, HooksVerb};
use crate::error::Result;

pub use check::problems as problems_of;

/// Runs, lists or checks.
pub fn run(_: &Global, args: &HooksArgs) -> Result<u8> {
    match &args.verb {
        HooksVerb::Run(args) => run::run(args),
        HooksVerb::List(args) => list::run(args),
        HooksVerb::Check(args) => check::run(args),
    }
}
