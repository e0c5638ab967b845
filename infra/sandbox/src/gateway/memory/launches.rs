//! Launches by their client tokens, and what moto does not note about the life of instances.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

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

/// A launch with a client token.
#[derive(Debug)]
pub(crate) struct Launch {
    /// The parameters without the token.
    pub(crate) form: BTreeMap<String, String>,
    /// The instances that it made, once it has.
    pub(crate) ids: OnceCell<Vec<String>>,
}

impl Launches {
    pub(crate) fn clear(&self) {
        *self.lock() = Memory::default();
    }

    /// Returns the launch of that token, a new one if there is none.
    pub(crate) fn launch(&self, region: &str, token: &str, form: &BTreeMap<String, String>) -> Arc<Launch> {
        let mut memory = self.lock();
        let launch = memory.launches.entry((region.to_owned(), token.to_owned()));
        Arc::clone(launch.or_insert_with(|| Arc::new(Launch { form: form.clone(), ids: OnceCell::new() })))
    }

    /// Makes a launch the one of that token.
    pub(crate) fn remember(&self, region: &str, token: &str, launch: Arc<Launch>) {
        self.lock().launches.insert((region.to_owned(), token.to_owned()), launch);
    }

    /// Frees a token for another launch.
    pub(crate) fn forget(&self, region: &str, token: &str) {
        self.lock().launches.remove(&(region.to_owned(), token.to_owned()));
    }

    /// Counts a launch with that profile and tells whether EC2 knows the profile by now.
    pub(crate) fn knows_profile(&self, name: &str) -> bool {
        match self.lock().new_profiles.get_mut(name).filter(|left| **left > 0) {
            Some(left) => {
                *left -= 1;
                false
            }
            None => true,
        }
    }

    /// Notes a new profile, which EC2 knows only after that many launches with it.
    pub(crate) fn add_profile(&self, name: &str, refusals: u32) {
        self.lock().new_profiles.insert(name.to_owned(), refusals);
    }

    /// Notes the instances that moto is to end in a moment.
    pub(crate) fn begin_end(&self, ids: &[String]) {
        self.lock().ending.extend(ids.iter().cloned());
    }

    /// Notes that moto has ended those instances.
    pub(crate) fn finish_end(&self, ids: &[String]) {
        let mut memory = self.lock();
        ids.iter().for_each(|id| {
            memory.ending.remove(id);
        });
    }

    /// Returns the instances that are about to end, and when others were last started.
    pub(crate) fn overlay(&self) -> (HashSet<String>, HashMap<String, String>) {
        let memory = self.lock();
        (memory.ending.clone(), memory.starts.clone())
    }

    /// Notes that an instance was started now.
    pub(crate) fn note_start(&self, id: &str) {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string();
        self.lock().starts.insert(id.to_owned(), now);
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        launches.add_profile("p", 2);
        let known: Vec<bool> = (0..4).map(|_| launches.knows_profile("p")).collect();
        assert_eq!(known, [false, false, true, true]);
        assert!(launches.knows_profile("old"));
    }
}
