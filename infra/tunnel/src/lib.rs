//! A native client of the Session Manager data channel.
