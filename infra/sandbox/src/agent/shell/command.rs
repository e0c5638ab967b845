//! A single command without a terminal.

use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tunnel::{PAYLOAD_SIZE, PayloadType, render_exit_code};

use super::super::link::Over;
use super::place::{Place, environment};
use super::talk::Talk;

/// What the client gets to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outputs {
    /// Standard output and standard error, and then the exit code.
    Apart,
    /// Both as one, and no exit code: what agents do unless told otherwise.
    Together,
}

/// Runs a command line until it ends: cut into words as a shell would, but without one, and without standard input.
pub(super) async fn run(talk: &mut Talk, line: &str, outputs: Outputs, place: Place<'_>) -> Result<(), Over> {
    let mut child = match start(line, place) {
        Ok(child) => child,
        Err(why) => {
            if outputs == Outputs::Apart {
                talk.output(PayloadType::ExitCode, &render_exit_code(1));
            }
            talk.output(PayloadType::StdErr, why.as_bytes());
            return Ok(());
        }
    };
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let error_type = if outputs == Outputs::Apart { PayloadType::StdErr } else { PayloadType::Output };
    while stdout.is_some() || stderr.is_some() {
        let may_send = talk.next_output().is_some();
        tokio::select! {
            message = talk.next_or_turn() => if let Some((PayloadType::Output, bytes)) = message? {
                signal(&child, &bytes);
            },
            chunk = read(&mut stdout), if may_send && stdout.is_some() => match chunk {
                Some(bytes) => talk.output(PayloadType::Output, &bytes),
                None => stdout = None,
            },
            chunk = read(&mut stderr), if may_send && stderr.is_some() => match chunk {
                Some(bytes) => talk.output(error_type, &bytes),
                None => stderr = None,
            },
        }
    }
    let code = loop {
        tokio::select! {
            message = talk.next() => if let (PayloadType::Output, bytes) = message? {
                signal(&child, &bytes);
            },
            // A signal leaves no code; agents say -1.
            status = child.wait() => break status.ok().and_then(|status| status.code()).unwrap_or(-1),
        }
    };
    if outputs == Outputs::Apart {
        talk.output(PayloadType::ExitCode, &render_exit_code(code));
    }
    Ok(())
}

fn start(line: &str, place: Place<'_>) -> Result<Child, String> {
    let words = shlex::split(line).ok_or("Failed to parse commands input: a quote is not closed\n")?;
    let (program, arguments) =
        words.split_first().ok_or("Failed to parse commands input: nothing there\n")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(environment(place.home))
        .current_dir(place.home)
        .kill_on_drop(true);
    if let Some(user) = place.user {
        // The standard library drops root's other groups along with this.
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(|error| format!("Error occurred starting the command: {program}: {error}\n"))
}

async fn read(pipe: &mut Option<impl AsyncRead + Unpin>) -> Option<Vec<u8>> {
    let mut buffer = vec![0; PAYLOAD_SIZE];
    let length = pipe.as_mut()?.read(&mut buffer).await.unwrap_or(0);
    buffer.truncate(length);
    (length > 0).then_some(buffer)
}

/// Ctrl-C and Ctrl-\ are signals; all else that is typed is dropped.
fn signal(child: &Child, typed: &[u8]) {
    let signal = typed.iter().find_map(|byte| match byte {
        0x03 => Some(Signal::SIGINT),
        0x1c => Some(Signal::SIGQUIT),
        _ => None,
    });
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    if let (Some(signal), Some(pid)) = (signal, pid) {
        // It may have ended at this moment.
        kill(Pid::from_raw(pid), signal).ok();
    }
}
