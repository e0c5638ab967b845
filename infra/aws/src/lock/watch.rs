//! Watches the locks of others: a lock that nobody renews is dead.

use std::collections::BTreeMap;
use std::time::Duration;

use stack::inventory::Lock;
use tokio::time::Instant;

use super::program;

/// How long a lock counts that nobody writes: three tries of its holder may fail.
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// What one who waits has seen.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Since when each lock has had that version.
    seen: BTreeMap<String, (i64, Instant)>,
    told: Option<String>,
}

impl Watch {
    /// Returns a lock whose holder lives, as far as is known.
    pub(super) fn living<'a>(&mut self, locks: &'a [Lock]) -> Option<&'a Lock> {
        let mut living = None;
        for lock in locks {
            let (version, since) =
                self.seen.entry(lock.name.clone()).or_insert((lock.version, Instant::now()));
            // A lower one: it was deleted, and is somebody else's now.
            if *version != lock.version {
                (*version, *since) = (lock.version, Instant::now());
            }
            let is_gone = lock.holder.as_ref().is_some_and(program::is_gone);
            if !is_gone && since.elapsed() < DEAD_AFTER {
                living = Some(lock);
            }
        }
        living
    }

    /// Returns what to tell of the one that is waited for, if it was not told yet.
    pub(super) fn news(&mut self, living: &Lock) -> Option<String> {
        let holder = match &living.holder {
            Some(holder) => format!("held by {holder}"),
            None => format!("held; `{}` does not tell by whom", living.name),
        };
        let limit = DEAD_AFTER.as_secs();
        let status = format!("{holder}; if its program is gone, this run goes on within {limit} s");
        (self.told.as_ref() != Some(&status)).then(|| {
            self.told = Some(status.clone());
            status
        })
    }

    pub(super) fn has_waited(&self) -> bool {
        self.told.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(number: u64, version: i64) -> Lock {
        Lock { name: format!("/lock/{number}"), number, holder: None, version }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_that_nobody_writes_for_a_minute_is_dead() {
        let mut watch = Watch::default();
        assert!(watch.living(&[lock(1, 1)]).is_some());
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(watch.living(&[lock(1, 2)]).is_some(), "it was written");
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(watch.living(&[lock(1, 2)]).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(watch.living(&[lock(1, 2)]).is_none());
        assert_eq!(watch.living(&[lock(1, 2), lock(2, 1)]), Some(&lock(2, 1)), "somebody has taken it over");
        assert!(watch.living(&[lock(1, 1)]).is_some(), "a new one of the same number");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_waited_for_is_told_once() {
        let mut watch = Watch::default();
        assert!(!watch.has_waited());
        assert!(watch.news(&lock(1, 1)).is_some());
        assert_eq!(watch.news(&lock(1, 2)), None);
        assert!(watch.news(&lock(2, 1)).is_some());
        assert!(watch.has_waited());
    }
}
