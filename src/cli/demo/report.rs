//! What the demo prints: the year in tables, then one client, then questions that only Tenure answers.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::{GRACE, Summary};
use crate::cli::client::{card, journal_table};
use crate::cli::{forecast, output, statement, what_if, why};
use crate::domain::why::Answer;
use crate::domain::{ClientKey, Month, Policy};
use crate::engine::Engine;
use crate::store::DeadLetterFilter;

/// How far the forecast reaches.
const FORECAST: TimeDelta = TimeDelta::days(30);

pub async fn print(engine: &Engine, summary: &Summary, featured: &ClientKey) -> anyhow::Result<()> {
    print_counts(summary);
    print_refused(engine, summary).await?;
    print_client(engine, featured).await?;
    print_questions(engine).await?;
    print_verified(summary);
    Ok(())
}

fn print_counts(summary: &Summary) {
    output::line(format!(
        "A year of {}, seed {}: {}, {} applied, {}, {} refused, {}.",
        output::counted(summary.clients, "client"),
        summary.seed,
        output::counted(summary.deliveries, "message"),
        summary.applied,
        output::counted(summary.duplicates, "duplicate"),
        summary.refused.values().sum::<u64>(),
        output::counted(summary.dead.values().sum::<u64>(), "dead letter"),
    ));
    output::line(format!(
        "Sweeps ran once a day, with grace periods of at least {} days.",
        GRACE.num_days(),
    ));
    output::line("");
    let facets = [
        ("link", &summary.census.link),
        ("service", &summary.census.service),
        ("access", &summary.census.access),
    ];
    let rows = facets.into_iter().flat_map(|(facet, counts)| {
        counts
            .iter()
            .map(move |(status, n)| vec![facet.to_owned(), status.clone(), n.to_string()])
    });
    output::block(output::table(&["facet", "status", "clients"], rows));
    let rows = summary.sweeps.iter().map(|(name, total)| {
        vec![
            (*name).to_owned(),
            total.runs.to_string(),
            total.counts.examined.to_string(),
            total.counts.changed.to_string(),
            total.counts.changes.to_string(),
        ]
    });
    output::block(output::table(
        &["sweep", "runs", "examined", "changed", "changes"],
        rows,
    ));
}

async fn print_refused(engine: &Engine, summary: &Summary) -> anyhow::Result<()> {
    output::block(output::refusals(&summary.refused));
    let dead_letters = engine
        .store()
        .dead_letters(&DeadLetterFilter::default(), 0, 10_000)
        .await?;
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for dead_letter in &dead_letters {
        *reasons.entry(dead_letter.reason.clone()).or_default() += 1;
    }
    let rows = reasons.into_iter().map(|(reason, n)| vec![reason, n.to_string()]);
    output::block(output::table(&["reason of dead letters", "messages"], rows));
    Ok(())
}

/// One client, its journal, and why its access is what it is.
async fn print_client(engine: &Engine, featured: &ClientKey) -> anyhow::Result<()> {
    if let Some(view) = engine.client(featured, None).await? {
        output::line("");
        output::line(format!("Client {featured} at the end of the year:"));
        output::block(card(&view)?);
    }
    output::line("and its journal:");
    output::block(journal_table(&engine.journal(featured, 0, 1_000).await?, false));
    if let Some(why) = engine.why(featured, Some(Answer::Access), None).await? {
        output::line("");
        output::line(format!("Why (`tenure why {featured} access`):"));
        why::show(&why);
    }
    Ok(())
}

/// What is to come, what another policy would have meant, and the statement of the last whole month.
async fn print_questions(engine: &Engine) -> anyhow::Result<()> {
    output::line("");
    output::line("If no event arrives from now on (`tenure forecast`):");
    forecast::print_days(engine, engine.now() + FORECAST).await?;
    let latest = engine.latest_policy().await?;
    let access_idle = latest.access_idle / 2;
    let warnings = latest.warn_before.iter().copied();
    let shorter = Policy {
        access_idle,
        warn_before: warnings.filter(|before| *before < access_idle).collect(),
        ..latest.clone()
    };
    output::line("");
    output::line("If access had always expired twice as early (`tenure what-if`):");
    what_if::print_summary(&what_if::sums(engine, &shorter).await?, &latest);
    let month = Month::of(engine.now()).previous();
    output::line("");
    output::line(format!(
        "The days of {month} by partner (`tenure statement show {month}`):"
    ));
    statement::print_month(engine, month).await
}

fn print_verified(summary: &Summary) {
    output::line("");
    output::line(format!(
        "verify: replayed {} from {}, {}. Finished in {:.1} s.",
        output::counted(summary.verify.clients, "client"),
        output::counted(summary.verify.events, "event"),
        match summary.verify.drifts.len() {
            0 => "no drift".to_owned(),
            n => format!(
                "{} DRIFTED, first: {}",
                output::counted(n, "client"),
                summary.verify.drifts[0].what
            ),
        },
        summary.seconds,
    ));
}
