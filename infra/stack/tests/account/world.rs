//! An account that does what a plan says, and panics where AWS would refuse.

use stack::inventory::*;
use stack::plan::{Action, Plan, Step, Unknown, bastion_rules, database_rules, leftover_defaults};
use stack::{Inventory, Resource, Stack};

use crate::fixture;

/// Carries the plan out, each time with any one of the steps that may begin: `picks` says which.
pub(crate) fn apply(stack: &Stack, inventory: &mut Inventory, plan: &Plan, picks: &[usize]) {
    let mut done: Vec<usize> = Vec::new();
    while done.len() < plan.steps.len() {
        let may_begin = |index: &usize| plan.needs(*index).iter().all(|need| done.contains(need));
        let ready: Vec<usize> =
            (0..plan.steps.len()).filter(|index| !done.contains(index)).filter(may_begin).collect();
        assert!(!ready.is_empty(), "the steps wait for each other: {plan:?}");
        let pick = picks.get(done.len() % picks.len().max(1)).copied().unwrap_or(0);
        let index = ready[pick % ready.len()];
        carry_out(stack, inventory, &plan.steps[index]);
        close(inventory, plan.steps[index].resource, &plan.closes);
        done.push(index);
    }
}

fn carry_out(stack: &Stack, inventory: &mut Inventory, step: &Step) {
    match &step.action {
        Action::Delete { id } => delete(inventory, step.resource, id),
        Action::Restore { id } => {
            let secret = inventory.secrets.iter_mut().find(|secret| secret.name == *id).unwrap();
            assert!(secret.scheduled_for_deletion, "there is nothing to restore");
            secret.scheduled_for_deletion = false;
        }
        Action::Create | Action::Repair | Action::Start | Action::Wait => {
            for need in step.resource.needs().iter().filter(|need| stack.wants(**need)) {
                assert!(exists(stack, inventory, *need), "{} before {need}", step.resource);
            }
            ensure(stack, inventory, step.resource, &step.action);
        }
    }
}

/// Takes away what the step's plan closes.
fn close(inventory: &mut Inventory, resource: Resource, closes: &[Unknown]) {
    let closes: Vec<&Unknown> = closes.iter().filter(|one| one.resource == resource).collect();
    for group in &mut inventory.groups {
        let id = group.id.clone();
        group.rules.retain(|rule| !closes.iter().any(|one| one.rule_of(&id) == Some(rule)));
    }
}

fn exists(stack: &Stack, inventory: &Inventory, resource: Resource) -> bool {
    use Resource as R;
    match resource {
        R::Vpc | R::VpcDns => inventory.vpc().is_some(),
        R::InternetGateway => inventory.gateway().is_some_and(|gateway| gateway.attached.is_some()),
        R::PublicSubnet | R::PrivateSubnetA | R::PrivateSubnetB => inventory.subnet(resource.tag()).is_some(),
        R::PublicRoutes | R::PrivateRoutes => {
            inventory.route_table(resource.tag()).is_some_and(|table| !table.associations.is_empty())
        }
        R::BastionGroup | R::DatabaseGroup => inventory.group(resource.tag()).is_some(),
        R::BastionRules => inventory.group("bastion-group").is_some_and(|group| !group.rules.is_empty()),
        R::DatabaseRules => inventory.group("database-group").is_some_and(|group| !group.rules.is_empty()),
        R::MasterSecret => {
            inventory.secret(&stack.master_secret_name()).is_some_and(|secret| !secret.scheduled_for_deletion)
        }
        R::SubnetGroup => inventory.subnet_group.is_some(),
        R::Database => inventory.database.is_some(),
        R::MonitoringRole => inventory.monitoring_role.as_ref().is_some_and(|role| !role.policies.is_empty()),
        R::LogGroups => true,
        R::Topic => inventory.topic.is_some(),
        R::Alarms => inventory.alarms.len() == 4,
        R::Role => inventory.role.as_ref().is_some_and(|role| !role.policies.is_empty()),
        R::Profile => inventory.profile.as_ref().is_some_and(|profile| !profile.roles.is_empty()),
        R::Instance => inventory.bastion().is_some_and(|bastion| bastion.state == "running"),
        R::Session => inventory.agent.is_some(),
    }
}

