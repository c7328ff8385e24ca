//! How long the pages of the console take with many clients.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde_json::json;
use tenure::clock::SystemClock;
use tenure::domain::{Event, Policy, Sweep};
use tenure::engine::{Authority, Engine, Incoming};
use tenure::wire::{Decoder, Limits};

use super::latency::in_millis;
use crate::bench::{Bench, store};
use crate::copies::{self, LINKED};
use crate::environment::Database;
use crate::figures::Spread;
use crate::growth::TABLES;
use crate::pages::Page;
use crate::support::http_client;

/// Refused events, more than a page of the console reads.
const REFUSED: usize = 6_000;
/// From this number of clients on, PostgreSQL uses indexes where it can.
const INDEXED: usize = 10_000;
/// Dead letters.
const DEAD: usize = 300;
/// How often operators paused and resumed a sweep: two entries of the audit log each, enough for PostgreSQL to use its indexes.
const PAUSES: usize = 2_500;

/// Every page that reads the store. `{client}` is a client, and `{id}` its id without the partner. `{past}` and `{ahead}` are
/// moments, and `{last_month}` and `{month}` are months.
const PAGES: [(&str, &str); 31] = [
    ("overview, of the last hour", "/"),
    ("overview, of the last day", "/?span=day"),
    ("clients: all", "/clients"),
    ("clients: the tab of inactive ones", "/clients?tab=inactive"),
    ("clients: of a partner", "/clients?by=partner&q=growth-000000"),
    ("clients: an id", "/clients?q={id}"),
    ("clients: the beginning of all ids", "/clients?q=client"),
    ("clients: text that no name has", "/clients?q=zzzz"),
    (
        "clients: open requests, of which there are none, up to the bound",
        "/clients?request=open",
    ),
    ("a client: now", "/clients/{client}"),
    ("a client: in the past", "/clients/{client}?at={past}"),
    ("a client: to come", "/clients/{client}?at={ahead}"),
    ("a client: verified", "/clients/{client}?verify=now"),
    ("forecast of 7 days", "/forecast?days=7"),
    ("forecast of 30 days", "/forecast?days=30"),
    ("forecast of 90 days", "/forecast?days=90"),
    ("what-if: the form", "/what-if"),
    (
        "what-if: of a partner",
        "/what-if?partner=growth-000000&access.idle=20d",
    ),
    (
        "what-if: of all clients, up to the bound",
        "/what-if?access.idle=20d",
    ),
    ("statements", "/statements"),
    ("statement of an open month", "/statements/{month}"),
    (
        "the question before closing",
        "/statements/{last_month}/close?confirm=true",
    ),
    ("sweeps", "/sweeps"),
    ("preview of a sweep", "/sweeps/access-expiry/run"),
    ("dead letters", "/dead-letters"),
    ("refusals", "/refusals"),
    (
        "refusals: a code that none has, up to the bound",
        "/refusals?code=name_taken",
    ),
    ("sources and lanes", "/sources"),
    ("webhooks", "/webhooks"),
    ("policy", "/policy"),
    ("audit", "/audit"),
];

