//! Endpoints of webhooks: introduces those of the settings, and reports how far each has received the changes.

mod operator;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Authority, Engine, FeedStart};
use crate::domain::time::rfc3339;
use crate::store::{
    AuditEntry, DeliveryProgress, Endpoint, EndpointChange, EndpointFilter, EndpointOrigin, EndpointStatus,
    FeedCursor, FeedFilter, FeedGap, OperatorAction, SigningSecret, StoreError,
};
use crate::wire::webhook::EndpointUrl;

/// The most endpoints of a store. Each has requests and a page of changes in memory.
pub const MOST_ENDPOINTS: usize = 100;

/// Changes that are read at a time.
const PAGE: u32 = 1_000;

/// Why an endpoint of the settings is disabled when they no longer have it. It is active again when they do.
pub const NOT_IN_SETTINGS: &str = "the settings no longer have it";

/// An endpoint, and how far it has received the changes. It has no secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = WebhookEndpoint)]
pub struct EndpointView {
    #[schema(example = "crm")]
    pub name: String,
    /// `command`: `tenure webhook add` added it. `settings`: it is in the settings.
    #[schema(value_type = String, example = "command")]
    pub origin: EndpointOrigin,
    /// Where changes are sent, with `***` for a query.
    #[schema(example = "https://crm.example.com/hooks/tenure")]
    pub url: String,
    /// Only changes of this partner's clients.
    #[schema(required)]
    pub partner: Option<String>,
    /// Only changes of this client, `{partner}/{client}`.
    #[schema(required)]
    pub client: Option<String>,
    /// Only changes of these types; `access.*` stands for all types that begin with `access.`. Empty: all.
    pub types: Vec<String>,
    /// `active`, `paused` or `disabled`.
    #[schema(value_type = String, example = "active")]
    pub status: EndpointStatus,
    /// Why it is disabled.
    #[schema(required)]
    pub why: Option<String>,
    /// The place in the feed up to which it has received everything: a value of `after` in `GET /v1/changes`.
    pub cursor: String,
    /// The age of the oldest change that it has not received, in seconds. 0: it has received all. Null: changes after the cursor are
    /// no longer stored.
    #[schema(required)]
    pub lag_seconds: Option<i64>,
    /// The first failed attempt at a change that still waits. Null: none has failed.
    #[schema(required)]
    pub failing_since: Option<DateTime<Utc>>,
    #[schema(required)]
    pub last_attempt_at: Option<DateTime<Utc>>,
    /// The status of the last response, or why there was none.
    #[schema(required, example = "204")]
    pub last_outcome: Option<String>,
    /// When a change was last delivered.
    #[schema(required)]
    pub last_delivered_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    /// Until when a secret that was replaced still signs, beside the new one.
    #[schema(required)]
    pub old_secret_until: Option<DateTime<Utc>>,
}

/// An endpoint to add.
#[derive(Clone, Debug)]
pub struct NewEndpoint {
    pub name: String,
    pub url: EndpointUrl,
    pub filter: EndpointFilter,
    pub secret: String,
    pub start: DeliveryStart,
}

/// Where delivery begins or continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryStart {
    /// At a place in the feed.
    Place(FeedStart),
    /// With the first change that was recorded at or after this moment.
    At(DateTime<Utc>),
}

/// Why an endpoint was not added or changed.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error(
        "there is already an endpoint named {0}; choose another name, or remove it with `tenure webhook remove {0}`"
    )]
    Exists(String),
    #[error("no endpoint is named {0}; `tenure webhook list` lists them")]
    Unknown(String),
    #[error("the settings have the endpoint {0}; change it there (webhooks.endpoints)")]
    OfSettings(String),
    #[error(
        "there are already {MOST_ENDPOINTS} endpoints, the maximum; remove one with `tenure webhook remove`"
    )]
    TooMany,
    #[error(
        "changes before {0} are no longer stored (retention.journal); begin at a later time, or begin with a snapshot (GET \
         /v1/snapshot) and its cursor"
    )]
    Pruned(String),
    #[error(
        "the store has no such place: it was restored from a backup, or the cursor belongs to another store; begin with a snapshot \
         (GET /v1/snapshot) and its cursor"
    )]
    UnknownPlace,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What became of an endpoint of the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Introduced {
    Known,
    /// It receives changes from now on.
    Added,
    /// Its URL or filter changed, or it is back.
    Changed,
    /// `tenure webhook add` added another endpoint with its name. The one of the settings receives nothing.
    NameTaken,
    /// There are too many.
    TooMany,
}

