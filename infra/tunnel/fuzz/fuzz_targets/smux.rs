//! Any bytes, in any pieces: the frames are those that the whole gives, and they are written as the same bytes.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use tunnel::{Decoder, Frame, FrameError};

fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<FrameError>) {
    let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

fuzz_target!(|data: &[u8]| {
    let Some((&size, bytes)) = data.split_first() else { return };
    let whole = frames(std::iter::once(bytes));
    let pieces = frames(bytes.chunks(usize::from(size).max(1)));
    assert_eq!(pieces, whole);
    let mut written = BytesMut::new();
    whole.0.iter().for_each(|frame| frame.encode(&mut written));
    assert!(bytes.starts_with(&written), "frames are written as they were read");
});
