//! The loop over one connection: it gives the session its turns, reads frames, sends heartbeats and waits.

use std::time::SystemTime;

use tokio::time::{Instant, sleep_until};

use crate::error::Error;
use crate::heartbeat::Heartbeat;
use crate::traffic::{End, Traffic};
use crate::websocket::{Connection, Reading};

/// Carries the session over one connection until that is over.
pub(crate) async fn drive(traffic: &mut impl Traffic, connection: &mut Connection) -> End {
    let mut heartbeat = Heartbeat::new(Instant::now().into_std(), SystemTime::now());
    let ready_by = Instant::now() + traffic.handshake_limit();
    loop {
        let now = Instant::now();
        if let Some(end) = traffic.turn(connection, now) {
            return end;
        }
        let waits = !traffic.is_ready();
        if waits && now >= ready_by {
            return End::Over(Error::HandshakeTimedOut { limit: traffic.handshake_limit() });
        }
        let reading = traffic.reading();
        if reading == Reading::Stopped {
            // We do not read, so silence says nothing about the agent or the connection.
            heartbeat.on_heard(now.into_std());
            traffic.reliable().on_heard(now.into_std());
        }
        if let Err(dead) = connection.beat(&mut heartbeat, now) {
            return End::Lost(dead);
        }
        let timers = [traffic.next_timer(now), waits.then_some(ready_by)];
        let wake_at = timers.into_iter().flatten().fold(Instant::from_std(heartbeat.next()), Instant::min);
        tokio::select! {
            biased;
            received = connection.next(reading) => {
                let frames = match received {
                    Ok(frames) => frames,
                    Err(error) => return End::Lost(error),
                };
                heartbeat.on_heard(Instant::now().into_std());
                for frame in frames {
                    if let Some(end) = traffic.on_frame(frame, connection) {
                        return end;
                    }
                }
            }
            () = traffic.wait(reading) => (),
            () = sleep_until(wake_at) => (),
        }
    }
}
