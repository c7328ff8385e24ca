//! `tenure demo`: a simulated year of three upstream apps on a temporary SQLite store.

mod arrivals;
mod operator;
mod report;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::context::{Context, UsageError};
use super::output;
use crate::clock::{Clock, SimulatedClock, SystemClock};
use crate::config::{Settings, StoreUrl, policy_settings};
use crate::demo::{Arriving, Delivery, SOURCES, Shape, World};
use crate::domain::{ClientKey, Policy, Sweep};
use crate::engine::{Engine, Incoming, Outcome, SweepMode, SweepOptions, VerifyReport};
use crate::store::sqlite::SqliteStore;
use crate::store::{Census, ClientFilter, RunCounts, Store};
use crate::{wire, worker};

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Seed of the simulation; the same seed gives the same year
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of clients
    #[arg(long, default_value_t = 400)]
    clients: usize,
    /// Afterwards, serve the console and the API on the store of the demo until Ctrl-C, on http.listen unless --port is given; more events arrive meanwhile
    #[arg(long)]
    serve: bool,
    /// Port of 127.0.0.1 to serve on; 0 selects a free one
    #[arg(long, requires = "serve")]
    port: Option<u16>,
}

/// Interval of the sweeps in simulated time.
const SWEEPS_EVERY: TimeDelta = TimeDelta::days(1);
/// Minimum grace period, so that sweeps have something to do.
const GRACE: TimeDelta = TimeDelta::days(7);
/// How often each app sends events at least, while the demo serves.
const EXPECTED_EVERY: TimeDelta = TimeDelta::days(1);
/// Maximum number of events in a batch.
const BATCH: usize = 1_000;

/// Totals of the year.
#[derive(Debug, Default, Serialize)]
struct Summary {
    seed: u64,
    clients: usize,
    deliveries: usize,
    applied: u64,
    duplicates: u64,
    refused: BTreeMap<&'static str, u64>,
    dead: BTreeMap<String, u64>,
    sweeps: BTreeMap<&'static str, SweepTotal>,
    census: Census,
    /// The client whose journal is shown.
    featured_client: String,
    verify: VerifyReport,
    seconds: f64,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct SweepTotal {
    runs: u64,
    #[serde(flatten)]
    counts: RunCounts,
}

pub async fn run(context: &Context, args: DemoArgs) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("tenure.db");
    let served = args
        .serve
        .then(|| served(context, &path, args.port))
        .transpose()?;
    let shape = Shape {
        seed: args.seed,
        clients: args.clients,
        start: midnight(SystemClock.now()) - TimeDelta::days(365),
        ..Shape::default()
    };
    let world = World::new(&shape);
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path));
    store.migrate().await?;
    let clock = Arc::new(SimulatedClock::at(shape.start));
    let engine = Engine::start(store.clone(), clock.clone(), &policy(context)).await?;

    let mut summary = Summary {
        seed: args.seed,
        clients: args.clients,
        deliveries: world.deliveries.len(),
        ..Summary::default()
    };
    let year = Year {
        engine: &engine,
        clock: &clock,
        shape: &shape,
        world: &world,
        is_operated: args.serve,
    };
    Box::pin(live(context, &year, &mut summary)).await?;
    clock.set(world.end);
    let bar = output::bar(args.clients as u64, "verifying");
    summary.verify = engine.verify(|clients| bar.set_position(clients)).await?;
    bar.finish_and_clear();
    summary.census = store.census().await?;
    let featured = featured_client(&engine).await?;
    summary.featured_client = featured.to_string();
    summary.seconds = started.elapsed().as_secs_f64();
    if context.is_json() {
        output::json(&summary)?;
    } else {
        report::print(&engine, &summary, &featured).await?;
    }
    if let Some(settings) = served {
        operator::leave(&engine).await?;
        let file = folder.path().join("tenure.toml");
        std::fs::write(&file, settings_file(&settings))?;
        Box::pin(serve(context, settings, store, shape, &file)).await?;
    }
    Ok(if summary.verify.drifts.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The settings to serve this file with: on 127.0.0.1 if a port is given.
fn served(context: &Context, path: &Path, port: Option<u16>) -> anyhow::Result<Settings> {
    // With another policy than that of the year, the console would report a difference.
    let mut settings = context.settings.clone().with_policy(policy(context));
    settings.store.url = StoreUrl::Sqlite(path.to_owned());
    if let Some(port) = port {
        settings.http.listen = Some((Ipv4Addr::LOCALHOST, port).into());
    }
    for source in SOURCES {
        settings
            .sources
            .expected
            .entry(source.to_owned())
            .or_insert(EXPECTED_EVERY);
    }
    if settings.http.listen.is_none() {
        return Err(UsageError("`http.listen` is empty; name a port with --port".into()).into());
    }
    Ok(settings)
}

/// The settings with which a command works on the store of the demo, as TOML.
fn settings_file(settings: &Settings) -> String {
    let policy = policy_settings(&settings.policy());
    let store = ("store.url".to_owned(), settings.store.url.to_string());
    let pairs = std::iter::once(store).chain(policy);
    let lines: Vec<String> = pairs.map(|(key, value)| format!("{key} = {value:?}")).collect();
    lines.join("\n")
}

/// Serves HTTP on the store of the demo until a signal, and prints the address and the settings file. Meanwhile more events
/// arrive.
async fn serve(
    context: &Context,
    settings: Settings,
    store: Arc<dyn Store>,
    year: Shape,
    file: &Path,
) -> anyhow::Result<()> {
    let limits = settings.events;
    let announce = |address, engine| {
        tokio::spawn(arrivals::arrive(engine, limits, arrivals::next(&year)));
        if context.is_json() {
            let serving = json!({ "url": format!("http://{address}"), "config": file.display().to_string() });
            output::block(output::json_line(&serving));
        } else {
            output::line(format!(
                "Serving http://{address} until Ctrl-C. Open it in a browser, or try:"
            ));
            output::block(format!("curl http://{address}/v1/partners"));
            // A variable overrides the file, and may name the store of a worker.
            output::line("Commands work on the same store, for example:");
            output::block(format!(
                "env -u DATABASE_URL tenure --config {} sweep list",
                file.display()
            ));
        }
    };
    Ok(worker::serve(settings, store, announce).await?)
}

/// The policy of the settings with longer grace periods. Without them, the default, subscriptions end with the event
/// itself and sweeps have nothing to do.
fn policy(context: &Context) -> Policy {
    let settings = context.settings.policy();
    Policy {
        subscriptions_grace: settings.subscriptions_grace.max(GRACE),
        cleanup_grace: settings.cleanup_grace.max(GRACE),
        ..settings
    }
}

fn midnight(moment: DateTime<Utc>) -> DateTime<Utc> {
    moment.date_naive().and_time(chrono::NaiveTime::MIN).and_utc()
}

/// A year to simulate.
struct Year<'y> {
    engine: &'y Engine,
    clock: &'y SimulatedClock,
    shape: &'y Shape,
    world: &'y World,
    /// Whether operators act.
    is_operated: bool,
}

