//! What comes from a shell.

use bytes::Bytes;

use crate::error::Error;

/// What comes from a shell.
#[derive(Clone, Debug)]
pub enum ShellEvent {
    /// Bytes for the terminal, or of the command's standard output.
    Output(Bytes),
    /// Bytes of the command's standard error; a terminal has none.
    StdErr(Bytes),
    /// The command's exit code; -1 if a signal ended it. A terminal has none.
    Exit(i32),
    /// Nothing more will come. [`Error::SessionEnded`] without words is the usual end.
    Ended(Error),
}
