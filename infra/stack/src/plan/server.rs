//! What is to be done about the secret, the database and the bastion.

use super::unknown::Unknown;
use super::verdict::{Surplus, Verdict};
use crate::inventory::{DatabaseInstance, Instance, Inventory, Role};
use crate::resource::Resource;
use crate::spec::{REGION_TAG, SSM_POLICY, Stack};

pub(super) fn secret(stack: &Stack, inventory: &Inventory) -> Verdict {
    let name = stack.master_secret_name();
    let exists = || inventory.database.as_ref().is_some_and(|database| database.status != "deleting");
    match inventory.secret(&name) {
        None if exists() => Verdict::Create(format!("{name}, and a new password for the master user")),
        None => Verdict::Create(name),
        Some(secret) if !secret.tagged => {
            let owner = secret.owner.as_ref().map_or("no stack's tag".to_owned(), |owner| {
                format!("the tag of stack `{}`", owner.escape_debug())
            });
            Verdict::Repair(format!("{name} has {owner}, and is not this stack's"))
        }
        Some(secret) if secret.scheduled_for_deletion => {
            Verdict::Repair(format!("{name} is scheduled for deletion, will be restored"))
        }
        Some(_) => Verdict::Fine,
    }
}

pub(super) fn subnet_group(stack: &Stack, inventory: &Inventory) -> Verdict {
    let Some(group) = &inventory.subnet_group else {
        return Verdict::Create(stack.subnet_group_name());
    };
    if is_elsewhere(inventory) {
        // In use it cannot be replaced; `drift` says so.
        return match inventory.database {
            Some(_) => Verdict::Fine,
            None => Verdict::Create(stack.subnet_group_name()),
        };
    }
    let absent = |resource: &Resource| {
        !inventory.subnet(resource.tag()).is_some_and(|subnet| group.subnets.contains(&subnet.id))
    };
    let absent: Vec<String> = [Resource::PrivateSubnetA, Resource::PrivateSubnetB]
        .iter()
        .filter(|resource| absent(resource))
        .map(|resource| format!("{resource} is not in it"))
        .collect();
    if absent.is_empty() { Verdict::Fine } else { Verdict::Repair(absent.join("; ")) }
}

/// Returns the subnet group of a VPC that is not ours any more: it cannot be moved, only replaced.
pub(super) fn surplus_subnet_group(_: &Stack, inventory: &Inventory) -> Vec<Surplus> {
    match (&inventory.subnet_group, &inventory.database) {
        (Some(group), None) if is_elsewhere(inventory) => {
            vec![(group.name.clone(), format!("it is in {}, not in the stack's vpc", group.vpc))]
        }
        (Some(_) | None, _) => Vec::new(),
    }
}

/// Tells whether the database subnet group is in another VPC than the stack's.
pub(super) fn is_elsewhere(inventory: &Inventory) -> bool {
    let vpc = inventory.vpc().map(|vpc| vpc.id.as_str());
    inventory.subnet_group.iter().any(|group| Some(group.vpc.as_str()) != vpc)
}

pub(super) fn database(stack: &Stack, inventory: &Inventory, closes: &[Unknown]) -> Verdict {
    let want = &stack.database;
    let size = format!("postgres {}, {}, {} GiB", want.engine_version, want.class, want.storage_gib);
    let Some(database) = &inventory.database else {
        return Verdict::Create(size);
    };
    let wrong = repairable(stack, inventory, database, closes);
    match database.status.as_str() {
        "deleting" => Verdict::Create(format!("{size}; waits until the old one is gone")),
        "stopped" | "stopping" => Verdict::Start(
            [format!("is {}", database.status)].into_iter().chain(wrong).collect::<Vec<_>>().join("; "),
        ),
        _ if !wrong.is_empty() => Verdict::Repair(wrong.join("; ")),
        status if is_settled(status) => Verdict::Fine,
        status => Verdict::Wait(format!("is {status}")),
    }
}

