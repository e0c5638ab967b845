//! The tenants that a task works on: those of the stack file and of its CSV file, and those that its query lists.

mod spec;

use std::borrow::Cow;
use std::sync::Arc;

use stack::Stack;
use stack::spec::{Registry, Tenant};

use crate::bridge;
use crate::context::Context;
use crate::db_task::DbTask;
use crate::failure::{Exit, Failure};

pub use self::spec::specs;
pub(crate) use self::spec::{is_shut_out, spec};

/// Tells whether every tenant is known before anything is contacted: no query lists tenants.
pub fn is_complete(context: &Context) -> bool {
    !matches!(context.stack.registry, Some(Registry::Query(_)))
}

/// Returns the task's context with the tenants that the stack file's query lists, if it has a query.
///
/// # Errors
/// The query fails (1), or what it lists cannot be tenants (2).
pub async fn complete(task: DbTask<'_>) -> Result<Cow<'_, Context>, Failure> {
    let DbTask { context, cloud, server } = task;
    let Some(Registry::Query(sql)) = &context.stack.registry else { return Ok(Cow::Borrowed(context)) };
    let master = bridge::master(context, cloud).await?;
    let listed = db::tenant::registry::query(server, &master, sql, &context.stack.tenants).await;
    let tenants = listed.map_err(|error| {
        let is_unknown = matches!(error.sqlstate(), Some("42P01" | "42883" | "42704"));
        let hint = "the query runs with `search_path = pg_catalog`: write `query` under `[tenants]` with the schema of \
                    each table, function and type that is not the server's own, such as `public.registry`";
        let failure = Failure::from(error);
        if is_unknown { failure.hint(hint) } else { failure }
    })?;
    let mut stack = Stack::clone(&context.stack);
    stack.tenants.extend(tenants);
    Ok(Cow::Owned(Context { stack: Arc::new(stack), ..context.clone() }))
}

/// Returns the tenants that the command line names, or all of the stack file.
///
/// # Errors
/// Exit 2 for a name that the stack file does not know.
pub fn chosen(context: &Context, names: &[String]) -> Result<Vec<Tenant>, Failure> {
    if names.is_empty() {
        if context.stack.tenants.is_empty() {
            return Err(
                Failure::usage("the stack file has no tenant").hint("add a `[[tenant]]` with a name to it")
            );
        }
        return Ok(context.stack.tenants.clone());
    }
    names.iter().map(|name| known(context, name).cloned()).collect()
}

/// Returns the tenant of that name.
///
/// # Errors
/// Exit 2 if the stack file does not know it.
pub fn known<'a>(context: &'a Context, name: &str) -> Result<&'a Tenant, Failure> {
    context.stack.tenant(name).ok_or_else(|| {
        let known: Vec<&str> = context.stack.tenants.iter().map(|tenant| tenant.name.as_str()).collect();
        let shown: String = name.escape_debug().take(80).collect();
        Failure::usage(format!(
            "there is no tenant `{shown}` in the stack file; there are: {}",
            known.join(", ")
        ))
    })
}

/// Renders a failure and its hints on one line.
pub(crate) fn one_line(failure: Failure) -> String {
    std::iter::once(failure.chain()).chain(failure.hints).collect::<Vec<_>>().join("; ")
}

/// Turns the number of failed tenants into the documented exit code.
///
/// # Errors
/// Exit 6 if all failed, 7 if some did.
pub fn verdict(failed: usize, all: usize) -> Result<(), Failure> {
    match failed {
        0 => Ok(()),
        _ if failed == all => Err(Failure::told(Exit::AllTenants)),
        _ => Err(Failure::told(Exit::SomeTenants)),
    }
}
