//! Money, for people.

use stack::cost::{Bill, MonthlyPrice};

use crate::table;
use crate::text::{Text, put_line};

/// Renders a bill as a table with its totals.
pub fn render(bill: &Bill) -> Text {
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
    put_line!(
        text,
        "{} a month with the bastion running, {} with it stopped; prices of {}, {}",
        bill.running(),
        bill.stopped(),
        bill.priced_region,
        bill.as_of
    );
    if let Some(note) = &bill.note {
        put_line!(text, "{note}");
    }
    text
}

fn price(price: Option<MonthlyPrice>) -> String {
    price.map_or_else(|| "unknown".to_owned(), |price| price.to_string())
}
