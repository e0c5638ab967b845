//! The VPC and its DNS attributes.

use aws_sdk_ec2::types::{AttributeBooleanValue, ResourceType, Vpc as Answer, VpcAttributeName};
use futures_util::future::{join, try_join_all};
use futures_util::try_join;
use stack::inventory::{Inventory, Vpc};
use stack::receipt::Blocker;
use stack::{Resource, Stack};

use crate::core::blocker::{Blocked, FoundBlocker};
use crate::core::create_once::{create_once, unrepeated};
use crate::core::deletion_proof::{DeletionProof, Presence, wait_until_absent};
use crate::core::job::{Job, missing};
use crate::core::retry::visible;
use crate::core::{blocker, tag};
use crate::error::failed;
use crate::kind::network_interface::blocking;
use crate::kind::{route_table, security_group};
use crate::{Cloud, Error};

/// Returns the VPCs with the stack's tag, without their DNS attributes.
pub(crate) async fn list(cloud: &Cloud, stack: &Stack) -> Result<Vec<Vpc>, Error> {
    let pages = cloud.ec2.describe_vpcs().filters(tag::of_stack(stack)).into_paginator().items().send();
    let vpcs: Result<Vec<Answer>, _> = pages.collect().await;
    let vpcs = vpcs.map_err(failed("ec2", "DescribeVpcs"))?;
    vpcs.iter().filter(|vpc| tag::is_own(stack, vpc.tags())).map(read).collect()
}

/// Returns the VPCs with the stack's tag, with their DNS attributes.
pub(crate) async fn list_with_dns(cloud: &Cloud, stack: &Stack) -> Result<Vec<Vpc>, Error> {
    let vpcs = list(cloud, stack).await?;
    match try_join_all(vpcs.iter().map(|vpc| with_dns(cloud, vpc))).await {
        // A VPC was deleted between the two calls. One that is still listed was made a moment ago, and EC2 does not know
        // its attributes yet.
        Err(error) if error.is_gone() => list(cloud, stack).await,
        result => result,
    }
}

pub(crate) async fn with_dns(cloud: &Cloud, vpc: &Vpc) -> Result<Vpc, Error> {
    let ask = |attribute: VpcAttributeName| {
        let call = Box::pin(cloud.ec2.describe_vpc_attribute().vpc_id(&vpc.id).attribute(attribute).send());
        async { call.await.map_err(failed("ec2", "DescribeVpcAttribute")) }
    };
    let (support, names) =
        join(ask(VpcAttributeName::EnableDnsSupport), ask(VpcAttributeName::EnableDnsHostnames)).await;
    let dns_support = support?.enable_dns_support.and_then(|value| value.value);
    let dns_hostnames = names?.enable_dns_hostnames.and_then(|value| value.value);
    Ok(Vpc { dns_support, dns_hostnames, ..vpc.clone() })
}

/// Creates the stack's VPC if it does not exist.
pub(crate) async fn ensure(job: &Job<'_>, inventory: &Inventory) -> Result<Vpc, Error> {
    if let Some(vpc) = inventory.vpc() {
        return Ok(vpc.clone());
    }
    let create = || async {
        let answer = job
            .cloud
            .ec2
            .create_vpc()
            .cidr_block(job.stack.network.cidr.to_string())
            .tag_specifications(tag::ec2(job.stack, Resource::Vpc, ResourceType::Vpc))
            .customize()
            .config_override(unrepeated())
            .send()
            .await
            .map_err(failed("ec2", "CreateVpc"))?;
        read(&answer.vpc.ok_or_else(|| incomplete("VPC"))?)
    };
    let find = || async { Ok(list(job.cloud, job.stack).await?.into_iter().min_by(|a, b| a.id.cmp(&b.id))) };
    create_once(job.stop, create, find).await
}

/// Turns on DNS support and DNS host names, so that the database's name resolves inside the VPC.
pub(crate) async fn ensure_dns(job: &Job<'_>, inventory: &Inventory) -> Result<Vpc, Error> {
    let vpc = inventory.vpc().ok_or_else(|| missing(Resource::Vpc))?;
    let on = || AttributeBooleanValue::builder().value(true).build();
    let change = || job.cloud.ec2.modify_vpc_attribute().vpc_id(&vpc.id);
    let mut changes = Vec::new();
    if vpc.dns_support != Some(true) {
        changes.push(change().enable_dns_support(on()));
    }
    if vpc.dns_hostnames != Some(true) {
        changes.push(change().enable_dns_hostnames(on()));
    }
    let send =
        |change: &aws_sdk_ec2::operation::modify_vpc_attribute::builders::ModifyVpcAttributeFluentBuilder| {
            let call = change.clone().send();
            async { call.await.map_err(failed("ec2", "ModifyVpcAttribute")) }
        };
    if vpc.dns_support == Some(false) {
        // EC2 refuses host names while DNS support is off.
        for change in &changes {
            visible(job, || send(change)).await?;
        }
    } else {
        try_join_all(changes.iter().map(|change| visible(job, || send(change)))).await?;
    }
    Ok(Vpc { dns_support: Some(true), dns_hostnames: Some(true), ..vpc.clone() })
}

/// Deletes the VPC, and waits until it no longer exists.
///
/// # Errors
/// [`Error::Blocked`] names what is still in it.
pub(crate) async fn destroy(job: &Job<'_>, id: &str) -> Result<DeletionProof, Error> {
    let call =
        || async { job.cloud.ec2.delete_vpc().vpc_id(id).send().await.map_err(failed("ec2", "DeleteVpc")) };
    let holds = || async { blockers(job.cloud, id).await };
    blocker::delete(job, Blocked::by_id(job, id), call, holds).await?;
    wait_until_absent(job, "ec2", "DescribeVpcs", || async {
        let call = job.cloud.ec2.describe_vpcs().vpc_ids(id).send();
        let answer = call.await.map_err(failed("ec2", "DescribeVpcs"))?;
        Ok(Presence::of_list(answer.vpcs()))
    })
    .await
}

/// Returns what blocks the deletion of a VPC: everything in it except what AWS itself puts there.
async fn blockers(cloud: &Cloud, id: &str) -> Result<Vec<FoundBlocker>, Error> {
    let inside = || tag::filter("vpc-id", id);
    let (mut held, subnets, groups, tables, gateways, endpoints) = try_join!(
        blocking::blockers(cloud, inside()),
        async {
            let pages = cloud.ec2.describe_subnets().filters(inside()).into_paginator().items().send();
            let all: Result<Vec<_>, _> = pages.collect().await;
            all.map_err(failed("ec2", "DescribeSubnets"))
        },
        security_group::filtered(cloud, inside()),
        route_table::tables(cloud, inside()),
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
        held.push(FoundBlocker { blocker, is_transient: false });
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

pub(crate) fn read(vpc: &Answer) -> Result<Vpc, Error> {
    Ok(Vpc {
        id: vpc.vpc_id().ok_or_else(|| incomplete("id"))?.to_owned(),
        cidr: vpc.cidr_block().unwrap_or_default().to_owned(),
        state: vpc.state().map(|state| state.as_str().to_owned()),
        dns_support: None,
        dns_hostnames: None,
    })
}

fn incomplete(field: &'static str) -> Error {
    Error::Incomplete { service: "ec2", operation: "CreateVpc", field }
}
