//! Frames captured between the official client and the official agent.

use bytes::{Bytes, BytesMut};
use tunnel::{
    Acknowledge, Command, Decoder, Flag, Frame, HandshakeComplete, HandshakeRequest, HandshakeResponse,
    Message, MessageType, PayloadType,
};

const FRAMES: &str = include_str!("../golden/port-mux-echo.frames.txt");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    ToAgent,
    ToClient,
}

pub(crate) fn frames() -> Vec<(Direction, Bytes)> {
    FRAMES
        .lines()
        .map(|line| {
            let mut fields = line.split(' ').skip(1);
            let direction = match fields.next() {
                Some("c>a") => Direction::ToAgent,
                Some("a>c") => Direction::ToClient,
                other => panic!("no direction: {other:?}"),
            };
            let hex = fields.next().unwrap();
            let bytes = (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect();
            (direction, bytes)
        })
        .collect()
}

#[test]
fn every_captured_frame_is_written_again_to_the_same_bytes() {
    let frames = frames();
    assert_eq!(frames.len(), 31);
    for (_, frame) in frames {
        assert_eq!(Message::parse(frame.clone()).unwrap().encode(), frame);
    }
}

#[test]
fn the_halves_of_a_message_id_are_swapped_on_the_wire() {
    let messages: Vec<Message> = frames().into_iter().map(|(_, f)| Message::parse(f).unwrap()).collect();
    let acknowledge = Acknowledge::parse(&messages[2].payload).unwrap();
    assert_eq!(acknowledge.message_id, messages[0].id);
    assert_eq!(messages[0].id.to_string(), "516d7643-ef3b-4d21-8506-50affb2be8a4");
}

#[test]
fn captured_json_payloads_are_written_again_to_the_same_bytes() {
    for (_, frame) in frames() {
        let Message { message_type, payload_type, payload, .. } = Message::parse(frame).unwrap();
        let again = match payload_type {
            PayloadType::HandshakeResponse => HandshakeResponse::parse(&payload).unwrap().to_payload(),
            PayloadType::HandshakeComplete => HandshakeComplete::parse(&payload).unwrap().to_payload(),
            PayloadType::Flag => Flag::parse(&payload).unwrap().to_payload(),
            _ if message_type == MessageType::Acknowledge => {
                Acknowledge::parse(&payload).unwrap().to_payload()
            }
            _ => continue,
        };
        assert_eq!(again, payload);
    }
}

#[test]
fn the_captured_handshake_asks_for_a_port_session_only() {
    let (_, frame) = frames().remove(0);
    let request = HandshakeRequest::parse(&Message::parse(frame).unwrap().payload).unwrap();
    assert_eq!(request.agent_version, "3.3.987.0");
    assert_eq!(request.requested_client_actions.len(), 1);
    let action = &request.requested_client_actions[0];
    assert_eq!(action.action_type, "SessionType");
    assert_eq!(action.action_parameters["SessionType"], "Port");
    assert_eq!(action.action_parameters["Properties"]["type"], "LocalPortForwarding");
}

#[test]
fn the_captured_session_carries_one_echoed_stream() {
    for direction in [Direction::ToAgent, Direction::ToClient] {
        let mut decoder = Decoder::default();
        let mut seen = Vec::new();
        let mut encoded = BytesMut::new();
        let mut raw = BytesMut::new();
        for (_, frame) in frames().into_iter().filter(|(d, _)| *d == direction) {
            let message = Message::parse(frame).unwrap();
            if message.payload_type == PayloadType::Output {
                raw.extend_from_slice(&message.payload);
                decoder.push(&message.payload);
            }
        }
        while let Some(frame) = decoder.next_frame().unwrap() {
            frame.encode(&mut encoded);
            seen.push(frame);
        }
        assert_eq!(encoded, raw);
        let mut expected = vec![Frame::push(3, "x"); 4];
        expected.push(Frame::control(Command::Fin, 3));
        if direction == Direction::ToAgent {
            expected.insert(0, Frame::control(Command::Syn, 3));
        }
        assert_eq!(seen, expected);
    }
}
