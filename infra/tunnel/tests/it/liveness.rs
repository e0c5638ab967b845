//! What a channel does about an agent that is not ready yet, or not there any more: time passes only when it is told to.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use serde_json::json;
use tunnel::{
    Action, Channel, ChannelOptions, Command, Decoder, Error, Flag, Frame, HandshakeComplete,
    HandshakeRequest, Message, MessageType, PAYLOAD_SIZE, PayloadType, RequestedAction,
};

const PROOF_LIMIT: Duration = Duration::from_secs(15);

fn options() -> ChannelOptions {
    ChannelOptions {
        payload_size: PAYLOAD_SIZE,
        window: 1 << 20,
        quiet: Duration::from_secs(5),
        keep_alive: None,
        answer_within: None,
        proof_within: Some(PROOF_LIMIT),
        agent_limit: Duration::from_secs(60),
    }
}

/// What the agent does with what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Agent {
    /// It acknowledges, and takes streams.
    There,
    /// It acknowledges and throws away.
    Deaf,
    /// It acknowledges, but never comes back from connecting.
    Connecting,
    /// Nothing reaches it.
    Gone,
}

/// A channel with an agent at its far end, and a clock that moves when told to.
struct World {
    channel: Channel,
    agent: Agent,
    now: Instant,
    start: Instant,
    sequence: i64,
    decoder: Decoder,
    /// Every smux frame that the channel sent, each once.
    frames: Vec<Frame>,
    sent: i64,
    actions: Vec<Action>,
}

impl World {
    fn new(options: ChannelOptions, agent: Agent) -> World {
        let now = Instant::now();
        let channel = Channel::new(options, now);
        let mut world = World {
            channel,
            agent,
            now,
            start: now,
            sequence: 0,
            decoder: Decoder::default(),
            frames: Vec::new(),
            sent: 0,
            actions: Vec::new(),
        };
        let parameters = json!({"SessionType": "Port", "Properties": {"type": "LocalPortForwarding"}});
        let action = RequestedAction { action_type: "SessionType".into(), action_parameters: parameters };
        let request =
            HandshakeRequest { agent_version: "3.3.987.0".into(), requested_client_actions: vec![action] };
        world.say(PayloadType::HandshakeRequest, request.to_payload());
        world.say(PayloadType::HandshakeComplete, HandshakeComplete::default().to_payload());
        world
    }

    /// A session that has proved itself.
    fn ready(options: ChannelOptions) -> World {
        let mut world = World::new(options, Agent::There);
        world.pass(Duration::from_secs(1));
        assert!(world.channel.is_ready());
        world
    }

    fn say(&mut self, payload_type: PayloadType, payload: Bytes) {
        let mut message = Message::new(MessageType::OutputStreamData, payload_type, payload);
        message.sequence = self.sequence;
        self.sequence += 1;
        let actions = self.channel.on_message(message, self.now);
        self.take(actions);
    }

    fn say_frame(&mut self, frame: &Frame) {
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes);
        self.say(PayloadType::Output, bytes.freeze());
    }

    /// Lets the agent have what the channel sends, and keeps all else.
    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            let Action::Send(frame) = action else {
                self.actions.push(action);
                continue;
            };
            let message = Message::parse(frame).unwrap();
            if message.message_type != MessageType::InputStreamData {
                continue;
            }
            let is_new = message.sequence >= self.sent;
            self.sent = self.sent.max(message.sequence + 1);
            if is_new && message.payload_type == PayloadType::Output {
                self.decoder.push(&message.payload);
                while let Some(frame) = self.decoder.next_frame().unwrap() {
                    self.frames.push(frame);
                }
            }
            if self.agent != Agent::Gone {
                let actions = self.channel.on_message(Message::acknowledge(&message), self.now);
                self.take(actions);
            }
            if self.agent == Agent::There && is_new && message.payload.len() == 16 {
                let probe = self.frames.last().unwrap().stream;
                self.say_frame(&Frame::control(Command::Fin, probe));
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.channel.next_timer().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            let actions = self.channel.on_timer(self.now);
            self.take(actions);
        }
        self.now = end;
    }

    fn open(&mut self) -> u32 {
        let (stream, actions) = self.channel.open_stream(self.now);
        self.take(actions);
        stream
    }

    fn write(&mut self, stream: u32, length: usize) {
        let actions = self.channel.write(stream, vec![0; length].into(), self.now);
        self.take(actions);
    }

    fn count(&self, command: Command) -> usize {
        self.frames.iter().filter(|frame| frame.command == command).count()
    }

    fn closed(&self) -> Option<&Error> {
        self.actions
            .iter()
            .find_map(|action| if let Action::Closed(error) = action { Some(error) } else { None })
    }

    fn has(&self, what: impl Fn(&Action) -> bool) -> bool {
        self.actions.iter().any(what)
    }

    fn elapsed(&self) -> Duration {
        self.now - self.start
    }
}

