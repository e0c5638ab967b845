//! Plans as a whole: which parts, in which order, for how long.

use std::time::Duration;

use stack::plan::{Action, Direction, Retention, SecretRetention, Snapshot, down, down_with, up};
use stack::resource::CREATE_ORDER;
use stack::{Component, Inventory, Resource};

use crate::fixture;

fn resources(plan: &stack::Plan) -> Vec<Resource> {
    plan.steps.iter().map(|step| step.resource).collect()
}

#[test]
fn an_empty_account_gets_everything_in_order() {
    let plan = up(&fixture::stack(), &Inventory::default(), &[]);
    assert_eq!(plan.direction, Direction::Up);
    // RDS makes the log groups.
    let order: Vec<Resource> = CREATE_ORDER.into_iter().filter(|one| *one != Resource::LogGroups).collect();
    assert_eq!(resources(&plan), order);
    assert!(plan.steps[..21].iter().all(|step| step.action == Action::Create));
    assert_eq!(plan.steps[21].action, Action::Wait);
    assert_eq!(plan.unchanged, 1);
}

#[test]
fn a_complete_account_needs_nothing() {
    let stack = fixture::stack();
    let plan = up(&stack, &fixture::complete(&stack), &[]);
    assert!(plan.is_empty(), "{:?}", plan.steps);
    assert_eq!(plan.unchanged, CREATE_ORDER.len());
    assert_eq!((plan.minutes(), plan.critical_path()), (0, Duration::ZERO));
}

#[test]
fn an_empty_account_has_nothing_to_take_down() {
    assert!(down(&fixture::stack(), &Inventory::default(), &[]).is_empty());
}

#[test]
fn down_names_every_single_thing() {
    let stack = fixture::stack();
    let plan = down(&stack, &fixture::complete(&stack), &[]);
    let ids: Vec<&str> = plan
        .steps
        .iter()
        .filter_map(|step| if let Action::Delete { id } = &step.action { Some(id.as_str()) } else { None })
        .collect();
    assert_eq!(
        ids,
        [
            "i-1",
            "webshop-test-us-east-1-bastion",
            "webshop-test-us-east-1-bastion",
            "webshop-test-database-cpu",
            "webshop-test-database-free-storage",
            "webshop-test-database-connections",
            "webshop-test-database-freeable-memory",
            "arn:aws:sns:us-east-1:123456789012:webshop-test-alarms",
            "webshop-multi-tenant-test",
            "webshop-test-database",
            "/aws/rds/instance/webshop-multi-tenant-test/",
            "webshop-test-us-east-1-monitoring",
            "rds/webshop/multi-tenant-test/master",
            "rds/webshop/multi-tenant-test/one",
            "rds/webshop/multi-tenant-test/two",
            "sg-d",
            "sg-b",
            "sg-d",
            "sg-b",
            "rtb-q",
            "rtb-p",
            "subnet-b",
            "subnet-a",
            "subnet-p",
            "igw-1",
            "vpc-1",
        ]
    );
}

#[test]
fn down_takes_the_deleted_and_the_doubled_but_not_what_is_someone_elses() {
    let stack = fixture::stack();
    let mut account = fixture::complete(&stack);
    account.secrets[1].scheduled_for_deletion = true;
    account.secrets[2].tagged = false;
    account.gateways.push(fixture::gateway("igw-0", None));
    account.subnets[2].resource = "a tag that nobody knows".into();
    account.database.as_mut().unwrap().status = "deleting".into();
    let plan = down(&stack, &account, &[]);
    let detail = |id: &str| {
        let id = Action::Delete { id: id.into() };
        plan.steps.iter().find(|step| step.action == id).map(|step| step.detail.as_str())
    };
    assert_eq!(detail("rds/webshop/multi-tenant-test/one"), Some("without waiting for its recovery window"));
    assert_eq!(detail("rds/webshop/multi-tenant-test/two"), None);
    assert_eq!(detail("igw-0"), Some("attached to nothing"));
    assert!(detail("subnet-b").is_some());
    assert_eq!(detail("webshop-multi-tenant-test"), Some("is being deleted; waits until it is gone"));
}

