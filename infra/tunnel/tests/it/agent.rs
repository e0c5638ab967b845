//! A small agent with a service in front of it, on a local websocket.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::shell_agent::{ShellAgent, ShellScript, data_key};

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use rustls::ServerConfig;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Ws;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tunnel::{
    Acknowledge, BoxFuture, ChannelClosed, Command, Control, ControlError, DataKey, Decoder, Flag, Frame,
    HandshakeComplete, HandshakeRequest, Incoming, Message, MessageType, OpenDataChannel, Outgoing,
    PayloadType, RequestedAction, SessionToken, Token,
};

/// A key that nobody may use.
pub(crate) const FORBIDDEN_KEY: &str = "forbidden";
/// A signer names the host too; the request has its own.
const SIGNED_HOST: &str = "signed.invalid";

/// What the target of the port session does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Sends everything back.
    Echo,
    /// Takes everything and says nothing.
    Sink,
    /// Accepts no connection.
    Closed,
    /// Swallows packets after the first probe: the agent never comes back from it.
    Nowhere,
    /// Sends this many megabytes on the first stream and echoes on all others.
    Flood(usize),
    /// There is none: the session is a shell.
    Shell(ShellScript),
}

/// How the agent behaves.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) target: Target,
    pub(crate) agent_version: &'static str,
    pub(crate) encryption: bool,
    /// Never starts the handshake.
    pub(crate) mute: bool,
    /// Closes the websocket with code 1000 after this many messages, once for each entry.
    pub(crate) cuts: Vec<usize>,
    /// Ends the session after this many messages.
    pub(crate) end_after: Option<usize>,
    /// Of so many frames one is lost, in both directions.
    pub(crate) lose_every: Option<usize>,
    /// Of so many frames one is sent twice.
    pub(crate) repeat_every: Option<usize>,
    /// The service knows nothing of the session when asked to resume it.
    pub(crate) forgotten: bool,
    /// The service does not start the session.
    pub(crate) refused: bool,
    /// The session's URL leads nowhere.
    pub(crate) unreachable: bool,
    /// How many messages after the handshake are acknowledged and thrown away.
    pub(crate) deaf: usize,
    /// From the answer to this many messages on, the agent is not there: frames vanish in both directions, and only the
    /// websocket answers.
    pub(crate) vanish_after: Option<usize>,
    /// How many frames vanish before it is back; for good if none is said.
    pub(crate) vanish_for: Option<usize>,
    /// The answer to a wish to resume names no URL.
    pub(crate) keeps_url: bool,
    /// Resuming fails with these words, once for each.
    pub(crate) resume_failures: Vec<&'static str>,
    /// The service ends the session with these words as soon as the handshake is complete.
    pub(crate) last_words: Option<&'static str>,
    /// After the handshake, and once only, the service sends so many pings and reads nothing meanwhile.
    pub(crate) ping_flood: usize,
}

impl Script {
    pub(crate) fn new(target: Target) -> Script {
        Script {
            target,
            agent_version: "3.3.987.0",
            encryption: false,
            mute: false,
            cuts: Vec::new(),
            end_after: None,
            lose_every: None,
            repeat_every: None,
            forgotten: false,
            refused: false,
            unreachable: false,
            deaf: 0,
            vanish_after: None,
            vanish_for: None,
            keeps_url: false,
            resume_failures: vec!["throttled"],
            last_words: None,
            ping_flood: 0,
        }
    }
}

/// What the agent and the service have seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) opens: Vec<OpenDataChannel>,
    pub(crate) authorizations: Vec<String>,
    pub(crate) handshake_responses: Vec<String>,
    pub(crate) received: usize,
    pub(crate) fins: usize,
    /// Streams that were opened and closed at once.
    pub(crate) probes: usize,
    pub(crate) terminate_flags: usize,
    pub(crate) terminated: Vec<String>,
    pub(crate) resumed: usize,
    pub(crate) starts: usize,
    pub(crate) data_keys: Vec<(String, Vec<(String, String)>)>,
    /// How many frames the line has lost, and how many it has carried twice.
    pub(crate) lost: usize,
    pub(crate) repeated: usize,
    /// How many pings of a flood the client took.
    pub(crate) pings: usize,
}

/// How long a test waits for what comes in a moment, on a machine that does much else.
pub(crate) const LIMIT: Duration = Duration::from_secs(240);

