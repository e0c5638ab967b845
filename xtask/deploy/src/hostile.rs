//! What tenants, agents and services may write, through every event and result, into everything that is written for people.

use std::sync::Arc;
use std::time::Duration;

use aws::bastion::Connected;
use db::migrate::{Applied, Divergence, Outcome, TenantPlan, TenantReport, Withheld};
use db::migration::lint;
use db::tenant::{Check, Created, Verdict, Verification};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::Value;
use stack::diagnosis::{self, Diagnosis, Link};
use stack::inventory::{Agent, Direction, Holder, Instance, Lock, Peer, Rule, SecretEntry, SecurityGroup};
use stack::receipt::{Audit, Blocker, Evidence, Gone, Head, Kept, Left, Receipt, Unseen};
use stack::{Event, Inventory, Stack};

use crate::failure::{Exit, Failure};
use crate::report::matrix::{Matrix, Seen};
use crate::report::page::tests::tags;
use crate::report::release::Release;
use crate::report::resources::Resources;
use crate::report::status::Status;
use crate::report::{self, html, junit};
use crate::running::Running;
use crate::task::{audit, doctor, down, lint as lint_task, matrix, plan, status, sweep};
use crate::text::Text;
use crate::view::{Detail, View};
use crate::{power, table};

/// What each of it does where it is not expected.
const PIECES: &[&str] = &[
    "\u{1b}[2J",
    "\u{1b}]52;c;ZXZpbA==\u{7}",
    "\u{1b}]8;;http://evil\u{1b}\\x",
    "\u{9b}31m",
    "\u{9d}0;x\u{9c}",
    "\u{8}\u{7f}\0",
    "\u{202e}gpj",
    "\u{2066}a\u{2069}",
    "\u{200b}\u{200d}\u{feff}",
    "\u{2028}\u{2029}\u{85}",
    "\u{e0001}\u{ad}",
    "\nhint: forged",
    "\r\nerror: forged",
    "\rwarning: forged",
    "hint: forged",
    "error: forged",
    "\nstill running: forged",
    "\n::error::forged",
    "::add-mask::forged",
    " \t::stop-commands::x",
    "\u{a0}::error::forged",
    "##[error]forged",
    "##vso[task.x]forged",
    "##teamcity[x]",
    "%0A::error::forged",
    "<script>alert(1)</script>",
    "</td></table>",
    "]]>",
    "-->",
    "<!--",
    "&lt;",
    "\"'>",
    "`",
    "```\n",
    "|",
    "\n| a | b |",
    "\\|",
    "\\",
    "[x](http://evil)",
    "![x](http://evil)",
    "# x",
    "{}",
    "{0}",
    "%s",
    "$(id)",
    "'; id; '",
    " ",
    "ordinary",
    "größe",
    "表",
    "\u{308}",
    "\u{1f600}",
];

fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(PIECES).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => "[a-z ]{0,12}",
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// Tells which character does something where it is shown, if one does.
fn acting(text: &str) -> Option<char> {
    text.chars().find(|c| {
        (c.is_control() && *c != '\n')
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
            || matches!(c, '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
    })
}

/// Tells why a text is no text of ours; nothing if it is.
fn complaint(text: &str) -> Option<String> {
    if let Some(c) = acting(text) {
        return Some(format!("{c:?} in {text:?}"));
    }
    let is_ours = |line: &&str| {
        let commands = ["##[", "##vso[", "##teamcity["];
        let forged = ["hint: forged", "error: forged", "warning: forged", "still running: forged"];
        !line.trim_start().starts_with("::")
            && !commands.iter().any(|command| line.contains(command))
            && !forged.iter().any(|forged| line.starts_with(forged))
    };
    text.lines().find(|line| !is_ours(line)).map(|line| format!("the line {line:?} of {text:?}"))
}

fn is_text(text: &str) -> Result<(), TestCaseError> {
    complaint(text).map_or(Ok(()), |complaint| Err(TestCaseError::fail(complaint)))
}

/// The text is one for people, and the document is JSON that says what it says.
fn is_result(text: &Text, document: &impl serde::Serialize) -> Result<(), TestCaseError> {
    is_text(text)?;
    for written in [Text::json(document).to_string(), report::json(document)] {
        is_text(&written)?;
        let read: Value =
            serde_json::from_str(&written).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let said: Value = serde_json::from_str(&crate::program::called_json(document)).unwrap();
        prop_assert_eq!(read, said);
    }
    Ok(())
}

/// The page holds no tag but its own.
fn is_page(page: &str) -> Result<(), TestCaseError> {
    prop_assert_eq!(acting(page), None, "{}", page);
    let known = [
        "!DOCTYPE", "html", "head", "meta", "title", "style", "body", "header", "h1", "h2", "p", "b", "i",
        "ul", "li", "div", "table", "thead", "tbody", "tr", "th", "td", "span", "input", "label", "button",
        "small", "script", "br", "ol", "section",
    ];
    let all = tags(page);
    for tag in &all {
        prop_assert!(known.contains(&tag.trim_start_matches('/').trim_end_matches('/')), "<{}>", tag);
    }
    prop_assert!(all.iter().filter(|tag| *tag == "script").count() <= 1);
    Ok(())
}

fn stack() -> Stack {
    stack::config::parse("project = \"a\"\nenvironment = \"b\"\nregion = \"us-east-1\"\n", "x").unwrap()
}

/// Each event that there is, with that text wherever it has one.
fn events(text: &str) -> Vec<Event> {
    let (text, elapsed) = (text.to_owned(), Duration::from_secs(1));
    let all = vec![
        Event::PhaseStarted { name: text.clone() },
        Event::PhaseFinished { name: text.clone(), elapsed },
        Event::StepStarted { subject: text.clone(), verb: text.clone() },
        Event::StepWaiting { subject: text.clone(), status: text.clone() },
        Event::StepFinished { subject: text.clone(), outcome: text.clone(), elapsed },
        Event::StepFailed { subject: text.clone(), error: text.clone() },
        Event::Traffic {
            subject: text.clone(),
            sessions: 1,
            resuming: 0,
            streams: 1,
            bytes_sent: 1,
            bytes_received: 1,
            unread_bytes: 0,
            round_trip: elapsed,
        },
        Event::Detail { text: text.clone() },
        Event::Note { text: text.clone() },
        Event::Warning { text },
    ];
    // Whoever adds an event adds it here as well: it does not compile otherwise.
    let place = |event: &Event| match event {
        Event::PhaseStarted { .. } => 0,
        Event::PhaseFinished { .. } => 1,
        Event::StepStarted { .. } => 2,
        Event::StepWaiting { .. } => 3,
        Event::StepFinished { .. } => 4,
        Event::StepFailed { .. } => 5,
        Event::Traffic { .. } => 6,
        Event::Detail { .. } => 7,
        Event::Note { .. } => 8,
        Event::Warning { .. } => 9,
    };
    assert!(all.iter().map(place).eq(0..10));
    all
}

fn error(text: &str) -> db::Error {
    db::Error::Diverged { tenant: text.to_owned(), problems: vec![text.to_owned(), text.to_owned()] }
}

fn reports(text: &str) -> Vec<TenantReport> {
    let some = vec![text.to_owned()];
    let outcomes = [
        Outcome::UpToDate,
        Outcome::Applied { migrations: some.clone() },
        Outcome::Failed { applied: some.clone(), migration: Some(text.to_owned()), error: error(text) },
        Outcome::Interrupted { applied: some, state: text.to_owned() },
        Outcome::NotStarted { reason: Withheld::ErrorBudget },
    ];
    let report =
        |outcome| TenantReport { tenant: "tenant".to_owned(), outcome, elapsed: Duration::from_secs(1) };
    outcomes.into_iter().map(report).collect()
}

fn seen(text: &str) -> Vec<Seen> {
    let one = || text.to_owned();
    let plan = TenantPlan {
        tenant: one(),
        applied: vec![Applied { version: 1, name: one(), applied_on: one() }],
        pending: vec![one()],
        divergent: vec![Divergence { version: 1, applied: one(), file: one() }],
        missing: vec![one()],
        late: vec![one()],
    };
    let of = |plan| Seen {
        tenant: "tenant".to_owned(),
        labels: vec![one()],
        set: Some(one()),
        plan,
        extensions: Vec::new(),
        drift: vec![one()],
    };
    vec![of(Ok(plan)), of(Err(one())), of(Err(one()))]
}

fn audit_of(text: &str) -> Audit {
    let one = || text.to_owned();
    let blocker = Blocker { kind: one(), id: one(), owner: Some(one()), detail: one(), command: one() };
    Audit {
        left: vec![Left {
            kind: "part".to_owned(),
            id: one(),
            why: one(),
            blockers: vec![blocker],
            command: Some(one()),
        }],
        unseen: vec![Unseen { what: "part".to_owned(), call: one(), why: one() }],
    }
}

fn receipt(text: &str) -> Receipt {
    let one = || text.to_owned();
    let head = Head { stack: one(), account: one(), region: one(), began_at: one(), ended_at: one() };
    let Audit { left, unseen } = audit_of(text);
    let evidence = Evidence {
        gone: vec![Gone { kind: one(), id: one(), at: one(), call: one(), answer: one() }],
        kept: vec![Kept { kind: one(), id: one(), why: one(), command: one() }],
        left,
        unseen,
    };
    let plan = stack::plan::down(&stack(), &Inventory::default(), &[]);
    Receipt::new(head, &plan, evidence, Audit::default())
}

fn inventory(text: &str) -> Inventory {
    let one = || text.to_owned();
    let rule = Rule {
        direction: Direction::Ingress,
        protocol: one(),
        ports: None,
        peer: Peer::Cidr(one()),
        description: Some(one()),
    };
    let group = SecurityGroup {
        id: one(),
        vpc: one(),
        name: one(),
        resource: "database-group".to_owned(),
        rules: vec![rule],
    };
    let instance = Instance {
        id: one(),
        state: "running".to_owned(),
        instance_type: one(),
        subnet: Some(one()),
        public_ip: Some(one()),
        profile_arn: Some(one()),
        groups: vec![one()],
        launched_at: Some(one()),
        rebooted_at: None,
        volume_gib: None,
        keep_until: Some(one()),
        expires_at: Some(one()),
        reads_tags: true,
    };
    let secret = SecretEntry {
        name: stack().master_secret_name(),
        arn: one(),
        scheduled_for_deletion: true,
        tagged: true,
        owner: Some(one()),
        resource: one(),
        created_at: Some(one()),
    };
    let holder =
        Holder { task: one(), by: one(), process: 1, program: one(), token: one(), displaced: Vec::new() };
    Inventory {
        groups: vec![group],
        instances: vec![instance],
        secrets: vec![secret],
        agent: Some(Agent { instance: one(), ping_status: one(), version: Some(one()) }),
        locks: vec![Lock { name: one(), number: 1, holder: Some(holder), version: 1 }],
        log_groups: vec![one()],
        ..Inventory::default()
    }
}

fn diagnosis_of(text: &str) -> Diagnosis {
    let link = |verdict| Link {
        name: "agent",
        verdict,
        cause: None,
        sentence: format!("the agent: {text}"),
        evidence: text.to_owned(),
        command: Some(text.to_owned()),
    };
    use diagnosis::Verdict as V;
    Diagnosis { links: [V::Pass, V::Fail, V::Unknown, V::Skipped].map(link).to_vec() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_event_is_lines_of_ours(text in hostile()) {
        for event in events(&text) {
            for detail in [Detail::Quiet, Detail::Normal, Detail::Verbose] {
                if let Some(text) = View::plain(detail).text_of(&event) {
                    is_text(&text)?;
                }
            }
            is_result(&Text::new(), &event)?;
        }
    }

    #[test]
    fn a_bar_is_one_line(text in hostile()) {
        let bar = crate::screen::bar(&text);
        is_text(&bar)?;
        prop_assert!(!bar.contains('\n'));
    }

    #[test]
    fn every_failure_is_lines_of_ours(text in hostile()) {
        let chain = anyhow::Error::new(error(&text)).context(text.clone()).context("cannot do it");
        let failure = Failure::new(Exit::Failure, chain)
            .hint(text.clone())
            .still_running([Running::Still(text.clone())]);
        let shown = failure.text();
        is_result(&shown, &failure.render_json())?;
        prop_assert_eq!(shown.lines().filter(|line| line.starts_with("error:")).count(), 1);
        prop_assert_eq!(shown.lines().filter(|line| line.starts_with("hint:")).count(), 1);
        prop_assert_eq!(shown.lines().filter(|line| line.starts_with("  caused by:")).count(), 2);
    }

    #[test]
    fn every_table_has_as_many_lines_as_rows(text in hostile()) {
        let rows = vec![vec![text.clone(), text.clone(), text.clone()]; 3];
        let shown = table::render(&["one", "two", ""], &rows);
        is_text(&shown)?;
        prop_assert_eq!(shown.split('\n').count(), 4);
    }

    #[test]
    fn every_result_about_tenants_is_text_json_and_a_page(text in hostile()) {
        let reports = reports(&text);
        for report in &reports {
            is_result(&Text::of(report::outcome(&report.outcome)), report)?;
        }
        let xml = junit::junit_joined(&reports, &[Some(text.clone()), Some(text.clone())], Duration::ZERO);
        prop_assert_eq!(acting(&xml), None, "{}", xml);
        let parsed = roxmltree::Document::parse(&xml).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(parsed.descendants().filter(|node| node.has_tag_name("testcase")).count(), 5);

        let sets = [Arc::new(db::migration::MigrationSet::flat(report::matrix::tests::files(2)))];
        let matrix = Matrix::new(&text, text.clone(), &sets, seen(&text));
        is_result(&matrix::render(&matrix), &matrix)?;
        is_page(&html::html(&matrix))?;
    }

    #[test]
    fn a_release_is_text_json_and_markdown(text in hostile()) {
        let mut release = Release { stack: "shop".to_owned(), exit: 7, error: Some(text.clone()), ..Release::default() };
        release.on_migrated(&reports(&text));
        let outcome = db::tenant::Outcome::Failed(error(&text));
        release.on_created(&[Created { tenant: "tenant".to_owned(), outcome, findings: vec![text.clone()] }]);
        let check = Check { name: "owner", verdict: Verdict::Fail, evidence: text.clone() };
        release.on_verified(&[Verification { tenant: "tenant".to_owned(), checks: vec![check] }]);
        is_result(&release.text(), &release)?;
        let markdown = release.markdown();
        is_text(&markdown)?;
        prop_assert!(!markdown.contains(['<', '[', '!', '\\', '$', '@']), "{}", markdown);
        prop_assert_eq!(markdown.matches('`').count(), 2, "{}", markdown);
        let rows: Vec<&str> = markdown.lines().filter(|line| line.contains('|')).collect();
        prop_assert_eq!(rows.len(), 2 + release.text().split('\n').count() - 4, "{}", markdown);
        prop_assert!(rows.iter().all(|row| row.matches('|').count() == 4), "{}", markdown);
    }

    #[test]
    fn every_result_about_the_stack_is_text_json_and_a_page(text in hostile()) {
        let (stack, inventory, now) = (stack(), inventory(&text), Timestamp::UNIX_EPOCH);
        let shown = Status::new(&stack, &text, inventory.clone(), now);
        is_result(&status::render(&shown), &shown)?;
        is_page(&shown.html())?;
        let shown = Resources::new(&stack, &text, &inventory, now);
        is_result(&shown.render(), &shown)?;
        is_page(&shown.html())?;
        for plan in [stack::plan::up(&stack, &inventory, &[]), stack::plan::down(&stack, &inventory, &[])] {
            is_result(&plan::render(&stack, &inventory, &plan), &plan::document(&stack, &inventory, &plan))?;
        }
        let shown = diagnosis_of(&text);
        is_result(&doctor::render(&shown), &shown)?;
        let shown = audit_of(&text);
        is_result(&audit::render(&shown), &shown)?;
        let shown = receipt(&text);
        is_result(&down::render(&shown), &shown)?;
        let shown = [Connected { session_id: text.clone(), owner: text.clone(), since: Some(text.clone()) }];
        is_result(&power::render(&shown), &shown)?;
        let (id, expires_at) = (text.clone(), text.clone());
        let shown = [aws::bastion::Ephemeral { id, stack: text.clone(), state: text.clone(), expires_at }];
        is_result(&sweep::list(&shown.iter().collect::<Vec<_>>(), &[], &[]), &shown)?;
    }

    #[test]
    fn every_finding_of_a_file_is_text_and_json(text in hostile()) {
        let shown = [lint::Finding {
            rule: text.clone(),
            severity: lint::Severity::Error,
            file: text.clone(),
            line: 1,
            effect: text.clone(),
            instead: text.clone(),
        }];
        is_result(&lint_task::render(&shown, 1), &shown)?;
    }
}
