//! Messages that came before their turn: the first in memory, the others in a temporary file.
//!
//! An agent sends a thousand messages a second. Of lost messages it repeats only the oldest, ten times a second: behind a
//! gap of a hundred messages, ten thousand wait. A message without room here is not acknowledged, and is repeated at the same
//! slow pace; so there must be room.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::{Bytes, BytesMut};

use crate::message::Message;

/// The payload kept in memory.
const MEMORY: usize = 1 << 20;
/// The payload kept in all.
const MOST_BYTES: u64 = 64 << 20;
/// The messages kept in all; about 200 bytes each stay in memory.
const MOST_MESSAGES: usize = 65_536;

/// Messages by number. A file is gone with the process, however that ends, and as soon as nothing is missing any more.
#[derive(Debug, Default)]
pub(crate) struct ReorderBuffer {
    messages: BTreeMap<i64, Buffered>,
    memory: usize,
    file: Option<File>,
    written: u64,
}

#[derive(Debug)]
struct Buffered {
    /// Without its payload if that lies in the file.
    message: Message,
    place: Option<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    offset: u64,
    length: usize,
}

impl ReorderBuffer {
    pub(crate) fn contains(&self, sequence: i64) -> bool {
        self.messages.contains_key(&sequence)
    }

    /// Keeps a message; says whether there was room.
    pub(crate) fn insert(&mut self, mut message: Message) -> bool {
        let length = message.payload.len();
        if self.messages.len() >= MOST_MESSAGES {
            return false;
        }
        let place = if self.memory + length <= MEMORY {
            self.memory += length;
            // A copy: a slice would keep all that the websocket read with it.
            message.payload = Bytes::copy_from_slice(&message.payload);
            None
        } else {
            let payload = std::mem::take(&mut message.payload);
            match self.write(&payload) {
                Ok(place) => Some(place),
                // The disk is full, or there is none: it comes again.
                Err(_) => return false,
            }
        };
        self.messages.insert(message.sequence, Buffered { message, place });
        true
    }

    /// Gives up the message of that number, if it came.
    ///
    /// # Errors
    /// When the file cannot be read. The message was acknowledged, so it is lost.
    pub(crate) fn take(&mut self, sequence: i64) -> io::Result<Option<Message>> {
        let Some(Buffered { mut message, place }) = self.messages.remove(&sequence) else { return Ok(None) };
        match place {
            None => self.memory -= message.payload.len(),
            Some(place) => message.payload = self.read(place)?,
        }
        if self.messages.is_empty() {
            (self.file, self.written) = (None, 0);
        }
        Ok(Some(message))
    }

    fn write(&mut self, payload: &[u8]) -> io::Result<Place> {
        let end = self.written + payload.len() as u64;
        if end > MOST_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile()?,
        };
        let file = self.file.insert(file);
        file.write_all_at(payload, self.written)?;
        let place = Place { offset: self.written, length: payload.len() };
        self.written = end;
        Ok(place)
    }

    fn read(&self, place: Place) -> io::Result<Bytes> {
        let mut payload = BytesMut::zeroed(place.length);
        if let Some(file) = &self.file {
            file.read_exact_at(&mut payload, place.offset)?;
        }
        Ok(payload.freeze())
    }
}