#[test]
fn down_says_what_becomes_of_the_data() {
    let mut stack = fixture::stack();
    let mut account = fixture::complete(&stack);
    let detail = |stack: &stack::Stack, account: &Inventory| {
        let plan = down(stack, account, &[Component::Database]);
        plan.steps.into_iter().find(|step| step.resource == Resource::Database).unwrap().detail
    };
    assert_eq!(detail(&stack, &account), "WITHOUT a final snapshot");
    stack.database.final_snapshot = true;
    assert_eq!(detail(&stack, &account), "with a final snapshot");
    account.database.as_mut().unwrap().deletion_protection = true;
    assert_eq!(detail(&stack, &account), "protected against deletion; with a final snapshot");
}

#[test]
fn up_of_a_part_brings_what_it_needs() {
    let plan = up(&fixture::stack(), &Inventory::default(), &[Component::Bastion]);
    let mut components: Vec<_> = plan.steps.iter().map(|step| step.resource.component()).collect();
    components.dedup();
    assert_eq!(components, [Component::Network, Component::SecurityGroups, Component::Bastion]);
    let plan = up(&fixture::stack(), &Inventory::default(), &[Component::Secrets]);
    assert_eq!(resources(&plan), [Resource::MasterSecret]);
}

#[test]
fn down_of_a_part_takes_what_depends_on_it() {
    let stack = fixture::stack();
    let account = fixture::complete(&stack);
    let components = |only| {
        let plan = down(&stack, &account, &[only]);
        let mut components: Vec<_> = plan.steps.iter().map(|step| step.resource.component()).collect();
        components.dedup();
        components
    };
    use Component as C;
    assert_eq!(components(C::Bastion), [C::Bastion]);
    assert_eq!(components(C::Database), [C::Database]);
    assert_eq!(components(C::Secrets), [C::Database, C::Secrets]);
    assert_eq!(components(C::Network), [C::Bastion, C::Database, C::SecurityGroups, C::Network]);
}

#[test]
fn the_expected_time_is_that_of_the_longest_chain() {
    let stack = fixture::stack();
    let plan = up(&stack, &Inventory::default(), &[]);
    // Network 2 + 2, subnet group 3, database 600: the bastion is ready long before.
    assert_eq!(plan.critical_path(), Duration::from_secs(607));
    assert_eq!(plan.minutes(), 11);
    let sum: Duration = plan.steps.iter().map(|step| step.typical).sum();
    assert!(plan.critical_path() < sum);
    assert_eq!(up(&stack, &Inventory::default(), &[Component::Bastion]).minutes(), 3);
    assert_eq!(down(&stack, &fixture::complete(&stack), &[]).minutes(), 7);
}

#[test]
fn removals_on_the_way_down_wait_for_their_users_alone() {
    let stack = fixture::stack();
    let plan = down(&stack, &fixture::complete(&stack), &[]);
    let at = |resource| plan.steps.iter().position(|step| step.resource == resource).unwrap();
    assert!(plan.needs(at(Resource::Instance)).is_empty());
    assert!(plan.needs(at(Resource::Database)).is_empty());
    assert_eq!(plan.needs(at(Resource::SubnetGroup)), [at(Resource::Database)]);
    assert_eq!(plan.needs(at(Resource::Role)), [at(Resource::Profile)]);
}

#[test]
fn log_groups_go_after_the_database_that_writes_them() {
    let stack = fixture::stack();
    let mut account = fixture::complete(&stack);
    account.log_groups.clear();
    let plan = down(&stack, &account, &[]);
    let at = |resource| plan.steps.iter().position(|step| step.resource == resource).unwrap();
    assert_eq!(plan.needs(at(Resource::LogGroups)), [at(Resource::Database)]);
    assert_eq!(plan.steps[at(Resource::LogGroups)].detail, "whatever RDS makes until it is gone");
    // Nothing logs, nothing was logged.
    account.database.as_mut().unwrap().logs.clear();
    let plan = down(&stack, &account, &[]);
    assert!(!resources(&plan).contains(&Resource::LogGroups));
}

#[test]
fn what_is_off_is_neither_made_nor_counted() {
    let stack = fixture::without_watch();
    let off = [Resource::MonitoringRole, Resource::LogGroups, Resource::Topic, Resource::Alarms];
    let plan = up(&stack, &Inventory::default(), &[]);
    assert!(plan.steps.iter().all(|step| !off.contains(&step.resource)));
    let account = fixture::complete(&stack);
    let plan = up(&stack, &account, &[]);
    assert_eq!(plan.unchanged, CREATE_ORDER.len() - off.len());
    // What was on goes: the topic after the alarms that tell it. Logs stay, they are data.
    let account = Inventory { alarms: fixture::complete(&fixture::stack()).alarms, ..account };
    let plan = up(&stack, &account, &[]);
    let subjects: Vec<&str> = plan.steps.iter().map(stack::plan::Step::subject).collect();
    assert_eq!(subjects, ["alarm", "alarm", "alarm", "alarm", "alarm topic", "monitoring role"]);
    assert_eq!(plan.needs(4), [0, 1, 2, 3]);
    assert_eq!(plan.steps[0].detail, "alarms are off in the stack file");
}

