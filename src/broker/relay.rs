//! The outbox relay: publishes the journal to `tenure.changes`, in the journal's order, at least once.
//!
//! The cursor moves when RabbitMQ has confirmed; after a crash in between, some changes are told twice, with the
//! same id. One worker at a time leads; the others wait for the lead.

use std::pin::{Pin, pin};
use std::time::Duration;

use lapin::Connection;
use lapin::options::ExchangeDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, ExchangeKind};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::error::BrokerError;
use super::publisher::{Outgoing, Publisher};
use super::state::Part;
use super::{Context, metrics, topology};
use crate::store::{Recorded, StoreError};

/// Journal lines that are published before the cursor moves, and may be told twice after a crash.
const CHUNK: u32 = 500;
/// How long a change of another worker may lie before this one, which leads, looks for it.
const POLL: Duration = Duration::from_millis(100);
/// How long the lead may be without a leader.
const LEAD_POLL: Duration = Duration::from_secs(1);

/// How long the telling may go on when told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// What there was to do.
enum Round {
    /// Another worker leads.
    Following,
    /// Everything is told.
    Idle,
    /// So many lines.
    Published(usize),
    /// Told to stop, and the confirms did not come in time: what was published will be told again.
    GivenUp,
}

enum RelayError {
    Broker(BrokerError),
    Store(StoreError),
}

impl From<BrokerError> for RelayError {
    fn from(error: BrokerError) -> Self {
        Self::Broker(error)
    }
}

impl From<StoreError> for RelayError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Relays until told to stop, and then what is left; or until the connection is lost. The store's failures are
/// waited out.
pub(super) async fn session(
    context: &Context,
    connection: &Connection,
    stop: &CancellationToken,
) -> Result<(), BrokerError> {
    let mut publisher = Publisher::on(connection).await?;
    if context.settings.declare {
        topology::declare_changes(publisher.channel()).await?;
    } else {
        check_changes(publisher.channel()).await?;
    }
    context.state.up(Part::Relay, context.engine.now());
    let mut late = pin!(late(stop));
    let mut backoff = Backoff::default();
    while !stop.is_cancelled() {
        match round(context, &mut publisher, late.as_mut()).await {
            Ok(Round::GivenUp) => return Ok(()),
            Ok(done) => {
                backoff.reset();
                context.watch.answered();
                rest(context, &done, stop).await;
            }
            Err(RelayError::Store(error)) => {
                if !error.is_transient() && backoff.is_fresh() {
                    tracing::error!(why = %error, "the journal cannot be relayed; trying again and again");
                }
                context.watch.failed(&error);
                backoff.wait(stop).await;
            }
            Err(RelayError::Broker(error)) => return Err(error),
        }
    }
    match tell_rest(context, &mut publisher, late).await {
        // Whoever relays next tells it.
        Err(RelayError::Store(_)) | Ok(()) => Ok(()),
        Err(RelayError::Broker(error)) => Err(error),
    }
}

/// Publishes what the journal holds by now, and nothing that others write meanwhile.
async fn tell_rest(
    context: &Context,
    publisher: &mut Publisher,
    mut late: Pin<&mut impl Future<Output = ()>>,
) -> Result<(), RelayError> {
    let mut left = usize::try_from(context.engine.store().relay_backlog().await?).unwrap_or_default();
    while left > 0 {
        match round(context, publisher, late.as_mut()).await? {
            Round::Published(lines) => left = left.saturating_sub(lines),
            // Another transaction holds it back, mostly for a moment.
            Round::Idle => tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                () = late.as_mut() => break,
            },
            Round::Following | Round::GivenUp => break,
        }
    }
    Ok(())
}

/// Publishes the next lines of the journal, if it is ours to do.
async fn round(
    context: &Context,
    publisher: &mut Publisher,
    late: Pin<&mut impl Future<Output = ()>>,
) -> Result<Round, RelayError> {
    let store = context.engine.store();
    if !store.lead_relay().await? {
        return Ok(Round::Following);
    }
    let lines = store.relay_next(CHUNK).await?;
    let lag = lines.first().map_or(0.0, |oldest| {
        (context.engine.now() - oldest.recorded_at)
            .as_seconds_f64()
            .max(0.0)
    });
    ::metrics::gauge!(metrics::RELAY_LAG).set(lag);
    let Some(last) = lines.last().map(|line| line.cursor) else {
        return Ok(Round::Idle);
    };
    tokio::select! {
        told = tell(publisher, &lines) => told?,
        () = late => return Ok(Round::GivenUp),
    }
    store.relay_done(last).await?;
    Ok(Round::Published(lines.len()))
}

async fn tell(publisher: &mut Publisher, lines: &[Recorded]) -> Result<(), BrokerError> {
    for line in lines {
        publisher.publish(Outgoing::change(line)).await?;
    }
    publisher.flush().await
}

/// A while after being told to stop. A broker that is short of memory confirms nothing, for as long as it is.
async fn late(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(GRACE).await;
}

async fn rest(context: &Context, done: &Round, stop: &CancellationToken) {
    let limit = match done {
        Round::Published(_) | Round::GivenUp => return,
        Round::Idle => POLL,
        Round::Following => LEAD_POLL,
    };
    let written = context.journal_written.notified();
    tokio::select! {
        () = written, if matches!(done, Round::Idle) => {}
        () = tokio::time::sleep(limit) => {}
        () = stop.cancelled() => {}
    }
}

async fn check_changes(channel: &Channel) -> Result<(), BrokerError> {
    let options = ExchangeDeclareOptions {
        passive: true,
        ..Default::default()
    };
    channel
        .exchange_declare(
            topology::CHANGES.into(),
            ExchangeKind::Topic,
            options,
            FieldTable::default(),
        )
        .await
        .map_err(|error| topology::advise(&error, topology::CHANGES))
}
