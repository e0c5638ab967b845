//! The bridge itself: a session to the bastion, a tunnel through it, and PostgreSQL at its far end.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use aws::Cloud;
use aws::secret::{self, Version};
use aws::session::Purpose;
use db::role::{PasswordCheck, check_password};
use db::{BoxStream, ConnectOptions, Dial, Login, Server};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
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

/// An open tunnel to one target. What is done with it is done in [`Bridge::during`], which ends its sessions.
pub struct Bridge {
    control: Arc<Ssm>,
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
        let tunnel = Arc::new(Tunnel::open(control.clone(), options).await?);
        Ok(Bridge { control, tunnel, host, port })
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

    /// Does the work, then ends the sessions, at AWS as well, and every connection that still uses them.
    ///
    /// # Errors
    /// The work's own. A session that could not be ended is a warning: it says nothing of the work.
    pub async fn during<T>(
        self,
        work: impl AsyncFnOnce(&Arc<Bridge>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        Bridge::during_all(vec![Ok(self)], async |bridges: &[Arc<Bridge>]| work(&bridges[0]).await).await
    }

    /// As [`Bridge::during`], with several. If one of them was not opened, the others are closed again.
    ///
    /// # Errors
    /// Why the first was not opened that was not, or the work's own.
    pub async fn during_all<T>(
        opened: Vec<Result<Bridge, Failure>>,
        work: impl AsyncFnOnce(&[Arc<Bridge>]) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (mut bridges, mut failed) = (Vec::new(), None);
        for opened in opened {
            match opened {
                Ok(bridge) => bridges.push(Arc::new(bridge)),
                Err(failure) => failed = failed.or(Some(failure)),
            }
        }
        let result = match failed {
            None => work(&bridges).await,
            Some(failure) => Err(failure),
        };
        join_all(bridges.iter().map(|bridge| bridge.close())).await;
        result
    }

    /// Ends the sessions, as [`Bridge::during`] does, for whoever holds a bridge without a task around it.
    pub async fn close(&self) {
        self.control.close();
        let closed = self.tunnel.close().await;
        self.control.end(closed).await;
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

/// What the command line calls the master user; no role of a tenant has that name.
pub const MASTER: &str = "master";

/// Returns the login of the master user, to the database `postgres`.
///
/// # Errors
/// The secret is missing or may not be read.
pub async fn master(context: &Context, cloud: &Cloud) -> Result<Login, Failure> {
    let versions =
        Box::pin(secret::rotate::get(cloud, &context.stack, &context.stack.master_secret_name())).await?;
    let user = context.stack.database.master_user.clone();
    let login = Login { user, password: versions.current.password, database: "postgres".to_owned() };
    let pending = versions.pending.map(|pending| Login { password: pending.password, ..login.clone() });
    known(context, cloud, MASTER, login, pending).await
}

/// Returns the login of a tenant's user, its role or that one's clone, to its own database.
///
/// # Errors
/// The secret is missing (`tenant create` makes it) or may not be read.
pub async fn owner(context: &Context, cloud: &Cloud, tenant: &Tenant) -> Result<Login, Failure> {
    let name = context.stack.role_secret_name(&tenant.owner);
    let versions = Box::pin(secret::rotate::get(cloud, &context.stack, &name)).await;
    let versions = versions.map_err(|error| no_secret(tenant, error))?;
    let login = |version: Version| Login {
        user: tenant.user(version.user.as_deref()).to_owned(),
        password: version.password,
        database: tenant.name.clone(),
    };
    known(context, cloud, &tenant.owner, login(versions.current), versions.pending.map(login)).await
}

/// Returns the failure of a tenant whose role's secret cannot be had, with the command that mends it, where one does.
pub fn no_secret(tenant: &Tenant, error: aws::Error) -> Failure {
    let Tenant { name, owner, .. } = tenant;
    let hint = if matches!(error, aws::Error::Missing { .. }) {
        Some(format!("run `cargo xtask tenant create {name}`"))
    } else if matches!(error, aws::Error::Secret { .. }) {
        Some(format!(
            "run `cargo xtask secret rotate {owner}`, which writes a new value with a new password; what was \
             overwritten may still be in `AWSPREVIOUS`"
        ))
    } else {
        None
    };
    hint.into_iter().fold(Failure::from(error), Failure::hint)
}

/// Returns the login with the password that the server knows. Only a rotation that was cut off leaves two to choose
/// from; the server is asked then, through a tunnel of its own.
async fn known(
    context: &Context,
    cloud: &Cloud,
    role: &str,
    login: Login,
    pending: Option<Login>,
) -> Result<Login, Failure> {
    let Some(pending) = pending else { return Ok(login) };
    context.events.warn(format!(
        "the rotation of the password of `{role}` was cut off or is under way; \
         `cargo xtask secret rotate {role}` finishes it"
    ));
    let inventory = Box::pin(aws::observe(cloud, &context.stack)).await?;
    let bridge = Box::pin(Bridge::to_database(context, cloud, &inventory)).await?;
    let work = async |bridge: &Arc<Bridge>| Ok(choose(&bridge.server(context)?, login, pending).await?);
    Box::pin(bridge.during(work)).await
}

/// Returns the pending login if the server knows that one and not the current one.
///
/// # Errors
/// The server cannot be asked.
pub async fn choose(server: &Server, current: Login, pending: Login) -> Result<Login, db::Error> {
    let options = ConnectOptions::default();
    if check_password(server, &current, &options).await? != PasswordCheck::Wrong {
        return Ok(current);
    }
    let is_right = check_password(server, &pending, &options).await? == PasswordCheck::Right;
    Ok(if is_right { pending } else { current })
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
