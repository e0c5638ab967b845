//! How AWS is reached: the real one by the usual variables and profiles, or a sandbox.

use std::path::PathBuf;

use aws::Cloud;
use stack::{Secret, Stack};

use crate::failure::Failure;
use crate::paths;

/// Where AWS is and who we are there. The default leaves everything to the environment.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The profile, if a flag named one.
    pub profile: Option<String>,
    /// Endpoint and credentials, if they are given and not to be looked for.
    pub given: Option<Given>,
    /// The CA bundle that the database's certificate is checked against, if it is not RDS's own.
    pub ca_bundle: Option<PathBuf>,
}

/// An endpoint with its credentials.
#[derive(Clone, Debug)]
pub struct Given {
    /// The endpoint's URL.
    pub endpoint: String,
    /// The access key's id.
    pub key_id: String,
    /// The secret access key.
    pub key: Secret,
}

/// The variable that names another CA bundle than the one shipped: `sandbox env` sets it.
pub const CA_BUNDLE: &str = "DRAWBRIDGE_CA_BUNDLE";

impl Access {
    /// Returns the access that the environment describes.
    pub fn from_environment(profile: Option<String>) -> Access {
        Access { profile, ca_bundle: std::env::var_os(CA_BUNDLE).map(PathBuf::from), ..Access::default() }
    }

    /// Connects to the stack's region.
    pub async fn connect(&self, stack: &Stack) -> Result<Cloud, Failure> {
        let cloud = match &self.given {
            Some(given) => {
                Cloud::connect_to(&stack.region, &given.endpoint, &given.key_id, &given.key).await?
            }
            None => Cloud::connect(&stack.region, self.profile.as_deref(), None).await?,
        };
        Ok(cloud)
    }

    /// Returns the path of the CA bundle, for programs that read it themselves.
    pub fn ca_path(&self) -> PathBuf {
        self.ca_bundle.clone().unwrap_or_else(|| paths::workspace().join("infra/rds-global-bundle.pem"))
    }

    /// Returns the roots that the database's certificate is checked against.
    ///
    /// # Errors
    /// The bundle cannot be read or holds no certificate.
    pub fn roots(&self) -> Result<rustls::RootCertStore, Failure> {
        let pem = match &self.ca_bundle {
            None => paths::RDS_ROOTS.to_vec(),
            Some(path) => std::fs::read(path)
                .map_err(|error| Failure::usage(format!("cannot read `{}`: {error}", path.display())))?,
        };
        Ok(db::Server::roots_from_pem(&pem)?)
    }
}
