//! PostgreSQL through the tunnel: what its clients do beside asking and being answered.

use std::process::Stdio;

use db::{ConnectOptions, connect};
use deploy::bridge::{self, Bridge};
use futures_util::{SinkExt, TryStreamExt};
use sandbox::{Pacing, PostgresSource};
use tests::{Fixture, LIMIT, Want, block_on, postgres_program};
use tokio_postgres::AsyncMessage;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::db::until_count;

async fn start() -> Fixture {
    let fixture = Fixture::start_agent(Want::Databases, |agent| agent.pacing = Pacing::Unlimited).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    fixture
}

/// Says whether this machine has all of these; where it has not, the test is skipped, which CI does not take.
fn has_programs(names: &[&str]) -> bool {
    let missing: Vec<&&str> = names.iter().filter(|name| postgres_program(name).is_none()).collect();
    if missing.is_empty() {
        return true;
    }
    tests::skip(&format!(
        "{missing:?} of PostgreSQL are not on this machine (Debian: `apt-get install postgresql`)"
    ));
    false
}

#[test]
fn copies_go_both_ways_and_a_query_can_be_cancelled_from_another_stream() {
    block_on(async {
        let fixture = start().await;
        let context = &fixture.context;
        let (cloud, inventory) = context.observe().await.expect("the account can be observed");
        let bridge = Bridge::to_database(context, &cloud, &inventory).await.expect("the tunnel opens");
        let login = bridge::master(context, &cloud).await.expect("the master has a secret");
        let server = bridge.server(context).expect("the roots are there");
        let session =
            connect(&server, &login, &ConnectOptions::default()).await.expect("the master may log in");
        let client = session.client();

        client.batch_execute("CREATE TEMPORARY TABLE line (n int, t text)").await.unwrap();
        let rows: Vec<String> = (0..40_000).map(|n| format!("{n}\t{}\n", "x".repeat(n % 200))).collect();
        let text = rows.concat();
        let sink = client.copy_in("COPY line FROM STDIN").await.unwrap();
        let mut sink = std::pin::pin!(sink);
        for chunk in text.as_bytes().chunks(50_000) {
            sink.send(bytes::Bytes::copy_from_slice(chunk)).await.unwrap();
        }
        assert_eq!(sink.finish().await.unwrap(), 40_000);
        let out = client.copy_out("COPY (SELECT * FROM line ORDER BY n) TO STDOUT").await.unwrap();
        let chunks: Vec<bytes::Bytes> = out.try_collect().await.unwrap();
        assert!(chunks.concat() == text.as_bytes(), "what came back differs from what was sent");

        let token = client.cancel_token();
        let sleeping = client.batch_execute("SELECT pg_sleep(600)");
        let cancelling = async {
            let other = connect(&server, &login, &ConnectOptions::default()).await.unwrap();
            let is_asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' \
                             AND state = 'active' AND pid <> pg_backend_pid()";
            until_count(&other, is_asleep, |count| count > 0).await;
            // As libpq does it: a connection of its own, that only carries the request.
            let stream = bridge.connect().await.unwrap();
            let roots = deploy::listener::tls(context.access.roots().unwrap()).unwrap();
            let mut tls = MakeRustlsConnect::new((*roots).clone());
            let tls = MakeTlsConnect::<tunnel::Stream>::make_tls_connect(&mut tls, &bridge.host).unwrap();
            token.cancel_query_raw(stream, tls).await.unwrap();
            other.close().await;
        };
        let (slept, ()) = tokio::join!(sleeping, cancelling);
        assert_eq!(slept.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
        session.close().await;
        bridge.close().await;
        fixture.stop().await;
    });
}

#[test]
fn pgbench_with_eight_clients_is_carried() {
    if !has_programs(&["pgbench"]) {
        return;
    }
    let pgbench = postgres_program("pgbench").expect("it was found");
    block_on(async move {
        let fixture = start().await;
        let pgbench = pgbench.to_str().expect("a path in UTF-8").to_owned();
        let run = |args: &'static [&'static str]| {
            let mut all = vec!["exec", "--", pgbench.as_str()];
            all.extend(args);
            let mut command = fixture.program(&all);
            command.stdin(Stdio::null());
            tokio::task::spawn_blocking(move || tests::run(command))
        };
        run(&["--initialize", "--scale=1", "--quiet"]).await.unwrap().expect(0);
        let ran =
            run(&["--select-only", "--client=8", "--jobs=2", "--transactions=200"]).await.unwrap().expect(0);
        assert!(
            ran.stdout.contains("number of transactions actually processed: 1600/1600"),
            "{}",
            ran.stdout
        );
        assert!(ran.stdout.contains("number of failed transactions: 0"), "{}", ran.stdout);
        assert_eq!(fixture.cloud.gateway().live_sessions(), 0, "all sessions of `exec` have ended");
        fixture.stop().await;
    });
}

