//! Data keys of the key management service: what encrypts shells, if the account wants that.

use crate::error::failed;
use crate::{Cloud, Error};

/// A data key, in clear and as only KMS can read it. It has no `Debug`.
pub struct DataKey {
    /// The key in clear.
    pub plaintext: Vec<u8>,
    /// The same, encrypted.
    pub ciphertext: Vec<u8>,
}

/// Lets KMS make a data key of that many bytes, which it decrypts only in the same context.
///
/// # Errors
/// As AWS says: no such key, or it may not be used.
pub async fn generate_data_key(
    cloud: &Cloud,
    key_id: &str,
    context: &[(String, String)],
    length_bytes: usize,
) -> Result<DataKey, Error> {
    let mut call = cloud.kms.generate_data_key().key_id(key_id);
    call = call.number_of_bytes(i32::try_from(length_bytes).unwrap_or(i32::MAX));
    for (name, value) in context {
        call = call.encryption_context(name, value);
    }
    let answer = call.send().await.map_err(failed("kms", "GenerateDataKey"))?;
    let field = |value: Option<aws_sdk_kms::primitives::Blob>, field| {
        value.ok_or(Error::Incomplete { service: "kms", operation: "GenerateDataKey", field })
    };
    Ok(DataKey {
        plaintext: field(answer.plaintext, "key")?.into_inner(),
        ciphertext: field(answer.ciphertext_blob, "encrypted key")?.into_inner(),
    })
}
