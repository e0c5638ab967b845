//! Any rows of a history, any errors and notices of PostgreSQL's: a plan or a refusal, and no panic. The server is the tests' own.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

#[path = "../../tests/all/answer.rs"]
mod answer;
#[path = "../../tests/all/fake.rs"]
mod fake;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().expect("a runtime can be built"));

fuzz_target!(|data: &[u8]| {
    let (planned, told) = RUNTIME.block_on(answer::plan(data));
    match planned {
        Ok(plan) => assert!(plan.applied.len() == told.rows || told.is_error, "{plan:?}"),
        Err(error) => assert!(!format!("{error} {error:?}").contains(fake::PASSWORD)),
    }
});
