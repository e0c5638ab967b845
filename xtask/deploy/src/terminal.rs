//! The user's terminal in raw mode: every key goes to the other end, and nothing is done about it here.

#![expect(clippy::disallowed_methods, reason = "it is asked for its size, not written to")]

use std::io::{self, IsTerminal};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use tunnel::TerminalSize;

/// What the terminal was before, while it is raw.
static COOKED: Mutex<Option<Termios>> = Mutex::new(None);

/// As long as this lives, the terminal is raw.
#[derive(Debug)]
pub struct Raw(());

impl Raw {
    /// Makes the terminal raw that standard input is; `None` if it is none.
    ///
    /// # Errors
    /// The terminal's settings cannot be read or changed.
    pub fn enter() -> io::Result<Option<Raw>> {
        let stdin = io::stdin();
        if !isatty(&stdin) {
            return Ok(None);
        }
        let cooked = tcgetattr(&stdin)?;
        let mut raw = cooked.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Drain, &raw)?;
        *lock() = Some(cooked);
        Ok(Some(Raw(())))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Makes the terminal what it was, if it is raw.
pub fn restore() {
    if let Some(cooked) = lock().take() {
        // A terminal that is gone needs nothing.
        tcsetattr(io::stdin(), OptionalActions::Drain, &cooked).ok();
    }
}

/// Returns the size of the terminal that standard output is, or else standard input.
pub fn size() -> Option<TerminalSize> {
    let size = tcgetwinsize(io::stdout()).or_else(|_| tcgetwinsize(io::stdin())).ok()?;
    // A terminal that nobody has told its size has none.
    (size.ws_col > 0).then(|| TerminalSize { cols: size.ws_col.into(), rows: size.ws_row.into() })
}

/// Tells whether standard error is one.
pub fn is_there() -> bool {
    io::stderr().is_terminal()
}

/// Returns how many rows and columns the terminal has that standard error is; 24 and 80 where nobody tells.
pub fn room() -> (usize, usize) {
    let told = tcgetwinsize(io::stderr()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    told.map_or((24, 80), |size| (size.ws_row.into(), size.ws_col.into()))
}

fn lock() -> MutexGuard<'static, Option<Termios>> {
    COOKED.lock().unwrap_or_else(PoisonError::into_inner)
}