fn ensure(stack: &Stack, inventory: &mut Inventory, resource: Resource, action: &Action) {
    use Resource as R;
    let whole = fixture::complete(stack);
    let vpc = inventory.vpc().map(|vpc| vpc.id.clone()).unwrap_or_default();
    let subnet = |inventory: &Inventory, tag: &str| inventory.subnet(tag).unwrap().id.clone();
    let group = |inventory: &Inventory, tag: &str| inventory.group(tag).map(|group| group.id.clone());
    match resource {
        R::Vpc => inventory.vpcs.push(Vpc { dns_hostnames: Some(false), ..fixture::vpc("vpc-new") }),
        R::VpcDns => {
            let vpc = inventory.vpcs.iter_mut().find(|other| other.id == vpc).unwrap();
            (vpc.dns_support, vpc.dns_hostnames) = (Some(true), Some(true));
        }
        R::InternetGateway => {
            let id = inventory.gateway().map(|gateway| gateway.id.clone()).unwrap_or("igw-new".into());
            inventory.gateways.retain(|gateway| gateway.id != id);
            inventory.gateways.push(fixture::gateway(&id, Some(&vpc)));
        }
        R::PublicSubnet | R::PrivateSubnetA | R::PrivateSubnetB => {
            assert!(inventory.subnet(resource.tag()).is_none());
            let like = whole.subnets.iter().find(|subnet| subnet.resource == resource.tag()).unwrap().clone();
            inventory.subnets.push(Subnet { id: format!("{}-new", like.id), vpc, ..like });
        }
        R::PublicRoutes | R::PrivateRoutes => {
            let (subnets, gateway) = if resource == R::PublicRoutes {
                (vec!["public-subnet"], inventory.gateway().map(|gateway| gateway.id.clone()))
            } else {
                (vec!["private-subnet-a", "private-subnet-b"], None)
            };
            let id = inventory.route_table(resource.tag()).map(|table| table.id.clone());
            let id = id.unwrap_or(format!("{}-new", resource.tag()));
            let associations = subnets
                .into_iter()
                .map(|tag| Association { id: format!("rtbassoc-{tag}"), subnet: subnet(inventory, tag) })
                .collect();
            let routes = gateway
                .map(|id| Route { destination: "0.0.0.0/0".into(), gateway: Some(id), blackhole: false })
                .into_iter()
                .collect();
            inventory.route_tables.retain(|table| table.id != id);
            let table = RouteTable { id, vpc, resource: resource.tag().into(), associations, routes };
            inventory.route_tables.push(table);
        }
        R::BastionGroup | R::DatabaseGroup => {
            assert!(inventory.group(resource.tag()).is_none());
            let like = whole.groups.iter().find(|group| group.resource == resource.tag()).unwrap().clone();
            let rules = vec![everything_out()];
            inventory.groups.push(SecurityGroup { id: format!("{}-new", like.id), vpc, rules, ..like });
        }
        R::BastionRules | R::DatabaseRules => {
            let bastion = group(inventory, "bastion-group").unwrap();
            let database = group(inventory, "database-group").unwrap();
            let (own, rules) = if resource == R::BastionRules {
                (&bastion, bastion_rules(stack, &bastion, &database))
            } else {
                (&database, database_rules(stack, &bastion, &database))
            };
            let group = inventory.groups.iter_mut().find(|group| group.id == *own).unwrap();
            let defaults = leftover_defaults(&group.rules, &rules);
            group.rules.retain(|rule| !defaults.contains(rule) && !rules.contains(rule));
            group.rules.extend(rules);
        }
        R::MasterSecret => {
            let name = stack.master_secret_name();
            inventory.secrets.retain(|secret| secret.name != name);
            inventory.secrets.push(fixture::secret(&name));
        }
        R::SubnetGroup => {
            if *action == Action::Create {
                assert!(inventory.subnet_group.is_none(), "the old subnet group is still there");
            }
            let subnets = vec![subnet(inventory, "private-subnet-a"), subnet(inventory, "private-subnet-b")];
            inventory.subnet_group =
                Some(SubnetGroup { vpc, subnets, ..whole.subnet_group.clone().unwrap() });
        }
        R::Database => {
            inventory.database = Some(fixture::database(stack, &group(inventory, "database-group").unwrap()));
        }
        R::MonitoringRole => inventory.monitoring_role = whole.monitoring_role,
        R::LogGroups => panic!("RDS makes them"),
        R::Topic => inventory.topic = whole.topic,
        R::Alarms => inventory.alarms = whole.alarms,
        R::Role => inventory.role = whole.role,
        R::Profile => inventory.profile = whole.profile,
        R::Instance => {
            if *action == Action::Create {
                assert!(inventory.bastion().is_none(), "a second bastion would be made");
                let group = group(inventory, "bastion-group").unwrap();
                let subnet = subnet(inventory, "public-subnet");
                inventory.instances.push(fixture::instance("i-new", &subnet, &group));
            } else {
                let id = inventory.bastion().unwrap().id.clone();
                let bastion = inventory.instances.iter_mut().find(|other| other.id == id).unwrap();
                bastion.state = "running".into();
                bastion.public_ip = Some("203.0.113.8".into());
            }
        }
        R::Session => {
            let instance = inventory.bastion().unwrap().id.clone();
            inventory.agent = Some(Agent { instance, ping_status: "Online".into(), version: None });
        }
    }
}

