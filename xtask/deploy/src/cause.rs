//! What is behind a failure of AWS or of a tunnel, and what to type next: each cause has a sentence of its own.

mod call;
mod session;

pub(crate) use self::call::{hints, of_apply};
pub(crate) use self::session::{command_of, find, of_session, of_stream};
