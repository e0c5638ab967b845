//! The status of databases in answers; moto knows only `available`.

use bytes::Bytes;
use hyper::StatusCode;
use roxmltree::Document;

use crate::gateway::memory::phases::{Phase, Phases, place};
use crate::gateway::upstream::inventory::Database;
use crate::gateway::wire::reply::Reply;
use crate::gateway::wire::xml::{all, find, replace};

/// Writes the phases into an answer of moto, which knows only `available`.
pub(super) fn overlay_status(phases: &Phases, region: &str, reply: Reply) -> Reply {
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
    use jiff::Timestamp;

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
}
