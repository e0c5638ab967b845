//! How events reach the user: a live view on a terminal, plain lines elsewhere, NDJSON with `--json`.

use std::collections::HashMap;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::json;
use stack::{Event, Events};

use crate::failure::Failure;
use crate::{program, terminal};

/// What the user wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Errors and results only.
    Quiet,
    /// What happens.
    Normal,
    /// Every step's start and every status seen.
    Verbose,
}

/// The standard error stream as the user sees it. Results go to standard output, which is not a view's business.
#[derive(Clone)]
pub struct View {
    form: Arc<Form>,
    detail: Detail,
}

enum Form {
    Live(Live),
    Plain,
    Json,
}

struct Live {
    bars: MultiProgress,
    running: Mutex<HashMap<String, ProgressBar>>,
}

impl View {
    /// Returns the view that suits the stream: NDJSON if asked for, live on a terminal, plain otherwise.
    pub fn new(json: bool, detail: Detail) -> View {
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb") || std::env::var_os("CI").is_some();
        let form = if json {
            Form::Json
        } else if std::io::stderr().is_terminal() && !dumb && detail == Detail::Normal {
            Form::Live(Live { bars: MultiProgress::new(), running: Mutex::default() })
        } else {
            Form::Plain
        };
        View { form: Arc::new(form), detail }
    }

    /// Returns the sink that libraries are given.
    pub fn events(&self) -> Events {
        let view = self.clone();
        Events::new(move |event| view.show(&event))
    }

    /// Shows one event.
    pub fn show(&self, event: &Event) {
        match &*self.form {
            Form::Json => {
                if let Ok(line) = serde_json::to_string(event) {
                    tell(line);
                }
            }
            Form::Plain => {
                if let Some(line) = self.plain_line(event) {
                    tell(line);
                }
            }
            Form::Live(live) => {
                live.show(event);
                if let Some(line) = self.plain_line(event) {
                    if terminal::is_raw() {
                        return tell(line);
                    }
                    // What cannot be written to a terminal that has gone away is nobody's loss.
                    drop(live.bars.println(program::called(&line)));
                }
            }
        }
    }

    /// Shows a line for people.
    pub fn say(&self, text: impl Into<String>) {
        self.show(&Event::Note { text: text.into() });
    }

    /// Shows why the task failed; always, however quiet it is to be.
    pub fn fail(&self, failure: &Failure) {
        match &*self.form {
            Form::Json => tell(failure.render_json()),
            Form::Plain => tell(failure.render_text().trim_end()),
            Form::Live(live) => {
                live.clear();
                tell(failure.render_text().trim_end());
            }
        }
    }

    /// Takes everything that moves off the screen, so that a result or a question stands alone.
    pub fn settle(&self) {
        if let Form::Live(live) = &*self.form {
            live.clear();
        }
    }

    fn plain_line(&self, event: &Event) -> Option<String> {
        let verbose = self.detail == Detail::Verbose;
        if self.detail == Detail::Quiet && !matches!(event, Event::Warning { .. }) {
            return None;
        }
        match event {
            Event::PhaseStarted { name } => Some(format!("== {name}")),
            Event::PhaseFinished { name, elapsed } if verbose => {
                Some(format!("== {name}: {}", seconds(*elapsed)))
            }
            Event::StepStarted { subject, verb } if verbose => Some(format!("   {subject}: {verb}")),
            Event::StepWaiting { subject, status } if verbose => Some(format!("   {subject}: {status}")),
            Event::PhaseFinished { .. }
            | Event::StepStarted { .. }
            | Event::StepWaiting { .. }
            | Event::Traffic { .. } => None,
            Event::StepFinished { subject, outcome, elapsed } => {
                Some(format!("   {subject}: {outcome} ({})", seconds(*elapsed)))
            }
            // The full error ends the task; this says at once that something went wrong.
            Event::StepFailed { subject, .. } => Some(format!("   {subject}: failed")),
            Event::Note { text } => Some(text.clone()),
            Event::Warning { text } => Some(format!("warning: {text}")),
        }
    }
}

