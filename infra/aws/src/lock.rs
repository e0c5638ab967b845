//! One run at a time changes a stack: a lock in Parameter Store, where no name can be made twice.
//!
//! EC2 makes as many VPCs of one tag as it is asked for, so two runs at once would each make one, and each remove the
//! other's. A lock is a parameter `<path>/<number>`. Whoever finds none makes number 1; whoever finds the dead's makes
//! the next number, which only one can. The holder writes it again every fifteen seconds and deletes it at the end. No
//! clocks are compared: a lock is dead if it was not written for a minute as the one who waits measures it, or if its
//! program was on this machine and is there no more.

mod program;
mod watch;

use std::time::Duration;

use stack::inventory::{Holder, Lock};
use stack::{Event, Events, Stack};

use self::program::Token;
use self::watch::Watch;
use crate::core::backoff::Backoff;
use crate::error::{chain, failed};
use crate::{Cloud, Error, Stop};

/// How often a holder shows that it lives.
const RENEW_EVERY: Duration = Duration::from_secs(15);
/// How soon a lock that one look did not show is looked for again.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// What one call of DeleteParameters takes.
const A_CALL: usize = 10;

/// A lock that is held until it is [given back](Held::give_back). If it is dropped instead, runs of this machine take it
/// at once, others after a minute.
#[derive(Debug)]
pub struct Held<'a> {
    cloud: &'a Cloud,
    path: String,
    name: String,
    holder: Holder,
    token: Token,
    /// The names of the dead's locks.
    displaced: Vec<String>,
    waited: bool,
}

/// Returns the stack's locks, smallest number first.
///
/// # Errors
/// The list was refused.
pub(crate) async fn list(cloud: &Cloud, stack: &Stack) -> Result<Vec<Lock>, Error> {
    under(cloud, &stack.lock_path()).await
}

async fn under(cloud: &Cloud, path: &str) -> Result<Vec<Lock>, Error> {
    let mut pages = cloud.ssm.get_parameters_by_path().path(path).into_paginator().send();
    let mut locks = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(failed("ssm", "GetParametersByPath"))?;
        locks.extend(page.parameters.unwrap_or_default().into_iter().filter_map(|parameter| {
            let name = parameter.name?;
            let number = name.rsplit('/').next()?.parse().ok()?;
            let holder = parameter.value.and_then(|value| serde_json::from_str(&value).ok());
            Some(Lock { name, number, holder, version: parameter.version })
        }));
    }
    locks.sort_by_key(|lock| lock.number);
    Ok(locks)
}

/// Takes the lock, waiting for whoever has it, however long that takes.
///
/// `task` is what it is taken for (`up`) and `by` whose program this is, for the others to read; `seen` are the locks
/// that were there a moment ago.
///
/// # Errors
/// AWS refused, or the user asked to stop.
pub async fn take<'a>(
    cloud: &'a Cloud,
    stack: &Stack,
    (task, by): (&str, &str),
    seen: &[Lock],
    events: &Events,
    stop: &Stop,
) -> Result<Held<'a>, Error> {
    let path = stack.lock_path();
    let token = Token::new();
    let mut holder = Holder {
        task: task.to_owned(),
        by: by.to_owned(),
        process: std::process::id(),
        program: program::this(),
        token: token.as_str().to_owned(),
        displaced: Vec::new(),
    };
    let mut watch = Watch::default();
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(3));
    // Most often there is none, and then one call takes it.
    let mut dead = if seen.is_empty() { Some(Vec::new()) } else { None };
    loop {
        if let Some(dead) = dead.take() {
            let name = format!("{path}/{}", dead.last().map_or(0, |lock: &Lock| lock.number) + 1);
            holder.displaced = tokens(&dead);
            if create(cloud, &name, &holder).await? {
                let displaced = dead.into_iter().map(|lock| lock.name).collect();
                return Ok(Held { cloud, path, name, holder, token, displaced, waited: watch.has_waited() });
            }
        }
        let locks = under(cloud, &path).await?;
        let is_mine = |lock: &Lock| lock.holder.as_ref().is_some_and(|by| by.token == holder.token);
        if let Some(mine) = locks.iter().find(|lock| is_mine(lock)) {
            // The reply that it was made was lost.
            let name = mine.name.clone();
            let displaced = locks.iter().filter(|lock| lock.number < mine.number);
            let displaced = displaced.map(|lock| lock.name.clone()).collect();
            return Ok(Held { cloud, path, name, holder, token, displaced, waited: watch.has_waited() });
        }
        match watch.living(&locks) {
            None => dead = Some(locks),
            Some(living) => {
                if let Some(status) = watch.news(living) {
                    let subject = format!("lock of stack `{}`", stack.name);
                    events.emit(Event::StepWaiting { subject, status });
                }
                stop.sleep(backoff.pause()).await?;
            }
        }
    }
}

/// Tells whether it is held by a run of this program.
pub(crate) fn is_mine(lock: &Lock) -> bool {
    lock.holder.as_ref().is_some_and(program::is_mine)
}

