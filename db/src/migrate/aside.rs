//! Places of those who work, and of those who wait for somebody.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::pin_mut;
use tokio::sync::Notify;

/// What takes longer than this before anything is written is no work: somebody holds the lock, or makes the database slow to
/// answer.
const SLOW: Duration = Duration::from_secs(2);

/// How many of a run's tasks stand aside: each makes place for another tenant, so that one that is made to wait delays nobody.
#[derive(Debug, Default)]
pub(super) struct Aside {
    count: AtomicUsize,
    changed: Notify,
}

impl Aside {
    /// Does what changes nothing, and stands aside once it has taken long.
    pub(super) async fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        pin_mut!(work);
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep(SLOW) => {}
        }
        let _place = self.step();
        work.await
    }

    fn step(&self) -> Place<'_> {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_one();
        Place(self)
    }

    /// Returns how many may be begun in all where so many may work: the server is to have no more than twice as many
    /// connections.
    pub(super) fn places(&self, jobs: usize) -> usize {
        jobs + self.count.load(Ordering::Relaxed).min(jobs)
    }

    /// Waits until one more stands aside.
    pub(super) async fn more(&self) {
        self.changed.notified().await;
    }
}

struct Place<'a>(&'a Aside);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::Aside;

    #[tokio::test(start_paused = true)]
    async fn whoever_is_slow_makes_place_for_as_long_as_that_lasts() {
        let aside = Aside::default();
        assert_eq!(aside.wait(async { 7 }).await, 7);
        assert_eq!(aside.places(2), 2);
        let slow = || aside.wait(std::future::pending::<()>());
        let three = futures_util::future::join3(slow(), slow(), slow());
        let seen = async {
            while aside.places(9) < 12 {
                aside.more().await;
            }
            aside.places(2)
        };
        tokio::select! {
            _ = three => unreachable!("nobody comes to an end"),
            places = seen => assert_eq!(places, 4),
        }
        assert_eq!(aside.places(9), 9, "whoever has gone stands aside no more");
    }
}