/// Simulates the year: events arrive, and the sweeps run once a day.
async fn live(context: &Context, year: &Year<'_>, summary: &mut Summary) -> anyhow::Result<()> {
    let Year {
        engine,
        clock,
        shape,
        world,
        is_operated,
    } = *year;
    let bar = output::bar(world.deliveries.len() as u64, "simulating");
    let mut rest = world.deliveries.as_slice();
    let mut tick = shape.start + SWEEPS_EVERY;
    while tick <= world.end {
        let until_tick = rest.partition_point(|delivery| delivery.at < tick);
        let (day, later) = rest.split_at(until_tick);
        rest = later;
        for batch in day.chunks(BATCH) {
            if let Some(last) = batch.last() {
                clock.set(last.at);
            }
            let incoming = batch.iter().map(|delivery| decode(context, delivery)).collect();
            for outcome in engine.ingest(incoming).await? {
                summary.count(outcome);
            }
            bar.inc(batch.len() as u64);
        }
        clock.set(tick);
        for sweep in Sweep::ALL {
            let report = engine
                .sweep(sweep, SweepOptions::new(SweepMode::Confirmed), |_| {})
                .await?;
            let total = summary.sweeps.entry(sweep.as_str()).or_default();
            total.runs += 1;
            total.counts += report.counts;
        }
        if is_operated {
            operator::act(engine, tick, world.end).await?;
        }
        tick += SWEEPS_EVERY;
    }
    bar.finish_and_clear();
    Ok(())
}

/// Decodes a delivery from bytes, as every adapter does.
fn decode(context: &Context, delivery: &Delivery) -> Incoming {
    let body = match &delivery.what {
        Arriving::Event(event) => wire::event(event),
        Arriving::Broken(bytes) => bytes.clone(),
    };
    context.decoder(delivery.at).line("demo", &body).map_or_else(
        || unreachable!("the demo sends no blank messages"),
        Incoming::from,
    )
}

impl Summary {
    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Applied => self.applied += 1,
            Outcome::Duplicate => self.duplicates += 1,
            Outcome::Refused { refusal, .. } => *self.refused.entry(refusal.code()).or_default() += 1,
            Outcome::Dead(reason) | Outcome::Deferred { reason, .. } => {
                *self.dead.entry(reason).or_default() += 1;
            }
        }
    }
}

/// The client with the most varied journal that fits on a screen.
async fn featured_client(engine: &Engine) -> anyhow::Result<ClientKey> {
    const LINES: usize = 40;
    let clients = engine
        .store()
        .clients(&ClientFilter::default(), None, 2_000)
        .await?;
    let mut best: Option<(usize, ClientKey)> = None;
    for stored in clients {
        let journal = engine.store().journal(&stored.key, 0, 200).await?;
        if journal.len() > LINES {
            continue;
        }
        let mut kinds: Vec<_> = journal.iter().map(|line| line.entry.change.kind()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let corrected = journal.iter().any(|line| line.entry.is_correction());
        let score = kinds.len() + usize::from(corrected) * 5;
        if best.as_ref().is_none_or(|(most, _)| score > *most) {
            best = Some((score, stored.key));
        }
    }
    best.map(|(_, key)| key)
        .ok_or_else(|| anyhow::anyhow!("no client to show; pass --clients with 1 or more"))
}
