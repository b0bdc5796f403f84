#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lapis_fuzzing::run("request", bytes));
