//! `tenant list`: the databases on the server, and the tenants that have none.

use db::Login;
use db::tenant::TenantInfo;
use serde_json::json;

use crate::context::Context;
use crate::db_task::DbTask;
use crate::failure::Failure;
use crate::{table, view};

/// Prints every database, and every tenant that has none.
pub(super) async fn list(task: DbTask<'_>, master: &Login) -> Result<(), Failure> {
    let DbTask { context, server, .. } = task;
    let there = db::tenant::list(server, master).await?;
    let mut rows: Vec<Vec<String>> = there.iter().map(|info| row(context, info)).collect();
    for tenant in &context.stack.tenants {
        if !there.iter().any(|info| info.name == tenant.name) {
            rows.push(vec![
                tenant.name.clone(),
                tenant.owner.clone(),
                String::new(),
                String::new(),
                "missing".to_owned(),
            ]);
        }
    }
    let text = table::render(&["database", "owner", "encoding", "collation", "state"], &rows);
    view::result(context.json, &text, &json!({ "databases": there, "tenants": context.stack.tenants }))?;
    Ok(())
}

fn row(context: &Context, info: &TenantInfo) -> Vec<String> {
    let state = match context.stack.tenant(&info.name) {
        _ if info.is_half_dropped => "half dropped",
        None => "not in the stack file",
        Some(_) if info.public_can_connect => "open to every role",
        Some(_) => "ready",
    };
    vec![
        info.name.clone(),
        info.owner.clone(),
        info.encoding.clone(),
        info.collation.clone(),
        state.to_owned(),
    ]
}
