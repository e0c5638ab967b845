//! Everything that exists of a stack as one list: what it is, what it is called, and what AWS says of it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::inventory::{
    Agent, Alarm, DatabaseInstance, Direction, Instance, InternetGateway, Inventory, Profile, Role, Route,
    RouteTable, SecretEntry, SecurityGroup, SubnetGroup, Subscription, Topic, Volume, Vpc,
};
use crate::resource::{CREATE_ORDER, Resource};
use crate::spec::Stack;

/// One thing that exists, and has an id or a name of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The step of the stack that makes it.
    pub step: Resource,
    /// What it is, in the words of `audit` and of receipts: `subnet`, `secret`.
    pub kind: &'static str,
    /// Its id, or its name where AWS calls it by that.
    pub id: String,
    /// Its ARN, where the service tells one.
    pub arn: Option<String>,
    /// Its state in the service's own word, where the service has one.
    pub state: Option<String>,
    /// Since when it exists, RFC 3339, where the service tells; of an instance, since when it runs.
    pub since: Option<String>,
    /// What else is worth knowing: range, zone, class, endpoint.
    pub detail: String,
}

impl Entry {
    fn new(step: Resource, kind: &'static str, id: &str, detail: String) -> Entry {
        let id = id.to_owned();
        Entry { step, kind, id, arn: None, state: None, since: None, detail }
    }

    fn state(self, state: Option<&str>) -> Entry {
        Entry { state: state.filter(|word| !word.is_empty()).map(str::to_owned), ..self }
    }

    fn since(self, since: Option<&String>) -> Entry {
        Entry { since: since.cloned(), ..self }
    }

    fn arn(self, arn: Option<&String>) -> Entry {
        Entry { arn: arn.filter(|arn| !arn.is_empty()).cloned(), ..self }
    }
}

/// Returns everything that exists, in the order of the stack's steps; of a kind, in the inventory's order.
///
/// What a lost reply left behind is there as well: it exists, and costs.
pub fn entries(stack: &Stack, inventory: &Inventory) -> Vec<Entry> {
    CREATE_ORDER.into_iter().flat_map(|step| of_step(step, stack, inventory)).collect()
}

/// Returns the steps whose things are missing. Steps that only give another step's thing its form have none.
pub fn absent(stack: &Stack, inventory: &Inventory) -> Vec<Resource> {
    let master = stack.master_secret_name();
    // A tenant's secret, or a volume that was left, is not what the step is for.
    let is_own = |entry: &Entry| {
        entry.kind != "volume" && (entry.step != Resource::MasterSecret || entry.id == master)
    };
    let forms = [Resource::VpcDns, Resource::BastionRules, Resource::DatabaseRules];
    let is_absent =
        |step: &Resource| !forms.contains(step) && !of_step(*step, stack, inventory).iter().any(is_own);
    CREATE_ORDER.into_iter().filter(|step| stack.wants(*step)).filter(is_absent).collect()
}

/// Returns what AWS says of the thing that a step makes or forms, in its own words; empty if there is none.
pub fn says(step: Resource, stack: &Stack, inventory: &Inventory, id: &str) -> String {
    let group = |step: Resource| inventory.group(step.tag()).map(rules).unwrap_or_default();
    if step == Resource::VpcDns {
        return inventory.vpc().map(dns).unwrap_or_default();
    }
    if step == Resource::BastionRules {
        return group(Resource::BastionGroup);
    }
    if step == Resource::DatabaseRules {
        return group(Resource::DatabaseGroup);
    }
    // Of these a step makes several.
    if step == Resource::Alarms {
        return alarm_states(inventory);
    }
    if step == Resource::LogGroups {
        return inventory.log_groups.join(", ");
    }
    let entry = of_step(step, stack, inventory).into_iter().find(|entry| entry.id == id);
    let words = entry.into_iter().flat_map(|entry| entry.state.into_iter().chain([entry.detail]));
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ")
}

