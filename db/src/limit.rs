//! How much of one message of the server's is taken in.
//!
//! tokio-postgres reads each message whole, and PostgreSQL sends up to a gigabyte in one: whatever a tenant has a function raise
//! or a column hold would be in the memory of a program that works for other tenants as well. Errors and notices are shortened
//! field by field, so that all that is known of them stays; any other message that is too long ends the connection that it
//! came over, and no other.

use std::io;
use std::str;

/// The longest message that is taken in as it is: what we ask for has limits of its own far below.
pub(crate) const LONGEST: usize = 32 << 20;
/// An error or a notice of more bytes is shortened.
const LONGEST_REPORT: usize = 16 << 10;
/// So many bytes of each of its fields are kept.
const LONGEST_FIELD: usize = 4 << 10;
/// More than all fields that there are can come to.
const MOST_KEPT: usize = 1 << 20;

/// Reads the server's messages as they come, and gives on what is left of them.
#[derive(Debug)]
pub(crate) struct Limiter {
    part: Part,
    /// What is ready to be given on, from `given` on.
    ready: Vec<u8>,
    given: usize,
    /// Why nothing comes any more, once all that is ready is given on.
    refused: Option<io::Error>,
}

#[derive(Debug)]
enum Part {
    /// The kind of the message, and its length.
    Header { bytes: [u8; 5], len: usize },
    /// What goes through as it is.
    Body { left: usize },
    /// What is shortened.
    Report { report: Report, left: usize },
}

const BEGINNING: Part = Part::Header { bytes: [0; 5], len: 0 };

impl Default for Limiter {
    fn default() -> Limiter {
        Limiter { part: BEGINNING, ready: Vec::new(), given: 0, refused: None }
    }
}

impl Limiter {
    /// Takes in what came from the server.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.refused.is_none() {
            if let Err(error) = self.step(&mut bytes) {
                self.refused = Some(error);
            }
        }
    }

    /// Puts as much as there is, and has room, into `target`; returns how much that was.
    ///
    /// # Errors
    /// A message was too long, and all before it has been given on.
    pub(crate) fn give(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let rest = &self.ready[self.given..];
        if rest.is_empty() {
            return self.refused.take().map_or(Ok(0), Err);
        }
        let count = rest.len().min(target.len());
        target[..count].copy_from_slice(&rest[..count]);
        self.given += count;
        if self.given == self.ready.len() {
            self.ready.clear();
            self.given = 0;
        }
        Ok(count)
    }

    fn step(&mut self, bytes: &mut &[u8]) -> io::Result<()> {
        match &mut self.part {
            Part::Header { bytes: header, len } => {
                let taken = take(bytes, header.len() - *len);
                header[*len..*len + taken.len()].copy_from_slice(taken);
                *len += taken.len();
                if *len == header.len() {
                    let header = *header;
                    self.begin(header)?;
                }
            }
            Part::Body { left } => {
                let taken = take(bytes, *left);
                self.ready.extend_from_slice(taken);
                *left -= taken.len();
            }
            Part::Report { report, left } => {
                let taken = take(bytes, *left);
                *left -= taken.len();
                report.feed(taken)?;
            }
        }
        match &mut self.part {
            Part::Body { left: 0 } => self.part = BEGINNING,
            Part::Report { report, left: 0 } => {
                self.ready.append(&mut report.message()?);
                self.part = BEGINNING;
            }
            Part::Header { .. } | Part::Body { .. } | Part::Report { .. } => {}
        }
        Ok(())
    }

    fn begin(&mut self, header: [u8; 5]) -> io::Result<()> {
        let [kind, a, b, c, d] = header;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let Some(left) = length.checked_sub(4) else {
            return Err(io::Error::other("the server sent a message without a length"));
        };
        self.part = match kind {
            b'E' | b'N' if left > LONGEST_REPORT => Part::Report { report: Report::new(kind), left },
            _ if left > LONGEST => {
                return Err(io::Error::other(format!(
                    "the server sent {} MiB in one piece, and no more than {} MiB are read",
                    left >> 20,
                    LONGEST >> 20
                )));
            }
            _ => {
                self.ready.extend_from_slice(&header);
                Part::Body { left }
            }
        };
        Ok(())
    }
}

/// Takes so many bytes off, or as many as there are.
fn take<'a>(bytes: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(most.min(bytes.len()));
    *bytes = rest;
    taken
}

/// An error or a notice: fields of a letter and a text that ends with a zero, and a zero at the end.
#[derive(Debug)]
struct Report {
    kept: Vec<u8>,
    /// Where the text of the field begins; none between fields.
    field: Option<usize>,
    left_out: usize,
}

impl Report {
    fn new(kind: u8) -> Report {
        Report { kept: vec![kind, 0, 0, 0, 0], field: None, left_out: 0 }
    }

