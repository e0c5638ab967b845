//! Route tables with their associations and routes.

use aws_sdk_ec2::types::{ResourceType, RouteState, RouteTable as Answer};
use futures_util::future::{join, try_join_all};
use stack::inventory::{Association, Inventory, Route, RouteTable};
use stack::{Resource, Stack};

use crate::core::create_once::{create_once, unrepeated};
use crate::core::deletion_proof::{DeletionProof, Presence, wait_until_absent};
use crate::core::job::{Job, missing, subnet_of, vpc_of};
use crate::core::retry::{delete, visible};
use crate::core::state::State;
use crate::core::tag;
use crate::error::failed;
use crate::{Cloud, Error};

const EVERYWHERE: &str = "0.0.0.0/0";

/// Returns the route tables with the stack's tag.
pub(crate) async fn list(cloud: &Cloud, stack: &Stack) -> Result<Vec<RouteTable>, Error> {
    let tables = tables(cloud, tag::of_stack(stack)).await?;
    Ok(tables.iter().filter(|table| tag::is_own(stack, table.tags())).map(read).collect())
}

/// Creates the route table if it does not exist, with all its associations and routes.
pub(crate) async fn ensure(job: &Job<'_>, state: &State, resource: Resource) -> Result<RouteTable, Error> {
    let mut table = match state.inventory.route_table(resource.tag()) {
        Some(table) => table.clone(),
        None => create(job, vpc_of(&state.inventory)?, resource).await?,
    };
    let state = job.rest_of_needs(state).await?;
    let inventory = &state.inventory;
    let subnets = if resource == Resource::PublicRoutes {
        vec![subnet_of(inventory, Resource::PublicSubnet)?]
    } else {
        vec![subnet_of(inventory, Resource::PrivateSubnetA)?, subnet_of(inventory, Resource::PrivateSubnetB)?]
    };
    let absent =
        subnets.into_iter().filter(|subnet| !table.associations.iter().any(|link| link.subnet == *subnet));
    let absent: Vec<&str> = absent.collect();
    let associations = try_join_all(absent.into_iter().map(|subnet| associate(job, &table.id, subnet)));
    let route = async {
        if resource == Resource::PublicRoutes { route_out(job, inventory, &table).await } else { Ok(None) }
    };
    let (associations, route) = join(associations, route).await;
    table.associations.extend(associations?);
    if let Some(route) = route? {
        table.routes.retain(|other| other.destination != route.destination);
        table.routes.push(route);
    }
    Ok(table)
}

async fn create(job: &Job<'_>, vpc: &str, resource: Resource) -> Result<RouteTable, Error> {
    let create = || async {
        let answer = job
            .cloud
            .ec2
            .create_route_table()
            .vpc_id(vpc)
            .tag_specifications(tag::ec2(job.stack, resource, ResourceType::RouteTable))
            .customize()
            .config_override(unrepeated())
            .send()
            .await
            .map_err(failed("ec2", "CreateRouteTable"))?;
        answer.route_table.as_ref().map(read).ok_or(Error::Incomplete {
            service: "ec2",
            operation: "CreateRouteTable",
            field: "route table",
        })
    };
    let find = || async {
        let tables = list(job.cloud, job.stack).await?.into_iter();
        let ours = |table: &RouteTable| table.vpc == vpc && table.resource == resource.tag();
        Ok(tables.filter(ours).min_by(|a, b| a.id.cmp(&b.id)))
    };
    visible(job, || create_once(job.stop, create, find)).await
}

async fn associate(job: &Job<'_>, table: &str, subnet: &str) -> Result<Association, Error> {
    let call = || async {
        let call = job.cloud.ec2.associate_route_table().route_table_id(table).subnet_id(subnet);
        call.send().await.map_err(failed("ec2", "AssociateRouteTable"))
    };
    let id = match visible(job, call).await {
        Ok(answer) => answer.association_id,
        // A lost reply, or the subnet is associated with another table.
        Err(error) if error.is_duplicate() => {
            let tables = tables(job.cloud, tag::filter("association.subnet-id", subnet)).await?;
            let tables: Vec<RouteTable> = tables.iter().map(read).collect();
            let links = tables.iter().flat_map(|other| other.associations.iter().map(move |l| (other, l)));
            let found = links.into_iter().find(|(_, link)| link.subnet == subnet);
            match found {
                Some((other, link)) if other.id == table => Some(link.id.clone()),
                Some((_, link)) => {
                    let call = job.cloud.ec2.replace_route_table_association();
                    let call = call.association_id(&link.id).route_table_id(table).send().await;
                    call.map_err(failed("ec2", "ReplaceRouteTableAssociation"))?.new_association_id
                }
                None => return Err(error),
            }
        }
        Err(error) => return Err(error),
    };
    Ok(Association { id: id.unwrap_or_default(), subnet: subnet.to_owned() })
}

