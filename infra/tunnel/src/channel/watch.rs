//! The proof that a session carries streams, and the watch over its agent.

use std::time::Instant;

use super::{Action, Channel, Phase};
use crate::error::Error;
use crate::liveness::{self, Signs};
use crate::proof;
use crate::smux::{Command, Frame};
use crate::version::Version;

impl Channel {
    pub(super) fn on_proved(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if let (Phase::Proving { customer_message, .. }, Some(agent)) = (&mut self.phase, self.agent) {
            let customer_message = std::mem::take(customer_message);
            self.become_ready(agent, customer_message, now, actions);
        }
    }

    pub(super) fn become_ready(
        &mut self,
        agent: Version,
        customer_message: String,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        self.phase = Phase::Ready;
        actions.push(Action::Ready { agent, customer_message });
        self.schedule_keep_alive(now);
    }

    /// Goes on with the proof that the session carries streams.
    pub(super) fn prove(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let owes = self.reliable.owing().is_some();
        let Phase::Proving { proof, .. } = &mut self.phase else { return };
        match proof.due(owes, now) {
            proof::Due::Nothing => (),
            proof::Due::Probe => {
                let frames = self.mux.probe();
                self.send_frames(&frames, now, actions);
            }
            proof::Due::GiveUp => {
                self.phase = Phase::Over;
                let limit = self.proof_within.unwrap_or_default();
                let error = if owes { Error::AgentSilent { limit } } else { Error::Unproven { limit } };
                actions.push(Action::Closed(error));
            }
        }
    }

    /// Asks the agent for a sign if somebody depends on it, and gives it up if none comes.
    pub(super) fn look_after_agent(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if !self.is_ready() {
            return;
        }
        let signs = self.signs();
        match self.liveness.due(signs, now) {
            liveness::Due::Nothing => (),
            liveness::Due::Ask => self.send_frames(&[Frame::control(Command::Nop, 0)], now, actions),
            liveness::Due::Reconnect => {
                actions.push(Action::Reconnect { silence: self.reliable.silence(now) });
            }
            liveness::Due::Tell(silence) => actions.push(Action::Stalled { silence }),
            liveness::Due::GiveUp => {
                self.phase = Phase::Over;
                actions.push(Action::Closed(Error::AgentSilent { limit: self.liveness.limit() }));
            }
        }
    }

    pub(super) fn signs(&self) -> Signs {
        let is_used = self.keep_alive.is_some() && !self.mux.is_empty();
        Signs {
            heard: self.reliable.heard(),
            owing: self.reliable.owing(),
            is_needed: is_used || self.mux.awaits_answer(),
            may_be_stalled: self.mux.may_be_stalled(),
        }
    }
}
