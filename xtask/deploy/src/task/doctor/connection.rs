//! The last links, which only a connection can show: the port, TLS, the login.

use std::error::Error as StdError;

use aws::Cloud;
use db::{ConnectOptions, connect};
use stack::Inventory;
use stack::diagnosis::{Judgement, Link};
use stack::finding::{Cause, Finding};

use crate::bridge::{self, Bridge};
use crate::context::Context;
use crate::failure::Failure;
use crate::far_end;

/// The links, in their order.
pub(super) const NAMES: [&str; 3] = ["port", "TLS", "login"];

const UNREACHED: &str = "the bastion does not reach the database's port";

/// How far a connection got.
struct Reached {
    port: Judgement,
    tls: Judgement,
    login: Judgement,
}

/// Connects to the database as the master user, through a tunnel, and judges how far that got.
pub(super) async fn links(context: &Context, cloud: &Cloud, inventory: &Inventory) -> Vec<Link> {
    let Reached { port, tls, login } = Box::pin(reach(context, cloud, inventory)).await;
    NAMES.into_iter().zip([port, tls, login]).map(|(name, judgement)| Link::new(name, judgement)).collect()
}

async fn reach(context: &Context, cloud: &Cloud, inventory: &Inventory) -> Reached {
    let (bridge, login) = tokio::join!(
        Box::pin(Bridge::to_database(context, cloud, inventory)),
        Box::pin(bridge::master(context, cloud))
    );
    let bridge = match bridge {
        Ok(bridge) => bridge,
        Err(failure) => {
            let is_target = failure.error.as_ref().is_some_and(far_end::is_of_the_target);
            let sentence = if is_target { UNREACHED } else { "the tunnel does not open" };
            return at_port(unreachable(sentence, failure.chain()));
        }
    };
    let reached = match (bridge.server(context), login) {
        (Err(failure), _) => Reached {
            port: Judgement::Skipped("nothing is sent without a CA to trust".to_owned()),
            tls: no_ca(context, &failure),
            login: later(),
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
                        tls.auth
                    )),
                };
                session.close().await;
                reached
            }
            Err(error) => judge(context, &error),
        },
    };
    // What was seen counts, not how the session ended.
    drop(bridge.close().await);
    reached
}

fn judge(context: &Context, error: &db::Error) -> Reached {
    let words = error.chain();
    if is_of_tunnel(error) {
        return at_port(unreachable(UNREACHED, words));
    }
    if matches!(error, db::Error::Tls { .. }) {
        return at_tls(untrusted(context, words));
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
        None => at_port(unreachable("the database's port does not answer", words)),
    }
}

/// Tells whether it was the tunnel that broke, and not what came through it.
fn is_of_tunnel(error: &db::Error) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref());
        if error.is::<tunnel::Error>() || inner.is_some_and(|inner| inner.is::<tunnel::Error>()) {
            return true;
        }
        cause = error.source();
    }
    matches!(error, db::Error::Dial { .. } | db::Error::TimedOut { .. })
}

fn unreachable(sentence: &str, words: String) -> Judgement {
    Finding::mended_by("cargo xtask up security-groups", Cause::TargetUnreachable, sentence, words).into()
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
    Reached { port, tls: later(), login: later() }
}

fn at_tls(tls: Judgement) -> Reached {
    Reached { port: Judgement::Pass("the database answers the bastion".to_owned()), tls, login: later() }
}

fn at_login(login: Judgement) -> Reached {
    Reached {
        port: Judgement::Pass("the database answers the bastion".to_owned()),
        tls: Judgement::Pass("the certificate is verified".to_owned()),
        login,
    }
}

fn later() -> Judgement {
    Judgement::Skipped("an earlier link does not hold".to_owned())
}
