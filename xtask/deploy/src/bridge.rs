//! The bridge itself: a session to the bastion, a tunnel through it, and PostgreSQL at its far end.

use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws::Cloud;
use aws::session::Started;
use db::{BoxStream, Dial, Login, Server};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use stack::spec::Tenant;
use stack::{Event, Inventory};
use tunnel::{Control, ControlError, SessionToken, Tunnel};

use crate::context::Context;
use crate::ending::Endable;
use crate::failure::{Exit, Failure};

/// Where a tunnel leads, and how.
#[derive(Clone, Debug)]
pub struct Route {
    /// The target, as the bastion sees it.
    pub host: String,
    /// The target's port.
    pub port: u16,
    /// The most sessions at a time.
    pub sessions: u8,
    /// What becomes of a connection that is open and silent.
    pub silence: Silence,
}

/// What becomes of a connection that is open and silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The service's idle timeout (20 minutes unless the account says otherwise) ends its session.
    TimesOut,
    /// It lives: an empty frame every four minutes keeps the timeout away. A long CREATE INDEX is as silent.
    KeptAlive,
}

/// An open tunnel to one target.
pub struct Bridge {
    tunnel: Arc<Tunnel>,
    context: Context,
    /// The target, as the bastion sees it.
    pub host: String,
    /// The target's port.
    pub port: u16,
}

impl Bridge {
    /// Opens a tunnel to the stack's database.
    ///
    /// # Errors
    /// There is no bastion or no database yet, or Session Manager does not connect: exit 5 with the cause.
    pub async fn to_database(
        context: &Context,
        cloud: &Cloud,
        inventory: &Inventory,
    ) -> Result<Bridge, Failure> {
        let (host, port) = endpoint(inventory)?;
        let sessions = context.stack.bastion.sessions;
        let route = Route { host, port, sessions, silence: Silence::KeptAlive };
        Bridge::open(context, cloud, inventory, route).await
    }

    /// Opens a tunnel to any target that the bastion can reach.
    ///
    /// # Errors
    /// There is no bastion, or Session Manager does not connect: exit 5 with the cause.
    pub async fn open(
        context: &Context,
        cloud: &Cloud,
        inventory: &Inventory,
        route: Route,
    ) -> Result<Bridge, Failure> {
        let Route { host, port, sessions, silence } = route;
        let bastion = inventory.bastion().ok_or_else(|| {
            Failure::new(Exit::Tunnel, anyhow::Error::msg("the stack has no bastion"))
                .hint("run `cargo xtask up bastion`")
        })?;
        let control = Ssm {
            context: context.clone(),
            cloud: cloud.clone(),
            bastion: bastion.id.clone(),
            host: host.clone(),
            port,
            first: Mutex::default(),
        };
        // Not left to the tunnel: the inventory may tell why it fails.
        let first = control.begin().await.map_err(|error| unreachable(error, context, inventory))?;
        *control.first.lock().unwrap_or_else(PoisonError::into_inner) = Some(first);
        let mut options = tunnel::Options::new(format!("{host}:{port}"));
        options.keep_alive = (silence == Silence::KeptAlive).then_some(KEEP_ALIVE);
        if endpoint(inventory).is_ok_and(|database| database == (host.clone(), port)) {
            options.answer_within = Some(DATABASE_ANSWERS_WITHIN);
        }
        options.payload_size = context.stack.bastion.message_bytes.into();
        if options.payload_size > tunnel::PAYLOAD_SIZE {
            context.events.warn(format!(
                "messages of {} bytes: no official client sends more than {}, and what AWS takes is not known",
                options.payload_size,
                tunnel::PAYLOAD_SIZE
            ));
        }
        if let Some(sessions) = NonZeroUsize::new(sessions.into()) {
            options.sessions = sessions;
        }
        let events = context.events.clone();
        options.events = tunnel::Events::new(move |event| tell(&events, &event));
        let tunnel = Arc::new(Tunnel::open(Arc::new(control), options).await?);
        context.ending.remember(tunnel.clone());
        Ok(Bridge { tunnel, context: context.clone(), host, port })
    }

    /// Returns the server at the far end, for `db`.
    ///
    /// # Errors
    /// The CA bundle cannot be used.
    pub fn server(&self, context: &Context) -> Result<Server, Failure> {
        Ok(Server {
            host: self.host.clone(),
            port: self.port,
            roots: Arc::new(context.access.roots()?),
            dial: Arc::new(Through(self.tunnel.clone())),
        })
    }

    /// Returns a new stream to the target.
    ///
    /// # Errors
    /// The tunnel is gone, or the bastion cannot reach the target.
    pub async fn connect(&self) -> Result<tunnel::Stream, tunnel::Error> {
        self.tunnel.connect().await
    }

    /// Returns what the tunnel is and has done so far.
    pub fn state(&self) -> tunnel::State {
        self.tunnel.state()
    }

    /// Ends the sessions, at AWS as well, and every connection that still uses them.
    ///
    /// # Errors
    /// A session could not be ended in good order; it ends by itself when its idle time is over.
    pub async fn close(&self) -> Result<(), Failure> {
        self.tunnel.close().await?;
        let ended: Arc<dyn Endable> = self.tunnel.clone();
        self.context.ending.forget(&ended);
        Ok(())
    }
}

/// Well below the least idle timeout that an account can set and still let a statement run.
const KEEP_ALIVE: Duration = Duration::from_secs(240);
/// PostgreSQL answers the first message at once; a packet that a security group swallows is never answered.
const DATABASE_ANSWERS_WITHIN: Duration = Duration::from_secs(15);