#[test]
fn nobodys_stream_depends_on_a_session_before_it_has_proved_itself() {
    let mut world = World::new(options(), Agent::Connecting);
    assert!(!world.channel.is_ready(), "the agent's word alone is not enough");
    world.pass(Duration::from_millis(100));
    assert_eq!(world.frames, [Frame::control(Command::Syn, 3), Frame::control(Command::Fin, 3)]);
    assert!(!world.has(|action| matches!(action, Action::Ready { .. })));
    world.say_frame(&Frame::control(Command::Fin, 3));
    assert!(world.channel.is_ready());
    assert!(world.has(|action| matches!(action, Action::Ready { .. })));
    world.pass(Duration::from_secs(600));
    assert_eq!(world.count(Command::Syn), 1, "one proof is enough");
}

#[test]
fn a_target_that_refuses_proves_the_session_too() {
    let mut world = World::new(options(), Agent::Connecting);
    world.pass(Duration::from_millis(100));
    world.say(PayloadType::Flag, Flag::ConnectToPortError.to_payload());
    world.say_frame(&Frame::control(Command::Fin, 3));
    assert!(world.channel.is_ready());
    let stream = world.open();
    world.say_frame(&Frame::push(stream, "hello"));
    world.say_frame(&Frame::control(Command::Fin, stream));
    assert!(!world.has(|action| matches!(action, Action::ConnectFailed { .. })), "that was the probe's");
}

#[test]
fn what_was_acknowledged_and_thrown_away_is_said_again_under_another_id() {
    let mut world = World::new(options(), Agent::Deaf);
    world.pass(Duration::from_millis(200));
    assert_eq!(world.count(Command::Syn), 1);
    world.agent = Agent::There;
    world.pass(Duration::from_millis(100));
    assert_eq!(world.count(Command::Syn), 2);
    assert!(world.channel.is_ready());
}

#[test]
fn what_is_not_acknowledged_is_not_said_under_another_id() {
    let mut world = World::new(options(), Agent::Gone);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.count(Command::Syn), 1, "it is sent again as it is");
}

#[test]
fn a_session_that_proves_nothing_is_over_and_says_why() {
    let mut world = World::new(options(), Agent::Connecting);
    world.pass(PROOF_LIMIT + Duration::from_secs(1));
    assert!(matches!(world.closed(), Some(Error::Unproven { .. })), "{:?}", world.closed());
    assert!(
        world.count(Command::Syn) <= 4,
        "a target that swallows packets costs the agent minutes each time"
    );
    let mut world = World::new(options(), Agent::Gone);
    world.pass(PROOF_LIMIT + Duration::from_secs(1));
    assert!(matches!(world.closed(), Some(Error::AgentSilent { .. })), "{:?}", world.closed());
}

