use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use tunnel::{
    ActionStatus, ChannelClosed, Command, Decoder, Flag, Frame, HandshakeComplete, HandshakeRequest,
    HandshakeResponse, Message, MessageType, OpenDataChannel, PREFIX, ParseError, PayloadType, Token,
    Version,
};
use uuid::Uuid;

fn message() -> impl Strategy<Value = Message> {
    let message_type = prop_oneof![
        Just(MessageType::InputStreamData),
        Just(MessageType::OutputStreamData),
        Just(MessageType::Acknowledge),
        Just(MessageType::ChannelClosed),
        Just(MessageType::StartPublication),
        Just(MessageType::PausePublication),
        "x[a-z_]{0,31}".prop_map(MessageType::Unknown),
    ];
    let payload = proptest::collection::vec(any::<u8>(), 0..2000);
    (
        message_type,
        any::<u32>(),
        1..u64::MAX,
        any::<i64>(),
        any::<u64>(),
        any::<u128>(),
        any::<u32>(),
        payload,
    )
        .prop_map(
            |(message_type, schema_version, created, sequence, flags, id, payload_type, payload)| Message {
                message_type,
                schema_version,
                created,
                sequence,
                flags,
                id: Uuid::from_u128(id),
                payload_type: PayloadType::from_number(payload_type % 20),
                payload: payload.into(),
            },
        )
}

fn frame() -> impl Strategy<Value = Frame> {
    let payload = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..300),
        1 => (65_000usize..=65_535).prop_map(|length| vec![7; length]),
    ];
    (0..4u8, any::<u32>(), payload).prop_map(|(command, stream, payload)| match command {
        0 => Frame::control(Command::Syn, stream),
        1 => Frame::control(Command::Fin, stream),
        2 => Frame::control(Command::Nop, stream),
        _ => Frame::push(stream, payload),
    })
}

proptest! {
    #[test]
    fn a_message_comes_back_as_it_was(message in message()) {
        prop_assert_eq!(Message::parse(message.encode()).unwrap(), message);
    }

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        drop(Message::parse(bytes.clone()));
        drop(HandshakeRequest::parse(&bytes));
        let _ = Flag::parse(&bytes);
        let mut decoder = Decoder::default();
        decoder.push(&bytes);
        while let Ok(Some(_)) = decoder.next_frame() {}
    }

    #[test]
    fn a_damaged_frame_never_panics_and_a_damaged_payload_is_refused(
        message in message(),
        at in any::<prop::sample::Index>(),
        flip in 1..=255u8,
    ) {
        let mut frame = message.encode().to_vec();
        let at = at.index(frame.len());
        frame[at] ^= flip;
        let parsed = Message::parse(frame);
        let checked =
            !matches!(message.message_type, MessageType::StartPublication | MessageType::PausePublication);
        if at >= PREFIX && checked {
            prop_assert_eq!(parsed, Err(ParseError::Digest { sequence: message.sequence }));
        }
    }

    #[test]
    fn frames_come_out_whole_whatever_pieces_they_come_in(
        frames in proptest::collection::vec(frame(), 1..12),
        piece in 1usize..3000,
    ) {
        let mut bytes = BytesMut::new();
        for frame in &frames {
            frame.encode(&mut bytes);
        }
        let mut decoder = Decoder::default();
        let mut seen = Vec::new();
        for piece in bytes.chunks(piece) {
            decoder.push(piece);
            while let Some(frame) = decoder.next_frame().unwrap() {
                seen.push(frame);
            }
        }
        prop_assert_eq!(seen, frames);
    }
}

#[test]
fn a_longer_header_of_a_later_version_is_skipped() {
    let message = Message::new(MessageType::OutputStreamData, PayloadType::Output, "hello");
    let frame = message.encode();
    let mut longer = frame[..116].to_vec();
    longer[..4].copy_from_slice(&126u32.to_be_bytes());
    // The payload type keeps its place; ten new bytes come between it and the payload length.
    longer.extend_from_slice(&[9; 10]);
    longer.extend_from_slice(&frame[116..]);
    assert_eq!(Message::parse(longer).unwrap(), message);
}

