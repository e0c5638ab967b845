//! The SNS topic of the alarms, and its mail subscriptions.

use aws_sdk_sns::types::{Subscription as Answer, Tag};
use futures_util::future::{try_join, try_join_all};
use stack::inventory::{Claim, Inventory, Stray, Subscription, Topic};
use stack::{Resource, Stack};

use crate::core::deletion_proof::{DeletionProof, Presence, wait_until_absent};
use crate::core::job::Job;
use crate::core::ownership::Sighted;
use crate::core::retry::{ask_each, delete};
use crate::core::tag;
use crate::error::{absent_is_none, failed};
use crate::{Cloud, Error};

const MAIL: &str = "email";

/// Returns the topic that has the stack's name, and whose it is.
pub(crate) async fn find(cloud: &Cloud, stack: &Stack) -> Result<Sighted<Topic>, Error> {
    let name = stack.topic_name();
    let arns = arns(cloud).await?;
    let Some(arn) = arns.into_iter().find(|arn| arn.rsplit(':').next() == Some(&name)) else {
        return Ok(Sighted::Absent);
    };
    // It may have been deleted in between.
    let found = absent_is_none(try_join(tags(cloud, &arn), subscriptions(cloud, &arn)).await)?;
    Ok(match found {
        None => Sighted::Absent,
        Some((tags, subscriptions)) if is_ours(stack, &tags) => Sighted::Ours(Topic { arn, subscriptions }),
        Some(_) => {
            let (resource, claim) = (Resource::Topic, Claim::NoTag);
            Sighted::Stray(Stray { resource, id: name, arn: Some(arn), state: None, claim })
        }
    })
}

/// Returns the ARNs of the topics with the stack's tag, whatever their names.
pub(crate) async fn list(cloud: &Cloud, stack: &Stack) -> Result<Vec<String>, Error> {
    let asked = ask_each(arns(cloud).await?, |arn: String| async move {
        let tags = absent_is_none(tags(cloud, &arn).await)?;
        Ok(tags.is_some_and(|tags| is_ours(stack, &tags)).then_some(arn))
    });
    Ok(asked.await?.into_iter().flatten().collect())
}

async fn arns(cloud: &Cloud) -> Result<Vec<String>, Error> {
    let pages = cloud.sns.list_topics().into_paginator().items().send();
    let topics: Result<Vec<aws_sdk_sns::types::Topic>, _> = pages.collect().await;
    let topics = topics.map_err(failed("sns", "ListTopics"))?;
    Ok(topics.into_iter().filter_map(|topic| topic.topic_arn).collect())
}

fn is_ours(stack: &Stack, tags: &[Tag]) -> bool {
    tag::is_of(stack, tags.iter().map(|tag| (tag.key(), tag.value())))
}

async fn tags(cloud: &Cloud, arn: &str) -> Result<Vec<Tag>, Error> {
    let call = cloud.sns.list_tags_for_resource().resource_arn(arn).send();
    let answer = call.await.map_err(failed("sns", "ListTagsForResource"))?;
    Ok(answer.tags.unwrap_or_default())
}

async fn subscriptions(cloud: &Cloud, arn: &str) -> Result<Vec<Subscription>, Error> {
    let pages = cloud.sns.list_subscriptions_by_topic().topic_arn(arn).into_paginator().items().send();
    let found: Result<Vec<Answer>, _> = pages.collect().await;
    let found = found.map_err(failed("sns", "ListSubscriptionsByTopic"))?;
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let mut subscriptions: Vec<Subscription> = found
        .iter()
        .map(|one| Subscription {
            protocol: text(one.protocol()),
            endpoint: text(one.endpoint()),
            arn: confirmed(one.subscription_arn()),
        })
        .collect();
    subscriptions.sort_by(|a, b| (&a.protocol, &a.endpoint).cmp(&(&b.protocol, &b.endpoint)));
    Ok(subscriptions)
}

/// A subscription that is not confirmed has a text in place of its ARN, which differs between answers.
fn confirmed(arn: Option<&str>) -> Option<String> {
    arn.filter(|arn| arn.starts_with("arn:")).map(str::to_owned)
}

/// Creates the topic if it does not exist, and makes the stack file's address its only mail subscription.
///
/// Subscriptions of other kinds stay.
pub(crate) async fn ensure(job: &Job<'_>, inventory: &Inventory) -> Result<Topic, Error> {
    let mut topic = match &inventory.topic {
        Some(topic) => topic.clone(),
        None => Topic { arn: create(job).await?, subscriptions: Vec::new() },
    };
    let email = job.stack.alarms.email.as_deref().unwrap_or_default();
    let is_other = |one: &&Subscription| one.protocol == MAIL && one.endpoint != email;
    let others = topic.subscriptions.iter().filter(is_other).filter_map(|one| one.arn.as_deref());
    try_join_all(others.map(|arn| unsubscribe(job, arn))).await?;
    topic.subscriptions.retain(|one| !is_other(&one) || one.arn.is_none());
    if !topic.subscriptions.iter().any(|one| one.protocol == MAIL && one.endpoint == email) {
        let call = job.cloud.sns.subscribe().topic_arn(&topic.arn).protocol(MAIL).endpoint(email).send();
        let answer = call.await.map_err(failed("sns", "Subscribe"))?;
        topic.subscriptions.push(Subscription {
            protocol: MAIL.to_owned(),
            endpoint: email.to_owned(),
            arn: confirmed(answer.subscription_arn()),
        });
    }
    Ok(topic)
}

async fn create(job: &Job<'_>) -> Result<String, Error> {
    let name = job.stack.topic_name();
    let tags = tag::pairs(job.stack, Resource::Topic);
    let tags = tags.map(|(key, value)| Tag::builder().key(key).value(value).build());
    let tags: Result<Vec<Tag>, _> = tags.into_iter().collect();
    let tags = tags.expect("invariant: every tag has a key and a value");
    // A lost reply does no harm: the same name with the same tags gives the same topic.
    let call = job.cloud.sns.create_topic().name(&name).set_tags(Some(tags)).send();
    match call.await.map_err(failed("sns", "CreateTopic")) {
        Ok(answer) => answer.topic_arn.ok_or(Error::Incomplete {
            service: "sns",
            operation: "CreateTopic",
            field: "ARN",
        }),
        Err(error) if has_other_tags(&error) => Err(Error::Foreign { what: "topic", name }),
        Err(error) => Err(error),
    }
}

/// SNS uses the code `InvalidParameter` for many errors, so the message decides.
fn has_other_tags(error: &Error) -> bool {
    let Error::Service { message, .. } = error else { return false };
    message.contains("already exists with different tags")
}

async fn unsubscribe(job: &Job<'_>, arn: &str) -> Result<(), Error> {
    let call = job.cloud.sns.unsubscribe().subscription_arn(arn).send();
    absent_is_none(call.await.map_err(failed("sns", "Unsubscribe"))).map(|_| ())
}

/// Deletes the topic with its subscriptions, and waits until it no longer exists.
pub(crate) async fn destroy(job: &Job<'_>, arn: &str) -> Result<DeletionProof, Error> {
    let call = || async {
        let call = job.cloud.sns.delete_topic().topic_arn(arn).send();
        call.await.map_err(failed("sns", "DeleteTopic"))
    };
    delete(job, call).await?;
    wait_until_absent(job, "sns", "GetTopicAttributes", || async {
        let call = job.cloud.sns.get_topic_attributes().topic_arn(arn).send();
        call.await.map_err(failed("sns", "GetTopicAttributes"))?;
        Ok(Presence::Present("still known to SNS".to_owned()))
    })
    .await
}
