//! Headers and options, against etherparse and a plain loop.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dfaas_oracle::targets::packet(bytes));
