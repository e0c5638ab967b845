//! Where each database stands: moto makes and deletes at once, RDS takes its time.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hyper::StatusCode;
use jiff::Timestamp;
use roxmltree::Document;

use crate::gateway::inventory::Database;
use crate::gateway::reply::Reply;
use crate::gateway::xml::{all, find, replace};

/// Where a database stands when it is not simply available.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Creating,
    Available,
    Deleting,
    /// Until RDS starts it by itself.
    Stopped(Timestamp),
    /// It did not start; the reason.
    Failed(String),
}

/// The phases of all databases, by [`place`]: two regions may have the same identifier.
#[derive(Debug, Default)]
pub(crate) struct Phases(Mutex<BTreeMap<String, Phase>>);

/// Returns by what a database is known behind the gateway: no other has it, in no region.
pub(super) fn place(region: &str, identifier: &str) -> String {
    format!("{region}-{identifier}")
}

impl Phases {
    /// Forgets everything and returns the places.
    pub(crate) fn clear(&self) -> Vec<String> {
        std::mem::take(&mut *self.lock()).into_keys().collect()
    }

    /// Returns why databases did not start.
    pub(crate) fn failures(&self) -> Vec<(String, String)> {
        let phases = self.lock();
        let failed = phases.iter().filter_map(|(id, phase)| match phase {
            Phase::Failed(why) => Some((id.clone(), why.clone())),
            Phase::Creating | Phase::Available | Phase::Deleting | Phase::Stopped(_) => None,
        });
        failed.collect()
    }

    pub(super) fn get(&self, place: &str) -> Phase {
        self.lock().get(place).cloned().unwrap_or(Phase::Available)
    }

    pub(super) fn set(&self, place: &str, phase: Phase) {
        self.lock().insert(place.to_owned(), phase);
    }

    /// Ends the creation; a database that is being deleted meanwhile stays so.
    pub(super) fn created(&self, place: &str, phase: Phase) {
        if let Some(at) = self.lock().get_mut(place).filter(|at| **at == Phase::Creating) {
            *at = phase;
        }
    }

    pub(super) fn forget(&self, place: &str) {
        self.lock().remove(place);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Phase>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the phases into an answer of moto, which knows only `available`.
pub(super) fn dress(phases: &Phases, region: &str, reply: Reply) -> Reply {
    if reply.status != StatusCode::OK {
        return reply;
    }
    let xml = reply.text();
    match Document::parse(&xml) {
        Ok(document) => Reply { body: Bytes::from(show(&xml, &document, region, phases)), ..reply },
        Err(_) => reply,
    }
}

fn show(xml: &str, document: &Document<'_>, region: &str, phases: &Phases) -> String {
    let mut edits = Vec::new();
    for node in all(document, "DBInstance") {
        let Some(database) = Database::read(node) else { continue };
        let (status, endpoint) = match phases.get(&place(region, &database.identifier)) {
            Phase::Available => continue,
            Phase::Stopped(restart) => {
                if let Some(at) = find(node, &["DBInstanceStatus"]) {
                    let time = format!("<AutomaticRestartTime>{restart}</AutomaticRestartTime>");
                    edits.push((at.range().end..at.range().end, time));
                }
                continue;
            }
            Phase::Creating => ("creating", None),
            Phase::Deleting => ("deleting", Some(())),
            Phase::Failed(_) => ("failed", None),
        };
        if let Some(at) = find(node, &["DBInstanceStatus"]) {
            edits.push((at.range(), format!("<DBInstanceStatus>{status}</DBInstanceStatus>")));
        }
        if let (Some(at), None) = (find(node, &["Endpoint"]), endpoint) {
            edits.push((at.range(), String::new()));
        }
    }
    replace(xml, edits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const XML: &str = "<R><DBInstance><DBInstanceIdentifier>a</DBInstanceIdentifier><DBInstanceStatus>available\
        </DBInstanceStatus><Endpoint><Address>h</Address><Port>5432</Port></Endpoint></DBInstance></R>";

    fn shown(phase: Phase) -> String {
        let phases = Phases::default();
        phases.set(&place("us-east-1", "a"), phase);
        let document = Document::parse(XML).unwrap();
        assert_eq!(show(XML, &document, "us-west-2", &phases), XML, "another region has one of that name");
        show(XML, &document, "us-east-1", &phases)
    }

    #[test]
    fn a_database_has_no_endpoint_until_it_is_available() {
        let creating = shown(Phase::Creating);
        assert!(creating.contains("<DBInstanceStatus>creating<") && !creating.contains("Endpoint"));
        assert_eq!(shown(Phase::Available), XML);
        let deleting = shown(Phase::Deleting);
        assert!(deleting.contains("<DBInstanceStatus>deleting<") && deleting.contains("<Address>h<"));
    }

    #[test]
    fn a_stopped_database_says_when_it_starts_again() {
        let restart = Timestamp::from_second(1_800_000_000).unwrap();
        let shown = shown(Phase::Stopped(restart));
        assert!(shown.contains("<AutomaticRestartTime>2027-01-15T08:00:00Z<"), "{shown}");
        assert!(shown.contains("<DBInstanceStatus>available<"), "the status is moto's: {shown}");
    }

    #[test]
    fn a_deleted_database_does_not_become_available_again() {
        let phases = Phases::default();
        phases.set("a", Phase::Deleting);
        phases.created("a", Phase::Available);
        assert_eq!(phases.get("a"), Phase::Deleting);
    }
}
