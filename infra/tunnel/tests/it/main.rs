//! The data channel through its public face.

mod channel;
mod codec;
mod golden;
mod sequence;
