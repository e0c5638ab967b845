//! What a port session does in its turn: it opens, writes and closes streams, and takes frames.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{CLOSE_LIMIT, Closing, Open, Session, lock};
use crate::channel::Action;
use crate::duplex::{End as StreamEnd, Input};
use crate::error::Error;
use crate::event::Event;
use crate::link::{Opening, Request};
use crate::message::Message;
use crate::mux::DOUBT;
use crate::reliable::Reliable;
use crate::state::Phase;
use crate::traffic::{End, Traffic};
use crate::websocket::{Connection, Reading};

/// How much of one stream is sent before the next has its turn.
const TURN: usize = 32 << 10;

impl Traffic for Session {
    fn reliable(&mut self) -> &mut Reliable {
        self.channel.reliable()
    }

    fn handshake_limit(&self) -> Duration {
        self.options.handshake_limit
    }

    fn is_ready(&self) -> bool {
        self.channel.is_ready()
    }

    fn turn(&mut self, connection: &mut Connection, now: Instant) -> Option<End> {
        // `wait` is not enough: while frames keep coming, it is never reached.
        while self.closing.is_none()
            && let Ok(request) = self.link.requests.try_recv()
        {
            self.on_request(Some(request));
        }
        if self.channel.is_ready() {
            for Opening { duplex, slot, opened } in std::mem::take(&mut self.waiting) {
                // The caller may have taken another session meanwhile.
                if opened.send(()).is_ok() {
                    let (stream, actions) = self.channel.open_stream(now.into_std());
                    self.streams.insert(stream, Open { duplex, slot: Some(slot) });
                    self.counted.streams_opened += 1;
                    self.apply(actions, connection);
                }
            }
            self.pump(connection, now);
        }
        if !self.streams.is_empty() || !self.waiting.is_empty() {
            self.idle_since = now;
        }
        if self.channel.next_timer().is_some_and(|at| at <= now.into_std()) {
            let actions = self.channel.on_timer(now.into_std());
            if let Some(end) = self.apply(actions, connection) {
                return Some(end);
            }
        }
        self.tell_state();
        if self.idle_end().is_some_and(|at| at <= now) {
            self.closing = Some(Closing { deadline: now + CLOSE_LIMIT, asked: false, done: None });
        }
        self.close_step(connection, now)
    }

    fn on_frame(&mut self, frame: Bytes, connection: &mut Connection) -> Option<End> {
        let Ok(message) = Message::parse(frame) else {
            // If it was data, its sender will send it again.
            self.counted.discarded_frames += 1;
            return None;
        };
        let now = Instant::now().into_std();
        let mut actions = self.channel.on_message(message, now);
        loop {
            if let Some(end) = self.apply(actions, connection) {
                return Some(end);
            }
            actions = self.channel.on_more(now)?;
        }
    }

    fn reading(&self) -> Reading {
        if self.link.budget.is_full() { Reading::Stopped } else { Reading::Open }
    }

    fn next_timer(&self, _: Instant) -> Option<Instant> {
        let closing = self.closing.as_ref().map(|closing| closing.deadline);
        let timers = [self.channel.next_timer().map(Instant::from_std), closing, self.idle_end()];
        timers.into_iter().flatten().min()
    }

    async fn wait(&mut self, reading: Reading) {
        let budget = Arc::clone(&self.link.budget);
        let has_room = async {
            if reading == Reading::Open {
                return pending().await;
            }
            let mut room = pin!(budget.room.notified());
            // Enabled before the check: room that becomes free after it must not be missed.
            room.as_mut().enable();
            if budget.is_full() {
                room.await;
            }
        };
        tokio::select! {
            biased;
            request = self.link.requests.recv(), if self.closing.is_none() => self.on_request(request),
            () = self.link.changed.notified() => (),
            () = has_room => (),
        }
    }

    /// Streams may still be asked for meanwhile.
    async fn unless_closed<T: Send>(&mut self, future: impl Future<Output = T> + Send) -> Option<T> {
        let mut future = pin!(future);
        while self.closing.is_none() {
            tokio::select! {
                biased;
                output = &mut future => return Some(output),
                request = self.link.requests.recv() => self.on_request(request),
            }
        }
        None
    }

    fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    fn on_lost(&mut self) {
        self.channel.on_disconnect(Instant::now().into_std());
        lock(&self.link.state).phase = Phase::Resuming;
    }

    fn on_resumed(&mut self) -> Vec<Bytes> {
        {
            let mut state = lock(&self.link.state);
            state.resumes += 1;
            state.phase = if self.channel.is_ready() { Phase::Live } else { Phase::Opening };
        }
        // A resumed channel only sends.
        let actions = self.channel.on_reconnect(Instant::now().into_std()).into_iter();
        actions
            .filter_map(|action| if let Action::Send(frame) = action { Some(frame) } else { None })
            .collect()
    }
}

