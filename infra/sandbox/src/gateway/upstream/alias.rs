//! The aliases in RDS's program of the networks and secrets that another program holds.
//!
//! moto's RDS looks its subnets up in moto's own EC2, and keeps the master user's secret in moto's own Secrets
//! Manager. Where those services are answered by another program, each such subnet has an alias in moto, and each
//! secret of moto's a real one there. Requests to RDS get the aliases put in, and its answers get them taken out, so that
//! nobody but the gateway ever sees one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::OnceCell;

use crate::gateway::Error;
use crate::gateway::wire::request::{Request, render_form};

/// The aliases by the real names: ids of VPCs and subnets, ARNs of secrets.
#[derive(Debug, Default)]
pub(crate) struct Aliases(Mutex<BTreeMap<String, Arc<OnceCell<String>>>>);

impl Aliases {
    /// Returns a form's body with aliases in the place of the real names.
    pub(crate) fn put_in(&self, request: &Request) -> Bytes {
        let known = self.known();
        let swap = |value: &String| known.iter().find(|(real, _)| real == value).map(|(_, alias)| alias);
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

    /// Returns an answer's body with the real names in the place of aliases.
    pub(crate) fn take_out(&self, body: &Bytes) -> Bytes {
        let known = self.known();
        // Most gateways never have an alias, and answers that are no text have no names.
        let (false, Ok(text)) = (known.is_empty(), std::str::from_utf8(body)) else { return body.clone() };
        let swap = |text: String, (real, alias): &(String, String)| text.replace(alias, real);
        Bytes::from(known.iter().fold(text.to_owned(), swap))
    }

    /// Makes `alias` the alias of `real` from now on.
    pub(crate) fn insert(&self, real: String, alias: String) {
        self.lock().insert(real, Arc::new(OnceCell::new_with(Some(alias))));
    }

    /// Tells whether that real name has an alias.
    pub(crate) fn has(&self, real: &str) -> bool {
        self.lock().contains_key(real)
    }

    /// Forgets an alias.
    pub(crate) fn remove(&self, real: &str) {
        self.lock().remove(real);
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Returns the alias of that name, made by `make` if there is none. Two who ask at the same time get one.
    pub(crate) async fn ensure(
        &self,
        real: &str,
        make: impl Future<Output = Result<String, Error>>,
    ) -> Result<String, Error> {
        let cell = Arc::clone(self.lock().entry(real.to_owned()).or_default());
        cell.get_or_try_init(|| make).await.cloned()
    }

    /// Returns the real names with their aliases.
    fn known(&self) -> Vec<(String, String)> {
        let names = self.lock();
        names.iter().filter_map(|(real, cell)| Some((real.clone(), cell.get()?.clone()))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<OnceCell<String>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderMap;
    use hyper::{Method, Uri};

    use super::*;

    #[test]
    fn names_are_put_in_and_taken_out_again() {
        let aliases = Aliases::default();
        let form = Bytes::from_static(b"Action=X&SubnetIds.SubnetIdentifier.1=subnet%2Dreal");
        let request = Request::parse(Method::POST, Uri::from_static("/"), HeaderMap::new(), form.clone());
        assert_eq!(aliases.put_in(&request), form);
        aliases.insert("subnet-real".to_owned(), "subnet-alias".to_owned());
        let passed = aliases.put_in(&request);
        assert_eq!(passed, "Action=X&SubnetIds.SubnetIdentifier.1=subnet-alias");
        let answer = Bytes::from_static(b"<SubnetIdentifier>subnet-alias</SubnetIdentifier>");
        assert_eq!(aliases.take_out(&answer), "<SubnetIdentifier>subnet-real</SubnetIdentifier>");
        aliases.remove("subnet-real");
        assert_eq!(aliases.take_out(&answer), answer);
    }

    #[tokio::test]
    async fn two_who_need_a_stand_in_at_the_same_time_make_one() {
        let aliases = Aliases::default();
        let make = async |name: &str| {
            tokio::task::yield_now().await;
            Ok(name.to_owned())
        };
        let (first, second) =
            tokio::join!(aliases.ensure("real", make("one")), aliases.ensure("real", make("two")));
        assert_eq!((first.unwrap(), second.unwrap()), ("one".to_owned(), "one".to_owned()));
    }
}