impl Engine {
    /// The endpoints, by name.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn endpoints(&self) -> Result<Vec<EndpointView>, StoreError> {
        let mut views = Vec::new();
        for endpoint in self.store.endpoints().await? {
            let lag = self.lag(&endpoint).await?;
            views.push(EndpointView::of(endpoint, lag));
        }
        Ok(views)
    }

    /// The endpoint with this name, with its secrets.
    ///
    /// # Errors
    /// [`EndpointError::Unknown`], or the store cannot be reached.
    pub async fn endpoint(&self, name: &str) -> Result<Endpoint, EndpointError> {
        let endpoints = self.store.endpoints().await?;
        let found = endpoints.into_iter().find(|endpoint| endpoint.name == name);
        found.ok_or_else(|| EndpointError::Unknown(name.to_owned()))
    }

    /// The age of the oldest change that an endpoint has not received. None: changes after its cursor are gone.
    async fn lag(&self, endpoint: &Endpoint) -> Result<Option<TimeDelta>, StoreError> {
        let Some(filter) = endpoint.filter.of_feed() else {
            return Ok(None);
        };
        let page = self.feed(&endpoint.progress.cursor, &filter, 1).await?;
        let oldest = match page.lines.first() {
            _ if page.gap.is_some() => return Ok(None),
            Some(line) => line.recorded_at,
            // Those that were examined do not match; the next one may.
            None if page.more => page.next.0.recorded_at,
            None => return Ok(Some(TimeDelta::zero())),
        };
        Ok(Some((self.watch.present() - oldest).max(TimeDelta::zero())))
    }

    fn new_endpoint(
        &self,
        name: &str,
        origin: EndpointOrigin,
        (url, filter): (String, EndpointFilter),
        secrets: Vec<SigningSecret>,
        cursor: FeedCursor,
    ) -> Endpoint {
        Endpoint {
            name: name.to_owned(),
            origin,
            url,
            filter,
            secrets,
            status: EndpointStatus::Active,
            why: String::new(),
            revision: 1,
            created_at: self.now(),
            progress: DeliveryProgress::from(cursor),
        }
    }

    /// Disables an endpoint, unless a person has changed it meanwhile.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn disable_endpoint(&self, name: &str, revision: i64, why: &str) -> Result<bool, StoreError> {
        let change = to_status(EndpointStatus::Disabled, why);
        self.store.change_endpoint(name, Some(revision), &change).await
    }

    /// The place before the first change that is delivered.
    async fn place(&self, start: DeliveryStart) -> Result<FeedCursor, EndpointError> {
        let moment = match start {
            DeliveryStart::Place(start) => {
                let place = self.feed_place(start).await?;
                let page = self.feed(&place, &FeedFilter::default(), 1).await?;
                return match page.gap {
                    None => Ok(place),
                    Some(FeedGap::Pruned { before, .. }) => Err(EndpointError::Pruned(rfc3339(before))),
                    Some(FeedGap::Restored) => Err(EndpointError::UnknownPlace),
                };
            }
            DeliveryStart::At(moment) => moment,
        };
        let mut place = self.feed_place(FeedStart::Beginning).await?;
        loop {
            let page = self.feed(&place, &FeedFilter::default(), PAGE).await?;
            match page.gap {
                Some(FeedGap::Pruned { before, .. }) if before > moment => {
                    return Err(EndpointError::Pruned(rfc3339(before)));
                }
                // None of the removed changes is wanted.
                Some(FeedGap::Pruned { end: Some(end), .. }) => {
                    place = end;
                    continue;
                }
                // No other change is stored.
                Some(_) if page.lines.is_empty() => return Ok(self.feed_place(FeedStart::Latest).await?),
                _ => {}
            }
            let earlier = page.lines.iter().take_while(|line| line.recorded_at < moment);
            let earlier: Vec<FeedCursor> = earlier
                .map(|line| FeedCursor(line.published(page.epoch)))
                .collect();
            place = earlier.last().copied().unwrap_or(place);
            if earlier.len() < page.lines.len() || !page.more {
                return Ok(place);
            }
        }
    }

    /// Adds the endpoints of the settings, changes those that differ, and disables those that the settings no longer have. Each is an
    /// entry of the audit log.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn introduce_endpoints(
        &self,
        wanted: &BTreeMap<String, (EndpointUrl, EndpointFilter)>,
    ) -> Result<BTreeMap<String, Introduced>, StoreError> {
        let present = self.store.endpoints().await?;
        let mut introduced = BTreeMap::new();
        for (name, (url, filter)) in wanted {
            let target = (url.as_url().to_string(), filter.clone());
            let found = present.iter().find(|endpoint| endpoint.name == *name);
            introduced.insert(
                name.clone(),
                self.introduce(name, target, found, present.len()).await?,
            );
        }
        let is_gone = |endpoint: &&Endpoint| {
            let is_known = wanted.contains_key(&endpoint.name) || endpoint.why == NOT_IN_SETTINGS;
            endpoint.origin == EndpointOrigin::Settings && !is_known
        };
        for gone in present.iter().filter(is_gone) {
            let change = to_status(EndpointStatus::Disabled, NOT_IN_SETTINGS);
            let action = changing(&gone.name, Some(gone.revision), change);
            let entry = self.of_settings("webhook.disable", &gone.name, Value::Null);
            self.store.act(&action, &entry).await?;
        }
        Ok(introduced)
    }

    async fn introduce(
        &self,
        name: &str,
        target: (String, EndpointFilter),
        found: Option<&Endpoint>,
        endpoints: usize,
    ) -> Result<Introduced, StoreError> {
        let Some(found) = found else {
            if endpoints >= MOST_ENDPOINTS {
                return Ok(Introduced::TooMany);
            }
            let cursor = self.feed_place(FeedStart::Latest).await?;
            let details = described(&target.0, &target.1);
            let endpoint = self.new_endpoint(name, EndpointOrigin::Settings, target, Vec::new(), cursor);
            let entry = self.of_settings("webhook.add", name, details);
            let action = OperatorAction::AddEndpoint(Box::new(endpoint));
            self.store.act(&action, &entry).await?;
            return Ok(Introduced::Added);
        };
        if found.origin == EndpointOrigin::Command {
            return Ok(Introduced::NameTaken);
        }
        let is_back = found.why == NOT_IN_SETTINGS;
        let differs = (&found.url, &found.filter) != (&target.0, &target.1);
        if !is_back && !differs {
            return Ok(Introduced::Known);
        }
        let entry = self.of_settings("webhook.change", name, described(&target.0, &target.1));
        let change = EndpointChange {
            target: Some(target),
            status: is_back.then(|| (EndpointStatus::Active, String::new())),
            ..EndpointChange::default()
        };
        let action = changing(name, Some(found.revision), change);
        self.store.act(&action, &entry).await?;
        Ok(Introduced::Changed)
    }

    /// An entry of the audit log for what the settings change.
    fn of_settings(&self, action: &str, name: &str, details: Value) -> AuditEntry {
        Authority::of_settings().entry(self.now(), action, Some(name.to_owned()), details)
    }
}

