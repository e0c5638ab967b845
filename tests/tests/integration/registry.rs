//! Tenants that a query lists, on a real PostgreSQL 16.

use db::tenant::registry;
use stack::config::{Record, tenants};
use tests::{Fixture, Want};

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

    let all = query(
        "SELECT name, app_owner AS owner, note AS purpose, tags AS labels FROM public.tenant ORDER BY n",
    )
    .await
    .unwrap();
    let names: Vec<&str> = all.iter().map(|tenant| tenant.name.as_str()).collect();
    assert_eq!(names, ["shop", "health", "games"]);
    assert_eq!((all[0].owner.as_str(), all[2].owner.as_str()), ("both", "games"));
    assert_eq!((all[0].purpose.as_str(), all[0].labels.join("+")), ("The shop", "beta+eu".to_owned()));
    assert_eq!(query("SELECT name FROM public.tenant WHERE false").await.unwrap(), []);

    for (sql, said) in [
        (
            "SELECT name, 'x' AS password FROM public.tenant",
            "tenants' query, `password`: there is no such column",
        ),
        (
            "SELECT name, 1 AS owner FROM public.tenant",
            "query, `owner`: it is of type `int4`; cast it with `::text`",
        ),
        ("SELECT name, name FROM public.tenant", "query, `name`: it is there twice"),
        ("SELECT note AS owner FROM public.tenant", "query, `name`: the query returns no such column"),
        ("SELECT", "query, `name`: the query returns no such column"),
        (
            "SELECT name FROM public.tenant UNION ALL SELECT 'known'",
            "query, row 4, `name`: tenant `known` is there twice",
        ),
        (
            "SELECT name || chr(10) AS name FROM public.tenant",
            "query, row 1, `name`: tenant name `shop\\n` has `\\n` in it",
        ),
        ("SELECT name, 'master' AS owner FROM public.tenant", "query, row 1, `owner`: role name `master`"),
        ("SELECT NULL::text AS name", "query, row 1, `name`: tenant name `` is empty"),
        ("SELECT repeat('a', 10000) AS name", "(10000 characters)"),
        ("SELECT 'a' || n AS name FROM generate_series(1, 200000) n", "more than 100000 rows"),
        ("SELECT repeat('a', 200000000) AS name", "a message of more than 32 MiB"),
        (
            "SELECT repeat('a', 20000000) AS name FROM generate_series(1, 9)",
            "its answer is longer than 64 MiB",
        ),
        ("SELECT name FROM nothing", "relation \"nothing\" does not exist"),
        // Whoever may create in `public` makes nothing that the query calls.
        ("SELECT name FROM tenant", "relation \"tenant\" does not exist"),
        ("SELECT name FROM public.tenant; DROP TABLE tenant", "multiple commands"),
        (
            "WITH gone AS (DELETE FROM public.tenant RETURNING name) SELECT name FROM gone",
            "read-only transaction",
        ),
        ("SELECT set_config('transaction_read_only', 'off', false) AS name", "read-write mode"),
    ] {
        let error = query(sql).await.expect_err(sql).chain();
        assert!(error.contains(said), "{sql}: {error}");
        assert!(error.len() < 400 && !error.contains('\n'), "{error:?}");
    }
    assert_eq!(query("SELECT name FROM public.tenant").await.unwrap().len(), 3, "somebody wrote");
    db.stop().await;
}

