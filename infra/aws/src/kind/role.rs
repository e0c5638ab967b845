//! The stack's IAM roles: the bastion's, and the one in which RDS writes enhanced monitoring.

use aws_sdk_iam::primitives::DateTimeFormat;
use aws_sdk_iam::types::{AttachedPolicy, Role as Answer, Tag};
use futures_util::future::{join, try_join_all};
use stack::inventory::{Role, Stray};
use stack::spec::{MONITORING_PATH, MONITORING_POLICY, REGION_TAG, SSM_POLICY};
use stack::{Resource, Stack};

use crate::core::deletion_proof::{DeletionProof, Presence, wait_until_absent};
use crate::core::job::Job;
use crate::core::ownership::{self, Sighted, Whose};
use crate::core::retry::{ask_each, delete, visible};
use crate::error::{absent_is_none, failed};
use crate::{Cloud, Error};

/// A role as the stack wants it.
pub(crate) struct Want {
    resource: Resource,
    name: String,
    /// The name that earlier versions gave it.
    earlier: Option<String>,
    /// The managed policy, and its path in the ARN.
    policy: &'static str,
    path: &'static str,
    /// The service that may assume the role.
    trusted: &'static str,
    description: String,
}

/// Returns the role that lets the bastion's agent register and open sessions.
pub(crate) fn of_bastion(stack: &Stack) -> Want {
    Want {
        resource: Resource::Role,
        name: stack.role_name(),
        earlier: stack.earlier_role_name(),
        policy: SSM_POLICY,
        path: "",
        trusted: "ec2.amazonaws.com",
        description: format!(
            "Lets the bastion of drawbridge stack {} in {} talk to Systems Manager",
            stack.name, stack.region
        ),
    }
}

/// Returns the role that lets RDS write enhanced monitoring.
pub(crate) fn of_monitoring(stack: &Stack) -> Want {
    Want {
        resource: Resource::MonitoringRole,
        name: stack.monitoring_role_name(),
        earlier: Some(stack.earlier_monitoring_role_name()),
        policy: MONITORING_POLICY,
        path: MONITORING_PATH,
        trusted: "monitoring.rds.amazonaws.com",
        description: format!(
            "Lets RDS write the enhanced monitoring of drawbridge stack {} in {}",
            stack.name, stack.region
        ),
    }
}

impl Want {
    fn policy_arn(&self, stack: &Stack) -> String {
        format!("arn:{}:iam::aws:policy/{}{}", stack.partition(), self.path, self.policy)
    }

    fn trust(&self) -> String {
        format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"Service":"{}"}},"Action":"sts:AssumeRole"}}]}}"#,
            self.trusted
        )
    }
}

impl Want {
    /// Returns every name that the role may have, the current one first.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.name).chain(&self.earlier)
    }
}

/// Returns the role by its current name. If nothing has that name: by the name of earlier versions.
pub(crate) async fn find(cloud: &Cloud, stack: &Stack, want: &Want) -> Result<Sighted<Role>, Error> {
    let found = sight(cloud, stack, want, &want.name).await?;
    match (found, &want.earlier) {
        (Sighted::Absent, Some(earlier)) => Ok(sight(cloud, stack, want, earlier).await?.unless_stray()),
        (found, _) => Ok(found),
    }
}

/// Returns the role of that name, and whose it is.
pub(crate) async fn sight(
    cloud: &Cloud,
    stack: &Stack,
    want: &Want,
    name: &str,
) -> Result<Sighted<Role>, Error> {
    let Some((answer, role)) = describe(cloud, name).await? else { return Ok(Sighted::Absent) };
    Ok(match ownership::whose(stack, answer.path(), tags(answer.tags())) {
        Whose::Ours => Sighted::Ours(role),
        Whose::Unplaced => Sighted::Unplaced(role),
        Whose::Other(claim) => {
            let (resource, id, arn) = (want.resource, role.name, Some(role.arn));
            Sighted::Stray(Stray { resource, id, arn, state: None, claim })
        }
    })
}

/// Returns the role of that name, even if it is not the stack's.
pub(crate) async fn describe(cloud: &Cloud, name: &str) -> Result<Option<(Answer, Role)>, Error> {
    let (answer, policies) = join(get(cloud, name), attached(cloud, name)).await;
    let (answer, policies) = (answer?, policies?);
    Ok(answer.map(|answer| {
        let role = Role {
            name: name.to_owned(),
            policies: policies.iter().filter_map(|p| p.policy_name()).map(str::to_owned).collect(),
            arn: answer.arn().to_owned(),
            created_at: answer.create_date().fmt(DateTimeFormat::DateTime).ok(),
            has_region: tags(answer.tags()).any(|tag| tag == (REGION_TAG, cloud.region())),
        };
        (answer, role)
    }))
}

/// Returns the keys and values of IAM's tags.
pub(crate) fn tags(tags: &[Tag]) -> impl Iterator<Item = (&str, &str)> {
    tags.iter().map(|tag| (tag.key(), tag.value()))
}

