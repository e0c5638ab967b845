//! Who uses a session.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many streams a session has or was promised.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seats(Arc<AtomicUsize>);

impl Seats {
    pub(crate) fn take(&self) -> Seat {
        self.0.fetch_add(1, Ordering::AcqRel);
        Seat(self.clone())
    }

    pub(crate) fn taken(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// One stream's seat; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat(Seats);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}
