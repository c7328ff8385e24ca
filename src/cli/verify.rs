//! `tenure verify` and `tenure rebuild`: compare the stored state with the event log, and repair it.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::context::{Context, UsageError};
use super::output::{self, Progress};
use super::stop;
use crate::csv_row::Cell;
use crate::domain::ClientKey;
use crate::domain::id::{IdError, check_id};
use crate::engine::{Engine, Rebuilt, Scope, Verified};
use crate::store::StoreError;

/// The clients to replay; all by default.
#[derive(Debug, Args)]
pub struct ScopeArgs {
    /// Only this client [default: all clients]
    #[arg(value_name = "PARTNER/CLIENT", conflicts_with_all = ["partner", "after"])]
    client: Option<String>,
    /// Only clients of this partner
    #[arg(long)]
    partner: Option<String>,
    /// Resume after this client; an interrupted run prints which one
    #[arg(long, value_name = "PARTNER/CLIENT")]
    after: Option<String>,
}

impl ScopeArgs {
    fn read(&self) -> anyhow::Result<Scope> {
        let usage = |error: IdError| UsageError(error.to_string());
        let key = |key: &Option<String>| {
            let key = key.as_deref().map(ClientKey::from_subject);
            key.transpose().map_err(usage)
        };
        if let Some(partner) = &self.partner {
            check_id("partner", partner).map_err(usage)?;
        }
        Ok(Scope {
            client: key(&self.client)?,
            partner: self.partner.clone(),
            after: key(&self.after)?,
            stop: stop::on_signal()?,
        })
    }
}

/// Progress and totals of a command.
struct Totals<'a> {
    context: &'a Context,
    command: &'static str,
    scope: &'a Scope,
    progress: Progress,
    last: Option<ClientKey>,
    clients: u64,
    events: u64,
    differ: u64,
    failed: u64,
    changes: u64,
}

pub async fn verify(context: &Context, args: ScopeArgs) -> anyhow::Result<ExitCode> {
    let engine = context.engine().await?;
    let scope = args.read()?;
    is_known(&engine, &scope).await?;
    let mut totals = Totals::new(context, "verify", &scope);
    context.print_csv_head(&["client", "difference"]);
    let done = engine
        .verify_each(&scope, |verified| totals.verified(&verified))
        .await;
    let summary = format!(
        "replayed {} from {}: {}",
        output::counted(totals.clients, "client"),
        output::counted(totals.events, "event"),
        match totals.differ {
            0 => "no drift".to_owned(),
            1 => "1 differs from the stored state; run `tenure rebuild` to repair it".to_owned(),
            n => format!("{n} differ from the stored state; run `tenure rebuild` to repair them"),
        }
    );
    totals.end(&summary, done)
}

pub async fn rebuild(context: &Context, args: ScopeArgs) -> anyhow::Result<ExitCode> {
    let engine = context.maintaining_engine().await?;
    let scope = args.read()?;
    is_known(&engine, &scope).await?;
    let mut totals = Totals::new(context, "rebuild", &scope);
    context.print_csv_head(&["client", "result", "difference"]);
    let authority = context.authority();
    let done = engine
        .operator(&authority)
        .rebuild(&scope, |rebuilt| totals.rebuilt(&rebuilt))
        .await;
    let summary = format!(
        "replayed {}: {}{}",
        output::counted(totals.clients, "client"),
        match totals.differ - totals.failed {
            0 => "nothing to repair".to_owned(),
            n => format!("repaired {n} ({})", output::counted(totals.changes, "correction")),
        },
        match totals.failed {
            0 => String::new(),
            n => format!("; {n} failed"),
        }
    );
    totals.end(&summary, done)
}

async fn is_known(engine: &Engine, scope: &Scope) -> anyhow::Result<()> {
    let Some(client) = &scope.client else {
        return Ok(());
    };
    match engine.store().snapshot(client).await {
        Ok(snapshot)
            if snapshot.row.is_none() && snapshot.history.is_empty() && snapshot.deadlines.is_empty() =>
        {
            anyhow::bail!(
                "unknown client {client}; `tenure client list` lists all clients, except those whose events were all refused"
            )
        }
        Err(error) if !matches!(error, StoreError::Inconsistent { .. }) => Err(error.into()),
        _ => Ok(()),
    }
}

