//! Bytes that wait on disk for a reader that has stopped.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::{Bytes, BytesMut};

/// The size of one file: what has been read is given back in pieces of this size.
const SEGMENT: u64 = 16 << 20;
/// How much is read at once.
const CHUNK: u64 = 64 << 10;

/// A queue of bytes in temporary files that have no name: they are gone with the process, however it ends.
#[derive(Debug, Default)]
pub(crate) struct SpillFile {
    segments: VecDeque<Segment>,
}

#[derive(Debug)]
struct Segment {
    file: File,
    read: u64,
    written: u64,
}

impl SpillFile {
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Appends bytes; after an error none of them were taken.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.segments.back().is_none_or(|segment| segment.written >= SEGMENT) {
            self.segments.push_back(Segment { file: tempfile::tempfile()?, read: 0, written: 0 });
        }
        if let Some(segment) = self.segments.back_mut() {
            let written = segment.file.write_all_at(bytes, segment.written);
            if written.is_ok() {
                segment.written += bytes.len() as u64;
            }
            self.drop_read();
            return written;
        }
        Ok(())
    }

    /// Returns the next bytes, in the order they came; none when the queue is empty.
    pub(crate) fn pop(&mut self) -> io::Result<Bytes> {
        let Some(segment) = self.segments.front_mut() else { return Ok(Bytes::new()) };
        let length = (segment.written - segment.read).min(CHUNK);
        let mut chunk = BytesMut::zeroed(usize::try_from(length).expect("invariant: a chunk is small"));
        segment.file.read_exact_at(&mut chunk, segment.read)?;
        segment.read += length;
        self.drop_read();
        Ok(chunk.freeze())
    }

    fn drop_read(&mut self) {
        while self.segments.front().is_some_and(|segment| segment.read == segment.written) {
            self.segments.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn files_that_were_read_are_given_back() {
        let mut queue = SpillFile::default();
        let block = vec![5; 1 << 20];
        for _ in 0..40 {
            queue.push(&block).unwrap();
        }
        assert_eq!(queue.segments.len(), 3);
        let mut left = 40 << 20;
        while left > 20 << 20 {
            left -= queue.pop().unwrap().len();
        }
        assert_eq!(queue.segments.len(), 2);
        while left > 0 {
            left -= queue.pop().unwrap().len();
        }
        assert!(queue.is_empty());
    }

    proptest! {
        #[test]
        fn bytes_come_out_in_the_order_they_went_in(
            // A length and a first byte for each: to make up every byte took longer than all else.
            steps in proptest::collection::vec((1..9000_usize, any::<u8>(), 0..3_u8), 1..40),
        ) {
            let mut queue = SpillFile::default();
            let (mut put, mut got) = (Vec::new(), Vec::new());
            for (length, first, pops) in steps {
                let bytes: Vec<u8> = (0..=u8::MAX).cycle().skip(first.into()).take(length).collect();
                queue.push(&bytes).unwrap();
                put.extend(bytes);
                for _ in 0..pops {
                    got.extend_from_slice(&queue.pop().unwrap());
                }
            }
            while !queue.is_empty() {
                got.extend_from_slice(&queue.pop().unwrap());
            }
            prop_assert!(put == got);
        }
    }
}
