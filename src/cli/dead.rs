//! `tenure dead list|show|redrive|discard`.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::context::{Context, WrongUse};
use super::output;
use crate::domain::view::rfc3339;
use crate::engine::Answer;
use crate::store::{DeadFilter, DeadRecord, DeadStatus, Store};

#[derive(Debug, Subcommand)]
pub enum DeadCommand {
    /// List dead letters, oldest first.
    List(ListArgs),
    /// Show one whole: its bytes, its headers, where it came from, and why it is dead.
    Show { id: i64 },
    /// Put letters through the front door again, after what was wrong has been put right.
    Redrive(WhichArgs),
    /// Mark letters as not wanted; the record stays.
    Discard(WhichArgs),
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Letters with this status.
    #[arg(long)]
    status: Option<StatusArg>,
}

#[derive(Debug, Args)]
pub struct WhichArgs {
    /// The letters' ids, as `tenure dead list` shows them.
    #[arg(required_unless_present = "all")]
    ids: Vec<i64>,
    /// Every letter that is open.
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StatusArg {
    Open,
    Redriven,
    Discarded,
}

/// Letters read at a time.
const PAGE: u32 = 500;

pub async fn run(context: &Context, command: DeadCommand) -> anyhow::Result<ExitCode> {
    match command {
        DeadCommand::List(args) => list(context, args).await,
        DeadCommand::Show { id } => show(context, id).await,
        DeadCommand::Redrive(which) => redrive(context, which).await,
        DeadCommand::Discard(which) => discard(context, which).await,
    }
}

async fn list(context: &Context, args: ListArgs) -> anyhow::Result<ExitCode> {
    let engine = context.engine().await?;
    let status = args.status.map(|status| match status {
        StatusArg::Open => DeadStatus::Open,
        StatusArg::Redriven => DeadStatus::Redriven,
        StatusArg::Discarded => DeadStatus::Discarded,
    });
    let records = all(engine.store().as_ref(), &DeadFilter { status }).await?;
    if context.json {
        for record in &records {
            output::json(&as_json(record))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows = records.iter().map(|record| {
        vec![
            record.id.to_string(),
            record.status.as_str().to_owned(),
            rfc3339(record.last_seen_at),
            record.times_seen.to_string(),
            record.letter.origin.clone(),
            record.letter.reason.clone(),
        ]
    });
    output::line(&output::table(
        &["id", "status", "last seen", "times", "from", "why"],
        rows,
    ));
    output::line(&format!("{} dead letters", records.len()));
    Ok(ExitCode::SUCCESS)
}

async fn show(context: &Context, id: i64) -> anyhow::Result<ExitCode> {
    let engine = context.engine().await?;
    let Some(record) = engine.store().dead_letter(id).await? else {
        output::complain(&format!(
            "there is no dead letter {id}; `tenure dead list` shows those that are"
        ));
        return Ok(ExitCode::FAILURE);
    };
    if context.json {
        output::json(&as_json(&record))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = vec![
        vec!["id".into(), record.id.to_string()],
        vec!["status".into(), record.status.as_str().into()],
        vec!["why".into(), record.letter.reason.clone()],
        vec!["from".into(), record.letter.origin.clone()],
        vec!["first seen".into(), rfc3339(record.first_seen_at)],
        vec!["last seen".into(), rfc3339(record.last_seen_at)],
        vec!["times".into(), record.times_seen.to_string()],
        vec![
            "content type".into(),
            output::words(record.letter.content_type.as_deref()),
        ],
    ];
    rows.extend(
        record
            .letter
            .headers
            .iter()
            .map(|(name, value)| vec![format!("header {name}"), value.clone()]),
    );
    rows.push(vec!["body".into(), body(&record)]);
    output::line(&output::table(&["", "value"], rows));
    Ok(ExitCode::SUCCESS)
}

async fn redrive(context: &Context, which: WhichArgs) -> anyhow::Result<ExitCode> {
    let engine = context.working_engine().await?;
    let mut failed = false;
    for id in ids(engine.store().as_ref(), which).await? {
        let decoder = context.decoder(engine.now());
        let Some(answers) = engine.redrive(id, &decoder).await? else {
            failed = true;
            answer(context, id, "unknown", "there is no such letter")?;
            continue;
        };
        for each in answers {
            failed |= matches!(each, Answer::Dead(_));
            match each {
                Answer::Applied => answer(context, id, "applied", "")?,
                Answer::Duplicate => answer(context, id, "duplicate", "")?,
                Answer::Refused(refusal) => answer(context, id, "refused", refusal.code())?,
                Answer::Dead(reason) => answer(context, id, "dead", &reason)?,
            }
        }
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

async fn discard(context: &Context, which: WhichArgs) -> anyhow::Result<ExitCode> {
    let engine = context.engine().await?;
    let mut failed = false;
    for id in ids(engine.store().as_ref(), which).await? {
        let found = engine
            .store()
            .mark_dead(id, DeadStatus::Discarded, engine.now())
            .await?;
        failed |= !found;
        let (outcome, reason) = if found {
            ("discarded", "")
        } else {
            ("unknown", "there is no such letter")
        };
        answer(context, id, outcome, reason)?;
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Says what came of one letter.
fn answer(context: &Context, id: i64, outcome: &str, reason: &str) -> anyhow::Result<()> {
    if context.json {
        return output::json(&json!({ "id": id, "outcome": outcome, "reason": reason }));
    }
    output::line(&match reason {
        "" => format!("{id}: {outcome}"),
        reason => format!("{id}: {outcome}: {reason}"),
    });
    Ok(())
}

async fn ids(store: &dyn Store, which: WhichArgs) -> anyhow::Result<Vec<i64>> {
    if !which.all {
        if which.ids.is_empty() {
            return Err(WrongUse("name the letters' ids, or give --all".into()).into());
        }
        return Ok(which.ids);
    }
    let open = DeadFilter {
        status: Some(DeadStatus::Open),
    };
    Ok(all(store, &open)
        .await?
        .into_iter()
        .map(|record| record.id)
        .collect())
}

async fn all(store: &dyn Store, filter: &DeadFilter) -> anyhow::Result<Vec<DeadRecord>> {
    let mut records: Vec<DeadRecord> = Vec::new();
    loop {
        let after = records.last().map_or(0, |record| record.id);
        let page = store.dead_letters(filter, after, PAGE).await?;
        let ended = page.len() < PAGE as usize;
        records.extend(page);
        if ended {
            return Ok(records);
        }
    }
}

fn as_json(record: &DeadRecord) -> serde_json::Value {
    json!({
        "id": record.id,
        "status": record.status,
        "reason": record.letter.reason,
        "origin": record.letter.origin,
        "content_type": record.letter.content_type,
        "headers": record.letter.headers.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "body": body(record),
        "times_seen": record.times_seen,
        "first_seen_at": rfc3339(record.first_seen_at),
        "last_seen_at": rfc3339(record.last_seen_at),
        "settled_at": record.settled_at.map(rfc3339),
    })
}

/// The bytes as text, what is no text escaped, so that a terminal is safe from them.
fn body(record: &DeadRecord) -> String {
    String::from_utf8_lossy(&record.letter.body)
        .chars()
        .flat_map(|c| {
            let escaped: Box<dyn Iterator<Item = char>> = if c.is_control() && c != '\n' {
                Box::new(c.escape_default())
            } else {
                Box::new([c].into_iter())
            };
            escaped
        })
        .collect()
}
