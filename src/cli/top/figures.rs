//! The figures of `tenure top`: those of the store, and those that only a worker knows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};

use crate::cli::worker::Worker;
use crate::config::{Schedule, Settings};
use crate::domain::Sweep;
use crate::engine::{
    Check, Engine, ExpiryCounts, Issue, Overview, QueueDepth, RefusalCounts, tone_of, verdict,
};
use crate::http::{Minute, Worker as Known};
use crate::store::StoreError;

/// Minutes that are shown.
const MINUTES: u32 = 60;
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
    /// What only a worker knows, or why it does not say.
    pub worker: Result<WorkerFigures, NoFigures>,
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

/// What only a worker knows.
#[derive(Clone, Debug, Default)]
pub struct WorkerFigures {
    pub checks: Vec<Check>,
    /// The messages that wait in the queue of each lane.
    pub queues: BTreeMap<String, QueueDepth>,
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
        let (overview, refusals, minutes, worker) = tokio::join!(
            self.engine.overview(&self.schedules, self.is_relayed),
            self.engine.count_refusals(),
            self.engine.activity(MINUTES, 1),
            self.ask_worker(),
        );
        Ok(Figures {
            overview: overview?,
            refusals: refusals?,
            minutes: minutes?.into_iter().map(Minute::of).collect(),
            expiries: None,
            worker,
        })
    }

    async fn ask_worker(&self) -> Result<WorkerFigures, NoFigures> {
        let worker = self.worker.as_ref().ok_or(NoFigures::NotListening)?;
        let no_answer = |error: anyhow::Error| NoFigures::NoAnswer(crate::cli::explain(&error));
        let no_worker = || NoFigures::NoWorker(worker.address);
        let (_, ready) = worker.get("/readyz", ANSWER_WITHIN).await.map_err(no_answer)?;
        let ready: Readiness = serde_json::from_value(ready).map_err(|_| no_worker())?;
        let (status, known) = worker.get("/v1/worker", ANSWER_WITHIN).await.map_err(no_answer)?;
        let known: Known = match status {
            StatusCode::OK => serde_json::from_value(known).map_err(|_| no_worker())?,
            // It waits for its store, which its checks say.
            StatusCode::SERVICE_UNAVAILABLE => Known::default(),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(NoFigures::NoToken(worker.address));
            }
            _ => return Err(no_worker()),
        };
        Ok(WorkerFigures {
            checks: ready.checks.into_iter().map(check).collect(),
            queues: known.queues,
        })
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
        let checks = self.worker.as_ref().map(|worker| worker.checks.as_slice());
        self.overview.issues(checks.unwrap_or_default())
    }

    /// How many messages wait in the queue of a lane, if a worker knows it.
    #[must_use]
    pub fn depth(&self, lane: &str) -> Option<QueueDepth> {
        self.worker.as_ref().ok()?.queues.get(lane).copied()
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
        map.serialize_entry("queues", &self.worker.as_ref().ok().map(|worker| &worker.queues))?;
        let problem = self.worker.as_ref().err();
        map.serialize_entry("worker_problem", &problem.map(ToString::to_string))?;
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
