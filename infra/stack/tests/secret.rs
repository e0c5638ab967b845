//! What is left of a secret in the memory of the program.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare itself has failed")]

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use stack::Secret;

/// Counts where these bytes, each with one bit changed, stand in this program's own memory.
fn count(masked: &[u8]) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut memory = File::open("/proc/self/mem").unwrap();
    let mut found = 0;
    for line in maps.lines().filter(|line| line.contains(" rw-p ") && !line.contains("[stack]")) {
        let (begin, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let (begin, end) = (u64::from_str_radix(begin, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
        memory.seek(SeekFrom::Start(begin)).unwrap();
        // Masked as it is read, so that what is looked through is not found itself.
        let mut chunk = [0; 4096];
        let mut last: Vec<u8> = Vec::new();
        let mut left = end - begin;
        while left > 0 {
            let Ok(read @ 1..) = memory.read(&mut chunk) else { break };
            last.extend(chunk[..read].iter().map(|byte| byte ^ 0x80));
            chunk.fill(0);
            found += last.windows(masked.len()).filter(|bytes| *bytes == masked).count();
            last.drain(..last.len().saturating_sub(masked.len() - 1));
            left = left.saturating_sub(read as u64);
        }
    }
    found
}

#[test]
fn a_secret_that_is_dropped_is_in_no_memory_any_more() {
    // Without the first bytes, which an allocator writes over.
    let masked: Vec<u8> = (0..48_u8).map(|at| (b'A' + at % 23 + at / 23) ^ 0x80).collect();
    let clear = || -> String {
        let lead = std::iter::repeat_n('#', 64);
        lead.chain(masked.iter().map(|byte| char::from(byte ^ 0x80))).collect()
    };
    let secrets: Vec<Secret> = (0..10).map(|_| Secret::new(clear())).collect();
    let copies = secrets.clone();
    assert!(count(&masked) >= 20, "the search finds what is there");
    drop((secrets, copies));
    assert_eq!(count(&masked), 0);
}
