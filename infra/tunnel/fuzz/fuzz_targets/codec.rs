//! Any bytes as a frame: no panic, and what is understood is written again as the same message.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tunnel::{Acknowledge, ChannelClosed, Flag, HandshakeComplete, Message};

fuzz_target!(|data: &[u8]| {
    // The payload's digest is out of a fuzzer's reach, so the rest is tried on any bytes as well.
    if let Ok(flag) = Flag::parse(data).ok_or(()) {
        assert_eq!(Flag::parse(&flag.to_payload()), Some(flag));
    }
    if let Ok(acknowledge) = Acknowledge::parse(data) {
        assert_eq!(Acknowledge::parse(&acknowledge.to_payload()).expect("our own"), acknowledge);
    }
    if let Ok(closed) = ChannelClosed::parse(data) {
        assert_eq!(ChannelClosed::parse(&closed.to_payload()).expect("our own"), closed);
    }
    if let Ok(complete) = HandshakeComplete::parse(data) {
        assert_eq!(HandshakeComplete::parse(&complete.to_payload()).expect("our own"), complete);
    }
    if let Ok(message) = Message::parse(Bytes::copy_from_slice(data)) {
        let again = Message::parse(message.encode());
        // A name that is not text is kept for people to see, not to be sent.
        if message.message_type.name().is_ascii() {
            assert_eq!(again.expect("our own"), message);
        }
    }
});
