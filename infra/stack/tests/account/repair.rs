//! What `up` says and does about each thing that can be half-made.

use stack::inventory::*;
use stack::plan::{Action, Unknown, drift, unknown, up, up_with};
use stack::spec::Cidr;
use stack::{Inventory, Resource};

use crate::fixture;
use crate::world::everything_out;

/// Returns action and detail of each step, once `spoil` has been at a complete account.
fn steps(spoil: impl FnOnce(&mut Inventory)) -> Vec<(Resource, Action, String)> {
    let stack = fixture::stack();
    let mut account = fixture::complete(&stack);
    spoil(&mut account);
    let plan = up(&stack, &account, &[]);
    plan.steps.into_iter().map(|step| (step.resource, step.action, step.detail)).collect()
}

/// Asserts that there is one step, and that it is this repair.
#[track_caller]
fn repairs(resource: Resource, detail: &str, spoil: impl FnOnce(&mut Inventory)) {
    assert_eq!(steps(spoil), [(resource, Action::Repair, detail.to_owned())]);
}

fn rule(direction: Direction, port: u16, peer: Peer) -> Rule {
    Rule { direction, protocol: "tcp".into(), ports: Some((port, port)), peer, description: None }
}

/// Returns what is not stated, and what `up` does about it if all of that is to go, once `spoil` has been at an account.
fn strangers(spoil: impl FnOnce(&mut Inventory)) -> (Vec<Unknown>, Vec<(Resource, String)>) {
    let stack = fixture::stack();
    let mut account = fixture::complete(&stack);
    spoil(&mut account);
    let plan = up(&stack, &account, &[]);
    assert_eq!((plan.steps.as_slice(), plan.closes.as_slice()), (&[][..], &[][..]), "nobody was asked");
    let found = unknown(&stack, &account);
    assert_eq!(plan.left_alone, found);
    let confirmed = up_with(&stack, &account, &[], &found);
    assert!(confirmed.left_alone.is_empty(), "{confirmed:?}");
    (found, confirmed.steps.into_iter().map(|step| (step.resource, step.detail)).collect())
}

fn texts(found: &[Unknown]) -> Vec<(String, bool)> {
    found.iter().map(|one| (one.to_string(), one.too_open)).collect()
}

#[test]
fn dns_names_that_are_off() {
    repairs(Resource::VpcDns, "host names are off", |i| i.vpcs[0].dns_hostnames = Some(false));
    repairs(Resource::VpcDns, "support is off", |i| i.vpcs[0].dns_support = Some(false));
}

#[test]
fn a_gateway_that_is_detached() {
    let steps = steps(|i| i.gateways[0].attached = None);
    assert_eq!(
        steps,
        [(Resource::InternetGateway, Action::Repair, "igw-1 is not attached to the vpc".into())]
    );
}

#[test]
fn public_routes_that_lead_nowhere() {
    let repairs = |detail, spoil: fn(&mut RouteTable)| {
        repairs(Resource::PublicRoutes, detail, |i| spoil(&mut i.route_tables[0]));
    };
    repairs("public subnet is not associated", |table| table.associations.clear());
    repairs("there is no route to 0.0.0.0/0", |table| table.routes.truncate(1));
    repairs("the route to 0.0.0.0/0 is a blackhole", |table| table.routes[1].blackhole = true);
    repairs("the route to 0.0.0.0/0 does not lead to the internet gateway", |table| {
        table.routes[1].gateway = Some("igw-gone".into());
    });
}

#[test]
fn private_routes_without_an_association() {
    repairs(Resource::PrivateRoutes, "private subnet b is not associated", |i| {
        i.route_tables[1].associations.truncate(1);
    });
}

#[test]
fn an_open_ssh_port_is_told_and_closed_where_that_was_confirmed() {
    let (found, steps) = strangers(|i| {
        i.groups[0].rules.push(rule(Direction::Ingress, 22, Peer::Cidr("203.0.113.0/24".into())));
    });
    let text = "unknown rule: 22/tcp from 203.0.113.0/24 in the bastion's group sg-b";
    assert_eq!(texts(&found), [(text.into(), true)]);
    let detail = "22/tcp from 203.0.113.0/24 is open and will be closed";
    assert_eq!(steps, [(Resource::BastionRules, detail.into())]);
}

