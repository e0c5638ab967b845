//! `aws-resources.env`, read as data: no shell, and nothing in it is ever expanded or run.
//!
//! No message shows a value: a file that is kept by hand may hold passwords.

use std::collections::BTreeMap;

use super::variable::{Meaning, Part, Shape, is_account, meaning};
use crate::config::{self, ConfigError, Problem, Source};

/// What a file names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// `STACK_NAME`
    pub stack: Option<Given>,
    /// `AWS_ACCOUNT_ID`
    pub account: Option<Given>,
    /// `AWS_REGION`
    pub region: Option<Given>,
    /// The parts, in the file's order.
    pub named: Vec<Named>,
    /// Variables that mean nothing here, and their lines.
    pub unknown: Vec<(String, usize)>,
}

/// A value and its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The value.
    pub value: String,
    /// The line, counted from 1.
    pub line: usize,
}

/// A part that the file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The variable: `VPC_ID`.
    pub variable: String,
    /// Its line, counted from 1.
    pub line: usize,
    /// Which part it is.
    pub part: Part,
    /// The id, the name, or the secret's ARN.
    pub id: String,
}

/// A line `NAME=value`, with the places of both.
struct Assignment<'a> {
    name: &'a str,
    name_at: usize,
    value: &'a str,
    value_at: usize,
}

/// What is wrong at a byte of a line.
type Fault = (usize, Problem);

/// Returns what the bytes of a file name; `file` is what messages call it.
///
/// A line is `NAME=value`, `NAME='value'` or `NAME="value"`, with `export` before it or not, a comment, or empty. A variable
/// without a value names nothing.
///
/// # Errors
/// The first thing that is wrong, with its place and what would be right.
pub fn parse(bytes: &[u8], file: &str) -> Result<Listing, ConfigError> {
    let source = Source { file, text: config::decode(bytes, file)? };
    config::check_plain(source)?;
    let mut listing = Listing::default();
    let (mut lines, mut users) = (BTreeMap::new(), BTreeMap::new());
    let mut next = 0;
    for (number, line) in (1..).zip(source.text.split('\n')) {
        let start = next;
        next += line.len() + 1;
        let line = line.strip_suffix('\r').unwrap_or(line);
        let fail = |(at, problem): Fault| source.fail(start + at, problem);
        let Some(assignment) = assignment(line).map_err(fail)? else { continue };
        let Assignment { name, name_at, value, value_at } = assignment;
        if let Some(first) = lines.insert(name, number) {
            let message = format!("`{name}` is there twice, on line {first} as well");
            return Err(fail((name_at, Problem::new(message, "leave one of the two lines"))));
        }
        if !value.is_empty()
            && !listing.take(name, value, number).map_err(|problem| fail((value_at, problem)))?
        {
            listing.unknown.push((name.to_owned(), number));
        }
        let named = listing.named.last().filter(|named| named.line == number && has_id(&named.part));
        if let Some(named) = named
            && let Some(other) = users.insert(named.id.clone(), name)
        {
            let message = format!("`{name}` has the value of `{other}`; no two parts are one");
            return Err(fail((value_at, Problem::new(message, "leave one of the two lines"))));
        }
    }
    Ok(listing)
}

/// Tells whether the part has an id that nothing else has: a role and its profile may well have one name.
fn has_id(part: &Part) -> bool {
    use crate::Resource as R;
    !matches!(part, Part::Of(R::SubnetGroup | R::Database | R::Role | R::Profile))
}

impl Listing {
    /// Takes in a variable; `false` if it means nothing here.
    fn take(&mut self, name: &str, value: &str, line: usize) -> Result<bool, Problem> {
        let given = || Some(Given { value: value.to_owned(), line });
        match meaning(name) {
            Meaning::Stack => self.stack = given(),
            Meaning::Region => self.region = given(),
            Meaning::Account if is_account(value) => self.account = given(),
            Meaning::Account => {
                let help = format!("write it as `{name}='123456789012'`");
                return Err(Problem::new(format!("`{name}` is not the twelve digits of an account"), help));
            }
            Meaning::Part(part, shape) => {
                check(name, value, shape)?;
                let id = match shape {
                    // RDS keeps its names so, whatever they were written like.
                    Shape::Name(63 | 255) => value.to_ascii_lowercase(),
                    Shape::Id(_) | Shape::Name(_) | Shape::Secret => value.to_owned(),
                };
                self.named.push(Named { variable: name.to_owned(), line, part, id });
            }
            Meaning::Told => (),
            Meaning::Unknown => return Ok(false),
        }
        Ok(true)
    }
}

