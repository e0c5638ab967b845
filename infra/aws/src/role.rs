//! The bastion's IAM role.

use aws_sdk_iam::primitives::DateTimeFormat;
use aws_sdk_iam::types::{AttachedPolicy, Tag};
use futures_util::future::{join, try_join_all};
use stack::inventory::{Inventory, Role};
use stack::spec::SSM_POLICY;
use stack::{Resource, Stack};

use crate::error::failed;
use crate::poll::{delete, visible};
use crate::proof::{Proof, Seen, absent};
use crate::step::Job;
use crate::{Cloud, Error, tag};

const TRUST_EC2: &str = r#"{
  "Version": "2012-10-17",
  "Statement": [
    { "Effect": "Allow", "Principal": { "Service": "ec2.amazonaws.com" }, "Action": "sts:AssumeRole" }
  ]
}"#;

/// Returns the stack's role; one of that name under another path is not the stack's.
pub(crate) async fn find(cloud: &Cloud, stack: &Stack) -> Result<Option<Role>, Error> {
    let name = stack.role_name();
    let role = async {
        let call = cloud.iam.get_role().role_name(&name).send().await.map_err(failed("iam", "GetRole"));
        absent_is_none(call)
    };
    let (role, policies) = join(role, attached(cloud, &name)).await;
    let is_ours = |role: &aws_sdk_iam::types::Role| role.path() == stack.iam_path();
    let role = role?.and_then(|answer| answer.role).filter(is_ours);
    let policies = policies?;
    Ok(role.map(|role| Role {
        policies: policies.iter().filter_map(|p| p.policy_name()).map(str::to_owned).collect(),
        name,
        arn: Some(role.arn().to_owned()),
        created_at: role.create_date().fmt(DateTimeFormat::DateTime).ok(),
    }))
}

async fn attached(cloud: &Cloud, name: &str) -> Result<Vec<AttachedPolicy>, Error> {
    let pages = cloud.iam.list_attached_role_policies().role_name(name).into_paginator().items().send();
    let policies: Result<Vec<AttachedPolicy>, _> = pages.collect().await;
    let policies = absent_is_none(policies.map_err(failed("iam", "ListAttachedRolePolicies")))?;
    Ok(policies.unwrap_or_default())
}

/// Returns the names of the roles under the stack's path.
pub(crate) async fn list_names(cloud: &Cloud, stack: &Stack) -> Result<Vec<String>, Error> {
    let pages = cloud.iam.list_roles().path_prefix(stack.iam_path()).into_paginator().items().send();
    let roles: Result<Vec<aws_sdk_iam::types::Role>, _> = pages.collect().await;
    let roles = roles.map_err(failed("iam", "ListRoles"))?;
    Ok(roles.iter().map(|role| role.role_name().to_owned()).collect())
}

/// Returns the role with Systems Manager's policy attached, creating what is not there.
pub(crate) async fn ensure(job: &Job<'_>, inventory: &Inventory) -> Result<Role, Error> {
    let mut role = match &inventory.role {
        Some(role) => role.clone(),
        None => create(job).await?,
    };
    if !role.policies.iter().any(|policy| policy == SSM_POLICY) {
        let policy = ssm_policy(job.stack);
        visible(job, || async {
            let call = job.cloud.iam.attach_role_policy().role_name(&role.name).policy_arn(&policy).send();
            call.await.map_err(failed("iam", "AttachRolePolicy"))
        })
        .await?;
        role.policies.push(SSM_POLICY.to_owned());
    }
    Ok(role)
}

