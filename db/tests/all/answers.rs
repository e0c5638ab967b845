//! Whatever a tenant's database answers, its plan is made or refused, and nothing else happens.

use proptest::prelude::*;

use crate::answer;
use crate::fake::PASSWORD;

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_and_any_error_is_a_plan_or_a_refusal(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (planned, told) = runtime.block_on(answer::plan(&bytes));
        match planned {
            Ok(plan) => prop_assert!(plan.applied.len() == told.rows || told.is_error, "{plan:?}"),
            Err(error) => {
                let said = format!("{error} {error:?}");
                prop_assert!(!said.contains(PASSWORD), "{said}");
            }
        }
    }
}

#[tokio::test]
async fn the_server_of_these_answers_lets_in_and_is_understood() {
    // Of each value the first: a place, and no row.
    let (planned, _) = answer::plan(&[]).await;
    let refused = planned.unwrap_err().to_string();
    assert!(refused.contains("other"), "{refused}");
}