impl Live {
    fn show(&self, event: &Event) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::StepStarted { subject, verb } => {
                let bar = self.bars.add(ProgressBar::new_spinner().with_style(style()));
                bar.set_message(format!("{subject}: {verb}"));
                // Drawn by its ticks alone: what ends within the first tick never flickers.
                bar.enable_steady_tick(Duration::from_millis(250));
                if let Some(old) = running.insert(subject.clone(), bar) {
                    old.finish_and_clear();
                }
            }
            Event::StepWaiting { subject, status } => {
                if let Some(bar) = running.get(subject) {
                    bar.set_message(format!("{subject}: {status}"));
                }
            }
            Event::StepFinished { subject, .. } | Event::StepFailed { subject, .. } => {
                if let Some(bar) = running.remove(subject) {
                    bar.finish_and_clear();
                }
            }
            Event::Traffic { subject, .. } => {
                if let Some(bar) = running.get(subject)
                    && let Some(text) = traffic(event)
                {
                    bar.set_message(text);
                }
            }
            Event::PhaseStarted { .. }
            | Event::PhaseFinished { .. }
            | Event::Note { .. }
            | Event::Warning { .. } => {}
        }
    }

    fn clear(&self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, bar) in running.drain() {
            bar.finish_and_clear();
        }
    }
}

/// Renders what a tunnel carries: `127.0.0.1:5432 -> db:5432: 2 sessions, 3 connections, 1.2 MiB up, ..`.
fn traffic(event: &Event) -> Option<String> {
    let Event::Traffic {
        subject,
        sessions,
        resuming,
        streams,
        bytes_sent,
        bytes_received,
        unread_bytes,
        round_trip,
    } = event
    else {
        return None;
    };
    let mut text = format!(
        "{subject}: {}, {}, {} up, {} down",
        plural(*sessions, "session"),
        plural(*streams, "connection"),
        size(*bytes_sent),
        size(*bytes_received)
    );
    if !round_trip.is_zero() {
        text.push_str(&format!(", round trip {:.1} ms", round_trip.as_secs_f64() * 1e3));
    }
    // Less than this is on its way through, not held up.
    if *unread_bytes > 1 << 20 {
        text.push_str(&format!(", {} unread", size(*unread_bytes)));
    }
    if *resuming > 0 {
        text.push_str(&format!(", resuming {}", plural(*resuming, "session")));
    }
    Some(text)
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("   {spinner} {msg} {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// Renders a duration for people: `0.35 s`, `12.4 s`, `3 min 20 s`.
pub fn seconds(elapsed: Duration) -> String {
    let total = elapsed.as_secs_f64();
    if total < 1.0 {
        format!("{total:.2} s")
    } else if total < 60.0 {
        format!("{total:.1} s")
    } else {
        format!("{} min {} s", elapsed.as_secs() / 60, elapsed.as_secs() % 60)
    }
}

/// Prints a task's result: the JSON document with `--json`, else the text.
///
/// # Errors
/// As [`print`].
pub fn result(json: bool, text: &str, document: &impl serde::Serialize) -> io::Result<()> {
    if json {
        print(json!(document))
    } else if text.is_empty() {
        Ok(())
    } else {
        print(text.trim_end())
    }
}

/// Prints a line on standard output.
///
/// # Errors
/// It cannot be written to. A reader that has seen enough, such as `head`, is no error.
pub fn print(text: impl Display) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{}", program::called(&text.to_string())).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// Writes to standard error, whether or not anybody still reads it.
pub fn tell(text: impl Display) {
    let end = if terminal::is_raw() { "\r\n" } else { "\n" };
    drop(write!(io::stderr(), "{}{end}", program::called(&text.to_string())));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_is_one_line_that_names_what_is_out_of_the_ordinary() {
        let traffic = |resuming, unread_bytes| {
            super::traffic(&Event::Traffic {
                subject: "127.0.0.1:5432 -> db:5432".to_owned(),
                sessions: 1,
                resuming,
                streams: 2,
                bytes_sent: 1_500,
                bytes_received: 3 << 20,
                unread_bytes,
                round_trip: Duration::from_micros(1840),
            })
        };
        let usual = "127.0.0.1:5432 -> db:5432: 1 session, 2 connections, 1.5 KiB up, 3.0 MiB down, round trip 1.8 ms";
        assert_eq!(traffic(0, 1000).as_deref(), Some(usual));
        assert_eq!(traffic(1, 5 << 20), Some(format!("{usual}, 5.0 MiB unread, resuming 1 session")));
    }
}
