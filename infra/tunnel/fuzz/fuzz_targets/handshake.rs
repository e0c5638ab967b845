//! Any handshake: it is answered or it ends the session, it never panics, and a channel that asks for no proof is ready only after both
//! of the agent's messages.
#![no_main]

use std::time::{Duration, Instant};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tunnel::{Action, Channel, ChannelOptions, Message, MessageType, PayloadType};

fn options() -> ChannelOptions {
    ChannelOptions {
        payload_size: 1024,
        window: 1 << 20,
        quiet: Duration::from_secs(5),
        keep_alive: None,
        answer_within: None,
        proof_within: None,
        agent_limit: Duration::from_secs(60),
    }
}

fn message(sequence: i64, payload_type: PayloadType, payload: &[u8]) -> Message {
    let payload = Bytes::copy_from_slice(payload);
    let mut message = Message::new(MessageType::OutputStreamData, payload_type, payload);
    message.sequence = sequence;
    message
}

fn is_ready(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::Ready { .. }))
}

fn is_over(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::Closed(_)))
}

fuzz_target!(|data: &[u8]| {
    // A line feed stands between the two messages: JSON text does not need one.
    let mut halves = data.splitn(2, |byte| *byte == b'\n');
    let (request, complete) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    let now = Instant::now();
    let mut channel = Channel::new(options(), now);
    let first = channel.on_message(message(0, PayloadType::HandshakeRequest, request), now);
    assert!(!is_ready(&first));
    let second = channel.on_message(message(1, PayloadType::HandshakeComplete, complete), now);
    assert_eq!(channel.is_ready(), is_ready(&second));
    if is_over(&first) {
        assert!(second.is_empty(), "nothing follows the end");
    } else {
        // Its acknowledgement and the answer.
        assert_eq!(first.len(), 2);
        assert!(channel.is_ready(), "an agent that was not refused is listened to");
    }
    drop(channel.on_timer(now + Duration::from_secs(60)));
});
