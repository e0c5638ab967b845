//! `secret rotate` as a user types it.