/// Carries a session over lost connections as its owner does, for that long; the agent is gone until `back`.
fn vanish(mut world: World, back: Option<Duration>) -> World {
    world.agent = Agent::Gone;
    let (left, mut reconnects) = (world.now, 0);
    while world.closed().is_none() && world.now < left + Duration::from_secs(300) {
        world.pass(Duration::from_millis(250));
        if back.is_some_and(|back| world.now >= left + back) {
            world.agent = Agent::There;
        }
        let asked = world.actions.iter().filter(|action| matches!(action, Action::Reconnect { .. })).count();
        if asked > reconnects {
            reconnects = asked;
            world.channel.on_disconnect(world.now);
            let actions = world.channel.on_reconnect(world.now);
            world.take(actions);
        }
    }
    world.start = left;
    world
}

#[test]
fn an_agent_that_vanishes_for_good_is_told_within_90_seconds() {
    // One stream waits for an answer, one has had it, and the third is kept open by the options.
    let waiting = |mut world: World| {
        let stream = world.open();
        world.write(stream, 100);
        world
    };
    let kept = ChannelOptions { keep_alive: Some(Duration::from_secs(240)), ..options() };
    let idle = |mut world: World| {
        let stream = world.open();
        world.say_frame(&Frame::push(stream, "hello"));
        world
    };
    let speaking = |mut world: World| {
        world.agent = Agent::Gone;
        let stream = world.open();
        world.write(stream, 5000);
        world
    };
    for world in
        [waiting(World::ready(options())), idle(World::ready(kept)), speaking(World::ready(options()))]
    {
        let world = vanish(world, None);
        assert!(matches!(world.closed(), Some(Error::AgentSilent { .. })), "{:?}", world.closed());
        assert!(world.elapsed() <= Duration::from_secs(90), "{:?}", world.elapsed());
        assert!(world.has(|action| matches!(action, Action::Reconnect { .. })), "another websocket is tried");
        assert!(
            !world.has(|action| matches!(action, Action::Unanswered { .. })),
            "it is not the target's fault"
        );
    }
}

#[test]
fn an_agent_that_vanishes_for_40_seconds_is_waited_for() {
    for answer_within in [None, Some(Duration::from_secs(15))] {
        let mut world = World::ready(ChannelOptions { answer_within, ..options() });
        let stream = world.open();
        world.say_frame(&Frame::push(stream, "hello"));
        world.agent = Agent::Gone;
        world.write(stream, 100_000);
        let mut world = vanish(world, Some(Duration::from_secs(40)));
        assert!(world.closed().is_none(), "{:?}", world.closed());
        assert_eq!(world.channel.outgoing().outstanding(), 0, "all that was written has arrived");
        world.say_frame(&Frame::push(stream, "answer"));
        assert!(world.has(|action| matches!(action, Action::Deliver { payload, .. } if payload == "answer")));
    }
}

#[test]
fn time_without_a_connection_is_not_the_agents_silence() {
    let mut world = World::ready(options());
    let stream = world.open();
    world.agent = Agent::Gone;
    world.write(stream, 100);
    world.pass(Duration::from_secs(10));
    world.channel.on_disconnect(world.now);
    world.now += Duration::from_secs(200);
    world.agent = Agent::There;
    let actions = world.channel.on_reconnect(world.now);
    world.take(actions);
    world.pass(Duration::from_secs(1));
    assert!(world.closed().is_none());
    assert_eq!(world.channel.outgoing().outstanding(), 0);
}

#[test]
fn a_target_that_does_not_read_is_told_of_and_not_given_up() {
    let mut world = World::ready(options());
    let stream = world.open();
    for _ in 0..40 {
        world.write(stream, 100_000);
    }
    world.agent = Agent::Gone;
    world.write(stream, 100_000);
    world.pass(Duration::from_secs(90));
    assert!(world.closed().is_none(), "{:?}", world.closed());
    assert!(world.has(|action| matches!(action, Action::Stalled { .. })), "it is told within 90 s");
}

