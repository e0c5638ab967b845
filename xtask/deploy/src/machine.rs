//! How this machine and its user are called, for people to find a run by.

use std::env;
use std::fs;

/// Returns this machine's name.
pub fn name() -> Option<String> {
    let host = env::var("HOSTNAME").ok().and_then(|name| plain(&name));
    host.or_else(|| fs::read_to_string("/proc/sys/kernel/hostname").ok().and_then(|name| plain(&name)))
}

/// Returns `user@machine`, or what is known of it.
pub fn owner_label() -> String {
    let user =
        ["USER", "LOGNAME"].into_iter().find_map(|name| env::var(name).ok().and_then(|user| plain(&user)));
    match (user, name()) {
        (Some(user), Some(host)) => format!("{user}@{host}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "an unnamed machine".to_owned(),
    }
}

/// Returns what of it can stand in a name; `None` if that is nothing.
fn plain(text: &str) -> Option<String> {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let text: String = text.chars().filter(is_plain).take(64).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_or_none() {
        assert_eq!(plain("build-7.example_org\n").as_deref(), Some("build-7.example_org"));
        assert_eq!(plain("\u{1b}[31m").as_deref(), Some("31m"));
        assert_eq!(plain(" \n"), None);
        assert_eq!(plain(&"x".repeat(100)).map(|name| name.len()), Some(64));
    }
}
