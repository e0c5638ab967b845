//! The secrets of many roles.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use aws::secret::Credentials;
use aws::{Stop, secret};
use sandbox::gateway::{Fault, FaultKind};
use serde_json::json;
use stack::{Event, Events};
use tests::{Fixture, Want};

/// Returns how often an operation was called.
fn calls(fixture: &Fixture, operation: &str) -> usize {
    fixture.cloud.gateway().journal().iter().filter(|call| call.operation == operation).count()
}

fn all_read(found: BTreeMap<String, Result<Credentials, aws::Error>>) -> BTreeMap<String, Credentials> {
    found.into_iter().map(|(name, one)| (name, one.expect("it can be read"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_secrets_are_read_twenty_at_a_call_and_none_is_told() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    let stack = &fixture.context.stack;
    let cloud = fixture.context.access.connect(stack).await.unwrap();
    let told = Arc::new(Mutex::new(Vec::<Event>::new()));
    let sink = Arc::clone(&told);
    let events = Events::new(move |event| sink.lock().unwrap().push(event));

    let roles: BTreeSet<String> = (0..45).map(|n| format!("role_{n:02}")).collect();
    let names: BTreeSet<String> = roles.iter().map(|role| stack.role_secret_name(role)).collect();
    assert!(secret::find_all(&cloud, stack, &BTreeSet::new(), &events).await.is_empty());
    let made = secret::ensure_all(&cloud, stack, &roles, &Stop::new(), &events).await;
    let failed: Vec<_> = made.values().filter_map(|made| made.as_ref().err()).collect();
    assert!(made.len() == 45 && failed.is_empty(), "{} of 45, {failed:?}", made.len());
    assert_eq!(calls(&fixture, "CreateSecret"), 45);
    let before = (calls(&fixture, "BatchGetSecretValue"), calls(&fixture, "GetSecretValue"));
    // One look at each that is not there, before it is made, and none into any.
    assert_eq!((before, calls(&fixture, "DescribeSecret")), ((0, 0), 45));
    let found = all_read(secret::find_all(&cloud, stack, &names, &events).await);
    // One list tells whose they all are.
    assert_eq!((calls(&fixture, "BatchGetSecretValue"), calls(&fixture, "GetSecretValue")), (3, 0));
    assert_eq!(calls(&fixture, "DescribeSecret"), 45);
    for role in &roles {
        assert_eq!(found[&stack.role_secret_name(role)], *made[role].as_ref().unwrap());
    }

    // A version that is not current is not taken for it, and what is being deleted is not there.
    let (rotated, gone) = (stack.role_secret_name("role_00"), stack.role_secret_name("role_44"));
    let pending = json!({ "SecretId": rotated, "SecretString": "{\"password\":\"next\"}",
        "VersionStages": ["AWSPENDING"], "ClientRequestToken": "c0ffee00-0000-4000-8000-000000000000" });
    fixture.raw().secrets("PutSecretValue", &pending).await;
    fixture.raw().secrets("DeleteSecret", &json!({ "SecretId": gone })).await;
    let again = all_read(secret::find_all(&cloud, stack, &names, &events).await);
    assert_eq!(again.len(), 44);
    assert_eq!(again[&rotated], found[&rotated]);

    // Whoever may not read them together reads them one by one.
    let refusal = Fault {
        service: None,
        operation: Some("BatchGetSecretValue".to_owned()),
        nth: 1,
        kind: FaultKind::refusal(),
    };
    fixture.cloud.gateway().inject(refusal);
    assert_eq!(all_read(secret::find_all(&cloud, stack, &names, &events).await), again);

    // One that cannot be read, and one that may not be, are each the others' no concern.
    let broken = stack.role_secret_name("role_01");
    let overwritten = json!({ "SecretId": broken, "SecretString": "hunter2",
        "ClientRequestToken": "c0ffee01-0000-4000-8000-000000000000" });
    fixture.raw().secrets("PutSecretValue", &overwritten).await;
    let some = secret::find_all(&cloud, stack, &names, &events).await;
    let refused: Vec<_> = some.iter().filter_map(|(name, one)| Some((name, one.as_ref().err()?))).collect();
    assert!(some.len() == 44 && refused.len() == 1 && *refused[0].0 == broken, "{refused:?}");
    assert!(matches!(refused[0].1, aws::Error::Secret { .. }), "{refused:?}");
    let made = secret::ensure_all(&cloud, stack, &roles, &Stop::new(), &events).await;
    assert!(made.iter().all(|(role, one)| one.is_err() == (role == "role_01")), "{made:?}");

    let told = format!("{:?}", told.lock().unwrap());
    assert!(told.contains("45 of 45 created") && told.contains("44 of 45 read"), "{told}");
    assert!(found.values().all(|found| !told.contains(found.password.expose())), "a secret is told");
    fixture.stop().await;
}
