//! What the other values may look like: regions, zones, classes, durations, addresses.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::{Problem, shown};
use crate::spec::Rotation;

/// Checks a region's form; only AWS knows which regions there are.
pub(super) fn region(text: &str) -> Result<(), Problem> {
    let parts: Vec<&str> = text.split('-').collect();
    let well_formed = match parts.as_slice() {
        [area, middle @ .., number] => {
            (2..=4).contains(&area.len())
                && (1..=2).contains(&middle.len())
                && [*area].iter().chain(middle).all(|part| is_word(part))
                && matches!(number.as_bytes(), [b'1'..=b'9'])
        }
        [_] | [] => false,
    };
    if well_formed {
        return Ok(());
    }
    Err(Problem::new(
        format!("{} is not an AWS region", shown(text)),
        "write it as `us-east-1` or `eu-central-1`",
    ))
}

/// Checks that a zone is one of the region's.
pub(super) fn zone(text: &str, region: &str) -> Result<(), Problem> {
    if matches!(text.strip_prefix(region).map(str::as_bytes), Some([b'a'..=b'z'])) {
        return Ok(());
    }
    let message = format!("zone {} is not in region `{region}`", shown(text));
    Err(Problem::new(message, format!("write it as `{region}a`")))
}

/// Checks the form of a database instance class.
pub(super) fn class(text: &str) -> Result<(), Problem> {
    let well_formed = text
        .strip_prefix("db.")
        .and_then(|rest| rest.split_once('.'))
        .is_some_and(|(family, size)| is_family(family) && is_size(size));
    if well_formed {
        return Ok(());
    }
    Err(Problem::new(
        format!("{} is not a database instance class", shown(text)),
        "write it as `db.t4g.small` or `db.m7g.large`",
    ))
}

/// Checks the form of an instance type, and that the bastion's image runs on it.
pub(super) fn instance_type(text: &str) -> Result<(), Problem> {
    let Some((family, _)) =
        text.split_once('.').filter(|(family, size)| *family != "db" && is_family(family) && is_size(size))
    else {
        return Err(Problem::new(
            format!("{} is not an instance type", shown(text)),
            "write it as `t3.micro` or `t3a.nano`",
        ));
    };
    // `t4g`, `c7gn`, `im4gn`: a g after the generation, or the first of them all.
    let options = family.trim_start_matches(|c: char| !c.is_ascii_digit());
    if family == "a1" || options.contains('g') {
        return Err(Problem::new(
            format!("instance type {} is arm64, but the bastion's image is x86_64", shown(text)),
            "choose an x86_64 type such as `t3.micro`",
        ));
    }
    Ok(())
}

/// Checks an engine version: a major one, or one with its minor.
pub(super) fn engine_version(text: &str) -> Result<(), Problem> {
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(major) || !digits(minor) {
        let message = format!("{} is not a version of PostgreSQL on RDS", shown(text));
        return Err(Problem::new(message, "write it as `\"16\"`, or `\"16.4\"` to stay on a minor version"));
    }
    if major.parse::<u32>().is_ok_and(|major| major < 15) {
        let message =
            format!("PostgreSQL {} is older than 15, the first to insist on TLS on RDS", shown(text));
        return Err(Problem::new(message, "write `engine_version = \"16\"`"));
    }
    Ok(())
}

/// What a duration may be.
pub(super) struct Span {
    pub(super) seconds: RangeInclusive<u64>,
    /// The same, in words.
    pub(super) words: &'static str,
    /// What to write.
    pub(super) hint: &'static str,
}

/// Returns the duration that `90s`, `5m` or `1h` means.
pub(super) fn duration(text: &str, span: &Span) -> Result<Duration, Problem> {
    let unit = match text.chars().last() {
        Some('s') => Some(1),
        Some('m') => Some(60),
        Some('h') => Some(3600),
        Some(_) | None => None,
    };
    let number = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let (Some(unit), true) = (unit, plain) else {
        let message = format!("{} is not a duration", shown(text));
        return Err(Problem::new(message, "write it as `\"90s\"` or `\"5m\"`"));
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match seconds {
        Some(seconds) if span.seconds.contains(&seconds) => Ok(Duration::from_secs(seconds)),
        Some(_) | None => {
            Err(Problem::new(format!("{} is outside of {}", shown(text), span.words), span.hint))
        }
    }
}

/// Checks the form of an e-mail address; whether it exists is for SNS to find out.
pub(super) fn email(text: &str) -> Result<(), Problem> {
    let plain = |c: char| c.is_ascii_graphic() && !"\"(),:;<>@[\\]`".contains(c);
    let host = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let well_formed = text.len() <= 254
        && text.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty()
                && local.len() <= 64
                && local.chars().all(plain)
                && domain.contains('.')
                && domain.split('.').all(host)
        });
    if well_formed {
        return Ok(());
    }
    Err(Problem::new(format!("{} is not an e-mail address", shown(text)), "write it as `ops@example.com`"))
}

