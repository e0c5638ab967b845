//! An agent in a process of its own, on a bastion of its own: it connects out to the gateway, as real agents do.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper::header::{AUTHORIZATION, HeaderValue};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Message as Frame;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::options::{AgentOptions, Pacing};
use super::{Agent, Dialer};
use crate::agent_protocol::{self, Registration, Welcome};
use crate::gateway::websocket::limits;
use crate::gateway::{Agent as _, AgentSession, Password, chain};

/// How long the gateway may take to answer a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// Frames on the way in each direction of a session.
const IN_FLIGHT: usize = 64;

type Socket = WebSocketStream<TcpStream>;

/// What an agent's process is told by its environment.
#[derive(Clone, Debug)]
pub struct ProgramSettings {
    /// Host and port of the gateway: `DRAWBRIDGE_AGENT_GATEWAY`.
    pub gateway: String,
    /// The instance that it is the agent of: `DRAWBRIDGE_AGENT_INSTANCE`.
    pub instance_id: String,
    /// What it shows to be let in: `DRAWBRIDGE_AGENT_SECRET`.
    pub secret: Password,
    /// Its habits; `DRAWBRIDGE_AGENT_PACING` is `real`, the default, or `unlimited`. `DRAWBRIDGE_AGENT_LOSS` is the
    /// share of frames that its line loses, 0 to 1, and `DRAWBRIDGE_AGENT_JITTER` for how many milliseconds at most it
    /// holds one up.
    pub options: AgentOptions,
    /// How long a target may be silent before the kernel asks whether it is still there, in whole seconds:
    /// `DRAWBRIDGE_AGENT_KEEP_ALIVE`, by default the 15 of real agents.
    pub keep_alive: Duration,
}

/// What Go's dialer asks of the kernel.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Why an agent's process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A variable that it cannot do without.
    #[error("`{0}` is not set")]
    Missing(&'static str),
    /// A word that it does not know.
    #[error("`DRAWBRIDGE_AGENT_PACING` is neither `real` nor `unlimited`")]
    Pacing,
    /// A number that is none, or none that is possible.
    #[error("`{0}` is not {1}")]
    Number(&'static str, &'static str),
}

impl ProgramSettings {
    /// Reads the settings; `find` returns the value of a variable.
    ///
    /// # Errors
    /// Names the variable that is missing or wrong, and never its value.
    pub fn read(find: impl Fn(&str) -> Option<String>) -> Result<ProgramSettings, SettingsError> {
        let get = |name| find(name).filter(|value| !value.is_empty()).ok_or(SettingsError::Missing(name));
        let pacing = match find("DRAWBRIDGE_AGENT_PACING").as_deref() {
            None | Some("real") => Pacing::Real,
            Some("unlimited") => Pacing::Unlimited,
            Some(_) => return Err(SettingsError::Pacing),
        };
        let mut options = AgentOptions { pacing, ..AgentOptions::default() };
        let mut keep_alive = KEEP_ALIVE;
        let seconds: Option<NonZeroU64> =
            number(&find, "DRAWBRIDGE_AGENT_KEEP_ALIVE", "a number of seconds")?;
        if let Some(seconds) = seconds {
            keep_alive = Duration::from_secs(seconds.get());
        }
        if let Some(millis) = number(&find, "DRAWBRIDGE_AGENT_JITTER", "a number of milliseconds")? {
            options.line.jitter = Duration::from_millis(millis);
        }
        if let Some(loss) = number(&find, LOSS, SHARE)? {
            options.line.loss = loss;
        }
        if !(0.0..1.0).contains(&options.line.loss) {
            return Err(SettingsError::Number(LOSS, SHARE));
        }
        Ok(ProgramSettings {
            gateway: get("DRAWBRIDGE_AGENT_GATEWAY")?,
            instance_id: get("DRAWBRIDGE_AGENT_INSTANCE")?,
            secret: Password::new(get("DRAWBRIDGE_AGENT_SECRET")?),
            options,
            keep_alive,
        })
    }
}

const LOSS: &str = "DRAWBRIDGE_AGENT_LOSS";
const SHARE: &str = "a share from 0 to below 1";

fn number<T: FromStr>(
    find: &impl Fn(&str) -> Option<String>,
    name: &'static str,
    meaning: &'static str,
) -> Result<Option<T>, SettingsError> {
    let value = find(name).filter(|value| !value.is_empty());
    value.map(|value| value.parse().map_err(|_| SettingsError::Number(name, meaning))).transpose()
}

