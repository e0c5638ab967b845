//! Money, for people.

use std::fmt::Write as _;

use stack::Inventory;
use stack::cost::{Bill, MonthlyPrice};

use crate::table;

/// Renders a bill as a table with its totals.
pub fn render(bill: &Bill) -> String {
    let rows: Vec<Vec<String>> = bill
        .items
        .iter()
        .map(|item| {
            vec![
                item.name.clone(),
                price(item.monthly_running),
                price(item.monthly_stopped),
                item.note.clone(),
            ]
        })
        .collect();
    let mut text = table::render(&["a month", "running", "stopped", ""], &rows);
    let _ = writeln!(
        text,
        "{} a month with the bastion running, {} with it stopped; prices of {}, {}",
        bill.running(),
        bill.stopped(),
        bill.priced_region,
        bill.as_of
    );
    if let Some(note) = &bill.note {
        let _ = writeln!(text, "{note}");
    }
    text
}

/// Returns what still runs and costs, one line each.
pub fn still_running(inventory: &Inventory) -> Vec<String> {
    let mut lines: Vec<String> = bastion_running(inventory).into_iter().collect();
    if let Some(database) = &inventory.database {
        lines.push(format!(
            "database {} ({}, {}); `cargo xtask down database` removes it",
            database.identifier, database.class, database.status
        ));
    }
    lines
}

/// Returns what the bastion costs and how to stop it, if it runs.
pub fn bastion_running(inventory: &Inventory) -> Option<String> {
    let bastion = inventory.bastion().filter(|bastion| bastion.state != "stopped")?;
    let price = stack::cost::bastion_hourly(&bastion.instance_type, bastion.volume_gib.unwrap_or_default());
    let price = price.map_or_else(|| "price unknown".to_owned(), |price| format!("about {price} an hour"));
    let how = match &bastion.expires_at {
        Some(end) => format!("it removes itself at {end}; `cargo xtask down bastion` does so now"),
        None => "`cargo xtask bastion stop` stops it, `cargo xtask down bastion` removes it".to_owned(),
    };
    Some(format!("instance {} ({price}); {how}", bastion.id))
}

fn price(price: Option<MonthlyPrice>) -> String {
    price.map_or_else(|| "unknown".to_owned(), |price| price.to_string())
}
