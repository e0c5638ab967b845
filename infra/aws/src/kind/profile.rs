//! The instance profile, through which EC2 gives the role to the bastion.

use aws_sdk_iam::primitives::DateTimeFormat;
use aws_sdk_iam::types::InstanceProfile;
use futures_util::future::try_join_all;
use stack::inventory::{Inventory, Profile, Stray};
use stack::spec::REGION_TAG;
use stack::{Resource, Stack};

use crate::core::deletion_proof::{DeletionProof, Presence, wait_until_absent};
use crate::core::job::Job;
use crate::core::ownership::{self, Sighted, Whose};
use crate::core::retry::{VISIBLE_WITHIN, ask_each, delete, visible};
use crate::core::state::State;
use crate::core::wait::{Probe, wait_until};
use crate::error::{absent_is_none, failed};
use crate::kind::role;
use crate::{Cloud, Error};

/// Returns the stack's profile by its current name. If nothing has that name: by the name of earlier versions.
pub(crate) async fn find(cloud: &Cloud, stack: &Stack) -> Result<Sighted<Profile>, Error> {
    let found = sight(cloud, stack, &stack.profile_name()).await?;
    match (found, stack.earlier_profile_name()) {
        (Sighted::Absent, Some(earlier)) => Ok(sight(cloud, stack, &earlier).await?.unless_stray()),
        (found, _) => Ok(found),
    }
}

/// Returns the profile of that name, and whose it is.
pub(crate) async fn sight(cloud: &Cloud, stack: &Stack, name: &str) -> Result<Sighted<Profile>, Error> {
    let Some(found) = describe(cloud, name).await? else { return Ok(Sighted::Absent) };
    let profile = read(cloud, &found);
    Ok(match ownership::whose(stack, found.path(), role::tags(found.tags())) {
        Whose::Ours => Sighted::Ours(profile),
        Whose::Unplaced => Sighted::Unplaced(profile),
        Whose::Other(claim) => {
            let (resource, id, arn) = (Resource::Profile, profile.name, Some(profile.arn));
            Sighted::Stray(Stray { resource, id, arn, state: None, claim })
        }
    })
}

/// Returns the names of the account's profiles, and whose each is.
pub(crate) async fn list(cloud: &Cloud, stack: &Stack) -> Result<Vec<(String, Whose)>, Error> {
    let pages = cloud.iam.list_instance_profiles().into_paginator().items().send();
    let profiles: Result<Vec<InstanceProfile>, _> = pages.collect().await;
    let profiles = profiles.map_err(failed("iam", "ListInstanceProfiles"))?;
    let names = profiles.iter().map(|profile| profile.instance_profile_name().to_owned()).collect();
    let asked = ask_each(names, |name: String| async move {
        // It may have been deleted in between.
        let Some(profile) = describe(cloud, &name).await? else { return Ok(None) };
        Ok(Some((name, ownership::whose(stack, profile.path(), role::tags(profile.tags())))))
    });
    Ok(asked.await?.into_iter().flatten().collect())
}

/// Gives the profile the stack's tags, with the region's tag.
pub(crate) async fn tag(cloud: &Cloud, stack: &Stack, name: &str) -> Result<(), Error> {
    let call = cloud.iam.tag_instance_profile().instance_profile_name(name);
    let call = call.set_tags(Some(role::iam_tags(stack, Resource::Profile))).send();
    call.await.map(drop).map_err(failed("iam", "TagInstanceProfile"))
}

pub(crate) async fn describe(cloud: &Cloud, name: &str) -> Result<Option<InstanceProfile>, Error> {
    let call = cloud.iam.get_instance_profile().instance_profile_name(name).send();
    let answer = absent_is_none(call.await.map_err(failed("iam", "GetInstanceProfile")))?;
    Ok(answer.and_then(|answer| answer.instance_profile))
}

