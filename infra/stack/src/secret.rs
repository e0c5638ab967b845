use std::fmt;

use zeroize::Zeroizing;

/// A password or token. It has no `Display` and no `Serialize`, `Debug` shows `***`, and its memory is overwritten when it is
/// dropped. What is made of it for others, a request of the SDK's or a variable of a child, is theirs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes ownership of a clear secret.
    pub fn new(clear: impl Into<String>) -> Secret {
        Secret(Zeroizing::new(clear.into()))
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