fn of_step(step: Resource, stack: &Stack, inventory: &Inventory) -> Vec<Entry> {
    use Resource as R;
    match step {
        R::Vpc => inventory.vpcs.iter().map(vpc).collect(),
        R::InternetGateway => gateways(inventory),
        R::PublicSubnet | R::PrivateSubnetA | R::PrivateSubnetB => subnets(step, inventory),
        R::PublicRoutes | R::PrivateRoutes => of_tag(step, &inventory.route_tables, |table| &table.resource)
            .flat_map(|t| table(step, t))
            .collect(),
        R::BastionGroup | R::DatabaseGroup => of_tag(step, &inventory.groups, |group| &group.resource)
            .map(|group| Entry::new(step, "security group", &group.id, rules(group)))
            .collect(),
        R::MasterSecret => secrets(stack, inventory),
        R::SubnetGroup => subnet_group(inventory),
        R::Database => inventory.database.iter().map(database).collect(),
        R::MonitoringRole => inventory.monitoring_role.iter().map(|found| role(step, found)).collect(),
        R::LogGroups => log_groups(inventory),
        R::Topic => topic(inventory),
        R::Alarms => inventory.alarms.iter().map(alarm).collect(),
        R::Role => inventory.role.iter().map(|found| role(step, found)).collect(),
        R::Profile => profile(inventory),
        R::Instance => instances(inventory),
        R::Session => agent(inventory),
        // A form of the VPC and of the groups, which are listed already.
        R::VpcDns | R::BastionRules | R::DatabaseRules => Vec::new(),
    }
}

fn of_tag<'a, T>(
    step: Resource,
    list: &'a [T],
    tag: impl Fn(&T) -> &String + 'a,
) -> impl Iterator<Item = &'a T> {
    list.iter().filter(move |one| tag(one) == step.tag())
}

fn vpc(vpc: &Vpc) -> Entry {
    Entry::new(Resource::Vpc, "vpc", &vpc.id, vpc.cidr.clone()).state(vpc.state.as_deref())
}

fn dns(vpc: &Vpc) -> String {
    let word = |is_on: Option<bool>| match is_on {
        Some(true) => "on",
        Some(false) => "off",
        None => "not told",
    };
    format!("DNS support {}, DNS host names {}", word(vpc.dns_support), word(vpc.dns_hostnames))
}

fn gateways(inventory: &Inventory) -> Vec<Entry> {
    let entry = |gateway: &InternetGateway| {
        let detail = match &gateway.attached {
            Some(vpc) => format!("attached to {vpc}"),
            None => "not attached".to_owned(),
        };
        let entry = Entry::new(Resource::InternetGateway, "internet gateway", &gateway.id, detail);
        entry.state(gateway.state.as_deref())
    };
    inventory.gateways.iter().map(entry).collect()
}

fn subnets(step: Resource, inventory: &Inventory) -> Vec<Entry> {
    of_tag(step, &inventory.subnets, |subnet| &subnet.resource)
        .map(|subnet| {
            let detail = format!("{} in {}", subnet.cidr, subnet.zone);
            Entry::new(step, "subnet", &subnet.id, detail).state(subnet.state.as_deref())
        })
        .collect()
}

/// Returns the table and its links to subnets, which have ids of their own.
fn table(step: Resource, table: &RouteTable) -> Vec<Entry> {
    let routes: Vec<String> = table.routes.iter().map(route).collect();
    let links = table.associations.iter().map(|link| {
        Entry::new(step, "route table association", &link.id, format!("{} with {}", table.id, link.subnet))
    });
    std::iter::once(Entry::new(step, "route table", &table.id, routes.join(", "))).chain(links).collect()
}

fn route(route: &Route) -> String {
    let target = route.gateway.as_deref().unwrap_or("another target");
    let blackhole = if route.blackhole { " (blackhole)" } else { "" };
    format!("{} to {target}{blackhole}", route.destination)
}

fn rules(group: &SecurityGroup) -> String {
    let count = |way| group.rules.iter().filter(|rule| rule.direction == way).count();
    format!("rules: {} in, {} out", count(Direction::Ingress), count(Direction::Egress))
}

/// Returns every secret of the stack, also under names that the stack file does not make, and what others have under a
/// name that it does.
fn secrets(stack: &Stack, inventory: &Inventory) -> Vec<Entry> {
    let master = stack.master_secret_name();
    let entry = |secret: &SecretEntry| {
        let is_master = secret.name == master || secret.resource == Resource::MasterSecret.tag();
        let whose = if is_master { "of the master user" } else { "of a tenant's role" };
        let detail = if secret.tagged { whose } else { "without the stack's tag" };
        let entry = Entry::new(Resource::MasterSecret, "secret", &secret.name, detail.to_owned());
        let state = secret.scheduled_for_deletion.then_some("scheduled for deletion");
        entry.arn(Some(&secret.arn)).state(state).since(secret.created_at.as_ref())
    };
    inventory.secrets.iter().map(entry).collect()
}

fn subnet_group(inventory: &Inventory) -> Vec<Entry> {
    let entry = |group: &SubnetGroup| {
        let detail = format!("{} in {}", group.subnets.join(", "), group.vpc);
        let entry = Entry::new(Resource::SubnetGroup, "database subnet group", &group.name, detail);
        entry.arn(group.arn.as_ref()).state(group.status.as_deref())
    };
    inventory.subnet_group.iter().map(entry).collect()
}