impl Session {
    pub(super) fn on_request(&mut self, request: Option<Request>) {
        let done = match request {
            Some(Request::Open(opening)) => {
                self.waiting.push(opening);
                return;
            }
            Some(Request::Close(done)) => Some(done),
            None => None,
        };
        self.closing = Some(Closing { deadline: Instant::now() + CLOSE_LIMIT, asked: false, done });
    }

    /// Sends what streams have to send, in turns, as far as the window allows.
    fn pump(&mut self, connection: &mut Connection, now: Instant) {
        let mut moved = true;
        while moved {
            moved = false;
            let after = self.streams.range(self.cursor.saturating_add(1)..);
            let turns: Vec<u32> =
                after.chain(self.streams.range(..=self.cursor)).map(|(id, _)| *id).collect();
            for stream in turns {
                let (bytes, input) = self.streams[&stream].duplex.take(self.channel.room().min(TURN));
                if !bytes.is_empty() {
                    moved = true;
                    self.cursor = stream;
                    self.counted.bytes_sent += bytes.len() as u64;
                    let actions = self.channel.write(stream, bytes, now.into_std());
                    self.apply(actions, connection);
                }
                match input {
                    Input::Open => (),
                    Input::Finished => {
                        self.channel.finish_stream(stream, now.into_std());
                        if let Some(open) = self.streams.get_mut(&stream) {
                            open.slot = None;
                        }
                    }
                    Input::Dropped => {
                        self.streams.remove(&stream);
                        let actions = self.channel.close_stream(stream, now.into_std());
                        self.apply(actions, connection);
                    }
                }
            }
        }
    }

    fn apply(&mut self, actions: Vec<Action>, connection: &mut Connection) -> Option<End> {
        for action in actions {
            match action {
                Action::Send(frame) => connection.queue_frame(frame),
                Action::Ready { agent, customer_message } => {
                    {
                        let mut state = lock(&self.link.state);
                        state.agent = Some(agent);
                        state.phase = Phase::Live;
                    }
                    let session_id = self.session_id.clone();
                    self.options.events.emit(Event::Ready { session_id, agent, customer_message });
                    self.link.progress.send_modify(|progress| progress.was_ready = true);
                }
                Action::Deliver { stream, payload } => {
                    self.counted.bytes_received += payload.len() as u64;
                    if let Some(open) = self.streams.get(&stream) {
                        open.duplex.deliver(payload);
                    }
                }
                Action::StreamClosed { stream } => self.end_stream(stream, StreamEnd::Eof),
                Action::ConnectFailed { stream } => {
                    let error = Error::ConnectFailed { target: self.options.target.clone() };
                    self.end_stream(stream, StreamEnd::Failed(error));
                }
                Action::Unanswered { stream } => {
                    let limit = self.options.answer_within.unwrap_or(2 * DOUBT);
                    let error = Error::Unanswered { target: self.options.target.clone(), limit };
                    self.end_stream(stream, StreamEnd::Failed(error));
                }
                // The agent's answer to our own farewell may come before its acknowledgement.
                Action::Closed(error) if error.is_session_end() && self.said_farewell() => {
                    return Some(End::Over(Error::Closed));
                }
                Action::Closed(Error::Unproven { limit }) => {
                    let target = self.options.target.clone();
                    return Some(End::Over(Error::Unanswered { target, limit }));
                }
                Action::Closed(error) => return Some(End::Over(error)),
                Action::Reconnect { silence } => return Some(End::silent(silence)),
                Action::Stalled { silence } => {
                    let session_id = self.session_id.clone();
                    self.options.events.emit(Event::Stalled { session_id, silence });
                }
            }
        }
        None
    }

    fn end_stream(&mut self, stream: u32, end: StreamEnd) {
        if let Some(open) = self.streams.remove(&stream) {
            open.duplex.end(end);
        }
    }

    /// Goes on with closing, if that was asked for.
    fn close_step(&mut self, connection: &mut Connection, now: Instant) -> Option<End> {
        let closing = self.closing.as_mut()?;
        let late = now >= closing.deadline;
        if !closing.asked && (late || self.streams.values().all(|open| open.duplex.is_drained())) {
            closing.asked = true;
            let actions = self.channel.terminate(now.into_std());
            self.apply(actions, connection);
        }
        let asked = self.said_farewell();
        let heard = !self.channel.is_ready() || self.channel.outgoing().outstanding() == 0;
        (late || asked && heard).then_some(End::Over(Error::Closed))
    }

    fn said_farewell(&self) -> bool {
        self.closing.as_ref().is_some_and(|closing| closing.asked)
    }
}
