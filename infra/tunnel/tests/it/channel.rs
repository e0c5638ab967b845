use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use tunnel::{
    Action, ActionStatus, Channel, ChannelOptions, Command, Decoder, Error, Flag, Frame, HandshakeComplete,
    HandshakeRequest, HandshakeResponse, Message, MessageType, PAYLOAD_SIZE, PayloadType, RequestedAction,
    Version,
};

use crate::golden::{self, Direction};

const QUIET: Duration = Duration::from_secs(5);
/// This far end acknowledges nothing by itself.
const AGENT_LIMIT: Duration = Duration::from_secs(86_400);

fn options() -> ChannelOptions {
    ChannelOptions {
        payload_size: PAYLOAD_SIZE,
        window: 1 << 20,
        quiet: QUIET,
        keep_alive: None,
        answer_within: None,
        proof_within: None,
        agent_limit: AGENT_LIMIT,
    }
}

/// A channel and the far end of it, with a clock that moves when told to.
struct Far {
    channel: Channel,
    now: Instant,
    sequence: i64,
    decoder: Decoder,
}

impl Far {
    fn new() -> Far {
        Far::with(options())
    }

    fn with(options: ChannelOptions) -> Far {
        let now = Instant::now();
        Far { channel: Channel::new(options, now), now, sequence: 0, decoder: Decoder::default() }
    }

    fn ready(agent: &str) -> Far {
        let mut far = Far::new();
        far.shake_hands(agent);
        far
    }

    fn shake_hands(&mut self, agent: &str) {
        let request = HandshakeRequest {
            agent_version: agent.to_owned(),
            requested_client_actions: vec![port_session()],
        };
        self.say(PayloadType::HandshakeRequest, request.to_payload());
        let actions = self.say(PayloadType::HandshakeComplete, HandshakeComplete::default().to_payload());
        assert!(actions.iter().any(|action| matches!(action, Action::Ready { .. })), "{actions:?}");
    }

    fn say(&mut self, payload_type: PayloadType, payload: Bytes) -> Vec<Action> {
        let mut message = Message::new(MessageType::OutputStreamData, payload_type, payload);
        message.sequence = self.sequence;
        self.sequence += 1;
        self.channel.on_message(message, self.now)
    }

    fn say_frames(&mut self, frames: &[Frame]) -> Vec<Action> {
        let mut bytes = BytesMut::new();
        for frame in frames {
            frame.encode(&mut bytes);
        }
        self.say(PayloadType::Output, bytes.freeze())
    }

    fn open(&mut self) -> u32 {
        let (stream, actions) = self.channel.open_stream(self.now);
        assert_eq!(self.frames(&actions), [Frame::control(Command::Syn, stream)]);
        stream
    }

    /// The smux frames in what the channel sends.
    fn frames(&mut self, actions: &[Action]) -> Vec<Frame> {
        for message in sent(actions) {
            if message.payload_type == PayloadType::Output {
                self.decoder.push(&message.payload);
            }
        }
        let mut frames = Vec::new();
        while let Some(frame) = self.decoder.next_frame().unwrap() {
            frames.push(frame);
        }
        frames
    }

    fn pass(&mut self, time: Duration) -> Vec<Action> {
        let end = self.now + time;
        let mut actions = Vec::new();
        while let Some(at) = self.channel.next_timer().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            actions.extend(self.channel.on_timer(self.now));
        }
        self.now = end;
        actions
    }
}

fn sent(actions: &[Action]) -> Vec<Message> {
    let frames = actions.iter().filter_map(|action| match action {
        Action::Send(frame) => Some(frame.clone()),
        _ => None,
    });
    frames.map(|frame| Message::parse(frame).unwrap()).collect()
}

fn port_session() -> RequestedAction {
    let parameters = json!({"SessionType": "Port", "Properties": {"type": "LocalPortForwarding"}});
    RequestedAction { action_type: "SessionType".into(), action_parameters: parameters }
}

