//! What stands in RDS's program for the networks and secrets that another program holds.
//!
//! moto's RDS looks its subnets up in moto's own EC2, and keeps the master user's secret in moto's own Secrets
//! Manager. Where those services are answered by another program, each such subnet has a stand-in in moto, and each
//! secret of moto's a real one there. Requests to RDS get the stand-ins' names put in, its answers get them taken
//! out, so that nobody but the gateway ever sees them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use roxmltree::Document;
use tokio::sync::OnceCell;

use super::Error;
use super::emulator::Side;
use super::inventory::{Inventory, Subnet};
use super::reply::Reply;
use super::request::{Protocol, Request, render_form};
use super::state::State;
use super::upstream::Upstream;
use super::xml::all;

/// The stand-ins' names, by the real ones: ids of VPCs and subnets, ARNs of secrets.
#[derive(Debug, Default)]
pub(crate) struct Standins(Mutex<BTreeMap<String, Arc<OnceCell<String>>>>);

impl Standins {
    /// Returns a form's body with the stand-ins' names in the place of the real ones.
    pub(crate) fn put_in(&self, request: &Request) -> Bytes {
        let known = self.known();
        let swap = |value: &String| known.iter().find(|(real, _)| real == value).map(|(_, standin)| standin);
        if !request.form.values().any(|value| swap(value).is_some()) {
            return request.body.clone();
        }
        let pairs: Vec<(&str, &str)> = request
            .form
            .iter()
            .map(|(name, value)| (name.as_str(), swap(value).unwrap_or(value).as_str()))
            .collect();
        Bytes::from(render_form(&pairs))
    }

    /// Returns an answer's body with the real names in the place of the stand-ins'.
    pub(crate) fn take_out(&self, body: &Bytes) -> Bytes {
        let known = self.known();
        // Most gateways never have a stand-in, and answers that are no text have no names.
        let (false, Ok(text)) = (known.is_empty(), std::str::from_utf8(body)) else { return body.clone() };
        let swap = |text: String, (real, standin): &(String, String)| text.replace(standin, real);
        Bytes::from(known.iter().fold(text.to_owned(), swap))
    }

    /// Lets `standin` stand for `real` from now on.
    pub(crate) fn insert(&self, real: String, standin: String) {
        self.lock().insert(real, Arc::new(OnceCell::new_with(Some(standin))));
    }

    /// Tells whether something real of that name has a stand-in.
    pub(crate) fn is_stood_for(&self, real: &str) -> bool {
        self.lock().contains_key(real)
    }

    pub(crate) fn remove(&self, real: &str) {
        self.lock().remove(real);
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Returns the stand-in of that name, made by `make` if there is none. Two who ask at the same time get one.
    async fn ensure(
        &self,
        real: &str,
        make: impl Future<Output = Result<String, Error>>,
    ) -> Result<String, Error> {
        let cell = Arc::clone(self.lock().entry(real.to_owned()).or_default());
        cell.get_or_try_init(|| make).await.cloned()
    }

    /// Returns the real names with those of their stand-ins.
    fn known(&self) -> Vec<(String, String)> {
        let names = self.lock();
        names.iter().filter_map(|(real, cell)| Some((real.clone(), cell.get()?.clone()))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<OnceCell<String>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sees to it that the subnets in a request to RDS have stand-ins. Refuses those that do not exist.
pub(crate) async fn ensure_subnets(state: &State, request: &Request) -> Result<Option<Reply>, Error> {
    if !state.upstream.is_split() {
        return Ok(None);
    }
    let known = Inventory::new(&state.upstream, request.region()).subnets().await?;
    for id in request.list("SubnetIds.SubnetIdentifier") {
        let Some(subnet) = known.iter().find(|subnet| subnet.id == id) else {
            let message = format!("Some input subnets in :[{id}] are invalid.");
            return Ok(Some(Reply::refuse(Protocol::Query, 400, "InvalidSubnet", &message)));
        };
        ensure_subnet(&state.upstream, request.region(), subnet).await?;
    }
    Ok(None)
}

async fn ensure_subnet(upstream: &Upstream, region: &str, subnet: &Subnet) -> Result<(), Error> {
    let standins = upstream.standins();
    let vpc = standins.ensure(&subnet.vpc, async {
        let cidr = Inventory::new(upstream, region).vpc_cidr(&subnet.vpc).await?;
        make(upstream, region, "CreateVpc", &[("CidrBlock", &cidr)], "vpcId").await
    });
    let vpc = vpc.await?;
    let params = [("VpcId", vpc.as_str()), ("CidrBlock", &subnet.cidr), ("AvailabilityZone", &subnet.zone)];
    let made = make(upstream, region, "CreateSubnet", &params, "subnetId");
    standins.ensure(&subnet.id, made).await.map(drop)
}

/// Makes something in RDS's program and returns its id.
async fn make(
    upstream: &Upstream,
    region: &str,
    action: &'static str,
    params: &[(&str, &str)],
    id: &str,
) -> Result<String, Error> {
    let xml = upstream.query_at(Side::Rds, "ec2", region, action, params).await?;
    let document = Document::parse(&xml)?;
    let found = all(&document, id).first().and_then(|node| node.text());
    Ok(found.unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderMap;
    use hyper::{Method, Uri};

    use super::*;

    #[test]
    fn names_are_put_in_and_taken_out_again() {
        let standins = Standins::default();
        let form = Bytes::from_static(b"Action=X&SubnetIds.SubnetIdentifier.1=subnet%2Dreal");
        let request = Request::parse(Method::POST, Uri::from_static("/"), HeaderMap::new(), form.clone());
        assert_eq!(standins.put_in(&request), form);
        standins.insert("subnet-real".to_owned(), "subnet-standin".to_owned());
        let passed = standins.put_in(&request);
        assert_eq!(passed, "Action=X&SubnetIds.SubnetIdentifier.1=subnet-standin");
        let answer = Bytes::from_static(b"<SubnetIdentifier>subnet-standin</SubnetIdentifier>");
        assert_eq!(standins.take_out(&answer), "<SubnetIdentifier>subnet-real</SubnetIdentifier>");
        standins.remove("subnet-real");
        assert_eq!(standins.take_out(&answer), answer);
    }

    #[tokio::test]
    async fn two_who_need_a_stand_in_at_the_same_time_make_one() {
        let standins = Standins::default();
        let make = async |name: &str| {
            tokio::task::yield_now().await;
            Ok(name.to_owned())
        };
        let (first, second) =
            tokio::join!(standins.ensure("real", make("one")), standins.ensure("real", make("two")));
        assert_eq!((first.unwrap(), second.unwrap()), ("one".to_owned(), "one".to_owned()));
    }
}
