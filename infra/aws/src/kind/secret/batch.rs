//! Reads and creates the secrets of many roles, with few calls and a limited number of them at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::time::Instant;

use futures_util::stream::{self, StreamExt};
use stack::{Event, Events, Stack};

use super::describe::{AT_ONCE, SERVICE};
use super::find::find_credentials;
use super::owner;
use super::role::create_role_secret;
use super::version::{self, Credentials, Version};
use crate::error::failed;
use crate::{Cloud, Error, Stop};

/// The maximum number of names in a call of BatchGetSecretValue.
const NAMES_A_CALL: usize = 20;
const NOT_THERE: &str = "ResourceNotFoundException";

/// Returns the credentials in those secrets that exist and have a value, by the secrets' names. If one cannot be read, its
/// entry is the error of [`find_credentials`], and the others are read all the same.
pub async fn find_all(
    cloud: &Cloud,
    stack: &Stack,
    names: &BTreeSet<String>,
    events: &Events,
) -> BTreeMap<String, Result<Credentials, Error>> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    if names.is_empty() {
        return BTreeMap::new();
    }
    // One list shows whose they are. Secrets that it does not show are read one by one; if it is refused, all are.
    let own = &owner::arns(cloud, stack).await.unwrap_or_default();
    let progress = Progress::start(events, "read", names.len());
    let mut found = BTreeMap::new();
    let mut asked = 0;
    let mut answers = stream::iter(names.chunks(NAMES_A_CALL))
        // One call of the SDK is a future of ten kilobytes.
        .map(|names| Box::pin(async move { (names.len(), find_chunk(cloud, stack, own, names).await) }))
        .buffer_unordered(AT_ONCE);
    while let Some((count, some)) = answers.next().await {
        found.extend(some);
        asked += count;
        progress.at(asked);
    }
    let read = found.values().filter(|found: &&Result<Credentials, Error>| found.is_ok()).count();
    progress.finish(&format!("{read} of {} read", names.len()));
    found
}

/// Returns the credentials of these roles, by role, and creates the secrets that do not exist. A role whose secret fails
/// does not stop the others.
///
/// Once `stop` is raised, no other secret is created; the remaining roles are not in the map.
///
/// The errors of [`find_credentials`] and of [`ensure_role_secret`](super::ensure_role_secret) are in the map.
pub async fn ensure_all(
    cloud: &Cloud,
    stack: &Stack,
    roles: &BTreeSet<String>,
    stop: &Stop,
    events: &Events,
) -> BTreeMap<String, Result<Credentials, Error>> {
    let names = roles.iter().map(|role| stack.role_secret_name(role)).collect();
    let mut found = find_all(cloud, stack, &names, events).await;
    let mut credentials = BTreeMap::new();
    let mut missing = Vec::new();
    for role in roles {
        match found.remove(&stack.role_secret_name(role)) {
            Some(found) => drop(credentials.insert(role.clone(), found)),
            None => missing.push(role),
        }
    }
    let progress = Progress::start(events, "create", missing.len());
    let mut made = stream::iter(&missing)
        .take_while(|_| ready(!stop.is_raised()))
        .map(|role| Box::pin(async move { (*role, create_role_secret(cloud, stack, role).await) }))
        .buffer_unordered(AT_ONCE);
    let mut done = 0;
    while let Some((role, secret)) = made.next().await {
        credentials.insert(role.clone(), secret.map(|secret| secret.credentials));
        done += 1;
        progress.at(done);
    }
    progress.finish(&format!("{done} of {} created", missing.len()));
    credentials
}

async fn find_chunk(
    cloud: &Cloud,
    stack: &Stack,
    own: &BTreeMap<String, String>,
    names: &[&str],
) -> BTreeMap<String, Result<Credentials, Error>> {
    // The batch call needs a permission of its own, and its answer may lack some secrets. Those are read one by one.
    let ours: Vec<String> =
        names.iter().filter(|name| own.contains_key(**name)).map(|name| (*name).to_owned()).collect();
    let mut answer = match ours.is_empty() {
        true => BTreeMap::new(),
        false => at_once(cloud, own, ours).await.unwrap_or_default(),
    };
    let mut found = BTreeMap::new();
    for name in names {
        let one = match answer.remove(*name) {
            Some(told) => Ok(told),
            None => find_credentials(cloud, stack, name).await,
        };
        found.extend(one.transpose().map(|one| ((*name).to_owned(), one)));
    }
    found
}

/// Returns what one batch call shows: the credentials, or that the secret does not exist.
async fn at_once(
    cloud: &Cloud,
    own: &BTreeMap<String, String>,
    ids: Vec<String>,
) -> Result<BTreeMap<String, Option<Credentials>>, Error> {
    let call = cloud.secrets.batch_get_secret_value().set_secret_id_list(Some(ids)).send();
    let answer = call.await.map_err(failed(SERVICE, "BatchGetSecretValue"))?;
    let mut told = BTreeMap::new();
    for entry in answer.secret_values.unwrap_or_default() {
        // A sandbox's service answers with the newest version, whatever its label.
        let is_current = entry.version_stages.iter().flatten().any(|stage| stage == version::CURRENT);
        // A secret that was deleted and created again since the list may be somebody else's.
        let is_same = entry.name.as_ref().and_then(|name| own.get(name)) == entry.arn.as_ref();
        if let (Some(name), Some(text), true) = (entry.name, entry.secret_string, is_current && is_same) {
            let version = Version::parse(entry.version_id.unwrap_or_default(), &text);
            let version = version.map_err(|problem| Error::Secret { name: name.clone(), problem })?;
            told.insert(name, Some(version.credentials()));
        }
    }
    for error in answer.errors.unwrap_or_default() {
        if let Some(name) = error.secret_id.filter(|_| error.error_code.as_deref() == Some(NOT_THERE)) {
            told.insert(name, None);
        }
    }
    Ok(told)
}

/// Reports progress, if there is more than one call to make.
struct Progress<'a> {
    events: Option<&'a Events>,
    all: usize,
    start: Instant,
}

impl Progress<'_> {
    fn start<'a>(events: &'a Events, verb: &str, all: usize) -> Progress<'a> {
        let progress =
            Progress { events: (all > NAMES_A_CALL).then_some(events), all, start: Instant::now() };
        progress.emit(Event::StepStarted { subject: SUBJECT.to_owned(), verb: verb.to_owned() });
        progress
    }

    fn at(&self, done: usize) {
        let status = format!("{done} of {}", self.all);
        self.emit(Event::StepWaiting { subject: SUBJECT.to_owned(), status });
    }

    fn finish(&self, outcome: &str) {
        let (outcome, elapsed) = (outcome.to_owned(), self.start.elapsed());
        self.emit(Event::StepFinished { subject: SUBJECT.to_owned(), outcome, elapsed });
    }

    fn emit(&self, event: Event) {
        if let Some(events) = self.events {
            events.emit(event);
        }
    }
}

const SUBJECT: &str = "secrets";
