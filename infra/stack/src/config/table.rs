//! A table of the file, read key by key: every complaint knows its place.

use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Problem, Source, shown};

/// The keys that a table may have, each with an example of its value.
pub(super) type Keys = &'static [(&'static str, &'static str)];

/// The headers of a file, `[network]`, each with the keys that belong under it.
pub(super) type Headers = &'static [(&'static str, Keys)];

/// A value and the byte where it stands.
#[derive(Clone, Copy)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

/// A list of strings, if it is there: where it stands, and each of them.
pub(super) type Texts<'a> = Option<(usize, Vec<At<&'a str>>)>;

/// One table. A table that is not in the file reads like an empty one.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    source: Source<'a>,
    /// Every header of the file, to say where a misplaced key belongs.
    headers: Headers,
    header: &'static str,
    keys: Keys,
    at: usize,
    entries: Option<&'a DeTable<'a>>,
}

impl<'a> Table<'a> {
    /// Returns the table of the whole file, once each of its keys is known.
    pub(super) fn root(
        source: Source<'a>,
        entries: &'a DeTable<'a>,
        keys: Keys,
        headers: Headers,
    ) -> Result<Table<'a>, ConfigError> {
        Table { source, headers, header: "", keys, at: 0, entries: Some(entries) }.with_known_keys()
    }

    /// Returns the table under `key`, once each of its keys is known.
    pub(super) fn table(
        &self,
        key: &str,
        header: &'static str,
        keys: Keys,
    ) -> Result<Table<'a>, ConfigError> {
        let Some((at, value)) = self.find(key) else {
            return Ok(Table { header, keys, entries: None, ..*self });
        };
        let DeValue::Table(entries) = value else {
            let mut help = format!("put its keys under a line `{header}`");
            // A plural that comes naturally.
            if key == "tenants" {
                help.push_str("; a tenant is a line `[[tenant]]`");
            }
            return Err(self.mistyped(at, key, "a table", value, help));
        };
        Table { header, keys, at, entries: Some(entries), ..*self }.with_known_keys()
    }

    /// Returns the tables of the list under `key`, in the file's order.
    pub(super) fn tables(
        &self,
        key: &str,
        header: &'static str,
        keys: Keys,
    ) -> Result<Vec<Table<'a>>, ConfigError> {
        let Some((at, value)) = self.find(key) else {
            return Ok(Vec::new());
        };
        let help = format!("start each one with a line `{header}`");
        let DeValue::Array(items) = value else {
            return Err(self.mistyped(at, key, "a list of tables", value, help));
        };
        let mut tables = Vec::new();
        for item in items.iter() {
            let at = item.span().start;
            let DeValue::Table(entries) = item.get_ref() else {
                return Err(self.mistyped(at, key, "a list of tables", item.get_ref(), help));
            };
            tables.push(Table { header, keys, at, entries: Some(entries), ..*self }.with_known_keys()?);
        }
        Ok(tables)
    }

    /// Returns whether the table is in the file.
    pub(super) fn is_written(&self) -> bool {
        self.entries.is_some()
    }

    /// Returns the string under `key`.
    pub(super) fn text(&self, key: &str) -> Result<Option<At<&'a str>>, ConfigError> {
        let Some((at, value)) = self.find(key) else {
            return Ok(None);
        };
        let value =
            value.as_str().ok_or_else(|| self.mistyped(at, key, "a string", value, self.example(key)))?;
        Ok(Some(At { value, at }))
    }

    /// Returns the string under `key`; its absence is an error.
    pub(super) fn required(&self, key: &str) -> Result<At<&'a str>, ConfigError> {
        self.text(key)?.ok_or_else(|| self.missing(key))
    }

    /// Returns the two strings under `key`.
    pub(super) fn pair(&self, key: &str) -> Result<Option<[At<&'a str>; 2]>, ConfigError> {
        let Some((at, texts)) = self.list(key, "a list of two strings")? else {
            return Ok(None);
        };
        let count = texts.len();
        <[At<&str>; 2]>::try_from(texts).map(Some).map_err(|_| {
            let message = format!("`{key}` has {count} entries; two are needed, in different zones");
            self.source.fail(at, Problem::new(message, self.example(key)))
        })
    }

    /// Returns the strings under `key`, and where their list stands.
    pub(super) fn texts(&self, key: &str) -> Result<Texts<'a>, ConfigError> {
        self.list(key, "a list of strings")
    }

    fn list(&self, key: &str, want: &str) -> Result<Texts<'a>, ConfigError> {
        let Some((at, value)) = self.find(key) else {
            return Ok(None);
        };
        let DeValue::Array(items) = value else {
            return Err(self.mistyped(at, key, want, value, self.example(key)));
        };
        let mut texts = Vec::new();
        for item in items.iter() {
            let at = item.span().start;
            let value = item
                .get_ref()
                .as_str()
                .ok_or_else(|| self.mistyped(at, key, want, item.get_ref(), self.example(key)))?;
            texts.push(At { value, at });
        }
        Ok(Some((at, texts)))
    }

    /// Returns the whole number under `key`.
    pub(super) fn number<T: TryFrom<i64>>(
        &self,
        key: &str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<T>, ConfigError> {
        Ok(self.number_at(key, range)?.map(|number| number.value))
    }

    /// Returns the whole number under `key`, and where it stands.
    pub(super) fn number_at<T: TryFrom<i64>>(
        &self,
        key: &str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<At<T>>, ConfigError> {
        let Some((at, value)) = self.find(key) else {
            return Ok(None);
        };
        let DeValue::Integer(number) = value else {
            return Err(self.mistyped(at, key, "a whole number", value, self.example(key)));
        };
        i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .filter(|number| range.contains(number))
            .and_then(|number| T::try_from(number).ok())
            .map(|value| Some(At { value, at }))
            .ok_or_else(|| {
                let (first, last) = range.into_inner();
                let message = format!("`{key}` is {}, outside of {first} to {last}", shown(number.as_str()));
                self.source.fail(at, Problem::new(message, self.example(key)))
            })
    }

    /// Returns the truth value under `key`.
    pub(super) fn flag(&self, key: &str) -> Result<Option<At<bool>>, ConfigError> {
        let Some((at, value)) = self.find(key) else {
            return Ok(None);
        };
        let value = value
            .as_bool()
            .ok_or_else(|| self.mistyped(at, key, "`true` or `false`", value, self.example(key)))?;
        Ok(Some(At { value, at }))
    }

    /// Says that something is wrong with the table as a whole.
    pub(super) fn refuse(&self, problem: Problem) -> ConfigError {
        self.source.fail(self.at, problem)
    }

    /// Says that `key` is not there, pointing at the table.
    pub(super) fn missing(&self, key: &str) -> ConfigError {
        let place = if self.header.is_empty() { "at the top of the file" } else { self.header };
        let message = if self.header.is_empty() {
            format!("`{key}` is missing {place}")
        } else {
            format!("`{key}` is missing in `{place}`")
        };
        self.source.fail(self.at, Problem::new(message, format!("add {}", self.pattern(key))))
    }

    fn find(&self, key: &str) -> Option<(usize, &'a DeValue<'a>)> {
        let (_, value) = self.entries?.iter().find(|(name, _)| name.get_ref() == key)?;
        Some((value.span().start, value.get_ref()))
    }

    fn with_known_keys(self) -> Result<Table<'a>, ConfigError> {
        let known = |key: &Spanned<_>| self.keys.iter().any(|(known, _)| known == key.get_ref());
        let stranger = self
            .entries
            .into_iter()
            .flat_map(DeTable::keys)
            .filter(|key| !known(key))
            .min_by_key(|key| key.span().start);
        let Some(stranger) = stranger else {
            return Ok(self);
        };
        let name = stranger.get_ref().as_ref();
        let place = if self.header.is_empty() { String::new() } else { format!(" in `{}`", self.header) };
        let problem = Problem::new(format!("unknown key {}{place}", shown(name)), self.nearest(name));
        Err(self.source.fail(stranger.span().start, problem))
    }

    fn nearest(&self, name: &str) -> String {
        let names = self.keys.iter().map(|(known, _)| *known);
        let near = names.clone().map(|known| (distance(name, known), known)).min();
        match near {
            Some((steps, known)) if steps <= known.len() / 3 => format!("did you mean `{known}`?"),
            _ => match self.headers.iter().find(|(_, keys)| keys.iter().any(|(known, _)| *known == name)) {
                Some((header, _)) => format!("`{name}` belongs under a line `{header}`"),
                None => {
                    let names: Vec<String> = names.map(|known| format!("`{known}`")).collect();
                    format!("known here are {}", names.join(", "))
                }
            },
        }
    }

    fn mistyped(&self, at: usize, key: &str, want: &str, have: &DeValue<'_>, help: String) -> ConfigError {
        let have = match have {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "`true` or `false`",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.source.fail(at, Problem::new(format!("`{key}` must be {want}, not {have}"), help))
    }

    fn example(&self, key: &str) -> String {
        format!("write it as {}", self.pattern(key))
    }

    fn pattern(&self, key: &str) -> String {
        let example = self.keys.iter().find(|(known, _)| *known == key).map_or("..", |(_, example)| example);
        format!("`{key} = {example}`")
    }
}

/// Returns how many letters must be added, removed or changed to make `a` of `b`.
fn distance(a: &str, b: &str) -> usize {
    // Longer than any key of ours: no typing error of one, and its cost would be the square of its length.
    if a.len() > 40 {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
