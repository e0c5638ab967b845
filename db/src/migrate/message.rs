//! What is sent to the server, and what of it an answer is about.

use super::history::Table;
use crate::{Migration, lock, path};

/// What a stretch of a message is for; numbers are places in the list of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Open,
    File(usize),
    Row(usize),
    Commit,
    Proof,
}

/// What becomes of each file of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// It is run and recorded.
    Apply,
    /// It is recorded alone.
    Record,
}

/// One message to the server: statements of one part or of several.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) sql: String,
    pieces: Vec<Piece>,
}

/// A part within its message.
#[derive(Clone, Copy, Debug)]
struct Piece {
    part: Part,
    /// The byte of the message that it begins at.
    at: usize,
    /// How many statements it has, if they are ours: of a file the server alone can tell.
    statements: Option<usize>,
}

/// The server answers each message by itself, and the way there wakes up for each answer: one message for everything costs
/// least. Above so many bytes it is another one, as the server keeps all of a message in memory until its end.
const MAX_MESSAGE_BYTES: usize = 256 << 10;

/// The column that says that a file is over and its row is next.
const MARK: &str = "drawbridge: this file has run";

/// Gives every file the settings that the session began with, whatever the file before it left behind: a migration
/// must not depend on what else happens to be pending.
const AS_AT_FIRST: [&str; 2] = ["RESET ROLE", "RESET ALL"];

/// How files share messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// As many as fit.
    Together,
    /// None does: the server does not read quotations as we do, and one that it takes for open would swallow what follows.
    Alone,
}

/// Returns what is sent, in order: one transaction, and the question whether all of it is recorded.
pub(super) fn compose(
    table: &Table,
    migrations: &[Migration],
    (work, group): (Work, &[usize]),
    sharing: Sharing,
) -> Vec<Message> {
    let mut messages = Composer::default();
    // The first file is to find what any other program would; what is ours names everything with its schema.
    let open: Vec<String> = ["BEGIN".to_owned(), lock::MIGRATIONS.guard()]
        .into_iter()
        .chain(table.create())
        .chain([path::RESET.to_owned()])
        .collect();
    messages.add(Part::Open, Some(open.len()), &open.join(";\n"));
    // A message that cannot be read is refused as a whole: `BEGIN` must not be in one with a file.
    messages.send();
    for &at in group {
        let file = &migrations[at];
        let is_alone = sharing == Sharing::Alone || !file.is_complete();
        if work == Work::Apply && is_alone {
            messages.send();
            messages.add(Part::File(at), None, file.sql());
            messages.send();
        } else if work == Work::Apply {
            messages.add(Part::File(at), None, file.sql());
        }
        let [role, settings] = AS_AT_FIRST;
        let row = [&format!("SELECT 1 AS \"{MARK}\""), role, settings, &table.insert(file)];
        messages.add(Part::Row(at), Some(row.len()), &row.join(";\n"));
    }
    messages.add(Part::Commit, Some(1), "COMMIT");
    messages.add(Part::Proof, Some(1), &table.count(group.iter().map(|&at| &migrations[at])));
    messages.send();
    messages.sent
}

#[derive(Default)]
struct Composer {
    sent: Vec<Message>,
    open: Message,
}

impl Composer {
    fn add(&mut self, part: Part, statements: Option<usize>, sql: &str) {
        if self.open.sql.len() + sql.len() > MAX_MESSAGE_BYTES {
            self.send();
        }
        if !self.open.sql.is_empty() {
            // On a line of its own: a file may end in a comment.
            self.open.sql.push_str("\n;\n");
        }
        self.open.pieces.push(Piece { part, at: self.open.sql.len(), statements });
        self.open.sql.push_str(sql);
    }

    fn send(&mut self) {
        if !self.open.sql.is_empty() {
            self.sent.push(std::mem::take(&mut self.open));
        }
    }
}