pub fn measure(bench: &mut Bench<'_>) {
    let (environment, scale) = (bench.environment, bench.scale);
    let clients = scale.growing_clients[2];
    let (database, life) = copies::load(environment, clients, LINKED, bench.present);
    database.sql(
        "update relay
         set (xid, seq) = (select xid, seq from journal order by xid desc, seq desc limit 1)",
    );
    let events = scale.growth_batches * scale.growth_batch;
    let (mut population, order) = life.chosen(events, clients);
    let recent = population.next_events(&order, bench.present);
    environment
        .runtime
        .block_on(fill(&database, &recent, scale.growth_batch, clients));
    let pauses = if clients >= INDEXED { PAUSES } else { 1 };
    environment.runtime.block_on(operate(&database, pauses));
    database.sql("vacuum analyze");

    let scans = scans_of_tables(&database);
    let vhost = environment.vhost("pages");
    let running = environment.tenure(&vhost, &database, &[]).run();
    let client = copies::key(clients / 2);
    let moment = |ahead: i64| (bench.present.until + TimeDelta::days(ahead)).format("%Y-%m-%dT%H:%M:%SZ");
    let paths = PAGES.map(|(what, path)| {
        let path = path
            .replace("{client}", &client.to_string())
            .replace("{id}", &client.client)
            .replace("{past}", &moment(-20).to_string())
            .replace("{ahead}", &moment(20).to_string())
            .replace(
                "{last_month}",
                &(bench.present.until - TimeDelta::days(31))
                    .format("%Y-%m")
                    .to_string(),
            )
            .replace("{month}", &bench.present.until.format("%Y-%m").to_string());
        (what, format!("http://{}{path}", running.address))
    });
    let http = http_client();
    for (what, url) in paths {
        let mut millis = environment
            .runtime
            .block_on(request(&http, &url, scale.page_requests));
        let first = millis.remove(0);
        let spread = Spread::of(&millis).expect("several requests");
        environment.progress(&format!(
            "    {what}: {:.1} ms, at first {first:.1}",
            spread.median
        ));
        bench.pages.push(Page { what, first, spread });
    }
    assert!(running.stop().success());
    // Of so few rows, PostgreSQL reads the whole table.
    if clients >= INDEXED {
        assert_eq!(scans_of_tables(&database), scans, "every query uses an index");
    }
    bench.notes.push(format!(
        "Pages: on PostgreSQL with {clients} clients, {} events and {} journal lines. {} requests for each page after a first one, one after the other.",
        database.count("events"),
        database.count("journal"),
        scale.page_requests,
    ));
}

/// How often each table that grows was read from its beginning to its end.
fn scans_of_tables(database: &Database<'_>) -> String {
    // The server counts what a session has read when the session ends.
    let open = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    while database.sql(open) != "0" {
        std::thread::sleep(Duration::from_millis(50));
    }
    let tables = TABLES.map(|table| format!("'{table}'")).join(", ");
    database.sql(&format!(
        "select relname, seq_scan from pg_stat_user_tables where relname in ({tables}, 'touch_runs', 'audit_log') order by relname"
    ))
}

async fn engine(database: &Database<'_>) -> Engine {
    let clock = Arc::new(SystemClock);
    let engine = Engine::join(store(database), clock, &Policy::default()).await;
    engine.expect("an engine")
}

/// What happened in the last hour: events in order, refusals, and dead letters.
async fn fill(database: &Database<'_>, recent: &[Event], batch: usize, clients: usize) {
    let engine = engine(database).await;
    for batch in recent.chunks(batch) {
        let batch = batch.iter().cloned().map(Incoming::Event).collect();
        engine.ingest(batch).await.expect("ingested");
    }
    let decoder = Decoder::new(Limits::default(), engine.now());
    let time = engine.now().to_rfc3339();
    // A linked client has no open invitation.
    let refused = (0..REFUSED).map(|place| {
        let event = json!({
            "specversion": "1.0", "id": format!("refused-{place}"), "source": "/partner-space",
            "type": "invitation.accepted", "subject": copies::key(1 + place % (clients - 1)).to_string(), "time": time,
        });
        event.to_string()
    });
    let dead = (0..DEAD).map(|place| format!("{{\"no event\": {place}}}"));
    let lines: Vec<Incoming> = refused
        .chain(dead)
        .filter_map(|line| decoder.line("http", line.as_bytes()).map(Incoming::from))
        .collect();
    assert_eq!(lines.len(), REFUSED + DEAD);
    engine.ingest(lines).await.expect("ingested");
    engine.store().close().await;
}

/// What operators did.
async fn operate(database: &Database<'_>, pauses: usize) {
    let engine = engine(database).await;
    let authority = Authority::of_settings().because("the books are closed");
    let operator = engine.operator(&authority);
    for _ in 0..pauses {
        operator.pause_sweep(Sweep::AccessExpiry).await.expect("paused");
        operator.resume_sweep(Sweep::AccessExpiry).await.expect("resumed");
    }
    engine.store().close().await;
}

/// How long each request took until its last byte, in milliseconds.
async fn request(http: &reqwest::Client, url: &str, requests: usize) -> Vec<f64> {
    let mut millis = Vec::new();
    for _ in 0..=requests {
        let began = Instant::now();
        let response = http.get(url).send().await.expect("a response");
        let status = response.status();
        let page = response.text().await.expect("a page");
        millis.push(in_millis(began.elapsed()));
        assert!(status.is_success(), "{url}: {status} {page}");
    }
    millis
}
