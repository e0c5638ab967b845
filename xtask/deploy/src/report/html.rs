//! The status as one page that needs nothing else: no server, no network, no script to be read.

use std::fmt::Write as _;

use super::escape;
use super::migration_status::{Cell, MigrationStatus, Row, State};
use super::page::Page;

/// More columns than that, and those at the beginning that everybody has become one.
const WIDE: usize = 20;
const STYLE: &str = include_str!("migration_status.css");
const SCRIPT: &str = include_str!("migration_status.js");

/// Returns the page: tenants that are alike share a line, the worst come first, and a field searches for one of them.
pub fn html(status: &MigrationStatus) -> String {
    let folded = if status.migrations.len() > WIDE { status.common() } else { 0 };
    // A column that stands for one says less than the one itself.
    let folded = if folded > 1 { folded } else { 0 };
    let header = head(status);
    let mut page = String::new();
    let _ = write!(page, "<table>\n<thead><tr><th scope=\"col\" class=\"tenant\">tenant</th>");
    if let (Some(first), Some(last)) = (status.migrations.first(), status.migrations[..folded].last()) {
        let title = format!("V{} to V{}", first.version, last.version);
        let _ = write!(page, "<th scope=\"col\" title=\"{title}: applied everywhere\"><i>{title}</i></th>");
    }
    for column in &status.migrations[folded..] {
        let (class, name) = (if column.has_file { "" } else { " class=\"gone\"" }, escape(&column.title()));
        let _ = write!(page, "<th scope=\"col\" title=\"{name}\"><i{class}>{name}</i></th>");
    }
    page.push_str("<th scope=\"col\" class=\"note\">differs in</th></tr></thead>\n");
    for group in status.groups() {
        let rows: Vec<&Row> = group.iter().map(|place| &status.tenants[*place]).collect();
        page.push_str(&body(&rows, folded, status));
    }
    page.push_str("</table>\n<p id=\"none\" hidden>No tenant matches.</p>\n");
    let title = format!("{}: migrations", status.stack);
    Page { title: &title, style: STYLE, script: Some(SCRIPT), header: &header, body: &page }.render()
}

fn head(status: &MigrationStatus) -> String {
    let mut page = format!(
        "<p>{} tenants, {} migrations, seen {}</p>\n<p class=\"controls\">",
        status.tenants.len(),
        status.migrations.len(),
        escape(&status.observed_at)
    );
    page.push_str(
        "<input id=\"search\" type=\"search\" placeholder=\"tenant or label\" aria-label=\"search\">",
    );
    for state in State::ALL {
        let (class, label) = (class(state), state.label());
        let _ = write!(
            page,
            " <label class=\"{class}\"><input type=\"checkbox\" value=\"{class}\" checked> {} {label}</label>",
            status.count(state)
        );
    }
    page.push_str("</p>\n<p class=\"legend\">");
    for (cell, words) in [
        (Cell::Applied, "applied"),
        (Cell::Pending, "pending"),
        (Cell::Changed, "changed after it was applied"),
        (Cell::NoFile, "applied, without a file"),
        (Cell::OutOfOrder, "older than what was applied"),
    ] {
        let _ = write!(page, "<span>{} {words}</span> ", mark(cell));
    }
    page.push_str("</p>");
    page
}

/// Returns the lines of tenants that are alike: one with the cells, and for several tenants one for each name.
fn body(rows: &[&Row], folded: usize, status: &MigrationStatus) -> String {
    let first = rows[0];
    let mut body = format!("<tbody data-state=\"{}\">\n<tr class=\"{0}\">", class(first.state));
    let _ = match rows {
        [one] => {
            let (tenant, tags) = (escape(&one.tenant), tags(one));
            write!(body, "<th scope=\"row\" data-name=\"{}\">{tenant}{tags}</th>", search(one))
        }
        _ => write!(
            body,
            "<th scope=\"row\"><button type=\"button\" aria-expanded=\"true\"><b>{}</b> tenants</button></th>",
            rows.len()
        ),
    };
    let cells: Vec<Cell> = (folded > 0 && first.error.is_none())
        .then_some(Cell::Applied)
        .or((folded > 0).then_some(Cell::None))
        .into_iter()
        .chain(first.cells[folded..].iter().copied())
        .collect();
    for cell in &cells {
        body.push_str("<td>");
        body.push_str(&mark(*cell));
        body.push_str("</td>");
    }
    let notes = if rows.len() > 1 { first.anonymous_notes() } else { first.notes() };
    let notes: Vec<String> = notes.iter().map(|note| escape(note)).collect();
    let _ = writeln!(body, "<td class=\"note\">{}</td></tr>", notes.join("<br>"));
    if rows.len() > 1 {
        let columns = status.migrations.len() - folded + usize::from(folded > 0) + 1;
        for row in rows {
            let (name, tenant, tags) = (search(row), escape(&row.tenant), tags(row));
            let _ = writeln!(
                body,
                "<tr class=\"member\"><th scope=\"row\" data-name=\"{name}\">{tenant}</th><td colspan=\"{columns}\">{tags}</td></tr>"
            );
        }
    }
    body.push_str("</tbody>\n");
    body
}

