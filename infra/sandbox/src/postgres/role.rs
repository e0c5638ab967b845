//! What the sandbox itself says to a cluster, over its socket or as SQL for others to run: the master user, its password, its
//! database.

use tokio_postgres::{Client, Config, NoTls};

use super::socket::Socket;
use crate::Error;
use crate::gateway::Password;

/// The superuser. As on RDS, it belongs to the service and nobody else gets in as it.
pub(crate) const ADMIN: &str = "rdsadmin";

/// Connects as the superuser.
pub(super) async fn connect(socket: &Socket) -> Result<Client, Error> {
    let doing = "let the sandbox in";
    let stream = socket.connect().await.map_err(Error::file("connect to", socket.path()))?;
    // Tenants may have made what our statements call.
    let options = "-c search_path=pg_catalog,pg_temp";
    let config = Config::new().user(ADMIN).dbname("postgres").options(options).to_owned();
    let (client, connection) = config.connect_raw(stream, NoTls).await.map_err(refused(doing))?;
    tokio::spawn(connection);
    Ok(client)
}

/// Makes the master user.
pub(super) async fn create_master(client: &Client, user: &str, password: &Password) -> Result<(), Error> {
    run(client, &master(user, password), &format!("create the master user `{user}`")).await
}

/// Makes a database.
pub(super) async fn create_database(client: &Client, name: &str, owner: &str) -> Result<(), Error> {
    run(client, &database(name, owner), &format!("create the database `{name}`")).await
}

/// Changes a role's password.
pub(super) async fn set_password(client: &Client, user: &str, new: &Password) -> Result<(), Error> {
    run(client, &password(user, new), &format!("change the password of `{user}`")).await
}

async fn run(client: &Client, statements: &str, doing: &str) -> Result<(), Error> {
    client.batch_execute(statements).await.map_err(refused(doing))
}

/// Returns what makes the master user, with what RDS gives one: databases and roles, the server's own databases but for
/// `template0`, and not a superuser's rights.
pub(crate) fn master(user: &str, password: &Password) -> String {
    let (name, verifier) = (identifier(user), literal(&verifier(password)));
    format!(
        "CREATE ROLE {name} LOGIN CREATEDB CREATEROLE PASSWORD {verifier} VALID UNTIL 'infinity';
         GRANT rds_superuser TO {name};
         ALTER DATABASE postgres OWNER TO {name};
         ALTER DATABASE template1 OWNER TO {name};\n"
    )
}

/// Returns what makes a database.
pub(crate) fn database(name: &str, owner: &str) -> String {
    format!("CREATE DATABASE {} OWNER {};\n", identifier(name), identifier(owner))
}

/// Returns what changes a role's password.
pub(crate) fn password(user: &str, new: &Password) -> String {
    format!("ALTER ROLE {} PASSWORD {};\n", identifier(user), literal(&verifier(new)))
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
