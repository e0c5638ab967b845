//! Bytes that a stream received and nobody has read yet: first in memory, then on disk.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::io::ReadBuf;
use tokio::sync::Notify;

use crate::spill_file::SpillFile;

/// What one stream keeps in memory before it goes to disk, so that a reader that has stopped leaves room for others.
const STREAM_MEMORY: usize = 1 << 20;

/// What all streams of a tunnel may keep.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Wakes whoever stopped reading because there was no room.
    pub(crate) room: Notify,
    memory: AtomicUsize,
    memory_limit: usize,
    spilled: AtomicUsize,
    spill_limit: usize,
}

impl Budget {
    pub(crate) fn new(memory_limit: usize, spill_limit: usize) -> Budget {
        Budget {
            room: Notify::new(),
            memory: AtomicUsize::new(0),
            memory_limit,
            spilled: AtomicUsize::new(0),
            spill_limit,
        }
    }

    /// Says whether nothing more should be taken from the network.
    pub(crate) fn is_full(&self) -> bool {
        self.memory() > self.memory_limit
    }

    pub(crate) fn memory(&self) -> usize {
        self.memory.load(Ordering::Acquire)
    }

    pub(crate) fn spilled(&self) -> usize {
        self.spilled.load(Ordering::Acquire)
    }

    fn give_back(&self, bytes: usize) {
        let before = self.memory.fetch_sub(bytes, Ordering::AcqRel);
        if before > self.memory_limit && before - bytes <= self.memory_limit {
            self.room.notify_waiters();
        }
    }
}

/// The bytes of one stream.
#[derive(Debug)]
pub(crate) struct ReceiveBuffer {
    budget: Arc<Budget>,
    /// These come first,
    head: VecDeque<Bytes>,
    head_bytes: usize,
    /// then these,
    spill_file: SpillFile,
    spilled_bytes: usize,
    /// then those that the disk did not take.
    tail: VecDeque<Bytes>,
}

impl ReceiveBuffer {
    pub(crate) fn new(budget: Arc<Budget>) -> ReceiveBuffer {
        ReceiveBuffer {
            budget,
            head: VecDeque::new(),
            head_bytes: 0,
            spill_file: SpillFile::default(),
            spilled_bytes: 0,
            tail: VecDeque::new(),
        }
    }

    /// Appends bytes. It takes them always: when there is no room, [`Budget::is_full`] says so.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        let in_memory = self.spill_file.is_empty() && self.tail.is_empty();
        if in_memory
            && self.head_bytes + length <= STREAM_MEMORY
            && self.budget.memory() + length <= self.budget.memory_limit
        {
            self.budget.memory.fetch_add(length, Ordering::AcqRel);
            self.head_bytes += length;
            self.head.push_back(bytes);
        } else if self.tail.is_empty()
            && self.budget.spilled() + length <= self.budget.spill_limit
            && self.spill_file.push(&bytes).is_ok()
        {
            self.budget.spilled.fetch_add(length, Ordering::AcqRel);
            self.spilled_bytes += length;
        } else {
            self.budget.memory.fetch_add(length, Ordering::AcqRel);
            self.tail.push_back(bytes);
        }
    }

    /// Moves the next bytes to `buf`; returns how many.
    pub(crate) fn read(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<usize> {
        let mut taken = 0;
        while buf.remaining() > 0 {
            if self.head.is_empty() {
                self.refill()?;
            }
            let Some(front) = self.head.front_mut() else { break };
            let length = front.len().min(buf.remaining());
            buf.put_slice(&front.split_to(length));
            taken += length;
            if front.is_empty() {
                self.head.pop_front();
            }
        }
        self.head_bytes -= taken;
        self.budget.give_back(taken);
        Ok(taken)
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        let tail: usize = self.tail.drain(..).map(|bytes| bytes.len()).sum();
        self.budget.give_back(self.head_bytes + tail);
        self.budget.spilled.fetch_sub(self.spilled_bytes, Ordering::AcqRel);
        self.head.clear();
        self.spill_file = SpillFile::default();
        (self.head_bytes, self.spilled_bytes) = (0, 0);
    }

    fn refill(&mut self) -> io::Result<()> {
        if !self.spill_file.is_empty() {
            let chunk = self.spill_file.pop()?;
            self.budget.spilled.fetch_sub(chunk.len(), Ordering::AcqRel);
            self.budget.memory.fetch_add(chunk.len(), Ordering::AcqRel);
            self.spilled_bytes -= chunk.len();
            self.head_bytes += chunk.len();
            self.head.push_back(chunk);
        } else if let Some(bytes) = self.tail.pop_front() {
            self.head_bytes += bytes.len();
            self.head.push_back(bytes);
        }
        Ok(())
    }
}

impl Drop for ReceiveBuffer {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_is_lost_whatever_the_limits(
            memory in 0_usize..5000,
            spill in 0_usize..5000,
            steps in proptest::collection::vec((0_usize..2000, 0_usize..2000), 1..60),
        ) {
            let budget = Arc::new(Budget::new(memory, spill));
            let mut received = ReceiveBuffer::new(Arc::clone(&budget));
            let (mut next, mut got) = (0_usize, Vec::new());
            for (length, wanted) in steps {
                let bytes: Vec<u8> = (next..next + length).map(|at| (at % 251) as u8).collect();
                next += length;
                received.push(bytes.into());
                prop_assert!(budget.spilled() <= spill);
                prop_assert_eq!(budget.memory() + budget.spilled(), next - got.len());
                let mut buffer = vec![0; wanted];
                let mut buf = ReadBuf::new(&mut buffer);
                let read = received.read(&mut buf).unwrap();
                prop_assert_eq!(read, buf.filled().len());
                got.extend_from_slice(buf.filled());
            }
            let mut buffer = vec![0; next];
            let mut buf = ReadBuf::new(&mut buffer);
            received.read(&mut buf).unwrap();
            got.extend_from_slice(buf.filled());
            prop_assert!(got.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8));
            prop_assert_eq!(got.len(), next);
            prop_assert_eq!((budget.memory(), budget.spilled()), (0, 0));
        }
    }

    #[test]
    fn what_is_dropped_gives_its_room_back() {
        let budget = Arc::new(Budget::new(100, 100));
        let mut received = ReceiveBuffer::new(Arc::clone(&budget));
        for _ in 0..5 {
            received.push(vec![0; 60].into());
        }
        assert_eq!((budget.memory(), budget.spilled()), (240, 60));
        assert!(budget.is_full());
        drop(received);
        assert_eq!((budget.memory(), budget.spilled()), (0, 0));
    }
}
