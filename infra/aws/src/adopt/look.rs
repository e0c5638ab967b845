//! Looks up the resources that the file to adopt names.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{InternetGateway as Gateway, RouteTable as Table};
use futures_util::future::{BoxFuture, FutureExt, try_join_all};
use stack::adopt::{Candidate, Found, Listing, Named, Observed, Part, Skipped};
use stack::{Inventory, Resource, Stack};

use crate::core::tag;
use crate::error::{absent_is_none, failed};
use crate::kind::{
    database, instance, internet_gateway, profile, role, route_table, secret, security_group, subnet,
    subnet_group, volume, vpc,
};
use crate::{Cloud, Error, session};

type Tags = BTreeMap<String, String>;

/// What one name led to.
enum Lookup {
    Found {
        id: String,
        thing: Observed,
        tags: Tags,
    },
    /// It is gone, or of no use; in words.
    Unusable(String),
}

/// Returns what the names of the file lead to, and what the file leaves out and is attached to them: internet gateway and
/// route tables. Changes nothing.
///
/// # Errors
/// The first look that failed: what could not be seen is not taken for gone.
pub async fn look(
    cloud: &Cloud,
    stack: &Stack,
    listing: &Listing,
    inventory: &Inventory,
) -> Result<Found, Error> {
    let each = listing.named.iter().map(|named| async move { Ok((named, one(cloud, stack, named).await?)) });
    let mut found = Found::default();
    for (named, seen) in try_join_all(each).await? {
        let Named { variable, part, id, .. } = named;
        match seen {
            Lookup::Found { id, thing, tags } => found.candidates.push(Candidate {
                part: part.clone(),
                id,
                variable: Some(variable.clone()),
                tags,
                thing,
            }),
            Lookup::Unusable(why) => {
                found.skipped.push(Skipped { variable: variable.clone(), id: id.clone(), why });
            }
        }
    }
    attached(cloud, inventory, &mut found.candidates).await?;
    found.candidates.sort_by(|a, b| a.part.cmp(&b.part));
    Ok(found)
}

fn one<'a>(cloud: &'a Cloud, stack: &'a Stack, named: &'a Named) -> BoxFuture<'a, Result<Lookup, Error>> {
    use Resource as R;
    let id = named.id.as_str();
    match named.part {
        Part::Of(R::Vpc | R::VpcDns) => find_vpc(cloud, id).boxed(),
        Part::Of(R::PublicSubnet | R::PrivateSubnetA | R::PrivateSubnetB) => find_subnet(cloud, id).boxed(),
        Part::Of(R::InternetGateway) => find_gateway(cloud, id).boxed(),
        Part::Of(R::PublicRoutes | R::PrivateRoutes) => find_table(cloud, id).boxed(),
        Part::Of(R::BastionGroup | R::DatabaseGroup | R::BastionRules | R::DatabaseRules) => {
            find_group(cloud, id).boxed()
        }
        Part::Of(R::SubnetGroup) => find_subnet_group(cloud, id).boxed(),
        Part::Of(R::Database) => find_database(cloud, id).boxed(),
        Part::Of(R::MasterSecret) | Part::RoleSecret(_) => find_secret(cloud, stack, id).boxed(),
        Part::Of(R::Role) => find_role(cloud, id).boxed(),
        Part::Of(R::Profile) => find_profile(cloud, id).boxed(),
        Part::Of(R::Instance | R::Session) => find_instance(cloud, id).boxed(),
        // The file has no name for them.
        Part::Of(R::MonitoringRole | R::LogGroups | R::Topic | R::Alarms) => async { Ok(gone()) }.boxed(),
    }
}

fn there(id: &str, thing: Observed, tags: Tags) -> Lookup {
    Lookup::Found { id: id.to_owned(), thing, tags }
}

fn gone() -> Lookup {
    Lookup::Unusable("does not exist".to_owned())
}

async fn find_vpc(cloud: &Cloud, id: &str) -> Result<Lookup, Error> {
    let call = cloud.ec2.describe_vpcs().vpc_ids(id).send();
    let answer = absent_is_none(call.await.map_err(failed("ec2", "DescribeVpcs")))?;
    let Some(found) = answer.and_then(|answer| answer.vpcs.unwrap_or_default().into_iter().next()) else {
        return Ok(gone());
    };
    let vpc = vpc::with_dns(cloud, &vpc::read(&found)?).await?;
    Ok(there(id, Observed::Vpc(vpc), tag::all(found.tags())))
}

