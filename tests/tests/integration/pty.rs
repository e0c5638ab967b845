//! Tasks on a terminal of 80x24, read by an emulator: the last screen holds the result or its end, and nothing that is dead.

mod child;
mod close;
mod stop;
mod tasks;

use std::fmt;
use std::num::NonZeroU16;
use std::time::Duration;

use pty_process::{Pty, Size};
use tests::Fixture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;
use tokio::time::timeout;

/// Longer than any of it takes on a machine that does something else.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);
const CTRL_C: &str = "\x03";

/// The program on a terminal of its own.
struct Tty {
    pty: Pty,
    program: Child,
    emulator: vt100::Parser,
    /// All that was ever written to the terminal.
    written: String,
}

/// What a program that has ended leaves on the screen.
struct Shown {
    code: i32,
    screen: String,
    written: String,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit {}, and the screen is:\n{}", self.code, self.screen)
    }
}

fn emulator() -> vt100::Parser {
    let size = |size| NonZeroU16::new(size).expect("it is not zero");
    vt100::Parser::new(size(24), size(80), 0)
}

impl Tty {
    fn open(fixture: &Fixture, args: &[&str]) -> Tty {
        Tty::of(fixture.program(args))
    }

    fn of(mut program: std::process::Command) -> Tty {
        let (pty, pts) = pty_process::open().expect("there is a pty");
        pty.resize(Size::new(24, 80)).expect("it has a size");
        program.env("TERM", "xterm-256color").env("PAGER", "cat");
        let command = pty_process::Command::from(tokio::process::Command::from(program)).kill_on_drop(true);
        let program = command.spawn(pts).expect("`cargo xtask test` builds the program first");
        Tty { pty, program, emulator: emulator(), written: String::new() }
    }

    /// Takes what comes next; false at the end.
    async fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        // The terminal of a program that has ended cannot be read.
        let length = self.pty.read(&mut buffer).await.unwrap_or(0);
        self.emulator.process(&buffer[..length]);
        self.written.push_str(&String::from_utf8_lossy(&buffer[..length]));
        length > 0
    }

    /// Reads until that was written for the `nth` time.
    async fn until(&mut self, wanted: &str, nth: usize) {
        let reading = async {
            while self.written.matches(wanted).count() < nth {
                assert!(self.read().await, "no `{wanted}` in {}", self.written);
            }
        };
        if timeout(LIMIT, reading).await.is_err() {
            panic!("no `{wanted}` in {}", self.written);
        }
    }

    async fn type_in(&mut self, keys: &str) {
        self.pty.write_all(keys.as_bytes()).await.expect("the program reads");
    }

    /// Waits for the end, and expects nothing on the screen that is dead.
    async fn end(mut self) -> Shown {
        let ended = timeout(LIMIT, async { while self.read().await {} }).await;
        assert!(ended.is_ok(), "it goes on: {}", self.written);
        let status = timeout(LIMIT, self.program.wait()).await.expect("it ends").expect("it ran");
        let screen = self.emulator.screen();
        let shown = Shown {
            code: status.code().unwrap_or(-1),
            screen: screen.contents(),
            written: std::mem::take(&mut self.written),
        };
        assert!(!has_spinner(&shown.screen), "a bar is left: {shown}");
        assert!(!screen.hide_cursor() && !screen.alternate_screen(), "the cursor is gone: {shown}");
        assert_eq!(screen.cursor_position().1, 0, "a half line: {shown}");
        let row = screen.cursor_position().0;
        let below = screen.rows(0, 80).skip(row.into()).collect::<String>();
        assert!(below.trim().is_empty(), "something is left below the end: {shown}");
        shown
    }
}

/// Says whether a text has one of the glyphs by which a bar shows that it moves.
fn has_spinner(text: &str) -> bool {
    text.chars().any(|c| ('\u{2800}'..='\u{28ff}').contains(&c))
}

impl Shown {
    /// Expects that exit code, and those texts on the last screen.
    #[track_caller]
    fn expect(self, code: i32, wanted: &[&str]) -> Shown {
        assert_eq!(self.code, code, "{self}");
        // A long line is two rows, of which the emulator makes one again.
        for wanted in wanted {
            assert!(self.screen.contains(wanted), "no `{wanted}`: {self}");
        }
        self
    }
}

/// Runs a task on a terminal to its end.
async fn show(fixture: &Fixture, args: &[&str]) -> Shown {
    Tty::open(fixture, args).end().await
}

/// Expects that the last lines of what the task prints without a terminal are on its last screen, too.
async fn expect_end_of_result(fixture: &Fixture, args: &[&str], code: i32) {
    let piped = fixture.run(args).await.expect(code);
    let shown = show(fixture, args).await.expect(code, &[]);
    let lines: Vec<&str> = piped.stdout.lines().collect();
    assert!(!lines.is_empty(), "{args:?} prints nothing");
    for line in &lines[lines.len().saturating_sub(6)..] {
        assert!(shown.screen.contains(line.trim_end()), "{args:?}: no `{line}`: {shown}");
    }
}
