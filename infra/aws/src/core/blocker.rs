//! What blocks the deletion of a resource: it is named, or waited for if it goes by itself.

use stack::receipt::Blocker;
use tokio::time::Instant;

use crate::Error;
use crate::core::backoff::Backoff;
use crate::core::job::Job;

/// Something that blocks a deletion.
pub(crate) struct FoundBlocker {
    pub(crate) blocker: Blocker,
    /// It is being deleted, or the service that made it will delete it.
    pub(crate) is_transient: bool,
}

/// The name of the resource that is to be deleted, for the error that says what blocks it.
pub(crate) struct Blocked(String);

impl Blocked {
    pub(crate) fn by_id(job: &Job<'_>, id: &str) -> Blocked {
        let named = job.subject.ends_with(id);
        Blocked(if named { job.subject.clone() } else { format!("{} `{id}`", job.subject) })
    }
}

/// Deletes a resource. One that no longer exists counts as deleted. Waits for blockers that go by themselves.
///
/// # Errors
/// [`Error::Blocked`] names the blockers, at once if one of them does not go by itself. If none is found, AWS's refusal
/// is the error; if the list fails, [`Error::Unlisted`].
pub(crate) async fn delete<T, F, Fut, H, Find>(
    job: &Job<'_>,
    what: Blocked,
    mut call: F,
    mut holds: H,
) -> Result<(), Error>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Error>>,
    H: FnMut() -> Find,
    Find: Future<Output = Result<Vec<FoundBlocker>, Error>>,
{
    let began = Instant::now();
    let mut backoff = Backoff::default();
    loop {
        let refusal = match Box::pin(call()).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_gone() => return Ok(()),
            Err(error) if error.is_conflict() => error,
            Err(error) => return Err(error),
        };
        let found = Box::pin(holds()).await;
        let lasts = matches!(&found, Ok(held) if held.iter().any(|one| !one.is_transient));
        if lasts || began.elapsed() >= job.options.settle_within {
            return Err(refuse(what, refusal, found));
        }
        match &found {
            Ok(held) => held.iter().for_each(|one| job.waiting(&format!("held by {}", one.blocker.render()))),
            Err(error) => job.waiting(&error.to_string()),
        }
        job.stop.sleep(backoff.pause()).await?;
    }
}

fn refuse(Blocked(subject): Blocked, refusal: Error, found: Result<Vec<FoundBlocker>, Error>) -> Error {
    let source = Box::new(refusal);
    match found {
        Ok(held) if !held.is_empty() => {
            Error::Blocked { subject, blockers: held.into_iter().map(|one| one.blocker).collect(), source }
        }
        Ok(_) => *source,
        Err(unseen) => Error::Unlisted { subject, unseen: Box::new(unseen), source },
    }
}