async fn find_subnet(cloud: &Cloud, id: &str) -> Result<Lookup, Error> {
    let call = cloud.ec2.describe_subnets().subnet_ids(id).send();
    let answer = absent_is_none(call.await.map_err(failed("ec2", "DescribeSubnets")))?;
    let found = answer.and_then(|answer| answer.subnets.unwrap_or_default().into_iter().next());
    let seen = |found: &_| Observed::Subnet(subnet::read(found));
    Ok(found.map_or_else(gone, |found| there(id, seen(&found), tag::all(found.tags()))))
}

async fn find_gateway(cloud: &Cloud, id: &str) -> Result<Lookup, Error> {
    let call = cloud.ec2.describe_internet_gateways().internet_gateway_ids(id).send();
    let answer = absent_is_none(call.await.map_err(failed("ec2", "DescribeInternetGateways")))?;
    let found = answer.and_then(|answer| answer.internet_gateways.unwrap_or_default().into_iter().next());
    let seen = |found: &_| Observed::Gateway(internet_gateway::read(found));
    Ok(found.map_or_else(gone, |found| there(id, seen(&found), tag::all(found.tags()))))
}

async fn find_table(cloud: &Cloud, id: &str) -> Result<Lookup, Error> {
    let tables = route_table::tables(cloud, tag::filter("route-table-id", id)).await?;
    let Some(found) = tables.first() else { return Ok(gone()) };
    if is_main(found) {
        let why =
            "is the main route table of its VPC, which lives and dies with that; `up` makes one beside it";
        return Ok(Lookup::Unusable(why.to_owned()));
    }
    Ok(there(id, Observed::RouteTable(route_table::read(found)), tag::all(found.tags())))
}

async fn find_group(cloud: &Cloud, id: &str) -> Result<Lookup, Error> {
    let call = cloud.ec2.describe_security_groups().group_ids(id).send();
    let answer = absent_is_none(call.await.map_err(failed("ec2", "DescribeSecurityGroups")))?;
    let found = answer.and_then(|answer| answer.security_groups.unwrap_or_default().into_iter().next());
    let Some(found) = found else { return Ok(gone()) };
    if found.group_name() == Some("default") {
        let why = "is the default group of its VPC, which lives and dies with that; `up` makes one beside it";
        return Ok(Lookup::Unusable(why.to_owned()));
    }
    Ok(there(id, Observed::Group(security_group::read(&found)), tag::all(found.tags())))
}

async fn find_subnet_group(cloud: &Cloud, name: &str) -> Result<Lookup, Error> {
    if name == "default" {
        return Ok(Lookup::Unusable("is the account's own; `up` makes one beside it".to_owned()));
    }
    let Some(found) = subnet_group::describe(cloud, name).await? else { return Ok(gone()) };
    let Some(tags) = subnet_group::tags(cloud, &found).await? else { return Ok(gone()) };
    let arn = found.db_subnet_group_arn().unwrap_or_default().to_owned();
    let thing = Observed::SubnetGroup { group: subnet_group::read(&found), arn };
    Ok(there(name, thing, rds_tags(&tags)))
}

async fn find_database(cloud: &Cloud, identifier: &str) -> Result<Lookup, Error> {
    let Some(found) = database::describe(cloud, identifier).await? else { return Ok(gone()) };
    if found.engine() != Some("postgres") {
        return Ok(Lookup::Unusable("is no RDS PostgreSQL".to_owned()));
    }
    let database = database::read(&found);
    if database.status == "deleting" {
        return Ok(Lookup::Unusable("is being deleted".to_owned()));
    }
    Ok(there(identifier, Observed::Database(Box::new(database)), rds_tags(found.tag_list())))
}

async fn find_secret(cloud: &Cloud, stack: &Stack, arn: &str) -> Result<Lookup, Error> {
    let Some((secret, tags)) = secret::by_arn(cloud, stack, arn).await? else { return Ok(gone()) };
    Ok(there(&secret.name.clone(), Observed::Secret(secret), tags))
}

async fn find_role(cloud: &Cloud, name: &str) -> Result<Lookup, Error> {
    let Some((found, role)) = role::describe(cloud, name).await? else { return Ok(gone()) };
    let path = found.path().to_owned();
    Ok(there(name, Observed::Role { role, path }, tag::map(role::tags(found.tags()))))
}

async fn find_profile(cloud: &Cloud, name: &str) -> Result<Lookup, Error> {
    let Some(found) = profile::describe(cloud, name).await? else { return Ok(gone()) };
    let path = found.path().to_owned();
    let thing = Observed::Profile { profile: profile::read(cloud, &found), path };
    Ok(there(name, thing, tag::map(role::tags(found.tags()))))
}

