//! What only the catalogs of a tenant's own database show: extensions, grants and owners.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde::Serialize;

use crate::quote::{self, ident};
use crate::verify::{Check, Verdict};
use crate::{ConnectOptions, Error, Login, Server, Session, connect};

/// How many objects are named; more are counted.
const OBJECTS: usize = 3;

/// What is in a tenant's database, as its owner sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CatalogReport {
    /// The extensions, by name.
    pub extensions: Vec<Extension>,
    /// Whether every role that gets in may create objects in the schema `public`.
    pub public_can_create: bool,
    /// Schemas, relations and functions of other roles, with the statement that gives them to the owner.
    pub foreign: Vec<Foreign>,
}

/// An extension that is installed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Extension {
    /// Its name: `pg_trgm`.
    pub name: String,
    /// Its version: `1.6`.
    pub version: String,
}

/// An object that another role owns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Foreign {
    /// What it is: `TABLE public.orders`.
    pub object: String,
    /// Whose it is.
    pub owner: String,
}

impl CatalogReport {
    /// Returns whether the grants and owners are as they should be, with the command that mends what is not.
    pub fn checks(&self, tenant: &str, owner: &str) -> Vec<Check> {
        const SCHEMA: &str = "schema public closed to PUBLIC";
        const OWNERS: &str = "objects belong to the owner";
        let schema = match self.public_can_create {
            false => check(SCHEMA, Verdict::Pass, "PUBLIC may create nothing in it".to_owned()),
            true => {
                let sql = "REVOKE CREATE ON SCHEMA public FROM PUBLIC";
                let command = ["cargo", "xtask", "psql", tenant, "--", "-c", sql];
                let evidence =
                    format!("PUBLIC has CREATE; {}", quote::advice(&command, "take it from PUBLIC"));
                check(SCHEMA, Verdict::Fail, evidence)
            }
        };
        let owners = match self.foreign.first() {
            None => check(OWNERS, Verdict::Pass, format!("all are `{owner}`'s")),
            Some(first) => {
                let shown = self.foreign.iter().take(OBJECTS);
                let shown: Vec<String> =
                    shown.map(|one| format!("{} is `{}`'s", one.object, one.owner)).collect();
                let more = self.foreign.len().saturating_sub(OBJECTS);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                // Only a member of both roles may do that, which the master can become.
                let (from, to) = (ident(&first.owner), ident(owner));
                let join = format!("GRANT {from}, {to} TO CURRENT_USER");
                let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
                let quoted = if tenant.chars().all(is_plain) { tenant.to_owned() } else { ident(tenant) };
                let go = format!("\\c {quoted}");
                let alter = format!("ALTER {} OWNER TO {to}", first.object);
                let leave = format!("REVOKE {from}, {to} FROM CURRENT_USER");
                let command =
                    ["cargo", "xtask", "psql", "--", "-c", &join, "-c", &go, "-c", &alter, "-c", &leave];
                let advice = quote::advice(&command, "give it to the owner");
                check(OWNERS, Verdict::Fail, format!("{}{more}; {advice}", shown.join(", ")))
            }
        };
        vec![schema, owners]
    }
}

fn check(name: &'static str, verdict: Verdict, evidence: String) -> Check {
    Check { name, verdict, evidence }
}

/// The limit for one database: one with a million objects must not hold up the others.
const LOOK_LIMIT: Duration = Duration::from_secs(10);

/// Returns how to connect to a tenant's database to look at it.
pub(crate) fn look_options() -> ConnectOptions {
    ConnectOptions { statement_timeout: Some(LOOK_LIMIT), ..ConnectOptions::default() }
}

/// Looks into each of these databases, so many at a time; returns what is in them in their order.
pub async fn read_catalogs(
    server: &Server,
    logins: &[Login],
    jobs: usize,
) -> Vec<Result<CatalogReport, Error>> {
    let looks = logins.iter().map(|login| {
        Box::pin(async move {
            let session = connect(server, login, &look_options()).await?;
            let inside = read_catalog(&session).await;
            session.close().await;
            inside
        })
    });
    stream::iter(looks.collect::<Vec<_>>()).buffered(jobs.max(1)).collect().await
}