#[test]
fn a_type_padded_with_nul_is_the_same_type() {
    let message = Message::new(MessageType::ChannelClosed, PayloadType::Unset, "{}");
    let mut frame = message.encode().to_vec();
    for byte in &mut frame[4..36] {
        if *byte == b' ' {
            *byte = 0;
        }
    }
    assert_eq!(Message::parse(frame).unwrap(), message);
}

#[test]
fn a_header_that_points_outside_the_frame_is_refused() {
    let mut frame = Message::new(MessageType::Acknowledge, PayloadType::Unset, "{}").encode().to_vec();
    for header_length in [0, 115, 1000, u32::MAX] {
        frame[..4].copy_from_slice(&header_length.to_be_bytes());
        let length = frame.len();
        assert_eq!(Message::parse(frame.clone()), Err(ParseError::HeaderLength { header_length, length }));
    }
    assert_eq!(Message::parse(Bytes::from_static(b"{}")), Err(ParseError::TooShort { length: 2 }));
}

#[test]
fn a_publication_message_needs_neither_date_nor_digest() {
    let mut message = Message::new(MessageType::PausePublication, PayloadType::Unset, "anything");
    message.created = 0;
    let mut frame = message.encode().to_vec();
    frame[80..112].fill(0);
    assert_eq!(Message::parse(frame.clone()).unwrap(), message);
    frame[4..36].fill(b' ');
    assert_eq!(Message::parse(frame), Err(ParseError::NoType));
}

#[test]
fn the_first_frame_is_the_json_that_the_service_expects_and_its_debug_hides_the_token() {
    let open = OpenDataChannel {
        message_schema_version: "1.0".into(),
        request_id: Uuid::from_u128(1),
        token_value: Token::new("clear"),
        client_id: Uuid::from_u128(2),
        client_version: "1.2.764.0".into(),
    };
    assert_eq!(
        open.to_payload(),
        r#"{"MessageSchemaVersion":"1.0","RequestId":"00000000-0000-0000-0000-000000000001","TokenValue":"clear","ClientId":"00000000-0000-0000-0000-000000000002","ClientVersion":"1.2.764.0"}"#
    );
    assert_eq!(OpenDataChannel::parse(&open.to_payload()).unwrap(), open);
    assert!(!format!("{open:?}").contains("clear"));
}

#[test]
fn null_lists_and_missing_fields_of_go_programs_are_empty() {
    let request = HandshakeRequest::parse(br#"{"AgentVersion":"3.1.0.0","RequestedClientActions":null}"#);
    assert!(request.unwrap().requested_client_actions.is_empty());
    let complete = HandshakeComplete::parse(br#"{"CustomerMessage":null}"#).unwrap();
    assert_eq!(complete, HandshakeComplete::default());
    let closed = ChannelClosed::parse(br#"{"Output":"idle"}"#).unwrap();
    assert_eq!(closed.output, "idle");
    let response = HandshakeResponse::parse(
        br#"{"ClientVersion":"1","ProcessedClientActions":[{"ActionType":"A","ActionStatus":7}],"Errors":null}"#,
    );
    assert_eq!(response.unwrap().processed_client_actions[0].action_status, ActionStatus::Unsupported);
}

#[test]
fn versions_compare_as_numbers_part_by_part() {
    let parse = |text: &str| text.parse::<Version>();
    assert!(parse("3.0.196.0").unwrap() < parse("3.0.1390.0").unwrap());
    assert!(parse("3.3.987.0").unwrap() > parse("3.1.1511.0").unwrap());
    assert_eq!(parse("1.2.764.0").unwrap(), Version::new(1, 2, 764, 0));
    for bad in ["", "3.3.987", "3.3.987.0.1", "3.3.x.0", "-1.0.0.0"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}