    fn feed(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while let Some(&first) = bytes.first() {
            let Some(begins) = self.field else {
                self.kept.push(first);
                bytes = &bytes[1..];
                self.field = (first != 0).then_some(self.kept.len());
                continue;
            };
            let end = bytes.iter().position(|byte| *byte == 0);
            let text = take(&mut bytes, end.unwrap_or(usize::MAX));
            let room = LONGEST_FIELD.saturating_sub(self.kept.len() - begins).min(text.len());
            self.kept.extend_from_slice(&text[..room]);
            self.left_out += text.len() - room;
            if end.is_some() {
                self.end_field(begins);
                bytes = &bytes[1..];
            }
            if self.kept.len() > MOST_KEPT {
                return Err(io::Error::other("the server sent an error that has no end"));
            }
        }
        Ok(())
    }

    fn end_field(&mut self, begins: usize) {
        if self.left_out > 0 {
            // Not in the middle of a character.
            if let Err(error) = str::from_utf8(&self.kept[begins..]) {
                self.kept.truncate(begins + error.valid_up_to());
            }
            self.kept.extend_from_slice(format!(" .. and {} more bytes", self.left_out).as_bytes());
        }
        self.kept.push(0);
        self.field = None;
        self.left_out = 0;
    }

    fn message(&mut self) -> io::Result<Vec<u8>> {
        let mut message = std::mem::take(&mut self.kept);
        let length = u32::try_from(message.len() - 1).map_err(io::Error::other)?;
        message[1..5].copy_from_slice(&length.to_be_bytes());
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind], &length.to_be_bytes()[..], body].concat()
    }

    /// What is given on of bytes that come in pieces of that size, and why it ends.
    fn through(bytes: &[u8], piece: usize) -> (Vec<u8>, Option<String>) {
        let (mut limiter, mut given) = (Limiter::default(), Vec::new());
        let mut target = [0; 100];
        for piece in bytes.chunks(piece) {
            limiter.feed(piece);
            loop {
                match limiter.give(&mut target) {
                    Ok(0) => break,
                    Ok(count) => given.extend_from_slice(&target[..count]),
                    Err(error) => return (given, Some(error.to_string())),
                }
            }
        }
        (given, None)
    }

    fn fields(message: &[u8]) -> Vec<(char, String)> {
        let texts = message[5..].strip_suffix(&[0, 0]).unwrap().split(|byte| *byte == 0);
        texts.map(|text| (char::from(text[0]), String::from_utf8(text[1..].to_vec()).unwrap())).collect()
    }

    #[test]
    fn a_message_of_megabytes_keeps_its_code_and_its_place() {
        let long = "é".repeat(2 << 20);
        let body = format!("SERROR\0VERROR\0CP0001\0M{long}\0Dshort\0P17\0\0");
        let (given, refused) = through(&[message(b'E', body.as_bytes()), message(b'Z', b"I")].concat(), 8191);
        assert_eq!(refused, None);
        let error = given.strip_suffix(&message(b'Z', b"I")[..]).unwrap();
        assert!(error.len() < 8 << 10, "{}", error.len());
        assert_eq!(
            usize::try_from(u32::from_be_bytes(error[1..5].try_into().unwrap())).unwrap() + 1,
            error.len()
        );
        let fields = fields(error);
        let codes: String = fields.iter().map(|(code, _)| *code).collect();
        assert_eq!((codes.as_str(), fields[2].1.as_str(), fields[5].1.as_str()), ("SVCMDP", "P0001", "17"));
        assert!(fields[3].1.ends_with(&format!("é .. and {} more bytes", (4 << 20) - LONGEST_FIELD)));
    }

    #[test]
    fn any_other_message_that_is_too_long_is_refused_before_it_is_read() {
        let header =
            message(b'D', b"")[..1].iter().copied().chain((200_u32 << 20).to_be_bytes()).collect::<Vec<_>>();
        let (given, refused) = through(&[message(b'Z', b"I"), header].concat(), 4);
        assert_eq!(given, message(b'Z', b"I"), "what came before is given on");
        assert_eq!(
            refused.as_deref(),
            Some("the server sent 199 MiB in one piece, and no more than 32 MiB are read")
        );
    }

    proptest! {
        #[test]
        fn what_is_short_goes_through_as_it_is(
            bodies in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..300)), 0..20),
            piece in 1_usize..700,
        ) {
            let sent: Vec<u8> = bodies.iter().flat_map(|(kind, body)| message(*kind, body)).collect();
            prop_assert_eq!(through(&sent, piece), (sent, None));
        }

        #[test]
        fn whatever_comes_is_given_on_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000), piece in 1_usize..700) {
            let (given, _) = through(&bytes, piece);
            prop_assert!(given.len() <= bytes.len() + 200);
        }
    }
}
