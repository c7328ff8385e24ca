//! Keeps a connection and all that is on it: after any loss, everything is built anew.
//!
//! lapin can recover by itself, but not from everything: what a restarted broker does not know any more, what a
//! cancelled consumer had in hand. Starting again from nothing has one way, and it is the one that is
//! tested at every start.

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
/// A session that held so long was in order: the next attempt comes soon again.
const IN_ORDER: Duration = Duration::from_secs(10);

/// Keeps a part running until told to stop.
pub(super) async fn keep(part: Part, context: &Context, stop: &CancellationToken) {
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

/// Connects and works until something is lost, or until told to stop. `began` is set when it is connected.
async fn once(
    part: Part,
    context: &Context,
    stop: &CancellationToken,
    began: &mut Option<Instant>,
) -> Result<(), BrokerError> {
    let connection = tokio::select! {
        connected = context.address.connect(part.connection_name(), part.frame_max()) => connected?,
        () = stop.cancelled() => return Ok(()),
    };
    *began = Some(Instant::now());
    let stop = stop.child_token();
    let result = {
        let mut session = std::pin::pin!(session(part, context, &connection, &stop));
        tokio::select! {
            ended = &mut session => ended,
            error = lost(&connection) => {
                // What is under way with the store is not to be dropped half way.
                stop.cancel();
                // Who was refused knows best what to do about it.
                match tokio::time::timeout(ABANDON_AFTER, session).await {
                    Ok(Err(refused @ BrokerError::Refused(_))) => Err(refused),
                    Ok(_) => Err(error),
                    Err(_) => {
                        tracing::error!(
                            broker.connection = part.connection_name(),
                            "what used a lost connection does not end and is abandoned; this is a fault in Tenure"
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