#[test]
fn a_plan_reads_well_as_json() {
    let mut account = fixture::complete(&fixture::stack());
    account.instances.clear();
    let plan = up(&fixture::stack(), &account, &[]);
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["direction"], "up");
    assert_eq!(json["unchanged"], 21);
    assert_eq!(json["steps"][0]["resource"], "instance");
    assert_eq!(json["steps"][0]["action"]["action"], "create");
    assert_eq!(json["steps"][0]["typical_seconds"], 90);
}

#[test]
fn a_start_touches_nothing_but_the_bastion() {
    use stack::plan::start;
    let stack = fixture::stack();
    let mut account = fixture::complete(&stack);
    assert!(start(&stack, &account).unwrap().is_empty());
    // What else is wrong is for `up` to mend.
    account.gateways.clear();
    account.instances[0].state = "stopped".into();
    account.agent = None;
    let plan = start(&stack, &account).unwrap();
    let steps: Vec<_> = plan.steps.iter().map(|step| (step.resource, step.action.clone())).collect();
    assert_eq!(steps, [(Resource::Instance, Action::Start), (Resource::Session, Action::Wait)]);
    assert_eq!(plan.needs(1), [0]);
    account.instances[0].profile_arn = None;
    assert_eq!(start(&stack, &account), None, "no start mends that");
    account.instances.clear();
    assert_eq!(start(&stack, &account), None);
}

#[test]
fn down_does_with_the_data_as_told() {
    let stack = fixture::stack();
    let mut account = fixture::complete(&stack);
    account.secrets[1].scheduled_for_deletion = true;
    let with = |secrets: SecretRetention| {
        let retention = Retention { snapshot: Snapshot::Named("last".into()), secrets };
        let plan = down_with(&account, &[], &retention);
        let of = |wanted: Resource| {
            let steps = plan.steps.iter().filter(move |step| step.resource == wanted);
            steps.map(|step| format!("{} {}", step.action.verb(), step.detail)).collect::<Vec<_>>()
        };
        assert_eq!(of(Resource::Database), ["delete with the final snapshot `last`"]);
        of(Resource::MasterSecret)
    };
    assert_eq!(with(SecretRetention::Keep), ["restore is scheduled for deletion"]);
    assert_eq!(
        with(SecretRetention::Recoverable { days: 9 }),
        [
            "delete can be restored for 9 days",
            "delete is in its recovery window already",
            "delete can be restored for 9 days"
        ]
    );
}

#[test]
fn a_plan_is_as_agreed_unless_it_does_something_else() {
    let stack = fixture::stack();
    let mut account = fixture::complete(&stack);
    account.database.iter_mut().for_each(|database| database.status = "creating".into());
    account.groups[0].rules.clear();
    let agreed = up(&stack, &account, &[]);
    account.database.iter_mut().for_each(|database| database.status = "backing-up-soon".into());
    assert!(up(&stack, &account, &[]).is_as_agreed(&agreed), "it is on its way");
    // Less is to be done, or more, or something else about the same thing.
    let less = up(&stack, &fixture::complete(&stack), &[]);
    assert!(!less.is_as_agreed(&agreed) && less.surprises(&agreed).is_empty());
    account.groups[1].rules.clear();
    let more = up(&stack, &account, &[]);
    assert!(!more.is_as_agreed(&agreed) && more.surprises(&agreed).is_empty());
    account.instances[0].profile_arn = None;
    let replaces = up(&stack, &account, &[]);
    let surprises: Vec<&Action> = replaces.surprises(&more).into_iter().map(|step| &step.action).collect();
    assert_eq!(surprises, [&Action::Delete { id: "i-1".into() }]);
    let before = down(&stack, &fixture::complete(&stack), &[]);
    let mut other = fixture::complete(&stack);
    other.instances.push(fixture::instance("i-2", "subnet-p", "sg-b"));
    let surprises = down(&stack, &other, &[]).surprises(&before).len();
    assert_eq!((surprises, before.surprises(&down(&stack, &other, &[])).len()), (1, 0));
}
