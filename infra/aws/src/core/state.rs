//! What exists, as the steps of a running plan see and change it.

use stack::inventory::{
    Agent, Alarm, DatabaseInstance, Instance, InternetGateway, Peer, Profile, Role, RouteTable, Rule,
    SecretEntry, SecurityGroup, Subnet, SubnetGroup, Topic, Vpc,
};
use stack::receipt::{Evidence, Gone, Kept, Unseen};
use stack::{Inventory, Resource, Secret};

/// The inventory, what the steps have proved, and the master password, which no inventory may hold.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) inventory: Inventory,
    /// The master password, if a step of this run has seen it.
    pub(crate) master_password: Option<Secret>,
    /// What the steps of this run have proved to be deleted.
    pub(crate) evidence: Evidence,
}

/// What a step has changed.
pub(crate) enum Change {
    Vpc(Vpc),
    Subnet(Subnet),
    Gateway(InternetGateway),
    RouteTable(RouteTable),
    Group(SecurityGroup),
    MasterSecret(SecretEntry, Secret),
    SubnetGroup(SubnetGroup),
    Database(Box<DatabaseInstance>),
    MonitoringRole(Role),
    LogGroups(Vec<String>),
    Topic(Topic),
    Alarms(Vec<Alarm>),
    Role(Role),
    Profile(Profile),
    Instance(Box<Instance>),
    Session(Box<Instance>, Agent),
    /// The group has no rules left that name another group.
    RulesRemoved(String),
    Gone(Resource, String, Box<Proved>),
    Restored(String),
}

/// What a deletion has proved.
#[derive(Default)]
pub(crate) struct Proved {
    pub(crate) gone: Option<Gone>,
    pub(crate) kept: Option<Kept>,
    pub(crate) unseen: Option<Unseen>,
}

impl State {
    /// Applies what a step has changed.
    pub(crate) fn merge(&mut self, change: Change) {
        let inventory = &mut self.inventory;
        match change {
            Change::Vpc(vpc) => put(&mut inventory.vpcs, vpc, |vpc| &vpc.id),
            Change::Subnet(subnet) => put(&mut inventory.subnets, subnet, |subnet| &subnet.id),
            Change::Gateway(gateway) => put(&mut inventory.gateways, gateway, |gateway| &gateway.id),
            Change::RouteTable(table) => put(&mut inventory.route_tables, table, |table| &table.id),
            Change::Group(group) => put(&mut inventory.groups, group, |group| &group.id),
            Change::MasterSecret(secret, password) => {
                put(&mut inventory.secrets, secret, |secret| &secret.name);
                self.master_password = Some(password);
            }
            Change::SubnetGroup(group) => inventory.subnet_group = Some(group),
            Change::Database(database) => inventory.database = Some(*database),
            Change::MonitoringRole(role) => inventory.monitoring_role = Some(role),
            Change::LogGroups(names) => inventory.log_groups = names,
            Change::Topic(topic) => inventory.topic = Some(topic),
            Change::Alarms(alarms) => inventory.alarms = alarms,
            Change::Role(role) => inventory.role = Some(role),
            Change::Profile(profile) => inventory.profile = Some(profile),
            Change::Instance(instance) => put(&mut inventory.instances, *instance, |instance| &instance.id),
            Change::Session(instance, agent) => {
                put(&mut inventory.instances, *instance, |instance| &instance.id);
                inventory.agent = Some(agent);
            }
            Change::RulesRemoved(id) => {
                let groups = inventory.groups.iter_mut().filter(|group| group.id == id);
                groups.for_each(|group| group.rules.retain(|rule| !names_another(rule, &id)));
            }
            Change::Gone(resource, id, proved) => {
                let Proved { gone, kept, unseen } = *proved;
                self.evidence.gone.extend(gone);
                self.evidence.kept.extend(kept);
                self.evidence.unseen.extend(unseen);
                remove(inventory, resource, &id);
            }
            Change::Restored(name) => {
                let secrets = inventory.secrets.iter_mut().filter(|secret| secret.name == name);
                secrets.for_each(|secret| secret.scheduled_for_deletion = false);
            }
        }
    }
}

