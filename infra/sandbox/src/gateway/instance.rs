//! The life of instances: launched once per token, slow to end, and each boot starts the agent's clock.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hyper::StatusCode;
use roxmltree::Document;
use tokio::sync::OnceCell;

use super::Error;
use super::inventory::Inventory;
use super::registration;
use super::reply::Reply;
use super::request::{Protocol, Request};
use super::route::forward;
use super::state::State;
use super::xml::{all, find, items, replace, text};

/// What is remembered about launches and their ends.
#[derive(Debug, Default)]
pub(crate) struct Launches(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    /// By region and client token.
    launches: HashMap<(String, String), Arc<Launch>>,
    /// How many launches with a new profile are still to be refused.
    new_profiles: HashMap<String, u32>,
    /// When instances were last started, which moto does not note: RFC 3339.
    starts: HashMap<String, String>,
    /// Instances that moto is to end in a moment.
    ending: HashSet<String>,
}

#[derive(Debug)]
struct Launch {
    form: BTreeMap<String, String>,
    ids: OnceCell<Vec<String>>,
}

impl Launches {
    pub(crate) fn clear(&self) {
        *self.lock() = Memory::default();
    }

    /// Returns the launch of that token, a new one if there is none.
    fn launch(&self, region: &str, token: &str, form: &BTreeMap<String, String>) -> Arc<Launch> {
        let mut memory = self.lock();
        let launch = memory.launches.entry((region.to_owned(), token.to_owned()));
        Arc::clone(launch.or_insert_with(|| Arc::new(Launch { form: form.clone(), ids: OnceCell::new() })))
    }

    fn remember(&self, region: &str, token: &str, launch: Arc<Launch>) {
        self.lock().launches.insert((region.to_owned(), token.to_owned()), launch);
    }

    fn forget(&self, region: &str, token: &str) {
        self.lock().launches.remove(&(region.to_owned(), token.to_owned()));
    }

    /// Counts a launch with that profile and tells whether EC2 has heard of it by now.
    fn knows_profile(&self, name: &str) -> bool {
        match self.lock().new_profiles.get_mut(name).filter(|left| **left > 0) {
            Some(left) => {
                *left -= 1;
                false
            }
            None => true,
        }
    }

