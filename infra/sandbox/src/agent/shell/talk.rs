//! The conversation of a shell with its client, encrypted once a key is agreed on.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};
use tunnel::{Cipher, Message, PayloadType};

use super::super::line::{Line, Reading};
use super::super::link::{Link, Over};
use super::super::options::Pacing;
use super::super::sender::TICK;

/// What an agent with a terminal pauses after each message.
const PAUSE: Duration = Duration::from_millis(1);

pub(super) struct Talk {
    link: Link,
    tick: Interval,
    arrived: VecDeque<Message>,
    cipher: Option<Cipher>,
    pacing: Pacing,
    next_output: Instant,
}

impl Talk {
    pub(super) fn new(line: Line, pacing: Pacing) -> Talk {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (arrived, next_output) = (VecDeque::new(), Instant::now());
        Talk { link: Link::new(line), tick, arrived, cipher: None, pacing, next_output }
    }

    /// From here on output is encrypted, and input must be.
    pub(super) fn encrypt(&mut self, cipher: Cipher) {
        self.cipher = Some(cipher);
    }

    /// Returns the type and the clear bytes of the client's next message. It may be dropped and called again.
    pub(super) async fn next(&mut self) -> Result<(PayloadType, Bytes), Over> {
        loop {
            if let Some(message) = self.next_or_turn().await? {
                return Ok(message);
            }
        }
    }

    /// As [`Talk::next`], but returns as well when something else has happened: an acknowledgement came, or time has
    /// passed. Whether output may be sent must be asked again then.
    pub(super) async fn next_or_turn(&mut self) -> Result<Option<(PayloadType, Bytes)>, Over> {
        if self.arrived.is_empty() {
            self.turn().await?;
        }
        match self.arrived.pop_front() {
            None => Ok(None),
            Some(message) => {
                let payload = match &self.cipher {
                    Some(cipher) if message.payload_type == PayloadType::Output => {
                        cipher.decrypt(&message.payload).map_err(|_| Over)?
                    }
                    _ => message.payload,
                };
                Ok(Some((message.payload_type, payload)))
            }
        }
    }

    /// Waits for a message of that type; what comes before it is lost, though it is acknowledged.
    pub(super) async fn expect(&mut self, wanted: PayloadType, limit: Duration) -> Result<Bytes, Over> {
        let waiting = async {
            loop {
                let (payload_type, payload) = self.next().await?;
                if payload_type == wanted {
                    return Ok(payload);
                }
            }
        };
        timeout(limit, waiting).await.map_err(|_| Over)?
    }

    pub(super) fn send(&mut self, payload_type: PayloadType, payload: Bytes) {
        self.link.send(payload_type, payload);
    }

    /// Sends bytes of the shell, encrypted if that was agreed on.
    pub(super) fn output(&mut self, payload_type: PayloadType, plain: &[u8]) {
        let payload = self
            .cipher
            .as_ref()
            .map_or_else(|| Bytes::copy_from_slice(plain), |cipher| cipher.encrypt(plain));
        self.link.send(payload_type, payload);
        if self.pacing == Pacing::Real {
            self.next_output = Instant::now() + PAUSE;
        }
    }

    /// Returns when more output may be sent; `None` while the client does not take any.
    pub(super) fn next_output(&self) -> Option<Instant> {
        self.link.may_send().then_some(self.next_output)
    }

    pub(super) async fn until_acknowledged(&mut self) -> Result<(), Over> {
        while !self.link.is_acknowledged() {
            self.turn().await?;
        }
        Ok(())
    }

    pub(super) async fn flush(&mut self) {
        self.link.flush().await;
    }

    async fn turn(&mut self) -> Result<(), Over> {
        tokio::select! {
            frame = self.link.exchange(Reading::Wanted) => {
                self.arrived.extend(self.link.receive(frame.map_err(|_| Over)?)?);
            }
            now = self.tick.tick() => self.link.on_tick(now),
        }
        Ok(())
    }
}
