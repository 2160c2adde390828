use richrun_tests::Trial;
pub fn same_table(_t: &Trial) {}
pub fn same_verdicts(_t: &Trial) {}
