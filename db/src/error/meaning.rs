//! What an error means: for exit codes, for whoever tries again, and for reports.

use serde::Serialize;

use super::{Cause, Error, Kind, Refusal};

impl Error {
    /// Returns what sort of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Roots { .. }
            | Error::Name { .. }
            | Error::Spec { .. }
            | Error::Registry { .. }
            | Error::Set { .. }
            | Error::Migrations { .. }
            | Error::Read { .. }
            | Error::LeadsOut { .. }
            | Error::Unfit { .. }
            | Error::Partition { .. }
            | Error::Run { .. } => Kind::Usage,
            Error::Dial { .. }
            | Error::Tls { .. }
            | Error::TimedOut { .. }
            | Error::Lost { .. }
            | Error::Full { .. } => Kind::Unreachable,
            Error::Connect { source, .. } | Error::Statement { source, .. } => source.kind(),
            Error::Forbidden { .. } | Error::NoLogin { .. } | Error::Unproved { .. } => Kind::Permission,
            Error::Locked { .. } => Kind::Locked,
            Error::LockLost { .. }
            | Error::Slow { .. }
            | Error::History { .. }
            | Error::Misplaced { .. }
            | Error::Diverged { .. }
            | Error::Migration { .. }
            | Error::Unfinished { .. }
            | Error::InvalidIndex { .. }
            | Error::NotRecorded { .. }
            | Error::HistoryConflict { .. }
            | Error::Interrupted { .. }
            | Error::Recorded(_)
            | Error::Panicked { .. } => Kind::Failed,
        }
    }

    /// Returns whether the configuration or the files are at fault.
    pub fn is_usage(&self) -> bool {
        self.kind() == Kind::Usage
    }

    /// Returns what PostgreSQL said, where it said anything.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.cause().and_then(Cause::refusal)
    }

    /// Returns what the server said, or how the connection to it broke.
    pub(crate) fn cause(&self) -> Option<&Cause> {
        match self {
            Error::Connect { source, .. }
            | Error::Statement { source, .. }
            | Error::Migration { source, .. }
            | Error::Lost { source, .. }
            | Error::Unfinished { source, .. } => Some(source),
            Error::Roots { .. }
            | Error::Name { .. }
            | Error::Spec { .. }
            | Error::Registry { .. }
            | Error::Set { .. }
            | Error::Migrations { .. }
            | Error::Read { .. }
            | Error::LeadsOut { .. }
            | Error::Dial { .. }
            | Error::Tls { .. }
            | Error::Unproved { .. }
            | Error::TimedOut { .. }
            | Error::Slow { .. }
            | Error::Locked { .. }
            | Error::LockLost { .. }
            | Error::History { .. }
            | Error::Misplaced { .. }
            | Error::Diverged { .. }
            | Error::InvalidIndex { .. }
            | Error::NotRecorded { .. }
            | Error::HistoryConflict { .. }
            | Error::Forbidden { .. }
            | Error::NoLogin { .. }
            | Error::Interrupted { .. }
            | Error::Unfit { .. }
            | Error::Full { .. }
            | Error::Partition { .. }
            | Error::Run { .. }
            | Error::Recorded(_)
            | Error::Panicked { .. } => None,
        }
    }

    /// Returns the five characters of PostgreSQL's SQLSTATE, where it said anything.
    pub fn sqlstate(&self) -> Option<&str> {
        self.refusal().map(|refusal| refusal.sqlstate.as_str())
    }

    /// Returns the error and its causes in one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }
}

impl Serialize for Error {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.chain())
    }
}
