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
    // What one is in the last string.
    let mut backslash = Backslash::IsText;
    while let Some(first) = sql[at..].chars().next() {
        if first.is_ascii_whitespace() || first == '\u{b}' {
            at += 1;
            continue;
        }
        let rest = &sql[at..];
        let (kind, len) = match first {
            '-' | '/' if comment_len(rest) > 0 => (Kind::Comment, comment_len(rest)),
            '\'' => {
                backslash = backslash_at(sql, at, &tokens, backslash);
                (Kind::Text, quoted_len(rest, '\'', backslash))
            }
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

/// Returns the length of the word that the text begins with; `$` is part of a name, but never its first character, and
/// never part of a number.
fn word_len(text: &str) -> usize {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit());
    text.char_indices()
        .find(|(at, c)| !(is_of_word(*c) || (*c == '$' && *at > 0 && !is_number)))
        .map_or(text.len(), |(at, _)| at)
}

/// Returns whether names may hold the character: to PostgreSQL all that is not ASCII is a letter.
fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii()
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
    let is_tag = name.chars().all(is_of_word) && !name.starts_with(|c: char| c.is_ascii_digit());
    if !is_tag {
        return 0;
    }
    text[tag.len()..].find(tag).map_or(text.len(), |close| close + 2 * tag.len())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Backslash {
    Escapes,
    IsText,
}

/// Tells `E'..'` from `'..'`: the letter is the word that ends where the quote begins. A string that goes on in a later line
/// goes on as it began; comments to the end of a line may stand in between.
fn backslash_at(sql: &str, at: usize, tokens: &[Token<'_>], before: Backslash) -> Backslash {
    if tokens.last().is_some_and(|token| token.is("e") && token.end() == at) {
        return Backslash::Escapes;
    }
    let mut earlier = tokens.iter().rev().skip_while(|token| token.text.starts_with("--"));
    match earlier.next() {
        Some(last) if last.text.starts_with('\'') && sql[last.end()..at].contains('\n') => before,
        Some(_) | None => Backslash::IsText,
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