#[test]
fn a_session_that_nobody_uses_is_left_to_the_services_idle_timeout() {
    let mut world = World::ready(options());
    let stream = world.open();
    world.say_frame(&Frame::push(stream, "hello"));
    world.pass(Duration::from_secs(3600));
    assert_eq!(world.count(Command::Nop), 0);
    world.write(stream, 1);
    world.pass(Duration::from_secs(61));
    assert!(world.count(Command::Nop) >= 2, "somebody waits for an answer");
}

#[test]
fn every_stream_has_its_answer_whatever_its_target() {
    // A target may be silent for as long as it likes: the agent has come back from it.
    let mut world = World::ready(options());
    let silent = world.open();
    world.write(silent, 10);
    world.pass(Duration::from_secs(3600));
    assert!(!world.has(|action| matches!(action, Action::Unanswered { .. })));
    // One that the agent does not come back from is given up after half a minute.
    world.agent = Agent::Connecting;
    let lost = world.open();
    world.pass(Duration::from_secs(29));
    assert!(!world.has(|action| matches!(action, Action::Unanswered { .. })));
    world.pass(Duration::from_secs(2));
    assert!(world.has(|action| matches!(action, Action::Unanswered { stream } if *stream == lost)));
    assert!(!world.has(|action| matches!(action, Action::Unanswered { stream } if *stream == silent)));
}

#[test]
fn a_stream_whose_target_has_answered_closes_soon_after_its_program() {
    let mut world = World::ready(options());
    let stream = world.open();
    world.write(stream, 10);
    world.say_frame(&Frame::push(stream, "answer"));
    world.channel.finish_stream(stream, world.now);
    let fins = world.count(Command::Fin);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.count(Command::Fin), fins + 1);
}

#[test]
fn a_question_that_is_not_answered_keeps_its_half_close() {
    let mut world = World::ready(options());
    let stream = world.open();
    world.write(stream, 10);
    world.say_frame(&Frame::push(stream, "answer"));
    world.write(stream, 10);
    world.channel.finish_stream(stream, world.now);
    let fins = world.count(Command::Fin);
    world.pass(Duration::from_millis(4900));
    assert_eq!(world.count(Command::Fin), fins);
    world.say_frame(&Frame::push(stream, "part of it"));
    world.pass(Duration::from_millis(4900));
    assert_eq!(world.count(Command::Fin), fins, "what comes after the program's end says that more may");
    world.pass(Duration::from_millis(200));
    assert_eq!(world.count(Command::Fin), fins + 1);
}

#[test]
fn the_end_of_a_session_says_what_happened() {
    let end = |output: &str, prepare: fn(&mut World)| {
        let mut world = World::ready(options());
        prepare(&mut world);
        let payload = json!({"SessionId": "s", "Output": output}).to_string();
        let message = Message::new(MessageType::ChannelClosed, PayloadType::Unset, payload);
        let actions = world.channel.on_message(message, world.now);
        world.take(actions);
        world.closed().unwrap().clone()
    };
    let uploading = |world: &mut World| {
        let stream = world.open();
        world.agent = Agent::Gone;
        world.write(stream, 5000);
        world.pass(Duration::from_secs(2));
    };
    let error = end("", uploading);
    assert!(matches!(error, Error::EndedUnderUpload { unacknowledged } if unacknowledged > 5000), "{error}");
    assert!(error.to_string().contains("takes the same bytes twice"), "{error}");
    let error = end("Your session timed out due to inactivity.", uploading);
    assert!(matches!(error, Error::SessionEnded { .. }), "the service's own words come first: {error}");
    let error = end("", |_| ());
    assert_eq!(error.to_string(), "the session has ended");
    let error = end("Forwarding to IP address 127.0.0.1 is forbidden.", |_| ());
    assert!(matches!(error, Error::Forbidden { .. }), "{error}");
    let error = end("dial tcp: lookup db.internal: no such host", |_| ());
    assert!(matches!(error, Error::UnknownHost { .. }), "{error}");
}
