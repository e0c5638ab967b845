use super::error::{ConfigError, Problem, Source, shown};
use super::table::{At, Keys, Table};
use crate::spec::{Migrate, OnError, Wave};

pub(super) const KEYS: Keys = &[
    ("waves", "[\"canary\", \"5%\", \"rest\"]"),
    ("error_budget", "0"),
    ("jobs", "8"),
    ("on_error", "\"continue\""),
];

/// Returns how migrations are rolled out; without the table all tenants are one wave.
pub(super) fn resolve(source: Source<'_>, table: &Table<'_>) -> Result<Migrate, ConfigError> {
    let waves = match table.texts("waves")? {
        Some((at, texts)) => waves(at, &texts).map_err(|(at, problem)| source.fail(at, problem))?,
        None => Vec::new(),
    };
    let on_error = match table.text("on_error")? {
        Some(At { value: "stop", .. }) => OnError::Stop,
        Some(At { value: "continue", .. }) | None => OnError::Continue,
        Some(At { value, at }) => {
            let message = format!("`on_error` is {}", shown(value));
            return Err(source.fail(at, Problem::new(message, "write it as `\"stop\"` or `\"continue\"`")));
        }
    };
    Ok(Migrate {
        waves,
        error_budget: table.number("error_budget", 0..=100_000)?.unwrap_or(0),
        jobs: table.number("jobs", 1..=1000)?,
        on_error,
    })
}

/// Checks a tenant's labels; the place of a wrong one comes with what is wrong with it.
pub(super) fn labels(labels: &[String]) -> Result<(), (usize, Problem)> {
    for (place, text) in labels.iter().enumerate() {
        label(text).map_err(|problem| (place, problem))?;
        if labels[..place].contains(text) {
            return Err((place, Problem::new(format!("label {} is there twice", shown(text)), "remove one")));
        }
    }
    Ok(())
}

fn waves(at: usize, texts: &[At<&str>]) -> Result<Vec<Wave>, (usize, Problem)> {
    let mut waves: Vec<Wave> = Vec::new();
    for text in texts {
        let wave = wave(text)?;
        // A share may come again: it is one of fewer tenants then.
        if !matches!(wave, Wave::Share(_)) && waves.contains(&wave) {
            let problem = Problem::new(format!("wave {} is there twice", shown(text.value)), "remove one");
            return Err((text.at, problem));
        }
        if waves.contains(&Wave::Rest) {
            let message =
                format!("wave {} comes after `rest`, which leaves nobody for it", shown(text.value));
            return Err((text.at, Problem::new(message, "move `\"rest\"` to the end")));
        }
        waves.push(wave);
    }
    // Tenants that no wave has would silently never be migrated.
    if waves.last() != Some(&Wave::Rest) {
        let help = "write it as `waves = [\"canary\", \"5%\", \"rest\"]`";
        return Err((at, Problem::new("`waves` does not end with `rest`", help)));
    }
    Ok(waves)
}

fn wave(text: &At<&str>) -> Result<Wave, (usize, Problem)> {
    if text.value == "rest" {
        return Ok(Wave::Rest);
    }
    if let Some(number) = text.value.strip_suffix('%') {
        let plain = number.bytes().all(|b| b.is_ascii_digit());
        return match number.parse::<u8>() {
            Ok(percent @ 1..=99) if plain => Ok(Wave::Share(percent)),
            Ok(_) | Err(_) => {
                let message = format!("{} is not a share", shown(text.value));
                Err((text.at, Problem::new(message, "write it as `\"5%\"`, from `1%` to `99%`")))
            }
        };
    }
    label(text.value).map_err(|problem| (text.at, problem))?;
    Ok(Wave::Label(text.value.to_owned()))
}

fn label(text: &str) -> Result<(), Problem> {
    let fits = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_');
    let problem = |why: &str| {
        let help = "choose lower-case letters, digits, `-` and `_`, such as `canary`";
        Err(Problem::new(format!("label {} {why}", shown(text)), help))
    };
    if text == "rest" {
        return problem("is the name of the last wave");
    }
    if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        return problem("does not start with a letter");
    }
    if text.len() > 63 {
        return problem("is longer than 63 characters");
    }
    match text.chars().find(|c| !fits(*c)) {
        Some(c) => problem(&format!("has {} in it", shown(&c.to_string()))),
        None => Ok(()),
    }
}
