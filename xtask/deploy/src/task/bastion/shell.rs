//! `bastion shell`: a terminal on the bastion, or a single command there.

use std::future::pending;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use aws::session::Purpose;
use bytes::Bytes;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tunnel::{Error, Shell, ShellEvent, ShellHandle, ShellOptions};

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::reach::reach;
use crate::screen;
use crate::ssm::{Shown, Ssm};
use crate::terminal::{self, Raw};

/// How long a command that has ended, or was told to, may take to say its last words.
const LAST_WORDS: Duration = Duration::from_secs(5);
const CTRL_C: &[u8] = b"\x03";
const CTRL_D: &[u8] = b"\x04";

/// Opens the session and ends it again, whatever comes of it.
pub(super) async fn shell(context: &Context, args: &xtask::BastionShell) -> Result<ExitCode, Failure> {
    let (cloud, inventory) = reach(context).await?;
    let is_terminal = args.command.is_empty();
    let purpose = if is_terminal { Purpose::Shell } else { Purpose::Command(args.command.clone()) };
    let control = Ssm::open(context, &cloud, &inventory, purpose).await?;
    let mut options = ShellOptions::new(control.bastion());
    options.events = control.events(Shown::NotTheEnd);
    let mut shell = Shell::start(control.clone(), options);
    let outcome = tokio::select! {
        () = context.stop.raised() => Err(Failure::interrupted()),
        ready = shell.ready() => match ready {
            Ok(()) if is_terminal => terminal(context, &mut shell).await,
            Ok(()) => command(context, &mut shell).await,
            Err(error) => Err(unopened(error)),
        },
    };
    let closed = shell.close().await;
    control.end(closed).await;
    outcome
}

/// Carries keys, sizes and output until the shell ends.
async fn terminal(context: &Context, shell: &mut Shell) -> Result<ExitCode, Failure> {
    let lent = screen::lend();
    let raw = Raw::enter()?;
    let handle = shell.handle();
    let printed = tokio::select! {
        printed = print(shell) => printed?,
        failed = follow_size(&handle) => return Err(failed.into()),
        () = type_in(&handle) => unreachable!("invariant: it never ends"),
        () = context.stop.raised() => return Err(Failure::interrupted()),
    };
    drop(raw);
    drop(lent);
    match printed {
        Printed::Unread => Ok(ExitCode::SUCCESS),
        // A terminal's session carries no exit code: however the shell ended, it has ended.
        Printed::All(Error::SessionEnded { output }, _) if output.trim().is_empty() => {
            context.view.say("the shell has ended");
            Ok(ExitCode::SUCCESS)
        }
        Printed::All(error, _) => Err(error.into()),
    }
}

/// Prints what the command prints and returns its exit code.
async fn command(context: &Context, shell: &mut Shell) -> Result<ExitCode, Failure> {
    let lent = screen::lend();
    let handle = shell.handle();
    let printed = tokio::select! {
        printed = print(shell) => printed?,
        () = context.stop.raised() => {
            // Without this it would go on there.
            drop(handle.write(CTRL_C.into()).await);
            drop(timeout(LAST_WORDS, print(shell)).await);
            return Err(Failure::interrupted());
        }
    };
    drop(lent);
    match printed {
        Printed::Unread => Ok(ExitCode::SUCCESS),
        // -1, of a command that a signal ended, is none of ours either.
        Printed::All(_, Some(code)) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))),
        Printed::All(Error::SessionEnded { output }, None) if output.trim().is_empty() => {
            Err(Failure::new(Exit::Tunnel, anyhow::Error::msg("the session ended without an exit code")))
        }
        Printed::All(error, None) => Err(error.into()),
    }
}

/// How far printing went.
enum Printed {
    /// To the end of the session, for that reason; with the command's exit code, if there is one.
    All(Error, Option<i32>),
    /// Until nobody read it any more.
    Unread,
}

/// Prints what comes until the end.
#[expect(
    clippy::disallowed_methods,
    reason = "what the bastion's programs write is for whoever runs them there"
)]
async fn print(shell: &mut Shell) -> io::Result<Printed> {
    let mut code = None;
    loop {
        let next = match code {
            None => shell.next().await,
            // An agent may tell an error after the code.
            Some(_) => timeout(LAST_WORDS, shell.next()).await.unwrap_or(ShellEvent::Ended(Error::Closed)),
        };
        let written = match next {
            ShellEvent::Output(bytes) => write(io::stdout(), bytes).await,
            ShellEvent::StdErr(bytes) => write(io::stderr(), bytes).await,
            ShellEvent::Exit(told) => {
                code = Some(told);
                Ok(())
            }
            ShellEvent::Ended(error) => return Ok(Printed::All(error, code)),
        };
        match written {
            // A reader that has seen enough, such as `head`, is no error.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Printed::Unread),
            other => other?,
        }
    }
}

/// Writes to a stream that may make us wait: a pager, or a terminal that is held up.
async fn write(mut stream: impl Write + Send + 'static, bytes: Bytes) -> io::Result<()> {
    spawn_blocking(move || stream.write_all(&bytes).and_then(|()| stream.flush())).await?
}

/// Types what comes on standard input, and never ends. From a file or a pipe it is typed as it is, and its end is Ctrl-D.
async fn type_in(handle: &ShellHandle) {
    let mut ends_in_line = true;
    let mut typed = read_stdin();
    while let Some(bytes) = typed.recv().await {
        ends_in_line = bytes.ends_with(b"\n");
        if handle.write(bytes.into()).await.is_err() {
            return pending().await;
        }
    }
    // Within a line Ctrl-D is not the end of input.
    let end = if ends_in_line { CTRL_D } else { b"\n\x04" };
    drop(handle.write(end.into()).await);
    pending().await
}

/// Returns what comes on standard input. A thread of its own waits for it, and is left behind by the program's end.
fn read_stdin() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok(length @ 1..) = io::stdin().read(&mut buffer) {
            if sender.blocking_send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Tells the terminal's size, now and whenever it changes; returns only why that cannot be watched.
async fn follow_size(handle: &ShellHandle) -> io::Error {
    let mut changed = match signal(SignalKind::window_change()) {
        Ok(changed) => changed,
        Err(error) => return error,
    };
    loop {
        if let Some(size) = terminal::size()
            && handle.resize(size).await.is_err()
        {
            return pending().await;
        }
        changed.recv().await;
    }
}

fn unopened(error: Error) -> Failure {
    let is_key = matches!(error, Error::Control { action: "encrypt", .. });
    let failure = Failure::from(error);
    if !is_key {
        return failure;
    }
    failure.hint(
        "the account's Session Manager preferences ask for encryption: allow `kms:GenerateDataKey` on their key, and \
         `kms:Decrypt` to the bastion's role",
    )
}
