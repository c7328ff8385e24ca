//! The RabbitMQ adapter: events in through lanes, changes out through the relay. It depends on the engine and on no
//! other adapter.

mod ack_tracker;
mod address;
mod beat;
mod clock;
mod consumer;
mod error;
mod flight;
mod heartbeat;
mod lane;
mod lane_worker;
mod link;
mod message;
mod metrics;
mod outage;
mod pressure;
mod properties;
mod published;
pub mod publisher;
mod relay;
mod relay_watch;
mod routes;
mod screen;
mod state;
pub mod subscription;
mod supervise;
pub mod topology;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use error::BrokerError;
pub use message::read;
pub use state::{BrokerState, BrokerStatus, Severity};

use crate::config::BrokerSettings;
use crate::engine::Engine;
use crate::incident::Incident;
use crate::store::{Outbox, Published};
use crate::wire::Limits;
use address::Address;
use flight::Prefetches;
use outage::StoreWatch;
use pressure::Pressure;
use state::Part;

/// The shared context of all parts.
struct Context {
    settings: BrokerSettings,
    limits: Limits,
    address: Address,
    engine: Arc<Engine>,
    /// All that the relay takes of the store.
    outbox: Arc<dyn Outbox>,
    journal_written: Arc<Notify>,
    watch: StoreWatch,
    pressure: Pressure,
    prefetches: Prefetches,
    state: BrokerState,
    /// The change that this worker published last; survives reconnects.
    last_published: Mutex<Option<Published>>,
    /// The relay fails in a way that only a person can repair; survives reconnects.
    relay_failing: Incident,
    /// Heartbeats do not reach their lanes.
    heartbeats_lost: AtomicBool,
}

impl Context {
    fn new(
        settings: BrokerSettings,
        limits: Limits,
        engine: Arc<Engine>,
        state: BrokerState,
    ) -> Result<Self, BrokerError> {
        let Some(url) = &settings.url else {
            return Err(BrokerError::Settings(
                "broker.url is empty; set it to the URL of RabbitMQ".into(),
            ));
        };
        let address = Address::parse(url.reveal(), &settings.tls)?;
        if settings.lanes == 0
            || settings.prefetch == 0
            || settings.batch_max == 0
            || settings.concurrency == 0
        {
            return Err(BrokerError::Settings(
                "broker.lanes, broker.prefetch, broker.batch_max and broker.concurrency must be 1 or more"
                    .into(),
            ));
        }
        Ok(Self {
            settings,
            limits,
            address,
            outbox: engine.store().clone(),
            journal_written: engine.journal_written(),
            engine,
            watch: StoreWatch::default(),
            pressure: Pressure::default(),
            prefetches: Prefetches::default(),
            state,
            last_published: Mutex::default(),
            relay_failing: Incident::default(),
            heartbeats_lost: AtomicBool::new(false),
        })
    }
}

/// Runs the RabbitMQ adapter until a stop request. It then finishes and acknowledges its current batches, and publishes
/// the remaining changes once all other writers of the journal have finished (`written`). Reconnects after any loss.
/// The future must not be dropped before it completes.
///
/// # Errors
/// Immediately, when the settings are invalid.
pub async fn run(
    settings: BrokerSettings,
    limits: Limits,
    engine: Arc<Engine>,
    state: BrokerState,
    stop: CancellationToken,
    written: CancellationToken,
) -> Result<(), BrokerError> {
    let context = Context::new(settings, limits, engine, state)?;
    let parts = if context.settings.relay {
        &[Part::Consumers, Part::Dead, Part::Heartbeat, Part::Relay][..]
    } else {
        &[Part::Consumers, Part::Dead, Part::Heartbeat]
    };
    metrics::declare(context.settings.lanes, parts);
    context
        .state
        .expect(&context.address.to_string(), parts, context.engine.now());
    let silence = CancellationToken::new();
    let consumers = async {
        tokio::join!(
            supervise::keep_running(Part::Consumers, &context, &stop),
            supervise::keep_running(Part::Dead, &context, &stop),
        );
        written.cancelled().await;
        silence.cancel();
    };
    let relay = async {
        if context.settings.relay {
            supervise::keep_running(Part::Relay, &context, &silence).await;
        }
    };
    tokio::join!(
        consumers,
        supervise::keep_running(Part::Heartbeat, &context, &stop),
        relay_watch::run(&context, &stop),
        relay,
    );
    Ok(())
}
