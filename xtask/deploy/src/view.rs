//! How events reach the user: a live view on a terminal, plain lines elsewhere, NDJSON with `--json`.

use std::io;
use std::time::Duration;

use stack::{Event, Events};

use crate::escape::looks_like_ours;
use crate::failure::Failure;
use crate::screen::{self, End, Together};
use crate::terminal;
use crate::text::{Text, put_line};

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
    form: Form,
    detail: Detail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Live,
    Plain,
    Json,
}

impl View {
    /// Returns the view that suits the stream: NDJSON if asked for, live on a terminal, plain otherwise.
    pub fn new(json: bool, detail: Detail) -> View {
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb") || std::env::var_os("CI").is_some();
        let form = if json {
            Form::Json
        } else if terminal::is_there() && !dumb && detail == Detail::Normal {
            Form::Live
        } else {
            Form::Plain
        };
        View { form, detail }
    }

    /// Returns the view of a log.
    #[cfg(test)]
    pub(crate) fn plain(detail: Detail) -> View {
        View { form: Form::Plain, detail }
    }

    /// Returns the sink that libraries are given.
    pub fn events(&self) -> Events {
        let view = self.clone();
        Events::new(move |event| view.show(&event))
    }

    /// Shows one event.
    pub fn show(&self, event: &Event) {
        if self.form == Form::Json {
            return screen::tell(&Text::json(event));
        }
        let is_one_of_many = self.form == Form::Live && move_bars(event);
        // A success among many is in their count, and in the result.
        if is_one_of_many && matches!(event, Event::StepFinished { .. }) {
            return;
        }
        if let Some(text) = self.text_of(event) {
            tell(&text);
        }
    }

    /// Gives the steps whose subjects begin with `prefix` one bar as long as the guard lives: `tenants: 31/50, 0 failed`.
    #[must_use]
    pub fn together(&self, noun: &'static str, prefix: &'static str, all: usize) -> Option<Together> {
        (self.form == Form::Live).then(|| screen::together(noun, prefix, all))
    }

    /// Shows a line for people.
    pub fn say(&self, text: impl Into<String>) {
        self.show(&Event::Note { text: text.into() });
    }

    /// Shows lines for people: a plan, who is connected.
    pub fn say_lines(&self, text: &Text) {
        match (self.form, self.detail) {
            (Form::Json, _) => self.say(&**text),
            (Form::Live | Form::Plain, Detail::Quiet) => {}
            (Form::Live | Form::Plain, Detail::Normal | Detail::Verbose) => tell(text),
        }
    }

    /// Shows why the task failed; always, however quiet it is to be.
    pub fn fail(&self, failure: &Failure) {
        screen::settle();
        if self.form == Form::Json {
            return screen::tell(&Text::json(&failure.render_json()));
        }
        let text = failure.text();
        if !text.is_empty() {
            tell(&text);
        }
    }

    /// Returns what is shown of an event; nothing if nobody has asked for that.
    pub(crate) fn text_of(&self, event: &Event) -> Option<Text> {
        let verbose = self.detail == Detail::Verbose;
        if self.detail == Detail::Quiet && !matches!(event, Event::Warning { .. }) {
            return None;
        }
        let mut text = Text::new();
        match event {
            Event::PhaseStarted { name } => put_line!(text, "== {name}"),
            Event::PhaseFinished { name, elapsed } if verbose => {
                put_line!(text, "== {name}: {}", seconds(*elapsed))
            }
            Event::StepStarted { subject, verb } if verbose => put_line!(text, "   {subject}: {verb}"),
            Event::StepWaiting { subject, status } if verbose => put_line!(text, "   {subject}: {status}"),
            Event::Detail { text: said } if verbose => text.paragraph(format_args!("   {said}")),
            Event::PhaseFinished { .. }
            | Event::StepStarted { .. }
            | Event::StepWaiting { .. }
            | Event::Detail { .. }
            | Event::Traffic { .. } => return None,
            Event::StepFinished { subject, outcome, elapsed } => {
                put_line!(text, "   {subject}: {outcome} ({})", seconds(*elapsed));
            }
            // The full error ends the task; this says at once that something went wrong.
            Event::StepFailed { subject, .. } => put_line!(text, "   {subject}: failed"),
            Event::Note { text: said } if looks_like_ours(said) => {
                text.paragraph(format_args!("note: {said}"))
            }
            Event::Note { text: said } => text.paragraph(said),
            Event::Warning { text: said } => text.paragraph(format_args!("warning: {said}")),
        }
        Some(text)
    }
}

/// Moves the bars as the event says, and tells whether it is about one of many steps that share a bar.
fn move_bars(event: &Event) -> bool {
    match event {
        Event::StepStarted { subject, verb } => screen::start(subject, &format!("{subject}: {verb}")),
        Event::StepWaiting { subject, status } => screen::update(subject, &format!("{subject}: {status}")),
        Event::StepFinished { subject, .. } => return screen::finish(subject, End::Done),
        Event::StepFailed { subject, .. } => return screen::finish(subject, End::Failed),
        Event::Traffic { subject, .. } => {
            if let Some(text) = traffic(event) {
                screen::update(subject, &text);
            }
        }
        Event::PhaseStarted { .. }
        | Event::PhaseFinished { .. }
        | Event::Detail { .. }
        | Event::Note { .. }
        | Event::Warning { .. } => {}
    }
    false
}

/// Renders what a tunnel carries, what is out of the ordinary first, as a narrow terminal shows no more of it:
/// `127.0.0.1:5432: 1 session, resuming 1 session, 3 connections, 1.2 MiB up, ..`. Where it leads was said when it was opened.
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
    let local = subject.split(" -> ").next().unwrap_or_default();
    let mut text = format!("{local}: {}", plural(*sessions, "session"));
    if *resuming > 0 {
        text.push_str(&format!(", resuming {}", plural(*resuming, "session")));
    }
    // Less than this is on its way through, not held up.
    if *unread_bytes > 1 << 20 {
        text.push_str(&format!(", {} unread", size(*unread_bytes)));
    }
    text.push_str(&format!(
        ", {}, {} up, {} down",
        plural(*streams, "connection"),
        size(*bytes_sent),
        size(*bytes_received)
    ));
    if !round_trip.is_zero() {
        text.push_str(&format!(", round trip {:.1} ms", round_trip.as_secs_f64() * 1e3));
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
pub fn result(json: bool, text: &Text, document: &impl serde::Serialize) -> io::Result<()> {
    if json {
        screen::print(&Text::json(document))
    } else if text.is_empty() {
        Ok(())
    } else {
        print(text)
    }
}

/// Prints text on standard output, with the commands in it as they are typed here.
///
/// # Errors
/// It cannot be written to. A reader that has seen enough, such as `head`, is no error.
pub fn print(text: &Text) -> io::Result<()> {
    screen::print(&text.called())
}

/// Prints what programs read on standard output, as it is: a file's content, a script.
///
/// # Errors
/// As [`print`].
pub fn pass(text: &str) -> io::Result<()> {
    screen::pass(text)
}

/// Writes to standard error, whether or not anybody still reads it.
pub fn tell(text: &Text) {
    screen::tell(&text.called());
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
        let usual = "2 connections, 1.5 KiB up, 3.0 MiB down, round trip 1.8 ms";
        assert_eq!(traffic(0, 1000), Some(format!("127.0.0.1:5432: 1 session, {usual}")));
        let odd = "127.0.0.1:5432: 1 session, resuming 1 session, 5.0 MiB unread";
        assert_eq!(traffic(1, 5 << 20), Some(format!("{odd}, {usual}")));
    }
}
