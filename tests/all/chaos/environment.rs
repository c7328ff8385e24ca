//! The servers of the chaos test, with a proxy between each of them and the worker.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tempfile::TempDir;
use tenure::clock::{Clock as _, SystemClock};
use tenure::domain::Sweep;

use super::flow::{Flow, Message};
use super::subscriber::Subscriber;
use crate::support::proxy::Proxy;
use crate::support::servers::{Postgres, RabbitMq, name_in};
use crate::support::tenure::{Running, Tenure, wait_until};

pub struct Environment {
    pub postgres: Postgres,
    pub rabbit: RabbitMq,
    pub to_postgres: Proxy,
    pub to_rabbit: Proxy,
    /// Runs the worker, which connects through the proxies.
    worker: Tenure,
    /// Runs commands, which connect directly.
    pub tenure: Tenure,
    database: String,
    pub amqp: String,
    _folder: TempDir,
}

impl Environment {
    pub fn new() -> Self {
        let (postgres, rabbit) = (Postgres::own(), RabbitMq::own());
        let (to_postgres, to_rabbit) = (Proxy::to(postgres.port()), Proxy::to(rabbit.port()));
        let (database, amqp) = (postgres.database("chaos"), rabbit.vhost("chaos"));
        let folder = tempfile::tempdir().expect("a folder");
        let (store, broker) = (to_postgres.url(&database), to_rabbit.url(&amqp));
        let mut env = vec![
            ("DATABASE_URL", store.as_str()),
            ("AMQP_URL", broker.as_str()),
            // Small, so that a fault hits unfinished work.
            ("TENURE_BROKER__BATCH_MAX", "50"),
            ("TENURE_BROKER__PREFETCH", "300"),
            // The events of a year arrive at once.
            ("TENURE_SWEEPS__BREAKER__PERCENT", "100"),
        ];
        let crons = Sweep::ALL.map(|sweep| format!("TENURE_SWEEPS__{sweep}__CRON"));
        env.extend(crons.iter().map(|cron| (cron.as_str(), "* * * * * *")));
        let worker = Tenure::new(folder.path(), &env);
        let tenure = Tenure::new(folder.path(), &[("DATABASE_URL", &database), ("AMQP_URL", &amqp)]);
        Self {
            postgres,
            rabbit,
            to_postgres,
            to_rabbit,
            worker,
            tenure,
            database,
            amqp,
            _folder: folder,
        }
    }

    /// Waits until every sweep has covered the present. Timers wait for the messages in the queues.
    pub fn wait_for_sweeps(&self) {
        let now = SystemClock.now();
        let swept = |sweep: &serde_json::Value| {
            let upto = sweep["last_run"]["upto"].as_str();
            upto.and_then(|upto| upto.parse::<DateTime<Utc>>().ok())
                .is_some_and(|upto| upto > now)
        };
        let done = wait_until(Duration::from_mins(2), || {
            self.tenure.json(&["sweep", "list"]).iter().all(swept)
        });
        done.unwrap_or_else(|()| panic!("{:#?}", self.tenure.json(&["sweep", "list"])));
    }

    pub fn start_worker(&self) -> Running {
        self.worker.start()
    }

    /// Starts a publisher, which publishes as many messages as it is allowed to.
    pub fn publish(&self, messages: &[Message]) -> Flow {
        Flow::start(self.amqp.clone(), messages.to_vec())
    }

    pub fn listen(&self) -> Subscriber {
        Subscriber::start(self.amqp.clone())
    }

    pub fn sql(&self, statement: &str) -> String {
        self.postgres.sql(name_in(&self.database), statement)
    }

    pub fn count(&self, what: &str) -> usize {
        let counted = self.sql(&format!("select count(*) from {what}"));
        counted.parse().expect("a number")
    }

    pub fn journal_length(&self) -> usize {
        self.count("change_log")
    }

    /// Waits until a queue is empty.
    pub fn wait_for_empty(&self, queue: &str) {
        let limit = Duration::from_mins(5);
        self.rabbit.wait_for_depth(name_in(&self.amqp), queue, 0, limit);
    }
}
