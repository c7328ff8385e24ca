//! Delivers changes to one endpoint, from its cursor on.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::metrics;
use super::sender::{Message, Response, SendError, Sender};
use super::window::Window;
use crate::backoff::Backoff;
use crate::config::{Secret, WebhookSettings, format_duration};
use crate::domain::time::rfc3339;
use crate::engine::Engine;
use crate::store::{Cursor, DeliveryProgress, Endpoint, EndpointOrigin, FeedFilter, StoreError};
use crate::wire;
use crate::wire::webhook::{EndpointUrl, EndpointUrlError, SigningKey};

/// How often progress is recorded. After a crash, the deliveries since are repeated.
const RECORD_EVERY: Duration = Duration::from_secs(1);
/// How long requests in progress may take once delivery ends. Those that need longer are repeated.
const FINISH_WITHIN: Duration = Duration::from_secs(10);
/// The pause after the first failed attempt.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause that a receiver may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);
/// The longest outcome that is recorded, in characters.
const OUTCOME_CHARS: usize = 300;

/// Why delivery to an endpoint ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// It was asked to, or the endpoint has changed.
    Stopped,
    /// It cannot continue.
    Disabled(String),
    Store(StoreError),
}

/// Why an endpoint cannot receive anything.
#[derive(Debug, thiserror::Error)]
pub(super) enum Undeliverable {
    #[error("its URL cannot be used: {0}")]
    Url(#[from] EndpointUrlError),
    #[error(
        "this version of Tenure does not know a type in its filter; use a newer version, or remove the endpoint"
    )]
    Type,
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The outcome of an attempt, and the change that it was for.
type Attempt = (u64, Result<Response, SendError>);

pub(super) struct Delivery {
    engine: Arc<Engine>,
    sender: Sender,
    settings: Arc<WebhookSettings>,
    endpoint: Endpoint,
    url: EndpointUrl,
    filter: FeedFilter,
    window: Window,
    attempts: FuturesUnordered<BoxFuture<'static, Attempt>>,
    /// When the receiver accepts requests again, as far as it said.
    pause_until: Option<Instant>,
    progress: DeliveryProgress,
    /// Whether the progress differs from what is recorded.
    is_dirty: bool,
    /// Whether the journal may have more changes than were read.
    may_read: bool,
}

impl Delivery {
    /// # Errors
    /// Why the endpoint cannot receive anything.
    pub fn new(
        engine: Arc<Engine>,
        sender: Sender,
        settings: Arc<WebhookSettings>,
        endpoint: Endpoint,
    ) -> Result<Self, Undeliverable> {
        let url = EndpointUrl::parse(&endpoint.url)?;
        let filter = endpoint.filter.of_feed().ok_or(Undeliverable::Type)?;
        let progress = endpoint.progress.clone();
        Ok(Self {
            window: Window::new(progress.cursor),
            engine,
            sender,
            settings,
            endpoint,
            url,
            filter,
            attempts: FuturesUnordered::new(),
            pause_until: None,
            progress,
            is_dirty: false,
            may_read: true,
        })
    }

    /// Delivers until it is stopped, and then finishes the requests in progress.
    pub async fn run(mut self, mut written: watch::Receiver<Cursor>, stop: CancellationToken) -> Ended {
        let Err(mut ended) = self.deliver(&mut written, &stop).await;
        // From now on another worker reports the lag, or nobody delivers.
        self.lag_gauge().set(0.0);
        let end = Instant::now() + FINISH_WITHIN;
        while let Ok(Some((number, outcome))) = tokio::time::timeout_at(end, self.attempts.next()).await {
            if let Err(Ended::Disabled(why)) = self.record_attempt(number, &outcome) {
                ended = Ended::Disabled(why);
            }
        }
        if let Err(error) = self.record().await {
            tracing::debug!(%error, endpoint = self.endpoint.name, "the last deliveries cannot be recorded; they are repeated");
        }
        if let Ended::Disabled(why) = &ended
            && let Err(error) = self.disable(why).await
        {
            return error.into();
        }
        ended
    }

