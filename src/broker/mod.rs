//! The door to RabbitMQ: events in by lanes, changes out by the relay. It knows the engine and no other door.

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
mod supervise;
pub mod topology;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use error::BrokerError;
pub use message::read;
pub use state::{BrokerState, BrokerStatus, Severity};

use crate::config;
use crate::engine::Engine;
use crate::store::Published;
use crate::wire::Limits;
use address::Address;
use flight::Prefetches;
use outage::StoreWatch;
use pressure::Pressure;
use state::Part;

/// How to work with RabbitMQ.
#[derive(Clone)]
pub struct BrokerSettings {
    /// With the password in it: never shown.
    pub url: String,
    pub tls: config::TlsFiles,
    /// Queues that events are spread over, at least 1. The same for every worker.
    pub lanes: u16,
    /// Messages that a lane may have under way unacknowledged.
    pub prefetch: u16,
    /// Bytes of such messages, or one message.
    pub prefetch_bytes: usize,
    /// Messages of a batch at most.
    pub batch_max: usize,
    /// Batches of a lane that are written beside each other, at least 1.
    pub concurrency: u16,
    /// How often each lane is asked how far it has come.
    pub heartbeat: Duration,
    pub max_event_bytes: usize,
    pub max_clock_skew: Duration,
    /// Whether to publish the journal.
    pub relay: bool,
    /// Whether to declare exchanges, queues and bindings.
    pub declare: bool,
}

impl BrokerSettings {
    /// Those of the configuration. None: there is no broker.
    #[must_use]
    pub fn of(settings: &config::Settings) -> Option<Self> {
        let broker = &settings.broker;
        Some(Self {
            url: broker.url.as_ref()?.reveal().to_owned(),
            tls: broker.tls.clone(),
            lanes: broker.lanes.into(),
            prefetch: broker.prefetch,
            prefetch_bytes: broker.prefetch_bytes,
            batch_max: broker.batch_max,
            concurrency: broker.concurrency,
            heartbeat: broker.heartbeat,
            max_event_bytes: settings.events.max_bytes,
            max_clock_skew: settings.events.max_clock_skew,
            relay: broker.relay,
            declare: broker.declare,
        })
    }

    fn limits(&self) -> Limits {
        Limits {
            max_event_bytes: self.max_event_bytes,
            max_clock_skew: self.max_clock_skew,
        }
    }
}

impl std::fmt::Debug for BrokerSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrokerSettings")
            .field("lanes", &self.lanes)
            .field("prefetch", &self.prefetch)
            .field("prefetch_bytes", &self.prefetch_bytes)
            .field("batch_max", &self.batch_max)
            .field("concurrency", &self.concurrency)
            .field("heartbeat", &self.heartbeat)
            .field("relay", &self.relay)
            .field("declare", &self.declare)
            .finish_non_exhaustive()
    }
}

/// What everything here works with.
struct Context {
    settings: BrokerSettings,
    address: Address,
    engine: Arc<Engine>,
    journal_written: Arc<Notify>,
    watch: StoreWatch,
    pressure: Pressure,
    prefetches: Prefetches,
    state: BrokerState,
    /// The change that this worker published last, whatever becomes of its connections.
    last_published: Mutex<Option<Published>>,
    /// Heartbeats found no way to their lanes.
    heartbeats_lost: AtomicBool,
    /// This worker leads the relay.
    leads: AtomicBool,
}

/// Works with RabbitMQ until told to stop: then what is in hand is finished and acknowledged, and when also nobody else
/// writes to the journal any more (`written`), what it has gathered is told. Whatever is lost meanwhile is waited for. Not
/// to be dropped before it returns.
///
/// # Errors
/// At once, when the settings cannot work.
pub async fn run(
    settings: BrokerSettings,
    engine: Arc<Engine>,
    state: BrokerState,
    stop: CancellationToken,
    written: CancellationToken,
) -> Result<(), BrokerError> {
    let address = Address::parse(&settings.url, &settings.tls)?;
    if settings.lanes == 0 || settings.prefetch == 0 || settings.batch_max == 0 || settings.concurrency == 0 {
        return Err(BrokerError::Settings(
            "broker.lanes, broker.prefetch, broker.batch_max and broker.concurrency must be 1 or more".into(),
        ));
    }
    let parts = if settings.relay {
        &[Part::Consumers, Part::Dead, Part::Heartbeat, Part::Relay][..]
    } else {
        &[Part::Consumers, Part::Dead, Part::Heartbeat]
    };
    state.expect(&address.to_string(), parts, engine.now());
    let context = Context {
        settings,
        address,
        journal_written: engine.journal_written(),
        engine,
        watch: StoreWatch::default(),
        pressure: Pressure::default(),
        prefetches: Prefetches::default(),
        state,
        last_published: Mutex::default(),
        heartbeats_lost: AtomicBool::new(false),
        leads: AtomicBool::new(false),
    };
    let silence = CancellationToken::new();
    let consumers = async {
        tokio::join!(
            supervise::keep(Part::Consumers, &context, &stop),
            supervise::keep(Part::Dead, &context, &stop),
        );
        written.cancelled().await;
        silence.cancel();
    };
    let relay = async {
        if context.settings.relay {
            supervise::keep(Part::Relay, &context, &silence).await;
        }
    };
    tokio::join!(
        consumers,
        supervise::keep(Part::Heartbeat, &context, &stop),
        relay_watch::run(&context, &stop),
        relay,
    );
    Ok(())
}
