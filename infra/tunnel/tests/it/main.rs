//! The data channel through its public face.
#![expect(clippy::unwrap_used, reason = "a helper of a test may fail as the test itself does")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks only at the cases that it is about")]

mod agent;
mod channel;
mod codec;
mod golden;
mod liveness;
mod pool;
mod sequence;
mod session;
mod shell;
mod shell_agent;
