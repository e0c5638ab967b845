//! What a month costs.

use std::time::Duration;

use stack::cost::{MonthlyPrice, bastion_hourly, difference, of_inventory, of_stack};
use stack::{Inventory, Stack, config};

use crate::fixture;

fn shipped() -> Stack {
    config::parse(include_str!("../../../../tests/workspace/infra/stack.toml"), "stack.toml").unwrap()
}

fn price(stack: &Stack, name: &str) -> (String, String) {
    let bill = of_stack(stack);
    let item = bill.items.iter().find(|item| item.name == name).unwrap();
    let words = |price: Option<MonthlyPrice>| price.map_or("unknown".to_owned(), |price| price.to_string());
    (words(item.monthly_running), words(item.monthly_stopped))
}

fn both(running: &str, stopped: &str) -> (String, String) {
    (running.to_owned(), stopped.to_owned())
}

#[test]
fn the_shipped_stack_costs_what_the_price_pages_say() {
    let stack = shipped();
    assert_eq!(price(&stack, "database db.t4g.small"), both("$23.36", "$23.36"));
    assert_eq!(price(&stack, "database storage 20 GiB"), both("$2.30", "$2.30"));
    assert_eq!(price(&stack, "bastion t3.micro"), both("$7.59", "$0.00"));
    assert_eq!(price(&stack, "bastion public IPv4 address"), both("$3.65", "$0.00"));
    assert_eq!(price(&stack, "bastion volume 8 GiB"), both("$0.64", "$0.64"));
    assert_eq!(price(&stack, "4 secrets"), both("$1.60", "$1.60"));
    let bill = of_stack(&stack);
    // 25.66 for the database; 11.88 or 0.64 for the bastion; 1.60 for the secrets.
    assert_eq!((bill.running().to_string(), bill.stopped().to_string()), ("$39.14".into(), "$27.90".into()));
    assert_eq!((bill.as_of, bill.note), ("2026-11", None));
}

#[test]
fn the_whole_account_costs_what_the_stack_says() {
    let stack = fixture::stack();
    let bill = of_inventory(&stack, &fixture::complete(&stack));
    assert_eq!(bill, of_stack(&stack));
}

#[test]
fn an_empty_account_costs_nothing() {
    let bill = of_inventory(&fixture::stack(), &Inventory::default());
    assert_eq!((bill.items.len(), bill.running().to_string()), (0, "$0.00".into()));
}

#[test]
fn an_unknown_type_is_unknown_and_never_free() {
    let mut stack = shipped();
    stack.bastion.instance_type = "z9.gigantic".into();
    assert_eq!(price(&stack, "bastion z9.gigantic"), both("unknown", "$0.00"));
    let bill = of_stack(&stack);
    assert!(!bill.running().complete && bill.stopped().complete);
    assert_eq!(bill.running().to_string(), "at least $31.55");
    stack.database.class = "db.z9.gigantic".into();
    assert_eq!(of_stack(&stack).stopped().to_string(), "at least $4.54");
}

#[test]
fn another_region_is_told() {
    let mut stack = shipped();
    stack.region = "eu-central-1".into();
    let note = of_stack(&stack).note.unwrap();
    assert_eq!(note, "prices of us-east-1; those of eu-central-1 differ");
}

#[test]
fn a_standby_costs_as_much_again() {
    let mut stack = shipped();
    stack.database.multi_az = true;
    assert_eq!(price(&stack, "database db.t4g.small").0, "$46.72");
    assert_eq!(price(&stack, "database storage 20 GiB").0, "$4.60");
}

#[test]
fn tenants_that_share_an_owner_share_its_secret() {
    let mut stack = shipped();
    stack.tenants.iter_mut().for_each(|tenant| tenant.owner = "both".into());
    assert_eq!(price(&stack, "2 secrets").0, "$0.80");
}

#[test]
fn alarms_are_free_up_to_the_tenth() {
    let mut stack = shipped();
    stack.alarms.enabled = true;
    assert_eq!(price(&stack, "4 alarms").0, "$0.00");
    let stack = fixture::stack();
    let mut account = fixture::complete(&stack);
    let alarm = account.alarms[0].clone();
    account.alarms.extend(std::iter::repeat_n(alarm, 8));
    let bill = of_inventory(&stack, &account);
    let item = bill.items.iter().find(|item| item.name == "12 alarms").unwrap();
    assert_eq!(item.monthly_now.unwrap().to_string(), "$0.20");
}

#[test]
fn a_stopped_database_costs_its_storage() {
    let stack = fixture::stack();
    let mut account = Inventory { database: fixture::complete(&stack).database, ..Inventory::default() };
    account.database.as_mut().unwrap().status = "stopped".into();
    assert_eq!(of_inventory(&stack, &account).running().to_string(), "$2.30");
}

#[test]
fn a_running_bastion_costs_about_one_and_a_half_cents_an_hour() {
    assert_eq!(bastion_hourly("t3.micro", 8).unwrap().to_string(), "$0.016");
    assert_eq!(bastion_hourly("z9.gigantic", 8), None);
}

#[test]
fn a_bill_reads_in_dollars_as_json() {
    let json = serde_json::to_value(of_stack(&shipped())).unwrap();
    assert_eq!(json["items"][1]["monthly_running"], 2.3);
    let unknown = Stack {
        bastion: stack::spec::Bastion { instance_type: "z9.x".into(), ..shipped().bastion },
        ..shipped()
    };
    let json = serde_json::to_value(of_stack(&unknown)).unwrap();
    assert!(json["items"][2]["monthly_running"].is_null());
}

#[test]
fn what_a_stopped_bastion_costs_now_is_its_volume() {
    let stack = fixture::stack();
    let mut account = fixture::complete(&stack);
    let running = of_inventory(&stack, &account);
    assert_eq!(running.now(), running.running());
    account.instances[0].state = "stopped".into();
    let stopped = of_inventory(&stack, &account);
    assert_eq!(stopped.now(), running.stopped());
    assert_eq!(difference(stopped.now(), stopped.running()), "$27.50 a month now, $38.74 then: $11.24 more");
    assert_eq!(difference(running.now(), stopped.now()), "$38.74 a month now, $27.50 then: $11.24 less");
    assert!(difference(running.now(), running.now()).ends_with(": no more, no less"));
}

#[test]
fn a_difference_to_an_unknown_price_is_said_to_be_one() {
    let mut stack = shipped();
    let now = of_inventory(&stack, &Inventory::default()).now();
    stack.bastion.instance_type = "z9.gigantic".into();
    let text = difference(now, of_stack(&stack).running());
    assert_eq!(text, "$0.00 a month now, at least $31.55 then: $31.55 more, as far as prices are known");
}

#[test]
fn an_hourly_price_over_a_time_is_exact_to_the_cent() {
    let hourly = bastion_hourly("t3.micro", 8).unwrap();
    assert_eq!(hourly.over(Duration::from_secs(1)).to_string(), "$0.00");
    // 0.0104 + 0.005 + 0.64 / 730, a hundred times.
    assert_eq!(hourly.over(Duration::from_secs(360_000)).to_string(), "$1.63");
}
