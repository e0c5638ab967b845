//! What can be seen of the bastion: its instance, its agent, and whether it takes a session.

use std::time::Duration;

use stack::diagnosis::{Decision, Fact, SessionTry};
use stack::inventory::{Agent, Instance};
use stack::{Inventory, Stack};

use super::look::{Depth, fact};
use crate::error::one_line;
use crate::kind::instance;
use crate::session::Purpose;
use crate::{Cloud, Error, Kind, session};

/// What was seen of the bastion.
pub(super) struct BastionFacts {
    pub(super) instances: Result<Vec<Instance>, Error>,
    pub(super) agent: Result<Option<Agent>, Error>,
    pub(super) attached_at: Fact<Option<String>>,
    pub(super) connection: Fact<String>,
    pub(super) console: Fact<String>,
    pub(super) simulation: Fact<Decision>,
    pub(super) session: Fact<SessionTry>,
}

pub(super) async fn look(cloud: &Cloud, stack: &Stack, depth: Depth) -> BastionFacts {
    let instances = instance::list(cloud, stack).await;
    let known =
        Inventory { instances: instances.as_ref().cloned().unwrap_or_default(), ..Inventory::default() };
    let id = known.bastion().map(|bastion| bastion.id.as_str());
    let simulation = async {
        if depth == Depth::Session { fact(session::simulate(cloud, id).await) } else { Fact::Unasked }
    };
    let (simulation, (agent, attached_at, connection, console, session)) =
        tokio::join!(Box::pin(simulation), Box::pin(look_at(cloud, stack, id, depth)));
    BastionFacts { instances, agent, attached_at, connection, console, simulation, session }
}

type Looks =
    (Result<Option<Agent>, Error>, Fact<Option<String>>, Fact<String>, Fact<String>, Fact<SessionTry>);

async fn look_at(cloud: &Cloud, stack: &Stack, id: Option<&str>, depth: Depth) -> Looks {
    let Some(id) = id else {
        return (Ok(None), Fact::Unasked, Fact::Unasked, Fact::Unasked, Fact::Unasked);
    };
    let session =
        async { if depth == Depth::Session { try_session(cloud, stack, id).await } else { Fact::Unasked } };
    let (agent, attached_at, connection, console, session) = tokio::join!(
        Box::pin(session::find_agent(cloud, id)),
        Box::pin(instance::profile_attached_at(cloud, id)),
        Box::pin(session::connection_status(cloud, id)),
        Box::pin(instance::console(cloud, id)),
        Box::pin(session),
    );
    (agent, fact(attached_at), fact(connection), fact(console), session)
}

/// How often a session is tried again if its agent is reported as not connected.
const LATE_TRIES: u32 = 2;
/// The pause before each of these tries.
const LATE_PAUSE: Duration = Duration::from_millis(500);

/// Starts a session and ends it at once. AWS checks the permission before it looks for the agent, so the answer shows
/// the permission in any case.
async fn try_session(cloud: &Cloud, stack: &Stack, id: &str) -> Fact<SessionTry> {
    // The agent connects only when a stream is opened, so any target will do. A loopback address would use another
    // document than tunnels to the database.
    let anywhere = Purpose::Port { host: "nowhere.invalid".to_owned(), port: stack.database.port };
    let mut started = session::start(cloud, id, &anywhere).await;
    // For a moment an agent that has just come online still takes no session. That is not a fault.
    for _ in 0..LATE_TRIES {
        if !started.as_ref().is_err_and(|error| error.code() == Some("TargetNotConnected")) {
            break;
        }
        tokio::time::sleep(LATE_PAUSE).await;
        started = session::start(cloud, id, &anywhere).await;
    }
    match started {
        Ok(started) => {
            // If it cannot be ended, it ends by itself.
            drop(session::terminate(cloud, &started.session_id).await);
            Fact::Known(SessionTry::Started)
        }
        Err(error) if error.code() == Some("TargetNotConnected") => Fact::Known(SessionTry::NotConnected),
        Err(error) if error.kind() == Kind::Credentials => Fact::Known(SessionTry::Denied(one_line(&error))),
        Err(error) if error.code().is_some() && !error.is_throttle() => {
            Fact::Known(SessionTry::Refused(one_line(&error)))
        }
        Err(error) => Fact::Unknown(one_line(&error)),
    }
}
