//! What the sandbox itself says to a cluster: the master user, its password, its database.

use tokio_postgres::{Client, Config, NoTls};

use super::{ADMIN, Socket};
use crate::Error;
use crate::gateway::Password;

/// Connects as the superuser.
pub(super) async fn connect(socket: &Socket) -> Result<Client, Error> {
    let doing = "let the sandbox in";
    let stream = socket.connect().await.map_err(Error::file("connect to", socket.path()))?;
    let config = Config::new().user(ADMIN).dbname("postgres").to_owned();
    let (client, connection) = config.connect_raw(stream, NoTls).await.map_err(refused(doing))?;
    tokio::spawn(connection);
    Ok(client)
}

/// Makes the master user with what RDS gives one: databases and roles, but not a superuser's rights.
pub(super) async fn create_master(client: &Client, user: &str, password: &Password) -> Result<(), Error> {
    let (name, verifier) = (identifier(user), literal(&verifier(password)));
    let statements = format!(
        "CREATE ROLE {name} LOGIN CREATEDB CREATEROLE PASSWORD {verifier} VALID UNTIL 'infinity';
         GRANT rds_superuser TO {name};
         ALTER DATABASE postgres OWNER TO {name}"
    );
    client.batch_execute(&statements).await.map_err(refused(&format!("create the master user `{user}`")))
}

/// Makes a database.
pub(super) async fn create_database(client: &Client, database: &str, owner: &str) -> Result<(), Error> {
    let statement = format!("CREATE DATABASE {} OWNER {}", identifier(database), identifier(owner));
    client.batch_execute(&statement).await.map_err(refused(&format!("create the database `{database}`")))
}

/// Changes a role's password.
pub(super) async fn set_password(client: &Client, user: &str, password: &Password) -> Result<(), Error> {
    let statement = format!("ALTER ROLE {} PASSWORD {}", identifier(user), literal(&verifier(password)));
    client.batch_execute(&statement).await.map_err(refused(&format!("change the password of `{user}`")))
}

/// The server logs every statement, so that it never gets to see a clear password.
fn verifier(password: &Password) -> String {
    postgres_protocol::password::scram_sha_256(password.expose().as_bytes())
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn refused(doing: &str) -> impl FnOnce(tokio_postgres::Error) -> Error {
    let doing = doing.to_owned();
    move |source| Error::Sql { doing, source }
}