#[test]
fn a_closed_way_out() {
    repairs(Resource::BastionRules, "443/tcp to 0.0.0.0/0 is closed and will be opened", |i| {
        i.groups[0].rules.remove(0);
    });
    repairs(Resource::BastionRules, "5432/tcp to the database's group is closed and will be opened", |i| {
        i.groups[0].rules.remove(1);
    });
}

#[test]
fn whoever_else_is_let_in_to_the_database_stays_until_somebody_says_otherwise() {
    let (found, steps) = strangers(|i| {
        i.groups[1].rules.push(everything_out());
        let app = rule(Direction::Ingress, 5432, Peer::Group("sg-app".into()));
        i.groups[1].rules.push(Rule { description: Some("the app, see wiki".into()), ..app });
        i.groups[1].rules.push(rule(Direction::Ingress, 5432, Peer::Ipv6("::/0".into())));
        i.groups[1].rules.push(rule(Direction::Ingress, 5432, Peer::PrefixList("pl-1".into())));
        i.groups[1].rules.push(rule(Direction::Ingress, 5432, Peer::Cidr("0.0.0.0/0".into())));
    });
    let text = |rule: &str, note: &str| format!("unknown rule: {rule} in the database's group sg-d{note}");
    assert_eq!(
        texts(&found),
        [
            (text("any protocol to 0.0.0.0/0", ""), false),
            (text("5432/tcp from sg-app", " (\"the app, see wiki\")"), false),
            (text("5432/tcp from ::/0", ""), true),
            (text("5432/tcp from pl-1", ""), false),
            (text("5432/tcp from 0.0.0.0/0", ""), true),
        ]
    );
    let [(Resource::DatabaseRules, detail)] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!(detail.matches(" is open and will be closed").count(), 5, "{detail}");
}

#[test]
fn a_group_of_somebody_else_stays_on_database_and_bastion_until_somebody_says_otherwise() {
    let (found, steps) = strangers(|i| {
        i.database.iter_mut().for_each(|database| database.groups.push("sg-app".into()));
        i.instances[0].groups.push("sg-ops".into());
        let of = |id: &str, peer| SecurityGroup {
            id: id.into(),
            name: format!("the {id}"),
            resource: String::new(),
            rules: vec![rule(Direction::Ingress, 5432, peer)],
            ..i.groups[0].clone()
        };
        i.attached =
            vec![of("sg-app", Peer::Cidr("0.0.0.0/0".into())), of("sg-ops", Peer::Group("sg-ops".into()))];
    });
    let names = [
        (
            "unknown group: sg-app (\"the sg-app\"), which database webshop-multi-tenant-test is in".into(),
            true,
        ),
        ("unknown group: sg-ops (\"the sg-ops\"), which bastion i-1 is in".into(), true),
    ];
    assert_eq!(texts(&found), names);
    assert_eq!(
        steps,
        [
            (Resource::Database, "is in sg-app as well and will be taken out".into()),
            (Resource::Instance, "i-1 is in sg-ops as well and will be taken out".into()),
        ]
    );
}

#[test]
fn whom_the_stack_file_allows_is_let_in_and_out_again_once_it_does_not() {
    let stack = fixture::stack();
    let mut open = stack.clone();
    open.database.allow_groups = vec!["sg-app".into()];
    open.database.allow_cidrs = vec![Cidr::parse("10.1.0.0/16").unwrap()];
    let plan = up(&open, &fixture::complete(&stack), &[]);
    let [step] = plan.steps.as_slice() else { panic!("{plan:?}") };
    assert_eq!(
        (step.resource, step.detail.as_str()),
        (
            Resource::DatabaseRules,
            "5432/tcp from sg-app is closed and will be opened; 5432/tcp from 10.1.0.0/16 is closed and will be opened"
        )
    );
    let mut account = fixture::complete(&open);
    assert!(up(&open, &account, &[]).is_empty());
    // We made the rule, and the file does not state it any more.
    let plan = up(&stack, &account, &[]);
    let [step] = plan.steps.as_slice() else { panic!("{plan:?}") };
    let detail = "5432/tcp from sg-app is open and will be closed; 5432/tcp from 10.1.0.0/16 is open and will be closed";
    assert_eq!((step.resource, step.detail.as_str()), (Resource::DatabaseRules, detail));
    // Whoever brings something up on the way takes nothing away.
    let plan = up_with(&stack, &account, &[], &[]);
    assert_eq!((plan.steps.len(), plan.left_alone.len()), (0, 2));
    // Somebody else's rule for the same is good enough, and stays theirs.
    account.groups[1].rules.iter_mut().for_each(|rule| rule.description = None);
    assert!(up(&open, &account, &[]).is_empty());
    let plan = up(&stack, &account, &[]);
    assert_eq!((plan.steps.len(), plan.left_alone.len()), (0, 2));
}

