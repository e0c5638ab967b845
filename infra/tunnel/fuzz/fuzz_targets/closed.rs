//! Any end of a session that a service tells, in whatever state it comes: the session is over with it and with nothing else, and
//! what was said is kept as it was.
#![no_main]

use std::time::{Duration, Instant};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tunnel::{
    Action, Channel, ChannelClosed, ChannelOptions, Error, HandshakeComplete, HandshakeRequest, Message,
    MessageType, PayloadType, RequestedAction,
};

fn options() -> ChannelOptions {
    ChannelOptions {
        payload_size: 1024,
        window: 1 << 20,
        quiet: Duration::from_secs(5),
        keep_alive: None,
        answer_within: None,
        proof_within: Some(Duration::from_secs(15)),
        agent_limit: Duration::from_secs(60),
    }
}

fn data(sequence: i64, payload_type: PayloadType, payload: Bytes) -> Message {
    let mut message = Message::new(MessageType::OutputStreamData, payload_type, payload);
    message.sequence = sequence;
    message
}

fuzz_target!(|input: &[u8]| {
    let Some((&state, payload)) = input.split_first() else { return };
    let now = Instant::now();
    let mut channel = Channel::new(options(), now);
    if state & 1 != 0 {
        let properties = r#"{"SessionType":"Port","Properties":{"type":"LocalPortForwarding"}}"#;
        let request = HandshakeRequest {
            agent_version: "3.3.987.0".to_owned(),
            requested_client_actions: vec![RequestedAction {
                action_type: "SessionType".to_owned(),
                action_parameters: properties.parse().expect("it is JSON"),
            }],
        };
        drop(channel.on_message(data(0, PayloadType::HandshakeRequest, request.to_payload()), now));
    }
    if state & 2 != 0 {
        let complete = HandshakeComplete::default().to_payload();
        drop(channel.on_message(data(1, PayloadType::HandshakeComplete, complete), now));
    }
    if state & 4 != 0 {
        drop(channel.open_stream(now));
    }
    let mut end = Message::new(MessageType::ChannelClosed, PayloadType::Unset, Bytes::copy_from_slice(payload));
    end.sequence = i64::from(state >> 3);
    let told = ChannelClosed::parse(payload).map(|closed| closed.output);
    let actions = channel.on_message(end.clone(), now);
    let over: Vec<&Error> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Closed(error) => Some(error),
            _ => None,
        })
        .collect();
    if let [Error::SessionEnded { output }] = over[..] {
        assert!(told.is_err() || told.as_ref().is_ok_and(|told| told == output), "{told:?} {output:?}");
    } else {
        assert!(over.is_empty(), "{over:?}");
    }
    if !over.is_empty() {
        assert!(channel.on_message(end, now).is_empty(), "nothing follows the end");
    }
});
