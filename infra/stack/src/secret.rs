use std::fmt;

/// A password or token. It has no `Display` and no `Serialize`, and `Debug` shows `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes ownership of a clear secret.
    pub fn new(clear: impl Into<String>) -> Secret {
        Secret(clear.into())
    }

    /// Returns the clear secret. Every call of this is a place to review: `grep -rn 'expose()'`.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
