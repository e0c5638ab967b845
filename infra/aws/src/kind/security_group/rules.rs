//! Adds and removes rules of a security group.

use aws_sdk_ec2::types::IpPermission;
use futures_util::future::{try_join, try_join_all};
use stack::inventory::{Direction, Inventory, Peer, Rule, SecurityGroup};
use stack::{Resource, Stack};

use super::describe::{list, with_ids};
use super::rule;
use crate::Error;
use crate::core::job::{Job, group_of, missing};
use crate::core::retry::{VISIBLE_WITHIN, retry_while, visible};
use crate::core::state::names_another;
use crate::error::failed;

/// Adds the rules that the stack wants, removes AWS's default rules and those that the plan closes, and keeps all others.
/// Returns the group with its rules.
pub(crate) async fn ensure_rules(
    job: &Job<'_>,
    inventory: &Inventory,
    resource: Resource,
) -> Result<SecurityGroup, Error> {
    let bastion = group_of(inventory, Resource::BastionGroup)?;
    let database = group_of(inventory, Resource::DatabaseGroup)?;
    let want = if resource == Resource::BastionGroup {
        stack::plan::bastion_rules(job.stack, bastion, database)
    } else {
        stack::plan::database_rules(job.stack, bastion, database)
    };
    let mut group = inventory.group(resource.tag()).ok_or_else(|| missing(resource))?.clone();
    let defaults = stack::plan::leftover_defaults(&group.rules, &want);
    let is_new = group.rules.len() == defaults.len();
    let confirmed = job.closes.iter().filter_map(|one| one.rule_of(&group.id));
    let confirmed: Vec<Rule> = confirmed.filter(|rule| !want.contains(rule)).cloned().collect();
    let wish = Wish { want: &want, defaults: &defaults, confirmed: &confirmed, is_new };
    for tries_left in (0..3).rev() {
        match converge(job, &group, &wish).await {
            Ok(()) => break,
            // One rule that exists already fails the whole call: look again, and send what is still missing.
            Err(error) if (error.is_duplicate() || error.is_gone()) && tries_left > 0 => {
                let groups = list(job.cloud, job.stack).await?;
                group = groups.into_iter().find(|other| other.id == group.id).ok_or(error)?;
            }
            Err(error) => return Err(error),
        }
    }
    let is_other =
        |rule: &&Rule| !want.contains(rule) && !defaults.contains(rule) && !confirmed.contains(rule);
    let others = group.rules.iter().filter(is_other).cloned();
    let rules = want.iter().cloned().chain(others).collect();
    Ok(SecurityGroup { rules, ..group })
}

/// What happens to a group's rules.
struct Wish<'a> {
    want: &'a [Rule],
    /// AWS's default rules: they are removed.
    defaults: &'a [Rule],
    /// Rules of others that are removed as well.
    confirmed: &'a [Rule],
    /// The group has only AWS's default rules.
    is_new: bool,
}

async fn converge(job: &Job<'_>, group: &SecurityGroup, wish: &Wish<'_>) -> Result<(), Error> {
    let missing: Vec<Rule> = wish.want.iter().filter(|rule| !group.rules.contains(rule)).cloned().collect();
    let (allowed, own): (Vec<Rule>, Vec<Rule>) =
        missing.into_iter().partition(|rule| is_allowed(job.stack, rule));
    let there = |rules: &[Rule]| -> Vec<Rule> {
        rules.iter().filter(|rule| group.rules.contains(rule)).cloned().collect()
    };
    let defaults = there(wish.defaults);
    if wish.is_new {
        // If this run is killed here, the group looks untouched. In the other order, AWS's rule would look like one that
        // somebody has added.
        let call = || revoke(job, &group.id, &defaults);
        retry_while(job.stop, VISIBLE_WITHIN, is_group_unknown, call).await?;
        authorize(job, &group.id, &own).await?;
    } else {
        // Connections that both the old and the new rules allow must not break.
        authorize(job, &group.id, &own).await?;
        revoke(job, &group.id, &defaults).await?;
    }
    close(job, &group.id, &there(wish.confirmed)).await?;
    // One by one: a peer group that does not exist must not block the other rules.
    let each = allowed.iter().map(|rule| async {
        let call = job.cloud.ec2.authorize_security_group_ingress().group_id(&group.id);
        match call.ip_permissions(rule::render(rule)).send().await {
            Ok(_) => Ok(()),
            Err(error) => match failed("ec2", "AuthorizeSecurityGroupIngress")(error) {
                // EC2 knows our group by now, so the group in the rule is missing.
                error if error.is_gone() => Err(not_there(rule).unwrap_or(error)),
                error => Err(error),
            },
        }
    });
    try_join_all(each).await.map(|_| ())
}

/// Tells whether EC2 does not know the group yet; a rule that does not exist has another code.
fn is_group_unknown(error: &Error) -> bool {
    error.code() == Some("InvalidGroup.NotFound")
}

