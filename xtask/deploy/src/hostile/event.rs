//! Events, failures and tables.

use std::time::Duration;

use proptest::prelude::*;
use stack::Event;

use super::{error, hostile, is_result, is_text};
use crate::failure::{Exit, Failure};
use crate::running::Running;
use crate::text::Text;
use crate::view::{Detail, View};
use crate::{screen, table};

/// Each event that there is, with that text wherever it has one.
fn events(text: &str) -> Vec<Event> {
    let (text, elapsed) = (text.to_owned(), Duration::from_secs(1));
    let all = vec![
        Event::PhaseStarted { name: text.clone() },
        Event::PhaseFinished { name: text.clone(), elapsed },
        Event::StepStarted { subject: text.clone(), verb: text.clone() },
        Event::StepWaiting { subject: text.clone(), status: text.clone() },
        Event::StepFinished { subject: text.clone(), outcome: text.clone(), elapsed },
        Event::StepFailed { subject: text.clone(), error: text.clone() },
        Event::Traffic {
            subject: text.clone(),
            sessions: 1,
            resuming: 0,
            streams: 1,
            bytes_sent: 1,
            bytes_received: 1,
            unread_bytes: 0,
            round_trip: elapsed,
        },
        Event::Detail { text: text.clone() },
        Event::Note { text: text.clone() },
        Event::Warning { text },
    ];
    // Whoever adds an event adds it here as well: it does not compile otherwise.
    let place = |event: &Event| match event {
        Event::PhaseStarted { .. } => 0,
        Event::PhaseFinished { .. } => 1,
        Event::StepStarted { .. } => 2,
        Event::StepWaiting { .. } => 3,
        Event::StepFinished { .. } => 4,
        Event::StepFailed { .. } => 5,
        Event::Traffic { .. } => 6,
        Event::Detail { .. } => 7,
        Event::Note { .. } => 8,
        Event::Warning { .. } => 9,
    };
    assert!(all.iter().map(place).eq(0..10));
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_event_is_lines_of_ours(text in hostile()) {
        for event in events(&text) {
            for detail in [Detail::Quiet, Detail::Normal, Detail::Verbose] {
                if let Some(text) = View::plain(detail).text_of(&event) {
                    is_text(&text)?;
                }
            }
            is_result(&Text::new(), &event)?;
        }
    }

    #[test]
    fn a_bar_is_one_line(text in hostile()) {
        let bar = screen::bar(&text);
        is_text(&bar)?;
        prop_assert!(!bar.contains('\n'));
    }

    #[test]
    fn every_failure_is_lines_of_ours(text in hostile()) {
        let chain = anyhow::Error::new(error(&text)).context(text.clone()).context("cannot do it");
        let failure = Failure::new(Exit::Failure, chain)
            .hint(text.clone())
            .still_running([Running::Still(text.clone())]);
        let shown = failure.text();
        is_result(&shown, &failure.render_json())?;
        prop_assert_eq!(shown.lines().filter(|line| line.starts_with("error:")).count(), 1);
        prop_assert_eq!(shown.lines().filter(|line| line.starts_with("hint:")).count(), 1);
        prop_assert_eq!(shown.lines().filter(|line| line.starts_with("  caused by:")).count(), 2);
    }

    #[test]
    fn every_table_has_as_many_lines_as_rows(text in hostile()) {
        let rows = vec![vec![text.clone(), text.clone(), text.clone()]; 3];
        let shown = table::render(&["one", "two", ""], &rows);
        is_text(&shown)?;
        prop_assert_eq!(shown.split('\n').count(), 4);
    }
}
