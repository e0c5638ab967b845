//! A rotation is killed at every call of AWS and at every message to the server, a hundred times in all.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};

use db::{BoxStream, Dial};
use deploy::task::secret::rotate::{Target, rotate};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use sandbox::gateway::{Fault, FaultKind};
use tests::Random;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Semaphore;

use super::{Stage, through};

const KILLS: usize = 100;
/// Where the points after the first round are taken from.
const SEED: u64 = 0x0d2a_3b1d_6e00_0001;

/// Where a rotation is killed.
#[derive(Clone, Debug)]
pub(super) enum Point {
    /// When the work of this call is done and its answer under way.
    Call { service: String, operation: String, nth: u64 },
    /// When this message to the server is sent, and before any answer to it.
    Message(i64),
}

/// A way to the server that stops when so many messages were sent, on all its connections together.
#[derive(Clone)]
struct Tap {
    inner: Arc<dyn Dial>,
    left: Arc<AtomicI64>,
    /// Gets a permit when it stops.
    stopped: Arc<Semaphore>,
}

impl Tap {
    fn new(inner: Arc<dyn Dial>, messages: i64) -> Tap {
        Tap { inner, left: Arc::new(AtomicI64::new(messages)), stopped: Arc::new(Semaphore::new(0)) }
    }

    fn is_stopped(&self) -> bool {
        self.left.load(Ordering::SeqCst) <= 0
    }
}

impl Dial for Tap {
    fn dial(&self) -> BoxFuture<'_, io::Result<BoxStream>> {
        async move {
            let stream = self.inner.dial().await?;
            Ok(BoxStream::new(Tapped { stream, tap: self.clone() }))
        }
        .boxed()
    }
}

struct Tapped {
    stream: BoxStream,
    tap: Tap,
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Whoever waits here is about to be dropped: nobody has to be woken.
        if self.tap.is_stopped() { Poll::Pending } else { Pin::new(&mut self.stream).poll_read(cx, buf) }
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.tap.is_stopped() {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if written.is_ready() && self.tap.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.tap.stopped.add_permits(1);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Stage {
    /// Returns every point of a rotation that is not killed.
    pub(super) async fn points(&self, targets: &[Target]) -> Vec<Point> {
        const MANY: i64 = 1 << 40;
        let gateway = self.fixture.cloud.gateway();
        let before = gateway.journal().len();
        let tap = Tap::new(self.server.dial.clone(), MANY);
        let server = through(&self.server, tap.clone());
        let rotated = rotate(self.on(&server), targets).await;
        assert!(rotated.is_ok(), "a rotation succeeds without faults");
        let messages = MANY - tap.left.load(Ordering::SeqCst);
        let mut points: Vec<Point> = (1..=messages).map(Point::Message).collect();
        let calls = gateway.journal().split_off(before);
        for (at, call) in calls.iter().enumerate() {
            // A tunnel may begin a session at any time.
            if matches!(call.service.as_str(), "secretsmanager" | "rds") {
                let same = calls[..=at].iter().filter(|other| other.operation == call.operation).count();
                let (service, operation) = (call.service.clone(), call.operation.clone());
                points.push(Point::Call { service, operation, nth: same as u64 });
            }
        }
        points
    }

    /// Kills a rotation there and returns whether it came that far.
    pub(super) async fn kill(&self, targets: &[Target], point: &Point) -> bool {
        let gateway = self.fixture.cloud.gateway();
        let mut messages = i64::MAX;
        match point {
            Point::Message(n) => messages = *n,
            Point::Call { service, operation, nth } => gateway.inject(Fault {
                service: Some(service.clone()),
                operation: Some(operation.clone()),
                nth: *nth,
                kind: FaultKind::Hold,
            }),
        }
        let tap = Tap::new(self.server.dial.clone(), messages);
        let server = through(&self.server, tap.clone());
        let killed = async {
            match point {
                Point::Message(_) => drop(tap.stopped.acquire().await),
                Point::Call { .. } => gateway.wait_until_fired().await,
            }
        };
        let was_killed = tokio::select! {
            _ = rotate(self.on(&server), targets) => false,
            () = killed => true,
        };
        gateway.clear_faults();
        // What was in flight reaches its end.
        tests::until_settled(gateway).await;
        was_killed
    }

    /// One of the two passwords logs in, now and whatever the server still does of what it was sent.
    async fn expect_not_locked_out(&self, target: &Target, place: &str) {
        let versions = self.versions(target).await;
        // In this order: once the current one is refused, the pending one is the server's.
        if self.logs_in(target, &versions.current).await {
            return;
        }
        let pending = versions.pending.unwrap_or_else(|| panic!("{place}: {target:?} is locked out"));
        assert!(self.logs_in(target, &pending).await, "{place}: {target:?} is locked out");
    }
}

#[test]
fn killed_at_every_step_a_hundred_times_nobody_is_locked_out() {
    tests::block_on(async {
        let stage = Stage::start().await;
        let all = stage.targets();
        let mut plan: Vec<(Vec<Target>, Point)> = Vec::new();
        for targets in [&all[..1], &all[all.len() - 1..]] {
            plan.extend(stage.points(targets).await.into_iter().map(|point| (targets.to_vec(), point)));
        }
        assert!(plan.len() < KILLS, "{} steps", plan.len());
        let mut wanted = KILLS;
        if !tests::sweeps_fully() {
            plan = plan.into_iter().step_by(4).collect();
            wanted /= 4;
        }
        let every_step = plan.len();
        // Two at the same time.
        let several = all[..2].to_vec();
        let (mut random, points) = (Random::new(SEED), stage.points(&several).await);
        let mut kills = 0;
        for round in 0.. {
            let (targets, point) = match plan.get(round) {
                Some((targets, point)) => (targets.clone(), point.clone()),
                None => (several.clone(), points[random.below(points.len())].clone()),
            };
            if kills >= wanted && round >= every_step {
                break;
            }
            let place = format!("round {round}, {point:?}");
            kills += usize::from(stage.kill(&targets, &point).await);
            join_all(targets.iter().map(|target| stage.expect_not_locked_out(target, &place))).await;
            stage.rotate(&targets).await;
            join_all(targets.iter().map(|target| stage.expect_settled(target))).await;
            assert!(round < 3 * KILLS, "only {kills} rotations came as far as where they were to be killed");
        }
        stage.expect_no_password("");
        stage.stop().await;
    });
}
