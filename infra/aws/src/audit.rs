//! Lists everything of the stack that still exists, for the receipt of a teardown.

use std::pin::Pin;

use futures_util::future::{join_all, try_join};
use stack::inventory::{Claim, Stray, SubnetGroup};
use stack::receipt::{Audit, Left, Unseen};
use stack::{Resource, Stack};

use crate::core::ownership::{Sighted, Whose};
use crate::error::chain;
use crate::kind::{
    alarm, database, instance, internet_gateway, log_group, network_interface, profile, role, route_table,
    secret, security_group, subnet, subnet_group, topic, volume, vpc,
};
use crate::{Cloud, Error, lock};

type Look<'a> = Pin<Box<dyn Future<Output = Result<Vec<Left>, Error>> + Send + 'a>>;

/// Returns everything of the stack that exists, as each service itself describes it, and the lists that failed.
///
/// One list that fails hides nothing of the others. A final snapshot is meant to stay, so it is not asked for.
pub async fn audit(cloud: &Cloud, stack: &Stack) -> Audit {
    let looks: [(&str, Look<'_>); 21] = [
        ("vpcs", Box::pin(vpcs(cloud, stack))),
        ("subnets", Box::pin(subnets(cloud, stack))),
        ("internet gateways", Box::pin(gateways(cloud, stack))),
        ("route tables", Box::pin(route_tables(cloud, stack))),
        ("security groups", Box::pin(groups(cloud, stack))),
        ("network interfaces", Box::pin(interfaces(cloud, stack))),
        ("instances", Box::pin(instances(cloud, stack))),
        ("volumes", Box::pin(volumes(cloud, stack))),
        ("secrets", Box::pin(secrets(cloud, stack))),
        ("database", Box::pin(databases(cloud, stack))),
        ("database subnet group", Box::pin(subnet_groups(cloud, stack))),
        ("log groups", Box::pin(log_groups(cloud, stack))),
        ("alarm topic", Box::pin(topics(cloud, stack))),
        ("alarms", Box::pin(alarms(cloud, stack))),
        ("tagged alarms", Box::pin(tagged_alarms(cloud, stack))),
        ("role", Box::pin(named_role(cloud, stack, role::of_bastion(stack)))),
        ("monitoring role", Box::pin(named_role(cloud, stack, role::of_monitoring(stack)))),
        ("roles", Box::pin(roles(cloud, stack))),
        ("instance profile", Box::pin(named_profile(cloud, stack))),
        ("instance profiles", Box::pin(profiles(cloud, stack))),
        ("locks", Box::pin(locks(cloud, stack))),
    ];
    let looks = looks.into_iter().map(|(what, look)| async move { (what, look.await) });
    let mut audit = Audit::default();
    for (what, seen) in join_all(looks).await {
        match seen {
            Ok(left) => audit.left.extend(left),
            Err(error) => audit.unseen.push(unseen(what, &error)),
        }
    }
    audit.left.sort();
    audit.left.dedup_by(|a, b| a.kind == b.kind && a.id == b.id);
    audit
}

/// Returns what is told of a look that failed.
pub fn unseen(what: &str, error: &Error) -> Unseen {
    let call = error.call().unwrap_or_else(|| "none".to_owned());
    Unseen { what: what.to_owned(), call, why: chain(error) }
}

async fn vpcs(cloud: &Cloud, stack: &Stack) -> Result<Vec<Left>, Error> {
    let found = vpc::list(cloud, stack).await?;
    Ok(found.iter().map(|vpc| tagged(stack, "vpc", &vpc.id, &vpc.cidr)).collect())
}

async fn subnets(cloud: &Cloud, stack: &Stack) -> Result<Vec<Left>, Error> {
    let found = subnet::list(cloud, stack).await?;
    Ok(found.iter().map(|subnet| tagged(stack, "subnet", &subnet.id, &subnet.cidr)).collect())
}

async fn gateways(cloud: &Cloud, stack: &Stack) -> Result<Vec<Left>, Error> {
    let found = internet_gateway::list(cloud, stack).await?;
    Ok(found.iter().map(|gateway| tagged(stack, "internet gateway", &gateway.id, "")).collect())
}

async fn route_tables(cloud: &Cloud, stack: &Stack) -> Result<Vec<Left>, Error> {
    let found = route_table::list(cloud, stack).await?;
    Ok(found.iter().map(|table| tagged(stack, "route table", &table.id, "")).collect())
}

async fn groups(cloud: &Cloud, stack: &Stack) -> Result<Vec<Left>, Error> {
    let found = security_group::list(cloud, stack).await?;
    Ok(found.iter().map(|group| tagged(stack, "security group", &group.id, &group.name)).collect())
}

async fn interfaces(cloud: &Cloud, stack: &Stack) -> Result<Vec<Left>, Error> {
    let found = network_interface::list_of_stack(cloud, stack).await?;
    Ok(found.iter().map(|(id, what)| tagged(stack, "network interface", id, what)).collect())
}

async fn instances(cloud: &Cloud, stack: &Stack) -> Result<Vec<Left>, Error> {
    let found = instance::list(cloud, stack).await?;
    Ok(found.iter().map(|instance| tagged(stack, "instance", &instance.id, &instance.state)).collect())
}

async fn volumes(cloud: &Cloud, stack: &Stack) -> Result<Vec<Left>, Error> {
    let found = volume::list(cloud, stack).await?.into_iter();
    let there = found.filter(|volume| !matches!(volume.state.as_str(), "deleting" | "deleted"));
    Ok(there.map(|volume| tagged(stack, "volume", &volume.id, &volume.state)).collect())
}

async fn secrets(cloud: &Cloud, stack: &Stack) -> Result<Vec<Left>, Error> {
    let found = secret::list(cloud, stack).await?.into_iter().filter(|secret| secret.tagged);
    Ok(found
        .map(|secret| {
            let state = if secret.scheduled_for_deletion { "scheduled for deletion" } else { "in use" };
            tagged(stack, "secret", &secret.name, state)
        })
        .collect())
}

/// By tag, and by the stack file's identifier: a database may have lost its tag.
async fn databases(cloud: &Cloud, stack: &Stack) -> Result<Vec<Left>, Error> {
    let found = database::list(cloud, stack).await?;
    let own = found.own.iter().map(|one| tagged(stack, "database", &one.identifier, &one.status));
    Ok(own.chain(found.strays.iter().map(|stray| stray.left(stack))).collect())
}

async fn subnet_groups(cloud: &Cloud, stack: &Stack) -> Result<Vec<Left>, Error> {
    let found = subnet_group::list(cloud, stack).await?;
    let left = |group: SubnetGroup| {
        if group.name == stack.subnet_group_name() {
            return tagged(stack, "database subnet group", &group.name, "");
        }
        subnet_group::stray(group, Claim::OtherName).left(stack)
    };
    Ok(found.into_iter().map(left).collect())
}

async fn log_groups(cloud: &Cloud, stack: &Stack) -> Result<Vec<Left>, Error> {
    let found = log_group::list(cloud, stack).await?;
    let why = || format!("under {}", stack.log_group_prefix());
    Ok(found.iter().map(|name| left("log group", name, why())).collect())
}

async fn topics(cloud: &Cloud, stack: &Stack) -> Result<Vec<Left>, Error> {
    let found = topic::list(cloud, stack).await?;
    let region = cloud.region();
    let left = |arn: &String| {
        let left = tagged(stack, "alarm topic", arn, "");
        if arn.rsplit(':').next() == Some(&stack.topic_name()) {
            return left;
        }
        by_hand(left, format!("aws sns delete-topic --topic-arn {arn} --region {region}"))
    };
    Ok(found.iter().map(left).collect())
}

async fn alarms(cloud: &Cloud, stack: &Stack) -> Result<Vec<Left>, Error> {
    let found = alarm::list(cloud, stack).await?;
    let why = || format!("watches database `{}`", stack.database.identifier);
    Ok(found.iter().map(|alarm| left("alarm", &alarm.name, why())).collect())
}

/// Those that watch another database: the stack file may have said another identifier.
async fn tagged_alarms(cloud: &Cloud, stack: &Stack) -> Result<Vec<Left>, Error> {
    let region = cloud.region();
    let (own, found) =
        try_join(Box::pin(alarm::list(cloud, stack)), Box::pin(alarm::list_tagged(cloud, stack))).await?;
    let others = found.into_iter().filter(|name| !own.iter().any(|alarm| alarm.name == *name));
    let left = |name: String| {
        let left = tagged(stack, "alarm", &name, "watches another database than the stack file's");
        // Whoever made the alarm chose its name.
        match shlex::try_quote(&name) {
            Ok(name) => {
                by_hand(left, format!("aws cloudwatch delete-alarms --alarm-names {name} --region {region}"))
            }
            Err(_) => left,
        }
    };
    Ok(others.map(left).collect())
}

/// By name as well as by tag: a list may be behind.
async fn named_role(cloud: &Cloud, stack: &Stack, want: role::Want) -> Result<Vec<Left>, Error> {
    let mut left = Vec::new();
    for name in want.names() {
        if let Sighted::Ours(role) = role::sight(cloud, stack, &want, name).await? {
            left.push(of_iam(stack, "role", &role.name));
        }
    }
    Ok(left)
}

async fn named_profile(cloud: &Cloud, stack: &Stack) -> Result<Vec<Left>, Error> {
    let mut left = Vec::new();
    for name in std::iter::once(stack.profile_name()).chain(stack.earlier_profile_name()) {
        if let Sighted::Ours(profile) = profile::sight(cloud, stack, &name).await? {
            left.push(of_iam(stack, "instance profile", &profile.name));
        }
    }
    Ok(left)
}

async fn roles(cloud: &Cloud, stack: &Stack) -> Result<Vec<Left>, Error> {
    let found = role::list(cloud, stack).await?;
    Ok(found.iter().filter_map(|(name, whose)| in_iam(stack, Resource::Role, name, whose)).collect())
}

async fn profiles(cloud: &Cloud, stack: &Stack) -> Result<Vec<Left>, Error> {
    let found = profile::list(cloud, stack).await?;
    Ok(found.iter().filter_map(|(name, whose)| in_iam(stack, Resource::Profile, name, whose)).collect())
}

/// What another region has is no business of this one; what says no region may be this one's.
fn in_iam(stack: &Stack, resource: Resource, name: &str, whose: &Whose) -> Option<Left> {
    match whose {
        Whose::Ours => Some(ours_in_iam(stack, resource, name)),
        Whose::Unplaced => {
            let (id, claim) = (name.to_owned(), Claim::NoRegion);
            Some(Stray { resource, id, arn: None, state: None, claim }.left(stack))
        }
        Whose::Other(_) => None,
    }
}

fn ours_in_iam(stack: &Stack, resource: Resource, name: &str) -> Left {
    let (kind, command) = match resource == Resource::Profile {
        true => ("instance profile", "aws iam delete-instance-profile --instance-profile-name"),
        false => ("role", "aws iam delete-role --role-name"),
    };
    let known = [
        Some(stack.role_name()),
        Some(stack.profile_name()),
        Some(stack.monitoring_role_name()),
        stack.earlier_role_name(),
        stack.earlier_profile_name(),
        Some(stack.earlier_monitoring_role_name()),
    ];
    let left = of_iam(stack, kind, name);
    if known.iter().flatten().any(|known| known == name) {
        return left;
    }
    by_hand(left, format!("{command} {name}"))
}

/// The lock of the run that looks is given back after it, and the dead's before it with it.
async fn locks(cloud: &Cloud, stack: &Stack) -> Result<Vec<Left>, Error> {
    let found = lock::list(cloud, stack).await?;
    let mine = found.iter().rposition(lock::is_mine).map_or(0, |mine| mine + 1);
    Ok(found
        .into_iter()
        .skip(mine)
        .map(|lock| {
            let holder = lock.holder.map_or_else(|| "somebody".to_owned(), |holder| holder.to_string());
            left("lock", &lock.name, format!("held by {holder}"))
        })
        .collect())
}

fn tagged(stack: &Stack, kind: &str, id: &str, state: &str) -> Left {
    let comma = if state.is_empty() { "" } else { ", " };
    left(kind, id, format!("tagged for stack `{}`{comma}{state}", stack.name))
}

fn of_iam(stack: &Stack, kind: &str, name: &str) -> Left {
    left(
        kind,
        name,
        format!("under {}, or tagged for stack `{}` and this region", stack.iam_path(), stack.name),
    )
}

/// `down` knows nothing of that name.
fn by_hand(left: Left, command: String) -> Left {
    Left { command: Some(command), ..left }
}

fn left(kind: &str, id: &str, why: String) -> Left {
    Left { kind: kind.to_owned(), id: id.to_owned(), why, blockers: Vec::new(), command: None }
}
