//! JSON as Go programs write it: an empty list or map may be `null`.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};

/// Returns the default for `null`.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Gives structs the two ways between them and a payload.
macro_rules! payloads {
    ($($name:ident),*) => {$(
        impl $name {
            /// Returns what `payload` holds.
            ///
            /// # Errors
            /// When it is not the JSON expected.
            pub fn parse(payload: &[u8]) -> Result<$name, serde_json::Error> {
                serde_json::from_slice(payload)
            }

            /// Returns the JSON.
            pub fn to_payload(&self) -> ::bytes::Bytes {
                $crate::json::render(self)
            }
        }
    )*};
}
pub(crate) use payloads;

/// Returns the JSON of a payload struct.
pub(crate) fn render<T: Serialize>(value: &T) -> Bytes {
    serde_json::to_vec(value).expect("invariant: payload structs have string keys only").into()
}

/// A UUID as hyphenated text.
pub(crate) mod uuid_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use uuid::Uuid;

    pub(crate) fn serialize<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
        Uuid::parse_str(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Bytes as base64; `null` for none.
pub(crate) mod base64_text {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
        STANDARD.decode(text).map(Bytes::from).map_err(D::Error::custom)
    }
}