fn delete(inventory: &mut Inventory, resource: Resource, id: &str) {
    use Resource as R;
    let before = inventory.clone();
    let absent =
        |is_absent: bool, what: &str| assert!(is_absent, "{resource} `{id}` is deleted before {what}");
    match resource {
        R::Vpc => {
            absent(!inventory.subnets.iter().any(|s| s.vpc == id), "its subnets");
            absent(!inventory.route_tables.iter().any(|t| t.vpc == id), "its route tables");
            absent(!inventory.groups.iter().any(|g| g.vpc == id), "its groups");
            absent(!inventory.gateways.iter().any(|g| g.attached.as_deref() == Some(id)), "its gateway");
            inventory.vpcs.retain(|vpc| vpc.id != id);
        }
        R::InternetGateway => {
            let attached = inventory.gateways.iter().any(|g| g.id == id && g.attached.is_some());
            absent(!attached || inventory.instances.is_empty(), "the addresses mapped through it");
            inventory.gateways.retain(|gateway| gateway.id != id);
        }
        R::PublicSubnet | R::PrivateSubnetA | R::PrivateSubnetB => {
            absent(!inventory.instances.iter().any(|i| i.subnet.as_deref() == Some(id)), "its instance");
            let grouped = inventory.subnet_group.iter().any(|g| g.subnets.iter().any(|subnet| subnet == id));
            absent(!grouped, "its subnet group");
            inventory.subnets.retain(|subnet| subnet.id != id);
        }
        R::PublicRoutes | R::PrivateRoutes => inventory.route_tables.retain(|table| table.id != id),
        R::BastionGroup | R::DatabaseGroup => {
            let used = |groups: &[String]| groups.iter().any(|group| group == id);
            absent(!inventory.instances.iter().any(|i| used(&i.groups)), "its instance");
            absent(!inventory.database.iter().any(|d| used(&d.groups)), "its database");
            let named = |rule: &Rule| matches!(&rule.peer, Peer::Group(other) if other == id);
            let others = inventory.groups.iter().filter(|group| group.id != id);
            absent(!others.flat_map(|group| &group.rules).any(named), "the rules that name it");
            inventory.groups.retain(|group| group.id != id);
        }
        R::BastionRules | R::DatabaseRules => {
            let group = inventory.groups.iter_mut().find(|group| group.id == id).unwrap();
            group.rules.retain(|rule| !matches!(&rule.peer, Peer::Group(other) if *other != group.id));
        }
        R::MasterSecret => {
            absent(inventory.database.is_none(), "the database");
            inventory.secrets.retain(|secret| secret.name != id);
        }
        R::SubnetGroup => {
            absent(inventory.database.is_none(), "the database");
            inventory.subnet_group = None;
        }
        R::Database => {
            // Its last lines.
            let logs = inventory.database.take().map(|database| database.logs).unwrap_or_default();
            inventory.log_groups = logs.iter().map(|log| format!("{}{log}", fixture::LOGS)).collect();
        }
        R::MonitoringRole => {
            absent(!inventory.database.iter().any(|d| d.monitoring_interval > 0), "the database");
            inventory.monitoring_role = None;
        }
        R::LogGroups => {
            absent(inventory.database.is_none(), "the database");
            inventory.log_groups.retain(|name| !name.starts_with(id));
            return;
        }
        R::Topic => {
            absent(inventory.alarms.is_empty(), "the alarms that tell it");
            inventory.topic = None;
        }
        R::Alarms => inventory.alarms.retain(|alarm| alarm.name != id),
        R::Role => {
            absent(inventory.profile.is_none(), "the profile");
            inventory.role = None;
        }
        R::Profile => {
            absent(inventory.instances.is_empty(), "the instance");
            inventory.profile = None;
        }
        R::Instance => {
            inventory.instances.retain(|instance| instance.id != id);
            inventory.agent.take_if(|agent| agent.instance == id);
        }
        R::VpcDns | R::Session => panic!("there is nothing to delete"),
    }
    assert_ne!(*inventory, before, "{resource} `{id}` was not there");
}

/// The rule that AWS puts into every new group.
pub(crate) fn everything_out() -> Rule {
    Rule {
        direction: Direction::Egress,
        protocol: "-1".into(),
        ports: None,
        peer: Peer::Cidr("0.0.0.0/0".into()),
        description: None,
    }
}
