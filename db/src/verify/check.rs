//! The result of one check.

use std::fmt;

use serde::Serialize;

/// What was proved about one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The tenant.
    pub tenant: String,
    /// Every check, in the order in which it was made.
    pub checks: Vec<Check>,
}

impl Verification {
    /// Returns the worst verdict: a failure, else something unknown, else a pass.
    pub fn verdict(&self) -> Verdict {
        self.checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Unknown)
    }
}

/// One thing that was read or tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What must hold: `owner`, `encoding`, `stranger refused`.
    pub name: &'static str,
    /// Whether it holds.
    pub verdict: Verdict,
    /// What was seen.
    pub evidence: String,
}

/// Whether something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It holds, and the evidence shows it.
    Pass,
    /// It could not be seen or tried.
    Unknown,
    /// It does not hold.
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Pass => "pass",
            Verdict::Unknown => "unknown",
            Verdict::Fail => "fail",
        })
    }
}

pub(super) fn pass(name: &'static str, evidence: impl Into<String>) -> Check {
    Check { name, verdict: Verdict::Pass, evidence: evidence.into() }
}

pub(super) fn fail(name: &'static str, evidence: impl Into<String>) -> Check {
    Check { name, verdict: Verdict::Fail, evidence: evidence.into() }
}

pub(super) fn unknown(name: &'static str, evidence: impl Into<String>) -> Check {
    Check { name, verdict: Verdict::Unknown, evidence: evidence.into() }
}
