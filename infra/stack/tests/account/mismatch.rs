//! Names and the port, changed in the stack file of what exists; and secrets of others.

use stack::inventory::{Direction, Inventory, SecretEntry};
use stack::mismatch::{self, Mismatch};
use stack::plan::{Action, advice, drift, up};
use stack::{Resource, Stack, env};

use super::fixture::{complete, secret, stack};

fn found(stack: &Stack, inventory: &Inventory) -> Mismatch {
    mismatch::find(stack, inventory).expect("a name was changed")
}

fn changed(change: impl FnOnce(&mut Stack)) -> (Stack, Inventory) {
    let mut stack = stack();
    let inventory = complete(&stack);
    change(&mut stack);
    (stack, inventory)
}

#[test]
fn as_it_was_made_nothing_is_found() {
    let stack = stack();
    assert_eq!(mismatch::find(&stack, &complete(&stack)), None);
    assert_eq!(mismatch::find(&stack, &Inventory::default()), None);
}

#[test]
fn a_changed_prefix_is_met_with_the_line_to_write() {
    let (stack, inventory) = changed(|stack| stack.database.secret_prefix = "rds/new".into());
    let found = found(&stack, &inventory);
    let sentence = "the password of the master user is in secret `rds/webshop/multi-tenant-test/master`, and the stack \
                    file looks for it in `rds/new/master`, which does not exist; 2 more are like that";
    assert_eq!(found.sentence, sentence);
    let hint =
        "write `secret_prefix = \"rds/webshop/multi-tenant-test\"` under `[database]` in the stack file";
    assert_eq!(found.hint(), hint);
    // The line mends it, as `drift` and `status` say as well.
    let line = &found.lines[0];
    let shown = drift(&stack, &inventory);
    let shown = shown.iter().find(|one| one.resource == Resource::MasterSecret).unwrap();
    assert_eq!((shown.field, &shown.want, &shown.have), ("secret_prefix", &line.instead_of, &line.value));
    assert!(advice(&stack, &inventory)[0].contains(hint));
    let mut mended = stack.clone();
    mended.database.secret_prefix = line.value.clone();
    assert_eq!(mismatch::find(&mended, &inventory), None);
}

#[test]
fn lines_lead_to_a_master_secret_wherever_it_is() {
    // Written before, and taken out.
    let (stack, mut inventory) = changed(|_| ());
    inventory.secrets[0].name = "ops/database".into();
    assert_eq!(found(&stack, &inventory).lines[0].to_string(), "master_secret = \"ops/database\"");
    // Written now, and not before.
    let (stack, inventory) = changed(|stack| stack.database.master_secret = Some("ops/database".into()));
    let line = "master_secret = \"rds/webshop/multi-tenant-test/master\"";
    assert_eq!(found(&stack, &inventory).lines[0].to_string(), line);
    // Elsewhere, and the prefix was changed as well.
    let (stack, mut inventory) = changed(|stack| stack.database.secret_prefix = "rds/new".into());
    inventory.secrets[0].name = "ops/database".into();
    let lines: Vec<String> = found(&stack, &inventory).lines.iter().map(ToString::to_string).collect();
    let prefix = "secret_prefix = \"rds/webshop/multi-tenant-test\"";
    assert_eq!(lines, [prefix, "master_secret = \"ops/database\""]);
    // The master's is reached by its own name: only the roles' are not.
    let (stack, mut inventory) = changed(|stack| {
        stack.database.secret_prefix = "rds/new".into();
        stack.database.master_secret = Some("ops/database".into());
    });
    inventory.secrets[0].name = "ops/database".into();
    let found = found(&stack, &inventory);
    assert_eq!(found.lines.iter().map(ToString::to_string).collect::<Vec<_>>(), [prefix]);
    assert!(found.sentence.starts_with("the password of role `one` is in secret"), "{}", found.sentence);
}

#[test]
fn a_changed_master_user_is_met_with_the_one_that_rds_has() {
    let (stack, inventory) = changed(|stack| stack.database.master_user = "root_user".into());
    let found = found(&stack, &inventory);
    assert!(found.sentence.contains("is `dbadmin`, the stack file says `root_user`"), "{}", found.sentence);
    assert_eq!(found.lines[0].to_string(), "master_user = \"dbadmin\"");
    let fields: Vec<_> = drift(&stack, &inventory).iter().map(|one| one.field).collect();
    assert_eq!(fields, ["master_user"], "it is told once");
}

