//! The instance profile: the shell in which EC2 hands the role to the bastion.

use aws_sdk_iam::primitives::DateTimeFormat;
use aws_sdk_iam::types::{InstanceProfile, Tag};
use futures_util::future::try_join_all;
use stack::inventory::{Inventory, Profile};
use stack::{Resource, Stack};

use crate::error::failed;
use crate::poll::{Probe, VISIBLE_WITHIN, delete, visible, wait_until};
use crate::proof::{Proof, Seen, absent};
use crate::role::absent_is_none;
use crate::state::State;
use crate::step::Job;
use crate::{Cloud, Error, role, tag};

/// Returns the stack's profile; one of that name under another path and without its tag is not the stack's.
pub(crate) async fn find(cloud: &Cloud, stack: &Stack) -> Result<Option<Profile>, Error> {
    let profile = describe(cloud, &stack.profile_name()).await?;
    let is_ours = |profile: &InstanceProfile| {
        profile.path() == stack.iam_path() || tag::is_of(stack, role::tags(profile.tags()))
    };
    Ok(profile.filter(is_ours).as_ref().map(read))
}

/// Returns the names of the profiles under the stack's path.
pub(crate) async fn list_names(cloud: &Cloud, stack: &Stack) -> Result<Vec<String>, Error> {
    let pages =
        cloud.iam.list_instance_profiles().path_prefix(stack.iam_path()).into_paginator().items().send();
    let profiles: Result<Vec<InstanceProfile>, _> = pages.collect().await;
    let profiles = profiles.map_err(failed("iam", "ListInstanceProfiles"))?;
    // moto answers with those under other paths as well.
    let under = profiles.iter().filter(|profile| profile.path().starts_with(&stack.iam_path()));
    Ok(under.map(|profile| profile.instance_profile_name().to_owned()).collect())
}

pub(crate) async fn describe(cloud: &Cloud, name: &str) -> Result<Option<InstanceProfile>, Error> {
    let call = cloud.iam.get_instance_profile().instance_profile_name(name).send();
    let answer = absent_is_none(call.await.map_err(failed("iam", "GetInstanceProfile")))?;
    Ok(answer.and_then(|answer| answer.instance_profile))
}

/// Returns the profile with the stack's role in it and no other, once IAM shows it so.
pub(crate) async fn ensure(job: &Job<'_>, state: &State) -> Result<Profile, Error> {
    let role = job.stack.role_name();
    let profile = match &state.inventory.profile {
        Some(profile) => profile.clone(),
        None => create(job).await?,
    };
    // There is room for one role.
    let others = profile.roles.iter().filter(|other| **other != role);
    try_join_all(others.map(|other| remove(job, &profile.name, other))).await?;
    if profile.roles.contains(&role) {
        return Ok(profile);
    }
    job.rest_of_needs(state).await?;
    let add = || async {
        let call = job.cloud.iam.add_role_to_instance_profile();
        let call = call.instance_profile_name(&profile.name).role_name(&role).send();
        call.await.map_err(failed("iam", "AddRoleToInstanceProfile"))
    };
    match visible(job, add).await {
        // A lost reply: the one place is taken, as the look below will show, by our role.
        Err(error) if !error.is_duplicate() && error.code() != Some("LimitExceeded") => return Err(error),
        Ok(_) | Err(_) => (),
    }
    // An agent that starts before the role has arrived sleeps for half an hour.
    wait_until(job, VISIBLE_WITHIN, || async {
        let found = describe(job.cloud, &profile.name).await?.as_ref().map(read);
        Ok(match found.filter(|found| found.roles.contains(&role)) {
            Some(found) => Probe::Ready(found),
            None => Probe::Pending("the role is not in the profile yet".to_owned()),
        })
    })
    .await
}

async fn create(job: &Job<'_>) -> Result<Profile, Error> {
    let name = job.stack.profile_name();
    let tags = tag::pairs(job.stack, Resource::Profile);
    let tags = tags.map(|(key, value)| Tag::builder().key(key).value(value).build());
    let tags: Result<Vec<Tag>, _> = tags.into_iter().collect();
    let call = job
        .cloud
        .iam
        .create_instance_profile()
        .instance_profile_name(&name)
        .path(job.stack.iam_path())
        .set_tags(Some(tags.expect("invariant: every tag has a key and a value")));
    match call.send().await.map_err(failed("iam", "CreateInstanceProfile")) {
        Ok(answer) => answer.instance_profile.as_ref().map(read).ok_or(Error::Incomplete {
            service: "iam",
            operation: "CreateInstanceProfile",
            field: "profile",
        }),
        // A lost reply, or someone else's: no two in an account have the same name.
        Err(error) if error.is_duplicate() => {
            find(job.cloud, job.stack).await?.ok_or(Error::Foreign { what: "instance profile", name })
        }
        Err(error) => Err(error),
    }
}

/// Takes the roles out of the profile, deletes it, and waits until IAM does not know it any more.
pub(crate) async fn destroy(job: &Job<'_>, name: &str, inventory: &Inventory) -> Result<Proof, Error> {
    let roles = inventory.profile.iter().flat_map(|profile| &profile.roles);
    try_join_all(roles.map(|role| remove(job, name, role))).await?;
    // The role waits for no more than to be out of it.
    job.clear_the_way();
    let call = || async {
        let call = job.cloud.iam.delete_instance_profile().instance_profile_name(name).send();
        match call.await.map_err(failed("iam", "DeleteInstanceProfile")) {
            Err(error) if error.is_conflict() => {
                // A role came in after we looked.
                let roles = describe(job.cloud, name).await?.as_ref().map(read).map(|found| found.roles);
                let roles = roles.unwrap_or_default();
                try_join_all(roles.iter().map(|role| remove(job, name, role))).await?;
                Err(error)
            }
            result => result.map(|_| ()),
        }
    };
    delete(job, call).await?;
    absent(job, "iam", "GetInstanceProfile", || async {
        let call = job.cloud.iam.get_instance_profile().instance_profile_name(name).send();
        call.await.map_err(failed("iam", "GetInstanceProfile"))?;
        Ok(Seen::There("still known to IAM".to_owned()))
    })
    .await
}

async fn remove(job: &Job<'_>, name: &str, role: &str) -> Result<(), Error> {
    let call = job.cloud.iam.remove_role_from_instance_profile().instance_profile_name(name).role_name(role);
    absent_is_none(call.send().await.map_err(failed("iam", "RemoveRoleFromInstanceProfile"))).map(|_| ())
}

pub(crate) fn read(profile: &InstanceProfile) -> Profile {
    Profile {
        name: profile.instance_profile_name().to_owned(),
        arn: profile.arn().to_owned(),
        roles: profile.roles().iter().map(|role| role.role_name().to_owned()).collect(),
        created_at: profile.create_date().fmt(DateTimeFormat::DateTime).ok(),
    }
}
