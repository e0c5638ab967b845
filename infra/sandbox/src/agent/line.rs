//! The way of frames between an agent and its client.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::mpsc;

/// How many frames may wait for the client before the agent stops reading its targets.
const HIGH_WATER: usize = 64;

/// Every frame of a session passes here, in both directions, so that losses, duplicates and delays have one place.
#[derive(Debug)]
pub(super) struct Line {
    from_client: mpsc::Receiver<Bytes>,
    to_client: mpsc::Sender<Bytes>,
    waiting: VecDeque<Bytes>,
}

impl Line {
    pub(super) fn new(from_client: mpsc::Receiver<Bytes>, to_client: mpsc::Sender<Bytes>) -> Line {
        Line { from_client, to_client, waiting: VecDeque::new() }
    }

    /// Puts a frame on its way. It never waits: receiving must go on meanwhile.
    pub(super) fn send(&mut self, frame: Bytes) {
        self.waiting.push_back(frame);
    }

    /// Says whether the client takes frames fast enough.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < HIGH_WATER
    }

    /// Moves frames out until the session is over at the other end. Can be dropped and called again at any time.
    pub(super) async fn flush(&mut self) -> Result<(), Closed> {
        while !self.waiting.is_empty() {
            let permit = self.to_client.reserve().await.map_err(|_| Closed)?;
            if let Some(frame) = self.waiting.pop_front() {
                permit.send(frame);
            }
        }
        Ok(())
    }

    /// Returns the next frame, moving others out meanwhile, if `reading` says that one is wanted.
    pub(super) async fn exchange(&mut self, reading: Reading) -> Result<Bytes, Closed> {
        loop {
            let idle = self.waiting.is_empty();
            tokio::select! {
                frame = self.from_client.recv(), if reading == Reading::Wanted => return frame.ok_or(Closed),
                permit = self.to_client.reserve(), if !idle => {
                    let permit = permit.map_err(|_| Closed)?;
                    if let Some(frame) = self.waiting.pop_front() {
                        permit.send(frame);
                    }
                }
                else => std::future::pending().await,
            }
        }
    }
}

/// Whether the agent takes frames now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Wanted,
    /// A target does not read, and its buffer is full.
    Stalled,
}

/// The other end of the line is gone.
#[derive(Debug)]
pub(super) struct Closed;
