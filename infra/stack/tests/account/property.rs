//! Whatever is left of a stack: `up` completes it, `down` removes it.

use proptest::prelude::*;
use stack::inventory::*;
use stack::plan::{Action, down, up};
use stack::{Component, Inventory};

use crate::fixture;
use crate::world::{apply, everything_out};

/// One thing that went wrong with an account.
type Flaw = fn(&mut Inventory);

const FLAWS: &[Flaw] = &[
    |i| i.vpcs.clear(),
    |i| i.vpcs.push(fixture::vpc("vpc-2")),
    |i| i.vpcs.insert(0, fixture::vpc("vpc-0")),
    |i| i.vpcs.iter_mut().for_each(|vpc| vpc.dns_hostnames = Some(false)),
    |i| i.vpcs.iter_mut().for_each(|vpc| vpc.dns_support = None),
    |i| i.gateways.clear(),
    |i| i.gateways.iter_mut().for_each(|gateway| gateway.attached = None),
    |i| i.gateways.push(fixture::gateway("igw-0", None)),
    |i| i.subnets.retain(|subnet| subnet.resource != "public-subnet"),
    |i| i.subnets.retain(|subnet| subnet.resource != "private-subnet-a"),
    |i| i.subnets.retain(|subnet| subnet.resource != "private-subnet-b"),
    |i| i.subnets.clear(),
    |i| i.route_tables.retain(|table| table.resource != "public-routes"),
    |i| i.route_tables.retain(|table| table.resource != "private-routes"),
    |i| i.route_tables.iter_mut().for_each(|table| table.associations.clear()),
    |i| i.route_tables.iter_mut().for_each(|table| table.associations.truncate(1)),
    |i| i.route_tables.iter_mut().for_each(|table| table.routes.truncate(1)),
    |i| i.route_tables.iter_mut().flat_map(|t| &mut t.routes).for_each(|route| route.blackhole = true),
    |i| second_table(i),
    |i| i.groups.retain(|group| group.resource != "bastion-group"),
    |i| i.groups.retain(|group| group.resource != "database-group"),
    |i| i.groups.iter_mut().for_each(|group| group.rules = vec![everything_out()]),
    |i| i.groups.iter_mut().for_each(|group| group.rules.push(everything_out())),
    |i| i.groups.iter_mut().for_each(|group| group.rules.clear()),
    |i| i.secrets.clear(),
    |i| i.secrets.iter_mut().for_each(|secret| secret.scheduled_for_deletion = true),
    |i| i.secrets.truncate(1),
    |i| i.subnet_group = None,
    |i| i.subnet_group.iter_mut().for_each(|group| group.subnets.truncate(1)),
    |i| i.subnet_group.iter_mut().for_each(|group| group.vpc = "vpc-gone".into()),
    |i| i.database = None,
    |i| i.database.iter_mut().for_each(|database| database.status = "creating".into()),
    |i| i.database.iter_mut().for_each(|database| database.status = "deleting".into()),
    |i| i.database.iter_mut().for_each(|database| database.status = "stopped".into()),
    |i| i.database.iter_mut().for_each(|database| database.deletion_protection ^= true),
    |i| i.database.iter_mut().for_each(|database| database.groups = vec!["sg-default".into()]),
    |i| i.database.iter_mut().for_each(|database| database.monitoring_interval = 0),
    |i| i.database.iter_mut().for_each(|database| database.monitoring_role = Some("arn:other".into())),
    |i| i.database.iter_mut().for_each(|database| database.logs.clear()),
    |i| i.monitoring_role = None,
    |i| i.monitoring_role.iter_mut().for_each(|role| role.policies.clear()),
    |i| i.log_groups.clear(),
    |i| i.topic = None,
    |i| i.topic.iter_mut().for_each(|topic| topic.subscriptions.clear()),
    |i| i.alarms.clear(),
    |i| i.alarms.truncate(3),
    |i| i.alarms.iter_mut().for_each(|alarm| alarm.rule.threshold += 1.0),
    |i| i.alarms.iter_mut().for_each(|alarm| alarm.actions.clear()),
    |i| i.role = None,
    |i| i.role.iter_mut().for_each(|role| role.policies.clear()),
    |i| i.profile = None,
    |i| i.profile.iter_mut().for_each(|profile| profile.roles.clear()),
    |i| i.instances.clear(),
    |i| i.instances.iter_mut().for_each(|instance| instance.public_ip = None),
    |i| i.instances.iter_mut().for_each(|instance| instance.profile_arn = None),
    |i| i.instances.iter_mut().for_each(|instance| instance.subnet = Some("subnet-x".into())),
    |i| i.instances.iter_mut().for_each(|instance| instance.groups.clear()),
    |i| i.instances.iter_mut().for_each(|instance| instance.state = "stopped".into()),
    |i| i.instances.iter_mut().for_each(|instance| instance.state = "pending".into()),
    |i| i.instances.iter_mut().for_each(|instance| instance.state = "shutting-down".into()),
    |i| i.instances.push(fixture::instance("i-0", "subnet-p", "sg-b")),
    |i| i.agent = None,
    |i| i.agent.iter_mut().for_each(|agent| agent.ping_status = "ConnectionLost".into()),
];

