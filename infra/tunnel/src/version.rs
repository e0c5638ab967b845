//! Versions of agents and clients.

use std::fmt;
use std::str::FromStr;

/// A version of four parts, `3.3.987.0`. The order is by part, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version([u32; 4]);

impl Version {
    /// Returns the version with these parts.
    pub const fn new(major: u32, minor: u32, patch: u32, build: u32) -> Version {
        Version([major, minor, patch, build])
    }
}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Version, ParseVersionError> {
        let error = || ParseVersionError { text: text.to_owned() };
        let mut parts = text.split('.').map(str::parse);
        let mut version = [0; 4];
        for part in &mut version {
            *part = parts.next().ok_or_else(error)?.map_err(|_| error())?;
        }
        if parts.next().is_some() {
            return Err(error());
        }
        Ok(Version(version))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch, build] = self.0;
        write!(f, "{major}.{minor}.{patch}.{build}")
    }
}

/// The text is not four numbers with dots between.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a version of four parts")]
pub struct ParseVersionError {
    text: String,
}