/// Tells whether the database serves and may be changed in this status.
pub fn is_settled(status: &str) -> bool {
    matches!(status, "available" | "backing-up" | "storage-optimization")
}

/// Returns what differs and can be changed in place without a surprise.
fn repairable(
    stack: &Stack,
    inventory: &Inventory,
    database: &DatabaseInstance,
    closes: &[Unknown],
) -> Vec<String> {
    let mut wrong = Vec::new();
    match (database.deletion_protection, stack.database.deletion_protection) {
        (false, true) => wrong.push("deletion protection is off and will be turned on".to_owned()),
        (true, false) => wrong.push("deletion protection is on and will be turned off".to_owned()),
        (true, true) | (false, false) => (),
    }
    let group = inventory.group(Resource::DatabaseGroup.tag()).map(|group| &group.id);
    if !group.is_some_and(|group| database.groups.contains(group)) {
        wrong.push("is not in the database security group".to_owned());
    }
    wrong.extend(taken_out(closes, Resource::Database, &database.identifier));
    wrong.extend(monitoring(stack, inventory, database));
    let (want, have) = (&stack.database.logs, &database.logs);
    for log in want.iter().filter(|log| !have.contains(log)) {
        wrong.push(format!("its log {log} does not go to CloudWatch"));
    }
    for log in have.iter().filter(|log| !want.contains(log)) {
        wrong.push(format!("its log {log} goes to CloudWatch and will not any more"));
    }
    wrong
}

/// Returns the groups that the thing is to be taken out of.
fn taken_out(closes: &[Unknown], resource: Resource, id: &str) -> Vec<String> {
    let groups = closes.iter().filter_map(|one| one.group_of(resource, id));
    groups.map(|group| format!("is in {group} as well and will be taken out")).collect()
}

fn monitoring(stack: &Stack, inventory: &Inventory, database: &DatabaseInstance) -> Option<String> {
    let (want, have) = (stack.database.monitoring_interval, database.monitoring_interval);
    if want != have {
        let words = |seconds| match seconds {
            0 => "off".to_owned(),
            seconds => format!("every {seconds} s"),
        };
        return Some(format!("enhanced monitoring is {}, not {}", words(have), words(want)));
    }
    let role = inventory.monitoring_role.as_ref().map(|role| &role.arn);
    (want > 0 && (role.is_none() || database.monitoring_role.as_ref() != role))
        .then(|| "enhanced monitoring has another role than the stack's".to_owned())
}

pub(super) fn role(stack: &Stack, inventory: &Inventory) -> Verdict {
    match &inventory.role {
        None => Verdict::Create(format!("{} with {SSM_POLICY}", stack.role_name())),
        Some(role) => role_flaws(stack, role, SSM_POLICY),
    }
}

/// Returns what is wrong with a role that is there: its policy, or a region that it does not say.
pub(super) fn role_flaws(stack: &Stack, role: &Role, policy: &str) -> Verdict {
    let mut wrong = Vec::new();
    if !role.policies.iter().any(|attached| attached == policy) {
        wrong.push(format!("{policy} is not attached"));
    }
    wrong.extend(regionless(stack, &role.name, role.has_region));
    if wrong.is_empty() { Verdict::Fine } else { Verdict::Repair(wrong.join("; ")) }
}

/// What an earlier version made says no region, and is used as it is.
fn regionless(stack: &Stack, name: &str, has_region: bool) -> Option<String> {
    (!has_region).then(|| format!("{name} gets the tag {REGION_TAG} {}", stack.region))
}

