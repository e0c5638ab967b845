//! Reads a statement word by word.

use super::super::token::{Kind, Token};

/// A name of something in the database; case as PostgreSQL keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    schema: Option<String>,
    name: String,
}

impl Name {
    /// Returns whether both may mean one thing: without a schema any could be meant.
    pub(super) fn may_be(&self, other: &Name) -> bool {
        let schemas = self.schema.as_ref().zip(other.schema.as_ref());
        self.name == other.name && schemas.is_none_or(|(one, two)| one == two)
    }

    /// Returns the name in this one's schema: what RENAME TO leaves.
    pub(super) fn renamed(&self, name: String) -> Name {
        Name { schema: self.schema.clone(), name }
    }
}

/// What is left of a statement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phrase<'t> {
    tokens: &'t [Token<'t>],
}

impl<'t> Phrase<'t> {
    pub(super) fn new(tokens: &'t [Token<'t>]) -> Phrase<'t> {
        Phrase { tokens }
    }

    pub(super) fn tokens(&self) -> &'t [Token<'t>] {
        self.tokens
    }

    /// Returns the byte that it begins at.
    pub(super) fn at(&self) -> Option<usize> {
        self.tokens.first().map(|token| token.at)
    }

    /// Takes these words off its beginning, all or none, and tells whether they stood there.
    pub(super) fn take(&mut self, words: &str) -> bool {
        let begins = self.begins_with(words);
        if begins {
            self.skip(words.split(' ').count());
        }
        begins
    }

    /// Takes one of these words off its beginning, and tells whether one stood there.
    pub(super) fn take_any(&mut self, words: &[&str]) -> bool {
        words.iter().any(|word| self.take(word))
    }

    pub(super) fn begins_with(&self, words: &str) -> bool {
        let mut tokens = self.tokens.iter();
        words.split(' ').all(|word| tokens.next().is_some_and(|token| token.is(word)))
    }

    /// Returns whether these words stand somewhere outside of parentheses.
    pub(super) fn has(&self, words: &str) -> bool {
        self.after(words).is_some()
    }

    /// Returns what follows the first such words outside of parentheses.
    pub(super) fn after(&self, words: &str) -> Option<Phrase<'t>> {
        let mut depth = 0_usize;
        for at in 0..self.tokens.len() {
            let mut rest = Phrase { tokens: &self.tokens[at..] };
            if depth == 0 && rest.take(words) {
                return Some(rest);
            }
            depth = deeper(depth, &self.tokens[at]);
        }
        None
    }

    /// Takes a name, qualified or not, off its beginning.
    pub(super) fn name(&mut self) -> Option<Name> {
        let mut parts = vec![self.ident()?];
        while self.begins_with(".") {
            let mut rest = *self;
            rest.skip(1);
            let Some(part) = rest.ident() else { break };
            parts.push(part);
            *self = rest;
        }
        let name = parts.pop()?;
        Some(Name { schema: parts.pop(), name })
    }

    /// Takes one identifier off its beginning.
    pub(super) fn ident(&mut self) -> Option<String> {
        let (first, rest) = self.tokens.split_first()?;
        let ident = match first.kind {
            Kind::Word => first.text.to_ascii_lowercase(),
            Kind::Name => first.text.trim_matches('"').replace("\"\"", "\""),
            Kind::Comment | Kind::Text | Kind::Symbol => return None,
        };
        self.tokens = rest;
        Some(ident)
    }

    /// Returns its parts between commas outside of parentheses.
    pub(super) fn split(&self) -> Vec<Phrase<'t>> {
        let mut depth = 0_usize;
        self.tokens
            .split(|token| {
                let is_comma = depth == 0 && token.text == ",";
                depth = deeper(depth, token);
                is_comma
            })
            .map(Phrase::new)
            .collect()
    }

    fn skip(&mut self, count: usize) {
        self.tokens = self.tokens.get(count..).unwrap_or_default();
    }
}

fn deeper(depth: usize, token: &Token<'_>) -> usize {
    match token.text {
        "(" | "[" => depth + 1,
        ")" | "]" => depth.saturating_sub(1),
        _ => depth,
    }
}
