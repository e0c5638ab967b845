//! What a tunnel is and has done so far.

use std::time::Duration;

use crate::version::Version;

/// A tunnel at one moment. The totals count sessions that have ended as well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The sessions that are open or being opened.
    pub sessions: Vec<SessionState>,
    /// Sessions asked for so far.
    pub sessions_opened: u64,
    /// Streams that are open now.
    pub streams: usize,
    /// Streams opened so far.
    pub streams_opened: u64,
    /// Bytes of all streams to the target.
    pub bytes_sent: u64,
    /// Bytes of all streams from the target.
    pub bytes_received: u64,
    /// Bytes that came and that nobody has read yet, in memory.
    pub unread_bytes: usize,
    /// Bytes that came and that nobody has read yet, in temporary files.
    pub spilled_bytes: usize,
    /// Frames that came and were no messages.
    pub discarded_frames: u64,
    /// How many times a lost connection was made again.
    pub resumes: u64,
}

impl State {
    /// Adds what a session did.
    pub(crate) fn count(&mut self, session: &SessionState) {
        self.streams += session.streams;
        self.streams_opened += session.streams_opened;
        self.bytes_sent += session.bytes_sent;
        self.bytes_received += session.bytes_received;
        self.discarded_frames += session.discarded_frames;
        self.resumes += session.resumes;
    }
}

/// One session of a tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionState {
    /// Its id; empty until the service has started it.
    pub session_id: String,
    /// Where it stands.
    pub phase: Phase,
    /// The agent's version, once it is known.
    pub agent: Option<Version>,
    /// Streams that are open now.
    pub streams: usize,
    /// Streams opened so far.
    pub streams_opened: u64,
    /// Bytes to the target.
    pub bytes_sent: u64,
    /// Bytes from the target.
    pub bytes_received: u64,
    /// Bytes that are not acknowledged yet.
    pub unacknowledged_bytes: usize,
    /// The most bytes that may be unacknowledged now.
    pub window: usize,
    /// Frames that came and were no messages.
    pub discarded_frames: u64,
    /// How many times a lost connection was made again.
    pub resumes: u64,
    /// The smoothed time between a message and its acknowledgement.
    pub round_trip: Duration,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// It is being started, or the handshake is not complete.
    #[default]
    Opening,
    /// It carries streams.
    Live,
    /// Its agent waits for a target that does not answer; new streams go elsewhere if they can.
    Stuck,
    /// Its connection was lost and is being made again; its streams wait.
    Resuming,
}