/// Tells whether the stack file itself names the rule's peer.
fn is_allowed(stack: &Stack, rule: &Rule) -> bool {
    let allowed = &stack.database;
    rule.direction == Direction::Ingress
        && match &rule.peer {
            Peer::Group(id) => allowed.allow_groups.contains(id),
            Peer::Cidr(range) => allowed.allow_cidrs.iter().any(|cidr| cidr.to_string() == *range),
            Peer::Ipv6(_) | Peer::PrefixList(_) => false,
        }
}

fn not_there(rule: &Rule) -> Option<Error> {
    let Peer::Group(id) = &rule.peer else { return None };
    Some(Error::Missing { what: format!("security group `{id}`, which `allow_groups` names,") })
}

/// Removes these rules, exactly as EC2 lists them now. A rule that no longer exists counts as removed.
async fn close(job: &Job<'_>, id: &str, rules: &[Rule]) -> Result<(), Error> {
    if rules.is_empty() {
        return Ok(());
    }
    let groups = with_ids(job.cloud, vec![id.to_owned()]).await?;
    let matching = |direction: Direction, permissions: &[IpPermission]| -> Vec<IpPermission> {
        let each = permissions.iter().flat_map(rule::split);
        each.filter(|one| rule::parse(direction, one).iter().any(|rule| rules.contains(rule))).collect()
    };
    let ingress = groups.iter().flat_map(|group| matching(Direction::Ingress, group.ip_permissions()));
    let egress = groups.iter().flat_map(|group| matching(Direction::Egress, group.ip_permissions_egress()));
    send_revoke(job, id, ingress.collect(), egress.collect()).await
}

async fn authorize(job: &Job<'_>, group: &str, rules: &[Rule]) -> Result<(), Error> {
    let (ingress, egress) = permissions(rules);
    let into = async {
        if ingress.is_empty() {
            return Ok(());
        }
        let call = || async {
            let call = job.cloud.ec2.authorize_security_group_ingress().group_id(group);
            let call = call.set_ip_permissions(Some(ingress.clone())).send();
            call.await.map_err(failed("ec2", "AuthorizeSecurityGroupIngress"))
        };
        visible(job, call).await.map(|_| ())
    };
    let out = async {
        if egress.is_empty() {
            return Ok(());
        }
        let call = || async {
            let call = job.cloud.ec2.authorize_security_group_egress().group_id(group);
            let call = call.set_ip_permissions(Some(egress.clone())).send();
            call.await.map_err(failed("ec2", "AuthorizeSecurityGroupEgress"))
        };
        visible(job, call).await.map(|_| ())
    };
    try_join(into, out).await.map(|_| ())
}

pub(super) async fn revoke(job: &Job<'_>, group: &str, rules: &[Rule]) -> Result<(), Error> {
    let (ingress, egress) = permissions(rules);
    send_revoke(job, group, ingress, egress).await
}

async fn send_revoke(
    job: &Job<'_>,
    group: &str,
    ingress: Vec<IpPermission>,
    egress: Vec<IpPermission>,
) -> Result<(), Error> {
    let into = async {
        if ingress.is_empty() {
            return Ok(());
        }
        let call = job.cloud.ec2.revoke_security_group_ingress().group_id(group);
        let call = call.set_ip_permissions(Some(ingress)).send();
        call.await.map(|_| ()).map_err(failed("ec2", "RevokeSecurityGroupIngress"))
    };
    let out = async {
        if egress.is_empty() {
            return Ok(());
        }
        let call = job.cloud.ec2.revoke_security_group_egress().group_id(group);
        let call = call.set_ip_permissions(Some(egress)).send();
        call.await.map(|_| ()).map_err(failed("ec2", "RevokeSecurityGroupEgress"))
    };
    try_join(into, out).await.map(|_| ())
}

fn permissions(rules: &[Rule]) -> (Vec<IpPermission>, Vec<IpPermission>) {
    let (ingress, egress): (Vec<&Rule>, Vec<&Rule>) =
        rules.iter().partition(|rule| rule.direction == Direction::Ingress);
    (ingress.into_iter().map(rule::render).collect(), egress.into_iter().map(rule::render).collect())
}

/// Removes the rules that name other groups, so that groups that name each other can be deleted in any order. The other
/// rules stay in force until the group is deleted.
pub(crate) async fn destroy_rules(job: &Job<'_>, id: &str, inventory: &Inventory) -> Result<(), Error> {
    let Some(group) = inventory.groups.iter().find(|group| group.id == id) else {
        return Ok(());
    };
    // One rule at a time: one that no longer exists would fail the whole call.
    let each = group.rules.iter().filter(|rule| names_another(rule, id)).map(|rule| async move {
        match revoke(job, id, std::slice::from_ref(rule)).await {
            Err(error) if !error.is_gone() => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    });
    try_join_all(each).await.map(|_| ())
}
