//! What the server said when something failed, or how the connection to it broke.

use std::fmt;
use std::io;

use serde::Serialize;

use super::kind::Kind;

/// What the server said, or how the connection to it broke.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// PostgreSQL's own words.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// The connection, the protocol or a value.
    #[error(transparent)]
    Client(tokio_postgres::Error),
}

impl Cause {
    /// Returns what PostgreSQL said, where it said anything.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Cause::Refused(refusal) => Some(refusal),
            Cause::Client(_) => None,
        }
    }

    /// Returns whether the connection broke; what PostgreSQL has to say about that counts as its words.
    pub(crate) fn is_lost(&self) -> bool {
        let is_io = |error: &tokio_postgres::Error| {
            std::error::Error::source(error).is_some_and(|source| source.is::<io::Error>())
        };
        matches!(self, Cause::Client(error) if error.is_closed() || is_io(error))
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Cause::Client(_) => Kind::Unreachable,
            Cause::Refused(refusal) => match refusal.sqlstate.as_str() {
                "28000" | "28P01" | "42501" => Kind::Permission,
                "53300" => Kind::Unreachable,
                // Any function may raise an error with the code of a connection exception, a shutdown or a timeout of
                // a silent session. Only the server ends the session with it.
                code if refusal.ends_session()
                    && (code.starts_with("08") || code.starts_with("57P") || code == "25P03") =>
                {
                    Kind::Unreachable
                }
                _ => Kind::Failed,
            },
        }
    }
}

impl From<Refusal> for Cause {
    fn from(refusal: Refusal) -> Cause {
        Cause::Refused(Box::new(refusal))
    }
}

impl From<tokio_postgres::Error> for Cause {
    fn from(error: tokio_postgres::Error) -> Cause {
        match Refusal::find(&error) {
            Some(refusal) => refusal.into(),
            None => Cause::Client(error),
        }
    }
}

/// An error as PostgreSQL reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// `ERROR`, `FATAL`, `PANIC`, whatever language the server speaks.
    pub severity: String,
    /// The five characters that programs compare.
    pub sqlstate: String,
    /// The message.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// The functions that it happened in.
    pub context: Option<String>,
    /// Where in the statement: characters, counted from 1.
    pub position: Option<u32>,
}

impl Refusal {
    /// Returns whether the session ended with it: a statement alone cannot bring that about.
    pub(crate) fn ends_session(&self) -> bool {
        matches!(self.severity.as_str(), "FATAL" | "PANIC")
    }

    /// Returns what PostgreSQL said, if it is PostgreSQL that failed.
    pub(crate) fn find(error: &tokio_postgres::Error) -> Option<Refusal> {
        use tokio_postgres::error::ErrorPosition;
        let said = error.as_db_error()?;
        Some(Refusal {
            severity: said
                .parsed_severity()
                .map_or_else(|| said.severity().to_owned(), |severity| severity.to_string()),
            sqlstate: said.code().code().to_owned(),
            message: said.message().to_owned(),
            detail: said.detail().map(str::to_owned),
            hint: said.hint().map(str::to_owned),
            context: said.where_().map(str::to_owned),
            position: match said.position() {
                Some(ErrorPosition::Original(at)) => Some(*at),
                // A place in a query of PostgreSQL's own making means nothing in our file.
                Some(ErrorPosition::Internal { .. }) | None => None,
            },
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (SQLSTATE {})", self.severity, self.message, self.sqlstate)?;
        for (name, text) in [("detail", &self.detail), ("hint", &self.hint), ("context", &self.context)] {
            if let Some(text) = text {
                write!(f, "; {name}: {text}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}