fn answer_to(actions: Vec<RequestedAction>, agent: &str) -> (HandshakeResponse, Option<Error>) {
    let mut far = Far::new();
    let request = HandshakeRequest { agent_version: agent.into(), requested_client_actions: actions };
    let mut actions = far.say(PayloadType::HandshakeRequest, request.to_payload());
    let error = match actions.pop() {
        Some(Action::Closed(error)) => Some(error),
        Some(other) => {
            actions.push(other);
            None
        }
        None => None,
    };
    let messages = sent(&actions);
    assert_eq!(messages[0].message_type, MessageType::Acknowledge);
    assert_eq!(messages[1].payload_type, PayloadType::HandshakeResponse);
    (HandshakeResponse::parse(&messages[1].payload).unwrap(), error)
}

#[test]
fn the_client_plays_its_part_of_the_captured_session() {
    let mut far = Far::new();
    let mut expected = Vec::new();
    let mut seen = Vec::new();
    let mut ready = None;
    let mut delivered = 0;
    let is_data = |message: &Message| message.message_type == MessageType::InputStreamData;
    let essence = |message: Message| (message.sequence, message.payload_type, message.flags, message.payload);
    for (direction, frame) in golden::frames() {
        let message = Message::parse(frame).unwrap();
        if direction == Direction::ToAgent {
            // What the program behind the tunnel does in this session, in the same order.
            let actions = match (message.payload_type, message.sequence) {
                (PayloadType::Output, 1) => far.channel.open_stream(far.now).1,
                (PayloadType::Output, 6) => far.channel.close_stream(3, far.now),
                (PayloadType::Output, _) => far.channel.write(3, Bytes::from_static(b"x"), far.now),
                (PayloadType::Flag, _) => far.channel.terminate(far.now),
                _ => Vec::new(),
            };
            seen.extend(sent(&actions).into_iter().filter(is_data).map(essence));
            if is_data(&message) {
                expected.push(essence(message));
            }
            continue;
        }
        let actions = far.channel.on_message(message, far.now);
        seen.extend(sent(&actions).into_iter().filter(is_data).map(essence));
        for action in actions {
            match action {
                Action::Ready { agent, .. } => ready = Some(agent),
                Action::Deliver { stream: 3, payload } => delivered += payload.len(),
                Action::Send(_) | Action::StreamClosed { stream: 3 } => (),
                other => panic!("{other:?}"),
            }
        }
    }
    // The captured client was of another version; all else is the same, byte for byte.
    assert_eq!(seen[0].1, PayloadType::HandshakeResponse);
    let text = String::from_utf8(seen[0].3.to_vec()).unwrap();
    seen[0].3 = text.replace("1.2.764.0", "1.2.707.0").into();
    assert_eq!(seen, expected);
    assert_eq!(ready, Some(Version::new(3, 3, 987, 0)));
    assert_eq!(delivered, 4);
    assert_eq!(far.channel.outgoing().outstanding(), 0, "the captured acknowledgements fit our messages");
}

#[test]
fn a_port_session_is_agreed_to() {
    let (response, error) = answer_to(vec![port_session()], "3.3.987.0");
    assert!(error.is_none());
    assert_eq!(response.client_version, "1.2.764.0");
    assert_eq!(response.processed_client_actions[0].action_status, ActionStatus::Success);
    assert_eq!(response.processed_client_actions[0].action_result, Value::Null);
}

#[test]
fn actions_that_a_port_session_does_not_have_are_answered_as_unsupported_and_end_it() {
    let encryption =
        RequestedAction { action_type: "KMSEncryption".into(), action_parameters: json!({"KMSKeyId": "k"}) };
    let (response, error) = answer_to(vec![port_session(), encryption], "3.3.987.0");
    let statuses: Vec<_> =
        response.processed_client_actions.iter().map(|action| action.action_status).collect();
    assert_eq!(statuses, [ActionStatus::Success, ActionStatus::Unsupported]);
    assert_eq!(
        error.unwrap().to_string(),
        "the agent asks for `KMSEncryption`, which this client does not support"
    );

    let shell = RequestedAction {
        action_type: "SessionType".into(),
        action_parameters: json!({"SessionType": "Standard_Stream"}),
    };
    let (_, error) = answer_to(vec![shell], "3.3.987.0");
    assert!(matches!(error, Some(Error::Unsupported { .. })));
}

