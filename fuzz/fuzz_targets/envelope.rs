//! See `properties::envelope`.
#![no_main]

#[allow(dead_code)]
#[path = "../../tests/support/properties.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::envelope(data));
