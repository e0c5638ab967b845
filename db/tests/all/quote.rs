use db::quote::{check_database, check_role, ident, literal};
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_quoted_name_reads_back_as_the_name(name in ".*") {
        let quoted = ident(&name);
        let inner = &quoted[1..quoted.len() - 1];
        prop_assert!(quoted.starts_with('"') && quoted.ends_with('"'));
        // Every quote inside stands beside its double, so none of them ends the name.
        prop_assert_eq!(inner.replace("\"\"", "").matches('"').count(), 0);
        prop_assert_eq!(inner.replace("\"\"", "\""), name);
    }

    #[test]
    fn quoted_text_reads_back_as_the_text(text in r"[a'\\E$ ]{0,12}") {
        prop_assert_eq!(read_literal(&literal(&text)), Some(text));
    }

    #[test]
    fn a_name_that_is_accepted_is_one_that_postgresql_keeps_whole(name in ".{0,80}") {
        if check_database(&name).is_ok() {
            prop_assert!(!name.is_empty() && name.len() <= 63 && !name.contains('\0'));
        }
    }
}

/// Reads a literal as PostgreSQL's lexer does; nothing if it does not end exactly with the text.
fn read_literal(sql: &str) -> Option<String> {
    let (escapes, body) = match sql.strip_prefix('E') {
        Some(rest) => (true, rest),
        None => (false, sql),
    };
    let mut chars = body.strip_prefix('\'')?.chars().peekable();
    let mut text = String::new();
    loop {
        match chars.next()? {
            '\'' if chars.peek() == Some(&'\'') => {
                chars.next();
                text.push('\'');
            }
            '\'' => return chars.next().is_none().then_some(text),
            '\\' if escapes => text.push(chars.next()?),
            // With `standard_conforming_strings = off` this would be an escape.
            '\\' => return None,
            c => text.push(c),
        }
    }
}

#[test]
fn a_name_that_would_be_cut_or_is_the_servers_own_is_refused() {
    for name in ["", &"x".repeat(64), &"é".repeat(32), "a\0b", "a\nb", "postgres", "template1", "rdsadmin"] {
        assert!(check_database(name).is_err(), "{name:?}");
    }
    for name in ["", "pg_monitor", "rds_superuser", "rdsadmin", "postgres", "public"] {
        assert!(check_role(name).is_err(), "{name:?}");
    }
    for name in ["shop", &"x".repeat(63), "we\"ird; DROP DATABASE x", "Großhandel"] {
        assert!(check_database(name).is_ok() && check_role(name).is_ok(), "{name:?}");
    }
}