impl<'a> Totals<'a> {
    fn new(context: &'a Context, command: &'static str, scope: &'a Scope) -> Self {
        Self {
            context,
            command,
            scope,
            progress: Progress::new("clients"),
            last: None,
            clients: 0,
            events: 0,
            differ: 0,
            failed: 0,
            changes: 0,
        }
    }

    fn verified(&mut self, verified: &Verified) {
        self.events += verified.events;
        if !verified.differences.is_empty() {
            self.differ += 1;
            let (client, difference) = (verified.key.to_string(), verified.differences.join("; "));
            let json = json!({ "client": client, "difference": difference });
            self.say(&format!("{client}: {difference}"), &[&client, &difference], &json);
        }
        self.count(&verified.key);
    }

    fn rebuilt(&mut self, rebuilt: &Rebuilt) {
        if !rebuilt.differences.is_empty() {
            self.differ += 1;
            let (client, difference) = (rebuilt.key.to_string(), rebuilt.differences.join("; "));
            match &rebuilt.changes {
                Ok(changes) => {
                    self.changes += *changes as u64;
                    let corrections = output::counted(*changes, "correction");
                    let result = format!("repaired, {corrections}");
                    let json = json!({ "client": client, "difference": difference, "changes": changes });
                    let text = format!("{client}: {result}: {difference}");
                    self.say(&text, &[&client, &result, &difference], &json);
                }
                Err(why) => {
                    self.failed += 1;
                    let result = format!("not repaired, {why}");
                    let json =
                        json!({ "client": client, "difference": difference, "error": why.to_string() });
                    let text = format!("{client}: {result}: {difference}");
                    self.say(&text, &[&client, &result, &difference], &json);
                }
            }
        }
        self.count(&rebuilt.key);
    }

    /// Prints a line about a client, in the format of the output.
    fn say(&self, text: &str, row: &[&str], value: &Value) {
        self.progress.aside(|| {
            if self.context.is_json() {
                output::block(output::json_line(value));
            } else if self.context.is_csv() {
                output::csv(&row.iter().map(|cell| Cell::from(*cell)).collect::<Vec<_>>());
            } else {
                output::line(text);
            }
        });
    }

    fn count(&mut self, key: &ClientKey) {
        self.clients += 1;
        self.progress.tick(self.clients, key);
        self.last = Some(key.clone());
    }

    /// Prints the totals and, if interrupted, the command that continues.
    fn end(mut self, summary: &str, done: Result<(), StoreError>) -> anyhow::Result<ExitCode> {
        self.progress.end();
        let is_stopped = done.is_err() || self.scope.stop.is_cancelled();
        if self.context.is_json() {
            let mut sum = json!({ "clients": self.clients, "differ": self.differ });
            if self.command == "verify" {
                sum["events"] = self.events.into();
            } else {
                sum["failed"] = self.failed.into();
                sum["changes"] = self.changes.into();
            }
            if is_stopped {
                sum["stopped_after"] = self.last.as_ref().map(ToString::to_string).into();
            }
            output::json(&sum)?;
        } else {
            self.context.print_summary(summary);
        }
        if is_stopped {
            output::error_line(self.how_to_continue());
        }
        done?;
        let left = if self.command == "verify" {
            self.differ
        } else {
            self.failed
        };
        Ok(if left == 0 && !is_stopped {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn how_to_continue(&self) -> String {
        let words = [
            self.scope.client.as_ref().map(ToString::to_string),
            self.scope
                .partner
                .as_ref()
                .map(|partner| format!("--partner {partner}")),
            self.last
                .as_ref()
                .or(self.scope.after.as_ref())
                .map(|last| format!("--after {last}")),
        ];
        let command = [Some(format!("tenure {}", self.command))]
            .into_iter()
            .chain(words)
            .flatten()
            .collect::<Vec<_>>()
            .join(" ");
        format!("stopped early; run `{command}` to continue")
    }
}
