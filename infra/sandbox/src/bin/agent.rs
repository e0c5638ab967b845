//! The bastion's agent, for a container: everything is told by the environment, nothing by arguments.

use std::process::ExitCode;

use sandbox::{ProgramSettings, run_agent};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let settings = match ProgramSettings::read(|name| std::env::var(name).ok()) {
        Ok(settings) => settings,
        Err(error) => {
            log(&error.to_string());
            return ExitCode::from(2);
        }
    };
    // As the first process of a container it would not end by the signal itself.
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return ExitCode::FAILURE };
    tokio::select! {
        () = run_agent(settings, log) => ExitCode::FAILURE,
        _ = terminated.recv() => ExitCode::SUCCESS,
    }
}

#[expect(clippy::print_stderr, reason = "this is the program's log")]
fn log(line: &str) {
    eprintln!("drawbridge-agent: {line}");
}
