//! A native client of the Session Manager data channel.
//!
//! [`Channel`] is the client without I/O: messages and time go in, actions come out. [`Tunnel`] owns a
//! websocket and a channel, survives lost connections, and gives streams that are read and written like any
//! other socket. [`Shell`] is a session with a terminal or a single command instead, over the same layers. The codec and the reliability layer ([`Message`], [`Outgoing`], [`Incoming`], [`Decoder`])
//! serve both directions, so that an agent can be built from them too.

mod channel;
mod cipher;
mod connect;
mod connection_loop;
mod control;
mod drive;
mod duplex;
mod error;
mod event;
mod handshake;
mod heartbeat;
mod incoming;
mod json;
mod link;
mod liveness;
mod message;
mod mux;
mod options;
mod outgoing;
mod payload;
mod pool;
mod proof;
mod receive_buffer;
mod reliable;
mod reorder_buffer;
mod rtt;
mod session;
mod shell;
mod slot;
mod smux;
mod spill_file;
mod state;
mod stream;
mod tls;
mod traffic;
mod tunnel;
mod version;
mod websocket;
mod window;

pub use channel::{Action, Channel, ChannelOptions};
pub use cipher::{Cipher, DataKey, DataKeyError, DecryptError, Side};
pub use control::{BoxFuture, Control, ControlError, SessionToken};
pub use error::{Cause, Error};
pub use event::{Event, Events};
pub use incoming::Incoming;
pub use message::{Message, MessageType, PREFIX, ParseError, PayloadType};
pub use options::Options;
pub use outgoing::{Acknowledged, Outgoing};
pub use payload::{
    Acknowledge, ActionStatus, ChannelClosed, Flag, HandshakeComplete, HandshakeRequest, HandshakeResponse,
    OpenDataChannel, ProcessedAction, RequestedAction, Token,
};
pub use shell::{
    EncryptionChallenge, KmsRequest, KmsResponse, Shell, ShellEvent, ShellHandle, ShellOptions, TerminalSize,
    parse_exit_code, render_exit_code,
};
pub use smux::{Command, Decoder, Frame, FrameError};
pub use state::{Phase, SessionState, State};
pub use stream::Stream;
pub use tunnel::Tunnel;
pub use version::{ParseVersionError, Version};

/// The bytes in one message, as all official clients send: what more the service would take is not known.
pub const PAYLOAD_SIZE: usize = 1024;
