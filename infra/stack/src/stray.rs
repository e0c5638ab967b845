//! What has the stack's tag or one of its names and is not a part of it as it stands: it is neither used nor deleted, and
//! a run that would harm it does not begin.

use crate::inventory::{Claim, Inventory, Stray};
use crate::plan::{Action, Plan};
use crate::receipt::Left;
use crate::resource::{Component, Resource};
use crate::spec::{REGION_TAG, RESOURCE_TAG, STACK_TAG, Stack};

/// Why a run does not begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is in the way, in one sentence.
    pub message: String,
    /// What to write or to type, an imperative each.
    pub hints: Vec<String>,
}

impl Stray {
    /// Tells whether it is there to stay.
    pub fn lives(&self) -> bool {
        self.state.as_deref() != Some("deleting")
    }

    /// Returns what people read of it.
    pub fn why(&self, stack: &Stack) -> String {
        let name = &stack.name;
        let state = self.state.as_ref().map(|state| format!(" ({state})")).unwrap_or_default();
        match &self.claim {
            Claim::OtherName => {
                format!("carries the tag of stack `{name}`{state}; the stack file gives another name")
            }
            Claim::NoTag => {
                format!("has the name that the stack file gives{state}, and not the tag of stack `{name}`")
            }
            Claim::NoRegion => {
                format!("is of stack `{name}`; of which region is not known, so it is not touched")
            }
            Claim::OtherRegion(region) => format!("is of stack `{name}` in `{region}`"),
        }
    }

    /// Returns the command that says whose it is: of a database under another name, that it is not the stack's; of all
    /// else, that it is the stack's in this region.
    pub fn command(&self, stack: &Stack) -> Option<String> {
        let Stack { name, region, .. } = stack;
        let part = self.resource.tag();
        let tags = format!("Key={STACK_TAG},Value={name} Key={RESOURCE_TAG},Value={part}");
        let id = &self.id;
        let arn = || self.arn.as_deref().unwrap_or("ARN");
        match (&self.claim, self.resource) {
            (Claim::OtherRegion(_), _) => None,
            (Claim::OtherName, Resource::Database | Resource::SubnetGroup) => Some(format!(
                "aws rds remove-tags-from-resource --resource-name {} --tag-keys {STACK_TAG} --region {region}",
                arn()
            )),
            (Claim::NoTag, Resource::Database | Resource::SubnetGroup) => Some(format!(
                "aws rds add-tags-to-resource --resource-name {} --tags {tags} --region {region}",
                arn()
            )),
            (_, Resource::Role | Resource::MonitoringRole) => Some(format!(
                "aws iam tag-role --role-name {id} --tags {tags} Key={REGION_TAG},Value={region}"
            )),
            (_, Resource::Profile) => Some(format!(
                "aws iam tag-instance-profile --instance-profile-name {id} --tags {tags} \
                 Key={REGION_TAG},Value={region}"
            )),
            (Claim::NoTag, Resource::Topic) => {
                Some(format!("aws sns tag-resource --resource-arn {} --tags {tags} --region {region}", arn()))
            }
            _ => None,
        }
    }

    /// Returns it as something that is left.
    pub fn left(&self, stack: &Stack) -> Left {
        Left {
            kind: kind(self.resource).to_owned(),
            id: self.id.clone(),
            why: self.why(stack),
            blockers: Vec::new(),
            command: self.command(stack),
        }
    }
}

/// Returns what messages call it, in the words of `audit`.
fn kind(resource: Resource) -> &'static str {
    // As `audit` lists them.
    if matches!(resource, Resource::Role | Resource::MonitoringRole) { "role" } else { resource.title() }
}

