//! A program that is killed at a random moment, and what is expected after that.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tests::{Fixture, LIMIT, Ran, Random, Watch, seen, within};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// How long the same command may take after that.
const AGAIN_WITHIN: Duration = Duration::from_secs(90);
/// How long a child may outlive the program.
const CHILDREN_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks at how far the program is.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// All processes below the program have it in their environment.
pub(super) const MARK: &str = "DRAWBRIDGE_TEST_VICTIM";

/// Returns a mark that no other program has.
pub(super) fn mark() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// How often each command is killed: as `DRAWBRIDGE_TEST_KILLS` says, else three times, in CI too. After most kills the next
/// run waits half a minute for the server to end the dead one's sessions.
pub(super) fn kills() -> usize {
    std::env::var("DRAWBRIDGE_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(3)
}

/// Runs a test on a stack that is deep enough for the SDK's calls.
pub(super) fn run(test: impl AsyncFnOnce() + Send + 'static) {
    const STACK: usize = 16 << 20;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(STACK)
        .enable_all()
        .build()
        .unwrap();
    let watch = Watch::start();
    let thread =
        std::thread::Builder::new().stack_size(STACK).spawn(move || runtime.block_on(test())).unwrap();
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
    drop(watch);
}

/// What a program has to come to before it is killed.
#[derive(Clone, Copy, Debug)]
enum After {
    Start,
    /// So many calls of AWS.
    Calls(usize),
    /// So many lines of output.
    Lines(usize),
    /// So many statements in the server's log.
    Statements(usize),
}

/// When a program is killed: so long after it has come to something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    after: After,
    pause: Duration,
    /// When that does not come, as at a command that is held up on purpose.
    at_latest: Duration,
}

/// What a run that is not disturbed is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    lasts: Duration,
    calls: usize,
    lines: usize,
    statements: usize,
    only_statements: bool,
}

impl Course {
    /// Returns a moment within such a run, or shortly after.
    pub(super) fn moment(&self, random: &mut Random) -> Moment {
        let kinds = if self.only_statements { 3..4 } else { 0..4 };
        let one_of = |random: &mut Random, count: usize| 1 + random.below(count.max(1));
        let (after, range) = match kinds.start + random.below(kinds.len()) {
            0 => (After::Start, self.lasts),
            1 => (After::Calls(one_of(random, self.calls)), self.lasts / 10),
            2 => (After::Lines(one_of(random, self.lines)), self.lasts / 10),
            _ => (After::Statements(one_of(random, self.statements)), self.lasts / 20),
        };
        let pause = range.mul_f64(random.below(1000) as f64 / 1000.0);
        Moment { after, pause, at_latest: self.lasts * 2 }
    }
}

/// One command, which is run, killed, and run again.
pub(super) struct Victim<'a> {
    fixture: &'a Fixture,
    args: Vec<String>,
    dir: PathBuf,
    /// What a line of the server's log must hold to count as a statement.
    statement: String,
    /// Whether all moments are told by statements.
    only_statements: bool,
}

/// A program under way.
struct Running {
    child: Child,
    mark: String,
    lines: watch::Receiver<usize>,
    calls_before: usize,
    statements_before: usize,
}

impl<'a> Victim<'a> {
    pub(super) fn new(fixture: &'a Fixture, args: &[&str]) -> Victim<'a> {
        Victim {
            fixture,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            dir: fixture.cloud.dir().to_owned(),
            statement: "LOG:  ".to_owned(),
            only_statements: false,
        }
    }

    /// Is killed after statements of that role in that database alone.
    pub(super) fn during_statements_of(mut self, role: &str, database: &str) -> Victim<'a> {
        self.statement = format!(" {role}@{database} LOG:  ");
        self.only_statements = true;
        self
    }

    /// Runs it to its end, and returns what that was made of.
    pub(super) async fn measure(&self) -> Course {
        let began = Instant::now();
        let mut running = self.start();
        let ended = tokio::time::timeout(LIMIT, running.child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("{:?} does not end", self.args)).unwrap();
        assert!(status.success(), "{:?}: {status}", self.args);
        let course = Course {
            lasts: began.elapsed(),
            calls: self.calls() - running.calls_before,
            lines: *running.lines.borrow(),
            statements: self.statements() - running.statements_before,
            only_statements: self.only_statements,
        };
        self.expect_no_child(&running.mark, "a run that was not disturbed").await;
        course
    }

