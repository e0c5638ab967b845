//! `aws-resources.env`: the ids of a stack as shell assignments, for scripts that read them.
//!
//! Architecture invariant: the file is an export, and never holds a secret. No task learns from it what exists; the names
//! are read again by [`adopt`](crate::adopt) alone.

use crate::inventory::Inventory;
use crate::spec::Stack;

/// The first line of a file that was written here, so that a hand-kept one is told apart.
pub const HEADER: &str = "# Written by `cargo xtask env`; what exists is known from AWS alone.";

/// One assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The name: `VPC_ID`.
    pub name: String,
    /// The value, without quotes.
    pub value: String,
}

/// Returns the variables of what exists, in the file's order; what does not exist has none.
///
/// The rest of the file's meaning is in `docs/env.md`.
pub fn variables(stack: &Stack, account: &str, inventory: &Inventory) -> Vec<Variable> {
    let subnet = |resource| inventory.subnet(resource).map(|subnet| subnet.id.as_str());
    let table = |resource| inventory.route_table(resource).map(|table| table.id.as_str());
    let group = |resource| inventory.group(resource).map(|group| group.id.as_str());
    let usable = |name: &str| inventory.own_secret(name).filter(|secret| !secret.scheduled_for_deletion);
    let secret = |name: &str| usable(name).map(|secret| secret.arn.as_str());
    let database = inventory.database.as_ref();
    let endpoint = database.and_then(|database| database.endpoint.as_ref());
    let port = endpoint.map(|(_, port)| port.to_string());
    let values = [
        ("STACK_NAME", Some(stack.name.as_str())),
        ("AWS_ACCOUNT_ID", Some(account)),
        ("AWS_REGION", Some(stack.region.as_str())),
        ("VPC_ID", inventory.vpc().map(|vpc| vpc.id.as_str())),
        ("INTERNET_GATEWAY_ID", inventory.gateway().map(|gateway| gateway.id.as_str())),
        ("PUBLIC_SUBNET_ID", subnet("public-subnet")),
        ("PRIVATE_SUBNET_A_ID", subnet("private-subnet-a")),
        ("PRIVATE_SUBNET_B_ID", subnet("private-subnet-b")),
        ("PUBLIC_ROUTE_TABLE_ID", table("public-routes")),
        ("PRIVATE_ROUTE_TABLE_ID", table("private-routes")),
        ("BASTION_SECURITY_GROUP_ID", group("bastion-group")),
        ("RDS_SECURITY_GROUP_ID", group("database-group")),
        ("DB_SUBNET_GROUP_NAME", inventory.subnet_group.as_ref().map(|group| group.name.as_str())),
        ("RDS_INSTANCE_ID", database.map(|database| database.identifier.as_str())),
        ("RDS_ENDPOINT", endpoint.map(|(host, _)| host.as_str())),
        ("RDS_PORT", port.as_deref()),
        ("RDS_MASTER_USER", database.map(|database| database.master_user.as_str())),
        ("MASTER_SECRET_ARN", secret(&stack.master_secret_name())),
        ("BASTION_ROLE_NAME", inventory.role.as_ref().map(|role| role.name.as_str())),
        ("BASTION_INSTANCE_PROFILE_NAME", inventory.profile.as_ref().map(|profile| profile.name.as_str())),
        ("BASTION_INSTANCE_ID", inventory.bastion().map(|bastion| bastion.id.as_str())),
    ];
    let mut variables: Vec<Variable> = values
        .into_iter()
        .filter_map(|(name, value)| Some(Variable { name: name.to_owned(), value: value?.to_owned() }))
        .collect();
    let mut owners: Vec<&str> = stack.tenants.iter().map(|tenant| tenant.owner.as_str()).collect();
    owners.sort_unstable();
    owners.dedup();
    for owner in owners {
        if let Some(arn) = secret(&stack.role_secret_name(owner)) {
            // Roles are of lower-case letters, digits and underscores: no two become one.
            let name = format!("TENANT_SECRET_ARN_{}", owner.to_ascii_uppercase());
            variables.push(Variable { name, value: arn.to_owned() });
        }
    }
    variables
}

/// Returns the file: a header and a line `NAME='value'` for each variable.
pub fn render(variables: &[Variable]) -> String {
    let mut text = format!("{HEADER}\n");
    for Variable { name, value } in variables {
        // A shell reads nothing into single quotes; one inside is closed, escaped and opened again.
        text.push_str(&format!("{name}='{}'\n", value.replace('\'', r"'\''")));
    }
    text
}

/// Tells whether the file was written here.
pub fn is_ours(text: &str) -> bool {
    text.lines().next() == Some(HEADER)
}
