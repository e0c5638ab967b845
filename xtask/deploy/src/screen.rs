//! The terminal as one thing: bars, lines, questions and results are written by one hand, so that none erases another; and
//! a child that owns the terminal owns it alone.

#![expect(clippy::disallowed_methods, reason = "this is where all is written")]

mod painter;

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::painter::Painter;
#[cfg(test)]
pub(crate) use self::painter::bar;
use crate::text::Text;

/// Bars are redrawn this often. What ends before the first time never flickers.
const TICK: Duration = Duration::from_millis(250);

static SCREEN: Mutex<State> = Mutex::new(State::new());

struct State {
    /// In the order in which they began.
    running: Vec<Step>,
    many: Option<Many>,
    painter: Painter,
    is_ticking: bool,
    /// How many have the terminal to themselves: a child, a remote shell, a question.
    lent: usize,
    /// What is said once the terminal is ours again.
    held: Vec<Text>,
    is_asking: bool,
    /// The program is about to end: what still begins has no bar any more.
    is_over: bool,
}

/// A step that is waited for, with what its bar says.
struct Step {
    subject: String,
    text: String,
    began: Instant,
}

/// Steps of one kind that share a bar.
struct Many {
    noun: &'static str,
    prefix: &'static str,
    all: usize,
    done: usize,
    failed: usize,
    waits: Option<String>,
    began: Option<Instant>,
}

impl Many {
    fn text(&self) -> String {
        let waits = self.waits.as_ref().map(|text| format!("; {text}")).unwrap_or_default();
        let Many { noun, all, failed, .. } = self;
        format!("{noun}: {}/{all}, {failed} failed{waits}", self.done.min(*all))
    }

    fn has(&self, subject: &str) -> bool {
        subject.starts_with(self.prefix)
    }
}

impl State {
    const fn new() -> State {
        State {
            running: Vec::new(),
            many: None,
            painter: Painter::new(),
            is_ticking: false,
            lent: 0,
            held: Vec::new(),
            is_asking: false,
            is_over: false,
        }
    }

    fn is_moving(&self) -> bool {
        !self.running.is_empty() || self.many.as_ref().is_some_and(|many| many.began.is_some())
    }

    /// Draws every bar anew, as far as there is room.
    fn draw(&mut self) {
        if self.is_over {
            return;
        }
        let many = self.many.as_ref().and_then(|many| Some((many.text(), many.began?)));
        let steps = self.running.iter().map(|step| (step.text.clone(), step.began));
        let lines: Vec<(String, Instant)> = many.into_iter().chain(steps).collect();
        self.painter.draw(&lines);
    }

    /// Takes every bar off the screen, for good.
    fn clear(&mut self) {
        self.running.clear();
        if let Some(many) = &mut self.many {
            many.began = None;
        }
        self.painter.erase();
    }

    /// Lets a thread redraw the bars as long as there are any.
    fn tick(&mut self) {
        if std::mem::replace(&mut self.is_ticking, true) {
            return;
        }
        std::thread::spawn(|| {
            loop {
                std::thread::sleep(TICK);
                let mut state = lock();
                if !state.is_moving() || state.lent > 0 {
                    state.painter.erase();
                    state.is_ticking = false;
                    return;
                }
                state.draw();
            }
        });
    }