/// Ends this process if a test of it takes longer than any may: under `cargo test` nobody else would. Armed until it is
/// dropped; by the wall, whatever a test does to its own clock.
pub(crate) struct Watch(#[expect(dead_code, reason = "its drop is what is waited for")] mpsc::Sender<()>);

impl Watch {
    /// Watches the test of this thread.
    pub(crate) fn start() -> Watch {
        let name = std::thread::current().name().unwrap_or("a test").to_owned();
        let (hold, held) = mpsc::channel();
        std::thread::spawn(move || {
            if held.recv_timeout(2 * LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
                // Past what the runner keeps of a test's output: it would never be shown.
                writeln!(std::io::stderr(), "test {name} has not ended within {:?}", 2 * LIMIT).ok();
                std::process::exit(101);
            }
        });
        Watch(hold)
    }
}

/// Lets the others go on until it is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("it is never so that {what}"));
}

/// A service that starts sessions `s-1`, `s-2`, .. each with an agent of its own.
pub(crate) struct Service {
    scripts: Vec<Script>,
    tls: Option<TlsAcceptor>,
    /// The script and the URL of each session started.
    sessions: Mutex<Vec<(Script, String)>>,
    seen: Arc<watch::Sender<Seen>>,
    signed: Mutex<Vec<String>>,
    _watch: Watch,
}

impl Service {
    /// All sessions follow the same script.
    pub(crate) fn new(script: Script) -> Arc<Service> {
        Service::with_scripts(vec![script])
    }

    /// One script for each session; the last is for all that follow.
    pub(crate) fn with_scripts(scripts: Vec<Script>) -> Arc<Service> {
        Service::with(scripts, None)
    }

    /// Speaks TLS with a certificate for `localhost`.
    pub(crate) fn with_tls(script: Script, tls: Arc<ServerConfig>) -> Arc<Service> {
        Service::with(vec![script], Some(TlsAcceptor::from(tls)))
    }

    fn with(scripts: Vec<Script>, tls: Option<TlsAcceptor>) -> Arc<Service> {
        let seen = Arc::new(watch::Sender::new(Seen::default()));
        Arc::new(Service {
            scripts,
            tls,
            sessions: Mutex::default(),
            seen,
            signed: Mutex::default(),
            _watch: Watch::start(),
        })
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    pub(crate) async fn wait_until_seen(&self, what: impl FnMut(&Seen) -> bool) -> Seen {
        let mut seen = self.seen.subscribe();
        let waited = tokio::time::timeout(LIMIT, seen.wait_for(what)).await.map(|seen| seen.unwrap().clone());
        waited.unwrap_or_else(|_| panic!("waited in vain, and saw {:?}", self.seen()))
    }

    async fn start_session(&self) -> Result<SessionToken, ControlError> {
        self.seen.send_modify(|seen| seen.starts += 1);
        let number = self.seen.borrow().starts;
        let script = self.scripts[(number - 1).min(self.scripts.len() - 1)].clone();
        if script.refused {
            return Err("there is no room for another session".into());
        }
        let socket = TcpSocket::new_v4().unwrap();
        if script.ping_flood > 0 {
            // What it does not read is to be little: the kernel would take megabytes of answers.
            socket.set_recv_buffer_size(4096).unwrap();
        }
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(128).unwrap();
        let address = listener.local_addr().unwrap();
        let url = match self.tls {
            Some(_) => format!("wss://localhost:{}/path", address.port()),
            None => format!("ws://{address}/v1/data-channel/s-{number}?role=publish_subscribe"),
        };
        self.sessions.lock().unwrap().push((script.clone(), url));
        if !script.unreachable {
            tokio::spawn(Agent::new(script, Arc::clone(&self.seen)).serve(listener, self.tls.clone()));
        }
        Ok(self.token(&format!("s-{number}"), "first-token").1)
    }

    /// Returns the script of a session too.
    fn token(&self, session_id: &str, token: &str) -> (Script, SessionToken) {
        let number: usize = session_id.strip_prefix("s-").unwrap().parse().unwrap();
        let (script, url) = self.sessions.lock().unwrap()[number - 1].clone();
        (script, SessionToken { session_id: session_id.to_owned(), url, token: Token::new(token) })
    }
}

impl Control for Service {
    fn start(&self) -> BoxFuture<'_, Result<SessionToken, ControlError>> {
        Box::pin(self.start_session())
    }

