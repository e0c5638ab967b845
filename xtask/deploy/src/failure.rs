//! What the user is told when a task cannot do its work.

use std::process::ExitCode;

use serde_json::json;

use crate::running::Running;
use crate::text::{Text, put_line};

/// The documented exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Anything without a code of its own.
    Failure = 1,
    /// Bad usage or configuration; nothing was contacted or changed.
    Usage = 2,
    /// No credentials, or they do not allow it.
    Permission = 3,
    /// AWS refused or did not answer in time.
    Aws = 4,
    /// The tunnel could not be opened or broke.
    Tunnel = 5,
    /// Every tenant failed.
    AllTenants = 6,
    /// Some tenants failed.
    SomeTenants = 7,
    /// Something is missing, different or unhealthy.
    Drift = 8,
    /// Something is left.
    Leftovers = 9,
    /// Ctrl-C or SIGTERM.
    Interrupted = 130,
}

/// Why a task failed, what still runs and costs, and what to type next.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What failed, with its causes; empty if the task has said all there is to say.
    pub error: Option<anyhow::Error>,
    /// What still runs and costs.
    pub still_running: Vec<Running>,
    /// Imperatives with a command.
    pub hints: Vec<String>,
}

impl Failure {
    /// Returns a failure with that code and error.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Failure {
        Failure { exit, error: Some(error.into()), still_running: Vec::new(), hints: Vec::new() }
    }

    /// Returns a failure of the user's making.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, anyhow::Error::msg(message.into()))
    }

    /// Returns the failure of a task that Ctrl-C has stopped.
    pub fn interrupted() -> Failure {
        Failure::new(Exit::Interrupted, anyhow::Error::msg("interrupted"))
    }

    /// Returns a failure whose story is already told by the task's result.
    pub fn told(exit: Exit) -> Failure {
        Failure { exit, error: None, still_running: Vec::new(), hints: Vec::new() }
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hints.push(hint.into());
        self
    }

    /// Adds what still runs and costs.
    #[must_use]
    pub fn still_running(mut self, running: impl IntoIterator<Item = Running>) -> Failure {
        self.still_running.extend(running);
        self
    }

    /// Returns the exit code for the shell.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(self.exit as u8)
    }

    /// Returns the error and its causes in one line; empty if there is none.
    pub fn chain(&self) -> String {
        let causes = self.error.iter().flat_map(|error| error.chain()).map(ToString::to_string);
        causes.collect::<Vec<_>>().join(": ")
    }

    /// Renders it for people; empty if there is nothing to add.
    pub fn text(&self) -> Text {
        let mut text = Text::new();
        if let Some(error) = &self.error {
            text.paragraph(format_args!("error: {error}"));
            for cause in error.chain().skip(1) {
                text.paragraph(format_args!("  caused by: {cause}"));
            }
        }
        for hint in &self.hints {
            text.paragraph(format_args!("hint: {hint}"));
        }
        for running in &self.still_running {
            put_line!(text, "{running}");
        }
        text
    }

    /// Renders it for people, as a string.
    pub fn render_text(&self) -> String {
        self.text().to_string()
    }

    /// Renders it as one JSON object.
    pub fn render_json(&self) -> serde_json::Value {
        let still = self.still_running.iter().filter_map(|running| match running {
            Running::Still(what) => Some(what),
            Running::Told(_) => None,
        });
        let told = self.still_running.iter().filter_map(|running| match running {
            Running::Told(sentence) => Some(sentence),
            Running::Still(_) => None,
        });
        json!({
            "event": "failure",
            "exit": self.exit as u8,
            "error": self.error.as_ref().map(ToString::to_string),
            "causes": self.error.iter().flat_map(|e| e.chain().skip(1)).map(ToString::to_string).collect::<Vec<_>>(),
            "hints": self.hints,
            "still_running": still.collect::<Vec<_>>(),
            "notes": told.collect::<Vec<_>>(),
        })
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::new(Exit::Failure, error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::new(Exit::Failure, error)
    }
}

impl From<stack::stray::Refusal> for Failure {
    fn from(refusal: stack::stray::Refusal) -> Failure {
        refusal.hints.into_iter().fold(Failure::usage(refusal.message), Failure::hint)
    }
}

impl From<db::Error> for Failure {
    fn from(error: db::Error) -> Failure {
        let exit = if error.is_usage() { Exit::Usage } else { Exit::Failure };
        Failure::new(exit, error)
    }
}

impl From<sandbox::Error> for Failure {
    fn from(error: sandbox::Error) -> Failure {
        Failure::new(Exit::Failure, error)
    }
}
