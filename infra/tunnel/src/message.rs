//! The binary message of the data channel: a big-endian prefix of 120 bytes, then the payload.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::payload::Acknowledge;

/// The bytes in front of the payload, as every known agent and client writes them.
pub const PREFIX: usize = 120;

/// What the header length field holds: it leaves out the payload length, which follows it.
const HEADER_LENGTH: u32 = 116;
const TYPE_WIDTH: usize = 32;
const ACKNOWLEDGE_FLAGS: u64 = 3;

/// One message of the data channel, in either direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What the message is for.
    pub message_type: MessageType,
    /// The version of the layout; 1 today.
    pub schema_version: u32,
    /// When it was made, in milliseconds since 1970; never 0.
    pub created: u64,
    /// Its place in the sender's stream of data messages; 0 for all others.
    pub sequence: i64,
    /// 0 for data (an agent sets 1 on its first message), 3 for an acknowledgement.
    pub flags: u64,
    /// The message's own name.
    pub id: Uuid,
    /// What the payload holds.
    pub payload_type: PayloadType,
    /// The payload.
    pub payload: Bytes,
}

impl Message {
    /// Returns a message made now with a new id and sequence number 0.
    pub fn new(message_type: MessageType, payload_type: PayloadType, payload: impl Into<Bytes>) -> Message {
        Message {
            message_type,
            schema_version: 1,
            created: now_ms(),
            sequence: 0,
            flags: 0,
            id: Uuid::new_v4(),
            payload_type,
            payload: payload.into(),
        }
    }

    /// Returns the acknowledgement of `message`.
    pub fn acknowledge(message: &Message) -> Message {
        let payload = Acknowledge {
            message_type: message.message_type.name().to_owned(),
            message_id: message.id,
            sequence: message.sequence,
            is_sequential: true,
        };
        let mut acknowledge =
            Message::new(MessageType::Acknowledge, PayloadType::Unset, payload.to_payload());
        acknowledge.flags = ACKNOWLEDGE_FLAGS;
        acknowledge
    }

    /// Returns the message in `frame`.
    ///
    /// The header length is read from the frame, so that a longer header of a later version is skipped.
    /// Unknown message and payload types are kept.
    ///
    /// # Errors
    /// When the frame is shorter than it says, has no type or date, or its payload does not match its digest.
    pub fn parse(frame: impl Into<Bytes>) -> Result<Message, ParseError> {
        let frame: Bytes = frame.into();
        if frame.len() < PREFIX {
            return Err(ParseError::TooShort { length: frame.len() });
        }
        let header_length = u32::from_be_bytes(array(&frame, 0));
        let payload_at = (header_length as usize).saturating_add(4);
        if header_length < HEADER_LENGTH || payload_at > frame.len() {
            return Err(ParseError::HeaderLength { header_length, length: frame.len() });
        }
        let message = Message {
            message_type: MessageType::parse(&frame[4..4 + TYPE_WIDTH]),
            schema_version: u32::from_be_bytes(array(&frame, 36)),
            created: u64::from_be_bytes(array(&frame, 40)),
            sequence: i64::from_be_bytes(array(&frame, 48)),
            flags: u64::from_be_bytes(array(&frame, 56)),
            id: Uuid::from_bytes(swap_halves(array(&frame, 64))),
            payload_type: PayloadType::from_number(u32::from_be_bytes(array(&frame, 112))),
            payload: frame.slice(payload_at..),
        };
        message.check(&frame[80..112])?;
        Ok(message)
    }

    /// Returns the frame of the message.
    pub fn encode(&self) -> Bytes {
        let mut frame = BytesMut::with_capacity(PREFIX + self.payload.len());
        frame.put_u32(HEADER_LENGTH);
        // Spaces, not NUL: both official programs pad so.
        let mut name = [b' '; TYPE_WIDTH];
        let text = self.message_type.name().as_bytes();
        let width = text.len().min(TYPE_WIDTH);
        name[..width].copy_from_slice(&text[..width]);
        frame.put_slice(&name);
        frame.put_u32(self.schema_version);
        frame.put_u64(self.created);
        frame.put_i64(self.sequence);
        frame.put_u64(self.flags);
        frame.put_slice(&swap_halves(self.id.into_bytes()));
        frame.put_slice(&Sha256::digest(&self.payload));
        frame.put_u32(self.payload_type.number());
        frame.put_u32(u32::try_from(self.payload.len()).expect("invariant: a payload is shorter than 4 GiB"));
        frame.put_slice(&self.payload);
        frame.freeze()
    }

    fn check(&self, digest: &[u8]) -> Result<(), ParseError> {
        // The service sends these two without a date or a digest.
        if matches!(self.message_type, MessageType::StartPublication | MessageType::PausePublication) {
            return Ok(());
        }
        if self.message_type.name().is_empty() {
            return Err(ParseError::NoType);
        }
        if self.created == 0 {
            return Err(ParseError::NoDate);
        }
        if !self.payload.is_empty() && Sha256::digest(&self.payload).as_slice() != digest {
            return Err(ParseError::Digest { sequence: self.sequence });
        }
        Ok(())
    }
}

