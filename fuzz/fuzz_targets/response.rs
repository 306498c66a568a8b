//! Responses in segments, against hyper.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dfaas_oracle::targets::response(bytes));
