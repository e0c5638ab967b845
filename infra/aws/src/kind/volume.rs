//! The bastion's volume.

use aws_sdk_ec2::primitives::DateTimeFormat;
use aws_sdk_ec2::types::{Filter, Volume as Answer};
use stack::Stack;
use stack::inventory::Volume;

use crate::core::tag;
use crate::error::failed;
use crate::{Cloud, Error};

/// Returns the volumes with the stack's tag.
pub(crate) async fn list(cloud: &Cloud, stack: &Stack) -> Result<Vec<Volume>, Error> {
    let found = answers(cloud, tag::of_stack(stack)).await?;
    Ok(found.iter().filter(|volume| tag::is_own(stack, volume.tags())).map(read).collect())
}

/// Returns the volumes that match the filter.
pub(crate) async fn filtered(cloud: &Cloud, filter: Filter) -> Result<Vec<Volume>, Error> {
    Ok(answers(cloud, filter).await?.iter().map(read).collect())
}

async fn answers(cloud: &Cloud, filter: Filter) -> Result<Vec<Answer>, Error> {
    let pages = cloud.ec2.describe_volumes().filters(filter).into_paginator().items().send();
    let volumes: Result<Vec<Answer>, _> = pages.collect().await;
    volumes.map_err(failed("ec2", "DescribeVolumes"))
}

fn read(volume: &Answer) -> Volume {
    let attachment = volume.attachments().first();
    Volume {
        id: volume.volume_id().unwrap_or_default().to_owned(),
        instance: attachment.and_then(|attachment| attachment.instance_id()).map(str::to_owned),
        size_gib: volume.size().and_then(|size| u32::try_from(size).ok()),
        state: volume.state().map_or("unknown", |state| state.as_str()).to_owned(),
        created_at: volume.create_time().and_then(|time| time.fmt(DateTimeFormat::DateTime).ok()),
    }
}
