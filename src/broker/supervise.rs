//! Maintains a connection and everything on it: after any loss, all of it is rebuilt.
//!
//! lapin has its own recovery, but it does not cover everything: objects that a restarted broker no longer has,
//! deliveries that a cancelled consumer still held. A restart from scratch has a single code path, and every start
//! exercises it.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::address::{close, lost};
use super::error::BrokerError;
use super::link::Link;
use super::state::Part;
use super::{Context, consumer, heartbeat, relay};
use crate::backoff::Backoff;

/// How long a session may take to end once its connection is lost: longer than any call to the store.
const ABANDON_AFTER: Duration = Duration::from_mins(2);
/// A session that lasted this long was healthy: the backoff resets.
const IN_ORDER: Duration = Duration::from_secs(10);

/// Runs a part until a stop request.
pub(super) async fn keep_running(part: Part, context: &Context, stop: &CancellationToken) {
    let mut backoff = Backoff::default();
    loop {
        let mut began = None;
        let ended = once(part, context, stop, &mut began).await;
        if stop.is_cancelled() {
            if let Err(error) = ended {
                tracing::debug!(%error, "lost while stopping");
            }
            return;
        }
        let error = ended
            .err()
            .unwrap_or_else(|| BrokerError::Unreachable("it ended by itself".into()));
        if began.is_some_and(|began: Instant| began.elapsed() > IN_ORDER) {
            backoff.reset();
        }
        context.state.down(part, &error, context.engine.now());
        let goes_on = match error {
            BrokerError::Login(_) => Backoff::wait_patiently(stop).await,
            _ => backoff.wait(stop).await,
        };
        if !goes_on {
            return;
        }
    }
}

/// Connects and runs until a loss or a stop request. Sets `began` once connected.
async fn once(
    part: Part,
    context: &Context,
    stop: &CancellationToken,
    began: &mut Option<Instant>,
) -> Result<(), BrokerError> {
    let connection = tokio::select! {
        connected = context.address.connect(part.connection_name(), Some(part.frame_max())) => connected?,
        () = stop.cancelled() => return Ok(()),
    };
    *began = Some(Instant::now());
    let stop = stop.child_token();
    let result = {
        let mut session = std::pin::pin!(session(part, context, &connection, &stop));
        tokio::select! {
            ended = &mut session => ended,
            error = lost(&connection) => {
                // Stop the session instead of dropping it: a store operation may be in progress.
                stop.cancel();
                // The refused operation has the most precise advice.
                match tokio::time::timeout(ABANDON_AFTER, session).await {
                    Ok(Err(refused @ BrokerError::Refused(_))) => Err(refused),
                    Ok(_) => Err(error),
                    Err(_) => {
                        tracing::error!(
                            broker.connection = part.connection_name(),
                            "a session does not end after its connection was lost, and is abandoned; this is a bug: report it with the log"
                        );
                        Err(error)
                    }
                }
            }
        }
    };
    close(&connection).await;
    result
}

async fn session(
    part: Part,
    context: &Context,
    connection: &Link,
    stop: &CancellationToken,
) -> Result<(), BrokerError> {
    match part {
        Part::Consumers => consumer::session(context, connection, stop).await,
        Part::Dead => consumer::dead_session(context, connection, stop).await,
        Part::Heartbeat => heartbeat::session(context, connection, stop).await,
        Part::Relay => relay::session(context, connection, stop).await,
    }
}