pub(super) fn profile(stack: &Stack, inventory: &Inventory) -> Verdict {
    let role = inventory.role_name(stack);
    let Some(profile) = &inventory.profile else {
        return Verdict::Create(format!("{} with the role in it", stack.profile_name()));
    };
    let mut wrong = Vec::new();
    match profile.roles.iter().find(|other| **other != role) {
        Some(other) => wrong.push(format!("holds role {other} instead")),
        None if profile.roles.is_empty() => wrong.push("role is not in the profile".to_owned()),
        None => (),
    }
    wrong.extend(regionless(stack, &profile.name, profile.has_region));
    if wrong.is_empty() { Verdict::Fine } else { Verdict::Repair(wrong.join("; ")) }
}

pub(super) fn instance(stack: &Stack, inventory: &Inventory, closes: &[Unknown]) -> Verdict {
    let kind = &stack.bastion.instance_type;
    let Some(instance) = inventory.bastion() else {
        return Verdict::Create(kind.clone());
    };
    if let Some(flaw) = flaw(inventory, instance) {
        return Verdict::Create(format!("{kind}, because {} {flaw}", instance.id));
    }
    let wrong = taken_out(closes, Resource::Instance, &instance.id);
    let with = |state: String| [state].into_iter().chain(wrong.clone()).collect::<Vec<_>>().join("; ");
    match instance.state.as_str() {
        "running" if wrong.is_empty() => Verdict::Fine,
        "running" => Verdict::Repair(format!("{} {}", instance.id, wrong.join("; "))),
        "stopped" | "stopping" => Verdict::Start(with(format!("{} is {}", instance.id, instance.state))),
        state => Verdict::Wait(with(format!("{} is {state}", instance.id))),
    }
}

/// Returns the instances that must go: those beyond the first, and the first as well if it cannot be mended.
pub(super) fn surplus_instances(_: &Stack, inventory: &Inventory) -> Vec<Surplus> {
    let Some(bastion) = inventory.bastion() else {
        return Vec::new();
    };
    let flaw = flaw(inventory, bastion);
    let staying = |instance: &&Instance| instance.state != "shutting-down";
    let reason = |instance: &Instance| match &flaw {
        Some(flaw) if instance.id == bastion.id => Some(flaw.clone()),
        None if instance.id == bastion.id => None,
        Some(_) | None => Some("is a second bastion".to_owned()),
    };
    let instances = inventory.instances.iter().filter(staying);
    instances.filter_map(|instance| Some((instance.id.clone(), reason(instance)?))).collect()
}

/// Returns why the instance can never become the stack's bastion: what it has was fixed at its launch.
fn flaw(inventory: &Inventory, instance: &Instance) -> Option<String> {
    if inventory.profile.as_ref().map(|p| &p.arn) != instance.profile_arn.as_ref()
        || inventory.profile.is_none()
    {
        return Some("was launched without the instance profile".to_owned());
    }
    let subnet = inventory.subnet(Resource::PublicSubnet.tag()).map(|subnet| &subnet.id);
    if subnet.is_none() || instance.subnet.as_ref() != subnet {
        return Some("is not in the public subnet".to_owned());
    }
    let group = inventory.group(Resource::BastionGroup.tag());
    if !group.is_some_and(|group| instance.groups.contains(&group.id)) {
        return Some("is not in the bastion security group".to_owned());
    }
    (instance.state == "running" && instance.public_ip.is_none())
        .then(|| "has no public IPv4 address".to_owned())
}

pub(super) fn session(stack: &Stack, inventory: &Inventory) -> Verdict {
    let is_settled = matches!(instance(stack, inventory, &[]), Verdict::Fine)
        && surplus_instances(stack, inventory).is_empty();
    let agent = inventory
        .agent
        .as_ref()
        .filter(|agent| inventory.bastion().is_some_and(|bastion| bastion.id == agent.instance));
    match agent.map(|agent| agent.ping_status.as_str()) {
        Some("Online") if is_settled => Verdict::Fine,
        Some(status) if is_settled => Verdict::Wait(format!("the agent is {status}")),
        Some(_) | None => Verdict::Wait("until Session Manager can open one".to_owned()),
    }
}