/// Tells whether the rule of a group names another group.
pub(crate) fn names_another(rule: &Rule, id: &str) -> bool {
    matches!(&rule.peer, Peer::Group(other) if other != id)
}

/// Sorts all lists, so that two looks at the same resources are equal.
pub(crate) fn sort(inventory: &mut Inventory) {
    inventory.vpcs.sort_by(|a, b| a.id.cmp(&b.id));
    inventory.subnets.sort_by(|a, b| (&a.resource, &a.id).cmp(&(&b.resource, &b.id)));
    inventory.gateways.sort_by(|a, b| a.id.cmp(&b.id));
    inventory.route_tables.sort_by(|a, b| (&a.resource, &a.id).cmp(&(&b.resource, &b.id)));
    for table in &mut inventory.route_tables {
        table.associations.sort_by(|a, b| a.id.cmp(&b.id));
        table.routes.sort_by(|a, b| a.destination.cmp(&b.destination));
    }
    inventory.groups.sort_by(|a, b| (&a.resource, &a.id).cmp(&(&b.resource, &b.id)));
    inventory.groups.iter_mut().for_each(|group| group.rules.sort());
    inventory.secrets.sort_by(|a, b| a.name.cmp(&b.name));
    inventory.log_groups.sort();
    inventory.alarms.sort_by(|a, b| a.name.cmp(&b.name));
    inventory.instances.sort_by(|a, b| a.id.cmp(&b.id));
    inventory.volumes.sort_by(|a, b| a.id.cmp(&b.id));
    inventory.strays.sort();
}

fn put<T>(list: &mut Vec<T>, entry: T, id: fn(&T) -> &String) {
    match list.iter_mut().find(|other| id(other) == id(&entry)) {
        Some(other) => *other = entry,
        None => list.push(entry),
    }
}

fn remove(inventory: &mut Inventory, resource: Resource, id: &str) {
    use Resource as R;
    match resource {
        R::Vpc => inventory.vpcs.retain(|vpc| vpc.id != id),
        R::InternetGateway => inventory.gateways.retain(|gateway| gateway.id != id),
        R::PublicSubnet | R::PrivateSubnetA | R::PrivateSubnetB => inventory.subnets.retain(|s| s.id != id),
        R::PublicRoutes | R::PrivateRoutes => inventory.route_tables.retain(|table| table.id != id),
        R::BastionGroup | R::DatabaseGroup => inventory.groups.retain(|group| group.id != id),
        R::MasterSecret => inventory.secrets.retain(|secret| secret.name != id),
        R::SubnetGroup => inventory.subnet_group = None,
        R::Database => inventory.database = None,
        R::MonitoringRole => inventory.monitoring_role = None,
        R::LogGroups => inventory.log_groups.clear(),
        R::Topic => inventory.topic = None,
        R::Alarms => inventory.alarms.retain(|alarm| alarm.name != id),
        R::Role => inventory.role = None,
        R::Profile => inventory.profile = None,
        R::Instance => {
            inventory.instances.retain(|instance| instance.id != id);
            inventory.agent.take_if(|agent| agent.instance == id);
        }
        R::VpcDns | R::BastionRules | R::DatabaseRules | R::Session => (),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vpc(id: &str, dns_hostnames: Option<bool>) -> Vpc {
        let (id, cidr) = (id.to_owned(), "10.0.0.0/16".to_owned());
        Vpc { id, cidr, state: None, dns_support: None, dns_hostnames }
    }

    #[test]
    fn a_change_replaces_the_entry_with_the_same_id() {
        let evidence = Evidence::default();
        let mut state = State { inventory: Inventory::default(), master_password: None, evidence };
        state.merge(Change::Vpc(vpc("vpc-1", None)));
        state.merge(Change::Vpc(vpc("vpc-2", None)));
        state.merge(Change::Vpc(vpc("vpc-1", Some(true))));
        assert_eq!(state.inventory.vpcs, [vpc("vpc-1", Some(true)), vpc("vpc-2", None)]);
        state.merge(Change::Gone(Resource::Vpc, "vpc-2".to_owned(), Box::default()));
        assert_eq!(state.inventory.vpcs.len(), 1);
    }
}
