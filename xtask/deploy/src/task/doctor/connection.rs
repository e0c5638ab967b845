//! The last links, which only a connection can show: the port, TLS, the login, and who else may log in where the master works.

use std::sync::Arc;

use aws::Cloud;
use db::maintenance::{self, Grounds};
use db::{ConnectOptions, Login, Server, connect};
use stack::Inventory;
use stack::diagnosis::{Judgement, Link};
use stack::finding::{Cause, Finding};

use crate::bridge::{self, Bridge};
use crate::cause;
use crate::context::Context;
use crate::failure::Failure;

/// The links, in their order.
pub(super) const NAMES: [&str; 4] = ["port", "TLS", "login", "server's own databases"];

const UNREACHED: &str = "the bastion does not reach the database's port";

/// How far a connection got.
struct Reached {
    port: Judgement,
    tls: Judgement,
    login: Judgement,
    grounds: Judgement,
}

/// Connects to the database as the master user, through a tunnel, and judges how far that got.
pub(super) async fn links(context: &Context, cloud: &Cloud, inventory: &Inventory) -> Vec<Link> {
    let Reached { port, tls, login, grounds } = Box::pin(reach(context, cloud, inventory)).await;
    let judgements = [port, tls, login, grounds];
    NAMES.into_iter().zip(judgements).map(|(name, judgement)| Link::new(name, judgement)).collect()
}

async fn reach(context: &Context, cloud: &Cloud, inventory: &Inventory) -> Reached {
    let (bridge, login) = tokio::join!(
        Box::pin(Bridge::to_database(context, cloud, inventory)),
        Box::pin(bridge::master(context, cloud))
    );
    let bridge = match bridge {
        Ok(bridge) => bridge,
        Err(failure) => return at_port(unopened(&failure)),
    };
    let work = async |bridge: &Arc<Bridge>| Ok(through(context, bridge, login).await);
    let reached = Box::pin(bridge.during(work)).await;
    reached.unwrap_or_else(|failure| at_port(Judgement::Unknown(failure.chain())))
}

async fn through(context: &Context, bridge: &Bridge, login: Result<Login, Failure>) -> Reached {
    match (bridge.server(context), login) {
        (Err(failure), _) => Reached {
            port: Judgement::Skipped("nothing is sent without a CA to trust".to_owned()),
            tls: no_ca(context, &failure),
            login: later(),
            grounds: later(),
        },
        // An attempt with a wrong password would be noted down by the server as one.
        (_, Err(failure)) => at_port(Judgement::Unknown(failure.chain())),
        (Ok(server), Ok(login)) => match connect(&server, &login, &ConnectOptions::default()).await {
            Ok(session) => {
                let tls = session.tls().clone();
                let reached = Reached {
                    port: Judgement::Pass(format!("`{}:{}` answers the bastion", server.host, server.port)),
                    tls: Judgement::Pass(format!("{}, verified for `{}`", tls.protocol, tls.server_name)),
                    login: Judgement::Pass(format!(
                        "`{}` on PostgreSQL {}, {}",
                        session.user(),
                        session.version(),
                        db::AUTH
                    )),
                    grounds: Box::pin(grounds(&server, &login)).await,
                };
                session.close().await;
                reached
            }
            Err(error) => judge(context, &error),
        },
    }
}

/// Judges what every role may do in the server's own databases, where the master works.
async fn grounds(server: &Server, master: &Login) -> Judgement {
    match maintenance::survey(server, master).await {
        Err(error) => Judgement::Unknown(error.chain()),
        // `tenant create` closes them before it makes the first role.
        Ok(Grounds { roles: 0, .. }) => Judgement::Pass("no role but the master's may log in".to_owned()),
        Ok(Grounds { openings, .. }) => {
            let Some(first) = openings.first() else {
                let evidence = "PUBLIC may neither connect to `postgres` and `template1` nor create in them";
                return Judgement::Pass(evidence.to_owned());
            };
            let all: Vec<String> = openings.iter().map(ToString::to_string).collect();
            let command = match openings.iter().find(|one| !one.is_ours) {
                None => "cargo xtask tenant create".to_owned(),
                Some(foreign) => foreign.mend(),
            };
            let sentence = format!("{first}, where tenants have no business");
            Finding::mended_by(command, Cause::OpenToTenants, sentence, all.join("; ")).into()
        }
    }
}

