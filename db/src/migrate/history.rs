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
            let number = |what: &str, value: &str| Error::History { reason: format!("{what} `{value}`") };
            let (version, checksum) = (text(0, "version")?, text(3, "checksum")?);
            Ok(Row {
                version: version.parse().map_err(|_| number("version", &version))?,
                name: text(1, "name")?,
                applied_on: text(2, "date")?,
                checksum: checksum.parse().map_err(|_| number("checksum", &checksum))?,
            })
        })
        .collect()
}
