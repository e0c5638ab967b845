//! A native client of the Session Manager data channel.
//!
//! The codec and the state machine do no I/O. Both directions can be expressed, so that a test agent
//! can be built from the same parts.

mod json;
mod message;
mod payload;
mod smux;
mod version;

pub use message::{Message, MessageType, PREFIX, ParseError, PayloadType};
pub use payload::{
    Acknowledge, ActionStatus, ChannelClosed, Flag, HandshakeComplete, HandshakeRequest, HandshakeResponse,
    OpenDataChannel, ProcessedAction, RequestedAction, Token,
};
pub use smux::{Command, Decoder, Frame, FrameError};
pub use version::{ParseVersionError, Version};