async fn find_instance(cloud: &Cloud, id: &str) -> Result<Lookup, Error> {
    let Some(found) = instance::describe(cloud, id).await? else { return Ok(gone()) };
    let mut instance = instance::read(&found);
    if matches!(instance.state.as_str(), "terminated" | "shutting-down") {
        return Ok(Lookup::Unusable(format!("is {}; `up` makes a new one", instance.state)));
    }
    let volumes = volume::filtered(cloud, tag::filter("attachment.instance-id", id)).await?;
    instance.volume_gib = volumes.first().and_then(|volume| volume.size_gib);
    let agent = match instance.state.as_str() {
        "running" => session::find_agent(cloud, id).await?,
        _ => None,
    };
    let interfaces = found.network_interfaces().iter();
    let interfaces = interfaces.filter_map(|one| one.network_interface_id()).map(str::to_owned);
    let companions = volumes.into_iter().map(|volume| volume.id).chain(interfaces).collect();
    Ok(there(
        id,
        Observed::Instance { instance: Box::new(instance), agent, companions },
        tag::all(found.tags()),
    ))
}

/// Adds the gateway and the route tables that nothing names: those of the VPC and of its subnets.
async fn attached(
    cloud: &Cloud,
    inventory: &Inventory,
    candidates: &mut Vec<Candidate>,
) -> Result<(), Error> {
    let id = |resource: Resource| {
        let found = candidates.iter().find(|one| one.part == Part::Of(resource));
        found.map(|candidate| candidate.id.clone())
    };
    let vpc = id(Resource::Vpc).or_else(|| inventory.vpc().map(|vpc| vpc.id.clone()));
    let Some(vpc) = vpc else { return Ok(()) };
    let mut more = Vec::new();
    if id(Resource::InternetGateway).is_none() && inventory.gateway().is_none() {
        let call = cloud.ec2.describe_internet_gateways().filters(tag::filter("attachment.vpc-id", &vpc));
        let gateways: Result<Vec<Gateway>, _> = call.into_paginator().items().send().collect().await;
        let gateways = gateways.map_err(failed("ec2", "DescribeInternetGateways"))?;
        more.extend(gateways.first().map(|found| {
            let thing = Observed::Gateway(internet_gateway::read(found));
            derived(Resource::InternetGateway, found.internet_gateway_id(), thing, tag::all(found.tags()))
        }));
    }
    let wanted = [
        (Resource::PublicRoutes, Resource::PublicSubnet),
        (Resource::PrivateRoutes, Resource::PrivateSubnetA),
    ];
    let wanted = wanted.into_iter().filter_map(|(table, subnet)| {
        let is_known = id(table).is_some() || inventory.route_table(table.tag()).is_some();
        let of_stack = || inventory.subnet(subnet.tag()).map(|subnet| subnet.id.clone());
        if is_known { None } else { Some((table, id(subnet).or_else(of_stack)?)) }
    });
    let wanted: Vec<(Resource, String)> = wanted.collect();
    if !wanted.is_empty() {
        let tables = route_table::tables(cloud, tag::filter("vpc-id", &vpc)).await?;
        for (resource, subnet) in wanted {
            let mut others = candidates.iter().chain(&more).map(|other| other.id.clone());
            let free = |table: &&Table| {
                !is_main(table) && others.all(|id| Some(id.as_str()) != table.route_table_id())
            };
            let of_subnet = tables.iter().find(|table| {
                table.associations().iter().any(|link| link.subnet_id() == Some(subnet.as_str()))
            });
            let found = of_subnet.filter(free).map(|table| {
                let thing = Observed::RouteTable(route_table::read(table));
                derived(resource, table.route_table_id(), thing, tag::all(table.tags()))
            });
            more.extend(found);
        }
    }
    candidates.extend(more);
    Ok(())
}

fn derived(resource: Resource, id: Option<&str>, thing: Observed, tags: Tags) -> Candidate {
    let id = id.unwrap_or_default().to_owned();
    Candidate { part: Part::Of(resource), id, variable: None, tags, thing }
}

fn is_main(table: &Table) -> bool {
    table.associations().iter().any(|link| link.main() == Some(true))
}

fn rds_tags(tags: &[aws_sdk_rds::types::Tag]) -> Tags {
    tag::map(tags.iter().filter_map(|tag| Some((tag.key()?, tag.value()?))))
}
