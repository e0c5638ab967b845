//! AWS on a laptop: a gateway in front of moto, an SSM agent, and a private PostgreSQL behind TLS.

pub mod gateway;
