//! The data channel through its public face.

mod codec;
mod golden;