    fn sign(&self, url: &str) -> BoxFuture<'_, Result<Vec<(String, String)>, ControlError>> {
        self.signed.lock().unwrap().push(url.to_owned());
        let number = self.signed.lock().unwrap().len();
        let headers = vec![
            ("Host".to_owned(), SIGNED_HOST.to_owned()),
            ("authorization".to_owned(), format!("signature {number}")),
        ];
        Box::pin(async move { Ok(headers) })
    }

    fn resume(&self, session_id: &str) -> BoxFuture<'_, Result<Option<SessionToken>, ControlError>> {
        let (script, token) = self.token(session_id, "next-token");
        self.seen.send_modify(|seen| seen.resumed += 1);
        // The first answer is an error: one failure must not be the end.
        let number = self.seen.borrow().resumed;
        let url = if script.keeps_url { String::new() } else { token.url.clone() };
        let answer = match script.resume_failures.get(number - 1) {
            Some(words) => Err((*words).into()),
            None if script.forgotten => Ok(None),
            None => Ok(Some(SessionToken { url, ..token })),
        };
        Box::pin(async move { answer })
    }

    fn terminate(&self, session_id: &str) -> BoxFuture<'_, Result<(), ControlError>> {
        self.seen.send_modify(|seen| seen.terminated.push(session_id.to_owned()));
        Box::pin(async { Ok(()) })
    }

    fn data_key(
        &self,
        key_id: &str,
        context: &[(String, String)],
    ) -> BoxFuture<'_, Result<DataKey, ControlError>> {
        self.seen.send_modify(|seen| seen.data_keys.push((key_id.to_owned(), context.to_vec())));
        let key =
            if key_id == FORBIDDEN_KEY { Err("not allowed".into()) } else { Ok(data_key(key_id, context)) };
        Box::pin(async move { key })
    }
}

/// The agent; it lives on when its connection is lost, as the real one does.
struct Agent {
    script: Script,
    seen: Arc<watch::Sender<Seen>>,
    outgoing: Outgoing,
    incoming: Incoming,
    decoder: Decoder,
    streams: BTreeSet<u32>,
    handled: usize,
    frames: usize,
    vanished: usize,
    shaken: bool,
    started: bool,
    over: bool,
    out: Vec<Bytes>,
    shell: ShellAgent,
    /// The end is told once everything is acknowledged.
    ending: bool,
}

enum Next {
    Continue,
    Cut,
    End,
}

impl Agent {
    fn new(script: Script, seen: Arc<watch::Sender<Seen>>) -> Agent {
        Agent {
            script,
            seen,
            outgoing: Outgoing::new(Instant::now()),
            incoming: Incoming::new(),
            decoder: Decoder::default(),
            streams: BTreeSet::new(),
            handled: 0,
            frames: 0,
            vanished: 0,
            shaken: false,
            started: false,
            over: false,
            out: Vec::new(),
            shell: ShellAgent::default(),
            ending: false,
        }
    }

    async fn serve(mut self, listener: TcpListener, tls: Option<TlsAcceptor>) {
        while let Ok((tcp, _)) = listener.accept().await {
            tcp.set_nodelay(true).unwrap();
            let seen = Arc::clone(&self.seen);
            #[expect(clippy::result_large_err, reason = "the callback's type is given")]
            let callback = move |request: &Request, response: Response| {
                let hosts: Vec<_> = request.headers().get_all("host").iter().collect();
                assert!(hosts.len() == 1 && hosts[0] != SIGNED_HOST, "{hosts:?}");
                let authorization = request.headers()["authorization"].to_str().unwrap().to_owned();
                seen.send_modify(|seen| seen.authorizations.push(authorization));
                Ok(response)
            };
            let Some(tls) = &tls else {
                let socket = tokio_tungstenite::accept_hdr_async(tcp, callback).await.unwrap();
                self.talk(socket).await;
                continue;
            };
            // A client that does not trust us goes away here.
            let Ok(io) = tls.accept(tcp).await else { continue };
            let socket = tokio_tungstenite::accept_hdr_async(io, callback).await.unwrap();
            self.talk(socket).await;
        }
    }

