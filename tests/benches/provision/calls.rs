//! What a journal tells of a run.

use sandbox::gateway::Call;

/// How many calls a run made, and how they lay beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) count: usize,
    /// The most that were on their way at one time.
    pub(crate) most_in_flight: usize,
    /// The most calls of which none overlaps another: the chain that was really gone.
    pub(crate) rounds: usize,
}

impl Calls {
    pub(crate) fn of(journal: &[Call]) -> Calls {
        let mut spans: Vec<(u64, u64)> =
            journal.iter().map(|call| (call.start_ms, call.end_ms.unwrap_or(u64::MAX))).collect();
        // Taking whichever ends first gives the longest such list.
        spans.sort_by_key(|(_, end)| *end);
        let (mut rounds, mut free_at) = (0, 0);
        for (start, end) in &spans {
            if *start >= free_at {
                rounds += 1;
                free_at = *end;
            }
        }
        let in_flight = |at: u64| spans.iter().filter(|(start, end)| *start <= at && at < *end).count();
        let most_in_flight = spans.iter().map(|(start, _)| in_flight(*start)).max().unwrap_or(0);
        Calls { count: spans.len(), most_in_flight, rounds }
    }
}
