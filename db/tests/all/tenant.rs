use db::tenant::check;
use db::{Error, Login, TenantSpec, role};
use stack::Secret;

fn admin() -> Login {
    Login { user: "master".to_owned(), password: Secret::new("m"), database: "postgres".to_owned() }
}

fn tenant(name: &str, owner: &str, password: &str) -> TenantSpec {
    TenantSpec::new(name, owner, Secret::new(password))
}

#[test]
fn tenants_of_their_own_and_tenants_that_share_a_role_are_accepted() {
    check(&[tenant("a", "a_app", "1"), tenant("b", "b_app", "2")], &admin()).unwrap();
    check(&[tenant("a", "app", "1"), tenant("b", "app", "1")], &admin()).unwrap();
}

#[test]
fn tenants_that_contradict_each_other_are_refused() {
    for (tenants, reason) in [
        (vec![tenant("a", "x", "1"), tenant("a", "y", "2")], "twice"),
        (vec![tenant("a", "app", "1"), tenant("b", "app", "2")], "another password"),
        (vec![tenant("a", "master", "1")], "the master"),
        (vec![tenant("a", "app", "")], "empty"),
    ] {
        let error = check(&tenants, &admin()).unwrap_err();
        assert!(matches!(error, Error::Spec { .. }) && error.is_usage(), "{error:?}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn a_verifier_is_scram_has_a_salt_of_its_own_and_no_password() {
    let password = Secret::new("correct horse");
    let (one, two) = (role::verifier(&password), role::verifier(&password));
    assert!(one.starts_with("SCRAM-SHA-256$4096:"), "{one}");
    assert_ne!(one, two);
    assert!(!one.contains("correct horse"));
}

#[test]
fn a_password_is_never_in_debug_output() {
    let text = format!("{:?} {:?}", tenant("a", "app", "hunter2"), tenant("a", "app", "hunter2").login());
    assert!(!text.contains("hunter2"), "{text}");
}
