//! What a tenant makes in `public` of the master's database must not be what the master calls.

use std::time::Duration;

use db::migrate::{self, JoinOptions, RunName, Target};
use db::migration::MigrationSet;
use db::{lock, tenant};
use stack::Events;

use super::{EVIL, EVIL_ROLE};
use crate::db::{Database, spec};

/// Functions that our queries call, with types that fit an unknown literal better than those of the server's own, and what
/// they return.
const FUNCTIONS: [(&str, &str, &str); 7] = [
    ("shobj_description(oid, text)", "text", "NULL::text"),
    ("acldefault(text, oid)", "aclitem[]", "'{}'::aclitem[]"),
    ("pg_has_role(text, text)", "bool", "false"),
    ("format(text, text, name, int4)", "text", "'nobody'::text"),
    ("convert_to(text, text)", "bytea", "'forged'::bytea"),
    (
        "jsonb_build_object(text, jsonb, text, jsonb)",
        "jsonb",
        "pg_catalog.jsonb_build_object($1, $2, $3, $4)",
    ),
    ("jsonb_build_array(text, text)", "jsonb", "pg_catalog.jsonb_build_array($1, $2)"),
];
/// Types for which text is put together with something by an operator for any type.
const OPERATORS: [(&str, &str); 2] = [("text", "int8"), ("text", "int4")];

/// Returns what makes a trap of everything: whoever calls it as the master gives the tenant the master's rights.
pub(super) fn traps(role: &str) -> String {
    let mut sql = format!(
        "CREATE TABLE public.caught (who text, what text);
         GRANT ALL ON public.caught TO PUBLIC;
         CREATE FUNCTION public.spring(what text) RETURNS void LANGUAGE plpgsql AS $f$
         BEGIN
             IF current_user <> '{role}' THEN
                 BEGIN
                     EXECUTE 'ALTER ROLE {role} CREATEROLE CREATEDB';
                 EXCEPTION WHEN OTHERS THEN NULL;
                 END;
                 BEGIN
                     EXECUTE format('INSERT INTO public.caught VALUES (%L, %L)', current_user::text, what);
                 EXCEPTION WHEN OTHERS THEN NULL;
                 END;
             END IF;
         END $f$;",
    );
    for (signature, returns, value) in FUNCTIONS {
        sql.push_str(&format!(
            "CREATE FUNCTION public.{signature} RETURNS {returns} LANGUAGE plpgsql AS $f$
             BEGIN PERFORM public.spring('{signature}'); RETURN {value}; END $f$;"
        ));
    }
    for (left, right) in OPERATORS {
        sql.push_str(&format!(
            "CREATE FUNCTION public.trap({left}, {right}) RETURNS text LANGUAGE plpgsql AS $f$
             BEGIN PERFORM public.spring('{left} || {right}'); RETURN 'forged'; END $f$;
             CREATE OPERATOR public.|| (FUNCTION = public.trap, LEFTARG = {left}, RIGHTARG = {right});"
        ));
    }
    sql
}

/// What was caught since, as roles and what they called.
pub(super) const CAUGHT: &str = "SELECT DISTINCT who || ' called ' || what FROM public.caught ORDER BY 1";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_tenant_makes_in_the_masters_database_runs_as_the_master() {
    let db = Database::start_upgraded().await;
    db.as_evil("postgres", &traps(EVIL_ROLE)).await;
    let before = db.rights().await;
    let events = Events::none();

    // Whoever waits for a lock looks who holds it.
    let (holder, waiter) = (db.connect(&db.admin).await, db.master().await);
    lock::acquire(&holder, lock::RELEASE, "test", Duration::ZERO, &events).await.unwrap();
    lock::acquire(&waiter, lock::RELEASE, "test", Duration::ZERO, &events).await.unwrap_err();
    lock::find_holder(&waiter, lock::RELEASE).await.unwrap().unwrap();
    waiter.close().await;
    holder.close().await;

    tenant::list(&db.server, &db.admin).await.unwrap();
    db::disk::find_usage(&db.server, &db.admin).await.unwrap();
    let logins = [spec("shop").login(), spec(EVIL).login()];
    let targets = Target::all(&logins, MigrationSet::flat(crate::db::shipped()));
    let run = RunName::parse("r").unwrap();
    let options = JoinOptions::default();
    migrate::join(&db.server, &db.admin, &run, &targets, &options, &events).await.unwrap();
    // One that nobody has brought to its end is given up.
    db.as_master("UPDATE drawbridge.run_tenant SET state = 'todo', attempts = 9, report = NULL").await;
    migrate::join(&db.server, &db.admin, &run, &targets, &options, &events).await.unwrap();
    migrate::find_jobs(&db.server, &db.admin).await.unwrap();
    for name in ["shop", EVIL] {
        db.verify_one(name).await;
        tenant::survey(&db.server, &db.admin, name).await.unwrap();
    }
    db.create(&[spec("shop"), spec(EVIL)]).await;
    // Somebody is connected, so that it is asked who.
    let user = db.connect(&spec("shop").login()).await;
    let survey = tenant::survey(&db.server, &db.admin, "shop").await.unwrap();
    user.close().await;
    db.drop_honest("shop").await;

    let caught = db.names(&db.admin, CAUGHT).await;
    let after = db.rights().await;
    let gained: Vec<&String> =
        after.iter().filter(|one| one.starts_with(EVIL_ROLE) && !before.contains(one)).collect();
    assert!(caught.is_empty() && gained.is_empty(), "{caught:#?} gave {gained:?}");
    assert!(survey.sessions.iter().all(|one| one.contains("`shop_app`")), "{survey:?}");
    db.stop().await;
}
