//! Names and text inside SQL. Nothing else in this crate puts a string of somebody else's into a statement.

use crate::Error;

/// The longest name that PostgreSQL keeps: it cuts longer ones in silence, and two of them may become one.
pub const MAX_NAME_BYTES: usize = 63;

/// Returns a name as SQL writes it: `"a""b"`.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns text as SQL writes it, whatever `standard_conforming_strings` says: `'it''s'`, `E'a\\b'`.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// Returns a command as a person may type it at a POSIX shell: `cargo xtask psql shop -- -c 'SELECT 1'`.
///
/// Nothing if a word holds what nobody can type, or what does not look like what it is: a name of somebody else's choice may.
/// Then there is no command that could be shown.
pub fn shell(words: &[&str]) -> Option<String> {
    let is_typed = |c: char| {
        c == ' ' || (!c.is_control() && c.escape_debug().count() == 1) || matches!(c, '"' | '\'' | '\\')
    };
    let is_plain = words.iter().all(|word| word.chars().all(is_typed));
    // An interactive shell takes `!` for a command of before, in some quotes as well.
    (is_plain && !words.iter().any(|word| word.contains('!')))
        .then(|| shlex::try_join(words.iter().copied()).ok())
        .flatten()
}

/// Returns the advice to run a command, or to do by hand what no command can be shown for.
pub(crate) fn advice(words: &[&str], what: &str) -> String {
    match shell(words) {
        Some(command) => format!("run `{command}`"),
        None => format!("{what} by hand: a name is in the way that no command should be made of"),
    }
}

/// Accepts a name for a tenant's database.
///
/// # Errors
/// [`Error::Name`] if PostgreSQL would cut or refuse it, or if it is one of the server's own.
pub fn check_database(name: &str) -> Result<(), Error> {
    let reserved = matches!(name, "postgres" | "template0" | "template1" | "rdsadmin");
    check(name, "database", reserved)
}

/// Accepts a name for a tenant's role.
///
/// # Errors
/// [`Error::Name`] if PostgreSQL would cut or refuse it, or if it is one of the server's own.
pub fn check_role(name: &str) -> Result<(), Error> {
    let words = ["public", "none", "postgres", "rdsadmin", "current_user", "current_role", "session_user"];
    let reserved =
        words.contains(&name) || ["pg_", "rds_", "rdsrep"].iter().any(|prefix| name.starts_with(prefix));
    check(name, "role", reserved)
}

fn check(name: &str, what: &'static str, reserved: bool) -> Result<(), Error> {
    let reason = if name.is_empty() {
        "it is empty"
    } else if name.len() > MAX_NAME_BYTES {
        "it is longer than 63 bytes"
    } else if name.chars().any(char::is_control) {
        "it holds a control character"
    } else if reserved {
        "it is the server's own"
    } else {
        return Ok(());
    };
    Err(Error::Name { name: name.escape_debug().collect(), what, reason })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_name_holds_is_run_by_no_shell() {
        let dir = tempfile::tempdir().unwrap();
        let cargo = "printf '<%s>' \"$@\"";
        let run = |command: &str| {
            let line = format!("cargo() {{ {cargo}; }}; {command}");
            let ran = Command::new("sh").args(["-c", &line]).current_dir(dir.path()).output().unwrap();
            String::from_utf8(ran.stdout).unwrap()
        };
        for name in [
            "x'; touch forged; echo '",
            "$(touch forged)",
            "`touch forged`",
            "a\"b\\",
            "-c",
            "",
            "a b",
            "~",
            "*",
        ] {
            let sql = format!("DROP TABLE {}", ident(name));
            let command = shell(&["cargo", "xtask", "psql", "shop", "--", "-c", &sql]).unwrap();
            assert_eq!(run(&command), format!("<xtask><psql><shop><--><-c><{sql}>"), "{command}");
        }
        assert!(!dir.path().join("forged").exists());
        for name in ["a\nb", "\u{1b}[2J", "\u{202e}", "a\0b", "a\tb", "!rm", "a\u{200b}b"] {
            assert_eq!(shell(&["cargo", name]), None, "{name:?}");
        }
        assert_eq!(shell(&["cargo", "xtask", "psql", "shop"]).as_deref(), Some("cargo xtask psql shop"));
    }

    proptest! {
        #[test]
        fn a_command_is_cut_into_the_same_words_again(words in prop::collection::vec(any::<String>(), 1..5)) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            if let Some(command) = shell(&words) {
                prop_assert_eq!(shlex::split(&command).unwrap(), words);
            }
        }
    }
}
