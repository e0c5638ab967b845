//! The name of a run that many runners share.

use std::fmt;

use crate::Error;

/// The name of a run that many runners share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunName(String);

impl RunName {
    /// Accepts 1 to 64 letters, digits, dots, underscores and hyphens: what commits, builds and jobs are called.
    ///
    /// # Errors
    /// [`Error::Run`] names what is wrong.
    pub fn parse(text: &str) -> Result<RunName, Error> {
        let reason = if text.is_empty() {
            "a name is missing"
        } else if text.len() > 64 {
            "a name has 64 characters at most"
        } else if !text.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c)) {
            "a name holds letters, digits, `.`, `_` and `-` only"
        } else {
            return Ok(RunName(text.to_owned()));
        };
        let shown = text.chars().take(80).flat_map(char::escape_debug).collect();
        Err(Error::Run { run: shown, reason: reason.to_owned() })
    }

    /// Returns it as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::RunName;

    #[test]
    fn a_name_is_what_builds_are_called() {
        for name in ["1", "deploy-2026.11.25_3", &"x".repeat(64)] {
            assert_eq!(RunName::parse(name).unwrap().as_str(), name);
        }
        for name in ["", " ", "a b", "a/b", "ä", "a'b", "a\n", &"x".repeat(65)] {
            assert!(RunName::parse(name).unwrap_err().is_usage(), "{name}");
        }
    }
}
