//! `tenure history`: a client's events, timers and changes as one story.

use std::process::ExitCode;

use clap::Args;

use super::context::Context;
use super::key::KeyArgs;
use super::moment::{Until, parse_until};
use super::output::{self, Safe};
use crate::domain::ActorKind;
use crate::domain::time::rfc3339;
use crate::engine::{HistoryChange, HistoryEntry, HistoryEvent, HistoryRequest};

#[derive(Debug, Args)]
pub struct HistoryArgs {
    #[command(flatten)]
    client: KeyArgs,
    /// Also show what timers will change if no event arrives, for this duration (30d) or up to this moment
    #[arg(long, value_name = "DURATION|TIME", value_parser = parse_until, allow_hyphen_values = true)]
    until: Option<Until>,
}

pub async fn run(context: &Context, args: HistoryArgs) -> anyhow::Result<ExitCode> {
    let key = args.client.key()?;
    let engine = context.engine().await?;
    let request = HistoryRequest {
        until: args.until.map(|until| until.ahead(engine.now())).transpose()?,
        ..HistoryRequest::default()
    };
    let Some(history) = engine.history(&key, &request).await? else {
        output::error_line(format!(
            "unknown client {key}; `tenure client list` lists the clients"
        ));
        return Ok(ExitCode::FAILURE);
    };
    if context.is_json() {
        for entry in &history.entries {
            output::json(entry)?;
        }
    } else {
        context.print_rows(
            &["time", "what happened", "changes"],
            history.entries.iter().map(row),
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn row(entry: &HistoryEntry) -> Vec<Safe> {
    let changes = entry.changes.iter().map(sentence);
    vec![Safe::from(rfc3339(entry.time)), what(entry), Safe::lines(changes)]
}

fn what(entry: &HistoryEntry) -> Safe {
    match (&entry.event, entry.timer) {
        (Some(event), _) => Safe::lines(event_lines(event)),
        (None, Some(timer)) if entry.expected => format!("timer {timer}, expected").into(),
        (None, Some(timer)) => format!("timer {timer}").into(),
        (None, None) => entry.kind.as_str().into(),
    }
}

/// What an event was, who caused it, and its fate.
fn event_lines(event: &HistoryEvent) -> Vec<String> {
    let mut lines = vec![match event.last {
        Some(last) => format!("{} {} times, until {}", event.kind, event.count, rfc3339(last)),
        None => event.kind.clone(),
    }];
    let actor = [event.actorkind.map(ActorKind::as_str), event.actor.as_deref()];
    let actor: Vec<&str> = actor.into_iter().flatten().collect();
    if !actor.is_empty() {
        lines.push(format!("by {}", actor.join(" ")));
    }
    match (event.refused_before, event.refusal) {
        (None, None) => {}
        (None, Some(refusal)) => lines.push(format!("refused: {refusal}")),
        (Some(before), Some(refusal)) => lines.push(format!("refused: {refusal}, before: {before}")),
        (Some(before), None) => lines.push(format!("applied, refused before: {before}")),
    }
    lines
}

fn sentence(change: &HistoryChange) -> String {
    let number = change.sequence.map(|sequence| format!("#{sequence}"));
    let moved = match (&change.from, &change.to) {
        (Some(from), Some(to)) => Some(format!("{from} → {to}")),
        (None, Some(to)) => Some(to.clone()),
        (Some(from), None) => Some(format!("{from} →")),
        (None, None) => None,
    };
    let note = match (change.correction, change.corrects, change.replaced_by) {
        (true, Some(line), _) => Some(format!("(corrects #{line})")),
        (true, None, _) => Some("(correction)".to_owned()),
        (false, _, Some(line)) => Some(format!("(corrected by #{line})")),
        (false, _, None) => None,
    };
    let holder = change.conflicts_with.as_ref();
    let holder = holder.map(|client| format!("({client} has it)"));
    let parts = [
        number,
        Some(change.kind.clone()),
        change.id.clone(),
        moved,
        holder,
        note,
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}