    /// Kills it at that moment; `false` if it came to its end before.
    pub(super) async fn kill(&self, moment: Moment, place: &str) -> bool {
        let mut running = self.start();
        let mark = running.mark.clone();
        let reached = self.reached(moment, &running);
        let ended = tokio::select! {
            ended = tokio::time::timeout(LIMIT, running.child.wait()) => {
                Some(ended.unwrap_or_else(|_| panic!("{place}: it does not end")).unwrap())
            }
            () = reached => None,
        };
        match ended {
            Some(status) => assert!(status.success(), "{place}: {status}"),
            None => running.child.kill().await.unwrap(),
        }
        self.expect_no_child(&mark, place).await;
        ended.is_none()
    }

    /// Runs the same again, which must succeed in time.
    pub(super) async fn again(&self, place: &str) -> Ran {
        let began = Instant::now();
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let ran = tokio::time::timeout(AGAIN_WITHIN, self.fixture.run(&args)).await;
        let ran = ran.unwrap_or_else(|_| panic!("{place}: the same again takes over {AGAIN_WITHIN:?}"));
        assert_eq!(ran.code, 0, "{place}, after {:?}: {}{}", began.elapsed(), ran.stdout, ran.stderr);
        ran
    }

    fn start(&self) -> Running {
        let args: Vec<&str> =
            std::iter::once("--verbose").chain(self.args.iter().map(String::as_str)).collect();
        let mark = mark();
        let mut command = Command::from(self.fixture.program(&args));
        command.env(MARK, &mark).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let (calls_before, statements_before) = (self.calls(), self.statements());
        let mut child = command.spawn().unwrap();
        let (tell, lines) = watch::channel(0);
        count_lines(child.stdout.take().unwrap(), tell.clone());
        count_lines(child.stderr.take().unwrap(), tell);
        Running { child, mark, lines, calls_before, statements_before }
    }

    fn reached<'s>(&'s self, moment: Moment, running: &Running) -> impl Future<Output = ()> + use<'s, 'a> {
        let lines = running.lines.clone();
        let (calls, statements) = (running.calls_before, running.statements_before);
        async move {
            let coming = async {
                loop {
                    let is_reached = match moment.after {
                        After::Start => true,
                        After::Calls(count) => self.calls() >= calls + count,
                        After::Lines(count) => *lines.borrow() >= count,
                        After::Statements(count) => self.statements() >= statements + count,
                    };
                    if is_reached {
                        break;
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            };
            drop(tokio::time::timeout(moment.at_latest, coming).await);
            tokio::time::sleep(moment.pause).await;
        }
    }

    fn calls(&self) -> usize {
        self.fixture.cloud.gateway().journal().len()
    }

    fn statements(&self) -> usize {
        let logs = fs::read_dir(&self.dir).unwrap().flatten().map(|entry| entry.path());
        let logs = logs.filter(|path| {
            path.file_name().unwrap().to_str().is_some_and(|name| name.starts_with("postgres-"))
        });
        let count = |path: PathBuf| {
            let text = fs::read(path).unwrap_or_default();
            String::from_utf8_lossy(&text).lines().filter(|line| line.contains(&self.statement)).count()
        };
        logs.map(count).sum()
    }

    async fn expect_no_child(&self, mark: &str, place: &str) {
        within(CHILDREN_WITHIN, &format!("no child lives on: {place}"), || async {
            let living = with_mark(mark);
            seen(living.is_empty(), format!("{living:?}"))
        })
        .await;
    }
}

fn count_lines(stream: impl AsyncRead + Send + Unpin + 'static, tell: watch::Sender<usize>) {
    let mut lines = BufReader::new(stream).lines();
    tokio::spawn(async move {
        while let Ok(Some(_)) = lines.next_line().await {
            tell.send_modify(|count| *count += 1);
        }
    });
}

/// Returns the processes that a program with that mark started, by number and command line.
pub(super) fn with_mark(mark: &str) -> BTreeSet<String> {
    let wanted = format!("{MARK}={mark}");
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let marked = processes.filter(|process| {
        // Of one that has ended, or is somebody else's, there is nothing to read.
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    });
    let shown = |process: PathBuf| {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        format!("{}: {}", process.display(), String::from_utf8_lossy(&line).replace('\0', " "))
    };
    marked.map(shown).collect()
}
