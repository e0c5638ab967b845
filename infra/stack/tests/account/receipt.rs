//! A receipt never says more than was seen.

use stack::plan::{Action, Plan, down};
use stack::receipt::*;

use crate::fixture;

fn plan() -> Plan {
    let stack = fixture::stack();
    down(&stack, &fixture::complete(&stack), &[])
}

fn head() -> Head {
    let text = |text: &str| text.to_owned();
    Head {
        stack: text("webshop-test"),
        account: text("123456789012"),
        region: text("us-east-1"),
        began_at: text("2026-01-01T00:00:00Z"),
        ended_at: text("2026-01-01T00:06:00Z"),
    }
}

/// Evidence that all of the plan is gone.
fn all_gone(plan: &Plan) -> Evidence {
    let gone = plan.steps.iter().filter(|step| is_thing(step)).filter_map(|step| {
        let Action::Delete { id } = &step.action else { return None };
        Some(Gone {
            kind: step.subject().to_owned(),
            id: id.clone(),
            at: "2026-01-01T00:05:00Z".to_owned(),
            call: "ec2:DescribeVpcs".to_owned(),
            answer: "none".to_owned(),
        })
    });
    Evidence { gone: gone.collect(), ..Evidence::default() }
}

fn left(kind: &str, id: &str) -> Left {
    Left { kind: kind.into(), id: id.into(), why: "it is there".into(), blockers: Vec::new(), command: None }
}

fn ids(left: &[Left]) -> Vec<(&str, &str)> {
    left.iter().map(|one| (one.kind.as_str(), one.id.as_str())).collect()
}

#[test]
fn all_that_was_to_go_is_gone_only_if_each_was_proved_and_the_last_look_was_whole() {
    let plan = plan();
    let receipt = Receipt::new(head(), &plan, all_gone(&plan), Audit::default());
    assert_eq!((receipt.verdict, receipt.gone.len()), (Verdict::Gone, 24));
    for without in 0..receipt.gone.len() {
        let mut evidence = all_gone(&plan);
        let lost = evidence.gone.remove(without);
        let receipt = Receipt::new(head(), &plan, evidence, Audit::default());
        assert_eq!(receipt.verdict, Verdict::Left);
        assert_eq!(ids(&receipt.left), [(lost.kind.as_str(), lost.id.as_str())]);
    }
}

#[test]
fn what_the_last_look_finds_is_not_gone() {
    let plan = plan();
    let found = vec![left("role", "webshop-test-us-east-1-bastion"), left("volume", "vol-1")];
    let audit = Audit { left: found, unseen: Vec::new() };
    let receipt = Receipt::new(head(), &plan, all_gone(&plan), audit);
    assert_eq!(receipt.verdict, Verdict::Left);
    assert_eq!(ids(&receipt.left), [("role", "webshop-test-us-east-1-bastion"), ("volume", "vol-1")]);
    // The profile has the role's name, and is gone.
    let same: Vec<&str> = receipt
        .gone
        .iter()
        .filter(|one| one.id == "webshop-test-us-east-1-bastion")
        .map(|one| one.kind.as_str())
        .collect();
    assert_eq!(same, ["instance profile"]);
}

#[test]
fn things_of_one_name_and_several_kinds_are_all_told() {
    let kinds = ["alarm", "database", "database subnet group", "instance profile", "role", "secret"];
    let found = kinds.iter().map(|kind| left(kind, "same-name")).collect();
    let audit = Audit { left: found, unseen: Vec::new() };
    let nothing = down(&fixture::stack(), &stack::Inventory::default(), &[]);
    let receipt = Receipt::new(head(), &nothing, Evidence::default(), audit);
    assert_eq!(ids(&receipt.left), kinds.map(|kind| (kind, "same-name")));
}

#[test]
fn a_list_that_failed_is_never_empty() {
    let plan = plan();
    let unseen =
        Unseen { what: "roles".into(), call: "iam:ListRoles".into(), why: "no (AccessDenied)".into() };
    let audit = Audit { left: Vec::new(), unseen: vec![unseen.clone()] };
    let receipt = Receipt::new(head(), &plan, all_gone(&plan), audit);
    assert_eq!((receipt.verdict, receipt.unseen), (Verdict::Unproved, vec![unseen]));
}

#[test]
fn what_stays_as_told_is_neither_gone_nor_left() {
    let plan = plan();
    let name = "rds/webshop/multi-tenant-test/master";
    let mut evidence = all_gone(&plan);
    evidence.gone.retain(|one| one.id != name);
    let (kind, why, command) = ("secret".into(), "can be restored".into(), "aws ..".into());
    evidence.kept.push(Kept { kind, id: name.into(), why, command });
    let audit = Audit { left: vec![left("secret", name)], unseen: Vec::new() };
    let receipt = Receipt::new(head(), &plan, evidence, audit);
    assert_eq!((receipt.verdict, receipt.kept.len()), (Verdict::Gone, 1));
}

#[test]
fn a_failed_step_keeps_its_blockers_when_the_last_look_finds_it_too() {
    let plan = plan();
    let mut evidence = all_gone(&plan);
    evidence.gone.retain(|one| one.id != "subnet-p");
    let blocker = Blocker {
        kind: "network interface".into(),
        id: "eni-1".into(),
        owner: Some("123456789012".into()),
        detail: "attached to nothing".into(),
        command: "aws ..".into(),
    };
    assert_eq!(blocker.render(), "network interface eni-1 attached to nothing, owner 123456789012");
    evidence.left.push(Left { blockers: vec![blocker], ..left("public subnet", "subnet-p") });
    let audit = Audit { left: vec![left("subnet", "subnet-p")], unseen: Vec::new() };
    let receipt = Receipt::new(head(), &plan, evidence, audit);
    assert_eq!(ids(&receipt.left), [("public subnet", "subnet-p")]);
    assert_eq!(receipt.left[0].blockers.len(), 1);
}
