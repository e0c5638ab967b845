use serde::Serialize;

use super::{network, server};
use crate::inventory::{Claim, Inventory, Stray};
use crate::mismatch;
use crate::resource::Resource;
use crate::spec::Stack;

/// A difference that `up` does not change by itself, because that would interrupt or destroy something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// What differs.
    pub resource: Resource,
    /// In what it differs: `class`, `zone`, ..
    pub field: &'static str,
    /// What the stack says.
    pub want: String,
    /// What AWS says.
    pub have: String,
}

/// Returns how what exists differs from the stack in ways that `up` leaves alone.
pub fn drift(stack: &Stack, inventory: &Inventory) -> Vec<Drift> {
    let mut found = Vec::new();
    let mut differ = |resource, field, want: String, have: String| {
        if want != have {
            found.push(Drift { resource, field, want, have });
        }
    };
    if let Some(vpc) = inventory.vpc() {
        differ(Resource::Vpc, "cidr", stack.network.cidr.to_string(), vpc.cidr.clone());
        let full =
            |other: &&crate::inventory::Vpc| other.id != vpc.id && !network::is_bare(inventory, &other.id);
        for other in inventory.vpcs.iter().filter(full) {
            let want = format!("{} alone; run `down`, then `up`", vpc.id);
            differ(Resource::Vpc, "vpc", want, format!("{} has resources in it as well", other.id));
        }
    }
    let [a, b] = &stack.network.private;
    let subnets = [
        (Resource::PublicSubnet, &stack.network.public),
        (Resource::PrivateSubnetA, a),
        (Resource::PrivateSubnetB, b),
    ];
    for (resource, want) in subnets {
        if let Some(have) = inventory.subnet(resource.tag()) {
            differ(resource, "cidr", want.cidr.to_string(), have.cidr.clone());
            differ(resource, "zone", want.zone.clone(), have.zone.clone());
        }
    }
    if let Some(table) = inventory.route_table(Resource::PrivateRoutes.tag()) {
        for route in table.routes.iter().filter(|route| route.gateway.as_deref() != Some("local")) {
            let target = route.gateway.as_deref().unwrap_or("another target");
            let have = format!("{} to {target}", route.destination);
            differ(Resource::PrivateRoutes, "route", "no route out".to_owned(), have);
        }
    }
    if let Some(secret) = inventory.secret(&stack.master_secret_name()).filter(|secret| !secret.tagged) {
        let want = "the stack's tag".to_owned();
        differ(Resource::MasterSecret, "tag", want, format!("{} was not made by this stack", secret.name));
    }
    // The master user is among the database's fields below.
    for line in mismatch::find(stack, inventory).into_iter().flat_map(|mismatch| mismatch.lines) {
        if line.key != "master_user" {
            differ(Resource::MasterSecret, line.key, line.instead_of, line.value);
        }
    }
    if server::is_elsewhere(inventory)
        && let (Some(group), Some(vpc), Some(_)) =
            (&inventory.subnet_group, inventory.vpc(), &inventory.database)
    {
        differ(Resource::SubnetGroup, "vpc", vpc.id.clone(), group.vpc.clone());
    }
    if let Some(have) = inventory.database.as_ref().filter(|database| database.status != "deleting") {
        let want = &stack.database;
        let mut differ = |field, want: String, have: String| differ(Resource::Database, field, want, have);
        if !is_version(&want.engine_version, &have.engine_version) {
            differ("engine_version", want.engine_version.clone(), have.engine_version.clone());
        }
        differ("class", want.class.clone(), have.class.clone());
        differ("storage_gib", want.storage_gib.to_string(), have.storage_gib.to_string());
        differ("master_user", want.master_user.clone(), have.master_user.clone());
        differ("public", false.to_string(), have.public.to_string());
        differ("encrypted", true.to_string(), have.encrypted.to_string());
        if let Some((_, port)) = have.endpoint {
            differ("port", want.port.to_string(), port.to_string());
        }
        if is_broken(&have.status) {
            differ("status", "available".to_owned(), have.status.clone());
        }
    }
    let is_second = |stray: &&Stray| stray.resource == Resource::Database && stray.claim == Claim::OtherName;
    for stray in inventory.strays.iter().filter(is_second) {
        let want = format!("`{}` alone", stack.database.identifier);
        differ(
            Resource::Database,
            "identifier",
            want,
            format!("`{}` carries the stack's tag as well", stray.id),
        );
    }
    if let Some(have) = inventory.bastion() {
        let want = &stack.bastion;
        differ(Resource::Instance, "instance_type", want.instance_type.clone(), have.instance_type.clone());
        if let Some(volume) = have.volume_gib {
            differ(Resource::Instance, "volume_gib", want.volume_gib.to_string(), volume.to_string());
        }
    }
    found
}

/// Returns what to do about differences that neither `up` nor the stack file alone can mend, a sentence each.
pub fn advice(stack: &Stack, inventory: &Inventory) -> Vec<String> {
    let database = inventory.database.as_ref().filter(|database| database.status != "deleting");
    let mut advice = Vec::new();
    if let Some((database, (_, have))) = database.and_then(|one| Some((one, one.endpoint.as_ref()?)))
        && *have != stack.database.port
    {
        advice.push(format!(
            "database `{}` listens on port {have}, and rules and tunnels follow it; the stack file says {want}. Write \
             `port = {have}` there; or `aws rds modify-db-instance --db-instance-identifier {} --db-port-number {want} \
             --region {}`, which restarts the database at once, and `cargo xtask up` once it is available again",
            database.identifier,
            database.identifier,
            stack.region,
            want = stack.database.port,
        ));
    }
    advice.extend(
        mismatch::find(stack, inventory).map(|found| format!("{}; {}", found.sentence, found.hint())),
    );
    advice
}

/// Tells whether `have` is the version that is wanted, or a minor version of it.
fn is_version(want: &str, have: &str) -> bool {
    have.strip_prefix(want).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Tells whether RDS stays in this status until someone does something.
fn is_broken(status: &str) -> bool {
    matches!(status, "failed" | "storage-full" | "restore-error" | "insufficient-capacity")
        || status.starts_with("incompatible-")
        || status.starts_with("inaccessible-encryption-credentials")
}
