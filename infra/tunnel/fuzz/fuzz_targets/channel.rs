//! Any course of messages, streams and time. Only what ends a session for the official client ends it here, nothing
//! follows the end, and what is sent can be read by the other end.
#![no_main]

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use tunnel::{
    Acknowledge, Action, Channel, ChannelOptions, Command, Frame, HandshakeComplete, HandshakeRequest,
    Message, MessageType, PayloadType, RequestedAction,
};

struct Course {
    channel: Channel,
    now: Instant,
    /// The number of the agent's next message.
    next: i64,
    streams: Vec<u32>,
    over: bool,
}

impl Course {
    fn act(&mut self, actions: Vec<Action>, may_end: bool) {
        for action in actions {
            assert!(!self.over, "something follows the end");
            match action {
                Action::Send(frame) => drop(Message::parse(frame).expect("what is sent can be read")),
                Action::Closed(error) => {
                    assert!(may_end, "ended by a frame that the official client ignores: {error}");
                    self.over = true;
                }
                Action::Deliver { stream, payload } => {
                    assert!(self.streams.contains(&stream) && !payload.is_empty());
                }
                Action::StreamClosed { stream }
                | Action::ConnectFailed { stream }
                | Action::Unanswered { stream } => {
                    let before = self.streams.len();
                    self.streams.retain(|other| *other != stream);
                    assert_eq!(self.streams.len() + 1, before, "a stream ends once");
                }
                Action::Ready { .. } | Action::Reconnect { .. } | Action::Stalled { .. } => (),
            }
        }
    }

    fn data(&mut self, sequence: i64, payload_type: PayloadType, payload: Bytes, may_end: bool) {
        let mut message = Message::new(MessageType::OutputStreamData, payload_type, payload);
        message.sequence = sequence;
        let actions = self.take(message);
        self.act(actions, may_end);
    }

    fn take(&mut self, message: Message) -> Vec<Action> {
        let mut actions = self.channel.on_message(message, self.now);
        while let Some(more) = self.channel.on_more(self.now) {
            actions.extend(more);
        }
        actions
    }

