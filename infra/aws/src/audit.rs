use futures_util::try_join;
use serde::Serialize;
use stack::{Inventory, Stack};

use crate::{Cloud, Error, interface, observe, profile, role, volume};

/// Something of a stack that exists although nothing should.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Leftover {
    /// What it is: `vpc`, `network interface`, ..
    pub kind: &'static str,
    /// Its id or name.
    pub id: String,
    /// How we know that it belongs to the stack, and its state.
    pub why: String,
}

/// Returns everything of the stack that exists, as each service itself describes it.
///
/// A final snapshot is meant to stay, so it is not asked for.
///
/// # Errors
/// The first list that failed: what could not be seen is not taken for absent.
pub async fn audit(cloud: &Cloud, stack: &Stack) -> Result<Vec<Leftover>, Error> {
    let (inventory, volumes, interfaces, roles, profiles) = try_join!(
        observe(cloud, stack),
        volume::list(cloud, stack),
        interface::list_of_stack(cloud, stack),
        role::list_names(cloud, stack),
        profile::list_names(cloud, stack),
    )?;
    let mut found = of_inventory(stack, &inventory);
    let tagged = format!("tagged for stack `{}`", stack.name);
    let path = format!("under {}", stack.iam_path());
    let volumes =
        volumes.into_iter().filter(|volume| !matches!(volume.state.as_str(), "deleting" | "deleted"));
    found.extend(volumes.map(|v| leftover("volume", &v.id, format!("{tagged}, {}", v.state))));
    found.extend(
        interfaces.iter().map(|(id, what)| leftover("network interface", id, format!("{tagged}, {what}"))),
    );
    found.extend(roles.iter().map(|name| leftover("role", name, path.clone())));
    found.extend(profiles.iter().map(|name| leftover("instance profile", name, path.clone())));
    found.sort();
    found.dedup_by(|a, b| a.kind == b.kind && a.id == b.id);
    Ok(found)
}

fn of_inventory(stack: &Stack, inventory: &Inventory) -> Vec<Leftover> {
    let tagged = format!("tagged for stack `{}`", stack.name);
    let with = |state: &str| format!("{tagged}, {state}");
    let Inventory {
        vpcs,
        subnets,
        gateways,
        route_tables,
        groups,
        secrets,
        subnet_group,
        database,
        role,
        profile,
        instances,
        agent: _,
        image: _,
    } = inventory;
    let mut found = Vec::new();
    found.extend(vpcs.iter().map(|vpc| leftover("vpc", &vpc.id, with(&vpc.cidr))));
    found.extend(subnets.iter().map(|subnet| leftover("subnet", &subnet.id, with(&subnet.cidr))));
    found.extend(gateways.iter().map(|gateway| leftover("internet gateway", &gateway.id, tagged.clone())));
    found.extend(route_tables.iter().map(|table| leftover("route table", &table.id, tagged.clone())));
    found.extend(groups.iter().map(|group| leftover("security group", &group.id, with(&group.name))));
    found.extend(secrets.iter().filter(|secret| secret.tagged).map(|secret| {
        let state = if secret.scheduled_for_deletion { "scheduled for deletion" } else { "in use" };
        leftover("secret", &secret.name, with(state))
    }));
    found.extend(subnet_group.iter().map(|g| leftover("database subnet group", &g.name, tagged.clone())));
    found.extend(database.iter().map(|d| leftover("database", &d.identifier, with(&d.status))));
    found.extend(role.iter().map(|role| leftover("role", &role.name, tagged.clone())));
    found.extend(profile.iter().map(|profile| leftover("instance profile", &profile.name, tagged.clone())));
    found.extend(instances.iter().map(|instance| leftover("instance", &instance.id, with(&instance.state))));
    found
}

fn leftover(kind: &'static str, id: &str, why: String) -> Leftover {
    Leftover { kind, id: id.to_owned(), why }
}