/// Returns why a plan for `up` must not be carried out: it would make a second database, or run into what is not the
/// stack's in the middle.
pub fn refuse_up(stack: &Stack, inventory: &Inventory, plan: &Plan) -> Option<Refusal> {
    let makes = |resource: Resource| {
        plan.steps.iter().any(|step| step.resource == resource && step.action == Action::Create)
    };
    let second = inventory.strays.iter().find(|stray| {
        stray.resource == Resource::Database && stray.claim == Claim::OtherName && stray.lives()
    });
    if let Some(stray) = second.filter(|_| makes(Resource::Database) || makes(Resource::MasterSecret)) {
        let (old, new) = (&stray.id, &stack.database.identifier);
        let mut hints = vec![
            format!(
                "write `identifier = \"{old}\"` under `[database]` to go on with the database that there is"
            ),
            format!(
                "to rename the database, do so in AWS first: `aws rds modify-db-instance --db-instance-identifier \
                 {old} --new-db-instance-identifier {new} --apply-immediately`"
            ),
        ];
        hints.extend(
            stray.command(stack).map(|command| {
                format!("if `{old}` is not the stack's any more, take its tag off: `{command}`")
            }),
        );
        let message = format!(
            "the stack has database `{old}`, and the stack file says `identifier = \"{new}\"`: this would make a \
             second one; nothing was changed"
        );
        return Some(Refusal { message, hints });
    }
    let taken: Vec<&Stray> = inventory
        .strays
        .iter()
        .filter(|stray| {
            stray.claim != Claim::OtherName && makes(stray.resource) && is_in_the_way(stack, stray)
        })
        .collect();
    if taken.is_empty() {
        return None;
    }
    let what = |stray: &&Stray| {
        let region = match &stray.claim {
            Claim::OtherRegion(region) => format!("belongs to the stack in `{region}`"),
            Claim::NoRegion => "is the stack's, of which region is not known".to_owned(),
            Claim::NoTag | Claim::OtherName => "does not belong to this stack".to_owned(),
        };
        format!("{} `{}` exists already and {region}", kind(stray.resource), stray.id)
    };
    let what = taken.iter().map(what).collect::<Vec<_>>().join("; ");
    let hints = taken.iter().flat_map(|stray| {
        let command = stray.command(stack);
        let own = command.map(|command| format!("if `{}` is this stack's: `{command}`", stray.id));
        own.into_iter().chain(other_name(stray))
    });
    Some(Refusal { message: format!("{what}; nothing was changed"), hints: hints.collect() })
}

/// Tells whether it has the very name that would be given.
fn is_in_the_way(stack: &Stack, stray: &Stray) -> bool {
    let in_iam = [
        (Resource::Role, stack.role_name()),
        (Resource::MonitoringRole, stack.monitoring_role_name()),
        (Resource::Profile, stack.profile_name()),
    ];
    in_iam.iter().all(|(resource, name)| *resource != stray.resource || *name == stray.id)
}

fn other_name(stray: &Stray) -> Option<String> {
    let keys = [
        (Resource::Database, "[database]", "identifier"),
        (Resource::SubnetGroup, "[database]", "subnet_group"),
        (Resource::Role, "[bastion]", "role"),
        (Resource::Profile, "[bastion]", "profile"),
    ];
    let (_, table, key) = keys.into_iter().find(|(resource, ..)| *resource == stray.resource)?;
    Some(format!("if it is not, write another `{key}` under `{table}`"))
}

/// Returns why a plan for `down` must not be carried out, and the databases that it would harm: they need the secrets, the
/// groups and the network that would go.
pub fn refuse_down(stack: &Stack, inventory: &Inventory, plan: &Plan) -> Option<(Refusal, Vec<Left>)> {
    // Nothing of the bastion is the database's.
    let harms = plan.steps.iter().any(|step| step.resource.component() != Component::Bastion);
    let is_database = |stray: &&Stray| stray.resource == Resource::Database && stray.lives();
    let living: Vec<&Stray> = inventory.strays.iter().filter(is_database).collect();
    if !harms || living.is_empty() {
        return None;
    }
    let mut hints = Vec::new();
    let mut what = Vec::new();
    for stray in &living {
        let (id, command) = (&stray.id, stray.command(stack).unwrap_or_default());
        if stray.claim == Claim::NoTag {
            what.push(format!("database `{id}` has lost the tag of stack `{}`, or never had it", stack.name));
            hints
                .push(format!("if `{id}` is the stack's, give it its tag and run `down` again: `{command}`"));
            hints.push("if it is not, write another `identifier` under `[database]`".to_owned());
        } else {
            let wanted = &stack.database.identifier;
            what.push(format!(
                "database `{id}` carries the tag of stack `{}`, and the stack file says `identifier = \"{wanted}\"`",
                stack.name
            ));
            hints.push(format!(
                "write `identifier = \"{id}\"` under `[database]` and run `down` again to take it down with the rest"
            ));
            hints.push(format!("if `{id}` is not the stack's any more, take its tag off: `{command}`"));
        }
    }
    let message = format!("{}; what it needs stays: nothing was deleted", what.join("; "));
    Some((Refusal { message, hints }, living.iter().map(|stray| stray.left(stack)).collect()))
}