#[test]
fn a_notification_arrives_without_being_asked_for() {
    block_on(async {
        let fixture = start().await;
        let context = &fixture.context;
        let (cloud, inventory) = context.observe().await.unwrap();
        let bridge = Bridge::to_database(context, &cloud, &inventory).await.unwrap();
        let login = bridge::master(context, &cloud).await.unwrap();
        let roots = deploy::listener::tls(context.access.roots().unwrap()).unwrap();
        let mut tls = MakeRustlsConnect::new((*roots).clone());
        let tls = MakeTlsConnect::<tunnel::Stream>::make_tls_connect(&mut tls, &bridge.host).unwrap();
        let (client, mut connection) = tokio_postgres::Config::new()
            .user(&login.user)
            .password(login.password.expose())
            .dbname(&login.database)
            .ssl_mode(tokio_postgres::config::SslMode::Require)
            .connect_raw(bridge.connect().await.unwrap(), tls)
            .await
            .unwrap();
        let (heard, mut notifications) = tokio::sync::mpsc::unbounded_channel();
        let listening = tokio::spawn(async move {
            while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(notification) = message {
                    heard
                        .send((notification.channel().to_owned(), notification.payload().to_owned()))
                        .unwrap();
                }
            }
        });
        client.batch_execute("LISTEN bridge").await.unwrap();
        let server = bridge.server(context).unwrap();
        let other = connect(&server, &login, &ConnectOptions::default()).await.unwrap();
        for number in 0..20 {
            other.client().batch_execute(&format!("NOTIFY bridge, '{number}'")).await.unwrap();
            let notification = tokio::time::timeout(LIMIT, notifications.recv()).await;
            let (channel, payload) = notification.expect("a notification comes").unwrap();
            assert_eq!((channel.as_str(), payload), ("bridge", number.to_string()));
        }
        other.close().await;
        drop(client);
        listening.await.unwrap();
        bridge.close().await;
        fixture.stop().await;
    });
}

#[test]
fn a_dump_is_restored_row_for_row() {
    // A dump must not be older than its server: both are the system's.
    if !has_programs(&["pg_dump", "pg_restore", "createdb", "psql", "postgres"]) {
        return;
    }
    block_on(async {
        let fixture = Fixture::start_custom(Want::Databases, |options| {
            options.postgres = PostgresSource::Host;
            options.agent.pacing = Pacing::Unlimited;
        })
        .await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        // 10 MB that do not compress to nothing.
        let script = r#"set -eu
            psql -Xq -c "CREATE TABLE line AS SELECT n, string_agg(md5(n::text || m), '') AS t
                         FROM generate_series(1, 5000) n, generate_series(1, 64) m GROUP BY n"
            pg_dump --format=custom --table=line --file="$DUMP" postgres
            createdb copy
            pg_restore --dbname=copy "$DUMP"
            for database in postgres copy; do
                psql -XAtq -d $database -c "SELECT count(*), md5(string_agg(t, '' ORDER BY n)) FROM line"
            done"#;
        let dump = fixture.cloud.dir().join("line.dump");
        let mut command = fixture.program(&["exec", "--", "sh", "-c", script]);
        command.env("DUMP", &dump);
        let ran = tokio::task::spawn_blocking(move || tests::run(command)).await.unwrap().expect(0);
        let rows: Vec<&str> = ran.stdout.lines().collect();
        assert!(rows.len() == 2 && rows[0].starts_with("5000|") && rows[0] == rows[1], "{rows:?}");
        assert!(std::fs::metadata(&dump).unwrap().len() > 4 << 20, "the dump is too small to show anything");
        assert_eq!(fixture.cloud.gateway().live_sessions(), 0);
        fixture.stop().await;
    });
}
