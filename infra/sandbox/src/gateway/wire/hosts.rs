//! The hosts for which requests are answered.

use std::collections::BTreeSet;
use std::net::SocketAddr;

/// The names of a gateway as a `Host` header has them.
#[derive(Debug)]
pub(crate) struct Hosts(BTreeSet<String>);

impl Hosts {
    /// Returns the addresses, and each of the names and `localhost` with their ports.
    pub(crate) fn new(addresses: &[SocketAddr], names: &[String]) -> Hosts {
        let local = "localhost".to_owned();
        let names: Vec<&String> = names.iter().chain([&local]).collect();
        let called = |address: &SocketAddr| {
            let named = names.iter().map(|name| format!("{}:{}", name.to_ascii_lowercase(), address.port()));
            named.chain([address.to_string()]).collect::<Vec<_>>()
        };
        Hosts(addresses.iter().flat_map(called).collect())
    }

    /// Tells whether the gateway has that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains(&name.to_ascii_lowercase())
    }
}