/// Why the connection to the gateway ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("the gateway did not answer in time")]
    TimedOut,
    #[error("cannot reach the gateway")]
    Connect(#[source] std::io::Error),
    #[error("the gateway's address is not valid")]
    Address,
    #[error("the connection failed")]
    Socket(#[source] Box<tokio_tungstenite::tungstenite::Error>),
    #[error("the gateway said something unknown")]
    Unknown(#[from] serde_json::Error),
    #[error("the gateway closed the connection")]
    Closed,
    #[error("the gateway has been silent for too long")]
    Silent,
}

impl From<tokio_tungstenite::tungstenite::Error> for Lost {
    fn from(error: tokio_tungstenite::tungstenite::Error) -> Lost {
        Lost::Socket(Box::new(error))
    }
}

/// Serves sessions until the returned future is dropped, connecting again whenever the connection breaks.
///
/// Sessions have connections of their own: they go on while the agent is away from the gateway, and end when their own
/// connection does. `log` gets a line at every change.
pub async fn run(settings: ProgramSettings, log: impl Fn(&str)) {
    let mut program = Program {
        agent: Arc::new(Agent::new(settings.options.clone(), Dialer::host(settings.keep_alive))),
        settings: Arc::new(settings),
        sessions: Sessions::default(),
        address: None,
    };
    let mut pause = FIRST_PAUSE;
    loop {
        let lost = match program.register().await {
            Ok((socket, silence_limit)) => {
                log("registered");
                pause = FIRST_PAUSE;
                program.attend(socket, silence_limit).await
            }
            Err(lost) => lost,
        };
        log(&format!("not registered: {}", chain(&lost)));
        sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

struct Program {
    agent: Arc<Agent>,
    settings: Arc<ProgramSettings>,
    sessions: Sessions,
    /// Where it last connected from.
    address: Option<IpAddr>,
}

impl Program {
    /// Connects and returns the connection, with how long the gateway may be silent on it.
    async fn register(&mut self) -> Result<(Socket, Duration), Lost> {
        let opening = open(&self.settings, "");
        let mut socket = timeout(CONNECT_LIMIT, opening).await.map_err(|_| Lost::TimedOut)??;
        let address = socket.get_ref().local_addr().map_err(Lost::Connect)?.ip();
        if self.address.replace(address).is_some_and(|before| before != address) {
            // Their connections are from an address that is ours no more.
            self.sessions.end();
        }
        let registration = Registration { sessions: self.sessions.ids() };
        socket.send(Frame::text(serde_json::to_string(&registration)?)).await?;
        let welcome = timeout(CONNECT_LIMIT, text(&mut socket)).await.map_err(|_| Lost::TimedOut)??;
        let welcome: Welcome = serde_json::from_str(&welcome)?;
        Ok((socket, Duration::from_millis(welcome.silence_limit_ms)))
    }

    /// Takes up sessions until the connection is lost.
    async fn attend(&self, mut socket: Socket, silence_limit: Duration) -> Lost {
        loop {
            // Pings count too: they are answered by the websocket itself.
            let frame = match timeout(silence_limit, socket.next()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return error.into(),
                Ok(None) => return Lost::Closed,
                Err(_) => return Lost::Silent,
            };
            let Frame::Text(order) = frame else { continue };
            match serde_json::from_str::<AgentSession>(order.as_str()) {
                Ok(session) => self.take_up(session),
                Err(error) => return error.into(),
            }
        }
    }

    fn take_up(&self, session: AgentSession) {
        let (agent, settings) = (Arc::clone(&self.agent), Arc::clone(&self.settings));
        let id = session.session_id.clone();
        let serving = tokio::spawn(async move {
            let place = format!("{}{}", agent_protocol::SESSIONS, session.session_id);
            // The gateway ends a session that is not taken up in time.
            if let Ok(Ok(socket)) = timeout(CONNECT_LIMIT, open(&settings, &place)).await {
                serve(&agent, session, socket).await;
            }
        });
        self.sessions.insert(id, serving.abort_handle());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.sessions.end();
    }
}

/// The sessions that are being served.
#[derive(Default)]
struct Sessions(Mutex<HashMap<String, AbortHandle>>);

impl Sessions {
    fn insert(&self, id: String, serving: AbortHandle) {
        self.with(|sessions| sessions.insert(id, serving));
    }

    fn ids(&self) -> Vec<String> {
        self.with(|sessions| sessions.keys().cloned().collect())
    }

    /// Ends all of them.
    fn end(&self) {
        self.with(|sessions| sessions.drain().for_each(|(_, serving)| serving.abort()));
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<String, AbortHandle>) -> T) -> T {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, serving| !serving.is_finished());
        work(&mut sessions)
    }
}

/// Serves one session over its own websocket.
async fn serve(agent: &Agent, session: AgentSession, socket: Socket) {
    let (mut write, mut read) = socket.split();
    let (from_client, inbound) = mpsc::channel(IN_FLIGHT);
    let (outbound, mut to_client) = mpsc::channel::<Bytes>(IN_FLIGHT);
    let serving = agent.serve(session, inbound, outbound);
    let upwards = async {
        while let Some(frame) = to_client.recv().await {
            if write.send(Frame::Binary(frame)).await.is_err() {
                return;
            }
        }
        drop(write.close().await);
    };
    let downwards = async move {
        while let Some(Ok(frame)) = read.next().await {
            if let Frame::Binary(bytes) = frame
                && from_client.send(bytes).await.is_err()
            {
                // The session has ended; its last frames are on their way.
                return;
            }
        }
    };
    // The end of `downwards` drops the sender, by which the session ends; its own end ends the others.
    tokio::join!(serving, async {
        tokio::select! {
            () = upwards => (),
            () = async { downwards.await; std::future::pending().await } => (),
        }
    });
}

/// Opens a websocket at a place of the instance's.
async fn open(settings: &ProgramSettings, place: &str) -> Result<Socket, Lost> {
    let stream = TcpStream::connect(&settings.gateway).await.map_err(Lost::Connect)?;
    stream.set_nodelay(true).map_err(Lost::Connect)?;
    let url = format!("ws://{}{}{}{place}", settings.gateway, agent_protocol::PATH, settings.instance_id);
    let mut request = url.into_client_request()?;
    let mut shown =
        HeaderValue::from_str(&format!("Bearer {}", settings.secret.expose())).map_err(|_| Lost::Address)?;
    shown.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, shown);
    Ok(client_async_with_config(request, stream, Some(limits())).await?.0)
}

/// Returns the next text.
async fn text(socket: &mut Socket) -> Result<String, Lost> {
    loop {
        match socket.next().await.ok_or(Lost::Closed)?? {
            Frame::Text(text) => return Ok(text.as_str().to_owned()),
            Frame::Close(_) => return Err(Lost::Closed),
            Frame::Binary(_) | Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_) => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pacing: Option<&str>, secret: Option<&str>) -> Result<ProgramSettings, SettingsError> {
        ProgramSettings::read(|name| match name {
            "DRAWBRIDGE_AGENT_GATEWAY" => Some("172.18.0.1:4242".to_owned()),
            "DRAWBRIDGE_AGENT_INSTANCE" => Some("i-1".to_owned()),
            "DRAWBRIDGE_AGENT_SECRET" => secret.map(str::to_owned),
            "DRAWBRIDGE_AGENT_PACING" => pacing.map(str::to_owned),
            _ => None,
        })
    }

    fn read_with(name: &str, value: &str) -> Result<ProgramSettings, SettingsError> {
        ProgramSettings::read(|asked| match asked {
            "DRAWBRIDGE_AGENT_PACING" => None,
            _ if asked == name => Some(value.to_owned()),
            _ if asked.ends_with("_GATEWAY")
                || asked.ends_with("_INSTANCE")
                || asked.ends_with("_SECRET") =>
            {
                Some("x".to_owned())
            }
            _ => None,
        })
    }

    #[test]
    fn the_line_and_the_probes_can_be_set_within_what_is_possible() {
        assert_eq!(read(None, Some("x")).unwrap().keep_alive, KEEP_ALIVE);
        let settings = read_with("DRAWBRIDGE_AGENT_KEEP_ALIVE", "2").unwrap();
        assert_eq!(settings.keep_alive, Duration::from_secs(2));
        assert_eq!(read_with(LOSS, "0.25").unwrap().options.line.loss, 0.25);
        let jitter = read_with("DRAWBRIDGE_AGENT_JITTER", "200").unwrap().options.line.jitter;
        assert_eq!(jitter, Duration::from_millis(200));
        for (name, value) in [
            ("DRAWBRIDGE_AGENT_KEEP_ALIVE", "0"),
            ("DRAWBRIDGE_AGENT_KEEP_ALIVE", "-1"),
            (LOSS, "1"),
            (LOSS, "NaN"),
            ("DRAWBRIDGE_AGENT_JITTER", "slow"),
        ] {
            assert!(read_with(name, value).unwrap_err().to_string().contains(name), "{name}={value}");
        }
    }

    #[test]
    fn the_environment_says_everything_and_its_secret_is_not_shown() {
        let settings = read(Some("unlimited"), Some("hunter2")).unwrap();
        assert_eq!((settings.gateway.as_str(), settings.instance_id.as_str()), ("172.18.0.1:4242", "i-1"));
        assert_eq!(settings.options.pacing, Pacing::Unlimited);
        assert!(!format!("{settings:?}").contains("hunter2"));
        assert_eq!(read(None, Some("x")).unwrap().options.pacing, Pacing::Real);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let missing = read(None, Some("")).unwrap_err().to_string();
        assert_eq!(missing, "`DRAWBRIDGE_AGENT_SECRET` is not set");
        assert!(read(Some("slow"), Some("x")).unwrap_err().to_string().contains("DRAWBRIDGE_AGENT_PACING"));
    }
}