#[test]
fn a_half_made_group_is_mended_and_strangers_in_it_stay() {
    let app = || rule(Direction::Ingress, 5432, Peer::Group("sg-app".into()));
    let detail = "any protocol to 0.0.0.0/0 is open and will be closed; \
                  5432/tcp from the bastion's group is closed and will be opened";
    repairs(Resource::DatabaseRules, detail, |i| i.groups[1].rules = vec![everything_out(), app()]);
    let stack = fixture::stack();
    let mut account = fixture::complete(&stack);
    account.groups[1].rules = vec![everything_out(), app()];
    let plan = up(&stack, &account, &[]);
    assert_eq!(plan.left_alone.len(), 1, "AWS's own rule is nobody's: {plan:?}");
}

#[test]
fn nothing_that_is_missing_is_taken_for_something_else_that_is_missing() {
    let stack = fixture::stack();
    let of = |plan: &stack::Plan, resource| {
        plan.steps.iter().find(|step| step.resource == resource).unwrap().detail.clone()
    };
    let plan = up(&stack, &Inventory::default(), &[]);
    let (out, into) =
        ("443/tcp to 0.0.0.0/0, 5432/tcp to the database's group", "5432/tcp from the bastion's group");
    assert_eq!(
        (of(&plan, Resource::BastionRules), of(&plan, Resource::DatabaseRules)),
        (out.into(), into.into())
    );
    let mut account = fixture::complete(&stack);
    account.groups.retain(|group| group.resource == "bastion-group");
    account.groups[0].rules.truncate(1);
    let plan = up(&stack, &account, &[]);
    let detail = "5432/tcp to the database's group is closed and will be opened";
    assert_eq!(of(&plan, Resource::BastionRules), detail);
}

#[test]
fn rules_of_a_fresh_group_are_created_not_repaired() {
    let steps = steps(|i| i.groups.iter_mut().for_each(|group| group.rules = vec![everything_out()]));
    let detail = "443/tcp to 0.0.0.0/0, 5432/tcp to the database's group";
    assert_eq!(steps[0], (Resource::BastionRules, Action::Create, detail.into()));
    let detail = "5432/tcp from the bastion's group";
    assert_eq!(steps[1], (Resource::DatabaseRules, Action::Create, detail.into()));
}

#[test]
fn a_master_secret_that_was_deleted() {
    repairs(
        Resource::MasterSecret,
        "rds/webshop/multi-tenant-test/master is scheduled for deletion, will be restored",
        |i| i.secrets[0].scheduled_for_deletion = true,
    );
}

#[test]
fn a_subnet_group_that_lacks_a_subnet() {
    repairs(Resource::SubnetGroup, "private subnet b is not in it", |i| {
        i.subnet_group.iter_mut().for_each(|group| group.subnets.truncate(1));
    });
}

#[test]
fn a_database_without_its_protection_or_group() {
    repairs(Resource::Database, "deletion protection is on and will be turned off", |i| {
        i.database.iter_mut().for_each(|database| database.deletion_protection = true);
    });
    repairs(Resource::Database, "is not in the database security group", |i| {
        i.database.iter_mut().for_each(|database| database.groups = vec!["sg-x".into()])
    });
}

#[test]
fn a_role_without_the_policy() {
    repairs(Resource::Role, "AmazonSSMManagedInstanceCore is not attached", |i| {
        i.role.iter_mut().for_each(|role| role.policies.clear());
    });
}

#[test]
fn a_profile_without_the_role() {
    repairs(Resource::Profile, "role is not in the profile", |i| {
        i.profile.iter_mut().for_each(|profile| profile.roles.clear());
    });
    repairs(Resource::Profile, "holds role other instead", |i| {
        i.profile.iter_mut().for_each(|profile| profile.roles = vec!["other".into()]);
    });
}

