//! Subnet groups: one in use cannot be deleted, each stays in its VPC, and its subnets have aliases where RDS lacks them.

use roxmltree::Document;

use super::refusal::refuse;
use crate::gateway::Error;
use crate::gateway::upstream::Upstream;
use crate::gateway::upstream::api::EC2;
use crate::gateway::upstream::emulator::Side;
use crate::gateway::upstream::inventory::{Inventory, Subnet};
use crate::gateway::wire::reply::Reply;
use crate::gateway::wire::request::Request;
use crate::gateway::wire::xml::all;

/// Refuses to delete a subnet group that a database uses.
pub(super) async fn group_in_use(upstream: &Upstream, request: &Request) -> Result<Option<Reply>, Error> {
    let name = request.param("DBSubnetGroupName").unwrap_or_default();
    let databases = Inventory::new(upstream, request.region()).databases().await?;
    let user = databases.iter().find(|database| database.subnet_group.as_deref() == Some(name));
    Ok(user.map(|database| {
        let message = format!(
            "Cannot delete the subnet group '{name}' because at least one database instance: {} is still using it.",
            database.identifier
        );
        refuse("InvalidDBSubnetGroupStateFault", &message)
    }))
}

/// Refuses to move a subnet group to another VPC, even if its own VPC is gone.
pub(super) async fn group_moves(upstream: &Upstream, request: &Request) -> Result<Option<Reply>, Error> {
    let inventory = Inventory::new(upstream, request.region());
    let name = request.param("DBSubnetGroupName").unwrap_or_default();
    let Some(vpc) = inventory.subnet_group_vpc(name).await? else { return Ok(None) };
    let wanted = request.list("SubnetIds.SubnetIdentifier");
    let known = inventory.subnets().await?;
    let moves = known.iter().any(|subnet| wanted.contains(&subnet.id) && subnet.vpc != vpc);
    let message = "The new Subnets are not in the same Vpc as the existing subnet group";
    Ok(moves.then(|| refuse("InvalidParameterValue", message)))
}

/// Makes aliases for the subnets in a request. Refuses subnets that do not exist.
pub(super) async fn ensure_aliases(upstream: &Upstream, request: &Request) -> Result<Option<Reply>, Error> {
    if !upstream.is_split() {
        return Ok(None);
    }
    let known = Inventory::new(upstream, request.region()).subnets().await?;
    for id in request.list("SubnetIds.SubnetIdentifier") {
        let Some(subnet) = known.iter().find(|subnet| subnet.id == id) else {
            let message = format!("Some input subnets in :[{id}] are invalid.");
            return Ok(Some(refuse("InvalidSubnet", &message)));
        };
        ensure_alias(upstream, request.region(), subnet).await?;
    }
    Ok(None)
}

async fn ensure_alias(upstream: &Upstream, region: &str, subnet: &Subnet) -> Result<(), Error> {
    let aliases = upstream.aliases();
    let vpc = aliases.ensure(&subnet.vpc, async {
        let cidr = Inventory::new(upstream, region).vpc_cidr(&subnet.vpc).await?;
        make(upstream, region, "CreateVpc", &[("CidrBlock", &cidr)], "vpcId").await
    });
    let vpc = vpc.await?;
    let params = [("VpcId", vpc.as_str()), ("CidrBlock", &subnet.cidr), ("AvailabilityZone", &subnet.zone)];
    let made = make(upstream, region, "CreateSubnet", &params, "subnetId");
    aliases.ensure(&subnet.id, made).await.map(drop)
}

/// Makes something in RDS's program and returns its id.
async fn make(
    upstream: &Upstream,
    region: &str,
    action: &'static str,
    params: &[(&str, &str)],
    id: &str,
) -> Result<String, Error> {
    let xml = upstream.query_at(Side::Rds, EC2, region, action, params).await?;
    let document = Document::parse(&xml)?;
    let found = all(&document, id).first().and_then(|node| node.text());
    Ok(found.unwrap_or_default().to_owned())
}