#[test]
fn tenants_of_a_file_and_of_a_query_are_created_migrated_and_reported() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::Databases).await;
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let shipped = std::fs::read_to_string(tests::STACK_FILE).unwrap();
        let (head, _) = shipped.split_once("[[tenant]]").unwrap();
        let (file, query) = (path("file.toml"), path("query.toml"));
        std::fs::write(&file, format!("{head}[tenants]\nfile = \"tenants.csv\"\n")).unwrap();
        std::fs::write(path("tenants.csv"), "name,labels\nshop,canary\nhealth,\n").unwrap();
        let sql = "SELECT name, NULL::text AS owner FROM public.registry";
        std::fs::write(&query, format!("{head}[tenants]\nquery = \"{sql}\"\n")).unwrap();

        fixture.run(&["up", "--yes", "--stack", &file]).await.expect(0);
        fixture.run(&["tenant", "create", "--stack", &file]).await.expect(0);
        let status =
            fixture.run(&["migrate", "status", "--check", "--json", "--stack", &file]).await.expect(8).json();
        assert_eq!(status["tenants"][0]["state"], "pending", "{status}");
        assert_eq!(status["tenants"][0]["labels"][0], "canary", "{status}");
        let junit = path("junit.xml");
        fixture.run(&["migrate", "shop", "--junit", &junit, "--stack", &file]).await.expect(0);
        let xml = std::fs::read_to_string(junit).unwrap();
        assert!(xml.contains("tests=\"1\" failures=\"0\"") && xml.contains("name=\"shop\""), "{xml}");

        let fill =
            "CREATE TABLE registry (name text); INSERT INTO registry VALUES ('shop'), ('health'), ('games')";
        fixture.run(&["psql", "--stack", &query, "--", "-X", "-q", "-c", fill]).await.expect(0);
        fixture.run(&["migrate", "health", "--stack", &query]).await.expect(0);
        // Known to the query, and not there yet.
        let page = path("page.html");
        let ran = fixture.run(&["migrate", "status", "--html", &page, "--stack", &query]).await.expect(0);
        assert_eq!(ran.stdout, "");
        let page = std::fs::read_to_string(page).unwrap();
        assert!(page.contains("there is no such database") && page.contains("2 up to date"), "{page}");
        fixture.run(&["tenant", "create", "games", "--stack", &query]).await.expect(0);
        fixture.run(&["migrate", "--stack", &query]).await.expect(0);
        let name = ["-X", "-A", "-t", "-c", "SELECT current_user"];
        let ran = fixture.run(&[&["psql", "games", "--stack", &query, "--"], name.as_slice()].concat()).await;
        assert_eq!(ran.expect(0).stdout.trim(), "games");
        fixture.run(&["tenant", "create", "nobody", "--stack", &query]).await.expect(2);

        // A grant that nobody configured.
        let open = "GRANT CONNECT ON DATABASE shop TO PUBLIC";
        fixture.run(&["psql", "shop", "--stack", &query, "--", "-X", "-q", "-c", open]).await.expect(0);
        let ran = fixture.run(&["migrate", "status", "--check", "--stack", &query]).await.expect(8);
        assert!(ran.stdout.contains("closed to PUBLIC: PUBLIC has CONNECT"), "{}", ran.stdout);
        assert!(ran.stdout.contains("1 drift, 0 pending, 2 up to date"), "{}", ran.stdout);

        // What else nobody configured; each is told with the command that mends it, and that does.
        let sql = async |tenant: &str, sql: &str| {
            fixture.run(&["psql", tenant, "--stack", &query, "--", "-Xqc", sql]).await.expect(0);
        };
        sql("shop", "GRANT CONNECT ON DATABASE shop TO games").await;
        sql("shop", "GRANT CREATE ON SCHEMA public TO PUBLIC").await;
        let intruder =
            ["psql", "games", "--stack", &query, "--", "-d", "shop", "-Xqc", "CREATE TABLE intruder ()"];
        fixture.run(&intruder).await.expect(0);
        let status = ["migrate", "status", "--json", "--stack", &query];
        let seen = fixture.run(&status).await.expect(0).json();
        let drift = seen["tenants"][0]["drift"].to_string();
        for said in [
            "tenant create shop`",
            "closed to other roles: `games` may connect",
            "REVOKE CONNECT ON DATABASE \\\"shop\\\" FROM \\\"games\\\"",
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
            &format!("TABLE public.intruder is `games`'s; run `cargo xtask --stack {query} psql -- "),
        ] {
            assert!(drift.contains(said), "{said}: {drift}");
        }
        assert_eq!(seen["tenants"][0]["extensions"][0]["name"], "plpgsql", "{seen}");
        let verified = fixture.run(&["tenant", "verify", "shop", "--stack", &query]).await.expect(6);
        assert!(
            verified.stdout.contains("schema public closed to PUBLIC: PUBLIC has CREATE"),
            "{verified:?}"
        );
        fixture.run(&["tenant", "create", "shop", "--stack", &query]).await.expect(0);
        sql("shop", "REVOKE CONNECT ON DATABASE \"shop\" FROM \"games\"").await;
        sql("shop", "REVOKE CREATE ON SCHEMA public FROM PUBLIC").await;
        let give =
            ["ALTER TABLE public.intruder OWNER TO \"shop\"", "REVOKE \"games\", \"shop\" FROM CURRENT_USER"];
        let join = "GRANT \"games\", \"shop\" TO CURRENT_USER";
        assert!(
            drift
                .replace('\\', "")
                .contains(&format!("-c '{join}' -c \"c shop\" -c '{}' -c '{}'`", give[0], give[1]))
        );
        let give = [
            "psql", "--stack", &query, "--", "-X", "-c", join, "-c", "\\c shop", "-c", give[0], "-c", give[1],
        ];
        fixture.run(&give).await.expect(0);
        fixture.run(&["tenant", "verify", "shop", "--stack", &query]).await.expect(0);
        fixture.run(&["migrate", "status", "--check", "--stack", &query]).await.expect(0);

        // A query that names a table without its schema is told what is missing.
        let unnamed = path("unnamed.toml");
        std::fs::write(&unnamed, format!("{head}[tenants]\nquery = \"SELECT name FROM registry\"\n"))
            .unwrap();
        let ran = fixture.run(&["migrate", "--stack", &unnamed]).await.expect(1);
        assert!(ran.stderr.contains("such as `public.registry`"), "{}", ran.stderr);

        // A registry that returns garbage: told with its row, and nothing is changed.
        let list = fixture.run(&["tenant", "list", "--json", "--stack", &file]).await.expect(0).json();
        let garbage = path("garbage.toml");
        for (sql, said) in [
            ("SELECT repeat('a', 10000) AS name", "row 1, `name`: "),
            ("SELECT E'a\\\\nb\\\\'; --' AS name", "row 1, `name`: "),
            ("SELECT 'shop' AS name, 'sometimes' AS rotation", "row 1, `rotation`: `sometimes`"),
            ("SELECT name, name FROM public.registry", "`name`: it is there twice"),
        ] {
            std::fs::write(&garbage, format!("{head}[tenants]\nquery = \"{sql}\"\n")).unwrap();
            for task in
                [["tenant", "create"].as_slice(), &["migrate"], &["secret", "rotate", "--all", "--yes"]]
            {
                let ran = fixture.run(&[task, &["--stack", &garbage]].concat()).await.expect(2);
                assert!(ran.stderr.contains(said) && ran.stderr.len() < 2000, "{sql}: {}", ran.stderr);
            }
        }
        let after = fixture.run(&["tenant", "list", "--json", "--stack", &file]).await.expect(0).json();
        assert_eq!(after, list);

        // A database is not migrated with files that were meant for others.
        let own = format!("{}[[tenant]]\nname = \"shop\"\nmigrations = \"webshop\"\n", head);
        std::fs::write(&file, own).unwrap();
        let ran = fixture.run(&["migrate", "--stack", &file]).await.expect(2);
        assert!(ran.stderr.contains("there is no set of migrations `webshop`"), "{}", ran.stderr);
        fixture.run(&["down", "--yes", "--stack", &query]).await.expect(0);
        fixture.stop().await;
    });
}
