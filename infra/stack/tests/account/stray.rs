//! What has the stack's tag or one of its names and is no part of it: runs that would harm it do not begin.

use stack::inventory::{Claim, DatabaseInstance, Inventory, Stray};
use stack::plan::{self, Retention, SecretRetention, Snapshot};
use stack::stray::{refuse_down, refuse_up};
use stack::{Component, Resource};

use crate::fixture;

fn stray(database: &DatabaseInstance, claim: Claim) -> Stray {
    Stray {
        resource: Resource::Database,
        id: database.identifier.clone(),
        arn: Some(database.arn.clone()),
        state: Some(database.status.clone()),
        claim,
    }
}

/// Returns a whole stack whose database is not a part of it any more.
fn without_its_database(claim: Claim) -> (stack::Stack, Inventory) {
    let mut stack = fixture::stack();
    let mut account = fixture::complete(&stack);
    let database = account.database.take().expect("a whole stack has one");
    if claim == Claim::OtherName {
        stack.database.identifier = "renamed".to_owned();
    }
    account.strays = vec![stray(&database, claim)];
    (stack, account)
}

fn retention() -> Retention {
    Retention { snapshot: Snapshot::Skip, secrets: SecretRetention::Delete }
}

#[test]
fn a_changed_identifier_makes_no_second_database_and_deletes_no_secret() {
    let (stack, account) = without_its_database(Claim::OtherName);
    let old = account.strays[0].id.clone();
    let refusal = refuse_up(&stack, &account, &plan::up(&stack, &account, &[])).expect("it is refused");
    assert!(refusal.message.contains(&old) && refusal.message.contains("renamed"), "{refusal:?}");
    assert!(refusal.hints[0].contains(&format!("`identifier = \"{old}\"`")), "{refusal:?}");
    // What makes no database harms none.
    let bastion = plan::up(&stack, &account, &[Component::Bastion]);
    assert_eq!(refuse_up(&stack, &account, &bastion), None);

    let down = plan::down_with(&account, &[], &retention());
    let (refusal, left) = refuse_down(&stack, &account, &down).expect("it is refused");
    assert!(refusal.hints[0].contains(&format!("`identifier = \"{old}\"`")), "{refusal:?}");
    assert_eq!(left.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), [old.as_str()]);
    for component in [Component::Secrets, Component::Database, Component::SecurityGroups, Component::Network]
    {
        let down = plan::down_with(&account, &[component], &retention());
        assert!(refuse_down(&stack, &account, &down).is_some(), "{component:?}");
    }
    let bastion = plan::down_with(&account, &[Component::Bastion], &retention());
    assert_eq!(refuse_down(&stack, &account, &bastion), None, "the bastion is nothing that it needs");
}

#[test]
fn a_database_that_has_lost_its_tag_keeps_what_it_needs() {
    let (stack, account) = without_its_database(Claim::NoTag);
    let down = plan::down_with(&account, &[], &retention());
    let (refusal, _) = refuse_down(&stack, &account, &down).expect("it is refused");
    assert!(refusal.hints[0].contains("aws rds add-tags-to-resource"), "{refusal:?}");
    let refusal = refuse_up(&stack, &account, &plan::up(&stack, &account, &[])).expect("it is refused");
    assert!(refusal.message.contains("does not belong to this stack"), "{refusal:?}");
}

#[test]
fn what_is_going_away_and_what_is_a_copy_hold_nothing_up_but_a_teardown() {
    let (stack, mut account) = without_its_database(Claim::OtherName);
    account.strays[0].state = Some("deleting".to_owned());
    assert_eq!(refuse_up(&stack, &account, &plan::up(&stack, &account, &[])), None);
    assert_eq!(refuse_down(&stack, &account, &plan::down_with(&account, &[], &retention())), None);

    // A copy that was restored carries the tags of what it was copied from.
    let stack = fixture::stack();
    let mut account = fixture::complete(&stack);
    let copy = DatabaseInstance { identifier: "copy".to_owned(), ..account.database.clone().unwrap() };
    account.strays = vec![stray(&copy, Claim::OtherName)];
    assert_eq!(refuse_up(&stack, &account, &plan::up(&stack, &account, &[])), None);
    let drift = plan::drift(&stack, &account);
    assert!(drift.iter().any(|one| one.field == "identifier" && one.have.contains("copy")), "{drift:?}");
    assert!(refuse_down(&stack, &account, &plan::down_with(&account, &[], &retention())).is_some());
}

#[test]
fn a_name_that_is_taken_is_found_before_anything_is_made() {
    let stack = fixture::stack();
    let account = Inventory::default();
    let up = plan::up(&stack, &account, &[]);
    let taken = |resource, id: String, claim| Inventory {
        strays: vec![Stray { resource, id, arn: None, state: None, claim }],
        ..Inventory::default()
    };
    for (resource, id, claim, part) in [
        (Resource::SubnetGroup, stack.subnet_group_name(), Claim::NoTag, "subnet_group"),
        (Resource::Topic, stack.topic_name(), Claim::NoTag, "aws sns tag-resource"),
        (Resource::Role, stack.role_name(), Claim::NoTag, "aws iam tag-role"),
        (Resource::Role, stack.role_name(), Claim::OtherRegion("us-west-2".to_owned()), "`role`"),
        (Resource::Profile, stack.profile_name(), Claim::NoTag, "aws iam tag-instance-profile"),
        (Resource::MonitoringRole, stack.monitoring_role_name(), Claim::NoTag, "aws iam tag-role"),
    ] {
        let account = taken(resource, id.clone(), claim);
        let refusal = refuse_up(&stack, &account, &up).expect("it is refused");
        assert!(refusal.message.contains(&id), "{refusal:?}");
        assert!(refusal.hints.iter().any(|hint| hint.contains(part)), "{part}: {refusal:?}");
    }
    // What an earlier version made has another name than `up` gives.
    let earlier = stack.earlier_role_name().expect("no name is written");
    let account = taken(Resource::Role, earlier, Claim::NoRegion);
    assert_eq!(refuse_up(&stack, &account, &up), None);
}

#[test]
fn what_an_earlier_version_made_is_used_as_it_is_and_tagged() {
    let stack = fixture::stack();
    let mut account = fixture::complete(&stack);
    let earlier = "webshop-test-bastion".to_owned();
    let role = account.role.as_mut().expect("a role");
    (role.name, role.has_region) = (earlier.clone(), false);
    let profile = account.profile.as_mut().expect("a profile");
    (profile.name, profile.roles, profile.has_region) = (earlier.clone(), vec![earlier.clone()], false);
    let up = plan::up(&stack, &account, &[]);
    let steps: Vec<(Resource, &str)> = up.steps.iter().map(|s| (s.resource, s.action.verb())).collect();
    assert_eq!(steps, [(Resource::Role, "repair"), (Resource::Profile, "repair")], "{up:?}");
    assert!(up.steps.iter().all(|step| step.detail.contains("drawbridge:region us-east-1")), "{up:?}");
    account.role.as_mut().expect("a role").has_region = true;
    account.profile.as_mut().expect("a profile").has_region = true;
    assert!(plan::up(&stack, &account, &[]).is_empty());
    assert_eq!(stack::finding::bastion(&stack, &account), []);
}