/// Points the default route at the internet gateway; returns the route if it was changed.
async fn route_out(job: &Job<'_>, inventory: &Inventory, table: &RouteTable) -> Result<Option<Route>, Error> {
    let gateway = &inventory.gateway().ok_or_else(|| missing(Resource::InternetGateway))?.id;
    let route =
        Route { destination: EVERYWHERE.to_owned(), gateway: Some(gateway.clone()), blackhole: false };
    let present = table.routes.iter().find(|other| other.destination == EVERYWHERE);
    if present == Some(&route) {
        return Ok(None);
    }
    if present.is_none() {
        let call = || async {
            let call = job.cloud.ec2.create_route().route_table_id(&table.id);
            let call = call.destination_cidr_block(EVERYWHERE).gateway_id(gateway).send();
            call.await.map_err(failed("ec2", "CreateRoute"))
        };
        match visible(job, call).await {
            Ok(_) => return Ok(Some(route)),
            Err(error) if error.is_duplicate() => (),
            Err(error) => return Err(error),
        }
    }
    visible(job, || async {
        let call = job.cloud.ec2.replace_route().route_table_id(&table.id);
        let call = call.destination_cidr_block(EVERYWHERE).gateway_id(gateway).send();
        call.await.map_err(failed("ec2", "ReplaceRoute"))
    })
    .await?;
    Ok(Some(route))
}

/// Disassociates the table from its subnets, deletes it, and waits until it no longer exists.
pub(crate) async fn destroy(job: &Job<'_>, id: &str, inventory: &Inventory) -> Result<DeletionProof, Error> {
    let known = inventory.route_tables.iter().filter(|table| table.id == id);
    let links = known.flat_map(|table| &table.associations).map(|link| disassociate(job, &link.id));
    try_join_all(links).await?;
    let call = || async {
        let call = job.cloud.ec2.delete_route_table().route_table_id(id).send();
        match call.await.map_err(failed("ec2", "DeleteRouteTable")) {
            Err(error) if error.is_conflict() => {
                // Somebody has associated a subnet after we looked. The table is the stack's all the same.
                let late = tables(job.cloud, tag::filter("route-table-id", id)).await?;
                let late = late.iter().map(read).flat_map(|table| table.associations);
                try_join_all(late.map(|link| async move { disassociate(job, &link.id).await })).await?;
                Err(error)
            }
            result => result.map(|_| ()),
        }
    };
    delete(job, call).await?;
    wait_until_absent(job, "ec2", "DescribeRouteTables", || async {
        let call = job.cloud.ec2.describe_route_tables().route_table_ids(id).send();
        let answer = call.await.map_err(failed("ec2", "DescribeRouteTables"))?;
        Ok(Presence::of_list(answer.route_tables()))
    })
    .await
}

async fn disassociate(job: &Job<'_>, link: &str) -> Result<(), Error> {
    delete(job, || async {
        let call = job.cloud.ec2.disassociate_route_table().association_id(link).send();
        call.await.map_err(failed("ec2", "DisassociateRouteTable"))
    })
    .await
}

pub(crate) async fn tables(cloud: &Cloud, filter: aws_sdk_ec2::types::Filter) -> Result<Vec<Answer>, Error> {
    let pages = cloud.ec2.describe_route_tables().filters(filter).into_paginator().items().send();
    let tables: Result<Vec<Answer>, _> = pages.collect().await;
    tables.map_err(failed("ec2", "DescribeRouteTables"))
}

pub(crate) fn read(table: &Answer) -> RouteTable {
    let associations = table.associations().iter().filter_map(|link| {
        Some(Association {
            id: link.route_table_association_id()?.to_owned(),
            subnet: link.subnet_id()?.to_owned(),
        })
    });
    let routes = table.routes().iter().filter_map(|route| {
        let destination = route
            .destination_cidr_block()
            .or(route.destination_ipv6_cidr_block())
            .or(route.destination_prefix_list_id())?;
        Some(Route {
            destination: destination.to_owned(),
            gateway: route.gateway_id().map(str::to_owned),
            blackhole: route.state() == Some(&RouteState::Blackhole),
        })
    });
    RouteTable {
        id: table.route_table_id().unwrap_or_default().to_owned(),
        vpc: table.vpc_id().unwrap_or_default().to_owned(),
        resource: tag::resource(table.tags()),
        associations: associations.collect(),
        routes: routes.collect(),
    }
}
