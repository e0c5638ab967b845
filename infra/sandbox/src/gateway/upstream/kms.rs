//! The key management service, as an agent uses it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::Upstream;
use super::network::Network;
use crate::gateway::Error;

/// Decrypts data keys. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Kms {
    upstream: Upstream,
}

impl Kms {
    /// Asks where `network` asks.
    pub fn beside(network: &Network) -> Kms {
        Kms { upstream: network.upstream().clone() }
    }

    /// Returns the data key in clear.
    ///
    /// # Errors
    /// When the key or the context does not match, or the service does not answer.
    pub(crate) async fn decrypt(
        &self,
        region: &str,
        key_id: &str,
        ciphertext: &[u8],
        context: &[(&str, &str)],
    ) -> Result<Vec<u8>, Error> {
        let context: Map<String, Value> =
            context.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        let body = json!({
            "KeyId": key_id, "CiphertextBlob": STANDARD.encode(ciphertext), "EncryptionContext": context,
        });
        let answer = self.upstream.json("kms", region, "TrentService.Decrypt", &body).await?;
        Ok(STANDARD.decode(answer["Plaintext"].as_str().unwrap_or_default()).unwrap_or_default())
    }
}
