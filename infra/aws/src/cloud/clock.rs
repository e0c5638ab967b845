//! The time as AWS has it. The SDK corrects its own signatures by the answers that come; ours need the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use aws_sdk_ssm::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_ssm::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ssm::error::BoxError;
use aws_sdk_ssm::primitives::{DateTime, DateTimeFormat};

/// A smaller difference is no reason to refuse a signature, and may be the time that the answer took.
const TOLERATED: Duration = Duration::from_secs(4 * 60);

/// This machine's clock, and how far the service's is ahead of it. Clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    ahead_ms: Arc<AtomicI64>,
}

impl Clock {
    /// Returns the time to sign with.
    pub(crate) fn now(&self) -> SystemTime {
        let now = SystemTime::now();
        let ahead = self.ahead_ms.load(Ordering::Relaxed);
        let by = Duration::from_millis(ahead.unsigned_abs());
        if by < TOLERATED {
            now
        } else if ahead > 0 {
            now + by
        } else {
            now - by
        }
    }

    fn on_date(&self, date: &str, now: SystemTime) {
        let Ok(date) = DateTime::from_str(date, DateTimeFormat::HttpDate) else { return };
        let Ok(served) = SystemTime::try_from(date) else { return };
        let millis = |by: Duration| i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        let ahead = match served.duration_since(now) {
            Ok(ahead) => millis(ahead),
            Err(behind) => -millis(behind.duration()),
        };
        self.ahead_ms.store(ahead, Ordering::Relaxed);
    }
}

impl Intercept for Clock {
    fn name(&self) -> &'static str {
        "Clock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.response().headers();
        // The date of an answer from a cache is an old one.
        if let Some(date) = headers.get("date").filter(|_| headers.get("age").is_none()) {
            self.on_date(date, SystemTime::now());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_clock_that_is_minutes_off_is_corrected_and_one_that_is_seconds_off_is_not() {
        let served = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (ahead, corrected) in [(600, true), (-600, true), (90, false), (-90, false)] {
            let clock = Clock::default();
            let by = Duration::from_secs(u64::from(i32::unsigned_abs(ahead)));
            clock.on_date(date, if ahead > 0 { served - by } else { served + by });
            let now = SystemTime::now();
            let told = clock.now();
            let off = told.duration_since(now).unwrap_or_else(|before| before.duration());
            assert_eq!(off > Duration::from_secs(300), corrected, "{ahead}");
            assert!(!corrected || (told > now) == (ahead > 0), "{ahead}");
        }
        let clock = Clock::default();
        clock.on_date("yesterday", served);
        assert!(clock.now() <= SystemTime::now(), "no date changes nothing");
    }
}