fn check(name: &str, value: &str, shape: Shape) -> Result<(), Problem> {
    if shape.fits(value) {
        return Ok(());
    }
    let (words, example) = shape.words();
    let help = format!("write it as `{name}='{example}'`, or leave the line out");
    Err(Problem::new(format!("`{name}` is not {words}"), help))
}

/// Returns the assignment of a line; `None` if it is empty or a comment.
fn assignment(line: &str) -> Result<Option<Assignment<'_>>, Fault> {
    if let Some((at, c)) = line.char_indices().find(|(_, c)| c.is_control() && *c != '\t') {
        let message = format!("there is a control character, `{}`", c.escape_debug());
        return Err((at, Problem::new(message, "take it out; lines end with LF or CR LF")));
    }
    let rest = line.trim_start_matches([' ', '\t']);
    if rest.is_empty() || rest.starts_with('#') {
        return Ok(None);
    }
    let rest = match rest.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])) {
        Some(rest) => rest.trim_start_matches([' ', '\t']),
        None => rest,
    };
    let name_at = line.len() - rest.len();
    let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    let (name, rest) = rest.split_at(length);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        let message = "this line is no assignment, no comment and not empty";
        return Err((name_at, Problem::new(message, "write it as `VPC_ID='vpc-0a1b2c3d'`")));
    }
    let Some(text) = rest.strip_prefix('=') else {
        let message = format!("`=` does not follow `{name}` at once");
        let help = format!("write it as `{name}='..'`, without a space; a command is never run");
        return Err((name_at + length, Problem::new(message, help)));
    };
    let value_at = line.len() - text.len();
    let value = value(name, text).map_err(|(at, problem)| (value_at + at, problem))?;
    Ok(Some(Assignment { name, name_at, value, value_at }))
}

/// Returns the value in front of a line's end or comment.
fn value<'a>(name: &str, text: &'a str) -> Result<&'a str, Fault> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'));
    let (start, end, after) = match quote {
        Some(quote) => {
            let Some(length) = text[1..].find(quote) else {
                let help = "close it on the same line; no value has a line break in it";
                return Err((0, Problem::new(format!("the quote after `{name}=` is not closed"), help)));
            };
            (1, 1 + length, 2 + length)
        }
        None => {
            let end = text.find([' ', '\t']).unwrap_or(text.len());
            (0, end, end)
        }
    };
    let value = &text[start..end];
    if let Some(at) = value.find(['$', '`']) {
        let message = format!("the value of `{name}` asks a shell for something, which is not done here");
        return Err((start + at, Problem::new(message, "write what the shell would make of it")));
    }
    let odd = |c: char| match quote {
        Some(_) => c == '\\',
        None => !(c.is_ascii_alphanumeric() || "-_./:=+@,%".contains(c)),
    };
    if let Some(at) = value.find(odd) {
        let message =
            format!("the value of `{name}` has a character in it that a shell would not take as it is");
        return Err((start + at, Problem::new(message, format!("write the plain value, as `{name}='..'`"))));
    }
    let rest = &text[after..];
    let comment = rest.trim_start_matches([' ', '\t']);
    let is_apart = rest.is_empty() || rest.starts_with([' ', '\t']);
    if is_apart && (comment.is_empty() || comment.starts_with('#')) {
        return Ok(value);
    }
    let message = format!("something follows the value of `{name}`");
    let at = text.len() - comment.len();
    Err((at, Problem::new(message, "one assignment a line, and nothing but a comment after it")))
}
