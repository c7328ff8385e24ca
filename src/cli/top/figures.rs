//! The figures of `tenure top`: those of the store, and those that only a worker knows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::cli::worker::Worker;
use crate::config::{Schedule, Settings};
use crate::domain::Sweep;
use crate::engine::{
    Check, Engine, ExpiryCounts, Issue, Overview, QueueDepth, RefusalCounts, tone_of, verdict,
};
use crate::http::{Minute, Worker as WorkerResponse};
use crate::store::StoreError;

/// How long a worker may take to answer. Its checks take up to three seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);

/// What the overview shows at one moment.
#[derive(Clone, Debug)]
pub struct Figures {
    pub overview: Overview,
    /// Those of the last day.
    pub refusals: RefusalCounts,
    /// Events and changes of the last hour, by minute.
    pub minutes: Vec<Minute>,
    /// None: they are still being counted.
    pub expiries: Option<ExpiryCounts>,
    /// The checks of the worker.
    pub checks: Result<Vec<Check>, NoFigures>,
    /// The messages that wait in the queue of each lane, as the worker knows them.
    pub queues: Result<BTreeMap<String, QueueDepth>, NoFigures>,
}

/// Why there are no figures of a worker.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NoFigures {
    #[error("http.listen is empty")]
    NotListening,
    /// With its causes.
    #[error("{0}")]
    NoAnswer(String),
    #[error(
        "the worker at {0} wants a token with the scope read, for all partners, and these settings have none"
    )]
    NoToken(SocketAddr),
    #[error("what answers at {0} is not a worker of this version")]
    NoWorker(SocketAddr),
}

/// Reads figures, from the store and from the worker that listens where the settings say.
pub struct Reader {
    pub(super) engine: Arc<Engine>,
    schedules: BTreeMap<Sweep, Schedule>,
    is_relayed: bool,
    worker: Option<Worker>,
}

impl Reader {
    #[must_use]
    pub fn new(engine: Arc<Engine>, settings: &Settings) -> Self {
        Self {
            engine,
            schedules: settings.sweeps.schedules.clone(),
            is_relayed: settings.broker.url.is_some(),
            worker: Worker::of(&settings.http),
        }
    }

    /// The figures as they are now, without expiries, which take longer to count.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn read(&self) -> Result<Figures, StoreError> {
        // Each time: while the machine sleeps, no time passes for it.
        self.engine.compare_clock().await?;
        let (overview, refusals, minutes, checks, queues) = tokio::join!(
            self.engine.overview(&self.schedules, self.is_relayed),
            self.engine.count_refusals(),
            self.engine.last_hour(),
            self.read_checks(),
            self.read_queues(),
        );
        Ok(Figures {
            overview: overview?,
            refusals: refusals?,
            minutes: minutes?.into_iter().map(Minute::of).collect(),
            expiries: None,
            checks,
            queues,
        })
    }

    /// Asks the worker, and returns its address with the response.
    async fn ask(&self, path: &str) -> Result<(SocketAddr, StatusCode, Value), NoFigures> {
        let worker = self.worker.as_ref().ok_or(NoFigures::NotListening)?;
        let response = worker.get(path, ANSWER_WITHIN).await;
        let (status, body) = response.map_err(|error| NoFigures::NoAnswer(crate::cli::explain(&error)))?;
        Ok((worker.address, status, body))
    }

    async fn read_checks(&self) -> Result<Vec<Check>, NoFigures> {
        let (address, _, body) = self.ask("/readyz").await?;
        let ready: Readiness = serde_json::from_value(body).map_err(|_| NoFigures::NoWorker(address))?;
        Ok(ready.checks.into_iter().map(check).collect())
    }

    async fn read_queues(&self) -> Result<BTreeMap<String, QueueDepth>, NoFigures> {
        let (address, status, body) = self.ask("/v1/worker").await?;
        match status {
            StatusCode::OK => serde_json::from_value(body)
                .map(|response: WorkerResponse| response.queues)
                .map_err(|_| NoFigures::NoWorker(address)),
            // It waits for its store, which its checks say.
            StatusCode::SERVICE_UNAVAILABLE => Ok(BTreeMap::new()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(NoFigures::NoToken(address)),
            _ => Err(NoFigures::NoWorker(address)),
        }
    }
}

/// The part of `/readyz` that is read.
#[derive(Deserialize)]
struct Readiness {
    checks: BTreeMap<String, Health>,
}

#[derive(Deserialize)]
struct Health {
    ok: bool,
    detail: String,
    #[serde(default)]
    warnings: Vec<String>,
}

fn check((name, health): (String, Health)) -> Check {
    Check {
        name,
        ok: health.ok,
        detail: health.detail,
        warnings: health.warnings,
    }
}

impl Figures {
    /// What is not well, the worst first.
    #[must_use]
    pub fn issues(&self) -> Vec<Issue> {
        self.overview.issues(self.checks.as_deref().unwrap_or_default())
    }

    /// How many messages wait in the queue of a lane, if a worker knows it.
    #[must_use]
    pub fn depth(&self, lane: &str) -> Option<QueueDepth> {
        self.queues.as_ref().ok()?.get(lane).copied()
    }

    /// What the worker did not say, and why.
    #[must_use]
    pub fn unknown(&self) -> Option<(&'static str, &NoFigures)> {
        match (&self.checks, &self.queues) {
            (Err(why), Err(_)) => Some(("The checks of the worker and its queues are unknown", why)),
            (Err(why), Ok(_)) => Some(("The checks of the worker are unknown", why)),
            (Ok(_), Err(why)) => Some(("The queues of the worker are unknown", why)),
            (Ok(_), Ok(_)) => None,
        }
    }
}

/// One object, for programs.
impl Serialize for Figures {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let issues = self.issues();
        let mut map = to.serialize_map(None)?;
        let Overview {
            now,
            workers,
            sweeps,
            lanes,
            sources,
            low_watermark,
            endpoints,
            dead_letters,
            relay,
        } = &self.overview;
        map.serialize_entry("now", now)?;
        map.serialize_entry("state", &tone_of(&issues))?;
        map.serialize_entry("verdict", &verdict(&issues))?;
        map.serialize_entry("issues", &issues)?;
        map.serialize_entry("minutes", &self.minutes)?;
        map.serialize_entry("queues", &self.queues.as_ref().ok())?;
        let problem = self.unknown().map(|(_, why)| why.to_string());
        map.serialize_entry("worker_problem", &problem)?;
        map.serialize_entry("workers", workers)?;
        map.serialize_entry("sweeps", sweeps)?;
        map.serialize_entry("lanes", lanes)?;
        map.serialize_entry("relay", relay)?;
        map.serialize_entry("sources", sources)?;
        map.serialize_entry("low_watermark", low_watermark)?;
        map.serialize_entry("endpoints", endpoints)?;
        map.serialize_entry("dead_letters", dead_letters)?;
        map.serialize_entry("refusals", &self.refusals)?;
        map.serialize_entry("expiries", &self.expiries)?;
        map.end()
    }
}