/// Returns the database's host name and port.
///
/// # Errors
/// There is no database, or it has no endpoint yet.
pub fn endpoint(inventory: &Inventory) -> Result<(String, u16), Failure> {
    let Some(database) = &inventory.database else {
        return Err(Failure::new(Exit::Failure, anyhow::Error::msg("the stack has no database"))
            .hint("run `cargo xtask up`"));
    };
    database.endpoint.clone().ok_or_else(|| {
        let text =
            format!("database `{}` has no endpoint yet: it is `{}`", database.identifier, database.status);
        Failure::new(Exit::Failure, anyhow::Error::msg(text)).hint("run `cargo xtask up` to wait for it")
    })
}

/// Returns the login of the master user, to the database `postgres`.
///
/// # Errors
/// The secret is missing or may not be read.
pub async fn master(context: &Context, cloud: &Cloud) -> Result<Login, Failure> {
    let password = aws::secret::get(cloud, &context.stack.master_secret_name()).await?;
    Ok(Login { user: context.stack.database.master_user.clone(), password, database: "postgres".to_owned() })
}

/// Returns the login of a tenant's role to its own database.
///
/// # Errors
/// The secret is missing (`tenant create` makes it) or may not be read.
pub async fn owner(context: &Context, cloud: &Cloud, tenant: &Tenant) -> Result<Login, Failure> {
    let password =
        aws::secret::get(cloud, &context.stack.role_secret_name(&tenant.owner)).await.map_err(|error| {
            Failure::from(error).hint(format!("run `cargo xtask tenant create {}`", tenant.name))
        })?;
    Ok(Login { user: tenant.owner.clone(), password, database: tenant.name.clone() })
}

/// How long Session Manager may say that a bastion is not connected although its agent is online.
const CONNECTED_WITHIN: Duration = Duration::from_secs(60);

fn unreachable(error: aws::Error, context: &Context, inventory: &Inventory) -> Failure {
    let findings = stack::finding::bastion(&context.stack, inventory);
    let mut failure = Failure::from(error);
    if let Some(finding) = findings.first() {
        failure.exit = Exit::Tunnel;
        let cause = anyhow::Error::msg(finding.sentence.clone());
        failure.error = Some(cause.context("cannot open a session to the bastion"));
        failure.hints = vec![finding.command.clone()];
    }
    failure
}

/// Shows what happens to the tunnel's sessions.
fn tell(events: &stack::Events, event: &tunnel::Event) {
    let text = event.to_string();
    match event {
        tunnel::Event::Started { session_id } => {
            events.emit(Event::StepStarted {
                subject: format!("session {session_id}"),
                verb: "open".to_owned(),
            });
        }
        tunnel::Event::Ready { customer_message, .. } if customer_message.trim().is_empty() => (),
        tunnel::Event::Ended { why: tunnel::Error::Closed, .. } => (),
        tunnel::Event::Lost { .. } | tunnel::Event::Ended { .. } => events.emit(Event::Warning { text }),
        tunnel::Event::Ready { .. } | tunnel::Event::Resumed { .. } => events.emit(Event::Note { text }),
    }
}

/// What the tunnel asks of AWS.
struct Ssm {
    context: Context,
    cloud: Cloud,
    bastion: String,
    host: String,
    port: u16,
    /// The session that was started before there was a tunnel.
    first: Mutex<Option<SessionToken>>,
}

impl Ssm {
    /// Starts a session; `TargetNotConnected`, and it alone, is tried again.
    async fn begin(&self) -> Result<SessionToken, aws::Error> {
        let began = Instant::now();
        let mut pause = Duration::from_millis(200);
        loop {
            match aws::session::start(&self.cloud, &self.bastion, &self.host, self.port).await {
                Err(error)
                    if error.code() == Some("TargetNotConnected") && began.elapsed() < CONNECTED_WITHIN =>
                {
                    let status = "Session Manager says that it is not connected yet".to_owned();
                    self.context.events.emit(Event::StepWaiting { subject: "session".to_owned(), status });
                }
                result => return result.map(token),
            }
            tokio::select! {
                () = self.context.stop.raised() => return Err(aws::Error::Interrupted),
                () = tokio::time::sleep(pause) => (),
            }
            pause = (pause * 2).min(Duration::from_secs(3));
        }
    }
}

fn token(started: Started) -> SessionToken {
    SessionToken {
        session_id: started.session_id,
        url: started.url,
        token: tunnel::Token::new(started.token.expose()),
    }
}

impl Control for Ssm {
    fn start(&self) -> BoxFuture<'_, Result<SessionToken, ControlError>> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move {
            match first {
                Some(first) => Ok(first),
                None => Ok(self.begin().await?),
            }
        }
        .boxed()
    }

    fn sign(&self, url: &str) -> BoxFuture<'_, Result<Vec<(String, String)>, ControlError>> {
        let url = url.to_owned();
        async move { aws::session::sign(&self.cloud, &url).await.map_err(Into::into) }.boxed()
    }

    fn resume(&self, session_id: &str) -> BoxFuture<'_, Result<Option<SessionToken>, ControlError>> {
        let session_id = session_id.to_owned();
        async move {
            let resumed = aws::session::resume(&self.cloud, &session_id).await?;
            Ok(resumed.map(token))
        }
        .boxed()
    }

    fn terminate(&self, session_id: &str) -> BoxFuture<'_, Result<(), ControlError>> {
        let session_id = session_id.to_owned();
        async move { aws::session::terminate(&self.cloud, &session_id).await.map_err(Into::into) }.boxed()
    }
}

/// `db`'s way to the server: one stream of the tunnel for each connection.
struct Through(Arc<Tunnel>);

impl Dial for Through {
    fn dial(&self) -> BoxFuture<'_, io::Result<BoxStream>> {
        async move {
            let stream = self.0.connect().await.map_err(io::Error::other)?;
            Ok(BoxStream::new(stream))
        }
        .boxed()
    }
}
