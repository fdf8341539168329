//! Binary frames: no message without its bytes, and whatever is read can be written and read again.
#![no_main]

use bytes::{Bytes, BytesMut};
use comity_core::channel::Channel;
use comity_core::time::Timestamp;
use comity_core::wire::compact::{self, ChannelTable};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    let now = Timestamp::from_millis(1_782_000_000_000);
    let mut table = ChannelTable::default();
    for name in ["_status", "_direct", "_presence"] {
        table.insert(Channel::new(name).expect("a good name")).expect("no collision");
    }
    let mut messages = Vec::new();
    let result = compact::decode(&Bytes::copy_from_slice(frame), &table, now, &mut messages);
    let dropped = result.map_or(0, |dropped| dropped.total() as usize);
    assert!((messages.len() + dropped) * compact::HEADER <= frame.len());
    for message in messages {
        let mut written = BytesMut::new();
        if !compact::encode(&message, &table, &mut written) {
            continue;
        }
        let mut again = Vec::new();
        let dropped = compact::decode(&written.freeze(), &table, now, &mut again).expect("what is written is whole");
        assert_eq!((again.len(), dropped.total()), (1, 0));
        assert_eq!(again[0].payload.to_value(), message.payload.to_value());
        assert_eq!((again[0].id, again[0].from, again[0].kind), (message.id, message.from, message.kind));
    }
});