fn changing(name: &str, revision: Option<i64>, change: EndpointChange) -> OperatorAction {
    OperatorAction::ChangeEndpoint {
        name: name.to_owned(),
        revision,
        change: Box::new(change),
    }
}

/// Where an endpoint is and what it receives, for the audit log, without secrets.
fn described(url: &str, filter: &EndpointFilter) -> Value {
    json!({
        "url": shown(url),
        "partner": filter.partner,
        "client": filter.client,
        "types": filter.types,
    })
}

/// One that does not parse may have a password anywhere.
fn shown(url: &str) -> String {
    EndpointUrl::parse(url).map_or_else(|_| "***".into(), |url| url.to_string())
}

fn to_status(status: EndpointStatus, why: &str) -> EndpointChange {
    EndpointChange {
        status: Some((status, why.to_owned())),
        ..EndpointChange::default()
    }
}

impl EndpointView {
    fn of(endpoint: Endpoint, lag: Option<TimeDelta>) -> Self {
        let Endpoint {
            name,
            origin,
            url,
            filter,
            secrets,
            status,
            why,
            created_at,
            progress,
            ..
        } = endpoint;
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let client = filter.client.zip(filter.partner.as_ref());
        Self {
            name,
            origin,
            url: shown(&url),
            client: client.map(|(client, partner)| format!("{partner}/{client}")),
            partner: filter.partner,
            types: filter.types,
            status,
            why: given(why),
            cursor: progress.cursor.to_string(),
            lag_seconds: lag.map(|lag| lag.num_seconds()),
            failing_since: progress.failing_since,
            last_attempt_at: progress.last_attempt_at,
            last_outcome: given(progress.last_outcome),
            last_delivered_at: progress.delivered_at,
            created_at,
            old_secret_until: secrets.iter().filter_map(|secret| secret.until).max(),
        }
    }
}
