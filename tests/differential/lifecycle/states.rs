use richrun_tests::Suite;
pub fn register(_s: &mut Suite) {}
