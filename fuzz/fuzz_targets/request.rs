//! Requests' heads, against httparse.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dfaas_oracle::targets::request(bytes));
