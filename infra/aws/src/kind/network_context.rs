//! Network ACLs and endpoints of the stack's VPC. They are read, never changed.

use aws_sdk_ec2::types::{
    Filter, NetworkAcl as AclAnswer, NetworkAclEntry, RuleAction, VpcEndpoint, VpcEndpointType,
};
use stack::inventory::{Direction, Rule};
use stack::network_context::{AclEntry, Endpoint, NetworkAcl};

use crate::error::failed;
use crate::kind::security_group;
use crate::{Cloud, Error};

/// Returns the network ACLs of these VPCs.
pub(crate) async fn acls(cloud: &Cloud, vpcs: &[String]) -> Result<Vec<NetworkAcl>, Error> {
    if vpcs.is_empty() {
        return Ok(Vec::new());
    }
    let call = cloud.ec2.describe_network_acls().filters(of_vpcs(vpcs));
    let acls: Result<Vec<AclAnswer>, _> = call.into_paginator().items().send().collect().await;
    Ok(acls.map_err(failed("ec2", "DescribeNetworkAcls"))?.iter().map(read_acl).collect())
}

/// Returns the interface endpoints of these VPCs, with the rules of their groups.
pub(crate) async fn endpoints(cloud: &Cloud, vpcs: &[String]) -> Result<Vec<Endpoint>, Error> {
    if vpcs.is_empty() {
        return Ok(Vec::new());
    }
    let call = cloud.ec2.describe_vpc_endpoints().filters(of_vpcs(vpcs));
    let endpoints: Result<Vec<VpcEndpoint>, _> = call.into_paginator().items().send().collect().await;
    let endpoints = endpoints.map_err(failed("ec2", "DescribeVpcEndpoints"))?;
    let is_interface = |endpoint: &&VpcEndpoint| {
        let kind = endpoint.vpc_endpoint_type().map(VpcEndpointType::as_str);
        kind.is_some_and(|kind| kind.eq_ignore_ascii_case("interface"))
    };
    let mut found = Vec::new();
    for endpoint in endpoints.iter().filter(is_interface) {
        let groups: Vec<String> =
            endpoint.groups().iter().filter_map(|group| group.group_id()).map(str::to_owned).collect();
        // If the rules cannot be read, only this endpoint is unknown.
        let rules: Option<Vec<Rule>> = Box::pin(security_group::rules_of(cloud, &groups)).await.ok();
        found.push(Endpoint {
            id: endpoint.vpc_endpoint_id().unwrap_or_default().to_owned(),
            service: endpoint.service_name().unwrap_or_default().to_owned(),
            // Some answers begin the state with a capital letter.
            state: endpoint.state().map_or("unknown", |state| state.as_str()).to_lowercase(),
            private_dns: endpoint.private_dns_enabled().unwrap_or_default(),
            groups,
            rules,
        });
    }
    Ok(found)
}

fn of_vpcs(vpcs: &[String]) -> Filter {
    Filter::builder().name("vpc-id").set_values(Some(vpcs.to_vec())).build()
}

fn read_acl(acl: &AclAnswer) -> NetworkAcl {
    NetworkAcl {
        id: acl.network_acl_id().unwrap_or_default().to_owned(),
        subnets: acl.associations().iter().filter_map(|link| link.subnet_id()).map(str::to_owned).collect(),
        entries: acl.entries().iter().filter_map(read_entry).collect(),
    }
}

/// Returns an IPv4 entry; IPv6 entries do not concern the stack.
fn read_entry(entry: &NetworkAclEntry) -> Option<AclEntry> {
    let port = |port: Option<i32>| port.and_then(|port| u16::try_from(port).ok());
    let is_egress = entry.egress().unwrap_or_default();
    Some(AclEntry {
        number: entry.rule_number().and_then(|number| u32::try_from(number).ok()).unwrap_or_default(),
        direction: if is_egress { Direction::Egress } else { Direction::Ingress },
        protocol: entry.protocol().unwrap_or("-1").to_owned(),
        ports: entry.port_range().and_then(|range| port(range.from()).zip(port(range.to()))),
        cidr: entry.cidr_block()?.to_owned(),
        allows: entry.rule_action() == Some(&RuleAction::Allow),
    })
}
