//! Room on the server's disk before tenants are created.

use tests::{Fixture, Want};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_is_looked_at_before_tenants_are_created_and_what_is_not_known_stops_nobody() {
    let fixture = Fixture::start(Want::Databases).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    let ran = fixture.run(&["tenant", "create"]).await.expect(0);
    assert!(!ran.stderr.contains("server's disk"), "there is room, which is nothing to tell: {}", ran.stderr);

    let identifier = fixture.context.stack.database.identifier.as_str();
    let shrunk =
        [("DBInstanceIdentifier", identifier), ("AllocatedStorage", "0"), ("ApplyImmediately", "true")];
    fixture.raw().rds("ModifyDBInstance", &shrunk).await;
    let ran = fixture.run(&["tenant", "create"]).await.expect(0);
    assert!(ran.stderr.contains("room on the server's disk: unknown: RDS does not say"), "{}", ran.stderr);
    fixture.run(&["tenant", "create", "--allow-full-disk"]).await.expect(0);
    // Whoever only looks needs no room.
    let ran = fixture.run(&["tenant", "verify"]).await.expect(0);
    assert!(!ran.stderr.contains("server's disk"), "{}", ran.stderr);
    fixture.run(&["tenant", "verify", "--allow-full-disk"]).await.expect(2);
    fixture.stop().await;
}
