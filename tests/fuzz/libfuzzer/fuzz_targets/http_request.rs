#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| richrun_fuzz::run("http_request", bytes));
