//! The journal of calls. It keeps no parameters, so it can hold no secret. For watched words it notes whether a call has them.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;

use crate::gateway::wire::reply::ServedBy;

/// One call, as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Call {
    /// The position among all calls since the start or the last reset, from 1.
    pub number: u64,
    /// The service's signing name, empty for an unsigned request.
    pub service: String,
    /// The operation, or method and path where the protocol does not tell.
    pub operation: String,
    /// The region that the request was signed for; IAM is always called in one.
    pub region: String,
    /// Milliseconds from the gateway's start to the call's arrival.
    pub start_ms: u64,
    /// Milliseconds from the gateway's start to the end of the work; absent while it goes on.
    pub end_ms: Option<u64>,
    /// The HTTP status of the answer; absent when there was none.
    pub status: Option<u16>,
    /// Who made the answer, even one that was lost; absent when nothing was done.
    pub served_by: Option<ServedBy>,
    /// The fault that hit the call.
    pub fault: Option<&'static str>,
    /// Which of the words that are watched for are in the call's parameters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Journal {
    began: Instant,
    calls: Mutex<Vec<Call>>,
    watched: Mutex<Vec<String>>,
}

/// A call, as it arrives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrival {
    pub(crate) service: String,
    pub(crate) operation: String,
    /// Empty where nothing was signed.
    pub(crate) region: String,
    /// Which of the words that are watched for are in its parameters.
    pub(crate) mentions: Vec<String>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ending {
    pub(crate) status: Option<u16>,
    pub(crate) fault: Option<&'static str>,
    pub(crate) served_by: Option<ServedBy>,
}

impl Journal {
    pub(crate) fn new() -> Journal {
        Journal { began: Instant::now(), calls: Mutex::default(), watched: Mutex::default() }
    }

    /// Watches for these words, and no others, in the parameters of calls.
    pub(crate) fn watch_for(&self, words: Vec<String>) {
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = words;
    }

    /// Returns the words that are watched for and are in a text.
    pub(crate) fn mentioned(&self, text: impl FnOnce() -> String) -> Vec<String> {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.is_empty() {
            return Vec::new();
        }
        let text = text();
        watched.iter().filter(|word| text.contains(word.as_str())).cloned().collect()
    }

    /// Notes the arrival of a call and returns its number.
    pub(crate) fn begin(&self, arrival: &Arrival) -> u64 {
        let start_ms = self.now_ms();
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let number = calls.len() as u64 + 1;
        calls.push(Call {
            number,
            service: arrival.service.clone(),
            operation: arrival.operation.clone(),
            region: arrival.region.clone(),
            start_ms,
            end_ms: None,
            status: None,
            served_by: None,
            fault: None,
            mentions: arrival.mentions.clone(),
        });
        number
    }

    /// Notes the end of a call; one from before a reset is forgotten.
    pub(crate) fn end(&self, number: u64, ending: Ending) {
        let end_ms = self.now_ms();
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
        if let Some(call) = calls.get_mut(index).filter(|call| call.end_ms.is_none()) {
            call.end_ms = Some(end_ms);
            call.status = ending.status;
            call.served_by = ending.served_by;
            call.fault = ending.fault;
        }
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn clear(&self) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_tells_which_of_the_watched_words_it_mentions_and_nothing_else_of_what_it_says() {
        let journal = Journal::new();
        let said = || r#"{"SecretId":"rds/shop/master","SecretString":"hunter2"}"#.to_owned();
        assert!(journal.mentioned(said).is_empty());
        journal.watch_for(vec!["rds/shop/master".to_owned(), "vpc-1".to_owned()]);
        let number = journal.begin(&Arrival { mentions: journal.mentioned(said), ..Arrival::default() });
        journal.end(number, Ending { status: Some(200), ..Ending::default() });
        assert_eq!(journal.calls()[0].mentions, ["rds/shop/master"]);
        assert!(!format!("{journal:?}").contains("hunter2"));
    }
}