impl Message {
    /// Returns the part that comes first.
    pub(super) fn first(&self) -> Part {
        self.pieces[0].part
    }

    /// Returns a reader of the answer.
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader { message: self, at: 0, done: 0 }
    }
}

/// Follows an answer through the parts of its message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    message: &'a Message,
    at: usize,
    done: usize,
}

/// What of a message an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) part: Part,
    /// How many of the part's statements were carried out before it.
    pub(super) done: usize,
    /// The character of the part, counted from 1.
    pub(super) position: Option<u32>,
}

impl Reader<'_> {
    /// Takes note of an answer's columns.
    pub(super) fn describe<'c>(&mut self, mut columns: impl Iterator<Item = &'c str>) {
        if !(columns.next() == Some(MARK) && columns.next().is_none()) {
            return;
        }
        let mut rest = self.message.pieces[self.at..].iter();
        if let Some(further) = rest.position(|piece| matches!(piece.part, Part::Row(_))) {
            (self.at, self.done) = (self.at + further, 0);
        }
    }

    /// Takes note of a statement that was carried out.
    pub(super) fn complete(&mut self) {
        self.done += 1;
        if self.piece().statements == Some(self.done) && self.at + 1 < self.message.pieces.len() {
            (self.at, self.done) = (self.at + 1, 0);
        }
    }

    /// Returns which part an answer is about that comes now.
    pub(super) fn part(&self) -> Part {
        self.piece().part
    }

    /// Returns what an error is about that comes now, by its character of the message if it has one.
    pub(super) fn place(&self, position: Option<u32>) -> Place {
        let here = Place { part: self.part(), done: self.done, position: None };
        // What cannot be read is refused before the first statement, wherever it is.
        position.and_then(|position| self.find(position)).map_or(here, |(part, position)| Place {
            part,
            position: Some(position),
            ..here
        })
    }

    /// Returns the part that holds a character, and which of its own that is; both counted from 1, as PostgreSQL does.
    fn find(&self, position: u32) -> Option<(Part, u32)> {
        let Message { sql, pieces } = self.message;
        let before = usize::try_from(position).ok()?.checked_sub(1)?;
        // Of what ends too soon, PostgreSQL tells the character behind the last.
        let byte = sql.char_indices().nth(before).map_or(sql.len(), |(byte, _)| byte);
        let piece = pieces.iter().rfind(|piece| piece.at <= byte)?;
        let own = u32::try_from(sql[piece.at..byte].chars().count()).ok()?;
        Some((piece.part, own + 1))
    }

    fn piece(&self) -> Piece {
        self.message.pieces[self.at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migration::parse;

    fn file(name: &str, sql: &str) -> Migration {
        parse(name, sql.as_bytes()).unwrap()
    }

    fn table() -> Table {
        Table::new("public".to_owned(), "refinery_schema_history", false)
    }

    fn parts(messages: &[Message]) -> Vec<Vec<Part>> {
        messages.iter().map(|message| message.pieces.iter().map(|piece| piece.part).collect()).collect()
    }

    #[test]
    fn each_file_is_followed_by_its_row_and_all_is_inside_one_transaction() {
        let files = [file("V1__a.sql", "SELECT 1 -- one"), file("V2__b.sql", "SELECT 2;\n")];
        let sent = compose(&table(), &files, (Work::Apply, &[0, 1]), Sharing::Together);
        let rest = [Part::File(0), Part::Row(0), Part::File(1), Part::Row(1), Part::Commit, Part::Proof];
        assert_eq!(parts(&sent), [vec![Part::Open], rest.to_vec()]);
        assert!(sent[0].sql.starts_with("BEGIN;\n"), "{}", sent[0].sql);
        assert!(
            sent[0].sql.contains(";\nCREATE TABLE IF NOT EXISTS \"public\".\"refinery_schema_history\"(")
        );
        assert!(sent[1].sql.starts_with("SELECT 1 -- one\n;\nSELECT 1 AS \"drawbridge: "), "{}", sent[1].sql);
    }

    #[test]
    fn a_file_that_could_swallow_what_follows_goes_alone_and_so_do_all_where_quotations_differ() {
        let open = "SELECT 1; /* never closed";
        let files = [file("V1__a.sql", "SELECT 1;"), file("V2__b.sql", open), file("V3__c.sql", "SELECT 3;")];
        let work = (Work::Apply, &[0, 1, 2][..]);
        let sent = compose(&table(), &files, work, Sharing::Together);
        let last = vec![Part::Row(1), Part::File(2), Part::Row(2), Part::Commit, Part::Proof];
        let first = vec![Part::File(0), Part::Row(0)];
        assert_eq!(parts(&sent), [vec![Part::Open], first, vec![Part::File(1)], last]);
        assert_eq!(sent[2].sql, open);
        let sent = compose(&table(), &files, work, Sharing::Alone);
        let alone = |message: &&Message| matches!(message.pieces[..], [Piece { part: Part::File(_), .. }]);
        assert_eq!(sent.iter().filter(alone).count(), 3);
    }

    #[test]
    fn what_is_long_goes_in_several_messages() {
        let long = format!("SELECT '{}';", "a".repeat(MAX_MESSAGE_BYTES / 2));
        let files = [file("V1__a.sql", &long), file("V2__b.sql", &long), file("V3__c.sql", "SELECT 3;")];
        let sent = compose(&table(), &files, (Work::Apply, &[0, 1, 2]), Sharing::Together);
        assert_eq!(sent.len(), 3);
        assert!(sent.iter().all(|message| message.sql.len() <= MAX_MESSAGE_BYTES));
    }

    #[test]
    fn an_error_is_about_the_part_that_holds_its_character() {
        let files = [file("V1__a.sql", "SELECT 'é';"), file("V2__b.sql", "SELEC 2;")];
        let sent = compose(&table(), &files, (Work::Apply, &[0, 1]), Sharing::Together);
        let at = sent[1].sql.find("SELEC 2").unwrap();
        let position = sent[1].sql[..at].chars().count() + 1;
        let place = sent[1].reader().place(u32::try_from(position).ok());
        assert_eq!(place, Place { part: Part::File(1), done: 0, position: Some(1) });
        let end = u32::try_from(sent[1].sql.chars().count()).unwrap() + 1;
        assert_eq!(sent[1].reader().place(Some(end)).part, Part::Proof);
        assert_eq!(sent[1].reader().place(Some(0)), sent[1].reader().place(None));
    }

    #[test]
    fn an_error_without_a_character_is_about_what_the_answers_have_come_to() {
        // However many statements a file has for the server: it is over when the mark says so.
        let files = [file("V1__a.sql", "SELECT 1;"), file("V2__b.sql", "SELECT 2;")];
        let sent = compose(&table(), &files, (Work::Apply, &[0, 1]), Sharing::Together);
        let mut reader = sent[1].reader();
        let here = |reader: &Reader<'_>| (reader.place(None).part, reader.place(None).done);
        for _ in 0..5 {
            reader.describe(["id"].into_iter());
            reader.complete();
        }
        assert_eq!(here(&reader), (Part::File(0), 5));
        reader.describe([MARK].into_iter());
        assert_eq!(here(&reader), (Part::Row(0), 0));
        (0..3).for_each(|_| reader.complete());
        assert_eq!(here(&reader), (Part::Row(0), 3));
        reader.complete();
        assert_eq!(here(&reader), (Part::File(1), 0));
        reader.describe([MARK].into_iter());
        (0..4).for_each(|_| reader.complete());
        assert_eq!(here(&reader), (Part::Commit, 0));
        reader.complete();
        assert_eq!(here(&reader), (Part::Proof, 0));
        reader.complete();
        assert_eq!(here(&reader).0, Part::Proof);
    }
}
