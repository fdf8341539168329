//! MessagePack: what is found good must turn into a value, and that value into MessagePack that is
//! good again.
#![no_main]

use comity_core::wire::pack;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let value = pack::to_value(bytes);
    if pack::check(bytes).is_err() {
        assert!(value.is_null());
        return;
    }
    let again = pack::from_value(&value);
    assert_eq!(pack::check(&again), Ok(()));
    assert_eq!(pack::to_value(&again), value);
});
