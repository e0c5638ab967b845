//! The program at a terminal, as somebody has it who reads and types.

use std::time::Duration;

use pty_process::{Pty, Size};
use rustix::termios::{Termios, tcgetattr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Longer than any of it takes on a machine that does something else.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// A program in a terminal of its own.
pub(crate) struct Terminal {
    pub(crate) pty: Pty,
    pub(crate) program: Child,
    /// What was shown and not waited for yet.
    pub(crate) shown: String,
    /// The settings that the program found.
    pub(crate) cooked: Termios,
}

impl Terminal {
    /// Starts the program.
    pub(crate) fn open(command: Command, (rows, columns): (u16, u16)) -> Terminal {
        let (pty, pts) = pty_process::open().expect("there is a pty");
        pty.resize(Size::new(rows, columns)).expect("it has a size");
        // Before the program may change them.
        let cooked = tcgetattr(&pty).expect("it has settings");
        let command = pty_process::Command::from(command).kill_on_drop(true);
        let program = command.spawn(pts).expect("the program starts");
        Terminal { pty, program, shown: String::new(), cooked }
    }

    /// Reads until that is shown, and returns all that was shown since the last time.
    pub(crate) async fn wait_for(&mut self, wanted: &str) -> String {
        let mut buffer = [0; 4096];
        let reading = async {
            loop {
                if let Some(at) = self.shown.find(wanted) {
                    let rest = self.shown.split_off(at + wanted.len());
                    return std::mem::replace(&mut self.shown, rest);
                }
                let length = self.pty.read(&mut buffer).await.unwrap_or(0);
                assert!(length > 0, "no `{wanted}` in {}", self.shown);
                self.shown.push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
        };
        match timeout(LIMIT, reading).await {
            Ok(shown) => shown,
            Err(_) => panic!("`{wanted}` never comes: {}", self.shown),
        }
    }

    /// Types keys.
    pub(crate) async fn type_in(&mut self, keys: &str) {
        self.pty.write_all(keys.as_bytes()).await.expect("the program reads");
    }

    /// Waits for the program's end; returns its exit code and the rest of what it showed.
    pub(crate) async fn ended(&mut self) -> (i32, String) {
        // A program waits for its terminal to show its last words; one whose program has ended is an error to read.
        let mut last = Vec::new();
        drop(timeout(LIMIT, self.pty.read_to_end(&mut last)).await.expect("the terminal is closed"));
        self.shown.push_str(&String::from_utf8_lossy(&last));
        let status = timeout(LIMIT, self.program.wait()).await.expect("it ends").expect("it ran");
        (status.code().unwrap_or(-1), std::mem::take(&mut self.shown))
    }
}
