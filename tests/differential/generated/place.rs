//! Where a configuration is run.

use richrun_tests::{User, View};

/// Stands for the container's id.
pub const ID: &str = "@ID@";

/// Where a configuration will be run.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub view: View,
    pub user: User,
}

impl Place {
    pub fn is_root(self) -> bool {
        self.user == User::Root
    }
}
