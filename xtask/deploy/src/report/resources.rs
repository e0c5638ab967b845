//! Every resource of a stack by its id, and how to get to it.

use jiff::Timestamp;
use serde::Serialize;
use stack::{Entry, Inventory, Resource, Stack, plan, resource_entry};

use super::escape;
use super::page::{Line, Page, table};
use crate::text::{Text, put_line};

const STYLE: &str = include_str!("steps.css");

/// What `resources` shows.
#[derive(Debug, Serialize)]
pub struct Resources {
    /// The stack.
    pub stack: String,
    /// The account that it is in.
    pub account: String,
    /// The region that it is in.
    pub region: String,
    /// When AWS was asked, RFC 3339.
    pub observed_at: String,
    /// What exists, in the order of the stack's steps.
    pub resources: Vec<Aged>,
    /// The steps whose things do not exist.
    pub absent: Vec<Resource>,
    /// How to get there; nothing if there is nothing to get to.
    pub connect: Option<Connect>,
}

/// A resource, and how old it is.
#[derive(Debug, Serialize)]
pub struct Aged {
    /// The resource.
    #[serde(flatten)]
    pub entry: Entry,
    /// How long it exists, or of an instance, runs, in seconds; where AWS tells.
    pub age_seconds: Option<u64>,
}

/// How to get to the database and the bastion without the console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Connect {
    /// The database's host and port, which the bastion alone reaches.
    pub endpoint: String,
    /// For people.
    pub psql: &'static str,
    /// For other programs.
    pub tunnel: &'static str,
    /// The bastion itself.
    pub shell: &'static str,
    /// With AWS's own CLI and its plugin, where this program is not.
    pub aws_cli: String,
}

impl Connect {
    /// Returns the commands, if there are a bastion and a database that serves.
    pub fn find(stack: &Stack, inventory: &Inventory) -> Option<Connect> {
        let database = inventory.database.as_ref().filter(|database| plan::serves(&database.status))?;
        let ((host, port), bastion) = (database.endpoint.as_ref()?, inventory.bastion()?);
        Some(Connect {
            endpoint: format!("{host}:{port}"),
            psql: "cargo xtask psql [TENANT]",
            tunnel: "cargo xtask tunnel",
            shell: "cargo xtask bastion shell",
            aws_cli: format!(
                "aws ssm start-session --region {} --target {} --document-name \
                 AWS-StartPortForwardingSessionToRemoteHost --parameters \
                 host={host},portNumber={port},localPortNumber={port}",
                stack.region, bastion.id
            ),
        })
    }

    /// Returns the ways, each with what it is for.
    pub fn ways(&self) -> [(&'static str, &str); 5] {
        [
            ("endpoint", &self.endpoint),
            ("psql", self.psql),
            ("other programs", self.tunnel),
            ("the bastion", self.shell),
            ("AWS's CLI", &self.aws_cli),
        ]
    }
}

impl Resources {
    /// Returns what an account has of a stack.
    pub fn new(stack: &Stack, account: &str, inventory: &Inventory, now: Timestamp) -> Resources {
        let aged = |entry: Entry| {
            let since: Option<Timestamp> = entry.since.as_deref().and_then(|since| since.parse().ok());
            // A clock that is behind AWS's makes nothing older than new.
            let age = since.map(|since| now.duration_since(since).as_secs().max(0).unsigned_abs());
            Aged { entry, age_seconds: age }
        };
        Resources {
            stack: stack.name.clone(),
            account: account.to_owned(),
            region: stack.region.clone(),
            observed_at: now.to_string(),
            resources: resource_entry::entries(stack, inventory).into_iter().map(aged).collect(),
            absent: resource_entry::absent(stack, inventory),
            connect: Connect::find(stack, inventory),
        }
    }

    /// Renders it for people.
    pub fn render(&self) -> Text {
        let rows: Vec<Vec<String>> = self
            .resources
            .iter()
            .map(|Aged { entry, age_seconds }| {
                let last: Vec<&str> =
                    [entry.detail.as_str(), entry.arn.as_deref().unwrap_or_default()].to_vec();
                let last: Vec<&str> = last.into_iter().filter(|part| !part.is_empty()).collect();
                let cells = [
                    entry.step.title(),
                    entry.kind,
                    &entry.id,
                    entry.state.as_deref().unwrap_or("-"),
                    &age_seconds.map_or_else(|| "-".to_owned(), age),
                    &last.join("; "),
                ];
                cells.map(str::to_owned).to_vec()
            })
            .collect();
        let mut text = crate::table::render(&["step", "kind", "id", "state", "age", ""], &rows);
        text.blank();
        put_line!(text, "{} resources", self.resources.len());
        if !self.absent.is_empty() {
            put_line!(text, "not there: {}; `cargo xtask status` says what to do", self.absent());
        }
        if let Some(connect) = &self.connect {
            let ways: Vec<Vec<String>> = connect
                .ways()
                .iter()
                .map(|(what, how)| vec![(*what).to_owned(), (*how).to_owned()])
                .collect();
            text.blank();
            text.add(&crate::table::render(&["connect", ""], &ways));
        }
        text
    }

    /// Renders it as a page that needs nothing else.
    pub fn html(&self) -> String {
        let place = format!(
            "<p>{} resources in account {}, {}, seen {}</p>\n",
            self.resources.len(),
            escape(&self.account),
            escape(&self.region),
            escape(&self.observed_at)
        );
        let absent = match self.absent.is_empty() {
            true => String::new(),
            false => format!("<p class=\"verdict bad\">not there: {}</p>\n", escape(&self.absent())),
        };
        let ages: Vec<String> =
            self.resources.iter().map(|one| one.age_seconds.map(age).unwrap_or_default()).collect();
        let lines = self.resources.iter().zip(&ages).map(|(Aged { entry, .. }, age)| Line {
            class: "",
            cells: vec![
                entry.step.title(),
                entry.kind,
                &entry.id,
                entry.state.as_deref().unwrap_or_default(),
                age,
                entry.since.as_deref().unwrap_or_default(),
                &entry.detail,
                entry.arn.as_deref().unwrap_or_default(),
            ],
        });
        let head = ["step", "kind", "id", "state", "age", "since", "", "ARN"];
        let mut body = table("Resources", &head, lines);
        body.push_str(&connect(self.connect.as_ref()));
        let title = format!("{}: resources", self.stack);
        let header = place + &absent;
        Page { title: &title, style: STYLE, script: None, header: &header, body: &body }.render()
    }

    fn absent(&self) -> String {
        self.absent.iter().map(|step| step.title()).collect::<Vec<_>>().join(", ")
    }
}

/// Returns the ways to get there as a table.
pub(crate) fn connect(connect: Option<&Connect>) -> String {
    let ways = connect.map(Connect::ways);
    let lines = ways.iter().flatten().map(|(what, how)| Line { class: "", cells: vec![what, how] });
    table("Connect", &["what", "how"], lines)
}

/// Renders an age in its two largest units.
fn age(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min"),
        3600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_its_two_largest_units() {
        let told: Vec<String> = [0, 59, 60, 3599, 3660, 86_399, 86_400, 31_536_000].map(age).to_vec();
        assert_eq!(
            told,
            ["0 s", "59 s", "1 min", "59 min", "1 h 1 min", "23 h 59 min", "1 d 0 h", "365 d 0 h"]
        );
    }
}
