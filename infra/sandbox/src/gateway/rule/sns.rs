//! SNS's mail: a subscription is pending until it is confirmed. The emulators confirm by themselves, or never.
//!
//! No mail is sent here: the token of `ConfirmSubscription` is the address.

use bytes::Bytes;
use hyper::StatusCode;
use roxmltree::{Document, Node};

use crate::gateway::Error;
use crate::gateway::memory::subscriptions::Confirmed;
use crate::gateway::upstream::Upstream;
use crate::gateway::upstream::api::QueryApi;
use crate::gateway::wire::reply::Reply;
use crate::gateway::wire::request::{Protocol, Request};
use crate::gateway::wire::xml::{all, escape, find, replace, text};

const SNS: QueryApi = QueryApi { service: "sns", version: "2010-03-31" };

/// Answers the operations that concern mail.
pub(crate) async fn answer(
    upstream: &Upstream,
    confirmed: &Confirmed,
    request: &Request,
) -> Result<Option<Reply>, Error> {
    match request.operation.as_deref() {
        Some("Subscribe") if request.param("Protocol") == Some("email") => {
            let reply = upstream.forward(request).await?;
            if reply.status != StatusCode::OK {
                return Ok(Some(reply));
            }
            let xml = reply.text();
            let document = Document::parse(&xml)?;
            let arns = all(&document, "SubscriptionArn").into_iter();
            let pending = arns.filter(|arn| !arn.text().is_some_and(|arn| confirmed.has(arn)));
            let edits = pending.map(|arn| with_text(arn, "pending confirmation")).collect();
            Ok(Some(Reply { body: Bytes::from(replace(&xml, edits)), ..reply }))
        }
        Some("ListSubscriptions" | "ListSubscriptionsByTopic") => {
            let reply = upstream.forward(request).await?;
            if reply.status != StatusCode::OK {
                return Ok(Some(reply));
            }
            let xml = reply.text();
            let document = Document::parse(&xml)?;
            let edits = mails(&document)
                .filter(|(_, arn)| !arn.text().is_some_and(|arn| confirmed.has(arn)))
                .map(|(_, arn)| with_text(arn, "PendingConfirmation"))
                .collect();
            Ok(Some(Reply { body: Bytes::from(replace(&xml, edits)), ..reply }))
        }
        Some("ConfirmSubscription") => confirm(upstream, confirmed, request).await.map(Some),
        _ => Ok(None),
    }
}

async fn confirm(upstream: &Upstream, confirmed: &Confirmed, request: &Request) -> Result<Reply, Error> {
    let topic = request.param("TopicArn").unwrap_or_default();
    let token = request.param("Token").unwrap_or_default();
    let params = [("TopicArn", topic)];
    let xml = upstream.query(SNS, request.region(), "ListSubscriptionsByTopic", &params).await?;
    let document = Document::parse(&xml)?;
    let mut mails = mails(&document);
    let Some(arn) = mails.find(|(address, _)| *address == token).and_then(|(_, arn)| arn.text()) else {
        return Ok(Reply::refuse(Protocol::Query, 400, "InvalidParameter", "Invalid token"));
    };
    confirmed.insert(arn);
    Ok(Reply::xml(format!(
        "<ConfirmSubscriptionResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><ConfirmSubscriptionResult>\
         <SubscriptionArn>{}</SubscriptionArn></ConfirmSubscriptionResult><ResponseMetadata><RequestId>{}</RequestId>\
         </ResponseMetadata></ConfirmSubscriptionResponse>",
        escape(arn),
        uuid::Uuid::new_v4()
    )))
}

/// Returns the addresses of mail with the elements of their subscriptions' ARNs.
fn mails<'a, 'i>(document: &'a Document<'i>) -> impl Iterator<Item = (&'a str, Node<'a, 'i>)> {
    let members = all(document, "member").into_iter();
    let mails = members.filter(|member| text(*member, &["Protocol"]) == Some("email"));
    mails.filter_map(|member| Some((text(member, &["Endpoint"])?, find(member, &["SubscriptionArn"])?)))
}

fn with_text(arn: Node<'_, '_>, words: &str) -> (std::ops::Range<usize>, String) {
    (arn.range(), format!("<SubscriptionArn>{words}</SubscriptionArn>"))
}
