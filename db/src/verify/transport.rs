//! Checks that the server refuses a connection without TLS, and that its certificate fits no other name.

use std::error::Error as _;

use tokio_postgres::NoTls;
use tokio_postgres::config::{Config, SslMode};

use super::check::{Check, fail, pass, unknown};
use crate::{ConnectOptions, Error, Server, TenantSpec, connect};

/// Connects without TLS and without a password: the server must refuse before it asks for one.
pub(super) async fn plain_is_refused(server: &Server, tenant: &TenantSpec, reachable: bool) -> Check {
    const NAME: &str = "plain connection refused";
    let stream = match server.dial.dial().await {
        Ok(stream) => stream,
        Err(error) => return unknown(NAME, error.to_string()),
    };
    let mut config = Config::new();
    config.user(&tenant.owner).dbname(&tenant.name).ssl_mode(SslMode::Disable);
    let attempt = tokio::time::timeout(
        ConnectOptions::default().connect_timeout,
        Box::pin(config.connect_raw(stream, NoTls)),
    );
    match attempt.await {
        Err(_) => unknown(NAME, "the server did not answer"),
        Ok(Ok(_)) => fail(NAME, "the server let us in without TLS and without a password"),
        Ok(Err(error)) => match error.as_db_error() {
            Some(said) if said.code().code() == "28000" => pass(NAME, said.message().to_owned()),
            Some(said) => unknown(NAME, said.to_string()),
            None if was_hung_up(&error) && reachable => pass(NAME, "the server hung up"),
            None if was_hung_up(&error) => unknown(NAME, "the connection broke"),
            None => fail(NAME, "the server asked for a password without TLS"),
        },
    }
}

fn was_hung_up(error: &tokio_postgres::Error) -> bool {
    error.is_closed() || error.source().is_some_and(|cause| cause.is::<std::io::Error>())
}

/// Connects to the same server by another name: its certificate must not be accepted.
pub(super) async fn wrong_name_is_refused(server: &Server, tenant: &TenantSpec, reachable: bool) -> Check {
    const NAME: &str = "wrong server name refused";
    let wrong = Server { host: format!("not-{}", server.host), ..server.clone() };
    match connect(&wrong, &tenant.login(), &ConnectOptions::default()).await {
        Ok(session) => {
            session.close().await;
            fail(NAME, format!("the certificate was taken for `{}`", wrong.host))
        }
        Err(error @ Error::Tls { .. }) if reachable => pass(NAME, error.chain()),
        Err(error) => unknown(NAME, error.chain()),
    }
}