fn second_vpc_with_resources(inventory: &mut Inventory) {
    inventory.vpcs.push(fixture::vpc("vpc-3"));
    inventory.gateways.push(fixture::gateway("igw-3", Some("vpc-3")));
    let like = fixture::complete(&fixture::stack()).subnets[1].clone();
    inventory.subnets.push(Subnet { id: "subnet-3".into(), vpc: "vpc-3".into(), ..like });
}

fn second_table(inventory: &mut Inventory) {
    let like = fixture::complete(&fixture::stack()).route_tables[0].clone();
    inventory.route_tables.push(RouteTable { id: "rtb-0".into(), associations: Vec::new(), ..like });
}

/// Accounts with two VPCs that both have something in them: `up` leaves that to people, `down` does not.
fn torn_accounts() -> impl Strategy<Value = Inventory> {
    (accounts(), any::<bool>()).prop_map(|(mut account, is_torn)| {
        if is_torn {
            second_vpc_with_resources(&mut account);
        }
        account
    })
}

fn accounts() -> impl Strategy<Value = Inventory> {
    // Most accounts have a few flaws, some have dozens.
    let few = proptest::sample::subsequence(FLAWS.to_vec(), 0..=5).prop_shuffle();
    let many = proptest::sample::subsequence(FLAWS.to_vec(), 0..=FLAWS.len()).prop_shuffle();
    prop_oneof![few, many].prop_map(|flaws| {
        let mut inventory = fixture::complete(&fixture::stack());
        flaws.into_iter().for_each(|flaw| flaw(&mut inventory));
        inventory
    })
}

fn components() -> impl Strategy<Value = Vec<Component>> {
    proptest::sample::subsequence(Component::ALL.to_vec(), 0..=Component::ALL.len())
}

fn picks() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(0..20usize, 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn up_completes_whatever_is_there(account in accounts(), only in components(), picks in picks()) {
        let stack = fixture::stack();
        let mut account = account;
        let plan = up(&stack, &account, &only);
        apply(&stack, &mut account, &plan, &picks);
        let again = up(&stack, &account, &only);
        prop_assert!(again.is_empty(), "{:?}", again.steps);
    }

    #[test]
    fn the_steps_of_up_stand_in_an_order_that_can_be_followed(account in accounts()) {
        let stack = fixture::stack();
        let plan = up(&stack, &account, &[]);
        for index in 0..plan.steps.len() {
            prop_assert!(plan.needs(index).iter().all(|need| *need < index), "{:?}", plan.steps);
        }
        let mut account = account;
        apply(&stack, &mut account, &plan, &[0]);
    }

    #[test]
    fn the_steps_of_down_stand_in_an_order_that_can_be_followed(account in torn_accounts()) {
        let plan = down(&fixture::stack(), &account, &[]);
        for index in 0..plan.steps.len() {
            prop_assert!(plan.needs(index).iter().all(|need| *need < index), "{:?}", plan.steps);
        }
    }

    #[test]
    fn down_empties_whatever_is_there(account in torn_accounts(), picks in picks()) {
        let stack = fixture::stack();
        let mut account = account;
        let plan = down(&stack, &account, &[]);
        let deletes = plan.steps.iter().all(|step| matches!(step.action, Action::Delete { .. }));
        prop_assert!(deletes);
        apply(&stack, &mut account, &plan, &picks);
        prop_assert!(account.is_empty(), "{account:?}");
        prop_assert!(down(&stack, &account, &[]).is_empty());
    }

    #[test]
    fn up_removes_what_was_turned_off(account in accounts(), picks in picks()) {
        let stack = fixture::without_watch();
        let mut account = account;
        let plan = up(&stack, &account, &[]);
        for index in 0..plan.steps.len() {
            prop_assert!(plan.needs(index).iter().all(|need| *need < index), "{:?}", plan.steps);
        }
        apply(&stack, &mut account, &plan, &picks);
        prop_assert!(account.topic.is_none() && account.alarms.is_empty());
        prop_assert!(account.monitoring_role.is_none());
        let again = up(&stack, &account, &[]);
        prop_assert!(again.is_empty(), "{:?}", again.steps);
    }

    #[test]
    fn down_of_a_part_never_pulls_the_ground_from_under_another(
        account in torn_accounts(), only in components(), picks in picks(),
    ) {
        let stack = fixture::stack();
        let mut account = account;
        let plan = down(&stack, &account, &only);
        apply(&stack, &mut account, &plan, &picks);
        prop_assert!(down(&stack, &account, &only).is_empty());
    }

    #[test]
    fn up_then_down_then_up_is_as_up_alone(account in accounts(), picks in picks()) {
        let stack = fixture::stack();
        let mut account = account;
        for _ in 0..2 {
            let plan = up(&stack, &account, &[]);
            apply(&stack, &mut account, &plan, &picks);
            prop_assert!(up(&stack, &account, &[]).is_empty());
            let plan = down(&stack, &account, &[]);
            apply(&stack, &mut account, &plan, &picks);
            prop_assert!(account.is_empty());
        }
    }

    #[test]
    fn no_account_makes_drift_findings_or_bills_panic(account in torn_accounts()) {
        let stack = fixture::stack();
        prop_assert!(stack::plan::drift(&stack, &account).iter().all(|drift| drift.want != drift.have));
        let bill = stack::cost::of_inventory(&stack, &account);
        prop_assert!(bill.stopped().known <= bill.running().known);
        for finding in stack::finding::bastion(&stack, &account) {
            prop_assert!(!finding.sentence.is_empty() && !finding.evidence.is_empty());
        }
    }
}
