//! Results about the stack: status, plans, receipts, who is connected.

use aws::bastion::Connected;
use jiff::Timestamp;
use proptest::prelude::*;
use stack::diagnosis::{self, Diagnosis, Link};
use stack::inventory::{Agent, Direction, Holder, Instance, Lock, Peer, Rule, SecretEntry, SecurityGroup};
use stack::receipt::{Audit, Blocker, Evidence, Gone, Head, Kept, Left, Receipt, Unseen};
use stack::{Inventory, Stack};

use super::{hostile, is_page, is_result};
use crate::connected;
use crate::report::resources::Resources;
use crate::report::status::Status;
use crate::task::{audit, doctor, down, plan, status, sweep};

fn stack() -> Stack {
    stack::config::parse("project = \"a\"\nenvironment = \"b\"\nregion = \"us-east-1\"\n", "x").unwrap()
}

fn audit_of(text: &str) -> Audit {
    let one = || text.to_owned();
    let blocker = Blocker { kind: one(), id: one(), owner: Some(one()), detail: one(), command: one() };
    Audit {
        left: vec![Left {
            kind: "part".to_owned(),
            id: one(),
            why: one(),
            blockers: vec![blocker],
            command: Some(one()),
        }],
        unseen: vec![Unseen { what: "part".to_owned(), call: one(), why: one() }],
    }
}

fn receipt(text: &str) -> Receipt {
    let one = || text.to_owned();
    let head = Head { stack: one(), account: one(), region: one(), began_at: one(), ended_at: one() };
    let Audit { left, unseen } = audit_of(text);
    let evidence = Evidence {
        gone: vec![Gone { kind: one(), id: one(), at: one(), call: one(), answer: one() }],
        kept: vec![Kept { kind: one(), id: one(), why: one(), command: one() }],
        left,
        unseen,
    };
    let plan = stack::plan::down(&stack(), &Inventory::default(), &[]);
    Receipt::new(head, &plan, evidence, Audit::default())
}

fn inventory(text: &str) -> Inventory {
    let one = || text.to_owned();
    let rule = Rule {
        direction: Direction::Ingress,
        protocol: one(),
        ports: None,
        peer: Peer::Cidr(one()),
        description: Some(one()),
    };
    let group = SecurityGroup {
        id: one(),
        vpc: one(),
        name: one(),
        resource: "database-group".to_owned(),
        rules: vec![rule],
    };
    let instance = Instance {
        id: one(),
        state: "running".to_owned(),
        instance_type: one(),
        subnet: Some(one()),
        public_ip: Some(one()),
        profile_arn: Some(one()),
        groups: vec![one()],
        launched_at: Some(one()),
        rebooted_at: None,
        volume_gib: None,
        keep_until: Some(one()),
        expires_at: Some(one()),
        reads_tags: true,
    };
    let secret = SecretEntry {
        name: stack().master_secret_name(),
        arn: one(),
        scheduled_for_deletion: true,
        tagged: true,
        owner: Some(one()),
        resource: one(),
        created_at: Some(one()),
    };
    let holder =
        Holder { task: one(), by: one(), process: 1, program: one(), token: one(), displaced: Vec::new() };
    Inventory {
        groups: vec![group],
        instances: vec![instance],
        secrets: vec![secret],
        agent: Some(Agent { instance: one(), ping_status: one(), version: Some(one()) }),
        locks: vec![Lock { name: one(), number: 1, holder: Some(holder), version: 1 }],
        log_groups: vec![one()],
        ..Inventory::default()
    }
}

fn diagnosis_of(text: &str) -> Diagnosis {
    let link = |verdict| Link {
        name: "agent",
        verdict,
        cause: None,
        sentence: format!("the agent: {text}"),
        evidence: text.to_owned(),
        command: Some(text.to_owned()),
    };
    use diagnosis::Verdict as V;
    Diagnosis { links: [V::Pass, V::Fail, V::Unknown, V::Skipped].map(link).to_vec() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_result_about_the_stack_is_text_json_and_a_page(text in hostile()) {
        let (stack, inventory, now) = (stack(), inventory(&text), Timestamp::UNIX_EPOCH);
        let shown = Status::new(&stack, &text, inventory.clone(), now);
        is_result(&status::render(&shown), &shown)?;
        is_page(&shown.html())?;
        let shown = Resources::new(&stack, &text, &inventory, now);
        is_result(&shown.render(), &shown)?;
        is_page(&shown.html())?;
        for plan in [stack::plan::up(&stack, &inventory, &[]), stack::plan::down(&stack, &inventory, &[])] {
            is_result(&plan::render(&stack, &inventory, &plan), &plan::document(&stack, &inventory, &plan))?;
        }
        let shown = diagnosis_of(&text);
        is_result(&doctor::render(&shown), &shown)?;
        let shown = audit_of(&text);
        is_result(&audit::render(&shown), &shown)?;
        let shown = receipt(&text);
        is_result(&down::render(&shown), &shown)?;
        let shown = [Connected { session_id: text.clone(), owner: text.clone(), since: Some(text.clone()) }];
        is_result(&connected::render(&shown), &shown)?;
        let (id, expires_at) = (text.clone(), text.clone());
        let shown = [aws::bastion::Ephemeral { id, stack: text.clone(), state: text.clone(), expires_at }];
        is_result(&sweep::list(&shown.iter().collect::<Vec<_>>(), &[], &[]), &shown)?;
    }
}
