//! Ctrl-C and SIGTERM: the first stops between steps, the second at once.

use aws::Stop;
use tokio::signal::unix::{SignalKind, signal};

use crate::view::View;

/// Returns the flag that the first signal sets. The second signal ends the program with 130.
///
/// # Errors
/// The system refuses to install the handler.
pub fn watch(view: &View) -> std::io::Result<Stop> {
    let stop = Stop::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (flag, view) = (stop.clone(), view.clone());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => (),
                _ = terminate.recv() => (),
            }
            if flag.is_raised() {
                std::process::exit(130);
            }
            view.say("stopping after the calls in flight; once more ends at once");
            flag.raise();
        }
    });
    Ok(stop)
}