/// Looks into the session's database, in one round trip.
pub(crate) async fn read_catalog(session: &Session) -> Result<CatalogReport, Error> {
    // What an extension brought belongs to whoever installed it; schemas of the server's own begin with `pg_`.
    const SQL: &str = "
        WITH me AS (SELECT datdba AS oid FROM pg_database WHERE datname = current_database()),
        place AS (SELECT oid, nspname, nspowner FROM pg_namespace
                  WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'),
        object AS (
            SELECT 'pg_namespace'::regclass AS class, p.oid, p.nspowner AS owner,
                   format('SCHEMA %I', p.nspname) AS name FROM place p WHERE p.nspname <> 'public'
            UNION ALL
            SELECT 'pg_class'::regclass, c.oid, c.relowner, format('%s %I.%I',
                   CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
                                  WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, p.nspname, c.relname)
            FROM pg_class c JOIN place p ON p.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
            UNION ALL
            SELECT 'pg_proc'::regclass, f.oid, f.proowner, format('ROUTINE %I.%I(%s)',
                   p.nspname, f.proname, pg_get_function_identity_arguments(f.oid))
            FROM pg_proc f JOIN place p ON p.oid = f.pronamespace)
        SELECT ARRAY(SELECT extname::text FROM pg_extension ORDER BY extname),
               ARRAY(SELECT extversion FROM pg_extension ORDER BY extname),
               EXISTS (SELECT FROM place p, aclexplode(coalesce(
                           (SELECT nspacl FROM pg_namespace n WHERE n.oid = p.oid), acldefault('n', p.nspowner))) a
                       WHERE p.nspname = 'public' AND a.grantee = 0 AND a.privilege_type = 'CREATE'),
               f.names, f.owners
        FROM (SELECT coalesce((array_agg(o.name ORDER BY o.name))[1:1000], '{}') AS names,
                     coalesce((array_agg(r.rolname::text ORDER BY o.name))[1:1000], '{}') AS owners
              FROM object o JOIN pg_roles r ON r.oid = o.owner, me
              WHERE o.owner <> me.oid AND NOT EXISTS (
                  SELECT FROM pg_depend d WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype = 'e')) f";
    let rows = session.query(SQL, &[], "look into the database").await?;
    let Some(row) = rows.first() else { return Ok(CatalogReport::default()) };
    let pairs = |first: usize, second: usize| {
        let (names, values): (Vec<String>, Vec<String>) = (row.get(first), row.get(second));
        names.into_iter().zip(values)
    };
    Ok(CatalogReport {
        extensions: pairs(0, 1).map(|(name, version)| Extension { name, version }).collect(),
        public_can_create: row.get(2),
        foreign: pairs(3, 4).map(|(object, owner)| Foreign { object, owner }).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(object: &str, owner: &str) -> String {
        let foreign = vec![Foreign { object: object.to_owned(), owner: owner.to_owned() }];
        let inside = CatalogReport { foreign, ..CatalogReport::default() };
        inside.checks("shop", "shop_owner").pop().unwrap().evidence
    }

    #[test]
    fn the_command_for_an_object_of_somebody_elses_runs_nothing_of_its_name() {
        let told = evidence("SCHEMA plain", "other");
        assert!(
            told.ends_with(
                "run `cargo xtask psql -- -c 'GRANT \"other\", \"shop_owner\" TO CURRENT_USER' -c \"\\\\c shop\" \
                 -c 'ALTER SCHEMA plain OWNER TO \"shop_owner\"' \
                 -c 'REVOKE \"other\", \"shop_owner\" FROM CURRENT_USER'`"
            ),
            "{told}"
        );
        let told = evidence("SCHEMA \"x'; id>/tmp/forged; echo '\"", "a'b");
        let (_, command) = told.split_once("run `").unwrap();
        let words = shlex::split(command.trim_end_matches('`')).unwrap();
        assert_eq!(
            words[9], "ALTER SCHEMA \"x'; id>/tmp/forged; echo '\" OWNER TO \"shop_owner\"",
            "{words:?}"
        );
        assert_eq!(words.len(), 12, "{words:?}");
        let told = evidence("SCHEMA \"a\nhint: b\"", "other");
        assert!(!told.contains("run `"), "{told}");
    }
}
