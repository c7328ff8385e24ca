//! The webhooks adapter: delivers changes over HTTP to the endpoints of receivers, in order for each client, at least once.
//!
//! One worker at a time delivers, to all endpoints, as one publishes over RabbitMQ: it holds the lead of delivery. Each endpoint has
//! a task of its own, so that a slow one holds up nobody.

mod delivery;
mod metrics;
mod sender;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use delivery::{KeysError, keys};
pub use sender::{Message, Response, SendError, Sender, SenderError};

use crate::config::WebhookSettings;
use crate::engine::{Engine, Introduced, pause_at_end};
use crate::interval::Interval;
use crate::store::{Cursor, Endpoint, EndpointStatus, StoreError};
use delivery::{Delivery, Ended};

/// How often the endpoints and the lead are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After how many looks a worker without the lead tries to acquire it: each attempt opens a connection to PostgreSQL.
const LEAD_LOOKS: u32 = 5;

/// Delivers until it is stopped, and then finishes the requests in progress.
///
/// # Errors
/// When the settings make no sender.
pub async fn run(
    settings: WebhookSettings,
    engine: Arc<Engine>,
    stop: CancellationToken,
) -> Result<(), SenderError> {
    let (end, _) = watch::channel(Cursor::default());
    let mut deliveries = Deliveries {
        sender: Sender::new(&settings)?,
        settings: Arc::new(settings),
        engine: engine.clone(),
        end: end.clone(),
        running: BTreeMap::new(),
        declared: BTreeSet::new(),
        disabled: BTreeSet::new(),
        noted: BTreeSet::new(),
        looks: 0,
        is_introduced: false,
    };
    let looking = async {
        let mut interval = Interval::new(LOOK_EVERY, &stop);
        while interval.tick().await {
            if let Err(error) = deliveries.look().await {
                tracing::debug!(%error, "the endpoints of webhooks cannot be read; trying again");
            }
        }
        deliveries.finish().await;
    };
    tokio::join!(follow(&engine, &end, &stop), looking);
    Ok(())
}

/// Reports the end of the journal whenever it has moved. Reads nothing while this worker delivers to no endpoint.
async fn follow(engine: &Engine, end: &watch::Sender<Cursor>, stop: &CancellationToken) {
    let written = engine.delivery_written();
    while !stop.is_cancelled() {
        if end.receiver_count() > 0 {
            match stop.run_until_cancelled(engine.store().feed_end()).await {
                Some(Ok(reached)) => {
                    let reached = reached.0.cursor;
                    end.send_if_modified(|seen| std::mem::replace(seen, reached) != reached);
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "the end of the journal cannot be read; trying again");
                }
                None => {}
            }
        }
        pause_at_end(&written, stop).await;
    }
}

/// The deliveries of this worker.
struct Deliveries {
    sender: Sender,
    settings: Arc<WebhookSettings>,
    engine: Arc<Engine>,
    /// The end of the journal.
    end: watch::Sender<Cursor>,
    running: BTreeMap<String, Running>,
    /// The endpoints that have metrics.
    declared: BTreeSet<String>,
    /// The endpoints that were disabled when they were last looked at.
    disabled: BTreeSet<String>,
    /// The disabled endpoints to which this worker delivered.
    noted: BTreeSet<String>,
    looks: u32,
    /// Whether the endpoints of the settings are in the store.
    is_introduced: bool,
}

struct Running {
    revision: i64,
    stop: CancellationToken,
    task: JoinHandle<Ended>,
}

impl Deliveries {
    async fn look(&mut self) -> Result<(), StoreError> {
        if !self.is_introduced {
            self.introduce().await?;
            self.is_introduced = true;
        }
        let endpoints = match self.engine.store().endpoints().await {
            Ok(endpoints) => endpoints,
            Err(error) => {
                // Without the store, nobody knows who has the lead.
                self.abandon();
                return Err(error);
            }
        };
        self.report(&endpoints);
        let is_active = |endpoint: &Endpoint| endpoint.status == EndpointStatus::Active;
        let active: Vec<Endpoint> = endpoints.into_iter().filter(is_active).collect();
        if !self.acquire_lead(!active.is_empty()).await? {
            return Ok(());
        }
        self.stop_others(&active).await;
        for endpoint in active {
            if !self.running.contains_key(&endpoint.name) {
                self.start(endpoint).await?;
            }
        }
        Ok(())
    }

    /// Puts the endpoints of the settings into the store.
    async fn introduce(&self) -> Result<(), StoreError> {
        let wanted = self.settings.endpoints.iter();
        let wanted = wanted.map(|(name, given)| (name.clone(), (given.url.clone(), given.filter.clone())));
        for (name, introduced) in self.engine.introduce_endpoints(&wanted.collect()).await? {
            match introduced {
                Introduced::Known => {}
                Introduced::Added => {
                    tracing::info!(
                        endpoint = name,
                        "an endpoint from the settings receives changes from now on"
                    );
                }
                Introduced::Changed => {
                    tracing::info!(endpoint = name, "the settings of an endpoint have changed");
                }
                Introduced::NameTaken => tracing::error!(
                    endpoint = name,
                    "an endpoint from the settings receives nothing: `tenure webhook add` has added another one of the same name; \
                     remove or rename one of them"
                ),
                Introduced::TooMany => tracing::error!(
                    endpoint = name,
                    "an endpoint from the settings receives nothing: there are too many endpoints"
                ),
            }
        }
        Ok(())
    }

