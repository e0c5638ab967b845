//! Tenants that a query lists, on a real PostgreSQL 16.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare itself has failed")]

use db::tenant::registry;
use stack::config::{Record, tenants};

use crate::db::Database;

#[tokio::test(flavor = "multi_thread")]
async fn a_query_lists_tenants_and_can_do_nothing_else() {
    let db = Database::start().await;
    db.as_master(
        "CREATE TABLE tenant (name text, app_owner varchar(63), note name, tags text, n int, t timestamptz);
         INSERT INTO tenant VALUES ('shop', 'both', 'The shop', 'beta;eu', 1), ('health', 'both', NULL, NULL, 2),
                                   ('games', NULL, NULL, '', 3);",
    )
    .await;
    let known = [Record { name: "known".to_owned(), ..Record::default() }];
    let known = tenants(&known, &[], "master").unwrap();
    let query = async |sql: &str| registry::query(&db.server, &db.admin, sql, &known).await;

    let all =
        query("SELECT name, app_owner AS owner, note AS purpose, tags AS labels FROM tenant ORDER BY n")
            .await
            .unwrap();
    let names: Vec<&str> = all.iter().map(|tenant| tenant.name.as_str()).collect();
    assert_eq!(names, ["shop", "health", "games"]);
    assert_eq!((all[0].owner.as_str(), all[2].owner.as_str()), ("both", "games"));
    assert_eq!((all[0].purpose.as_str(), all[0].labels.join("+")), ("The shop", "beta+eu".to_owned()));
    assert_eq!(query("SELECT name FROM tenant WHERE false").await.unwrap(), []);

    for (sql, said) in [
        ("SELECT name, 'x' AS password FROM tenant", "tenants' query, `password`: there is no such column"),
        (
            "SELECT name, 1 AS owner FROM tenant",
            "query, `owner`: it is of type `int4`; cast it with `::text`",
        ),
        ("SELECT name, name FROM tenant", "query, `name`: it is there twice"),
        ("SELECT note AS owner FROM tenant", "query, `name`: the query returns no such column"),
        ("SELECT", "query, `name`: the query returns no such column"),
        (
            "SELECT name FROM tenant UNION ALL SELECT 'known'",
            "query, row 4, `name`: tenant `known` is there twice",
        ),
        (
            "SELECT name || chr(10) AS name FROM tenant",
            "query, row 1, `name`: tenant name `shop\\n` has `\\n` in it",
        ),
        ("SELECT name, 'master' AS owner FROM tenant", "query, row 1, `owner`: role name `master`"),
        ("SELECT NULL::text AS name", "query, row 1, `name`: tenant name `` is empty"),
        ("SELECT repeat('a', 10000) AS name", "(10000 characters)"),
        ("SELECT 'a' || n AS name FROM generate_series(1, 200000) n", "more than 100000 rows"),
        ("SELECT name FROM nothing", "relation \"nothing\" does not exist"),
        ("SELECT name FROM tenant; DROP TABLE tenant", "multiple commands"),
        ("WITH gone AS (DELETE FROM tenant RETURNING name) SELECT name FROM gone", "read-only transaction"),
        ("SELECT set_config('transaction_read_only', 'off', false) AS name", "read-write mode"),
    ] {
        let error = query(sql).await.expect_err(sql).chain();
        assert!(error.contains(said), "{sql}: {error}");
        assert!(error.len() < 400 && !error.contains('\n'), "{error:?}");
    }
    assert_eq!(query("SELECT name FROM tenant").await.unwrap().len(), 3, "somebody wrote");
    db.stop().await;
}
