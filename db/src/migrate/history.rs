use crate::{Cause, Error, Session};

/// A row of refinery's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) version: i32,
    pub(super) name: String,
    pub(super) applied_on: String,
    pub(super) checksum: u64,
}

/// Returns what was applied, by version. Needs no more than the right to read, and no table at all.
pub(super) async fn read(session: &Session) -> Result<Vec<Row>, Error> {
    // As text: refinery panics on a value that it did not write.
    const SQL: &str = "SELECT version::text, name::text, applied_on::text, checksum::text
                       FROM refinery_schema_history ORDER BY version";
    let rows = match session.client().query_typed(SQL, &[]).await {
        Ok(rows) => rows,
        Err(error) if error.code().is_some_and(|code| code.code() == "42P01") => return Ok(Vec::new()),
        Err(error) => {
            return Err(Error::Statement {
                doing: "read the history".to_owned(),
                source: Cause::from(error),
            });
        }
    };
    rows.iter()
        .map(|row| {
            let text = |at: usize, what: &str| {
                row.get::<_, Option<String>>(at)
                    .ok_or_else(|| Error::History { reason: format!("a {what} is null") })
            };
            let unreadable = |what: &str, value: &str| Error::History { reason: format!("{what} `{value}`") };
            let (version, checksum) = (text(0, "version")?, text(3, "checksum")?);
            let applied_on = text(2, "date")?;
            if !is_rfc3339(&applied_on) {
                return Err(unreadable("date", &applied_on));
            }
            Ok(Row {
                version: version.parse().map_err(|_| unreadable("version", &version))?,
                name: text(1, "name")?,
                applied_on,
                checksum: checksum.parse().map_err(|_| unreadable("checksum", &checksum))?,
            })
        })
        .collect()
}

/// Returns whether a date has the shape that refinery writes and insists on: `2026-01-31T23:59:59.5Z`.
fn is_rfc3339(date: &str) -> bool {
    const SHAPE: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    let fits = |(shape, c): (&u8, u8)| if *shape == b'd' { c.is_ascii_digit() } else { c == *shape };
    let has_zone = date.ends_with('Z') || date.len() > SHAPE.len() + 5;
    date.len() > SHAPE.len() && SHAPE.iter().zip(date.bytes()).all(fits) && has_zone
}

#[cfg(test)]
mod tests {
    use super::is_rfc3339;

    #[test]
    fn dates_that_refinery_writes_are_accepted_and_others_are_not() {
        for date in ["2026-11-23T23:28:25.970620691Z", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00+01:00"] {
            assert!(is_rfc3339(date), "{date}");
        }
        for date in ["", "garbage", "2026-01-01", "2026-01-01 00:00:00Z", "2026-01-01T00:00:00"] {
            assert!(!is_rfc3339(date), "{date}");
        }
    }
}
