//! A password, which is never shown.

use std::fmt;

/// A master password. It has no `Display`, and `Debug` shows `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Takes ownership of a clear password.
    pub fn new(clear: impl Into<String>) -> Password {
        Password(clear.into())
    }

    /// Returns the clear password.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