    async fn deliver(
        &mut self,
        written: &mut watch::Receiver<Cursor>,
        stop: &CancellationToken,
    ) -> Result<std::convert::Infallible, Ended> {
        let mut record = tokio::time::interval(RECORD_EVERY);
        record.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if stop.is_cancelled() {
                return Err(Ended::Stopped);
            }
            while self.may_read && self.window.room() > 0 {
                self.read(written).await?;
            }
            self.start()?;
            let wake = self.wakes_at();
            tokio::select! {
                Some((number, outcome)) = self.attempts.next() => self.record_attempt(number, &outcome)?,
                changed = written.changed() => {
                    // The watch ends with its worker.
                    if changed.is_err() {
                        return Err(Ended::Stopped);
                    }
                    self.may_read = true;
                }
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
                _ = record.tick() => {
                    self.report_lag();
                    if !self.record().await? {
                        return Err(Ended::Stopped);
                    }
                }
                () = stop.cancelled() => {}
            }
        }
    }

    /// Reads the next page into the window.
    async fn read(&mut self, written: &mut watch::Receiver<Cursor>) -> Result<(), Ended> {
        written.mark_unchanged();
        let reached = self.window.reached();
        let page = self
            .engine
            .feed(&reached, &self.filter, self.window.room())
            .await?;
        if let Some(gap) = page.gap {
            if reached != self.endpoint.progress.cursor {
                // A backup may have been restored under this worker. The endpoint then continues from its cursor in the backup.
                return Err(Ended::Stopped);
            }
            return Err(Ended::Disabled(format!(
                "its cursor cannot be continued: {gap}; begin again from a snapshot (GET /v1/snapshot), then `tenure webhook \
                 replay NAME --from` its cursor, and `tenure webhook resume NAME`"
            )));
        }
        self.may_read = page.more;
        self.window.add(page);
        self.note_cursor();
        Ok(())
    }

    /// Sends every change that may be sent now.
    fn start(&mut self) -> Result<(), Ended> {
        let now = Instant::now();
        if self.pause_until.is_some_and(|until| now < until) {
            return Ok(());
        }
        self.pause_until = None;
        let sent_at = self.engine.now();
        let keys = self.keys(sent_at)?;
        while let Some(next) = self.window.start(now, self.settings.concurrency) {
            let number = next.number;
            let (id, body) = (
                wire::change_id(next.epoch, next.line),
                wire::change(next.epoch, next.line, self.engine.schemas()),
            );
            let (sender, url, keys) = (self.sender.clone(), self.url.clone(), keys.clone());
            self.attempts.push(Box::pin(async move {
                let message = Message { id: &id, body: &body };
                (number, sender.send(&url, message, &keys, sent_at).await)
            }));
        }
        Ok(())
    }

    /// The keys that sign at this time.
    fn keys(&self, now: DateTime<Utc>) -> Result<Vec<SigningKey>, Ended> {
        keys(&self.endpoint, &self.settings, now)
            .map_err(|error| Ended::Disabled(format!("its secret cannot be used: {error}")))
    }

    /// When there is something to do without a change or a response.
    fn wakes_at(&self) -> Option<Instant> {
        let retry = self.window.next_retry();
        match self.pause_until {
            // Changes that wait for the end of the pause wake it too.
            Some(until) => Some(retry.map_or(until, |retry| retry.max(until))),
            None => retry,
        }
    }

    fn record_attempt(&mut self, number: u64, outcome: &Result<Response, SendError>) -> Result<(), Ended> {
        let now = self.engine.now();
        self.is_dirty = true;
        self.progress.last_attempt_at = Some(now);
        self.progress.last_outcome = shown(outcome);
        let name = self.endpoint.name.clone();
        ::metrics::counter!(metrics::DELIVERIES, "endpoint" => name, "outcome" => metrics::outcome(outcome))
            .increment(1);
        if matches!(outcome, Ok(response) if response.is_success()) {
            self.progress.delivered_at = Some(now);
            self.window.delivered(number);
            self.note_cursor();
            return Ok(());
        }
        self.fail(number, now, outcome)
    }

    fn fail(
        &mut self,
        number: u64,
        now: DateTime<Utc>,
        outcome: &Result<Response, SendError>,
    ) -> Result<(), Ended> {
        let longest = self.settings.max_backoff;
        let retry = |failures: u32| Instant::now() + backoff(failures, longest);
        self.window.failed(number, now, retry);
        if self.progress.failing_since.is_none() {
            let why = &self.progress.last_outcome;
            tracing::warn!(
                endpoint = self.endpoint.name,
                why,
                "an endpoint of a webhook fails; trying again"
            );
        }
        let since = self
            .window
            .failing_since()
            .into_iter()
            .chain(self.progress.failing_since)
            .min();
        self.progress.failing_since = since;
        if let Ok(response) = outcome {
            if response.status == GONE {
                return Err(Ended::Disabled(
                    "it answered 410: it wants no more changes".into(),
                ));
            }
            if let Some(asked) = response
                .retry_after
                .filter(|_| matches!(response.status, 429 | 503))
            {
                self.pause_until = Some(Instant::now() + asked.min(LONGEST_RETRY_AFTER));
            }
        }
        let failing_for = since.map(|since| now - since).unwrap_or_default();
        if failing_for >= self.settings.disable_after {
            return Err(Ended::Disabled(format!(
                "it failed for {} (webhooks.disable_after), most recently: {}",
                format_duration(self.settings.disable_after),
                self.progress.last_outcome
            )));
        }
        Ok(())
    }

    /// The failure of a change ends when the cursor moves past it.
    fn note_cursor(&mut self) {
        let cursor = self.window.cursor();
        if cursor != self.progress.cursor {
            self.progress.cursor = cursor;
            let failing = self.window.failing_since();
            if self.progress.failing_since.is_some() && failing.is_none() {
                tracing::info!(
                    endpoint = self.endpoint.name,
                    "the endpoint receives changes again"
                );
            }
            self.progress.failing_since = failing;
            self.is_dirty = true;
        }
    }

    /// Records the progress. False: the endpoint has changed, and this delivery must end.
    async fn record(&mut self) -> Result<bool, StoreError> {
        if !self.is_dirty {
            return Ok(true);
        }
        let Endpoint { name, revision, .. } = &self.endpoint;
        let store = self.engine.store();
        let is_recorded = store.record_delivery(name, *revision, &self.progress).await?;
        self.is_dirty = !is_recorded;
        Ok(is_recorded)
    }

    fn report_lag(&self) {
        let lag = self.window.oldest().map(|oldest| self.engine.now() - oldest);
        let lag = lag.unwrap_or_default().as_seconds_f64().max(0.0);
        self.lag_gauge().set(lag);
    }

    fn lag_gauge(&self) -> ::metrics::Gauge {
        ::metrics::gauge!(metrics::LAG, "endpoint" => self.endpoint.name.clone())
    }

    async fn disable(&mut self, why: &str) -> Result<(), StoreError> {
        let Endpoint { name, revision, .. } = &self.endpoint;
        if self.engine.disable_endpoint(name, *revision, why).await? {
            tracing::error!(
                endpoint = name,
                why,
                failing_since = self.progress.failing_since.map(rfc3339),
                "an endpoint of a webhook is disabled; when it works again, run `tenure webhook resume`"
            );
        }
        Ok(())
    }
}

