//! Tenant databases: connect, lock, create, migrate with refinery, verify.
