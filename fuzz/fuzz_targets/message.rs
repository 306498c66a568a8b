//! Messages of peers, fed to a node's mind.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dfaas_oracle::targets::message(bytes));
