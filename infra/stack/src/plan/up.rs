use super::access;
use super::port::at_its_port;
use super::unknown::Unknown;
use super::verdict::{Surplus, Verdict};
use super::{Action, Direction, Plan, Step, duration, network, rules, scope, server, watch};
use crate::inventory::Inventory;
use crate::resource::{Component, Resource};
use crate::spec::Stack;

/// Returns what must be done so that the components, and all that they need, are as the stack says.
///
/// No component means all of them. A rule that an earlier one made, and that the stack file does not state any more, is
/// taken away; one that somebody else made stays.
pub fn up(stack: &Stack, inventory: &Inventory, only: &[Component]) -> Plan {
    up_with(stack, inventory, only, &access::obsolete(stack, inventory))
}

/// As [`up`], with that which is not stated and is to go; what is not there any more, or is stated, is passed over.
pub fn up_with(stack: &Stack, inventory: &Inventory, only: &[Component], closes: &[Unknown]) -> Plan {
    let stack = &*at_its_port(stack, inventory);
    let mut plan = Plan::new(Direction::Up);
    let resources = scope::with_needs(only);
    let found = access::unknown(stack, inventory).into_iter().filter(|one| resources.contains(&one.resource));
    (plan.closes, plan.left_alone) = found.partition(|one| closes.contains(one));
    let mut unwanted = Vec::new();
    for resource in resources {
        if !stack.wants(resource) {
            unwanted.push(resource);
            continue;
        }
        let steps = &mut plan.steps;
        let mut add = |action: Action, detail: String| {
            let typical = duration::typical(resource, &action);
            steps.push(Step { resource, action, detail, typical });
        };
        for (id, detail) in surplus(stack, inventory, resource) {
            add(Action::Delete { id }, detail);
        }
        match judge(stack, inventory, resource, &plan.closes) {
            Verdict::Fine => plan.unchanged += 1,
            Verdict::Create(detail) => add(Action::Create, detail),
            Verdict::Repair(detail) => add(Action::Repair, detail),
            Verdict::Start(detail) => add(Action::Start, detail),
            Verdict::Wait(detail) => add(Action::Wait, detail),
        }
    }
    // Users before what they need, and both after the steps that let go of them.
    for resource in unwanted.into_iter().rev() {
        for (id, detail) in turned_off(inventory, resource) {
            let action = Action::Delete { id };
            let typical = duration::typical(resource, &action);
            plan.steps.push(Step { resource, action, detail, typical });
        }
    }
    plan
}

/// Returns what is left of a part that was turned off in the stack file. Logs stay: they are data.
fn turned_off(inventory: &Inventory, resource: Resource) -> Vec<Surplus> {
    use Resource as R;
    match resource {
        R::MonitoringRole => watch::surplus_role(inventory),
        R::Topic => watch::surplus_topic(inventory),
        R::Alarms => watch::surplus_alarms(inventory),
        R::Vpc
        | R::VpcDns
        | R::InternetGateway
        | R::PublicSubnet
        | R::PrivateSubnetA
        | R::PrivateSubnetB
        | R::PublicRoutes
        | R::PrivateRoutes
        | R::BastionGroup
        | R::DatabaseGroup
        | R::BastionRules
        | R::DatabaseRules
        | R::MasterSecret
        | R::LogGroups
        | R::SubnetGroup
        | R::Database
        | R::Role
        | R::Profile
        | R::Instance
        | R::Session => Vec::new(),
    }
}

/// Returns what must be done so that a bastion that is stopped, or on its way, takes sessions; nothing else is touched.
///
/// `None` if there is no bastion, or one that cannot be mended: that is [`up`]'s to make.
pub fn start(stack: &Stack, inventory: &Inventory) -> Option<Plan> {
    let instance = match server::instance(stack, inventory, &[]) {
        Verdict::Create(_) | Verdict::Repair(_) => return None,
        Verdict::Fine => None,
        Verdict::Start(detail) => Some((Action::Start, detail)),
        Verdict::Wait(detail) => Some((Action::Wait, detail)),
    };
    let mut plan = Plan::new(Direction::Up);
    let mut add = |resource, action: Action, detail| {
        let typical = duration::typical(resource, &action);
        plan.steps.push(Step { resource, action, detail, typical });
    };
    if let Some((action, detail)) = instance {
        add(Resource::Instance, action, detail);
    }
    if let Verdict::Wait(detail) = server::session(stack, inventory) {
        add(Resource::Session, Action::Wait, detail);
    }
    Some(plan)
}

fn judge(stack: &Stack, inventory: &Inventory, resource: Resource, closes: &[Unknown]) -> Verdict {
    use Resource as R;
    match resource {
        R::Vpc => network::vpc(stack, inventory),
        R::VpcDns => network::dns(inventory),
        R::InternetGateway => network::gateway(inventory),
        R::PublicSubnet => network::subnet(&stack.network.public, inventory, resource),
        R::PrivateSubnetA => network::subnet(&stack.network.private[0], inventory, resource),
        R::PrivateSubnetB => network::subnet(&stack.network.private[1], inventory, resource),
        R::PublicRoutes => network::public_routes(inventory),
        R::PrivateRoutes => network::private_routes(inventory),
        R::BastionGroup | R::DatabaseGroup => network::group(stack, inventory, resource),
        R::BastionRules | R::DatabaseRules => rules::judge(stack, inventory, resource, closes),
        R::MasterSecret => server::secret(stack, inventory),
        R::SubnetGroup => server::subnet_group(stack, inventory),
        R::Database => server::database(stack, inventory, closes),
        R::MonitoringRole => watch::role(stack, inventory),
        // RDS makes them with the first line that it logs.
        R::LogGroups => Verdict::Fine,
        R::Topic => watch::topic(stack, inventory),
        R::Alarms => watch::alarms(stack, inventory),
        R::Role => server::role(stack, inventory),
        R::Profile => server::profile(stack, inventory),
        R::Instance => server::instance(stack, inventory, closes),
        R::Session => server::session(stack, inventory),
    }
}

fn surplus(stack: &Stack, inventory: &Inventory, resource: Resource) -> Vec<Surplus> {
    use Resource as R;
    match resource {
        R::Vpc => network::surplus_vpcs(inventory),
        R::InternetGateway => network::surplus_gateways(inventory),
        R::PublicRoutes | R::PrivateRoutes => network::surplus_tables(inventory, resource),
        R::SubnetGroup => server::surplus_subnet_group(stack, inventory),
        R::Instance => server::surplus_instances(stack, inventory),
        R::VpcDns
        | R::PublicSubnet
        | R::PrivateSubnetA
        | R::PrivateSubnetB
        | R::BastionGroup
        | R::DatabaseGroup
        | R::BastionRules
        | R::DatabaseRules
        | R::MasterSecret
        | R::MonitoringRole
        | R::LogGroups
        | R::Database
        | R::Topic
        | R::Alarms
        | R::Role
        | R::Profile
        | R::Session => Vec::new(),
    }
}