/// The receiver wants no more messages.
const GONE: u16 = 410;

/// The keys of an endpoint that sign at this time.
///
/// # Errors
/// When it has none, or one is no secret.
pub fn keys(
    endpoint: &Endpoint,
    settings: &WebhookSettings,
    now: DateTime<Utc>,
) -> Result<Vec<SigningKey>, KeysError> {
    let secrets: Vec<&str> = match endpoint.origin {
        EndpointOrigin::Command => {
            let signs = |until: Option<DateTime<Utc>>| until.is_none_or(|until| until > now);
            let secrets = endpoint.secrets.iter().filter(|secret| signs(secret.until));
            secrets.map(|secret| secret.secret.as_str()).collect()
        }
        EndpointOrigin::Settings => {
            let given = settings
                .endpoints
                .get(&endpoint.name)
                .ok_or(KeysError::NotInSettings)?;
            given.secrets.iter().map(Secret::reveal).collect()
        }
    };
    let keys: Vec<SigningKey> = secrets
        .into_iter()
        .map(SigningKey::parse)
        .collect::<Result<_, _>>()?;
    if keys.is_empty() {
        Err(KeysError::NoSecret)
    } else {
        Ok(keys)
    }
}

/// Why nothing can be signed for an endpoint.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error(
        "the settings do not have this endpoint; give every worker and command the same settings (webhooks.endpoints)"
    )]
    NotInSettings,
    #[error("it has no secret; create one with `tenure webhook rotate`")]
    NoSecret,
    #[error(transparent)]
    Secret(#[from] wire::webhook::SecretError),
}

/// The pause before the next attempt, with jitter.
fn backoff(failures: u32, longest: Duration) -> Duration {
    Backoff::between(FIRST_PAUSE.min(longest), longest)
        .after(failures.saturating_sub(1))
        .pause()
}

/// An outcome for people.
fn shown(outcome: &Result<Response, SendError>) -> String {
    let text = match outcome {
        Ok(response) if (300..400).contains(&response.status) => {
            format!("{}: redirects are not followed; change the URL", response.status)
        }
        Ok(response) => response.status.to_string(),
        Err(error) => error.to_string(),
    };
    text.chars().take(OUTCOME_CHARS).collect()
}
