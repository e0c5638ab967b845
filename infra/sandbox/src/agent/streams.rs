//! The smux server at the agent: one target connection for each stream.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tunnel::{Command, Decoder, Frame, FrameError};

use super::dialer::Dialer;
use crate::gateway::AgentSession;

/// What targets have not taken yet, over all streams of a session; smux's default.
const BUCKET: usize = 4 << 20;
/// Frames from targets that wait to be cut into messages.
const OUTBOUND: usize = 4;

/// What the streams have for the client.
#[derive(Debug)]
pub(super) enum Outbound {
    /// Bytes of the multiplexed stream.
    Bytes(Bytes),
    /// A target could not be reached. Which one, the protocol does not tell.
    ConnectFailed,
}

/// Bytes for a target; the permit gives their room back once the target has taken them.
type Chunk = (Bytes, OwnedSemaphorePermit);

struct Opened {
    id: u32,
    chunks: mpsc::UnboundedReceiver<Chunk>,
}

/// The client's half of every stream.
pub(super) struct Streams {
    decoder: Decoder,
    arrived: VecDeque<Frame>,
    open: HashMap<u32, mpsc::UnboundedSender<Chunk>>,
    opened: mpsc::UnboundedSender<Opened>,
    bucket: Arc<Semaphore>,
}

impl Streams {
    /// Returns the streams; the future that connects them to their targets and must be polled; what they send.
    pub(super) fn new(
        dialer: Arc<Dialer>,
        session: AgentSession,
    ) -> (Streams, impl Future<Output = ()>, mpsc::Receiver<Outbound>) {
        let (opened, accepted) = mpsc::unbounded_channel();
        let (outbound, from_targets) = mpsc::channel(OUTBOUND);
        let streams = Streams {
            decoder: Decoder::default(),
            arrived: VecDeque::new(),
            open: HashMap::new(),
            opened,
            bucket: Arc::new(Semaphore::new(BUCKET)),
        };
        (streams, accept(dialer, session, accepted, outbound), from_targets)
    }

    /// Takes bytes of the client's.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        self.decoder.push(bytes);
        while let Some(frame) = self.decoder.next_frame()? {
            self.arrived.push_back(frame);
        }
        Ok(())
    }

    /// Says whether frames wait because targets do not read.
    pub(super) fn is_stalled(&self) -> bool {
        !self.arrived.is_empty()
    }

    /// Hands all frames on; waits for targets that do not read. Can be dropped and called again at any time.
    pub(super) async fn drain(&mut self) {
        while let Some(frame) = self.arrived.front() {
            let length = u32::try_from(frame.payload.len()).unwrap_or(u32::MAX);
            let Ok(permit) = Arc::clone(&self.bucket).acquire_many_owned(length).await else { return };
            if let Some(frame) = self.arrived.pop_front() {
                self.take(frame, permit);
            }
        }
    }

    fn take(&mut self, frame: Frame, permit: OwnedSemaphorePermit) {
        match frame.command {
            Command::Syn if !self.open.contains_key(&frame.stream) => {
                let (sender, chunks) = mpsc::unbounded_channel();
                self.open.insert(frame.stream, sender);
                self.opened.send(Opened { id: frame.stream, chunks }).ok();
            }
            Command::Psh => {
                if let Some(stream) = self.open.get(&frame.stream) {
                    // A stream that its target closed takes nothing more.
                    stream.send((frame.payload, permit)).ok();
                }
            }
            Command::Fin => {
                self.open.remove(&frame.stream);
            }
            Command::Syn | Command::Nop => (),
        }
    }
}

/// Dials one target after the other, as real agents do: a black hole holds up every later stream.
async fn accept(
    dialer: Arc<Dialer>,
    session: AgentSession,
    mut accepted: mpsc::UnboundedReceiver<Opened>,
    outbound: mpsc::Sender<Outbound>,
) {
    let mut running = JoinSet::new();
    loop {
        let opened = tokio::select! {
            opened = accepted.recv() => opened,
            Some(_) = running.join_next() => continue,
        };
        let Some(opened) = opened else { return };
        match dialer.dial(&session.instance_id, &session.host, session.port).await {
            Ok(target) => {
                running.spawn(carry(opened, target, outbound.clone()));
            }
            Err(_) => {
                outbound.send(Outbound::ConnectFailed).await.ok();
                send(&outbound, Frame::control(Command::Fin, opened.id)).await;
            }
        }
    }
}

/// Copies both ways until either ends; then both are closed, as real agents do.
async fn carry(
    mut opened: Opened,
    target: Box<dyn super::dialer::Connection>,
    outbound: mpsc::Sender<Outbound>,
) {
    let (mut reader, mut writer) = tokio::io::split(target);
    let up = async {
        while let Some((bytes, permit)) = opened.chunks.recv().await {
            if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
                return;
            }
            drop(permit);
        }
    };
    let down = async {
        let mut buffer = vec![0; Frame::MAX_PAYLOAD];
        while let Ok(length @ 1..) = reader.read(&mut buffer).await {
            send(&outbound, Frame::push(opened.id, Bytes::copy_from_slice(&buffer[..length]))).await;
        }
    };
    tokio::select! {
        () = up => (),
        () = down => (),
    }
    send(&outbound, Frame::control(Command::Fin, opened.id)).await;
}

async fn send(outbound: &mpsc::Sender<Outbound>, frame: Frame) {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes);
    // The session's end drops the receiver, and soon this task.
    outbound.send(Outbound::Bytes(bytes.freeze())).await.ok();
}