    fn report(&mut self, endpoints: &[Endpoint]) {
        let names: BTreeSet<&str> = endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
        for gone in self.disabled.iter().filter(|name| !names.contains(name.as_str())) {
            ::metrics::gauge!(metrics::DISABLED, "endpoint" => gone.clone()).set(0.0);
        }
        let disabled = |endpoint: &&Endpoint| endpoint.status == EndpointStatus::Disabled;
        for endpoint in endpoints {
            if self.declared.insert(endpoint.name.clone()) {
                metrics::declare(&endpoint.name);
            }
            ::metrics::gauge!(metrics::DISABLED, "endpoint" => endpoint.name.clone())
                .set(u8::from(disabled(&endpoint)));
        }
        self.declared.retain(|name| names.contains(name.as_str()));
        self.noted.retain(|name| names.contains(name.as_str()));
        for endpoint in endpoints {
            if endpoint.status == EndpointStatus::Disabled {
                if self.running.contains_key(&endpoint.name) {
                    self.noted.insert(endpoint.name.clone());
                }
            } else if self.noted.remove(&endpoint.name) {
                tracing::info!(
                    endpoint = endpoint.name,
                    "an endpoint of a webhook is no longer disabled"
                );
            }
        }
        self.disabled = endpoints
            .iter()
            .filter(disabled)
            .map(|endpoint| endpoint.name.clone())
            .collect();
    }

    /// Acquires the lead if it is needed and free, or checks that this worker still has it. Without it, nothing is delivered.
    async fn acquire_lead(&mut self, is_needed: bool) -> Result<bool, StoreError> {
        let store = self.engine.store().clone();
        if !is_needed || !self.settings.deliver {
            if self.engine.duties().leads_webhooks() {
                self.finish().await;
            }
            return Ok(false);
        }
        self.looks = (self.looks + 1) % LEAD_LOOKS;
        let led = self.engine.duties().leads_webhooks();
        if !led && self.looks != 1 {
            return Ok(false);
        }
        let acquired = store.acquire_delivery_lead().await;
        let leads = matches!(acquired, Ok(true));
        if !leads {
            self.abandon();
        } else if !led {
            tracing::info!("this worker delivers to the endpoints of webhooks now");
        }
        self.engine.duties().lead_webhooks(leads);
        acquired
    }

    /// Stops deliveries to endpoints that have changed or are no longer active. Others go on meanwhile: a delivery that stops first
    /// finishes its requests.
    async fn stop_others(&mut self, active: &[Endpoint]) {
        let is_present = |name: &String, running: &Running| {
            active
                .iter()
                .any(|endpoint| endpoint.name == *name && endpoint.revision == running.revision)
        };
        for (name, running) in &self.running {
            if !is_present(name, running) && !running.stop.is_cancelled() {
                tracing::info!(
                    endpoint = name,
                    "delivery to an endpoint stops: it was changed, paused or removed"
                );
                running.stop.cancel();
            }
        }
        for (name, running) in self
            .running
            .extract_if(.., |_, running| running.task.is_finished())
        {
            match running.task.await {
                Ok(Ended::Stopped | Ended::Disabled(_)) => {}
                Ok(Ended::Store(error)) => {
                    tracing::debug!(%error, endpoint = name, "changes cannot be read or recorded; trying again");
                }
                Err(panic) => {
                    tracing::error!(%panic, endpoint = name, "a delivery failed; this is a bug: report it with the log");
                }
            }
        }
    }

    async fn start(&mut self, endpoint: Endpoint) -> Result<(), StoreError> {
        let (name, revision) = (endpoint.name.clone(), endpoint.revision);
        let (engine, settings) = (self.engine.clone(), self.settings.clone());
        let delivery = match Delivery::new(engine, self.sender.clone(), settings, endpoint) {
            Ok(delivery) => delivery,
            Err(undeliverable) => {
                let why = undeliverable.to_string();
                if self.engine.disable_endpoint(&name, revision, &why).await? {
                    tracing::error!(endpoint = name, why, "an endpoint of a webhook is disabled");
                    self.noted.insert(name);
                }
                return Ok(());
            }
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(delivery.run(self.end.subscribe(), stop.clone()));
        let running = Running { revision, stop, task };
        self.running.insert(name, running);
        Ok(())
    }

    /// Ends all deliveries at once: another worker may deliver by now.
    fn abandon(&mut self) {
        for running in std::mem::take(&mut self.running).into_values() {
            running.task.abort();
        }
    }

    /// Finishes the requests in progress, and releases the lead.
    async fn finish(&mut self) {
        let running = std::mem::take(&mut self.running);
        for running in running.values() {
            running.stop.cancel();
        }
        for running in running.into_values() {
            let _ = running.task.await;
        }
        self.engine.duties().lead_webhooks(false);
        if let Err(error) = self.engine.store().release_delivery_lead().await {
            tracing::debug!(%error, "the lead of delivery cannot be released; the store releases it with its session");
        }
    }
}
