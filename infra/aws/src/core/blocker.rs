//! What keeps a thing from being deleted: found, told apart from what goes by itself, and named.

use aws_sdk_ec2::types::{Filter, SecurityGroup};
use futures_util::try_join;
use stack::inventory::{Direction, Peer, Rule};
use stack::receipt::Blocker;
use tokio::time::Instant;

use crate::core::tag;
use crate::core::wait::Backoff;
use crate::error::failed;
use crate::kind::network_interface;
use crate::kind::security_group::rule;
use crate::step::Job;
use crate::{Cloud, Error};

/// Something that holds a thing.
pub(crate) struct Held {
    pub(crate) blocker: Blocker,
    /// It is on its way out, or the service that made it removes it.
    pub(crate) goes_by_itself: bool,
}

/// What is to be deleted, for the error that says what holds it.
pub(crate) struct Blocked(String);

impl Blocked {
    pub(crate) fn by_id(job: &Job<'_>, id: &str) -> Blocked {
        let named = job.subject.ends_with(id);
        Blocked(if named { job.subject.clone() } else { format!("{} `{id}`", job.subject) })
    }
}

/// Deletes: gone already counts as deleted, and what holds the thing but goes by itself is waited for.
///
/// # Errors
/// [`Error::Blocked`] names what holds it, at once if something does not go by itself. What holds it may be unknown,
/// or impossible to list; the refusal stands either way.
pub(crate) async fn delete<T, F, Fut, H, Find>(
    job: &Job<'_>,
    what: Blocked,
    mut call: F,
    mut holds: H,
) -> Result<(), Error>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Error>>,
    H: FnMut() -> Find,
    Find: Future<Output = Result<Vec<Held>, Error>>,
{
    let began = Instant::now();
    let mut backoff = Backoff::default();
    loop {
        let refusal = match Box::pin(call()).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_gone() => return Ok(()),
            Err(error) if error.is_conflict() => error,
            Err(error) => return Err(error),
        };
        let found = Box::pin(holds()).await;
        let lasts = matches!(&found, Ok(held) if held.iter().any(|one| !one.goes_by_itself));
        if lasts || began.elapsed() >= job.options.settle_within {
            return Err(refuse(what, refusal, found));
        }
        match &found {
            Ok(held) => held.iter().for_each(|one| job.waiting(&format!("held by {}", one.blocker.render()))),
            Err(error) => job.waiting(&error.to_string()),
        }
        job.stop.sleep(backoff.pause()).await?;
    }
}

fn refuse(Blocked(subject): Blocked, refusal: Error, found: Result<Vec<Held>, Error>) -> Error {
    let source = Box::new(refusal);
    match found {
        Ok(held) if !held.is_empty() => {
            Error::Blocked { subject, blockers: held.into_iter().map(|one| one.blocker).collect(), source }
        }
        Ok(_) => *source,
        Err(unseen) => Error::Unlisted { subject, unseen: Box::new(unseen), source },
    }
}

/// Returns what holds a security group: interfaces in it, and rules of other groups that name it.
pub(crate) async fn of_group(cloud: &Cloud, id: &str) -> Result<Vec<Held>, Error> {
    let (mut held, ingress, egress) = try_join!(
        network_interface::blockers(cloud, tag::filter("group-id", id)),
        groups(cloud, tag::filter("ip-permission.group-id", id)),
        groups(cloud, tag::filter("egress.ip-permission.group-id", id)),
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

fn of_rule(cloud: &Cloud, group: &SecurityGroup, named: &str, rule: &Rule) -> Held {
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
    Held { blocker, goes_by_itself: false }
}

/// Returns what holds a VPC: all that is in it but what AWS itself puts there.
pub(crate) async fn of_vpc(cloud: &Cloud, id: &str) -> Result<Vec<Held>, Error> {
    let inside = || tag::filter("vpc-id", id);
    let (mut held, subnets, groups, tables, gateways, endpoints) = try_join!(
        network_interface::blockers(cloud, inside()),
        async {
            let pages = cloud.ec2.describe_subnets().filters(inside()).into_paginator().items().send();
            let all: Result<Vec<_>, _> = pages.collect().await;
            all.map_err(failed("ec2", "DescribeSubnets"))
        },
        groups(cloud, inside()),
        async {
            let pages = cloud.ec2.describe_route_tables().filters(inside()).into_paginator().items().send();
            let all: Result<Vec<_>, _> = pages.collect().await;
            all.map_err(failed("ec2", "DescribeRouteTables"))
        },
        async {
            let call = cloud.ec2.describe_internet_gateways().filters(tag::filter("attachment.vpc-id", id));
            let all: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
            all.map_err(failed("ec2", "DescribeInternetGateways"))
        },
        async {
            let pages = cloud.ec2.describe_vpc_endpoints().filters(inside()).into_paginator().items().send();
            let all: Result<Vec<_>, _> = pages.collect().await;
            all.map_err(failed("ec2", "DescribeVpcEndpoints"))
        },
    )?;
    let mut add = |kind: &str, id: Option<&str>, owner: Option<&str>, command: &str| {
        let id = id.unwrap_or("?");
        let blocker = Blocker {
            kind: kind.to_owned(),
            id: id.to_owned(),
            owner: owner.map(str::to_owned),
            detail: "is in it".to_owned(),
            command: format!("aws ec2 {command} {id} --region {}", cloud.region),
        };
        held.push(Held { blocker, goes_by_itself: false });
    };
    for subnet in &subnets {
        add("subnet", subnet.subnet_id(), subnet.owner_id(), "delete-subnet --subnet-id");
    }
    for group in groups.iter().filter(|group| group.group_name() != Some("default")) {
        add("security group", group.group_id(), group.owner_id(), "delete-security-group --group-id");
    }
    let is_main = |table: &&aws_sdk_ec2::types::RouteTable| {
        table.associations().iter().any(|link| link.main() == Some(true))
    };
    for table in tables.iter().filter(|table| !is_main(table)) {
        add("route table", table.route_table_id(), table.owner_id(), "delete-route-table --route-table-id");
    }
    for gateway in &gateways {
        let command = format!("detach-internet-gateway --vpc-id {id} --internet-gateway-id");
        add("internet gateway", gateway.internet_gateway_id(), gateway.owner_id(), &command);
    }
    let is_there = |endpoint: &&aws_sdk_ec2::types::VpcEndpoint| {
        endpoint.state().is_none_or(|state| !state.as_str().eq_ignore_ascii_case("deleted"))
    };
    for endpoint in endpoints.iter().filter(is_there) {
        let owner = endpoint.owner_id();
        add("vpc endpoint", endpoint.vpc_endpoint_id(), owner, "delete-vpc-endpoints --vpc-endpoint-ids");
    }
    Ok(held)
}

async fn groups(cloud: &Cloud, filter: Filter) -> Result<Vec<SecurityGroup>, Error> {
    let pages = cloud.ec2.describe_security_groups().filters(filter).into_paginator().items().send();
    let groups: Result<Vec<SecurityGroup>, _> = pages.collect().await;
    groups.map_err(failed("ec2", "DescribeSecurityGroups"))
}