#[test]
fn what_is_left_from_before_harms_nobody() {
    // Passwords that an earlier version made anew under another prefix: those under the right names are used.
    let (stack, mut inventory) = changed(|_| ());
    inventory.secrets.extend([secret("rds/old/master"), secret("rds/old/one")]);
    assert_eq!(mismatch::find(&stack, &inventory), None);
    // Once there is no database, what is being deleted opens nothing; with `--keep-secrets` it is to be used again.
    let (stack, mut inventory) = changed(|stack| stack.database.secret_prefix = "rds/new".into());
    inventory.database = None;
    assert!(mismatch::find(&stack, &inventory).is_some());
    inventory.secrets.iter_mut().for_each(|secret| secret.scheduled_for_deletion = true);
    assert_eq!(mismatch::find(&stack, &inventory), None);
}

fn foreign(name: &str) -> SecretEntry {
    SecretEntry { tagged: false, owner: Some("webshop-other".into()), ..secret(name) }
}

#[test]
fn what_carries_another_stacks_tag_is_neither_used_nor_exported_nor_taken_down() {
    let stack = stack();
    let mut inventory = complete(&stack);
    let name = inventory.secrets[0].name.clone();
    inventory.secrets[0] = foreign(&name);
    assert_eq!(
        mismatch::foreign(&inventory).map(|one| one.name.as_str()).collect::<Vec<_>>(),
        [name.as_str()]
    );
    let plan = up(&stack, &inventory, &[]);
    let step = plan.steps.iter().find(|step| step.resource == Resource::MasterSecret).unwrap();
    assert_eq!(step.action, Action::Repair);
    assert!(step.detail.contains("stack `webshop-other`"), "{}", step.detail);
    // Its own is elsewhere: what the stack file leads to is there, and not its own.
    let mut both = inventory.clone();
    both.secrets.push(secret("rds/old/master"));
    assert!(found(&stack, &both).sentence.contains("/master`, which is not this stack's"));
    let exported = env::variables(&stack, "123456789012", &inventory);
    assert!(!exported.iter().any(|variable| variable.name == "MASTER_SECRET_ARN"), "{exported:?}");
    let down = stack::plan::down(&stack, &inventory, &[]);
    assert!(!down.steps.iter().any(|step| step.action == Action::Delete { id: name.clone() }));
    let alone = Inventory { secrets: vec![foreign(&name)], ..Inventory::default() };
    assert!(alone.is_empty(), "another's secret is nothing of the stack's");
}

#[test]
fn what_the_stack_has_under_another_prefix_is_taken_down_as_well() {
    let (stack, inventory) = changed(|stack| stack.database.secret_prefix = "rds/new".into());
    let down = stack::plan::down(&stack, &inventory, &[]);
    for secret in &inventory.secrets {
        let delete = Action::Delete { id: secret.name.clone() };
        assert!(down.steps.iter().any(|step| step.action == delete), "{} stays", secret.name);
    }
}

#[test]
fn rules_follow_the_port_that_the_database_listens_on() {
    let (stack, inventory) = changed(|stack| stack.database.port = 5433);
    let plan = up(&stack, &inventory, &[]);
    assert!(plan.is_empty(), "the rules would be taken from under the database: {:?}", plan.steps);
    let [advice] = &advice(&stack, &inventory)[..] else { panic!("one advice is enough") };
    for part in ["port 5432", "`port = 5432`", "--db-port-number 5433", "restarts the database"] {
        assert!(advice.contains(part), "no {part}: {advice}");
    }

    // RDS has changed it: `up` lets the bastion in there, and closes the old one.
    let mut moved = inventory;
    moved.database.as_mut().unwrap().endpoint.as_mut().unwrap().1 = 5433;
    let plan = up(&stack, &moved, &[]);
    let repaired: Vec<_> = plan.steps.iter().map(|step| step.resource).collect();
    assert_eq!(repaired, [Resource::BastionRules, Resource::DatabaseRules]);
    for step in &plan.steps {
        assert!(step.detail.contains("5432/tcp") && step.detail.contains("5433/tcp"), "{}", step.detail);
    }
    // Without one, the stack file decides.
    moved.database = None;
    moved.groups.iter_mut().for_each(|group| group.rules.retain(|rule| rule.direction != Direction::Ingress));
    let plan = up(&stack, &moved, &[]);
    let rules = plan.steps.iter().find(|step| step.resource == Resource::DatabaseRules).unwrap();
    assert!(rules.detail.contains("5433/tcp"), "{}", rules.detail);
}