#[test]
fn an_agent_without_mux_is_refused_by_its_version() {
    for old in ["3.0.196.0", "2.3.722.0", "nonsense"] {
        let (_, error) = answer_to(vec![port_session()], old);
        let text = error.unwrap().to_string();
        assert!(text.contains("agent is too old") && text.contains(old), "{text}");
    }
    assert!(answer_to(vec![port_session()], "3.0.197.0").1.is_none());
}

#[test]
fn data_before_the_end_of_the_handshake_breaks_the_protocol() {
    let mut far = Far::new();
    let actions = far.say(PayloadType::Output, Bytes::from_static(b"$ "));
    assert!(matches!(actions.last(), Some(Action::Closed(Error::Protocol(_)))), "{actions:?}");
}

#[test]
fn a_large_write_is_cut_into_messages_and_comes_out_whole() {
    let mut far = Far::ready("3.3.987.0");
    let stream = far.open();
    let bytes: Bytes = (0..100_000u32).map(|n| n as u8).collect::<Vec<_>>().into();
    let actions = far.channel.write(stream, bytes.clone(), far.now);
    assert!(sent(&actions).iter().all(|message| message.payload.len() <= PAYLOAD_SIZE));
    let frames = far.frames(&actions);
    assert!(frames.iter().all(|frame| frame.command == Command::Psh && frame.payload.len() <= 32_768));
    let joined: Vec<u8> = frames.iter().flat_map(|frame| frame.payload.to_vec()).collect();
    assert_eq!(joined, bytes);
}

#[test]
fn the_window_closes_with_unacknowledged_bytes_and_opens_with_their_acknowledgements() {
    let mut far = Far::ready("3.3.987.0");
    let stream = far.open();
    let mut messages = Vec::new();
    while far.channel.room() > 0 {
        let bytes = Bytes::from(vec![0; far.channel.room().min(10_000)]);
        messages.extend(sent(&far.channel.write(stream, bytes, far.now)));
    }
    let outstanding = far.channel.outgoing().outstanding_bytes();
    assert!(outstanding > 250_000 && outstanding < 270_000, "{outstanding}");
    for message in &messages {
        far.channel.on_message(Message::acknowledge(message), far.now);
    }
    assert!(far.channel.room() > outstanding, "a line without a queue carries more the next time");
}

#[test]
fn what_the_agent_sends_reaches_the_right_stream() {
    let mut far = Far::ready("3.3.987.0");
    let (one, two) = (far.open(), far.open());
    let actions = far.say_frames(&[Frame::push(two, "b"), Frame::push(one, "a"), Frame::push(77, "nobody")]);
    let delivered: Vec<_> = actions
        .into_iter()
        .filter_map(|action| match action {
            Action::Deliver { stream, payload } => Some((stream, payload)),
            _ => None,
        })
        .collect();
    assert_eq!(delivered, [(two, Bytes::from("b")), (one, Bytes::from("a"))]);
}

#[test]
fn bytes_that_are_no_smux_end_the_session() {
    let mut far = Far::ready("3.3.987.0");
    let actions = far.say(PayloadType::Output, Bytes::from_static(b"HTTP/1.1 200 OK"));
    assert!(matches!(actions.last(), Some(Action::Closed(Error::Frame(_)))), "{actions:?}");
    assert!(far.say(PayloadType::Output, Bytes::new()).is_empty(), "nothing follows");
}