    /// Until the connection is over.
    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(&mut self, mut socket: WebSocketStream<S>) {
        let Some(Ok(Ws::Text(open))) = socket.next().await else { return };
        let open = OpenDataChannel::parse(open.as_bytes()).unwrap();
        self.seen.send_modify(|seen| seen.opens.push(open));
        if !self.script.mute {
            self.start();
        }
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            if self.shaken && self.out.is_empty() {
                for _ in 0..std::mem::take(&mut self.script.ping_flood) {
                    if socket.send(Ws::Ping(Bytes::from_static(&[7; 125]))).await.is_err() {
                        return;
                    }
                    self.seen.send_modify(|seen| seen.pings += 1);
                }
            }
            for frame in std::mem::take(&mut self.out) {
                self.frames += 1;
                if self.is_gone() {
                    continue;
                }
                if is_nth(self.script.lose_every, self.frames) {
                    self.seen.send_modify(|seen| seen.lost += 1);
                    continue;
                }
                let copies = if is_nth(self.script.repeat_every, self.frames) { 2 } else { 1 };
                self.seen.send_modify(|seen| seen.repeated += copies - 1);
                for _ in 0..copies {
                    if socket.send(Ws::Binary(frame.clone())).await.is_err() {
                        return;
                    }
                }
            }
            tokio::select! {
                frame = socket.next() => match frame {
                    Some(Ok(Ws::Binary(frame))) => match self.on_frame(frame) {
                        Next::Continue => (),
                        Next::Cut => {
                            let bye = CloseFrame { code: CloseCode::Normal, reason: "Bye".into() };
                            drop(socket.close(Some(bye)).await);
                            return;
                        }
                        Next::End => {
                            let output = if self.ending { "" } else { "time is up" };
                            drop(socket.send(Ws::Binary(closed(output))).await);
                        }
                    },
                    Some(Ok(_)) => (),
                    Some(Err(_)) | None => return,
                },
                _ = tick.tick() => {
                    if let Some(words) = self.script.last_words.filter(|_| self.shaken) {
                        self.script.last_words = None;
                        drop(socket.send(Ws::Binary(closed(words))).await);
                    }
                    self.out.extend(self.outgoing.overdue(Instant::now()));
                }
            }
        }
    }

    fn start(&mut self) {
        if self.started {
            let again = self.outgoing.unacknowledged(Instant::now());
            self.out.extend(again);
            return;
        }
        self.started = true;
        if let Target::Shell(script) = self.script.target {
            let said = self.shell.start(script, self.script.agent_version);
            return self.say_all(said);
        }
        let action = |action_type: &str, action_parameters| RequestedAction {
            action_type: action_type.to_owned(),
            action_parameters,
        };
        let port = json!({"SessionType": "Port", "Properties": {"type": "LocalPortForwarding"}});
        let mut actions = vec![action("SessionType", port)];
        if self.script.encryption {
            actions.push(action("KMSEncryption", json!({"KMSKeyId": "key"})));
        }
        let request = HandshakeRequest {
            agent_version: self.script.agent_version.to_owned(),
            requested_client_actions: actions,
        };
        self.say(PayloadType::HandshakeRequest, request.to_payload());
    }

    fn say_all(&mut self, said: Vec<(PayloadType, Bytes)>) {
        for (payload_type, payload) in said {
            self.say(payload_type, payload);
        }
    }

    fn say(&mut self, payload_type: PayloadType, payload: Bytes) {
        let message = Message::new(MessageType::OutputStreamData, payload_type, payload);
        self.out.push(self.outgoing.send(message, Instant::now()));
    }

    fn say_frame(&mut self, frame: &Frame) {
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes);
        for chunk in bytes.chunks(1024) {
            self.say(PayloadType::Output, Bytes::copy_from_slice(chunk));
        }
    }

    /// Says whether what passes now is lost, in either direction, and counts it.
    fn is_gone(&mut self) -> bool {
        let has_vanished = self.script.vanish_after.is_some_and(|after| after <= self.handled);
        let is_gone = has_vanished && self.script.vanish_for.is_none_or(|frames| self.vanished < frames);
        self.vanished += usize::from(is_gone);
        is_gone
    }

    fn on_frame(&mut self, frame: Bytes) -> Next {
        self.frames += 1;
        if self.is_gone() {
            return Next::Continue;
        }
        if is_nth(self.script.lose_every, self.frames) {
            self.seen.send_modify(|seen| seen.lost += 1);
            return Next::Continue;
        }
        let message = Message::parse(frame).unwrap();
        if message.message_type == MessageType::Acknowledge {
            let acknowledge = Acknowledge::parse(&message.payload).unwrap();
            self.outgoing.on_acknowledge(acknowledge.sequence, Instant::now());
            let told = self.ending && self.outgoing.outstanding() == 0;
            return if told { Next::End } else { Next::Continue };
        }
        self.out.extend(self.incoming.receive(message).map(|message| message.encode()));
        while let Some(message) = self.incoming.take_next().unwrap() {
            if self.shaken && self.script.deaf > 0 && message.payload_type == PayloadType::Output {
                self.script.deaf -= 1;
                continue;
            }
            // A probe is nobody's stream, and no part of what a script counts.
            self.handled += usize::from(!is_probe(&message));
            self.on_message(message);
        }
        if self.script.cuts.first().is_some_and(|cut| *cut <= self.handled) {
            self.script.cuts.remove(0);
            // What it would have sent is lost with the connection.
            self.out.clear();
            return Next::Cut;
        }
        if self.script.end_after.is_some_and(|end| end <= self.handled) { Next::End } else { Next::Continue }
    }

    fn on_message(&mut self, message: Message) {
        if self.over {
            // The session is over for a real agent too.
            return;
        }
        if let Target::Shell(script) = self.script.target {
            if message.payload_type == PayloadType::HandshakeResponse {
                let response = String::from_utf8(message.payload.to_vec()).unwrap();
                self.seen.send_modify(|seen| seen.handshake_responses.push(response));
            }
            let said = self.shell.on_message(script, &message);
            self.say_all(said);
            self.ending = self.shell.has_ended();
            return;
        }
        match message.payload_type {
            PayloadType::HandshakeResponse => {
                let response = String::from_utf8(message.payload.to_vec()).unwrap();
                self.seen.send_modify(|seen| seen.handshake_responses.push(response));
                let complete =
                    HandshakeComplete { handshake_time_to_complete: 1, customer_message: "welcome".into() };
                self.say(PayloadType::HandshakeComplete, complete.to_payload());
                self.shaken = true;
            }
            PayloadType::Flag if Flag::parse(&message.payload) == Some(Flag::TerminateSession) => {
                self.over = true;
                self.seen.send_modify(|seen| seen.terminate_flags += 1);
            }
            PayloadType::Output if is_probe(&message) => self.on_probe(&message),
            PayloadType::Output => {
                self.decoder.push(&message.payload);
                while let Some(frame) = self.decoder.next_frame().unwrap() {
                    self.on_smux(frame);
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn on_probe(&mut self, message: &Message) {
        self.seen.send_modify(|seen| seen.probes += 1);
        let is_first = self.seen.borrow().probes == 1;
        if self.script.target == Target::Nowhere && !is_first {
            return;
        }
        if self.script.target == Target::Closed {
            self.say(PayloadType::Flag, Flag::ConnectToPortError.to_payload());
        }
        let stream = u32::from_le_bytes(message.payload[4..8].try_into().unwrap());
        self.say_frame(&Frame::control(Command::Fin, stream));
    }

    fn on_smux(&mut self, frame: Frame) {
        match (frame.command, self.script.target) {
            (_, Target::Nowhere) => (),
            (Command::Syn, Target::Closed) => {
                self.say(PayloadType::Flag, Flag::ConnectToPortError.to_payload());
                self.say_frame(&Frame::control(Command::Fin, frame.stream));
            }
            (_, Target::Shell(_)) => panic!("smux in a shell"),
            (Command::Syn, target) => {
                let first = self.streams.is_empty();
                self.streams.insert(frame.stream);
                if let (Target::Flood(megabytes), true) = (target, first) {
                    for _ in 0..megabytes * 32 {
                        self.say_frame(&Frame::push(frame.stream, vec![7; 32_768]));
                    }
                }
            }
            (Command::Psh, target) => {
                self.seen.send_modify(|seen| seen.received += frame.payload.len());
                if self.streams.contains(&frame.stream) && target != Target::Sink {
                    self.say_frame(&frame);
                }
            }
            (Command::Fin, _) => {
                self.seen.send_modify(|seen| seen.fins += 1);
                if self.streams.remove(&frame.stream) {
                    self.say_frame(&Frame::control(Command::Fin, frame.stream));
                }
            }
            (Command::Nop, _) => (),
        }
    }
}

/// Says whether a message opens a stream and closes it.
fn is_probe(message: &Message) -> bool {
    message.payload_type == PayloadType::Output
        && message.payload.len() == 16
        && message.payload[1] == Command::Syn as u8
        && message.payload[9] == Command::Fin as u8
}

fn closed(output: &str) -> Bytes {
    let closed = ChannelClosed { output: output.into(), ..ChannelClosed::default() };
    Message::new(MessageType::ChannelClosed, PayloadType::Unset, closed.to_payload()).encode()
}

fn is_nth(every: Option<usize>, number: usize) -> bool {
    every.is_some_and(|every| number.is_multiple_of(every))
}
