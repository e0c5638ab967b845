//! How many tenants the server can take at a time.

use crate::{ConnectOptions, Error, Login, Server, connect};

/// Two busy connections a core are a small server's limit, but behind a tunnel most of them wait for the line: with 20 ms
/// each way, 32 see to tenants that have nothing to do in little more than half the time of 16.
const MOST_JOBS: i64 = 32;

/// Returns how many tenants to migrate at a time: half of the connections that are free, at most 32.
///
/// One connection and one query, in whichever database `login` may enter.
///
/// # Errors
/// Those of [`connect`]; [`Error::Full`] if nothing is free.
pub async fn find_jobs(server: &Server, login: &Login) -> Result<usize, Error> {
    // What superusers, RDS and its like keep for themselves is not free.
    const SQL: &str = "
        SELECT current_setting('max_connections')::int8
               - current_setting('superuser_reserved_connections')::int8
               - coalesce(current_setting('reserved_connections', true)::int8, 0)
               - coalesce(current_setting('rds.rds_superuser_reserved_connections', true)::int8, 0),
               (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')";
    let session = connect(server, login, &ConnectOptions::default()).await?;
    let rows = session.query(SQL, &[], "count the server's connections").await;
    session.close().await;
    let rows = rows?;
    // The one that asked is about to be free again.
    let (most, used) = rows.first().map_or((0, 0), |row| (row.get(0), row.get::<_, i64>(1) - 1));
    share(most, used).ok_or(Error::Full { used, most })
}

fn share(most: i64, used: i64) -> Option<usize> {
    let free = most - used;
    (free > 0).then(|| usize::try_from((free / 2).clamp(1, MOST_JOBS)).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn half_of_what_is_free_is_taken_and_never_more_than_thirty_two() {
        assert_eq!(share(222, 10), Some(32));
        assert_eq!(share(30, 10), Some(10));
        assert_eq!(share(10, 9), Some(1));
        assert_eq!(share(10, 10), None);
        assert_eq!(share(10, 12), None);
    }
}