#[test]
fn fin_waits_for_silence_after_the_local_end_of_input() {
    let mut far = Far::ready("3.3.987.0");
    let stream = far.open();
    far.channel.finish_stream(stream, far.now);
    let actions = far.pass(QUIET - Duration::from_millis(1));
    assert!(far.frames(&actions).iter().all(|frame| frame.command != Command::Fin));
    // An answer starts the wait again.
    far.say_frames(&[Frame::push(stream, "late")]);
    far.channel.finish_stream(stream, far.now);
    let actions = far.pass(QUIET - Duration::from_millis(1));
    assert!(!sent(&actions).iter().any(|message| message.payload[..2] == [1, 1]));
    let actions = far.pass(Duration::from_millis(1));
    assert!(sent(&actions).iter().any(|message| message.payload[..2] == [1, 1]), "FIN is due");
    let actions = far.say_frames(&[Frame::push(stream, "last"), Frame::control(Command::Fin, stream)]);
    assert!(matches!(actions[1..], [Action::Deliver { .. }, Action::StreamClosed { .. }]), "{actions:?}");
}

#[test]
fn the_other_ends_fin_closes_the_stream_both_ways() {
    let mut far = Far::ready("3.3.987.0");
    let stream = far.open();
    far.say_frames(&[Frame::push(stream, "bye")]);
    let actions = far.say_frames(&[Frame::control(Command::Fin, stream)]);
    assert!(actions.iter().any(|action| matches!(action, Action::StreamClosed { .. })));
    assert_eq!(far.frames(&actions), [Frame::control(Command::Fin, stream)]);
    assert!(far.channel.write(stream, Bytes::from_static(b"too late"), far.now).is_empty());
}

fn failed(actions: &[Action]) -> Vec<u32> {
    let failed = actions.iter().filter_map(|action| match action {
        Action::ConnectFailed { stream } => Some(*stream),
        _ => None,
    });
    failed.collect()
}

#[test]
fn a_refused_connection_fails_the_stream_that_ends_without_data_whichever_comes_first() {
    let refusal = Flag::ConnectToPortError.to_payload();
    let mut far = Far::ready("3.3.987.0");
    let (working, refused) = (far.open(), far.open());
    far.say_frames(&[Frame::push(working, "data")]);
    assert!(failed(&far.say(PayloadType::Flag, refusal.clone())).is_empty());
    // A stream that had data was connected: its end is only an end.
    let actions = far.say_frames(&[Frame::control(Command::Fin, working)]);
    assert!(failed(&actions).is_empty());
    assert!(matches!(actions.last(), Some(Action::StreamClosed { .. })));
    assert_eq!(failed(&far.say_frames(&[Frame::control(Command::Fin, refused)])), [refused]);

    let (_, refused) = (far.open(), far.open());
    assert!(failed(&far.say_frames(&[Frame::control(Command::Fin, refused)])).is_empty());
    assert_eq!(failed(&far.say(PayloadType::Flag, refusal)), [refused]);
}

#[test]
fn a_stream_that_ends_without_data_and_without_refusal_has_just_ended() {
    let mut far = Far::ready("3.3.987.0");
    let stream = far.open();
    let now = far.say_frames(&[Frame::control(Command::Fin, stream)]);
    assert!(!now.iter().any(|action| matches!(action, Action::StreamClosed { .. })));
    let later = far.pass(Duration::from_secs(1));
    assert!(later.iter().any(|action| matches!(action, Action::StreamClosed { stream: s } if *s == stream)));
}

fn unanswered(actions: &[Action]) -> Vec<u32> {
    let unanswered = actions.iter().filter_map(|action| match action {
        Action::Unanswered { stream } => Some(*stream),
        _ => None,
    });
    unanswered.collect()
}