async fn create(job: &Job<'_>) -> Result<Role, Error> {
    let name = job.stack.role_name();
    let tags = tag::pairs(job.stack, Resource::Role);
    let tags = tags.map(|(key, value)| Tag::builder().key(key).value(value).build());
    let tags: Result<Vec<Tag>, _> = tags.into_iter().collect();
    let call = job
        .cloud
        .iam
        .create_role()
        .role_name(&name)
        .path(job.stack.iam_path())
        .description(format!(
            "Lets the bastion of drawbridge stack {} talk to Systems Manager",
            job.stack.name
        ))
        .assume_role_policy_document(TRUST_EC2)
        .set_tags(Some(tags.expect("invariant: every tag has a key and a value")));
    match call.send().await.map_err(failed("iam", "CreateRole")) {
        Ok(_) => Ok(Role { name, arn: None, policies: Vec::new(), created_at: None }),
        // A lost reply, or someone else's: no two in an account have the same name.
        Err(error) if error.is_duplicate() => {
            find(job.cloud, job.stack).await?.ok_or(Error::Foreign { what: "role", name })
        }
        Err(error) => Err(error),
    }
}

/// Takes the policies off the role, deletes it, and waits until IAM does not know it any more.
pub(crate) async fn destroy(job: &Job<'_>, name: &str, inventory: &Inventory) -> Result<Proof, Error> {
    let known = inventory.role.iter().flat_map(|role| &role.policies);
    // The ones of ours by name alone; others need their ARN first.
    if known.clone().any(|policy| policy != SSM_POLICY) {
        strip(job, name).await?;
    } else if known.count() > 0 {
        detach(job, name, &ssm_policy(job.stack)).await?;
    }
    let call = || async {
        let call = job.cloud.iam.delete_role().role_name(name).send();
        match call.await.map_err(failed("iam", "DeleteRole")) {
            Err(error) if error.is_conflict() => {
                strip(job, name).await?;
                Err(error)
            }
            result => result.map(|_| ()),
        }
    };
    delete(job, call).await?;
    absent(job, "iam", "GetRole", || async {
        job.cloud.iam.get_role().role_name(name).send().await.map_err(failed("iam", "GetRole"))?;
        Ok(Seen::There("still known to IAM".to_owned()))
    })
    .await
}

/// Removes all that keeps a role from being deleted: policies of either kind, and profiles that it is in.
async fn strip(job: &Job<'_>, name: &str) -> Result<(), Error> {
    let iam = &job.cloud.iam;
    let policies = attached(job.cloud, name).await?;
    let arns = policies.iter().filter_map(|policy| policy.policy_arn());
    try_join_all(arns.map(|arn| detach(job, name, arn))).await?;

    let inline: Result<Vec<String>, _> =
        iam.list_role_policies().role_name(name).into_paginator().items().send().collect().await;
    let inline = absent_is_none(inline.map_err(failed("iam", "ListRolePolicies")))?.unwrap_or_default();
    for policy in inline {
        let call = iam.delete_role_policy().role_name(name).policy_name(policy).send().await;
        absent_is_none(call.map_err(failed("iam", "DeleteRolePolicy")))?;
    }

    let pages = iam.list_instance_profiles_for_role().role_name(name).into_paginator().items().send();
    let profiles: Result<Vec<aws_sdk_iam::types::InstanceProfile>, _> = pages.collect().await;
    let profiles = absent_is_none(profiles.map_err(failed("iam", "ListInstanceProfilesForRole")))?;
    for profile in profiles.unwrap_or_default() {
        let call = iam.remove_role_from_instance_profile().role_name(name);
        let call = call.instance_profile_name(profile.instance_profile_name()).send().await;
        absent_is_none(call.map_err(failed("iam", "RemoveRoleFromInstanceProfile")))?;
    }
    Ok(())
}

async fn detach(job: &Job<'_>, name: &str, arn: &str) -> Result<(), Error> {
    let call = job.cloud.iam.detach_role_policy().role_name(name).policy_arn(arn).send().await;
    absent_is_none(call.map_err(failed("iam", "DetachRolePolicy"))).map(|_| ())
}

fn ssm_policy(stack: &Stack) -> String {
    format!("arn:{}:iam::aws:policy/{SSM_POLICY}", stack.partition())
}

/// Turns "there is no such thing" into `None`.
pub(crate) fn absent_is_none<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}
