//! Tenants in a table: CSV after RFC 4180, with a header.

use std::borrow::Cow;

use super::error::{ConfigError, Problem, Source, shown};
use super::record::{FIELDS, Fault, Record, tenants};
use crate::spec::{Stack, Tenant};

/// One value and the byte where it begins.
#[derive(Debug)]
struct Cell<'a> {
    value: Cow<'a, str>,
    at: usize,
}

type Row<'a> = Vec<Cell<'a>>;

/// Returns the tenants of a table with a header, which `stack` may not have already.
pub(super) fn parse(source: Source<'_>, stack: &Stack) -> Result<Vec<Tenant>, ConfigError> {
    let mut rows = rows(source)?.into_iter();
    let Some(header) = rows.next() else {
        let help = "begin it with a line `name,owner,purpose`";
        return Err(source.fail(0, Problem::new("the file has no header", help)));
    };
    let columns = columns(source, &header)?;
    let rows: Vec<Row<'_>> = rows.collect();
    let mut records = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut record = Record::default();
        if row.len() != columns.len() {
            let message = format!("{} values under {} columns", row.len(), columns.len());
            let help = "put values with commas in them in double quotes, and leave no value out";
            let at = row.get(columns.len()).or(row.first()).map_or(0, |cell| cell.at);
            return Err(source.fail(at, Problem::new(message, help)));
        }
        for (column, cell) in columns.iter().zip(row) {
            record.set(column, &cell.value);
        }
        records.push(record);
    }
    tenants(&records, &stack.tenants, &stack.database.master_user).map_err(|fault| {
        let Fault { record, field, help, .. } = &fault;
        let place = |field: &str| columns.iter().position(|column| *column == field);
        let place = place(field).or(place("name")).unwrap_or(0);
        let at = rows.get(*record).and_then(|row| row.get(place)).map_or(0, |cell| cell.at);
        source.fail(at, Problem::new(fault.to_string(), help.clone()))
    })
}

/// Returns the fields that the columns are, in the file's order.
fn columns(source: Source<'_>, header: &Row<'_>) -> Result<Vec<&'static str>, ConfigError> {
    let mut columns: Vec<&'static str> = Vec::new();
    for cell in header {
        let refuse = |why: &str| {
            let separated = cell.value.contains([';', '\t']);
            let help = if separated {
                "separate columns with commas".to_owned()
            } else {
                format!("the columns are {}", FIELDS.join(", "))
            };
            Err(source.fail(cell.at, Problem::new(format!("{why} {}", shown(&cell.value)), help)))
        };
        let Some(field) = FIELDS.into_iter().find(|field| *field == cell.value) else {
            return refuse("unknown column");
        };
        if columns.contains(&field) {
            return refuse("a second column");
        }
        columns.push(field);
    }
    if !columns.contains(&"name") {
        let at = header.first().map_or(0, |cell| cell.at);
        return Err(source.fail(at, Problem::new("there is no column `name`", "add one to the header")));
    }
    Ok(columns)
}

/// Returns every line that has anything in it, as its cells.
fn rows(source: Source<'_>) -> Result<Vec<Row<'_>>, ConfigError> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    let mut row: Row<'_> = Vec::new();
    let mut at = 0;
    loop {
        let (cell, end) = cell(source, at)?;
        let is_blank = row.is_empty() && cell.value.is_empty() && !source.text[cell.at..].starts_with('"');
        row.push(cell);
        let rest = &source.text[end..];
        if rest.starts_with(',') {
            at = end + 1;
            continue;
        }
        let row = std::mem::take(&mut row);
        if !is_blank {
            rows.push(row);
        }
        match rest.find('\n') {
            Some(newline) => at = end + newline + 1,
            None => return Ok(rows),
        }
    }
}

/// Returns the cell that begins at a byte, and where what follows it begins: a comma, a line's end or nothing.
fn cell(source: Source<'_>, begin: usize) -> Result<(Cell<'_>, usize), ConfigError> {
    let text = source.text;
    let blanks = |at: usize| text[at..].len() - text[at..].trim_start_matches([' ', '\t']).len();
    let at = begin + blanks(begin);
    if !text[at..].starts_with('"') {
        let end = text[at..].find([',', '\n']).map_or(text.len(), |end| at + end);
        let value = text[at..end].trim_end_matches([' ', '\t', '\r']);
        if let Some(quote) = value.find('"') {
            let help = "put the whole value in double quotes, and write a quote inside of it twice";
            return Err(source.fail(at + quote, Problem::new("a quote in the middle of a value", help)));
        }
        let at = if value.is_empty() { begin } else { at };
        return Ok((Cell { value: value.into(), at }, end));
    }
    let mut value = String::new();
    let mut rest = at + 1;
    loop {
        let Some(quote) = text[rest..].find('"') else {
            return Err(source.fail(at, Problem::new("a quote that is never closed", "close it")));
        };
        value.push_str(&text[rest..rest + quote]);
        rest += quote + 1;
        if !text[rest..].starts_with('"') {
            break;
        }
        value.push('"');
        rest += 1;
    }
    rest += blanks(rest);
    let end = &text[rest..];
    if !(end.is_empty() || end.starts_with(',') || end.starts_with('\n') || end.starts_with("\r\n")) {
        let help = "write a quote inside of a value twice, or put a comma here";
        return Err(source.fail(rest, Problem::new("text after the closing quote", help)));
    }
    Ok((Cell { value: value.into(), at }, rest))
}