#[test]
fn only_a_stream_that_was_written_to_and_heard_nothing_is_given_up() {
    let limit = Duration::from_secs(10);
    let mut far = Far::with(ChannelOptions { answer_within: Some(limit), ..options() });
    far.shake_hands("3.3.987.0");
    let (answered, lost, silent) = (far.open(), far.open(), far.open());
    far.channel.write(answered, Bytes::from_static(b"?"), far.now);
    far.channel.write(lost, Bytes::from_static(b"?"), far.now);
    far.say_frames(&[Frame::push(answered, "!")]);
    assert!(unanswered(&far.pass(limit - Duration::from_millis(1))).is_empty());
    assert!(!far.channel.is_stuck());
    let actions = far.pass(Duration::from_millis(1));
    assert_eq!(unanswered(&actions), [lost]);
    assert!(far.frames(&actions).contains(&Frame::control(Command::Fin, lost)), "{actions:?}");
    assert!(far.channel.is_stuck(), "the agent connects to one target after the other");
    assert!(unanswered(&far.pass(limit * 10)).is_empty(), "the others are as they were");
    far.say_frames(&[Frame::push(silent, "at last")]);
    assert!(!far.channel.is_stuck(), "the agent has come back from the target");
}

#[test]
fn a_target_has_its_time_to_answer_again_after_an_outage() {
    let limit = Duration::from_secs(10);
    let mut far = Far::with(ChannelOptions { answer_within: Some(limit), ..options() });
    far.shake_hands("3.3.987.0");
    let stream = far.open();
    far.channel.write(stream, Bytes::from_static(b"?"), far.now);
    // Nobody asks for timers while there is no connection.
    far.now += limit * 6;
    far.channel.on_reconnect(far.now);
    assert!(unanswered(&far.pass(limit - Duration::from_millis(1))).is_empty());
    assert_eq!(unanswered(&far.pass(Duration::from_millis(1))), [stream]);
}

fn nops(far: &mut Far, time: Duration) -> usize {
    let mut sequences = Vec::new();
    for message in sent(&far.pass(time)) {
        if message.payload[..] == [1, 3, 0, 0, 0, 0, 0, 0] && !sequences.contains(&message.sequence) {
            sequences.push(message.sequence);
        }
    }
    sequences.len()
}

#[test]
fn only_agents_that_expect_smux_keep_alives_get_them() {
    assert_eq!(nops(&mut Far::ready("3.1.1511.0"), Duration::from_secs(61)), 6);
    assert_eq!(nops(&mut Far::ready("3.1.1512.0"), Duration::from_secs(61)), 0);
}

#[test]
fn an_open_stream_is_kept_alive_when_that_is_asked_for() {
    let keep_alive = Some(Duration::from_secs(60));
    let mut far = Far::with(ChannelOptions { keep_alive, ..options() });
    far.shake_hands("3.3.987.0");
    assert_eq!(nops(&mut far, Duration::from_secs(600)), 0, "no stream is open");
    let stream = far.open();
    far.say_frames(&[Frame::push(stream, "hello")]);
    assert_eq!(nops(&mut far, Duration::from_secs(181)), 3);
}

#[test]
fn the_services_reason_for_the_end_is_kept() {
    let mut far = Far::ready("3.3.987.0");
    let payload = br#"{"SessionId":"s","Output":"Your session timed out due to inactivity.\n"}"#;
    let message = Message::new(MessageType::ChannelClosed, PayloadType::Unset, &payload[..]);
    let actions = far.channel.on_message(message, far.now);
    let [Action::Closed(error)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(error.to_string(), "the session has ended: Your session timed out due to inactivity.");

    let mut far = Far::ready("3.3.987.0");
    let message = Message::new(MessageType::ChannelClosed, PayloadType::Unset, "not json");
    let actions = far.channel.on_message(message, far.now);
    let [Action::Closed(error)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(error.to_string(), "the session has ended");
}

#[test]
fn messages_that_this_client_does_not_know_change_nothing() {
    let mut far = Far::ready("3.3.987.0");
    for message_type in
        [MessageType::PausePublication, MessageType::StartPublication, MessageType::Unknown("new".into())]
    {
        let message = Message::new(message_type, PayloadType::Unset, "");
        assert!(far.channel.on_message(message, far.now).is_empty());
    }
    let actions = far.say(PayloadType::Unknown(99), Bytes::from_static(b"?"));
    assert!(matches!(actions[..], [Action::Send(_)]), "only the acknowledgement: {actions:?}");
}
