//! Taking over what others made: it is looked up by id and given the stack's tags, nothing else.

mod look;

use aws_sdk_ec2::types::Tag as Ec2Tag;
use aws_sdk_rds::types::Tag as RdsTag;
use aws_sdk_secretsmanager::types::Tag as SecretTag;
use stack::adopt::{Candidate, Observed, Part};
use stack::{Event, Events, Inventory, Resource, Stack};
use tokio::time::Instant;

pub use self::look::look;
use crate::core::backoff::Backoff;
use crate::core::retry::VISIBLE_WITHIN;
use crate::core::tag::{self, Pairs};
use crate::error::failed;
use crate::kind::{profile, role};
use crate::{Cloud, Error, Stop, observe};

/// Gives each of them the tags that `up` gives what it makes, in their order.
///
/// One at a time: cut off anywhere, the next run finds what is left to do.
///
/// # Errors
/// The first refusal, or [`Error::Interrupted`] before the next one.
pub async fn take(
    cloud: &Cloud,
    stack: &Stack,
    candidates: &[Candidate],
    events: &Events,
    stop: &Stop,
) -> Result<(), Error> {
    for candidate in candidates {
        if stop.is_raised() {
            return Err(Error::Interrupted);
        }
        Box::pin(tag_one(cloud, stack, candidate)).await?;
        events.emit(Event::Note { text: format!("tagged {} {}", candidate.part, candidate.id) });
    }
    Ok(())
}

/// Waits until a look at the stack shows all of them, and returns what it shows: an `up` before that could make a second
/// of what is there.
///
/// # Errors
/// [`Error::TimedOut`] names those that are not shown.
pub async fn settle(
    cloud: &Cloud,
    stack: &Stack,
    candidates: &[Candidate],
    stop: &Stop,
) -> Result<Inventory, Error> {
    let began = Instant::now();
    let mut backoff = Backoff::default();
    loop {
        let inventory = Box::pin(observe(cloud, stack)).await?;
        let absent = stack::adopt::absent(&inventory, candidates);
        if absent.is_empty() {
            return Ok(inventory);
        }
        let waited = began.elapsed();
        if waited >= VISIBLE_WITHIN {
            let status = "not listed with its new tags".to_owned();
            return Err(Error::TimedOut { subject: absent.join(", "), status, waited });
        }
        stop.sleep(backoff.pause()).await?;
    }
}

async fn tag_one(cloud: &Cloud, stack: &Stack, candidate: &Candidate) -> Result<(), Error> {
    let id = candidate.id.as_str();
    let pairs = match &candidate.part {
        Part::Of(Resource::MasterSecret) | Part::RoleSecret(_) => {
            tag::named(stack, candidate.part.tag(), id.to_owned())
        }
        Part::Of(resource) => tag::pairs(stack, *resource),
    };
    match &candidate.thing {
        Observed::Vpc(_)
        | Observed::Subnet(_)
        | Observed::Gateway(_)
        | Observed::RouteTable(_)
        | Observed::Group(_) => ec2(cloud, &[id.to_owned()], pairs).await,
        Observed::Instance { companions, .. } => {
            // Itself last: an instance with the tags is one that is done.
            if !companions.is_empty() {
                ec2(cloud, companions, pairs.clone()).await?;
            }
            ec2(cloud, &[id.to_owned()], pairs).await
        }
        Observed::SubnetGroup { arn, .. } => rds(cloud, arn, pairs).await,
        Observed::Database(database) => rds(cloud, &database.arn, pairs).await,
        Observed::Secret(secret) => {
            let tags = pairs.map(|(key, value)| SecretTag::builder().key(key).value(value).build());
            let call = cloud.secrets.tag_resource().secret_id(&secret.arn).set_tags(Some(tags.to_vec()));
            call.send().await.map(drop).map_err(failed("secretsmanager", "TagResource"))
        }
        Observed::Role { .. } => role::tag(cloud, stack, id, Resource::Role).await,
        Observed::Profile { .. } => profile::tag(cloud, stack, id).await,
    }
}

async fn ec2(cloud: &Cloud, ids: &[String], pairs: Pairs) -> Result<(), Error> {
    let tags = pairs.map(|(key, value)| Ec2Tag::builder().key(key).value(value).build());
    let call = cloud.ec2.create_tags().set_resources(Some(ids.to_vec())).set_tags(Some(tags.to_vec()));
    call.send().await.map(drop).map_err(failed("ec2", "CreateTags"))
}

async fn rds(cloud: &Cloud, arn: &str, pairs: Pairs) -> Result<(), Error> {
    let tags = pairs.map(|(key, value)| RdsTag::builder().key(key).value(value).build());
    let call = cloud.rds.add_tags_to_resource().resource_name(arn).set_tags(Some(tags.to_vec()));
    call.send().await.map(drop).map_err(failed("rds", "AddTagsToResource"))
}