    fn note_start(&self, id: &str) {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string();
        self.lock().starts.insert(id.to_owned(), now);
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers the operations that are ours.
pub(crate) async fn answer(state: &Arc<State>, request: &Request) -> Result<Option<Reply>, Error> {
    let reply = match request.operation.as_deref() {
        Some("RunInstances") => run(state, request).await?,
        Some("TerminateInstances") => return terminate(state, request).await,
        Some("DescribeInstances") => dress(state, request, forward(state, request).await?),
        Some("StartInstances") => {
            let start = |id: &str| {
                state.launches.note_start(id);
                registration::boot(state, request.region(), id);
            };
            after(state, request, start).await?
        }
        Some("StopInstances") => after(state, request, |id| leave(state, id)).await?,
        Some("RebootInstances") => {
            let reboot = |id: &str| {
                leave(state, id);
                registration::boot(state, request.region(), id);
            };
            after(state, request, reboot).await?
        }
        _ => return Ok(None),
    };
    Ok(Some(reply))
}

/// Creates an instance profile. EC2 hears of it a while later.
pub(crate) async fn create_profile(state: &State, request: &Request) -> Result<Reply, Error> {
    let reply = forward(state, request).await?;
    if let (StatusCode::OK, Some(name)) = (reply.status, request.param("InstanceProfileName")) {
        state.launches.lock().new_profiles.insert(name.to_owned(), state.options.profile_refusals);
    }
    Ok(reply)
}

/// Lists the profiles under the path that was asked for: moto lists all.
pub(crate) async fn list_profiles(state: &State, request: &Request) -> Result<Reply, Error> {
    let reply = forward(state, request).await?;
    let prefix = request.param("PathPrefix").unwrap_or("/");
    if reply.status != StatusCode::OK {
        return Ok(reply);
    }
    let xml = reply.text();
    let document = Document::parse(&xml)?;
    let profiles = all(&document, "InstanceProfiles").into_iter().flat_map(|list| items(list, &[]));
    let others = profiles.filter(|profile| !text(*profile, &["Path"]).unwrap_or("/").starts_with(prefix));
    let edits = others.map(|profile| (profile.range(), String::new())).collect();
    Ok(Reply { body: Bytes::from(replace(&xml, edits)), ..reply })
}

async fn after(state: &State, request: &Request, then: impl Fn(&str)) -> Result<Reply, Error> {
    let reply = forward(state, request).await?;
    if reply.status == StatusCode::OK {
        request.list("InstanceId").iter().for_each(|id| then(id));
    }
    Ok(reply)
}

/// The machine goes down: its agent and its sessions with it.
fn leave(state: &State, id: &str) {
    registration::halt(state, id);
    state.sessions.terminate_to(id, "");
}

async fn run(state: &Arc<State>, request: &Request) -> Result<Reply, Error> {
    let Some(token) = request.param("ClientToken") else { return launch(state, request).await };
    let mut form = request.form.clone();
    form.remove("ClientToken");
    let remembered = state.launches.launch(request.region(), token, &form);
    if remembered.form != form {
        let message = "The client token you have provided is associated with a resource that is already \
                       launched or in the process of being launched, with different parameters.";
        return Ok(Reply::refuse(Protocol::Ec2, 400, "IdempotentParameterMismatch", message));
    }
    let mut first = None;
    let slot = &mut first;
    // Two calls at the same time make one instance: the second waits for the first.
    let ids = remembered.ids.get_or_try_init(move || async move {
        let reply = launch(state, request).await.map_err(Err)?;
        if reply.status != StatusCode::OK {
            return Err(Ok(reply));
        }
        let ids = instance_ids(&reply).map_err(Err)?;
        *slot = Some(reply);
        Ok(ids)
    });
    match ids.await {
        Ok(ids) => match first {
            Some(reply) => {
                // A refused call with the same token may have removed it meanwhile.
                state.launches.remember(request.region(), token, Arc::clone(&remembered));
                Ok(reply)
            }
            None => again(state, request, ids).await,
        },
        // A refused launch does not use its token up.
        Err(refused) => {
            state.launches.forget(request.region(), token);
            refused
        }
    }
}

async fn launch(state: &Arc<State>, request: &Request) -> Result<Reply, Error> {
    let profile = request
        .param("IamInstanceProfile.Name")
        .or_else(|| request.param("IamInstanceProfile.Arn").and_then(|arn| arn.rsplit('/').next()));
    if let Some(name) = profile.filter(|name| !state.launches.knows_profile(name)) {
        let message = format!(
            "Value ({name}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
        );
        return Ok(Reply::refuse(Protocol::Ec2, 400, "InvalidParameterValue", &message));
    }
    let reply = forward(state, &with_own_interfaces(request)).await?;
    if reply.status == StatusCode::OK {
        for id in instance_ids(&reply)? {
            registration::boot(state, request.region(), &id);
        }
    }
    Ok(reply)
}

/// An interface made at the launch goes with its instance unless told otherwise; moto would keep it.
fn with_own_interfaces(request: &Request) -> Request {
    let indexes: HashSet<&str> = request
        .form
        .keys()
        .filter_map(|name| name.strip_prefix("NetworkInterface.")?.split('.').next())
        .collect();
    let mut body = String::from_utf8_lossy(&request.body).into_owned();
    for index in indexes {
        let name = format!("NetworkInterface.{index}.DeleteOnTermination");
        let given = format!("NetworkInterface.{index}.NetworkInterfaceId");
        if request.param(&name).is_none() && request.param(&given).is_none() {
            body.push_str(&format!("&{name}=true"));
        }
    }
    Request { body: Bytes::from(body), ..request.clone() }
}

fn instance_ids(reply: &Reply) -> Result<Vec<String>, Error> {
    let xml = reply.text();
    let document = Document::parse(&xml)?;
    Ok(all(&document, "instanceId").into_iter().filter_map(|id| id.text()).map(str::to_owned).collect())
}

/// Answers a launch with the instances that an earlier call with its token made.
async fn again(state: &State, request: &Request, ids: &[String]) -> Result<Reply, Error> {
    let names: Vec<String> = (1..=ids.len()).map(|n| format!("InstanceId.{n}")).collect();
    let params: Vec<(&str, &str)> =
        names.iter().zip(ids).map(|(name, id)| (name.as_str(), id.as_str())).collect();
    let xml = state.upstream.query("ec2", request.region(), "DescribeInstances", &params).await?;
    let document = Document::parse(&xml)?;
    let root = document.root_element();
    let reservation = find(root, &["reservationSet", "item"])
        .map(|item| item.children().map(|child| &xml[child.range()]).collect::<String>())
        .unwrap_or_default();
    let namespace = root.tag_name().namespace().unwrap_or_default();
    Ok(Reply::xml(format!(
        "<RunInstancesResponse xmlns=\"{namespace}\">{reservation}</RunInstancesResponse>"
    )))
}

/// Ends instances: at once for those who ask, a moment later in moto, so that what they use stays in use.
async fn terminate(state: &Arc<State>, request: &Request) -> Result<Option<Reply>, Error> {
    let ids = request.list("InstanceId");
    let region = request.region();
    let mut items = String::new();
    for id in &ids {
        let found = Inventory::new(&state.upstream, region).find_instance(id).await?;
        let Some(instance) = found.filter(|instance| !instance.is_terminated()) else { return Ok(None) };
        if is_protected(state, region, id).await? {
            return Ok(None);
        }
        items.push_str(&format!(
            "<item><instanceId>{id}</instanceId><currentState><code>32</code><name>shutting-down</name></currentState>\
             <previousState><code>16</code><name>{}</name></previousState></item>",
            instance.state
        ));
    }
    state.launches.lock().ending.extend(ids.iter().cloned());
    ids.iter().for_each(|id| leave(state, id));
    let (shared, order, age) = (Arc::clone(state), request.clone(), state.age());
    state.tasks.spawn(async move {
        tokio::time::sleep(shared.options.termination_delay).await;
        if shared.age() != age {
            return;
        }
        // moto was asked whether it would; only its own end can keep it from doing so now.
        drop(shared.upstream.forward(&order).await);
        let mut memory = shared.launches.lock();
        ids.iter().for_each(|id| {
            memory.ending.remove(id);
        });
    });
    Ok(Some(Reply::xml(format!(
        "<TerminateInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>{}</requestId>\
         <instancesSet>{items}</instancesSet></TerminateInstancesResponse>",
        uuid::Uuid::new_v4()
    ))))
}

async fn is_protected(state: &State, region: &str, id: &str) -> Result<bool, Error> {
    let params = [("InstanceId", id), ("Attribute", "disableApiTermination")];
    let xml = state.upstream.query("ec2", region, "DescribeInstanceAttribute", &params).await?;
    let document = Document::parse(&xml)?;
    Ok(text(document.root_element(), &["disableApiTermination", "value"]) == Some("true"))
}

/// Shows the instances that are about to end as `shutting-down`, to those who want to see such, and when others were
/// started.
fn dress(state: &State, request: &Request, reply: Reply) -> Reply {
    let (ending, starts) = {
        let memory = state.launches.lock();
        (memory.ending.clone(), memory.starts.clone())
    };
    if reply.status != StatusCode::OK {
        return reply;
    }
    let edit = |reply: Reply, edit: &dyn Fn(&str, &Document<'_>) -> String| {
        let xml = reply.text();
        match Document::parse(&xml) {
            Ok(document) => Reply { body: Bytes::from(edit(&xml, &document)), ..reply },
            Err(_) => reply,
        }
    };
    let mut reply = reply;
    if !starts.is_empty() {
        reply = edit(reply, &|xml, document| show_starts(xml, document, &starts));
    }
    if !ending.is_empty() {
        reply = edit(reply, &|xml, document| show_ending(xml, document, &ending, wants_ending(request)));
    }
    reply
}

/// Writes into an answer when instances were started last.
fn show_starts(xml: &str, document: &Document<'_>, starts: &HashMap<String, String>) -> String {
    let instances = all(document, "instancesSet").into_iter().flat_map(|set| set.children());
    let edits = instances.filter_map(|item| {
        let start = starts.get(text(item, &["instanceId"])?)?;
        let time = find(item, &["launchTime"])?;
        Some((time.range(), format!("<launchTime>{start}</launchTime>")))
    });
    replace(xml, edits.collect())
}

/// Whether a request's filters let instances through that are shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Shown,
    Hidden,
}

fn wants_ending(request: &Request) -> Ending {
    let filter = (1..=20).find(|n| request.param(&format!("Filter.{n}.Name")) == Some("instance-state-name"));
    let Some(n) = filter else { return Ending::Shown };
    let states = request.list(&format!("Filter.{n}.Value"));
    if states.iter().any(|state| state == "shutting-down") { Ending::Shown } else { Ending::Hidden }
}

fn show_ending(xml: &str, document: &Document<'_>, ending: &HashSet<String>, wanted: Ending) -> String {
    let instances = all(document, "instancesSet").into_iter().flat_map(|set| set.children());
    let edits = instances
        .filter(|item| text(*item, &["instanceId"]).is_some_and(|id| ending.contains(id)))
        .filter_map(|item| match wanted {
            Ending::Hidden => Some((item.range(), String::new())),
            Ending::Shown => find(item, &["instanceState"]).map(|state| {
                (
                    state.range(),
                    "<instanceState><code>32</code><name>shutting-down</name></instanceState>".to_owned(),
                )
            }),
        })
        .collect();
    replace(xml, edits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const XML: &str = "<r><reservationSet><item><instancesSet><item><instanceId>i-1</instanceId><instanceState>\
        <code>16</code><name>running</name></instanceState></item></instancesSet></item></reservationSet></r>";

    #[test]
    fn an_ending_instance_is_shown_as_shutting_down_or_not_at_all() {
        let document = Document::parse(XML).unwrap();
        let ending = HashSet::from(["i-1".to_owned()]);
        let shown = show_ending(XML, &document, &ending, Ending::Shown);
        assert!(shown.contains("<code>32</code><name>shutting-down</name>") && !shown.contains("running"));
        assert!(
            show_ending(XML, &document, &ending, Ending::Hidden).contains("<instancesSet></instancesSet>")
        );
        assert_eq!(show_ending(XML, &document, &HashSet::new(), Ending::Shown), XML);
    }

    #[test]
    fn a_token_stands_for_its_parameters() {
        let launches = Launches::default();
        let form = |kind: &str| BTreeMap::from([("InstanceType".to_owned(), kind.to_owned())]);
        launches.launch("r", "token", &form("t3.micro"));
        assert_eq!(launches.launch("r", "token", &form("t3.large")).form, form("t3.micro"));
        assert_eq!(launches.launch("other", "token", &form("t3.large")).form, form("t3.large"));
    }

    #[test]
    fn a_new_profile_is_unknown_for_a_while() {
        let launches = Launches::default();
        launches.lock().new_profiles.insert("p".to_owned(), 2);
        let known: Vec<bool> = (0..4).map(|_| launches.knows_profile("p")).collect();
        assert_eq!(known, [false, false, true, true]);
        assert!(launches.knows_profile("old"));
    }
}
