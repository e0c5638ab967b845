//! Ctrl-C, SIGTERM and SIGHUP: the first stops between steps, the second ends the program.

use aws::Stop;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use crate::shutdown::{AT_ONCE, Shutdown};
use crate::view::View;
use crate::{screen, terminal};

/// The three that end programs.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

/// Which of them came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Ctrl-C: every program on the terminal gets it.
    Interrupt,
    /// SIGTERM, or the terminal went away.
    Terminate,
}

impl Signals {
    /// # Errors
    /// The system refuses to install the handlers.
    pub fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Returns the next one.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Interrupt,
            _ = self.terminate.recv() => Asked::Terminate,
            _ = self.hangup.recv() => Asked::Terminate,
        }
    }
}

/// Returns the flag that the first signal sets. The second ends what is open at AWS and the program, with 130.
///
/// # Errors
/// The system refuses to install the handlers.
pub fn watch(view: &View, shutdown: &Shutdown) -> std::io::Result<Stop> {
    let stop = Stop::new();
    let mut signals = Signals::new()?;
    let (flag, view, shutdown) = (stop.clone(), view.clone(), shutdown.clone());
    tokio::spawn(async move {
        loop {
            let asked = signals.next().await;
            if shutdown.leaves_interrupts() && asked == Asked::Interrupt {
                continue;
            }
            // While a question waits nothing is in flight, and nobody reads what would be said.
            if flag.is_raised() || screen::is_asking() {
                shutdown.end_all(AT_ONCE).await;
                terminal::restore();
                screen::end_line();
                screen::leave();
                screen::erase_echo();
                std::process::exit(130);
            }
            view.say("stopping after the calls in flight; once more ends at once");
            flag.raise();
        }
    });
    Ok(stop)
}

/// Raises the migration engine's flag when Ctrl-C is pressed, until the returned handle is aborted.
pub fn forward(asked: &Stop, flag: &db::migrate::Stop) -> JoinHandle<()> {
    let (asked, flag) = (asked.clone(), flag.clone());
    tokio::spawn(async move {
        asked.raised().await;
        flag.raise();
    })
}
