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

/// How often a session is tried again whose agent is said not to be connected.
const LATE_TRIES: u32 = 2;
/// How long is waited before that.
const LATE_PAUSE: Duration = Duration::from_millis(500);

/// Starts a session and ends it again: whether one may is asked before whether the agent is there, so the answer tells
/// in any case.
async fn try_session(cloud: &Cloud, stack: &Stack, id: &str) -> Fact<SessionTry> {
    // Nothing is dialled until a stream is opened, so any target will do. It is no loopback address, as those have another
    // document than tunnels to the database have.
    let anywhere = Purpose::Port { host: "nowhere.invalid".to_owned(), port: stack.database.port };
    let mut started = session::start(cloud, id, &anywhere).await;
    // An agent that has just come online is refused for a moment more, which is no fault.
    for _ in 0..LATE_TRIES {
        if !started.as_ref().is_err_and(|error| error.code() == Some("TargetNotConnected")) {
            break;
        }
        tokio::time::sleep(LATE_PAUSE).await;
        started = session::start(cloud, id, &anywhere).await;
    }
    match started {
        Ok(started) => {
            // One that cannot be ended ends by itself.
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
