//! Names in the stack file that were changed after the things were made. AWS renames none of them, so whoever goes on makes
//! a second one beside the first.

use std::fmt;

use crate::inventory::{DatabaseInstance, Inventory, SecretEntry};
use crate::resource::Resource;
use crate::spec::{ROLE_SECRET, Stack};

/// A name in the stack file that is not the one of what exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What exists and what the stack file says, in one sentence without a full stop.
    pub sentence: String,
    /// What the stack file must say under `[database]`; never empty.
    pub lines: Vec<Line>,
}

/// A line of the stack file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The key.
    pub key: &'static str,
    /// The value that it must have.
    pub value: String,
    /// The value that it has.
    pub instead_of: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = \"{}\"", self.key, self.value)
    }
}

impl Mismatch {
    /// Returns what to do about it.
    pub fn hint(&self) -> String {
        let lines: Vec<String> = self.lines.iter().map(|line| format!("`{line}`")).collect();
        format!("write {} under `[database]` in the stack file", lines.join(" and "))
    }
}

/// Returns the changed name that would give the database or a role a new password behind everybody's back, if there is
/// one.
pub fn find(stack: &Stack, inventory: &Inventory) -> Option<Mismatch> {
    master_user(stack, inventory).or_else(|| secrets(stack, inventory))
}

/// Returns the secrets that others have under names that this stack needs.
pub fn foreign(inventory: &Inventory) -> impl Iterator<Item = &SecretEntry> {
    inventory.secrets.iter().filter(|secret| !secret.tagged)
}

fn database(inventory: &Inventory) -> Option<&DatabaseInstance> {
    inventory.database.as_ref().filter(|database| database.status != "deleting")
}

fn master_user(stack: &Stack, inventory: &Inventory) -> Option<Mismatch> {
    let (have, want) = (database(inventory)?, &stack.database.master_user);
    if have.master_user == *want || have.master_user.is_empty() {
        return None;
    }
    let (user, identifier) = (have.master_user.clone(), &have.identifier);
    let sentence = format!(
        "the master user of database `{identifier}` is `{user}`, the stack file says `{want}`, and RDS renames none"
    );
    let line = Line { key: "master_user", value: user, instead_of: want.clone() };
    Some(Mismatch { sentence, lines: vec![line] })
}

/// A secret of the stack's, and the name under which the stack file looks for it.
struct Misplaced<'a> {
    secret: &'a SecretEntry,
    wanted: String,
    role: Option<&'a str>,
}

fn secrets(stack: &Stack, inventory: &Inventory) -> Option<Mismatch> {
    let misplaced: Vec<Misplaced<'_>> =
        inventory.secrets.iter().filter_map(|secret| misplaced(stack, inventory, secret)).collect();
    let first = misplaced.iter().min_by_key(|one| one.role.is_some())?;
    let whose = first.role.map_or_else(|| "the master user".to_owned(), |role| format!("role `{role}`"));
    let others = match misplaced.len() - 1 {
        0 => String::new(),
        1 => "; one more is like that".to_owned(),
        more => format!("; {more} more are like that"),
    };
    let why = match inventory.secret(&first.wanted) {
        Some(_) => "which is not this stack's",
        None => "which does not exist",
    };
    let sentence = format!(
        "the password of {whose} is in secret `{}`, and the stack file looks for it in `{}`, {why}{others}",
        first.secret.name, first.wanted
    );
    Some(Mismatch { sentence, lines: lines(stack, &misplaced) })
}

fn misplaced<'a>(stack: &Stack, inventory: &Inventory, secret: &'a SecretEntry) -> Option<Misplaced<'a>> {
    // What is being deleted is no password of anything, unless there is a database that knows it.
    if !secret.tagged || secret.scheduled_for_deletion && database(inventory).is_none() {
        return None;
    }
    let (role, wanted) = if secret.resource == Resource::MasterSecret.tag() {
        (None, stack.master_secret_name())
    } else if secret.resource == ROLE_SECRET {
        let role = secret.name.rsplit('/').next()?;
        (Some(role), stack.role_secret_name(role))
    } else {
        return None;
    };
    // One that is there under the right name as well is left from before, and harms nobody.
    let is_misplaced = secret.name != wanted && inventory.own_secret(&wanted).is_none();
    is_misplaced.then_some(Misplaced { secret, wanted, role })
}

/// Returns what leads to all of them: the prefix, and the master's name where that is not the prefix's.
fn lines(stack: &Stack, misplaced: &[Misplaced<'_>]) -> Vec<Line> {
    let mut lines = Vec::new();
    let now = &stack.database.secret_prefix;
    let prefix_of = |name: &str, end: &str| name.strip_suffix(end)?.strip_suffix('/').map(str::to_owned);
    let of_roles = misplaced.iter().find_map(|one| prefix_of(&one.secret.name, one.role?));
    let master = misplaced.iter().find(|one| one.role.is_none()).map(|one| one.secret.name.as_str());
    let of_master = master.filter(|_| stack.database.master_secret.is_none());
    let of_master = of_master.and_then(|name| prefix_of(name, "master"));
    let prefix = of_roles.or(of_master);
    if let Some(prefix) = &prefix {
        lines.push(Line { key: "secret_prefix", value: prefix.clone(), instead_of: now.clone() });
    }
    let made = || format!("{}/master", prefix.as_ref().unwrap_or(now));
    let reached = stack.database.master_secret.clone().unwrap_or_else(made);
    if let Some(master) = master.filter(|master| *master != reached) {
        let instead_of = stack.master_secret_name();
        lines.push(Line { key: "master_secret", value: master.to_owned(), instead_of });
    }
    lines
}
