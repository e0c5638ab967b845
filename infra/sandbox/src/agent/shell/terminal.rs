//! A terminal with a shell in it.

use std::os::unix::fs::fchown;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep_until;
use tunnel::{PAYLOAD_SIZE, PayloadType, TerminalSize};

use super::super::link::Over;
use super::place::{Place, environment};
use super::talk::Talk;

/// Runs `sh`, or a command line in it, until it ends. An agent says nothing of how it ended.
pub(super) async fn run(talk: &mut Talk, line: Option<&str>, place: Place<'_>) -> Result<(), Over> {
    let (mut pty, pts) = pty_process::open().map_err(|_| Over)?;
    let arguments = line.map(|line| ["-c", line]);
    let mut shell = pty_process::Command::new("sh")
        .args(arguments.into_iter().flatten())
        .env_clear()
        .envs(environment(place.home))
        .current_dir(place.home)
        .kill_on_drop(true);
    if let Some(user) = place.user {
        let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
        // Programs open their terminal anew.
        fchown(&pts, Some(uid), Some(gid)).map_err(|_| Over)?;
        shell = shell.uid(uid).gid(gid);
    }
    let _shell = shell.spawn(pts).map_err(|_| Over)?;
    let (mut screen, mut keyboard) = pty.split();
    let mut typed = BytesMut::new();
    let mut buffer = [0; PAYLOAD_SIZE];
    loop {
        let next_output = talk.next_output();
        let printing = async {
            match next_output {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
            screen.read(&mut buffer).await
        };
        tokio::select! {
            message = talk.next_or_turn() => match message? {
                Some((PayloadType::Output, bytes)) => typed.extend_from_slice(&bytes),
                Some((PayloadType::Size, payload)) => {
                    if let Ok(size) = TerminalSize::parse(&payload) {
                        let clip = |length: u32| u16::try_from(length).unwrap_or(u16::MAX);
                        let size = pty_process::Size::new(clip(size.rows), clip(size.cols));
                        keyboard.resize(size).map_err(|_| Over)?;
                    }
                }
                _ => (),
            },
            // A terminal that nobody has open any more cannot be read.
            length = printing => match length {
                Ok(length @ 1..) => talk.output(PayloadType::Output, &buffer[..length]),
                Ok(0) | Err(_) => return Ok(()),
            },
            written = keyboard.write(&typed), if !typed.is_empty() => {
                typed.advance(written.map_err(|_| Over)?);
            }
        }
    }
}