    fn flush(&mut self) {
        for line in self.held.drain(..) {
            write_line(&line);
        }
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Done,
    Failed,
}

/// Shows a bar for a step, unless somebody else owns the terminal.
pub(crate) fn start(subject: &str, text: &str) {
    let mut state = lock();
    if state.lent > 0 {
        return;
    }
    if let Some(many) = state.many.as_mut().filter(|many| many.has(subject)) {
        many.began.get_or_insert_with(Instant::now);
    } else {
        state.running.retain(|step| step.subject != subject);
        let step = Step { subject: subject.to_owned(), text: text.to_owned(), began: Instant::now() };
        state.running.push(step);
    }
    state.tick();
}

/// Changes what a step's bar says.
pub(crate) fn update(subject: &str, text: &str) {
    let mut state = lock();
    if let Some(many) = state.many.as_mut().filter(|many| many.has(subject)) {
        many.waits = Some(text.to_owned());
    } else if let Some(step) = state.running.iter_mut().find(|step| step.subject == subject) {
        step.text = text.to_owned();
    }
}

/// Removes a step's bar, or counts it. Tells whether it is one of many.
pub(crate) fn finish(subject: &str, end: End) -> bool {
    let mut state = lock();
    if let Some(many) = state.many.as_mut().filter(|many| many.has(subject)) {
        many.done += 1;
        many.failed += usize::from(end == End::Failed);
        many.waits = None;
        return true;
    }
    state.running.retain(|step| step.subject != subject);
    if !state.is_moving() {
        state.painter.erase();
    }
    false
}

/// As long as this lives, steps of one kind share a bar.
#[derive(Debug)]
pub struct Together(());

/// Gives the steps whose subjects begin with `prefix` one bar: `tenants: 31/50, 0 failed`. A single one keeps its own.
pub(crate) fn together(noun: &'static str, prefix: &'static str, all: usize) -> Together {
    let mut state = lock();
    if all > 1 && state.many.is_none() {
        state.many = Some(Many { noun, prefix, all, done: 0, failed: 0, waits: None, began: None });
    }
    Together(())
}

impl Drop for Together {
    fn drop(&mut self) {
        let mut state = lock();
        state.many = None;
        state.painter.erase();
    }
}

/// Takes every bar off the screen.
pub fn settle() {
    lock().clear();
}

/// Gives the terminal back to whoever started this program: nothing moves, and all is said.
pub fn leave() {
    let mut state = lock();
    state.clear();
    state.is_over = true;
    state.lent = 0;
    state.flush();
}

/// Writes lines to standard error, whether or not anybody still reads it; later, if somebody else owns the terminal.
pub(crate) fn tell(text: &Text) {
    let mut state = lock();
    if state.lent > 0 && io::stderr().is_terminal() {
        state.held.push(text.clone());
        return;
    }
    // The next tick draws the bars below it.
    state.painter.erase();
    write_line(text);
}

/// Writes what a thread panicked with, which may have been about to write itself, or why a program cannot be run.
pub fn cry(text: &Text) {
    if let Ok(mut state) = SCREEN.try_lock() {
        state.painter.erase();
    }
    write_line(text);
}

/// Writes a result to standard output; no bar is left then.
///
/// # Errors
/// It cannot be written to. A reader that has seen enough, such as `head`, is no error.
pub(crate) fn print(text: &Text) -> io::Result<()> {
    pass(text)
}

/// Writes what a program reads to standard output, as it is: a script, a policy, a file's content.
///
/// # Errors
/// As [`print`].
pub(crate) fn pass(text: &str) -> io::Result<()> {
    let mut state = lock();
    state.clear();
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// As long as this lives, somebody else owns the terminal: nothing is drawn, and what is said there is said afterwards.
#[derive(Debug)]
pub struct Lent(());

/// Clears the screen of bars and leaves it to somebody else.
pub fn lend() -> Lent {
    let mut state = lock();
    state.clear();
    state.lent += 1;
    Lent(())
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut state = lock();
        state.lent = state.lent.saturating_sub(1);
        if state.lent == 0 {
            state.flush();
        }
    }
}

/// Asks a question and returns the line that is typed; empty at the end of input.
///
/// # Errors
/// The terminal cannot be read or written.
pub(crate) fn ask(prompt: &Text) -> io::Result<String> {
    let lent = lend();
    lock().is_asking = true;
    let answer = (|| {
        let mut stderr = io::stderr().lock();
        stderr.write_all(prompt.as_bytes())?;
        stderr.flush()?;
        drop(stderr);
        let mut answer = String::new();
        let length = io::stdin().lock().read_line(&mut answer)?;
        if length == 0 {
            // Ctrl-D leaves the cursor behind the question.
            write_line("");
        }
        Ok(answer.trim().to_owned())
    })();
    lock().is_asking = false;
    drop(lent);
    answer
}

/// Tells whether a question waits for its answer.
pub(crate) fn is_asking() -> bool {
    lock().is_asking
}

/// Ends the line of a question that gets no answer.
pub(crate) fn end_line() {
    if std::mem::take(&mut lock().is_asking) {
        write_line("");
    }
}

/// Takes the terminal's own `^C` off the line in which it stands, so that the shell's prompt begins that line.
pub(crate) fn erase_echo() {
    if io::stderr().is_terminal() {
        drop(io::stderr().write_all(b"\r\x1b[K"));
    }
}

fn write_line(line: &str) {
    // What cannot be written to a terminal that has gone away is nobody's loss.
    drop(io::stderr().write_all(format!("{line}\n").as_bytes()));
}

fn lock() -> MutexGuard<'static, State> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}
