//! SQL's tokens, as far as it takes to tell statements, names and literals apart.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `-- ..` or `/* .. */`
    Comment,
    /// A keyword, a name without quotes, or a number.
    Word,
    /// A name in double quotes.
    Name,
    /// A string of any kind; of `E'..'` the part in quotes.
    Text,
    /// One character of anything else.
    Symbol,
}

/// A piece of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// The byte that it begins at.
    pub(super) at: usize,
}

impl Token<'_> {
    /// Returns whether it is this keyword, however it is written.
    pub(super) fn is(&self, word: &str) -> bool {
        self.kind != Kind::Name && self.kind != Kind::Text && self.text.eq_ignore_ascii_case(word)
    }

    /// Returns the byte after its last.
    pub(super) fn end(&self) -> usize {
        self.at + self.text.len()
    }
}

/// Returns every token of a file; what is between them is white space.
pub(super) fn tokens(sql: &str) -> Vec<Token<'_>> {
    let mut tokens: Vec<Token<'_>> = Vec::new();
    let mut at = 0;
    while let Some(first) = sql[at..].chars().next() {
        if first.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        let rest = &sql[at..];
        let (kind, len) = match first {
            '-' | '/' if comment_len(rest) > 0 => (Kind::Comment, comment_len(rest)),
            '\'' => (Kind::Text, quoted_len(rest, '\'', backslash_after(&tokens, at))),
            '"' => (Kind::Name, quoted_len(rest, '"', Backslash::IsText)),
            '$' if dollar_quoted_len(rest) > 0 => (Kind::Text, dollar_quoted_len(rest)),
            _ => match word_len(rest) {
                0 => (Kind::Symbol, first.len_utf8()),
                len => (Kind::Word, len),
            },
        };
        tokens.push(Token { kind, text: &rest[..len], at });
        at += len;
    }
    tokens
}

/// Returns the length of the word that the text begins with; `$` is part of a word, but never its first character.
fn word_len(text: &str) -> usize {
    text.char_indices()
        .find(|(at, c)| !(c.is_alphanumeric() || *c == '_' || (*c == '$' && *at > 0)))
        .map_or(text.len(), |(at, _)| at)
}

/// Returns the length of the comment that the text begins with; block comments nest.
fn comment_len(text: &str) -> usize {
    if text.starts_with("--") {
        return text.find('\n').unwrap_or(text.len());
    }
    if !text.starts_with("/*") {
        return 0;
    }
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// Returns the length of the body between two `$tag$` that the text begins with, its tags included.
fn dollar_quoted_len(text: &str) -> usize {
    let Some(end) = text[1..].find('$') else { return 0 };
    let tag = &text[..end + 2];
    let name = &tag[1..tag.len() - 1];
    let is_tag = name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if !is_tag {
        return 0;
    }
    text[tag.len()..].find(tag).map_or(text.len(), |close| close + 2 * tag.len())
}

#[derive(Clone, Copy, PartialEq)]
enum Backslash {
    Escapes,
    IsText,
}

/// Tells `E'..'` from `'..'`: the letter is the word that ends where the quote begins.
fn backslash_after(tokens: &[Token<'_>], at: usize) -> Backslash {
    match tokens.last() {
        Some(token) if token.is("e") && token.end() == at => Backslash::Escapes,
        _ => Backslash::IsText,
    }
}

/// Returns the length up to the closing quote; a doubled one is text.
fn quoted_len(text: &str, quote: char, backslash: Backslash) -> usize {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && backslash == Backslash::Escapes {
            chars.next();
        } else if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
            return at + 1;
        }
    }
    text.len()
}
