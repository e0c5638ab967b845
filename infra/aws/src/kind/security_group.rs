//! Security groups and their rules.

mod describe;
mod rule;
mod rules;

use aws_sdk_ec2::types::{ResourceType, SecurityGroup as Answer};
use futures_util::future::try_join_all;
use futures_util::try_join;
use stack::Resource;
use stack::inventory::{Direction, Inventory, Peer, Rule, SecurityGroup};
use stack::receipt::Blocker;

pub(crate) use self::describe::{attached, filtered, list, read, rules_of};
use self::rules::revoke;
pub(crate) use self::rules::{destroy_rules, ensure_rules};
use crate::core::blocker::{Blocked, FoundBlocker};
use crate::core::deletion_proof::{DeletionProof, Presence, wait_until_absent};
use crate::core::job::{Job, vpc_of};
use crate::core::retry::visible;
use crate::core::{blocker, tag};
use crate::error::failed;
use crate::kind::network_interface::blocking;
use crate::{Cloud, Error};

/// Creates the group if it does not exist. Another step sets its rules.
pub(crate) async fn ensure(
    job: &Job<'_>,
    inventory: &Inventory,
    resource: Resource,
) -> Result<SecurityGroup, Error> {
    if let Some(group) = inventory.group(resource.tag()) {
        return Ok(group.clone());
    }
    let vpc = vpc_of(inventory)?;
    let name = tag::name(job.stack, resource);
    let description = format!("{} of drawbridge stack {}", resource.title(), job.stack.name);
    let call = || async {
        job.cloud
            .ec2
            .create_security_group()
            .group_name(&name)
            .description(&description)
            .vpc_id(vpc)
            .tag_specifications(tag::ec2(job.stack, resource, ResourceType::SecurityGroup))
            .send()
            .await
            .map_err(failed("ec2", "CreateSecurityGroup"))
    };
    match visible(job, call).await {
        Ok(answer) => Ok(SecurityGroup {
            id: answer.group_id.unwrap_or_default(),
            vpc: vpc.to_owned(),
            name,
            resource: resource.tag().to_owned(),
            // AWS adds this rule to every new group.
            rules: vec![Rule {
                direction: Direction::Egress,
                protocol: "-1".to_owned(),
                ports: None,
                peer: Peer::Cidr("0.0.0.0/0".to_owned()),
                description: None,
            }],
        }),
        // A lost reply, or somebody else's group: names are unique in a VPC.
        Err(error) if error.is_duplicate() => {
            let groups = list(job.cloud, job.stack).await?;
            let ours = groups.into_iter().find(|g| g.vpc == vpc && g.resource == resource.tag());
            ours.ok_or(Error::Foreign { what: "security group", name })
        }
        Err(error) => Err(error),
    }
}

/// Removes the rules of the stack's other groups that name this group, deletes it, and waits until it no longer exists.
///
/// # Errors
/// [`Error::Blocked`] names the network interfaces that are still in it and the groups whose rules name it.
pub(crate) async fn destroy(job: &Job<'_>, id: &str, inventory: &Inventory) -> Result<DeletionProof, Error> {
    let named = inventory.groups.iter().filter(|other| other.id != id).flat_map(|other| {
        let names = |rule: &&Rule| matches!(&rule.peer, Peer::Group(peer) if peer == id);
        other.rules.iter().filter(names).map(|rule| (other.id.as_str(), rule))
    });
    let each = named.map(|(other, rule)| async move {
        match revoke(job, other, std::slice::from_ref(rule)).await {
            Err(error) if !error.is_gone() => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    });
    try_join_all(each).await?;
    let call = || async {
        let call = job.cloud.ec2.delete_security_group().group_id(id).send();
        call.await.map_err(failed("ec2", "DeleteSecurityGroup"))
    };
    let holds = || async { blockers(job.cloud, id).await };
    blocker::delete(job, Blocked::by_id(job, id), call, holds).await?;
    wait_until_absent(job, "ec2", "DescribeSecurityGroups", || async {
        let call = job.cloud.ec2.describe_security_groups().group_ids(id).send();
        let answer = call.await.map_err(failed("ec2", "DescribeSecurityGroups"))?;
        Ok(Presence::of_list(answer.security_groups()))
    })
    .await
}

/// Returns what blocks the deletion of a group: interfaces in it, and rules of other groups that name it.
async fn blockers(cloud: &Cloud, id: &str) -> Result<Vec<FoundBlocker>, Error> {
    let (mut held, ingress, egress) = try_join!(
        blocking::blockers(cloud, tag::filter("group-id", id)),
        filtered(cloud, tag::filter("ip-permission.group-id", id)),
        filtered(cloud, tag::filter("egress.ip-permission.group-id", id)),
    )?;
    for (direction, groups) in [(Direction::Ingress, ingress), (Direction::Egress, egress)] {
        for group in groups.iter().filter(|group| group.group_id() != Some(id)) {
            let permissions = match direction {
                Direction::Ingress => group.ip_permissions(),
                Direction::Egress => group.ip_permissions_egress(),
            };
            let rules = permissions.iter().flat_map(|permission| rule::parse(direction, permission));
            let naming = rules.filter(|rule| matches!(&rule.peer, Peer::Group(peer) if peer == id));
            held.extend(naming.map(|rule| of_rule(cloud, group, id, &rule)));
        }
    }
    Ok(held)
}

fn of_rule(cloud: &Cloud, group: &Answer, named: &str, rule: &Rule) -> FoundBlocker {
    let id = group.group_id().unwrap_or("?");
    let way = match rule.direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    };
    let ports =
        rule.ports.map(|(first, last)| format!(",FromPort={first},ToPort={last}")).unwrap_or_default();
    let permission = format!("IpProtocol={}{ports},UserIdGroupPairs=[{{GroupId={named}}}]", rule.protocol);
    let blocker = Blocker {
        kind: "security group".to_owned(),
        id: id.to_owned(),
        owner: group.owner_id().map(str::to_owned),
        detail: format!("(`{}`) names it in an {way} rule", group.group_name().unwrap_or_default()),
        command: format!(
            "aws ec2 revoke-security-group-{way} --group-id {id} --ip-permissions '{permission}' --region {}",
            cloud.region
        ),
    };
    FoundBlocker { blocker, is_transient: false }
}