/// Checks that an encoding is one that a PostgreSQL server can store.
pub(super) fn encoding(text: &str, locale: &str) -> Result<(), Problem> {
    // Table 23.3 of PostgreSQL's documentation, those that a server may have.
    const SERVER: &str = "UTF8 SQL_ASCII EUC_CN EUC_JP EUC_JIS_2004 EUC_KR EUC_TW ISO_8859_5 ISO_8859_6 \
        ISO_8859_7 ISO_8859_8 KOI8R KOI8U LATIN1 LATIN2 LATIN3 LATIN4 LATIN5 LATIN6 LATIN7 LATIN8 LATIN9 \
        LATIN10 MULE_INTERNAL WIN866 WIN874 WIN1250 WIN1251 WIN1252 WIN1253 WIN1254 WIN1255 WIN1256 \
        WIN1257 WIN1258";
    if !SERVER.split(' ').any(|known| known == text) {
        let message = format!("{} is not an encoding of a PostgreSQL server", shown(text));
        return Err(Problem::new(message, "write `encoding = \"UTF8\"`"));
    }
    if text != "UTF8" && is_utf8(locale) {
        let message = format!("encoding `{text}` does not go with locale `{locale}`");
        return Err(Problem::new(message, "write `encoding = \"UTF8\"`, or `locale = \"C\"`"));
    }
    Ok(())
}

/// Checks the form of a locale; the server knows which ones it has.
pub(super) fn locale(text: &str) -> Result<(), Problem> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.@-".contains(c);
    if (1..=63).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(allowed)
    {
        return Ok(());
    }
    Err(Problem::new(format!("{} is not a locale", shown(text)), "write it as `en_US.UTF-8`"))
}

/// Checks that RDS looks at a machine in such steps.
pub(super) fn monitoring_interval(seconds: u32) -> Result<(), Problem> {
    // Source: the parameter `MonitoringInterval` of CreateDBInstance in RDS's API reference.
    if matches!(seconds, 0 | 1 | 5 | 10 | 15 | 30 | 60) {
        return Ok(());
    }
    let message = format!("`monitoring_interval` is `{seconds}`, none of 0, 1, 5, 10, 15, 30 and 60");
    Err(Problem::new(message, "write it as `monitoring_interval = 60`, in seconds; 0 turns it off"))
}

/// Checks that PostgreSQL on RDS has a log of that name.
pub(super) fn log(text: &str) -> Result<(), Problem> {
    if matches!(text, "postgresql" | "upgrade" | "iam-db-auth-error") {
        return Ok(());
    }
    let message = format!("{} is not a log of PostgreSQL on RDS", shown(text));
    Err(Problem::new(message, "there are `postgresql`, `upgrade` and `iam-db-auth-error`"))
}

/// Returns the way of rotating passwords that a text means.
pub(super) fn rotation(text: &str) -> Result<Rotation, Problem> {
    match text {
        "one-user" => Ok(Rotation::OneUser),
        "two-users" => Ok(Rotation::TwoUsers),
        _ => Err(Problem::new(
            format!("{} is not a way to rotate passwords", shown(text)),
            "write `rotation = \"one-user\"` or `rotation = \"two-users\"`",
        )),
    }
}

/// Checks a text for people: one line, as a tag's value may be.
pub(super) fn purpose(text: &str) -> Result<(), Problem> {
    if text.chars().count() > 200 {
        let message = format!("purpose {} is longer than 200 characters", shown(text));
        return Err(Problem::new(message, "say it in a few words"));
    }
    if text.chars().any(char::is_control) {
        let message = format!("purpose {} has a control character in it", shown(text));
        return Err(Problem::new(message, "say it in one line"));
    }
    Ok(())
}

fn is_utf8(locale: &str) -> bool {
    locale
        .split_once('.')
        .is_some_and(|(_, set)| matches!(set.to_ascii_lowercase().as_str(), "utf-8" | "utf8"))
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= 10 && text.bytes().all(|b| b.is_ascii_lowercase())
}

/// `t3`, `t4g`, `u-6tb1`
fn is_family(text: &str) -> bool {
    text.len() <= 16
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.contains(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// `micro`, `2xlarge`, `metal-24xl`
fn is_size(text: &str) -> bool {
    let sizes = ["nano", "micro", "small", "medium", "large", "metal"];
    let times = text.strip_suffix("xlarge").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    let metal = text
        .strip_prefix("metal-")
        .and_then(|rest| rest.strip_suffix("xl"))
        .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= 16 && (sizes.contains(&text) || times || metal)
}
