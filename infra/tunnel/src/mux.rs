//! The streams inside a session.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::smux::{Command, Decoder, Frame, FrameError};

/// How long the end of a stream that carried nothing waits for the flag that says why.
const REFUSAL_GRACE: Duration = Duration::from_millis(250);
/// How long a stream waits for more whose input ended after the target had answered all of it: that is rarely a
/// half-close, and most often a program that has gone.
const ANSWERED_QUIET: Duration = Duration::from_millis(500);
/// How long a stream may be without a word of its target before the agent is asked whether it has come back from
/// connecting, and how long the agent has for that answer.
pub(crate) const DOUBT: Duration = Duration::from_secs(15);
/// How soon it is looked again at a stream whose time is over while the agent acknowledges nothing.
const LOOK: Duration = Duration::from_secs(1);
/// What agents take for targets that do not read, and a little less: beyond that they stop reading themselves.
const AGENTS_BUCKET: usize = 3 << 20;

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
    /// Nobody's stream: it was opened and closed at once, to hear of its end.
    is_probe: bool,
    /// The agent sent bytes: its connection to the target exists.
    heard: bool,
    /// The bytes written since the target was heard last.
    unheard: usize,
    /// When the agent is asked whether it has come back from connecting.
    doubt_at: Option<Instant>,
    /// When the target, or the agent, must have answered.
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
    /// A probe, which is one message.
    Probe([Frame; 2]),
    Deliver {
        stream: u32,
        payload: Bytes,
    },
    Closed {
        stream: u32,
    },
    Refused {
        stream: u32,
    },
    Unanswered {
        stream: u32,
    },
    /// A probe came back: the agent takes streams.
    Proved,
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

    pub(crate) fn open(&mut self, now: Instant) -> (u32, Frame) {
        let doubt_at = self.answer_within.is_none().then(|| now + DOUBT);
        self.insert(State { doubt_at, ..State::default() })
    }

    /// Opens a stream and closes it: whatever becomes of its target, an agent that takes streams answers with its end.
    pub(crate) fn probe(&mut self) -> [Frame; 2] {
        let (stream, frame) = self.insert(State { is_probe: true, fin_sent: true, ..State::default() });
        [frame, Frame::control(Command::Fin, stream)]
    }

    fn insert(&mut self, state: State) -> (u32, Frame) {
        let stream = self.next;
        self.next = self.next.wrapping_add(2);
        self.streams.insert(stream, state);
        (stream, Frame::control(Command::Syn, stream))
    }

    /// Returns the frames of `bytes`; none once the stream has ended.
    pub(crate) fn write(&mut self, stream: u32, mut bytes: Bytes, now: Instant) -> Vec<Frame> {
        let mut frames = Vec::new();
        let Some(state) = self.streams.get_mut(&stream).filter(|state| !state.fin_sent) else {
            return frames;
        };
        state.unheard += bytes.len();
        if let Some(limit) = self.answer_within
            && !state.heard
            && !bytes.is_empty()
        {
            state.answer_by.get_or_insert(now + limit);
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
            let is_answered = state.heard && state.unheard == 0;
            let quiet = if is_answered { self.quiet.min(ANSWERED_QUIET) } else { self.quiet };
            state.fin_at.get_or_insert(now + quiet);
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

    /// Does what is due. While the agent `owes` an acknowledgement no target can have answered.
    pub(crate) fn on_timer(&mut self, owes: bool, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let mut in_doubt = false;
        for (&stream, state) in &mut self.streams {
            if is_due(state.fin_at) {
                events.extend(state.fin(stream).map(Event::Send));
            }
            for at in [&mut state.doubt_at, &mut state.answer_by] {
                if owes && is_due(*at) {
                    *at = Some(now + LOOK);
                }
            }
            if is_due(state.ends_at) {
                events.push(Event::Closed { stream });
            } else if is_due(state.answer_by) {
                events.extend(state.fin(stream).map(Event::Send));
                events.push(Event::Unanswered { stream });
                self.is_stuck = true;
            } else if is_due(state.doubt_at) {
                (state.doubt_at, state.answer_by) = (None, Some(now + DOUBT));
                in_doubt = true;
            }
        }
        self.streams.retain(|_, state| !is_due(state.ends_at) && !is_due(state.answer_by));
        if in_doubt {
            events.push(Event::Probe(self.probe()));
        }
        events
    }

    /// The connection was away: targets could not answer meanwhile.
    pub(crate) fn on_reconnect(&mut self, now: Instant) {
        for state in self.streams.values_mut() {
            let limit = self.answer_within.unwrap_or(DOUBT);
            state.answer_by = state.answer_by.map(|_| now + limit);
            state.doubt_at = state.doubt_at.map(|_| now + DOUBT);
        }
    }

    /// Says whether new streams would wait for a target that does not answer.
    pub(crate) fn is_stuck(&self) -> bool {
        self.is_stuck
    }

    /// Says whether a program waits for what its target has not said yet.
    pub(crate) fn awaits_answer(&self) -> bool {
        self.streams.values().any(|state| state.unheard > 0)
    }

    /// Says whether targets that do not read may have stopped the agent from reading.
    pub(crate) fn may_be_stalled(&self) -> bool {
        self.streams.values().map(|state| state.unheard).sum::<usize>() >= AGENTS_BUCKET
    }

    pub(crate) fn next_timer(&self) -> Option<Instant> {
        let timers = |state: &State| [state.fin_at, state.ends_at, state.answer_by, state.doubt_at];
        self.streams.values().flat_map(timers).flatten().min()
    }

    /// Says whether there is no stream of anybody's.
    pub(crate) fn is_empty(&self) -> bool {
        self.streams.values().all(|state| state.is_probe)
    }

    fn on_push(&mut self, frame: Frame, now: Instant) -> Option<Event> {
        let state = self.streams.get_mut(&frame.stream)?;
        if !state.heard {
            state.heard = true;
            (state.doubt_at, state.answer_by) = (None, None);
            self.is_stuck = false;
        }
        state.unheard = 0;
        if let Some(at) = &mut state.fin_at {
            *at = now + self.quiet;
        }
        // A target may greet a probe before it sees that it is gone.
        let is_wanted = !state.is_probe && !frame.payload.is_empty();
        is_wanted.then_some(Event::Deliver { stream: frame.stream, payload: frame.payload })
    }

    fn on_fin(&mut self, stream: u32, now: Instant, events: &mut Vec<Event>) {
        let Some(state) = self.streams.get_mut(&stream) else { return };
        let asked = state.fin_sent;
        events.extend(state.fin(stream).map(Event::Send));
        if state.is_probe {
            if !state.heard {
                self.refusals = self.refusals.saturating_sub(1);
            }
            self.on_proof(stream);
            events.push(Event::Proved);
        } else if !state.heard && self.refusals > 0 {
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

    /// The agent came back from connecting for a probe, so it has for every stream before that.
    fn on_proof(&mut self, probe: u32) {
        self.is_stuck = false;
        if self.answer_within.is_none() {
            for (_, state) in self.streams.range_mut(..probe) {
                (state.doubt_at, state.answer_by) = (None, None);
            }
        }
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
