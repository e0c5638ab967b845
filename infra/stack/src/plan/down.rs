use super::{Action, Direction, Plan, Retention, SecretRetention, Snapshot, Step, duration, scope};
use crate::inventory::{DatabaseInstance, Instance, Inventory, Peer, Role, SecretEntry, SecurityGroup};
use crate::resource::{Component, Resource};
use crate::spec::{LOG_GROUPS, Stack};

/// Returns what must be removed so that nothing of the components, and of all that depends on them, is left.
///
/// No component means all of them. Of two of a kind both go. What becomes of the data is what the stack says.
pub fn down(stack: &Stack, inventory: &Inventory, only: &[Component]) -> Plan {
    let snapshot = if stack.database.final_snapshot { Snapshot::Dated } else { Snapshot::Skip };
    down_with(inventory, only, &Retention { snapshot, secrets: SecretRetention::Delete })
}

/// As [`down`], with another retention for the data.
pub fn down_with(inventory: &Inventory, only: &[Component], retention: &Retention) -> Plan {
    let mut plan = Plan::new(Direction::Down);
    for resource in scope::with_users(only) {
        let mut add = |action: Action, detail: String| {
            let typical = duration::typical(resource, &action);
            plan.steps.push(Step { resource, action, detail, typical });
        };
        for (id, detail) in existing(inventory, resource, retention) {
            add(Action::Delete { id }, detail);
        }
        if resource == Resource::MasterSecret && retention.secrets == SecretRetention::Keep {
            for secret in inventory.secrets.iter().filter(|s| s.tagged && s.scheduled_for_deletion) {
                add(Action::Restore { id: secret.name.clone() }, "is scheduled for deletion".to_owned());
            }
        }
    }
    plan
}

/// Returns id and detail of everything in the inventory that is this resource.
fn existing(inventory: &Inventory, resource: Resource, retention: &Retention) -> Vec<(String, String)> {
    use Resource as R;
    match resource {
        R::Vpc => inventory.vpcs.iter().map(|vpc| (vpc.id.clone(), vpc.cidr.clone())).collect(),
        R::InternetGateway => {
            let detail = |vpc: &Option<String>| match vpc {
                Some(vpc) => format!("attached to {vpc}"),
                None => "attached to nothing".to_owned(),
            };
            inventory.gateways.iter().map(|g| (g.id.clone(), detail(&g.attached))).collect()
        }
        R::PublicSubnet | R::PrivateSubnetA | R::PrivateSubnetB => inventory
            .subnets
            .iter()
            .filter(|subnet| subnet_kind(&subnet.resource) == resource)
            .map(|subnet| (subnet.id.clone(), format!("{} in {}", subnet.cidr, subnet.zone)))
            .collect(),
        R::PublicRoutes | R::PrivateRoutes => inventory
            .route_tables
            .iter()
            .filter(|table| table_kind(&table.resource) == resource)
            .map(|table| (table.id.clone(), format!("{} associations", table.associations.len())))
            .collect(),
        R::BastionGroup | R::DatabaseGroup => {
            groups(inventory, resource).map(|group| (group.id.clone(), group.name.clone())).collect()
        }
        R::BastionRules => cross_referencing(inventory, R::BastionGroup),
        R::DatabaseRules => cross_referencing(inventory, R::DatabaseGroup),
        R::MasterSecret if retention.secrets == SecretRetention::Keep => Vec::new(),
        R::MasterSecret => inventory
            .secrets
            .iter()
            .filter(|s| s.tagged)
            .map(|s| (s.name.clone(), secret_detail(s, retention)))
            .collect(),
        R::SubnetGroup => {
            inventory.subnet_group.iter().map(|g| (g.name.clone(), format!("in {}", g.vpc))).collect()
        }
        R::Database => inventory
            .database
            .iter()
            .map(|database| (database.identifier.clone(), database_detail(database, retention)))
            .collect(),
        R::MonitoringRole => inventory.monitoring_role.iter().map(policies).collect(),
        R::LogGroups => log_groups(inventory),
        R::Topic => inventory
            .topic
            .iter()
            .map(|topic| (topic.arn.clone(), format!("{} subscriptions", topic.subscriptions.len())))
            .collect(),
        R::Alarms => inventory.alarms.iter().map(|alarm| (alarm.name.clone(), alarm.state.clone())).collect(),
        R::Role => inventory.role.iter().map(policies).collect(),
        R::Profile => {
            inventory.profile.iter().map(|profile| (profile.name.clone(), profile.roles.join(", "))).collect()
        }
        R::Instance => {
            let detail = |i: &Instance| format!("{}, {}", i.instance_type, i.state);
            inventory.instances.iter().map(|instance| (instance.id.clone(), detail(instance))).collect()
        }
        // An attribute of the VPC, and a proof: neither is a thing that could be left.
        R::VpcDns | R::Session => Vec::new(),
    }
}

