//! Names that AWS fixes: what has one cannot be renamed, so the stack file must say it.

use std::fmt::Write as _;

use super::{Candidate, Observed, Part};
use crate::resource::Resource;
use crate::spec::Stack;

/// A line that the stack file must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The table: `[database]`.
    pub table: &'static str,
    /// The key.
    pub key: &'static str,
    /// The value, without quotes.
    pub value: String,
}

/// Returns the lines that the stack file must have so that later tasks find what is to be taken over.
pub fn unnamed(stack: &Stack, candidates: &[Candidate]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut line = |table, key, value: &str| lines.push(Line { table, key, value: value.to_owned() });
    for candidate in candidates {
        let id = candidate.id.as_str();
        match &candidate.thing {
            Observed::Database(_) if id != stack.database.identifier => line("[database]", "identifier", id),
            Observed::SubnetGroup { .. } if id != stack.subnet_group_name() => {
                line("[database]", "subnet_group", id);
            }
            Observed::Role { path, .. }
                if !is_found(stack, (id, path), &stack.role_name(), stack.earlier_role_name()) =>
            {
                line("[bastion]", "role", id);
            }
            Observed::Profile { path, .. }
                if !is_found(stack, (id, path), &stack.profile_name(), stack.earlier_profile_name()) =>
            {
                line("[bastion]", "profile", id);
            }
            Observed::Vpc(_)
            | Observed::Subnet(_)
            | Observed::Gateway(_)
            | Observed::RouteTable(_)
            | Observed::Group(_)
            | Observed::SubnetGroup { .. }
            | Observed::Database(_)
            | Observed::Secret(_)
            | Observed::Role { .. }
            | Observed::Profile { .. }
            | Observed::Instance { .. } => (),
        }
    }
    let prefix = prefix(stack, candidates);
    if prefix != stack.database.secret_prefix {
        line("[database]", "secret_prefix", prefix);
    }
    if let Some(master) = master(candidates) {
        let found = match &stack.database.master_secret {
            Some(written) => written == master,
            None => master == format!("{prefix}/master"),
        };
        if !found {
            line("[database]", "master_secret", master);
        }
    }
    // As the stack file has them: the tables in one piece each.
    lines.sort_by_key(|line| line.table != "[database]");
    lines
}

/// What lies under another path than the stack's is looked for only if its name is written: then there is no earlier one.
fn is_found(stack: &Stack, (id, path): (&str, &str), name: &str, earlier: Option<String>) -> bool {
    match earlier {
        None => id == name,
        Some(earlier) => {
            (id == name && path == stack.iam_path()) || (id == earlier && path == stack.iam_root())
        }
    }
}

fn master(candidates: &[Candidate]) -> Option<&str> {
    let master = candidates.iter().find(|one| one.part == Part::Of(Resource::MasterSecret))?;
    Some(&master.id)
}

/// Returns the start of the secrets' names: that of the roles' if there are any, for only the master's may be elsewhere.
pub(super) fn prefix<'a>(stack: &'a Stack, candidates: &'a [Candidate]) -> &'a str {
    let of = |name: &'a str, end: &str| name.strip_suffix(end)?.strip_suffix('/').filter(|p| !p.is_empty());
    let of_role = candidates.iter().find_map(|candidate| match &candidate.part {
        Part::RoleSecret(role) => of(&candidate.id, role),
        Part::Of(_) => None,
    });
    let is_written = stack.database.master_secret.is_some();
    let of_master = || master(candidates).filter(|_| !is_written).and_then(|name| of(name, "master"));
    of_role.or_else(of_master).unwrap_or(&stack.database.secret_prefix)
}

/// Returns the lines as they stand in a stack file.
pub fn render_lines(lines: &[Line]) -> String {
    let mut text = String::new();
    let mut table = "";
    for line in lines {
        if line.table != table {
            table = line.table;
            let _infallible = writeln!(text, "{table}");
        }
        let _infallible = writeln!(text, "{} = \"{}\"", line.key, line.value);
    }
    text
}
