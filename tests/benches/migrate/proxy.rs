//! A line with a delay: each direction is late by as much, and neither is slower for it. It counts round trips.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Another end of any kind.
pub(crate) trait Far: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Far for S {}

/// Opens the other end of a connection.
pub(crate) type Open = Arc<dyn Fn() -> BoxFuture<'static, io::Result<Box<dyn Far>>> + Send + Sync>;

/// A port that leads to the server.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    trips: Arc<AtomicU64>,
}

impl Proxy {
    /// Listens on a free port. A connection itself is made without a delay, as a stream of a tunnel is.
    pub(crate) async fn start(open: Open, delay: Duration) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let trips = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&trips);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (open, trips) = (Arc::clone(&open), Arc::clone(&counter));
                tokio::spawn(async move { drop(serve(near, open, delay, trips).await) });
            }
        });
        Proxy { address, trips }
    }

    /// Returns how often an answer was waited for, on all connections so far.
    pub(crate) fn trips(&self) -> u64 {
        self.trips.load(Ordering::Relaxed)
    }
}

async fn serve(near: TcpStream, open: Open, delay: Duration, trips: Arc<AtomicU64>) -> io::Result<()> {
    near.set_nodelay(true)?;
    let far = open().await?;
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), split(far));
    // Raised by what the client says, lowered by the first word of the answer as it gets there.
    let asked = Arc::new(AtomicBool::new(false));
    let asking = Arc::clone(&asked);
    let there = carry(
        near_read,
        far_write,
        delay,
        move |bytes| {
            // After its end nothing is an answer any more.
            asking.store(bytes > 0, Ordering::Relaxed);
        },
        |_| (),
    );
    let back = carry(
        far_read,
        near_write,
        delay,
        |_| (),
        move |bytes| {
            if bytes > 0 && asked.swap(false, Ordering::Relaxed) {
                trips.fetch_add(1, Ordering::Relaxed);
            }
        },
    );
    tokio::join!(there, back);
    Ok(())
}

/// Copies until the end; `read` sees what comes in, `written` what goes out; 0 is the end.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: Duration,
    read: impl Fn(usize),
    written: impl Fn(usize),
) {
    let (line, mut end) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let put = async move {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let length = from.read(&mut buffer).await.unwrap_or(0);
            read(length);
            if length == 0 || line.send((Instant::now() + delay, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    };
    let take = async {
        while let Some((due, bytes)) = end.recv().await {
            if !delay.is_zero() {
                tokio::time::sleep_until(due).await;
            }
            written(bytes.len());
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        to.shutdown().await.ok();
    };
    tokio::join!(put, take);
}
