#![no_main]

#[path = "../readers.rs"]
mod readers;

use libfuzzer_sys::fuzz_target;

thread_local! {
    static BENCH: readers::Bench = readers::Bench::new();
}

fuzz_target!(|bytes: &[u8]| {
    BENCH.with(|bench| bench.check("index", bytes));
});