fn database(database: &DatabaseInstance) -> Entry {
    let endpoint = database.endpoint.as_ref().map(|(host, port)| format!(", {host}:{port}"));
    let detail = format!("{} {}{}", database.class, database.engine_version, endpoint.unwrap_or_default());
    Entry::new(Resource::Database, "database", &database.identifier, detail)
        .arn(Some(&database.arn))
        .state(Some(&database.status))
        .since(database.created_at.as_ref())
}

fn role(step: Resource, role: &Role) -> Entry {
    let detail = match role.policies.is_empty() {
        true => "no policy".to_owned(),
        false => role.policies.join(", "),
    };
    Entry::new(step, "role", &role.name, detail).arn(Some(&role.arn)).since(role.created_at.as_ref())
}

fn log_groups(inventory: &Inventory) -> Vec<Entry> {
    let entry = |name: &String| Entry::new(Resource::LogGroups, "log group", name, String::new());
    inventory.log_groups.iter().map(entry).collect()
}

/// Returns the topic, with whoever hears of it; an address that is not confirmed hears nothing.
fn topic(inventory: &Inventory) -> Vec<Entry> {
    let words = |one: &Subscription| match one.arn {
        Some(_) => one.endpoint.clone(),
        None => format!("{}, not confirmed", one.endpoint),
    };
    let entry = |topic: &Topic| {
        let detail = topic.subscriptions.iter().map(words).collect::<Vec<_>>().join("; ");
        Entry::new(Resource::Topic, "alarm topic", &topic.arn, detail).arn(Some(&topic.arn))
    };
    inventory.topic.iter().map(entry).collect()
}

fn alarm(alarm: &Alarm) -> Entry {
    let detail = if alarm.actions_enabled { "" } else { "its actions are turned off" };
    Entry::new(Resource::Alarms, "alarm", &alarm.name, detail.to_owned()).state(Some(&alarm.state))
}

/// Returns how many alarms are in which state: `3 OK, 1 ALARM`.
fn alarm_states(inventory: &Inventory) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for alarm in &inventory.alarms {
        *counts.entry(alarm.state.as_str()).or_default() += 1;
    }
    counts.iter().map(|(state, count)| format!("{count} {state}")).collect::<Vec<_>>().join(", ")
}

fn profile(inventory: &Inventory) -> Vec<Entry> {
    let entry = |profile: &Profile| {
        let detail = match profile.roles.is_empty() {
            true => "no role in it".to_owned(),
            false => format!("role {}", profile.roles.join(", ")),
        };
        let entry = Entry::new(Resource::Profile, "instance profile", &profile.name, detail);
        entry.arn(Some(&profile.arn)).since(profile.created_at.as_ref())
    };
    inventory.profile.iter().map(entry).collect()
}

/// Returns the instances, each with its volumes, and the volumes that no instance has.
fn instances(inventory: &Inventory) -> Vec<Entry> {
    let mut entries = Vec::new();
    for one in &inventory.instances {
        entries.push(instance(one));
        let own = inventory.volumes.iter().filter(|volume| volume.instance.as_ref() == Some(&one.id));
        entries.extend(own.map(volume));
    }
    let has = |volume: &&Volume| inventory.instances.iter().any(|i| volume.instance.as_ref() == Some(&i.id));
    entries.extend(inventory.volumes.iter().filter(|one| !has(one)).map(volume));
    entries
}

fn instance(instance: &Instance) -> Entry {
    let address = instance.public_ip.as_deref().unwrap_or("no public address");
    let detail = format!("{}, {address}", instance.instance_type);
    let since = instance.launched_at.as_ref().filter(|_| instance.state == "running");
    Entry::new(Resource::Instance, "instance", &instance.id, detail).state(Some(&instance.state)).since(since)
}

fn volume(volume: &Volume) -> Entry {
    let size = volume.size_gib.map_or_else(|| "of unknown size".to_owned(), |size| format!("{size} GiB"));
    let at = volume.instance.as_ref().map_or_else(|| ", at no instance".to_owned(), |id| format!(" of {id}"));
    Entry::new(Resource::Instance, "volume", &volume.id, format!("{size}{at}"))
        .state(Some(&volume.state))
        .since(volume.created_at.as_ref())
}

/// Returns what Session Manager knows the bastion as.
fn agent(inventory: &Inventory) -> Vec<Entry> {
    let entry = |agent: &Agent| {
        let detail = format!("agent {}", agent.version.as_deref().unwrap_or("of unknown version"));
        let entry = Entry::new(Resource::Session, "managed instance", &agent.instance, detail);
        entry.state(Some(&agent.ping_status))
    };
    inventory.agent.iter().map(entry).collect()
}
