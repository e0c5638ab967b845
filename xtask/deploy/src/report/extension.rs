//! Extensions that differ between tenants of one set of migrations, which expect the same of their databases.

use std::collections::{BTreeMap, BTreeSet};

use db::quote::{ident, literal, shell};

use super::migration_status::Seen;

/// Adds to the drift of each tenant in which extensions it differs from most of its set.
pub fn compare(seen: &mut [Seen]) {
    let mut sets: BTreeMap<Option<String>, Vec<usize>> = BTreeMap::new();
    for (place, one) in seen.iter().enumerate() {
        // What could not be looked at has no extensions to be compared.
        if one.plan.is_ok() {
            sets.entry(one.set.clone()).or_default().push(place);
        }
    }
    for places in sets.values() {
        let names: BTreeSet<String> = places
            .iter()
            .flat_map(|place| seen[*place].extensions.iter().map(|one| one.name.clone()))
            .collect();
        for name in names {
            compare_one(seen, places, &name);
        }
    }
}

fn compare_one(seen: &mut [Seen], places: &[usize], name: &str) {
    let version_in = |one: &Seen| {
        one.extensions.iter().find(|extension| extension.name == name).map(|found| found.version.clone())
    };
    let mut counts: BTreeMap<Option<String>, usize> = BTreeMap::new();
    for place in places {
        *counts.entry(version_in(&seen[*place])).or_default() += 1;
    }
    // Of as many, those that have it, and have the newest, are what the others are to become.
    let usual = counts.iter().max_by_key(|(version, count)| (**count, version.as_deref().map(parts)));
    let Some((usual, count)) = usual.map(|(version, count)| (version.clone(), *count)) else { return };
    for place in places {
        let one = &mut seen[*place];
        let is = version_in(one);
        if is == usual {
            continue;
        }
        let words = |version: &Option<String>| version.clone().unwrap_or_else(|| "not there".to_owned());
        let sql = match (&is, &usual) {
            (None, Some(version)) => format!("CREATE EXTENSION {} VERSION {}", ident(name), literal(version)),
            (Some(_), Some(version)) => {
                format!("ALTER EXTENSION {} UPDATE TO {}", ident(name), literal(version))
            }
            (_, None) => format!("DROP EXTENSION {}", ident(name)),
        };
        let run = match shell(&["cargo", "xtask", "psql", &one.tenant, "--", "-c", &sql]) {
            Some(command) => format!("; run `{command}`"),
            None => String::new(),
        };
        one.drift.push(format!(
            "extension `{name}`: {}, and {} in {count} of {} tenants of its set{run}",
            words(&is),
            words(&usual),
            places.len(),
        ));
    }
}

/// Returns a version's numbers, so that 1.10 comes after 1.9.
fn parts(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use db::tenant::Extension;

    use super::super::migration_status::tests::tenant;
    use super::*;

    fn with(name: &str, version: Option<&str>) -> Seen {
        let extension = |version: &str| Extension { name: "pg_trgm".to_owned(), version: version.to_owned() };
        Seen { extensions: version.map(extension).into_iter().collect(), ..tenant(name, 1, 1) }
    }

    fn drift(mut seen: Vec<Seen>) -> Vec<String> {
        compare(&mut seen);
        seen.into_iter().flat_map(|one| one.drift).collect()
    }

    #[test]
    fn who_differs_from_most_is_told_what_to_type() {
        let seen =
            vec![with("a", Some("1.6")), with("b", Some("1.5")), with("c", Some("1.6")), with("d", None)];
        assert_eq!(
            drift(seen),
            [
                "extension `pg_trgm`: 1.5, and 1.6 in 2 of 4 tenants of its set; run \
                 `cargo xtask psql b -- -c \"ALTER EXTENSION \\\"pg_trgm\\\" UPDATE TO '1.6'\"`",
                "extension `pg_trgm`: not there, and 1.6 in 2 of 4 tenants of its set; run \
                 `cargo xtask psql d -- -c \"CREATE EXTENSION \\\"pg_trgm\\\" VERSION '1.6'\"`",
            ]
        );
        let most = drift(vec![with("a", None), with("b", None), with("c", Some("1.6"))]);
        assert!(most.len() == 1 && most[0].contains("'DROP EXTENSION \"pg_trgm\"'"), "{most:?}");
    }

    #[test]
    fn of_two_that_differ_the_newer_version_is_right() {
        let told = drift(vec![with("a", Some("1.9")), with("b", Some("1.10"))]);
        assert!(
            told.len() == 1 && told[0].starts_with("extension `pg_trgm`: 1.9, and 1.10 in 1 of 2"),
            "{told:?}"
        );
        let told = drift(vec![with("a", None), with("b", Some("1.6"))]);
        assert!(told.len() == 1 && told[0].contains("not there, and 1.6"), "{told:?}");
    }

    #[test]
    fn other_sets_and_what_could_not_be_looked_at_are_no_measure() {
        let other = Seen { set: Some("games".to_owned()), ..with("b", None) };
        let broken = Seen { plan: Err("no connection".to_owned()), ..with("c", None) };
        assert_eq!(drift(vec![with("a", Some("1.6")), other, broken]), [""; 0]);
    }
}
