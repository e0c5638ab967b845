//! Frames of smux version 1, which carry many streams in the bytes of one session. Little endian.

use bytes::{Buf, BufMut, Bytes, BytesMut};

const VERSION: u8 = 1;
const HEADER: usize = 8;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What to do.
    pub command: Command,
    /// With which stream; a client's are odd, 0 is none.
    pub stream: u32,
    /// Bytes of the stream; empty unless pushed.
    pub payload: Bytes,
}

/// What a frame asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open the stream.
    Syn,
    /// Close the stream, both ways.
    Fin,
    /// Take these bytes.
    Psh,
    /// Nothing; shows that the sender lives.
    Nop,
}

impl Frame {
    /// The largest payload that this crate puts in one frame; smux's own default.
    pub const MAX_PAYLOAD: usize = 32_768;

    /// Returns a frame without payload.
    pub fn control(command: Command, stream: u32) -> Frame {
        Frame { command, stream, payload: Bytes::new() }
    }

    /// Returns a frame with bytes of a stream, at most 65 535 of them.
    pub fn push(stream: u32, payload: impl Into<Bytes>) -> Frame {
        Frame { command: Command::Psh, stream, payload: payload.into() }
    }

    /// Appends the frame's bytes to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        out.reserve(HEADER + self.payload.len());
        out.put_u8(VERSION);
        out.put_u8(self.command as u8);
        out.put_u16_le(
            u16::try_from(self.payload.len()).expect("invariant: a frame holds at most 65535 bytes"),
        );
        out.put_u32_le(self.stream);
        out.put_slice(&self.payload);
    }
}

/// Cuts a stream of bytes into frames, whatever pieces it comes in.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next frame once all its bytes are there.
    ///
    /// # Errors
    /// When the bytes are not smux version 1; nothing after that can be trusted.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.buffer.len() < HEADER {
            return Ok(None);
        }
        if self.buffer[0] != VERSION {
            return Err(FrameError::Version(self.buffer[0]));
        }
        let command = match self.buffer[1] {
            0 => Command::Syn,
            1 => Command::Fin,
            2 => Command::Psh,
            3 => Command::Nop,
            other => return Err(FrameError::Command(other)),
        };
        let length = usize::from(u16::from_le_bytes([self.buffer[2], self.buffer[3]]));
        if self.buffer.len() < HEADER + length {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(HEADER + length).freeze();
        frame.advance(4);
        let stream = frame.get_u32_le();
        Ok(Some(Frame { command, stream, payload: frame }))
    }
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not version 1.
    #[error("smux version {0} is not supported")]
    Version(u8),
    /// Not one of the four commands.
    #[error("smux command {0} does not exist")]
    Command(u8),
}