    fn shake_hands(&mut self) {
        let properties = r#"{"SessionType":"Port","Properties":{"type":"LocalPortForwarding"}}"#;
        let request = HandshakeRequest {
            agent_version: "3.3.987.0".to_owned(),
            requested_client_actions: vec![RequestedAction {
                action_type: "SessionType".to_owned(),
                action_parameters: properties.parse().expect("it is JSON"),
            }],
        };
        self.data(0, PayloadType::HandshakeRequest, request.to_payload(), false);
        self.data(1, PayloadType::HandshakeComplete, HandshakeComplete::default().to_payload(), false);
        assert!(self.channel.is_ready());
        self.next = 2;
    }

    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        match input.int_in_range(0..=11_u8)? {
            0 => {
                let (stream, actions) = self.channel.open_stream(self.now);
                self.streams.push(stream);
                self.act(actions, false);
            }
            1 => {
                let length = input.int_in_range(0..=5000_usize)?;
                let stream = self.stream(input)?;
                let actions = self.channel.write(stream, Bytes::from(vec![7; length]), self.now);
                self.act(actions, false);
            }
            2 => {
                let stream = self.stream(input)?;
                self.channel.finish_stream(stream, self.now);
            }
            3 => {
                let stream = self.stream(input)?;
                let actions = self.channel.close_stream(stream, self.now);
                self.act(actions, false);
            }
            4 => {
                self.now += Duration::from_millis(input.int_in_range(0..=20_000)?);
                let actions = self.channel.on_timer(self.now);
                // An agent that is silent for too long is given up.
                self.act(actions, true);
            }
            5 => {
                let actions = self.channel.on_reconnect(self.now);
                self.act(actions, false);
            }
            6 => {
                // An acknowledgement, of something or of nothing.
                let acknowledge = Acknowledge {
                    message_type: "input_stream_data".to_owned(),
                    message_id: Message::new(MessageType::Acknowledge, PayloadType::Unset, Bytes::new()).id,
                    sequence: input.int_in_range(-2..=200)?,
                    is_sequential: true,
                };
                let payload = acknowledge.to_payload();
                let message = Message::new(MessageType::Acknowledge, PayloadType::Unset, payload);
                let actions = self.take(message);
                self.act(actions, false);
            }
            7 => {
                // A good smux frame in its turn.
                let command = *input.choose(&[Command::Syn, Command::Fin, Command::Psh, Command::Nop])?;
                let stream = self.stream(input)?;
                let length = input.int_in_range(0..=100_usize)?;
                let frame = Frame { command, stream, payload: Bytes::from(vec![9; length]) };
                let mut bytes = BytesMut::new();
                frame.encode(&mut bytes);
                let sequence = self.next;
                self.next += 1;
                self.data(sequence, PayloadType::Output, bytes.freeze(), true);
            }
            8 => {
                // Anything, under any number: only bytes that are no smux may end the session.
                let sequence = self.next + i64::from(input.int_in_range(-3..=3_i8)?);
                let payload_type = PayloadType::from_number(input.int_in_range(0..=14)?);
                let length = input.int_in_range(0..=40_usize)?;
                let payload = Bytes::copy_from_slice(input.bytes(length.min(input.len()))?);
                if sequence == self.next {
                    self.next += 1;
                }
                self.data(sequence, payload_type, payload, true);
            }
            9 => {
                let length = input.int_in_range(0..=200_usize)?;
                let frame = Bytes::copy_from_slice(input.bytes(length.min(input.len()))?);
                if let Ok(message) = Message::parse(frame) {
                    let actions = self.take(message);
                    self.act(actions, true);
                }
            }
            10 => {
                // Control messages that the official client ignores.
                let kinds = [
                    MessageType::StartPublication,
                    MessageType::PausePublication,
                    MessageType::InputStreamData,
                    MessageType::Unknown("agent_job".to_owned()),
                ];
                let kind = input.choose(&kinds)?.clone();
                let length = input.int_in_range(0..=20_usize)?;
                let payload = Bytes::copy_from_slice(input.bytes(length.min(input.len()))?);
                let message = Message::new(kind, PayloadType::Unset, payload);
                let actions = self.take(message);
                self.act(actions, false);
            }
            _ => {
                let actions = self.channel.terminate(self.now);
                self.act(actions, false);
            }
        }
        if let Some(next) = self.channel.next_timer() {
            assert!(self.over || next + Duration::from_secs(120) > self.now, "a timer was forgotten");
        }
        Ok(())
    }

    fn stream(&self, input: &mut Unstructured<'_>) -> Result<u32> {
        if self.streams.is_empty() || input.ratio(1_u8, 8_u8)? {
            return input.int_in_range(0..=9);
        }
        input.choose(&self.streams).copied()
    }
}

fuzz_target!(|data: &[u8]| {
    let now = Instant::now();
    let options = ChannelOptions {
        payload_size: 1024,
        window: 1 << 20,
        quiet: Duration::from_secs(5),
        keep_alive: Some(Duration::from_secs(240)),
        answer_within: Some(Duration::from_secs(10)),
        proof_within: None,
        agent_limit: Duration::from_secs(60),
    };
    let channel = Channel::new(options, now);
    let mut course = Course { channel, now, next: 0, streams: Vec::new(), over: false };
    course.shake_hands();
    let mut input = Unstructured::new(data);
    while !input.is_empty() && !course.over {
        if course.step(&mut input).is_err() {
            return;
        }
    }
    if course.over {
        let message = Message::new(MessageType::ChannelClosed, PayloadType::Unset, Bytes::new());
        assert!(course.channel.on_message(message, now).is_empty(), "nothing follows the end");
    }
});
