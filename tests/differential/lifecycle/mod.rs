//! Containers, commands and errors.

use richrun_tests::Suite;

pub fn register(_suite: &mut Suite) {}