fn judge(context: &Context, error: &db::Error) -> Reached {
    let words = error.chain();
    if let Some(error) = cause::find(error) {
        return at_port(unreachable(cause::command_of(Some(error)), sentence(error), words));
    }
    if matches!(error, db::Error::Dial { .. } | db::Error::TimedOut { .. }) {
        return at_port(unreachable(cause::command_of(None), UNREACHED, words));
    }
    if matches!(error, db::Error::Tls { .. }) {
        return at_tls(untrusted(context, words));
    }
    if matches!(error, db::Error::Unproved { .. }) {
        let sentence =
            "the database asks for the master user's password in a way that gives it away, or for none";
        let command = "cargo xtask secret rotate master";
        return at_login(Finding::mended_by(command, Cause::LoginRefused, sentence, words).into());
    }
    match error.sqlstate() {
        Some("28P01") => {
            let name = context.stack.master_secret_name();
            let user = &context.stack.database.master_user;
            let sentence = format!("the database does not know the password of `{user}` in secret `{name}`");
            let command = "cargo xtask secret rotate master";
            at_login(Finding::mended_by(command, Cause::WrongPassword, sentence, words).into())
        }
        Some(_) => {
            let sentence = "the database refuses the master user";
            at_login(Finding::mended_by("cargo xtask status", Cause::LoginRefused, sentence, words).into())
        }
        None => at_port(unreachable(cause::command_of(None), "the database's port does not answer", words)),
    }
}

fn unreachable(command: &str, sentence: &str, words: String) -> Judgement {
    Finding::mended_by(command, Cause::TargetUnreachable, sentence, words).into()
}

/// The tunnel has its own hint, by its own cause.
fn unopened(failure: &Failure) -> Judgement {
    let error = failure.error.as_ref().and_then(|error| cause::find(error.as_ref()));
    let sentence = error.filter(|error| is_of_the_target(error)).map_or("the tunnel does not open", sentence);
    let command = failure.hints.first().map_or("run the same again", String::as_str);
    unreachable(command, sentence, failure.chain())
}

/// Tells whether it is the target that was not reached: the session to the bastion was there.
fn is_of_the_target(error: &tunnel::Error) -> bool {
    use tunnel::Error as E;
    matches!(
        error,
        E::ConnectFailed { .. } | E::UnknownHost { .. } | E::Forbidden { .. } | E::Unanswered { .. }
    )
}

fn sentence(error: &tunnel::Error) -> &'static str {
    if matches!(error, tunnel::Error::ConnectFailed { .. }) {
        "the bastion does not know the database's name, or nothing accepts connections at its port"
    } else if is_of_the_target(error) {
        UNREACHED
    } else {
        "the tunnel to the database broke"
    }
}

fn no_ca(context: &Context, failure: &Failure) -> Judgement {
    let sentence = format!("the CA bundle `{}` cannot be used", context.access.ca_path().display());
    Finding::mended_by(remedy(context), Cause::CaUnusable, sentence, failure.chain()).into()
}

fn untrusted(context: &Context, words: String) -> Judgement {
    let bundle = context.access.ca_path();
    let sentence =
        format!("the database's certificate is not to be trusted by the CA bundle `{}`", bundle.display());
    Finding::mended_by(remedy(context), Cause::TlsNotVerified, sentence, words).into()
}

fn remedy(context: &Context) -> &'static str {
    match context.access.ca_bundle {
        Some(_) => "unset DRAWBRIDGE_CA_BUNDLE, or on a sandbox: eval \"$(cargo xtask sandbox env)\"",
        None => "git checkout infra/rds-global-bundle.pem, and build again",
    }
}

fn at_port(port: Judgement) -> Reached {
    Reached { port, tls: later(), login: later(), grounds: later() }
}

fn at_tls(tls: Judgement) -> Reached {
    let port = Judgement::Pass("the database answers the bastion".to_owned());
    Reached { port, tls, login: later(), grounds: later() }
}

fn at_login(login: Judgement) -> Reached {
    Reached {
        port: Judgement::Pass("the database answers the bastion".to_owned()),
        tls: Judgement::Pass("the certificate is verified".to_owned()),
        login,
        grounds: later(),
    }
}

fn later() -> Judgement {
    Judgement::Skipped("an earlier link does not hold".to_owned())
}