async fn attached(cloud: &Cloud, name: &str) -> Result<Vec<AttachedPolicy>, Error> {
    let pages = cloud.iam.list_attached_role_policies().role_name(name).into_paginator().items().send();
    let policies: Result<Vec<AttachedPolicy>, _> = pages.collect().await;
    let policies = absent_is_none(policies.map_err(failed("iam", "ListAttachedRolePolicies")))?;
    Ok(policies.unwrap_or_default())
}

/// Returns the names of the account's roles, and whose each is. Roles that AWS itself has made are left out.
///
/// IAM's list shows no tags, so each role is looked up by its name.
pub(crate) async fn list(cloud: &Cloud, stack: &Stack) -> Result<Vec<(String, Whose)>, Error> {
    let pages = cloud.iam.list_roles().into_paginator().items().send();
    let roles: Result<Vec<Answer>, _> = pages.collect().await;
    let mut roles = roles.map_err(failed("iam", "ListRoles"))?;
    roles.retain(|role| !role.path().starts_with("/aws-"));
    let names = roles.iter().map(|role| role.role_name().to_owned()).collect();
    let asked = ask_each(names, |name: String| async move {
        // It may have been deleted in between.
        let Some(role) = get(cloud, &name).await? else { return Ok(None) };
        Ok(Some((name, ownership::whose(stack, role.path(), tags(role.tags())))))
    });
    Ok(asked.await?.into_iter().flatten().collect())
}

async fn get(cloud: &Cloud, name: &str) -> Result<Option<Answer>, Error> {
    let call = cloud.iam.get_role().role_name(name).send().await.map_err(failed("iam", "GetRole"));
    Ok(absent_is_none(call)?.and_then(|answer| answer.role))
}

/// Gives the role the stack's tags, with the region's tag.
pub(crate) async fn tag(cloud: &Cloud, stack: &Stack, name: &str, resource: Resource) -> Result<(), Error> {
    let call = cloud.iam.tag_role().role_name(name).set_tags(Some(iam_tags(stack, resource)));
    call.send().await.map(drop).map_err(failed("iam", "TagRole"))
}

/// Returns the tags of one of the stack's resources, as IAM takes them.
pub(crate) fn iam_tags(stack: &Stack, resource: Resource) -> Vec<Tag> {
    let tags = crate::core::tag::pairs(stack, resource).into_iter();
    let tags: Result<Vec<Tag>, _> =
        tags.map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
    tags.expect("invariant: every tag has a key and a value")
}

/// Creates the role if it does not exist, and attaches its policy.
pub(crate) async fn ensure(job: &Job<'_>, have: Option<&Role>, want: &Want) -> Result<Role, Error> {
    let mut role = match have {
        Some(role) => role.clone(),
        None => create(job, want).await?,
    };
    if !role.has_region {
        tag(job.cloud, job.stack, &role.name, want.resource).await?;
        role.has_region = true;
    }
    if !role.policies.iter().any(|policy| policy == want.policy) {
        let policy = want.policy_arn(job.stack);
        visible(job, || async {
            let call = job.cloud.iam.attach_role_policy().role_name(&role.name).policy_arn(&policy).send();
            call.await.map_err(failed("iam", "AttachRolePolicy"))
        })
        .await?;
        role.policies.push(want.policy.to_owned());
    }
    Ok(role)
}

async fn create(job: &Job<'_>, want: &Want) -> Result<Role, Error> {
    let name = want.name.clone();
    let call = job
        .cloud
        .iam
        .create_role()
        .role_name(&name)
        .path(job.stack.iam_path())
        .description(&want.description)
        .assume_role_policy_document(want.trust())
        .set_tags(Some(iam_tags(job.stack, want.resource)));
    match call.send().await.map_err(failed("iam", "CreateRole")) {
        Ok(answer) => match answer.role {
            Some(role) => Ok(Role {
                name,
                arn: role.arn().to_owned(),
                policies: Vec::new(),
                created_at: None,
                has_region: true,
            }),
            None => Err(Error::Incomplete { service: "iam", operation: "CreateRole", field: "role" }),
        },
        // A lost reply, or somebody else's role: names are unique in an account.
        Err(error) if error.is_duplicate() => {
            let found = sight(job.cloud, job.stack, want, &name).await?;
            found.ours().ok_or(Error::Foreign { what: "role", name })
        }
        Err(error) => Err(error),
    }
}

/// Detaches the policies, deletes the role, and waits until IAM no longer knows it.
pub(crate) async fn destroy(
    job: &Job<'_>,
    name: &str,
    have: Option<&Role>,
    want: &Want,
) -> Result<DeletionProof, Error> {
    let known = have.iter().flat_map(|role| &role.policies);
    // The ARN of our own policy is known; other policies must be listed.
    if known.clone().any(|policy| policy != want.policy) {
        strip(job, name).await?;
    } else if known.count() > 0 {
        detach(job, name, &want.policy_arn(job.stack)).await?;
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
    wait_until_absent(job, "iam", "GetRole", || async {
        job.cloud.iam.get_role().role_name(name).send().await.map_err(failed("iam", "GetRole"))?;
        Ok(Presence::Present("still known to IAM".to_owned()))
    })
    .await
}

/// Removes everything that blocks the deletion of a role: attached and inline policies, and its place in profiles.
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
