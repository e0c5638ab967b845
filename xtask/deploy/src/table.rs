//! Plain tables: aligned columns, no lines, a header in the field's words.

use crate::escape;
use crate::text::Text;

/// A cell of more bytes is cut, as whoever filled it has left room for nobody else.
const LONGEST_CELL: usize = 4 << 10;
/// A column is made no wider than that for the sake of one cell.
const WIDEST: usize = 100;

/// Renders rows under a header; the last column is not padded.
pub fn render(header: &[&str], rows: &[Vec<String>]) -> Text {
    let header: Vec<String> = header.iter().map(ToString::to_string).collect();
    let lines: Vec<Vec<String>> = std::iter::once(&header)
        .chain(rows)
        .map(|cells| cells.iter().map(|cell| shown(cell)).collect())
        .collect();
    let mut widths = vec![0; header.len()];
    for cells in &lines {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count()).min(WIDEST);
        }
    }
    let mut text = Text::new();
    for cells in &lines {
        let mut line = String::new();
        // A database may be called `hint: run ..`.
        if cells.first().is_some_and(|cell| escape::looks_like_ours(cell)) {
            line.push_str("  ");
        }
        for (cell, width) in cells.iter().zip(&widths) {
            line.push_str(cell);
            // By hand: a formatter panics at a width of more than 16 bits.
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + 2));
        }
        text.line(line.trim_end());
    }
    text
}

/// Returns a cell as it is shown: on its line.
fn shown(cell: &str) -> String {
    let (kept, rest) = escape::cut(cell, LONGEST_CELL);
    let mut shown = escape::line(kept);
    if rest > 0 {
        shown.push_str(&format!(" .. and {rest} more bytes"));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_of_any_length_breaks_nothing() {
        let rows = [vec!["a".repeat(200_000), "b".to_owned()], vec!["c\nd".to_owned(), "e".to_owned()]];
        let text = render(&["one", "two"], &rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].ends_with(" .. and 195904 more bytes  b"), "{}", lines[1].len());
        assert_eq!(lines[2], format!("{:<100}  e", "c\\nd"));
    }
}
