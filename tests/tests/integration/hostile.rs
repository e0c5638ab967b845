//! A tenant that nobody vetted, on the same server as others: it gains no right, forges no check and delays nobody.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare itself has failed")]

mod fleet;
mod forgery;
mod guard;
mod takeover;

use db::tenant::{self, DropSpec, Verification};
use db::{ConnectOptions, Login, Session, connect};
use stack::Events;

use crate::db::{Database, spec};

/// The hostile tenant's database, and its role.
const EVIL: &str = "evil";
const EVIL_ROLE: &str = "evil_app";

/// What every role of the server may do and is a member of, beside the server's own, and whose the databases are. A row each.
const RIGHTS: &str = "
    SELECT concat_ws(' ', rolname, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolcanlogin)
    FROM pg_catalog.pg_roles WHERE rolname !~ '^pg_'
    UNION ALL SELECT concat_ws(' ', roleid::regrole, 'has', member::regrole, 'by', grantor::regrole)
    FROM pg_catalog.pg_auth_members
    UNION ALL SELECT concat_ws(' ', datname, 'is of', datdba::regrole) FROM pg_catalog.pg_database
    ORDER BY 1";

/// What a server has that was upgraded from before PostgreSQL 15.
const AS_UPGRADED: &str =
    "GRANT CREATE ON SCHEMA public TO PUBLIC; GRANT CONNECT ON DATABASE postgres TO PUBLIC";

fn login_to(database: &str) -> Login {
    Login { database: database.to_owned(), ..spec(EVIL).login() }
}

impl Database {
    /// Starts a server as an upgrade leaves it, with an honest tenant and the hostile one.
    async fn start_upgraded() -> Database {
        let db = Database::start().await;
        db.create(&[spec("shop"), spec(EVIL)]).await;
        db.as_master(AS_UPGRADED).await;
        db
    }

    /// Runs statements as the hostile tenant, in that database.
    async fn as_evil(&self, database: &str, sql: &str) {
        let session = self.evil(database).await;
        session.client().batch_execute(sql).await.unwrap();
        session.close().await;
    }

    async fn evil(&self, database: &str) -> Session {
        self.connect(&login_to(database)).await
    }

    /// Connects as our own code does.
    async fn master(&self) -> Session {
        connect(&self.server, &self.admin, &ConnectOptions::default()).await.unwrap()
    }

    async fn rights(&self) -> Vec<String> {
        self.names(&self.admin, RIGHTS).await
    }

    async fn verify_one(&self, name: &str) -> Verification {
        tenant::verify(&self.server, &self.admin, &[spec(name)]).await.unwrap().remove(0)
    }

    async fn drop_honest(&self, name: &str) {
        let owner = format!("{name}_app");
        let what = DropSpec { tenant: name.to_owned(), owner, shared_with: Vec::new(), force: false };
        tenant::drop(&self.server, &self.admin, &what, &Events::none()).await.unwrap();
    }
}
