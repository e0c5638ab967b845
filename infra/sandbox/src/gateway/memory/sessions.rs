//! The sessions between clients and agents, and the websocket that each client has now.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::gateway::agent::session::AgentSession;
use crate::gateway::wire::signature;

/// How many frames may be in flight, so that neither side waits for the other.
pub(crate) const IN_FLIGHT: usize = 64;

/// A session as the API shows it.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) info: AgentSession,
    pub(crate) owner: String,
    pub(crate) reason: Option<String>,
    pub(crate) started: Timestamp,
    pub(crate) ended: Option<Timestamp>,
}

#[derive(Debug)]
struct Session {
    record: Record,
    token: String,
    to_agent: mpsc::Sender<Bytes>,
    /// The client's current websocket; a later one takes its place.
    client: Option<mpsc::Sender<Bytes>>,
    last_word: Option<oneshot::Sender<Disconnect>>,
    end: Option<oneshot::Sender<String>>,
}

/// What a websocket needs to carry a session.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) to_agent: mpsc::Sender<Bytes>,
    /// Ends when the session does, or when another websocket takes over.
    pub(crate) to_client: mpsc::Receiver<Bytes>,
    /// How to end the websocket then; a dropped sender means with a close frame.
    pub(crate) disconnect: oneshot::Receiver<Disconnect>,
}

/// How the service ends a websocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// Close 1000 "Bye", as AWS does about once an hour.
    Closed,
    /// Without a word: the connection is gone.
    Silent,
}

/// All sessions, ended ones too.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<BTreeMap<String, Session>>);

/// What `ResumeSession` finds.
pub(crate) enum Resumed {
    Unknown,
    Ended,
    Token(String),
}

impl Sessions {
    /// Adds a session and returns its token. `end` is told when it is terminated, with the text for the client.
    pub(crate) fn add(
        &self,
        record: Record,
        to_agent: mpsc::Sender<Bytes>,
        end: oneshot::Sender<String>,
    ) -> String {
        let (id, token) = (record.info.session_id.clone(), token());
        let session =
            Session { record, token: token.clone(), to_agent, client: None, last_word: None, end: Some(end) };
        self.lock().insert(id, session);
        token
    }

    /// Returns what the API shows of every session.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.lock().values().map(|session| session.record.clone()).collect()
    }

    /// Gives a session a new token.
    pub(crate) fn resume(&self, id: &str) -> Resumed {
        match self.lock().get_mut(id) {
            None => Resumed::Unknown,
            Some(session) if session.record.ended.is_some() => Resumed::Ended,
            Some(session) => {
                session.token = token();
                Resumed::Token(session.token.clone())
            }
        }
    }

    /// Attaches a websocket if its token is the session's.
    pub(crate) fn attach(&self, id: &str, token: &str) -> Option<Attached> {
        let mut sessions = self.lock();
        let session = sessions.get_mut(id).filter(|session| session.record.ended.is_none())?;
        if !signature::is_same(&session.token, token) {
            return None;
        }
        let (sender, to_client) = mpsc::channel(IN_FLIGHT);
        let (last_word, disconnect) = oneshot::channel();
        session.client = Some(sender);
        session.last_word = Some(last_word);
        Some(Attached { to_agent: session.to_agent.clone(), to_client, disconnect })
    }

    /// Ends a session; tells whether there is one.
    pub(crate) fn terminate(&self, id: &str, output: &str) -> bool {
        let mut sessions = self.lock();
        let Some(session) = sessions.get_mut(id) else { return false };
        // Before the caller gets its answer, so that it can rely on the end.
        session.record.ended.get_or_insert_with(Timestamp::now);
        if let Some(end) = session.end.take() {
            // The session may have ended by itself at this moment.
            drop(end.send(output.to_owned()));
        }
        true
    }

    /// Ends the sessions to an instance.
    pub(crate) fn terminate_to(&self, instance: &str, output: &str) {
        let ids: Vec<String> = self
            .lock()
            .iter()
            .filter(|(_, session)| session.record.info.instance_id == instance)
            .map(|(id, _)| id.clone())
            .collect();
        for id in ids {
            self.terminate(&id, output);
        }
    }

    /// Closes every websocket; the sessions go on.
    pub(crate) fn disconnect(&self, disconnect: Disconnect) {
        for session in self.lock().values_mut() {
            session.client = None;
            if let Some(last_word) = session.last_word.take() {
                // The websocket may be gone already.
                last_word.send(disconnect).ok();
            }
        }
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Returns the way to the client of a session, if one is attached.
    pub(crate) fn client(&self, id: &str) -> Option<mpsc::Sender<Bytes>> {
        self.lock().get(id)?.client.clone()
    }

    /// Notes that a session has ended, and returns the way to its client.
    pub(crate) fn end(&self, id: &str) -> Option<mpsc::Sender<Bytes>> {
        let mut sessions = self.lock();
        let session = sessions.get_mut(id)?;
        session.record.ended.get_or_insert_with(Timestamp::now);
        session.end = None;
        session.last_word = None;
        session.client.take()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn token() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}
