//! Routes whose target is gone: EC2 shows them as `blackhole`, moto does not.

use bytes::Bytes;
use hyper::StatusCode;
use roxmltree::{Document, Node};

use crate::gateway::Error;
use crate::gateway::upstream::Upstream;
use crate::gateway::upstream::inventory::Inventory;
use crate::gateway::wire::reply::Reply;
use crate::gateway::wire::request::Request;
use crate::gateway::wire::xml::{all, find, items, replace, text};

/// Describes route tables, with `blackhole` for routes whose target is gone.
pub(super) async fn describe(upstream: &Upstream, request: &Request) -> Result<Reply, Error> {
    let reply = upstream.forward(request).await?;
    let xml = reply.text();
    if reply.status != StatusCode::OK || !(xml.contains(">igw-") || xml.contains(">nat-")) {
        return Ok(reply);
    }
    let inventory = Inventory::new(upstream, request.region());
    let attachments = inventory.attachments().await?;
    let nat_gateways = if xml.contains(">nat-") { inventory.nat_gateways().await? } else { Vec::new() };
    let document = Document::parse(&xml)?;
    let leads_nowhere = |vpc: &str, route: Node<'_, '_>| match text(route, &["gatewayId"]) {
        Some(id) if id.starts_with("igw-") => {
            !attachments.iter().any(|(gateway, at)| gateway == id && at == vpc)
        }
        Some(_) => false,
        None => text(route, &["natGatewayId"]).is_some_and(|id| !nat_gateways.iter().any(|nat| nat == id)),
    };
    let mut edits = Vec::new();
    for table in all(&document, "routeTableSet").into_iter().flat_map(|set| items(set, &[])) {
        let vpc = text(table, &["vpcId"]).unwrap_or_default();
        for route in items(table, &["routeSet"]).into_iter().filter(|route| leads_nowhere(vpc, *route)) {
            edits.extend(
                find(route, &["state"]).map(|state| (state.range(), "<state>blackhole</state>".to_owned())),
            );
        }
    }
    Ok(Reply { body: Bytes::from(replace(&xml, edits)), ..reply })
}