fn policies(role: &Role) -> (String, String) {
    (role.name.clone(), role.policies.join(", "))
}

/// Returns the one step for all log groups: a database makes more of them until it is gone.
fn log_groups(inventory: &Inventory) -> Vec<(String, String)> {
    let folder = |name: &String| name.rfind('/').map(|at| name[..=at].to_owned());
    let logging = inventory.database.iter().filter(|database| !database.logs.is_empty());
    let prefix = inventory
        .log_groups
        .iter()
        .find_map(folder)
        .or_else(|| logging.map(|database| format!("{LOG_GROUPS}{}/", database.identifier)).next());
    let detail = match inventory.log_groups.len() {
        0 => "whatever RDS makes until it is gone".to_owned(),
        count => format!("{count} of them"),
    };
    prefix.map(|prefix| (prefix, detail)).into_iter().collect()
}

fn secret_detail(secret: &SecretEntry, retention: &Retention) -> String {
    match (&retention.secrets, secret.scheduled_for_deletion) {
        (SecretRetention::Recoverable { days }, false) => format!("can be restored for {days} days"),
        (SecretRetention::Recoverable { .. }, true) => "is in its recovery window already".to_owned(),
        (SecretRetention::Delete | SecretRetention::Keep, true) => {
            "without waiting for its recovery window".to_owned()
        }
        (SecretRetention::Delete | SecretRetention::Keep, false) => String::new(),
    }
}

fn database_detail(database: &DatabaseInstance, retention: &Retention) -> String {
    if database.status == "deleting" {
        return "is being deleted; waits until it is gone".to_owned();
    }
    let protection = if database.deletion_protection { "protected against deletion; " } else { "" };
    let snapshot = match &retention.snapshot {
        Snapshot::Skip => "WITHOUT a final snapshot".to_owned(),
        Snapshot::Dated => "with a final snapshot".to_owned(),
        Snapshot::Named(name) => format!("with the final snapshot `{name}`"),
    };
    format!("{protection}{snapshot}")
}

/// A subnet whose tag we do not know is removed as early as any subnet can be.
fn subnet_kind(tag: &str) -> Resource {
    let kinds = [Resource::PrivateSubnetA, Resource::PrivateSubnetB];
    kinds.into_iter().find(|kind| kind.tag() == tag).unwrap_or(Resource::PublicSubnet)
}

fn table_kind(tag: &str) -> Resource {
    if tag == Resource::PrivateRoutes.tag() { Resource::PrivateRoutes } else { Resource::PublicRoutes }
}

fn groups(inventory: &Inventory, kind: Resource) -> impl Iterator<Item = &SecurityGroup> {
    let is_database = kind == Resource::DatabaseGroup;
    inventory.groups.iter().filter(move |g| (g.resource == Resource::DatabaseGroup.tag()) == is_database)
}

/// Returns the groups with rules that name other groups: those rules go first, then the groups in any order.
fn cross_referencing(inventory: &Inventory, kind: Resource) -> Vec<(String, String)> {
    let named = |group: &SecurityGroup| {
        let others = group.rules.iter().filter(|rule| match &rule.peer {
            Peer::Group(other) => *other != group.id,
            Peer::Cidr(_) | Peer::Ipv6(_) | Peer::PrefixList(_) => false,
        });
        others.count()
    };
    groups(inventory, kind)
        .filter(|group| named(group) > 0)
        .map(|group| (group.id.clone(), format!("{} of them name other groups", named(group))))
        .collect()
}