/// What a message is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageType {
    /// Data from the client to the agent.
    InputStreamData,
    /// Data from the agent to the client.
    OutputStreamData,
    /// The receipt of one data message.
    Acknowledge,
    /// The session is over.
    ChannelClosed,
    /// The other end may send.
    StartPublication,
    /// The other end should not send.
    PausePublication,
    /// A type that this client does not know.
    Unknown(String),
}

impl MessageType {
    /// Returns the name on the wire, without its padding.
    pub fn name(&self) -> &str {
        match self {
            MessageType::InputStreamData => "input_stream_data",
            MessageType::OutputStreamData => "output_stream_data",
            MessageType::Acknowledge => "acknowledge",
            MessageType::ChannelClosed => "channel_closed",
            MessageType::StartPublication => "start_publication",
            MessageType::PausePublication => "pause_publication",
            MessageType::Unknown(name) => name,
        }
    }

    fn parse(field: &[u8]) -> MessageType {
        let name = String::from_utf8_lossy(field);
        match name.trim_matches(['\0', ' ']) {
            "input_stream_data" => MessageType::InputStreamData,
            "output_stream_data" => MessageType::OutputStreamData,
            "acknowledge" => MessageType::Acknowledge,
            "channel_closed" => MessageType::ChannelClosed,
            "start_publication" => MessageType::StartPublication,
            "pause_publication" => MessageType::PausePublication,
            other => MessageType::Unknown(other.to_owned()),
        }
    }
}

/// What a payload holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadType {
    /// Nothing said; acknowledgements have it.
    Unset,
    /// Bytes of the session.
    Output,
    /// An error text.
    Error,
    /// The size of a terminal.
    Size,
    /// A parameter.
    Parameter,
    /// [`HandshakeRequest`](crate::HandshakeRequest)
    HandshakeRequest,
    /// [`HandshakeResponse`](crate::HandshakeResponse)
    HandshakeResponse,
    /// [`HandshakeComplete`](crate::HandshakeComplete)
    HandshakeComplete,
    /// A challenge of an encrypted shell.
    EncryptionChallengeRequest,
    /// The answer to it.
    EncryptionChallengeResponse,
    /// [`Flag`](crate::Flag)
    Flag,
    /// Bytes of a command's standard error.
    StdErr,
    /// The exit code of a command.
    ExitCode,
    /// A type that this client does not know.
    Unknown(u32),
}

impl PayloadType {
    /// Returns the number on the wire.
    pub fn number(self) -> u32 {
        match self {
            PayloadType::Unset => 0,
            PayloadType::Output => 1,
            PayloadType::Error => 2,
            PayloadType::Size => 3,
            PayloadType::Parameter => 4,
            PayloadType::HandshakeRequest => 5,
            PayloadType::HandshakeResponse => 6,
            PayloadType::HandshakeComplete => 7,
            PayloadType::EncryptionChallengeRequest => 8,
            PayloadType::EncryptionChallengeResponse => 9,
            PayloadType::Flag => 10,
            PayloadType::StdErr => 11,
            PayloadType::ExitCode => 12,
            PayloadType::Unknown(number) => number,
        }
    }

    /// Returns the type of that number.
    pub fn from_number(number: u32) -> PayloadType {
        match number {
            0 => PayloadType::Unset,
            1 => PayloadType::Output,
            2 => PayloadType::Error,
            3 => PayloadType::Size,
            4 => PayloadType::Parameter,
            5 => PayloadType::HandshakeRequest,
            6 => PayloadType::HandshakeResponse,
            7 => PayloadType::HandshakeComplete,
            8 => PayloadType::EncryptionChallengeRequest,
            9 => PayloadType::EncryptionChallengeResponse,
            10 => PayloadType::Flag,
            11 => PayloadType::StdErr,
            12 => PayloadType::ExitCode,
            other => PayloadType::Unknown(other),
        }
    }
}

/// Why a frame is no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The frame ends inside the prefix.
    #[error("a frame of {length} bytes is too short for a message")]
    TooShort {
        /// The bytes that there are.
        length: usize,
    },
    /// The header length points outside the frame or into the known fields.
    #[error("a frame of {length} bytes cannot have a header of {header_length}")]
    HeaderLength {
        /// What the frame says.
        header_length: u32,
        /// The bytes that there are.
        length: usize,
    },
    /// The message type is empty.
    #[error("a message has no type")]
    NoType,
    /// The date is 0.
    #[error("a message has no date")]
    NoDate,
    /// The payload is not what the sender hashed.
    #[error("the payload of message {sequence} does not match its digest")]
    Digest {
        /// The sequence number of the message.
        sequence: i64,
    },
}

/// On the wire the low half of a UUID comes first.
fn swap_halves(id: [u8; 16]) -> [u8; 16] {
    u128::from_be_bytes(id).rotate_left(64).to_be_bytes()
}

fn array<const N: usize>(frame: &[u8], at: usize) -> [u8; N] {
    frame[at..at + N].try_into().expect("invariant: the caller checked the length")
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // A clock before 1970 must not make a message that the other end refuses.
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX).max(1)
}