/// Returns what the search looks at.
fn search(row: &Row) -> String {
    escape(&std::iter::once(&row.tenant).chain(&row.labels).map(String::as_str).collect::<Vec<_>>().join(" "))
}

fn tags(row: &Row) -> String {
    row.labels.iter().map(|label| format!(" <small>{}</small>", escape(label))).collect()
}

fn class(state: State) -> &'static str {
    match state {
        State::Failed => "failed",
        State::Drift => "drift",
        State::Pending => "pending",
        State::UpToDate => "current",
    }
}

/// Returns the sign of a cell; its form tells as much as its colour.
fn mark(cell: Cell) -> String {
    let (class, sign) = match cell {
        Cell::Applied => ("a", "●"),
        Cell::Pending => ("p", "○"),
        Cell::Changed => ("c", "≠"),
        Cell::NoFile => ("n", "?"),
        Cell::OutOfOrder => ("l", "!"),
        Cell::None => return "·".to_owned(),
    };
    format!("<b class=\"{class}\">{sign}</b>")
}

#[cfg(test)]
mod tests {
    use super::super::migration_status::Seen;
    use super::super::migration_status::tests::{files, status, tenant};
    use super::super::page::tests::{asks_for_nothing, tags};
    use super::*;

    fn count(page: &str, tag: &str) -> usize {
        tags(page).iter().filter(|name| *name == tag).count()
    }

    #[test]
    fn three_tenants_are_three_lines_with_a_cell_for_each_version() {
        let seen = vec![tenant("shop", 5, 5), tenant("health", 5, 3), tenant("games", 5, 0)];
        let page = html(&status(&files(5), seen));
        // Header and three lines, each with five cells and a note.
        assert_eq!((count(&page, "tr"), count(&page, "td")), (4, 3 * 6));
        assert!(page.contains("<input type=\"checkbox\" value=\"pending\" checked> 2 pending"), "{page}");
        assert!(page.contains("title=\"V5__m5\""), "{page}");
    }

    #[test]
    fn thousands_of_tenants_that_are_alike_share_one_line_of_cells() {
        let mut seen: Vec<Seen> = (0..3000).map(|n| tenant(&format!("tenant_{n}"), 200, 200)).collect();
        seen[1234] = tenant("tenant_1234", 200, 198);
        seen[7].plan = Err("no connection".to_owned());
        let page = html(&status(&files(200), seen));
        assert_eq!(count(&page, "tbody"), 3);
        // The failed one and the one that is behind come first; what everybody has is one column.
        let (failed, behind, rest) = (
            page.find("tenant_7\"").unwrap(),
            page.find("tenant_1234\"").unwrap(),
            page.find("<b>2998</b>").unwrap(),
        );
        assert!(failed < behind && behind < rest);
        assert!(page.contains("V1 to V198"), "no column is folded");
        assert!(page.len() < 500_000, "{} bytes", page.len());
    }

    #[test]
    fn hostile_names_and_errors_stay_text() {
        let hostile = "<script>alert('x')</script>\"&\u{202e}\u{1b}";
        let mut seen = tenant(hostile, 1, 1);
        seen.labels = vec!["<img src=x onerror=y>".to_owned()];
        seen.drift = vec!["</td></table><iframe>".to_owned()];
        let broken = Seen { plan: Err("</style><script>".to_owned()), ..tenant("b", 1, 0) };
        let mut status = status(&files(1), vec![seen, broken]);
        status.stack = "</title><script>".to_owned();
        let page = html(&status);
        assert_eq!((count(&page, "script"), count(&page, "img"), count(&page, "iframe")), (1, 0, 0));
        assert!(!page.contains(['\u{202e}', '\u{1b}']));
        assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)"), "{page}");
    }

    #[test]
    fn the_page_asks_for_nothing_from_anywhere() {
        assert!(asks_for_nothing(&html(&status(&files(1), vec![tenant("a", 1, 1)]))));
    }

    #[test]
    fn no_tenant_and_no_migration_is_a_page_as_well() {
        tags(&html(&status(&[], vec![])));
        tags(&html(&status(&[], vec![tenant("a", 0, 0)])));
        tags(&html(&status(&files(30), vec![])));
    }
}