/// Makes the stack's role the only one in the profile, and waits until IAM shows that.
pub(crate) async fn ensure(job: &Job<'_>, state: &State) -> Result<Profile, Error> {
    let role = state.inventory.role_name(job.stack);
    let mut profile = match &state.inventory.profile {
        Some(profile) => profile.clone(),
        None => create(job).await?,
    };
    if !profile.has_region {
        tag(job.cloud, job.stack, &profile.name).await?;
        profile.has_region = true;
    }
    // A profile can have one role only.
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
        // A lost reply: our role is in the profile already. The look below checks that.
        Err(error) if !error.is_duplicate() && error.code() != Some("LimitExceeded") => return Err(error),
        Ok(_) | Err(_) => (),
    }
    // An agent that starts without the role sleeps for half an hour.
    wait_until(job, VISIBLE_WITHIN, || async {
        let found = describe(job.cloud, &profile.name).await?.map(|found| read(job.cloud, &found));
        Ok(match found.filter(|found| found.roles.contains(&role)) {
            Some(found) => Probe::Ready(found),
            None => Probe::Pending("the role is not in the profile yet".to_owned()),
        })
    })
    .await
}

async fn create(job: &Job<'_>) -> Result<Profile, Error> {
    let name = job.stack.profile_name();
    let call = job
        .cloud
        .iam
        .create_instance_profile()
        .instance_profile_name(&name)
        .path(job.stack.iam_path())
        .set_tags(Some(role::iam_tags(job.stack, Resource::Profile)));
    match call.send().await.map_err(failed("iam", "CreateInstanceProfile")) {
        Ok(answer) => {
            let made = answer.instance_profile.as_ref();
            let made = made.map(|found| Profile { has_region: true, ..read(job.cloud, found) });
            made.ok_or(Error::Incomplete {
                service: "iam",
                operation: "CreateInstanceProfile",
                field: "profile",
            })
        }
        // A lost reply, or somebody else's profile: names are unique in an account.
        Err(error) if error.is_duplicate() => {
            let found = sight(job.cloud, job.stack, &name).await?;
            found.ours().ok_or(Error::Foreign { what: "instance profile", name })
        }
        Err(error) => Err(error),
    }
}

/// Removes the roles from the profile, deletes it, and waits until IAM no longer knows it.
pub(crate) async fn destroy(
    job: &Job<'_>,
    name: &str,
    inventory: &Inventory,
) -> Result<DeletionProof, Error> {
    let roles = inventory.profile.iter().flat_map(|profile| &profile.roles);
    try_join_all(roles.map(|role| remove(job, name, role))).await?;
    // The role can be deleted as soon as it is out of the profile.
    job.release_dependents();
    let call = || async {
        let call = job.cloud.iam.delete_instance_profile().instance_profile_name(name).send();
        match call.await.map_err(failed("iam", "DeleteInstanceProfile")) {
            Err(error) if error.is_conflict() => {
                // Somebody has added a role after we looked.
                let roles = describe(job.cloud, name).await?.map(|found| read(job.cloud, &found).roles);
                let roles = roles.unwrap_or_default();
                try_join_all(roles.iter().map(|role| remove(job, name, role))).await?;
                Err(error)
            }
            result => result.map(|_| ()),
        }
    };
    delete(job, call).await?;
    wait_until_absent(job, "iam", "GetInstanceProfile", || async {
        let call = job.cloud.iam.get_instance_profile().instance_profile_name(name).send();
        call.await.map_err(failed("iam", "GetInstanceProfile"))?;
        Ok(Presence::Present("still known to IAM".to_owned()))
    })
    .await
}

async fn remove(job: &Job<'_>, name: &str, role: &str) -> Result<(), Error> {
    let call = job.cloud.iam.remove_role_from_instance_profile().instance_profile_name(name).role_name(role);
    absent_is_none(call.send().await.map_err(failed("iam", "RemoveRoleFromInstanceProfile"))).map(|_| ())
}

pub(crate) fn read(cloud: &Cloud, profile: &InstanceProfile) -> Profile {
    Profile {
        name: profile.instance_profile_name().to_owned(),
        arn: profile.arn().to_owned(),
        roles: profile.roles().iter().map(|role| role.role_name().to_owned()).collect(),
        created_at: profile.create_date().fmt(DateTimeFormat::DateTime).ok(),
        has_region: role::tags(profile.tags()).any(|tag| tag == (REGION_TAG, cloud.region())),
    }
}
