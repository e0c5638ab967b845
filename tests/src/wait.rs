//! Waits that end: each with a limit, and with a word for what was waited for.

use std::fmt::Display;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use sandbox::gateway::{Call, Gateway};

/// How long a test waits for what comes in seconds: a machine that does much else is slower, and none that is that slow is
/// worth a test.
pub const LIMIT: Duration = Duration::from_secs(240);
/// How long a whole test may take, where it is one of hundreds of cases.
const TEST_LIMIT: Duration = Duration::from_secs(30 * 60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until there is what was looked for, and returns it. A look that has not found it yet returns what it saw instead.
///
/// # Panics
/// It does not come within the limit; the message says what was waited for, and what was seen last.
pub async fn within<T, S: Display, Look: Future<Output = Result<T, S>>>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> Look,
) -> T {
    let mut seen = None;
    let looking = async {
        loop {
            match look().await {
                Ok(found) => return found,
                Err(other) => seen = Some(other.to_string()),
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let found = tokio::time::timeout(limit, looking).await;
    found.unwrap_or_else(|_| {
        let seen = seen.as_deref().unwrap_or("nothing, as the first look does not end");
        panic!("waited {limit:?} and never saw that {what}; seen last: {seen}")
    })
}

/// Returns what a look has found, for [`within`]: nothing more to wait for, or what is there instead.
///
/// # Errors
/// It is not so; the error is what was seen.
pub fn seen<S>(is_so: bool, what: S) -> Result<(), S> {
    if is_so { Ok(()) } else { Err(what) }
}

/// Waits until a call that is such a one has come to a gateway after so many others.
///
/// # Panics
/// None comes.
pub async fn until_called(gateway: &Gateway, since: usize, what: &str, is_it: impl Fn(&Call) -> bool) {
    within(LIMIT, what, || async {
        let journal = gateway.journal();
        let calls: Vec<&str> = journal[since..].iter().map(|call| call.operation.as_str()).collect();
        seen(journal[since..].iter().any(&is_it), format!("{calls:?}"))
    })
    .await;
}

/// Waits until what was in flight at a gateway has reached its end. A call that meets a fault has none.
///
/// # Panics
/// Something does not.
pub async fn until_settled(gateway: &Gateway) {
    within(LIMIT, "all calls in flight have reached their end", || async {
        let journal = gateway.journal();
        let open = journal.iter().filter(|call| call.end_ms.is_none() && call.fault.is_none());
        let open: Vec<&str> = open.map(|call| call.operation.as_str()).collect();
        seen(open.is_empty(), format!("{open:?} in flight"))
    })
    .await;
}

/// A program that runs: what it prints and its end are waited for within a limit. It is killed when it is dropped.
///
/// Its waits block.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    /// Starts it; each line of its standard output is there to be read.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start(mut command: Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program can be started");
        let stdout = child.stdout.take().expect("it is piped");
        let (tell, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Whoever does not read them lets the program go on all the same.
                tell.send(line).ok();
            }
        });
        Running { child, lines }
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the next line of its standard output.
    ///
    /// # Panics
    /// None comes.
    pub fn line(&self) -> String {
        match self.lines.recv_timeout(LIMIT) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                panic!("process {} printed no line within {LIMIT:?}", self.id())
            }
            Err(RecvTimeoutError::Disconnected) => {
                panic!("process {} printed no more lines before its end", self.id())
            }
        }
    }

    /// Sends it that signal, by name.
    ///
    /// # Panics
    /// It cannot be sent.
    pub fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(kill.is_ok_and(|status| status.success()), "cannot send SIG{name} to process {}", self.id());
    }

    /// Returns its standard error, if it was piped. Read it to its end before you wait for the program's.
    pub fn stderr(&mut self) -> Option<std::process::ChildStderr> {
        self.child.stderr.take()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It does not end.
    pub fn ended(mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(began.elapsed() < LIMIT, "process {} did not end within {LIMIT:?}", self.id());
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended cannot be killed any more.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Waits for a program's end, and returns what it printed.
///
/// # Panics
/// It does not end; it is killed then.
pub async fn ended(what: &str, child: Child) -> Output {
    let pid = child.id().to_string();
    let mut ending = tokio::task::spawn_blocking(move || child.wait_with_output());
    let Ok(output) = tokio::time::timeout(LIMIT, &mut ending).await else {
        Command::new("kill").args(["-KILL", &pid]).status().ok();
        panic!("{what} did not end within {LIMIT:?}");
    };
    output.expect("a child can be waited for").expect("a child can be waited for")
}

/// Ends this process if a test of it takes longer than any may: under nextest that is the runner's business, under
/// `cargo test` nobody else's. Armed until it is dropped.
#[must_use = "a watch that is dropped watches no more"]
pub struct Watch(#[expect(dead_code, reason = "its drop is what is waited for")] mpsc::Sender<()>);

impl Watch {
    /// Watches the test of this thread.
    pub fn start() -> Watch {
        let name = std::thread::current().name().unwrap_or("a test").to_owned();
        let (hold, held) = mpsc::channel();
        std::thread::spawn(move || {
            if held.recv_timeout(TEST_LIMIT) == Err(RecvTimeoutError::Timeout) {
                let minutes = TEST_LIMIT.as_secs() / 60;
                // Past what the runner keeps of a test's output: it would never be shown.
                writeln!(std::io::stderr(), "test {name} has not ended within {minutes} minutes").ok();
                std::process::exit(101);
            }
        });
        Watch(hold)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_wait_that_is_in_vain_says_for_what_and_what_was_there_instead() {
        let looks = AtomicUsize::new(0);
        let waiting = within(Duration::from_millis(50), "the moon is full", || async {
            seen(false, format!("look {}", looks.fetch_add(1, Ordering::Relaxed)))
        });
        let said = AssertUnwindSafe(waiting).catch_unwind().await.unwrap_err().downcast::<String>().unwrap();
        let wanted = "waited 50ms and never saw that the moon is full; seen last: look ";
        assert!(said.starts_with(wanted), "{said}");
        let waiting = within(Duration::from_millis(5), "it ends", std::future::pending::<Result<(), String>>);
        let said = AssertUnwindSafe(waiting).catch_unwind().await.unwrap_err().downcast::<String>().unwrap();
        assert!(said.ends_with("seen last: nothing, as the first look does not end"), "{said}");
    }

    #[test]
    fn a_program_is_heard_line_by_line_and_does_not_outlive_its_test() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two; exec sleep 1000"]);
        let running = Running::start(command);
        assert_eq!((running.line(), running.line()), ("one".to_owned(), "two".to_owned()));
        running.signal("TERM");
        assert!(!running.ended().success());
    }
}
