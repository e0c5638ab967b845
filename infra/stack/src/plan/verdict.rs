//! What looking at one resource came to.

/// What is to be done about one resource, in words for people.
pub(super) enum Verdict {
    /// It is as it should be.
    Fine,
    /// It is not there.
    Create(String),
    /// It is half-made or different.
    Repair(String),
    /// It is stopped.
    Start(String),
    /// It is on its way.
    Wait(String),
}

/// One that must go on the way up, as id and reason: left behind by a lost reply, or beyond repair.
pub(super) type Surplus = (String, String);