fn tokens(locks: &[Lock]) -> Vec<String> {
    locks.iter().filter_map(|lock| lock.holder.as_ref()).map(|holder| holder.token.clone()).collect()
}

/// Returns why the lock is not the holder's any more, if it is not.
fn loss(holder: &Holder, locks: &[Lock]) -> Option<Error> {
    let holders = || locks.iter().filter_map(|lock| lock.holder.as_ref());
    match holders().find(|other| other.displaced.contains(&holder.token)) {
        Some(thief) => Some(Error::LockLost { to: thief.to_string() }),
        // Whoever took it may be done, and has removed both.
        None => (!holders().any(|other| other == holder)).then_some(Error::LockGone),
    }
}

/// Makes the lock of that name, and tells whether there was none before.
async fn create(cloud: &Cloud, name: &str, holder: &Holder) -> Result<bool, Error> {
    match put(cloud, name, holder, false).await {
        Ok(()) => Ok(true),
        Err(error) if error.is_duplicate() => Ok(false),
        Err(error) => Err(error),
    }
}

async fn put(cloud: &Cloud, name: &str, holder: &Holder, overwrite: bool) -> Result<(), Error> {
    let value = serde_json::to_string(holder).expect("invariant: strings and a number are JSON");
    let call = cloud.ssm.put_parameter().name(name).value(value).overwrite(overwrite);
    let call = call.r#type(aws_sdk_ssm::types::ParameterType::String).send();
    call.await.map(drop).map_err(failed("ssm", "PutParameter"))
}

impl Held<'_> {
    /// Tells whether somebody else had it first, so that what was seen before may be old.
    pub fn has_waited(&self) -> bool {
        self.waited
    }

    /// Does the work, showing all the while that this run lives.
    ///
    /// # Errors
    /// [`Error::LockLost`] if another run took this one for dead, [`Error::LockGone`] if nobody has the lock: the work was ended
    /// where it was.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        tokio::select! {
            biased;
            value = work => Ok(value),
            error = self.renew() => Err(error),
        }
    }

    /// Returns once the lock is lost.
    async fn renew(&self) -> Error {
        let mut was_missing = false;
        loop {
            tokio::time::sleep(if was_missing { LOOK_AGAIN_AFTER } else { RENEW_EVERY }).await;
            // Looked at first: a program that slept with its machine must not make again what was taken from it.
            let Ok(locks) = under(self.cloud, &self.path).await else { continue };
            match loss(&self.holder, &locks) {
                // A list may be behind: one look that does not show it proves nothing.
                Some(Error::LockGone) if !was_missing => {
                    was_missing = true;
                    continue;
                }
                Some(error) => return error,
                None => was_missing = false,
            }
            // If it fails it is tried again, three times before others take this run for dead.
            drop(put(self.cloud, &self.name, &self.holder, true).await);
        }
    }

    /// Gives the lock back, and removes those that the dead left. A failure is told, and is none of the work's.
    pub async fn give_back(self, events: &Events) {
        if let Err(error) = self.remove().await {
            let why = chain(&error);
            events
                .warn(format!("the lock could not be given back, and the next run may wait a minute: {why}"));
        }
        // Until here this run counts as alive.
        drop(self.token);
    }

    /// Deletes what is still this run's: a program that slept with its machine may have lost the lock to another run, which is
    /// done, and a third one holds its name now.
    async fn remove(&self) -> Result<(), Error> {
        let locks = under(self.cloud, &self.path).await?;
        if loss(&self.holder, &locks).is_some() {
            return Ok(());
        }
        let is_ours =
            |lock: &Lock| lock.holder.as_ref() == Some(&self.holder) || self.displaced.contains(&lock.name);
        let names: Vec<String> = locks.into_iter().filter(is_ours).map(|lock| lock.name).collect();
        for names in names.chunks(A_CALL) {
            let call = self.cloud.ssm.delete_parameters().set_names(Some(names.to_vec())).send();
            call.await.map_err(failed("ssm", "DeleteParameters"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(number: u64, token: &str, displaced: &[&str]) -> Lock {
        let holder = Holder {
            task: "up".to_owned(),
            by: "ann@laptop".to_owned(),
            process: 7,
            program: "elsewhere".to_owned(),
            token: token.to_owned(),
            displaced: displaced.iter().map(|token| (*token).to_owned()).collect(),
        };
        Lock { name: format!("/lock/{number}"), number, holder: Some(holder), version: 1 }
    }

    #[test]
    fn a_run_that_slept_reads_who_took_it_for_dead() {
        let mine = lock(1, "mine", &[]);
        let holder = mine.holder.clone().unwrap();
        assert!(loss(&holder, std::slice::from_ref(&mine)).is_none());
        let taken = [mine.clone(), lock(2, "theirs", &["mine"])];
        let to = "`up` of ann@laptop, process 7";
        assert!(matches!(loss(&holder, &taken), Some(Error::LockLost { to: told }) if told == to));
        assert!(matches!(loss(&holder, &[]), Some(Error::LockGone)));
        // Left by one that died while it gave back what it had taken over from others.
        assert!(loss(&holder, &[mine, lock(2, "dead", &["long ago"])]).is_none());
    }
}
