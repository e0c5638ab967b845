//! What libraries tell while they work. Only `deploy` turns it into text or JSON.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

/// Something that happened. Carries no secret.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A part of the task began (`plan`, `up`, `migrations`, ..).
    PhaseStarted {
        /// What it is called.
        name: String,
    },
    /// A part of the task ended well.
    PhaseFinished {
        /// What it is called.
        name: String,
        /// How long it took.
        #[serde(rename = "elapsed_ms", serialize_with = "millis")]
        elapsed: Duration,
    },
    /// A step began: `subject` is a resource, a tenant, a session.
    StepStarted {
        /// What is worked on.
        subject: String,
        /// What is done to it: `create`, `delete`, `wait`, ..
        verb: String,
    },
    /// A step waits for something outside; `status` is the last one seen.
    StepWaiting {
        /// What is worked on.
        subject: String,
        /// The last status seen, in the service's own words.
        status: String,
    },
    /// A step ended well.
    StepFinished {
        /// What was worked on.
        subject: String,
        /// What was done: `created`, `unchanged`, ..
        outcome: String,
        /// How long it took.
        #[serde(rename = "elapsed_ms", serialize_with = "millis")]
        elapsed: Duration,
    },
    /// A step failed; the task's error follows in full at its end.
    StepFailed {
        /// What was worked on.
        subject: String,
        /// The error with its causes, in one line.
        error: String,
    },
    /// What a tunnel carries, now and since it was opened.
    Traffic {
        /// The tunnel: its local address and its target.
        subject: String,
        /// Sessions that carry streams.
        sessions: usize,
        /// Sessions whose connection is being made again.
        resuming: usize,
        /// Connections that are open.
        streams: usize,
        /// Bytes to the target.
        bytes_sent: u64,
        /// Bytes from the target.
        bytes_received: u64,
        /// Bytes that came and that nobody has read yet.
        unread_bytes: u64,
        /// The longest smoothed round trip of a session.
        #[serde(rename = "round_trip_us", serialize_with = "micros")]
        round_trip: Duration,
    },
    /// A line for whoever wants to see every step.
    Detail {
        /// The line.
        text: String,
    },
    /// A line for people, neither error nor result.
    Note {
        /// The line.
        text: String,
    },
    /// Something that the user should look at, though the task goes on.
    Warning {
        /// The line.
        text: String,
    },
}

fn millis<S: serde::Serializer>(elapsed: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_u64(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

fn micros<S: serde::Serializer>(elapsed: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_u64(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
}

/// Where events go. Cheap to clone.
#[derive(Clone)]
pub struct Events(Arc<dyn Fn(Event) + Send + Sync>);

impl Events {
    /// Sends every event to `sink`.
    pub fn new(sink: impl Fn(Event) + Send + Sync + 'static) -> Events {
        Events(Arc::new(sink))
    }

    /// Drops every event.
    pub fn none() -> Events {
        Events::new(|_| ())
    }

    /// Tells one event.
    pub fn emit(&self, event: Event) {
        (self.0)(event);
    }

    /// Tells a line for people.
    pub fn note(&self, text: impl Into<String>) {
        self.emit(Event::Note { text: text.into() });
    }

    /// Tells a warning.
    pub fn warn(&self, text: impl Into<String>) {
        self.emit(Event::Warning { text: text.into() });
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}
