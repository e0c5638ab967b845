//! Everything that exists is listed once, and nothing else.

use stack::inventory::Volume;
use stack::resource::CREATE_ORDER;
use stack::{Inventory, Resource, resource_entry};

use crate::fixture;

#[test]
fn a_whole_stack_is_listed_in_the_order_of_its_steps() {
    let stack = fixture::stack();
    let account = fixture::complete(&stack);
    let entries = resource_entry::entries(&stack, &account);
    let at = |step: Resource| CREATE_ORDER.iter().position(|one| *one == step);
    assert!(entries.is_sorted_by_key(|entry| at(entry.step)), "{entries:?}");
    let mut ids: Vec<(&str, &str)> = entries.iter().map(|entry| (entry.kind, entry.id.as_str())).collect();
    assert_eq!(ids.len(), 29);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 29, "something is listed twice");
    assert!(resource_entry::absent(&stack, &account).is_empty());
    let volume = entries.iter().find(|entry| entry.kind == "volume").unwrap();
    assert_eq!((volume.detail.as_str(), volume.state.as_deref()), ("8 GiB of i-1", Some("in-use")));
}

#[test]
fn what_is_left_over_is_listed_and_what_is_not_there_is_named() {
    let stack = fixture::stack();
    let mut account =
        Inventory { vpcs: vec![fixture::vpc("vpc-1"), fixture::vpc("vpc-2")], ..Inventory::default() };
    let volume = |instance: Option<&str>| Volume {
        id: "vol-9".into(),
        instance: instance.map(str::to_owned),
        size_gib: None,
        state: "available".into(),
        created_at: None,
    };
    account.volumes.push(volume(None));
    let entries = resource_entry::entries(&stack, &account);
    let ids: Vec<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(ids, ["vpc-1", "vpc-2", "vol-9"]);
    assert_eq!(entries[2].detail, "of unknown size, at no instance");
    let absent = resource_entry::absent(&stack, &account);
    assert!(absent.contains(&Resource::Database) && !absent.contains(&Resource::Vpc), "{absent:?}");
    // A tenant's secret and a volume that was left are not what a step is for.
    account.volumes = vec![volume(Some("i-gone"))];
    account.secrets.push(fixture::secret(&stack.role_secret_name("one")));
    assert_eq!(resource_entry::entries(&stack, &account).len(), 4);
    let absent = resource_entry::absent(&stack, &account);
    assert!(absent.contains(&Resource::MasterSecret) && absent.contains(&Resource::Instance), "{absent:?}");
}

#[test]
fn aws_is_quoted_for_steps_that_only_form_another_ones_thing() {
    let stack = fixture::stack();
    let account = fixture::complete(&stack);
    let says = |step, id: &str| resource_entry::says(step, &stack, &account, id);
    assert_eq!(says(Resource::Vpc, "vpc-1"), "available, 10.42.0.0/16");
    assert_eq!(says(Resource::VpcDns, "vpc-1"), "DNS support on, DNS host names on");
    assert_eq!(says(Resource::BastionRules, "sg-b"), "rules: 0 in, 2 out");
    assert_eq!(says(Resource::Vpc, "vpc-9"), "");
}
