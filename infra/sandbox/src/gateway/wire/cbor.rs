//! The format of CloudWatch's own protocol, RPC v2 with CBOR.
//!
//! Source: Smithy's specification, "Smithy RPC v2 CBOR protocol".

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use minicbor::data::{Tag, Type};
use minicbor::{Decoder, Encoder, decode};
use serde_json::{Map, Number, Value};

/// The header that tells the protocol, and its value.
pub(crate) const HEADER: (&str, &str) = ("smithy-protocol", "rpc-v2-cbor");
/// The media type of its bodies.
pub(crate) const MEDIA: &str = "application/cbor";
/// How deep a value may be nested; CloudWatch's have five levels.
const DEPTH: usize = 32;

/// Returns the headers of an answer with those that tell the protocol.
pub(crate) fn headers_of(mut headers: HeaderMap) -> HeaderMap {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA));
    headers.insert(HEADER.0, HeaderValue::from_static(HEADER.1));
    headers
}

/// Returns the value of a body. An empty body is an empty structure.
pub(crate) fn decoded(body: &[u8]) -> Option<Value> {
    if body.is_empty() {
        return Some(Value::Object(Map::new()));
    }
    value(&mut Decoder::new(body), DEPTH).ok()
}

fn value(decoder: &mut Decoder<'_>, depth: usize) -> Result<Value, decode::Error> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(decode::Error::message("nested too deep"));
    };
    Ok(match decoder.datatype()? {
        Type::Bool => Value::Bool(decoder.bool()?),
        Type::Null | Type::Undefined => {
            decoder.skip()?;
            Value::Null
        }
        Type::F16 | Type::F32 | Type::F64 => {
            Number::from_f64(decoder.f64()?).map_or(Value::Null, Value::Number)
        }
        Type::String | Type::StringIndef => {
            Value::String(decoder.str_iter()?.collect::<Result<Vec<&str>, _>>()?.concat())
        }
        Type::Array | Type::ArrayIndef => {
            let length = decoder.array()?;
            let mut items = Vec::new();
            while goes_on(decoder, length, items.len())? {
                items.push(value(decoder, depth)?);
            }
            Value::Array(items)
        }
        Type::Map | Type::MapIndef => {
            let length = decoder.map()?;
            let mut fields = Map::new();
            let mut count = 0;
            while goes_on(decoder, length, count)? {
                let name = decoder.str()?.to_owned();
                fields.insert(name, value(decoder, depth)?);
                count += 1;
            }
            Value::Object(fields)
        }
        // A time: JSON has the number alone.
        Type::Tag => {
            decoder.tag()?;
            value(decoder, depth)?
        }
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => Value::from(decoder.u64()?),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => Value::from(decoder.i64()?),
        other @ (Type::Int
        | Type::Simple
        | Type::Bytes
        | Type::BytesIndef
        | Type::Break
        | Type::Unknown(_)) => {
            return Err(decode::Error::type_mismatch(other));
        }
    })
}

/// Tells whether a list has another entry. Reads the end mark of a list without a length.
fn goes_on(decoder: &mut Decoder<'_>, length: Option<u64>, read: usize) -> Result<bool, decode::Error> {
    match length {
        Some(length) => Ok(u64::try_from(read).unwrap_or(u64::MAX) < length),
        None if decoder.datatype()? == Type::Break => {
            decoder.skip()?;
            Ok(false)
        }
        None => Ok(true),
    }
}

/// Returns the body for a value.
pub(crate) fn encoded(value: &Value) -> Bytes {
    let mut encoder = Encoder::new(Vec::new());
    encode(&mut encoder, "", value);
    Bytes::from(encoder.into_writer())
}

/// Writes a value. JSON has one type for times, fractions and whole numbers; the field's name tells which it is.
fn encode(encoder: &mut Encoder<Vec<u8>>, field: &str, value: &Value) {
    // Writing to memory does not fail.
    let _infallible = match value {
        Value::Null => encoder.null().map(drop),
        Value::Bool(flag) => encoder.bool(*flag).map(drop),
        Value::Number(number) if is_time(field) => {
            encoder.tag(Tag::new(1)).and_then(|e| e.f64(number.as_f64().unwrap_or(0.0))).map(drop)
        }
        Value::Number(number) => match number.as_i64().filter(|_| !is_fraction(field)) {
            Some(whole) => encoder.i64(whole).map(drop),
            None => encoder.f64(number.as_f64().unwrap_or(0.0)).map(drop),
        },
        Value::String(text) => encoder.str(text).map(drop),
        Value::Array(items) => {
            let _infallible = encoder.array(items.len() as u64).map(drop);
            items.iter().for_each(|item| encode(encoder, field, item));
            Ok(())
        }
        Value::Object(fields) => {
            let _infallible = encoder.map(fields.len() as u64).map(drop);
            for (name, value) in fields {
                let _infallible = encoder.str(name).map(drop);
                encode(encoder, name, value);
            }
            Ok(())
        }
    };
}

fn is_time(field: &str) -> bool {
    field.ends_with("Timestamp") || matches!(field, "Timestamps" | "StartTime" | "EndTime" | "LastModified")
}

fn is_fraction(field: &str) -> bool {
    matches!(
        field,
        "Threshold" | "Value" | "Values" | "Average" | "Sum" | "Minimum" | "Maximum" | "SampleCount"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_again() {
        let sent = json!({
            "AlarmNames": ["a", "ä"], "Period": 300, "Offset": -70_000, "ActionsEnabled": true, "None": null,
            "Threshold": 80.0, "Deep": { "List": [{ "Name": "x" }] },
        });
        assert_eq!(decoded(&encoded(&sent)), Some(sent));
        assert_eq!(decoded(b""), Some(json!({})));
    }

    #[test]
    fn a_threshold_is_a_fraction_and_a_time_has_its_tag() {
        let bytes = encoded(&json!({ "Threshold": 80, "StateUpdatedTimestamp": 1_700_000_000 }));
        let mut decoder = Decoder::new(&bytes);
        decoder.map().unwrap();
        assert_eq!(decoder.str().unwrap(), "StateUpdatedTimestamp");
        assert_eq!(decoder.tag().unwrap(), Tag::new(1));
        assert_eq!(decoder.f64().unwrap(), 1.7e9);
        assert_eq!((decoder.str().unwrap(), decoder.f64().unwrap()), ("Threshold", 80.0));
    }

    #[test]
    fn lists_without_a_length_are_read_to_their_end() {
        // {_ "Names": [_ "a", "b"], "Tags": []}, as clients write it.
        let bytes = b"\xbf\x65Names\x9f\x61a\x61b\xff\x64Tags\x80\xff";
        assert_eq!(decoded(bytes), Some(json!({ "Names": ["a", "b"], "Tags": [] })));
    }

    #[test]
    fn what_is_no_cbor_is_refused() {
        for bad in [&b"\xbf\x61"[..], b"\x82\x01", &[0x81; 100], b"\x1f"] {
            assert_eq!(decoded(bad), None, "{bad:?}");
        }
    }
}