/// Asserts that the bastion is removed and made anew, then waited for.
#[track_caller]
fn replaces(flaw: &str, spoil: impl FnOnce(&mut Instance)) {
    let stack = fixture::stack();
    let mut account = fixture::complete(&stack);
    spoil(&mut account.instances[0]);
    let plan = up(&stack, &account, &[]);
    let steps: Vec<_> =
        plan.steps.iter().map(|s| (s.resource, s.action.clone(), s.detail.as_str())).collect();
    let because = format!("t3.micro, because i-1 {flaw}");
    assert_eq!(
        steps,
        [
            (Resource::Instance, Action::Delete { id: "i-1".into() }, flaw),
            (Resource::Instance, Action::Create, because.as_str()),
            (Resource::Session, Action::Wait, "until Session Manager can open one"),
        ]
    );
    assert_eq!((plan.needs(0), plan.needs(1), plan.needs(2)), (vec![], vec![0], vec![1]));
}

#[test]
fn a_bastion_that_can_never_register_is_replaced() {
    replaces("has no public IPv4 address", |bastion| bastion.public_ip = None);
    replaces("is not in the public subnet", |bastion| bastion.subnet = Some("subnet-a".into()));
    replaces("was launched without the instance profile", |bastion| bastion.profile_arn = None);
    replaces("is not in the bastion security group", |bastion| bastion.groups = vec!["sg-default".into()]);
}

#[test]
fn a_stopped_bastion_is_started_though_it_has_no_address() {
    let steps = steps(|i| {
        i.instances[0].state = "stopped".into();
        i.instances[0].public_ip = None;
    });
    assert_eq!(steps[0], (Resource::Instance, Action::Start, "i-1 is stopped".into()));
    assert_eq!((steps.len(), steps[1].0), (2, Resource::Session));
}

#[test]
fn a_pending_bastion_is_waited_for() {
    let steps = steps(|i| i.instances[0].state = "pending".into());
    assert_eq!(steps[0], (Resource::Instance, Action::Wait, "i-1 is pending".into()));
}

#[test]
fn a_bastion_that_is_going_away_does_not_count() {
    let steps = steps(|i| i.instances[0].state = "shutting-down".into());
    assert_eq!(steps[0], (Resource::Instance, Action::Create, "t3.micro".into()));
}

#[test]
fn a_second_bastion_goes_and_the_first_stays() {
    let steps = steps(|i| i.instances.push(fixture::instance("i-2", "subnet-p", "sg-b")));
    let delete = Action::Delete { id: "i-2".into() };
    assert_eq!(steps[0], (Resource::Instance, delete, "is a second bastion".into()));
    assert_eq!(steps.len(), 2, "and the session is proven again: {steps:?}");
}

#[test]
fn an_agent_that_lost_its_connection_is_waited_for() {
    let lost = steps(|i| i.agent.iter_mut().for_each(|agent| agent.ping_status = "ConnectionLost".into()));
    assert_eq!(lost, [(Resource::Session, Action::Wait, "the agent is ConnectionLost".into())]);
    let of_another = steps(|i| i.agent.iter_mut().for_each(|agent| agent.instance = "i-0".into()));
    assert_eq!(of_another.len(), 1);
}

#[test]
fn a_database_on_its_way_is_waited_for_and_a_stopped_one_started() {
    let database = |status: &str| steps(|i| i.database.as_mut().unwrap().status = status.into()).pop();
    assert_eq!(database("available"), None);
    assert_eq!(database("backing-up"), None);
    let wait = (Resource::Database, Action::Wait, "is creating".to_owned());
    assert_eq!(database("creating"), Some(wait));
    let start = (Resource::Database, Action::Start, "is stopped".to_owned());
    assert_eq!(database("stopped"), Some(start));
    let (_, action, detail) = database("deleting").unwrap();
    assert_eq!(action, Action::Create);
    assert!(detail.ends_with("waits until the old one is gone"), "{detail}");
}

#[test]
fn what_a_lost_reply_left_behind_is_removed() {
    let steps = steps(|i| {
        i.vpcs.push(fixture::vpc("vpc-0"));
        i.gateways.push(fixture::gateway("igw-0", None));
        let table = RouteTable { id: "rtb-0".into(), associations: vec![], ..i.route_tables[0].clone() };
        i.route_tables.push(table);
    });
    let gone: Vec<_> = steps.iter().map(|(resource, action, _)| (*resource, action.clone())).collect();
    let delete = |id: &str| Action::Delete { id: id.into() };
    assert_eq!(
        gone,
        [
            (Resource::Vpc, delete("vpc-0")),
            (Resource::InternetGateway, delete("igw-0")),
            (Resource::PublicRoutes, delete("rtb-0")),
        ]
    );
}

