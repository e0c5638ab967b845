//! Who else may connect to the database: an application's security group, or a range of private addresses.

use std::net::Ipv4Addr;

use super::error::{ConfigError, Problem, Source, shown};
use super::table::{At, Table};
use crate::spec::Cidr;

/// Returns the ids under `allow_groups`.
pub(super) fn groups(source: Source<'_>, table: &Table<'_>) -> Result<Vec<String>, ConfigError> {
    list(source, table, "allow_groups", |text| group(text).map(|()| text.to_owned()))
}

/// Returns the ranges under `allow_cidrs`.
pub(super) fn cidrs(source: Source<'_>, table: &Table<'_>) -> Result<Vec<Cidr>, ConfigError> {
    list(source, table, "allow_cidrs", range)
}

fn list<T: PartialEq>(
    source: Source<'_>,
    table: &Table<'_>,
    key: &str,
    parse: fn(&str) -> Result<T, Problem>,
) -> Result<Vec<T>, ConfigError> {
    let mut found: Vec<T> = Vec::new();
    for At { value, at } in table.texts(key)?.map(|(_, texts)| texts).unwrap_or_default() {
        let one = parse(value).map_err(|problem| source.fail(at, problem))?;
        if found.contains(&one) {
            let message = format!("{} is there twice in `{key}`", shown(value));
            return Err(source.fail(at, Problem::new(message, "remove one")));
        }
        found.push(one);
    }
    Ok(found)
}

fn group(text: &str) -> Result<(), Problem> {
    let is_hex = |id: &str| id.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
    if text.strip_prefix("sg-").is_some_and(|id| matches!(id.len(), 8 | 17) && is_hex(id)) {
        return Ok(());
    }
    Err(Problem::new(
        format!("{} is not the id of a security group", shown(text)),
        "write its id, not its name: `sg-` and 8 or 17 hexadecimal digits, such as `sg-0123456789abcdef0`",
    ))
}

/// The database has private IPv4 addresses alone: nobody else's can reach it, and a rule for them could only mean a mistake.
fn range(text: &str) -> Result<Cidr, Problem> {
    const HELP: &str = "name the application's range, such as `10.1.0.0/16`, or its group in `allow_groups`";
    if text.contains(':') {
        let message = format!("{} is IPv6, and the database has no IPv6 address", shown(text));
        return Err(Problem::new(message, HELP));
    }
    if text.len() > 18 || !text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '/')) {
        return Err(Problem::new(format!("{} is not an IPv4 range", shown(text)), HELP));
    }
    let cidr = Cidr::parse(text).map_err(|message| Problem::new(message, HELP))?;
    if cidr.prefix() == 0 {
        let message = format!("`{cidr}` lets everybody in who can send a packet to the database");
        return Err(Problem::new(message, HELP));
    }
    // RFC 1918, and RFC 6598, which container networks take.
    let private = [([10, 0, 0, 0], 8), ([172, 16, 0, 0], 12), ([192, 168, 0, 0], 16), ([100, 64, 0, 0], 10)];
    let lies_in = |(base, prefix): ([u8; 4], u8)| {
        Cidr::parse(&format!("{}/{prefix}", Ipv4Addr::from(base))).is_ok_and(|wide| wide.contains(cidr))
    };
    if private.into_iter().any(lies_in) {
        return Ok(cidr);
    }
    Err(Problem::new(
        format!("`{cidr}` is not a private range, and the database has no public address to be reached at"),
        "take one inside of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10",
    ))
}
