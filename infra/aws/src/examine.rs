//! Collects the facts for a diagnosis: the stack, its network, its bastion.

mod bastion;
mod look;

use std::collections::BTreeMap;

use jiff::Timestamp;
use stack::diagnosis::{Caller, Fact, Facts, Listing};
use stack::inventory::{Role, SecretEntry, Vpc};
use stack::network_context::{Endpoint, NetworkAcl};
use stack::{Inventory, Stack};

pub use self::look::Depth;
use self::look::{fact, kept};
use crate::core::ownership::{self, Sighted};
use crate::core::state::sort;
use crate::error::one_line;
use crate::kind::{
    database, internet_gateway, network_context, profile, role, route_table, secret, security_group, subnet,
    vpc,
};
use crate::{Cloud, Error};

/// Returns what can be seen of the stack and its network, for a diagnosis.
///
/// All calls run at the same time. Calls that need an id come second; only the rules of endpoints and of others' groups
/// come third. A failed call hides only its own answer: [`Facts::unseen`] and [`Fact::Unknown`] say so. Of the secrets
/// only the master user's is looked at.
///
/// # Errors
/// As [`Cloud::identity`]: without credentials nothing can be seen.
pub async fn examine(cloud: &Cloud, stack: &Stack, depth: Depth) -> Result<Facts, Error> {
    // One call of the SDK is a future of ten kilobytes.
    let (
        identity,
        subnets,
        gateways,
        route_tables,
        groups,
        secrets,
        database,
        role,
        profile,
        around,
        bastion,
    ) = tokio::join!(
        Box::pin(cloud.identity()),
        Box::pin(subnet::list(cloud, stack)),
        Box::pin(internet_gateway::list(cloud, stack)),
        Box::pin(route_table::list(cloud, stack)),
        Box::pin(security_group::list(cloud, stack)),
        Box::pin(master_secrets(cloud, stack)),
        Box::pin(database::find(cloud, stack)),
        Box::pin(bastion_role(cloud, stack)),
        Box::pin(profile::find(cloud, stack)),
        Box::pin(around(cloud, stack)),
        Box::pin(bastion::look(cloud, stack, depth)),
    );
    let identity = identity?;
    let mut unseen = BTreeMap::new();
    let mut inventory = Inventory {
        vpcs: kept(&mut unseen, Listing::Vpcs, around.vpcs),
        subnets: kept(&mut unseen, Listing::Subnets, subnets),
        gateways: kept(&mut unseen, Listing::Gateways, gateways),
        route_tables: kept(&mut unseen, Listing::RouteTables, route_tables),
        groups: kept(&mut unseen, Listing::Groups, groups),
        secrets: kept(&mut unseen, Listing::Secrets, secrets),
        database: kept(&mut unseen, Listing::Database, database),
        instances: kept(&mut unseen, Listing::Instances, bastion.instances),
        agent: kept(&mut unseen, Listing::Agent, bastion.agent),
        ..Inventory::default()
    };
    let profile = kept(&mut unseen, Listing::Profile, profile);
    let role = kept(&mut unseen, Listing::Role, role);
    ownership::settle(&mut inventory, (profile, role), Sighted::Absent);
    // If they cannot be read, the diagnosis says so.
    inventory.attached = Box::pin(security_group::attached(cloud, &inventory)).await.unwrap_or_default();
    sort(&mut inventory);
    let region = cloud.region().to_owned();
    Ok(Facts {
        now: Timestamp::now(),
        caller: Caller { account: identity.account, arn: identity.arn, region },
        inventory,
        unseen,
        acls: around.acls,
        endpoints: around.endpoints,
        attached_at: bastion.attached_at,
        connection: bastion.connection,
        console: bastion.console,
        simulation: bastion.simulation,
        session: bastion.session,
    })
}

async fn master_secrets(cloud: &Cloud, stack: &Stack) -> Result<Vec<SecretEntry>, Error> {
    match secret::describe(cloud, stack, &stack.master_secret_name()).await? {
        Some(secret) => Ok(vec![secret]),
        // An earlier stack file may have named it otherwise. Without permission to list, it counts as missing.
        None => Ok(secret::masters(cloud, stack).await.unwrap_or_default()),
    }
}

async fn bastion_role(cloud: &Cloud, stack: &Stack) -> Result<Sighted<Role>, Error> {
    role::find(cloud, stack, &role::of_bastion(stack)).await
}

struct Around {
    vpcs: Result<Vec<Vpc>, Error>,
    acls: Fact<Vec<NetworkAcl>>,
    endpoints: Fact<Vec<Endpoint>>,
}

async fn around(cloud: &Cloud, stack: &Stack) -> Around {
    // The first list shows the ids; the DNS attributes are read together with the rest.
    let listed = match vpc::list(cloud, stack).await {
        Ok(listed) => listed,
        Err(error) => {
            let why = one_line(&error);
            let (acls, endpoints) = (Fact::Unknown(why.clone()), Fact::Unknown(why));
            return Around { vpcs: Err(error), acls, endpoints };
        }
    };
    let ids: Vec<String> = listed.iter().map(|vpc| vpc.id.clone()).collect();
    let (vpcs, acls, endpoints) = tokio::join!(
        Box::pin(vpc::list_with_dns(cloud, stack)),
        Box::pin(network_context::acls(cloud, &ids)),
        Box::pin(network_context::endpoints(cloud, &ids))
    );
    if ids.is_empty() {
        return Around { vpcs, acls: Fact::Unasked, endpoints: Fact::Unasked };
    }
    Around { vpcs, acls: fact(acls), endpoints: fact(endpoints) }
}
