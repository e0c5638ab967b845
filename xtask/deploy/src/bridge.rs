//! The bridge itself: a session to the bastion, a tunnel through it, and PostgreSQL at its far end.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use aws::Cloud;
use aws::session::Purpose;
use db::{BoxStream, Dial, Login, Server};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use stack::Inventory;
use stack::spec::Tenant;
use tunnel::Tunnel;

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::ssm::{Shown, Ssm};

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
        let purpose = Purpose::Port { host: host.clone(), port };
        let control = Ssm::open(context, cloud, inventory, purpose).await?;
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
        options.events = control.events(Shown::All);
        let tunnel = Arc::new(Tunnel::open(control, options).await?);
        Ok(Bridge { tunnel, host, port })
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
        Ok(self.tunnel.close().await?)
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
