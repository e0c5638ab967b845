use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use tunnel::{Acknowledge, Incoming, Message, MessageType, Outgoing, PayloadType};

fn data(number: usize) -> Message {
    Message::new(MessageType::InputStreamData, PayloadType::Output, number.to_string())
}

/// A line that loses, repeats and delays, decided by a small generator so that a case can be run again.
struct Line {
    seed: u64,
    loss_percent: u64,
    duplicate_percent: u64,
    delay_ms: u64,
    flying: BTreeMap<(Instant, u64), Bytes>,
    sent: u64,
}

impl Line {
    fn random(&mut self, below: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % below
    }

    fn send(&mut self, frame: &Bytes, now: Instant) {
        let copies = if self.random(100) < self.loss_percent {
            0
        } else if self.random(100) < self.duplicate_percent {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let delay = Duration::from_millis(1 + self.random(self.delay_ms));
            self.sent += 1;
            self.flying.insert((now + delay, self.sent), frame.clone());
        }
    }

    fn arrived(&mut self, now: Instant) -> Vec<Message> {
        let later = self.flying.split_off(&(now, u64::MAX));
        let arrived = std::mem::replace(&mut self.flying, later);
        arrived.into_values().map(|frame| Message::parse(frame).unwrap()).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_a_line_loses_repeats_or_reorders_all_is_delivered_once_and_in_order(
        seed in 1u64..,
        loss_percent in 0u64..60,
        duplicate_percent in 0u64..50,
        delay_ms in 1u64..400,
        messages in 1usize..300,
    ) {
        let line = |seed| Line {
            seed, loss_percent, duplicate_percent, delay_ms, flying: BTreeMap::new(), sent: 0,
        };
        let (mut there, mut back) = (line(seed), line(seed.rotate_left(32) | 1));
        let start = Instant::now();
        let mut now = start;
        let (mut outgoing, mut incoming) = (Outgoing::new(now), Incoming::new());
        let mut delivered = Vec::new();
        let mut number = 0;
        while number < messages || outgoing.outstanding() > 0 {
            prop_assert!(now < start + Duration::from_secs(3600), "nothing moves any more");
            if number < messages && outgoing.outstanding() < 100 {
                there.send(&outgoing.send(data(number), now), now);
                number += 1;
            }
            for message in there.arrived(now) {
                let acknowledge = incoming.receive(message);
                delivered.extend(in_order(&mut incoming));
                if let Some(acknowledge) = acknowledge {
                    back.send(&acknowledge.encode(), now);
                }
            }
            for message in back.arrived(now) {
                outgoing.on_acknowledge(Acknowledge::parse(&message.payload).unwrap().sequence, now);
            }
            if outgoing.next_check().is_some_and(|at| at <= now) {
                for frame in outgoing.overdue(now) {
                    there.send(&frame, now);
                }
            }
            now += Duration::from_millis(5);
        }
        let payloads: Vec<String> =
            delivered.iter().map(|m| String::from_utf8(m.payload.to_vec()).unwrap()).collect();
        let expected: Vec<String> = (0..messages).map(|number| number.to_string()).collect();
        prop_assert_eq!(payloads, expected);
        prop_assert_eq!(outgoing.outstanding_bytes(), 0);
        prop_assert_eq!(outgoing.next_check(), None);
    }
}

fn in_order(incoming: &mut Incoming) -> Vec<Message> {
    std::iter::from_fn(|| incoming.take_next().unwrap()).collect()
}

fn sequence(frame: &Bytes) -> i64 {
    Message::parse(frame.clone()).unwrap().sequence
}

fn sequences(frames: &[Bytes]) -> Vec<i64> {
    frames.iter().map(sequence).collect()
}

#[test]
fn every_message_that_later_acknowledgements_prove_lost_is_sent_again_at_once() {
    let now = Instant::now();
    let mut outgoing = Outgoing::new(now);
    for number in 0..100 {
        outgoing.send(data(number), now);
    }
    outgoing.on_acknowledge(50, now);
    assert!(outgoing.overdue(now + Duration::from_millis(5)).is_empty());
    // Half a second later all fifty before it are overdue, and the silence allows probes of those after it.
    let again = sequences(&outgoing.overdue(now + Duration::from_millis(500)));
    assert_eq!(again[..50], (0..50).collect::<Vec<_>>());
    assert_eq!(again[50..66], (51..67).collect::<Vec<_>>());
    assert_eq!(again[66..], [99]);
}

#[test]
fn a_receiver_that_stops_is_probed_and_not_flooded() {
    let mut now = Instant::now();
    let end = now + Duration::from_secs(60);
    let mut outgoing = Outgoing::new(now);
    for number in 0..1000 {
        outgoing.send(data(number), now);
    }
    let mut resent = 0;
    while now < end {
        now = outgoing.next_check().unwrap();
        resent += outgoing.overdue(now).len();
    }
    assert!(resent > 100, "{resent} are too few to find out when it goes on");
    assert!(resent < 6000, "{resent} messages in a minute");
}

#[test]
fn a_message_sent_twice_gives_no_round_trip_sample() {
    let now = Instant::now();
    let mut outgoing = Outgoing::new(now);
    outgoing.send(data(0), now);
    let before = outgoing.round_trip();
    assert_eq!(outgoing.overdue(now + Duration::from_secs(1)).len(), 1);
    assert_eq!(outgoing.on_acknowledge(0, now + Duration::from_secs(9)).unwrap().round_trip, None);
    assert_eq!(outgoing.round_trip(), before);
    outgoing.send(data(1), now);
    assert!(outgoing.on_acknowledge(1, now + Duration::from_millis(900)).is_some());
    assert!(outgoing.round_trip() > before);
    assert_eq!(outgoing.on_acknowledge(1, now), None, "it was acknowledged before");
}

#[test]
fn after_a_new_connection_everything_unacknowledged_is_sent_again_in_order() {
    let now = Instant::now();
    let mut outgoing = Outgoing::new(now);
    let frames: Vec<Bytes> = (0..5).map(|number| outgoing.send(data(number), now)).collect();
    outgoing.on_acknowledge(1, now);
    assert_eq!(sequences(&outgoing.unacknowledged(now)), [0, 2, 3, 4]);
    assert_eq!(outgoing.unacknowledged(now)[0], frames[0], "the same message, not a new one");
    assert_eq!(sequence(&outgoing.send(data(5), now)), 5);
}

#[test]
fn a_repeated_message_is_acknowledged_again_and_not_delivered_again() {
    let mut incoming = Incoming::new();
    let message = data(0);
    incoming.receive(message.clone()).unwrap();
    assert_eq!(in_order(&mut incoming), std::slice::from_ref(&message));
    let again = incoming.receive(message.clone());
    assert!(in_order(&mut incoming).is_empty());
    let acknowledge = Acknowledge::parse(&again.unwrap().payload).unwrap();
    assert_eq!((acknowledge.sequence, acknowledge.message_id), (0, message.id));
}

/// Messages of this many bytes, numbered from 1: number 0 is missing.
fn fill(incoming: &mut Incoming, bytes: usize, most: i64) -> i64 {
    let mut message = data(0);
    for number in 1..=most {
        message.sequence = number;
        message.payload = Bytes::from(number.to_be_bytes().repeat(bytes / 8));
        if incoming.receive(message.clone()).is_none() {
            return number - 1;
        }
        if number % 1000 == 0 {
            assert!(incoming.receive(message.clone()).is_some(), "twice is once");
        }
    }
    most
}

fn check_filled(incoming: &mut Incoming, bytes: usize, kept: i64) {
    assert!(in_order(incoming).is_empty());
    assert!(incoming.receive(data(0)).is_some(), "there is always room for the one that is missing");
    let delivered = in_order(incoming);
    assert_eq!(delivered.len() as i64, kept + 1);
    for (message, number) in delivered[1..].iter().zip(1_i64..) {
        assert!(message.payload[..] == number.to_be_bytes().repeat(bytes / 8), "message {number} differs");
    }
}

#[test]
fn half_a_minute_of_messages_waits_on_disk_for_the_one_that_is_missing() {
    let mut incoming = Incoming::new();
    assert_eq!(fill(&mut incoming, 1024, 30_000), 30_000);
    check_filled(&mut incoming, 1024, 30_000);
    let mut next = data(0);
    next.sequence = 30_001;
    assert!(incoming.receive(next).is_some());
    assert_eq!(in_order(&mut incoming).len(), 1);
}

#[test]
fn what_has_no_room_ahead_of_a_gap_is_not_acknowledged() {
    let mut incoming = Incoming::new();
    // The file's 64 MiB, and the one in memory.
    let kept = fill(&mut incoming, 32_768, 10_000);
    assert_eq!(kept, 65 * 32);
    check_filled(&mut incoming, 32_768, kept);
    let mut incoming = Incoming::new();
    let kept = fill(&mut incoming, 8, 100_000);
    assert_eq!(kept, 65_536);
    check_filled(&mut incoming, 8, kept);
}
