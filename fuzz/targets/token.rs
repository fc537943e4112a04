#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    leeward_gateway::fuzzing::token(bytes);
});
