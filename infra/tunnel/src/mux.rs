//! The streams inside a session.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::smux::{Command, Decoder, Frame, FrameError};

/// How long the end of a stream that carried nothing waits for the flag that says why.
const REFUSAL_GRACE: Duration = Duration::from_millis(250);

/// Opens streams, sorts their bytes, and knows how each ended.
#[derive(Debug)]
pub(crate) struct Mux {
    decoder: Decoder,
    streams: BTreeMap<u32, State>,
    next: u32,
    /// Refusals whose stream has not ended yet: the flag does not say which stream it is.
    refusals: usize,
    quiet: Duration,
    /// How long a stream that was written to waits for the first byte of its target.
    answer_within: Option<Duration>,
    /// The agent connects to one target after the other, and has not come back from one of them.
    is_stuck: bool,
}

#[derive(Debug, Default)]
struct State {
    /// The agent sent bytes: its connection to the target exists.
    heard: bool,
    /// When the target must have answered.
    answer_by: Option<Instant>,
    fin_sent: bool,
    /// When to send FIN after the local end of input, unless more comes in.
    fin_at: Option<Instant>,
    /// When the end counts as an end, unless a refusal comes.
    ends_at: Option<Instant>,
}

/// What came of bytes or time.
#[derive(Debug, PartialEq)]
pub(crate) enum Event {
    Send(Frame),
    Deliver { stream: u32, payload: Bytes },
    Closed { stream: u32 },
    Refused { stream: u32 },
    Unanswered { stream: u32 },
}

impl Mux {
    pub(crate) fn new(quiet: Duration, answer_within: Option<Duration>) -> Mux {
        Mux {
            decoder: Decoder::default(),
            streams: BTreeMap::new(),
            // The first id of the Go client too.
            next: 3,
            refusals: 0,
            quiet,
            answer_within,
            is_stuck: false,
        }
    }

    pub(crate) fn open(&mut self) -> (u32, Frame) {
        let stream = self.next;
        self.next = self.next.wrapping_add(2);
        self.streams.insert(stream, State::default());
        (stream, Frame::control(Command::Syn, stream))
    }

    /// Returns the frames of `bytes`; none once the stream has ended.
    pub(crate) fn write(&mut self, stream: u32, mut bytes: Bytes, now: Instant) -> Vec<Frame> {
        let mut frames = Vec::new();
        let Some(state) = self.streams.get_mut(&stream).filter(|state| !state.fin_sent) else {
            return frames;
        };
        if !state.heard && !bytes.is_empty() {
            state.answer_by = state.answer_by.or(self.answer_within.map(|limit| now + limit));
        }
        while !bytes.is_empty() {
            let length = bytes.len().min(Frame::MAX_PAYLOAD);
            frames.push(Frame::push(stream, bytes.split_to(length)));
        }
        frames
    }

    /// Nothing more will be written. FIN waits for the other end or for silence, because it closes both ways.
    pub(crate) fn finish(&mut self, stream: u32, now: Instant) {
        if let Some(state) = self.streams.get_mut(&stream)
            && !state.fin_sent
        {
            state.fin_at.get_or_insert(now + self.quiet);
        }
    }

    /// Nobody reads or writes any more.
    pub(crate) fn close(&mut self, stream: u32) -> Option<Frame> {
        self.streams.get_mut(&stream).and_then(|state| state.fin(stream))
    }

    pub(crate) fn on_bytes(&mut self, bytes: &[u8], now: Instant) -> Result<Vec<Event>, FrameError> {
        self.decoder.push(bytes);
        let mut events = Vec::new();
        while let Some(frame) = self.decoder.next_frame()? {
            match frame.command {
                Command::Psh => events.extend(self.on_push(frame, now)),
                Command::Fin => self.on_fin(frame.stream, now, &mut events),
                Command::Syn | Command::Nop => (),
            }
        }
        Ok(events)
    }

    /// The agent could not connect to the target, for one of the streams that carried nothing yet.
    pub(crate) fn on_refusal(&mut self) -> Option<Event> {
        let ended = self.streams.iter().rev().find(|(_, state)| state.ends_at.is_some());
        if let Some((&stream, _)) = ended {
            self.streams.remove(&stream);
            return Some(Event::Refused { stream });
        }
        let candidates = self.streams.values().filter(|state| !state.heard).count();
        self.refusals = (self.refusals + 1).min(candidates);
        None
    }

    pub(crate) fn on_timer(&mut self, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        for (&stream, state) in &mut self.streams {
            if state.fin_at.is_some_and(|at| at <= now) {
                events.extend(state.fin(stream).map(Event::Send));
            }
            if state.ends_at.is_some_and(|at| at <= now) {
                events.push(Event::Closed { stream });
            } else if state.answer_by.is_some_and(|at| at <= now) {
                events.extend(state.fin(stream).map(Event::Send));
                events.push(Event::Unanswered { stream });
                self.is_stuck = true;
            }
        }
        let is_over = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        self.streams.retain(|_, state| !is_over(state.ends_at) && !is_over(state.answer_by));
        events
    }

    /// The connection was away: targets could not answer meanwhile.
    pub(crate) fn on_reconnect(&mut self, now: Instant) {
        for state in self.streams.values_mut().filter(|state| state.answer_by.is_some()) {
            state.answer_by = self.answer_within.map(|limit| now + limit);
        }
    }

    /// Says whether new streams would wait for a target that does not answer.
    pub(crate) fn is_stuck(&self) -> bool {
        self.is_stuck
    }

    pub(crate) fn next_timer(&self) -> Option<Instant> {
        self.streams.values().flat_map(|state| [state.fin_at, state.ends_at, state.answer_by]).flatten().min()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    fn on_push(&mut self, frame: Frame, now: Instant) -> Option<Event> {
        let state = self.streams.get_mut(&frame.stream)?;
        if !state.heard {
            state.heard = true;
            state.answer_by = None;
            self.is_stuck = false;
        }
        if let Some(at) = &mut state.fin_at {
            *at = now + self.quiet;
        }
        (!frame.payload.is_empty()).then_some(Event::Deliver { stream: frame.stream, payload: frame.payload })
    }

    fn on_fin(&mut self, stream: u32, now: Instant, events: &mut Vec<Event>) {
        let Some(state) = self.streams.get_mut(&stream) else { return };
        let asked = state.fin_sent;
        events.extend(state.fin(stream).map(Event::Send));
        if !state.heard && self.refusals > 0 {
            self.refusals -= 1;
            events.push(Event::Refused { stream });
        } else if state.heard || asked {
            events.push(Event::Closed { stream });
        } else {
            state.ends_at = Some(now + REFUSAL_GRACE);
            return;
        }
        self.streams.remove(&stream);
    }
}

impl State {
    fn fin(&mut self, stream: u32) -> Option<Frame> {
        self.fin_at = None;
        if self.fin_sent {
            return None;
        }
        self.fin_sent = true;
        Some(Frame::control(Command::Fin, stream))
    }
}

/// Returns the bytes of `frames`, one after the other.
pub(crate) fn encode(frames: &[Frame]) -> Bytes {
    let mut bytes = BytesMut::new();
    for frame in frames {
        frame.encode(&mut bytes);
    }
    bytes.freeze()
}