#[test]
fn a_second_vpc_with_something_in_it_is_left_and_told() {
    let stack = fixture::stack();
    let mut account = fixture::complete(&stack);
    account.vpcs.push(fixture::vpc("vpc-0"));
    let subnet = Subnet { id: "subnet-0".into(), vpc: "vpc-0".into(), ..account.subnets[0].clone() };
    account.subnets.push(subnet);
    assert!(up(&stack, &account, &[]).is_empty());
    let drift = drift(&stack, &account);
    assert_eq!(drift.len(), 1);
    assert_eq!(
        (drift[0].resource, drift[0].have.as_str()),
        (Resource::Vpc, "vpc-0 has resources in it as well")
    );
}

#[test]
fn what_up_would_not_change_by_itself_is_drift() {
    let stack = fixture::stack();
    let mut account = fixture::complete(&stack);
    assert_eq!(drift(&stack, &account), []);
    let database = account.database.as_mut().unwrap();
    database.class = "db.t4g.large".into();
    database.engine_version = "160.1".into();
    database.public = true;
    database.encrypted = false;
    database.status = "storage-full".into();
    account.instances[0].instance_type = "t3.large".into();
    account.subnets[1].zone = "us-east-1f".into();
    account.secrets[0].tagged = false;
    account.route_tables[1].routes.push(Route {
        destination: "0.0.0.0/0".into(),
        gateway: None,
        blackhole: false,
    });
    let fields: Vec<_> = drift(&stack, &account).into_iter().map(|drift| drift.field).collect();
    assert_eq!(
        fields,
        ["zone", "route", "tag", "engine_version", "class", "public", "encrypted", "status", "instance_type"]
    );
}

#[test]
fn alarms_that_say_something_else_than_the_file() {
    let of = |spoil: fn(&mut Alarm)| move |i: &mut Inventory| spoil(&mut i.alarms[0]);
    let repairs = |detail: &str, spoil: fn(&mut Alarm)| {
        repairs(Resource::Alarms, &format!("webshop-test-database-cpu {detail}"), of(spoil));
    };
    repairs("has the threshold 95, not 80", |alarm| alarm.rule.threshold = 95.0);
    repairs("watches something else", |alarm| alarm.rule.metric = "ReadLatency".into());
    repairs("watches something else", |alarm| alarm.rule.periods = 1);
    repairs("does not tell the topic", |alarm| alarm.actions.clear());
    repairs("tells nobody, as its actions are off", |alarm| alarm.actions_enabled = false);
    repairs("is missing", |alarm| alarm.name = "other".into());
}

#[test]
fn mail_that_goes_to_somebody_else() {
    repairs(Resource::Topic, "ops@example.com is not subscribed", |i| {
        i.topic.as_mut().unwrap().subscriptions.clear();
    });
    repairs(Resource::Topic, "old@example.com is subscribed as well and will be taken out", |i| {
        let subscriptions = &mut i.topic.as_mut().unwrap().subscriptions;
        subscriptions.push(fixture::subscription("old@example.com", Some("arn:aws:sns:2")));
        // It cannot be taken out, and lapses by itself.
        subscriptions.push(fixture::subscription("older@example.com", None));
    });
}

#[test]
fn monitoring_and_logs_that_are_not_as_in_the_file() {
    repairs(Resource::Database, "enhanced monitoring is off, not every 60 s", |i| {
        i.database.as_mut().unwrap().monitoring_interval = 0;
    });
    repairs(Resource::Database, "enhanced monitoring has another role than the stack's", |i| {
        i.database.as_mut().unwrap().monitoring_role = Some("arn:other".into());
    });
    repairs(Resource::Database, "its log upgrade goes to CloudWatch and will not any more", |i| {
        i.database.as_mut().unwrap().logs.push("upgrade".into());
    });
    repairs(Resource::MonitoringRole, "AmazonRDSEnhancedMonitoringRole is not attached", |i| {
        i.monitoring_role.as_mut().unwrap().policies.clear();
    });
}
