//! The status of instances that moto does not know: that they are shutting down, and when they were last started.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use hyper::StatusCode;
use roxmltree::Document;

use crate::gateway::memory::launches::Launches;
use crate::gateway::wire::reply::Reply;
use crate::gateway::wire::request::Request;
use crate::gateway::wire::xml::{all, find, replace, text};

/// Writes into an answer which instances are `shutting-down`, unless a filter hides those, and when others were started.
///
/// `were_ending` are those that were about to end before moto was asked: moto may have said `running` and ended one since.
pub(super) fn overlay_status(
    launches: &Launches,
    were_ending: HashSet<String>,
    request: &Request,
    reply: Reply,
) -> Reply {
    let (mut ending, starts) = launches.overlay();
    ending.extend(were_ending);
    if reply.status != StatusCode::OK {
        return reply;
    }
    let edit = |reply: Reply, edit: &dyn Fn(&str, &Document<'_>) -> String| {
        let xml = reply.text();
        match Document::parse(&xml) {
            Ok(document) => Reply { body: Bytes::from(edit(&xml, &document)), ..reply },
            Err(_) => reply,
        }
    };
    let mut reply = reply;
    if !starts.is_empty() {
        reply = edit(reply, &|xml, document| show_starts(xml, document, &starts));
    }
    if !ending.is_empty() {
        reply = edit(reply, &|xml, document| show_ending(xml, document, &ending, wants_ending(request)));
    }
    reply
}

/// Writes into an answer when instances were started last.
fn show_starts(xml: &str, document: &Document<'_>, starts: &HashMap<String, String>) -> String {
    let instances = all(document, "instancesSet").into_iter().flat_map(|set| set.children());
    let edits = instances.filter_map(|item| {
        let start = starts.get(text(item, &["instanceId"])?)?;
        let time = find(item, &["launchTime"])?;
        Some((time.range(), format!("<launchTime>{start}</launchTime>")))
    });
    replace(xml, edits.collect())
}

/// Whether a request's filters show instances that are shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Shown,
    Hidden,
}

fn wants_ending(request: &Request) -> Ending {
    let filter = (1..=20).find(|n| request.param(&format!("Filter.{n}.Name")) == Some("instance-state-name"));
    let Some(n) = filter else { return Ending::Shown };
    let states = request.list(&format!("Filter.{n}.Value"));
    if states.iter().any(|state| state == "shutting-down") { Ending::Shown } else { Ending::Hidden }
}

fn show_ending(xml: &str, document: &Document<'_>, ending: &HashSet<String>, wanted: Ending) -> String {
    let instances = all(document, "instancesSet").into_iter().flat_map(|set| set.children());
    let edits = instances
        .filter(|item| text(*item, &["instanceId"]).is_some_and(|id| ending.contains(id)))
        .filter_map(|item| match wanted {
            Ending::Hidden => Some((item.range(), String::new())),
            Ending::Shown => find(item, &["instanceState"]).map(|state| {
                (
                    state.range(),
                    "<instanceState><code>32</code><name>shutting-down</name></instanceState>".to_owned(),
                )
            }),
        })
        .collect();
    replace(xml, edits)
}

#[cfg(test)]
mod tests {
    use hyper::{HeaderMap, Method, Uri};

    use super::*;

    const XML: &str = "<r><reservationSet><item><instancesSet><item><instanceId>i-1</instanceId><instanceState>\
        <code>16</code><name>running</name></instanceState></item></instancesSet></item></reservationSet></r>";

    #[test]
    fn an_instance_that_has_ended_since_moto_was_asked_is_not_shown_as_running() {
        let launches = Launches::default();
        let id = ["i-1".to_owned()];
        launches.begin_end(&id);
        let (were_ending, _) = launches.overlay();
        // moto is asked here, and its answer is on its way when it ends the instance.
        launches.finish_end(&id);
        let request = Request::parse(Method::POST, Uri::from_static("/"), HeaderMap::new(), Bytes::new());
        let shown = overlay_status(&launches, were_ending, &request, Reply::xml(XML)).text();
        assert!(shown.contains("shutting-down") && !shown.contains("running"), "{shown}");
    }

    #[test]
    fn an_ending_instance_is_shown_as_shutting_down_or_not_at_all() {
        let document = Document::parse(XML).unwrap();
        let ending = HashSet::from(["i-1".to_owned()]);
        let shown = show_ending(XML, &document, &ending, Ending::Shown);
        assert!(shown.contains("<code>32</code><name>shutting-down</name>") && !shown.contains("running"));
        assert!(
            show_ending(XML, &document, &ending, Ending::Hidden).contains("<instancesSet></instancesSet>")
        );
        assert_eq!(show_ending(XML, &document, &HashSet::new(), Ending::Shown), XML);
    }
}
