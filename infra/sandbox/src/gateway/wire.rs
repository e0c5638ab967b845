//! What goes over a connection: requests, answers and their formats, signatures, websockets.

pub(crate) mod cbor;
pub(crate) mod hosts;
pub(crate) mod key;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod signature;
pub(crate) mod websocket;
pub(crate) mod xml;
