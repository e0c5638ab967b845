//! Cuts what is pending into transactions.

use crate::Migration;
use crate::migration::Mode;

/// Files that are committed together, as places in the list of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// One transaction: all of them or none.
    Transaction(Vec<usize>),
    /// One file outside of any transaction, one statement after the other.
    NoTransaction(usize),
}

/// Cuts the pending files into as few transactions as they allow, in their order.
pub(super) fn cut(migrations: &[Migration], pending: &[usize]) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut is_open = false;
    for &at in pending {
        match (migrations[at].mode(), segments.last_mut()) {
            (Mode::Grouped, Some(Segment::Transaction(group))) if is_open => group.push(at),
            (Mode::Grouped | Mode::OwnTransaction, _) => segments.push(Segment::Transaction(vec![at])),
            (Mode::NoTransaction, _) => segments.push(Segment::NoTransaction(at)),
        }
        is_open = migrations[at].mode() == Mode::Grouped;
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migration::parse;

    fn files(markers: &str) -> Vec<Migration> {
        let marker = |c| match c {
            'o' => "-- drawbridge: own-transaction\n",
            'n' => "-- drawbridge: no-transaction\n",
            _ => "",
        };
        markers
            .chars()
            .enumerate()
            .map(|(at, c)| {
                parse(&format!("V{at}__a.sql"), format!("{}SELECT 1;\n", marker(c)).as_bytes()).unwrap()
            })
            .collect()
    }

    fn cut_all(markers: &str) -> Vec<Segment> {
        let files = files(markers);
        cut(&files, &(0..files.len()).collect::<Vec<_>>())
    }

    #[test]
    fn files_without_a_marker_share_one_transaction() {
        assert_eq!(cut_all("ggg"), [Segment::Transaction(vec![0, 1, 2])]);
        assert_eq!(cut(&files("gggg"), &[1, 3]), [Segment::Transaction(vec![1, 3])]);
        assert_eq!(cut_all(""), []);
    }

    #[test]
    fn a_marked_file_ends_the_group_before_it_and_opens_none() {
        let own = |at| Segment::Transaction(vec![at]);
        assert_eq!(
            cut_all("ggogno"),
            [Segment::Transaction(vec![0, 1]), own(2), own(3), Segment::NoTransaction(4), own(5)]
        );
        assert_eq!(cut_all("oog"), [own(0), own(1), own(2)]);
    }
}
