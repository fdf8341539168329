//! Text frames of a link: whatever is read must be written and read the same again.
#![no_main]

use comity_core::time::Timestamp;
use comity_core::wire::frame::{self, Incoming};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let now = Timestamp::from_millis(1_782_000_000_000);
    let Ok(incoming) = frame::parse(text, now) else { return };
    let again = match &incoming {
        Incoming::Hello(hello) => hello.encode(),
        Incoming::Control(frame) => frame.encode(),
        Incoming::Message(_) => return,
    };
    assert_eq!(frame::parse(again.as_bytes(), now), Ok(incoming));
});
