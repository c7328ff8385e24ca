//! `tenure policy show`: shows the policies in effect, and puts another into effect.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::output;
use super::what_if::{self, Differing, Sums};
use crate::config::{format_duration, format_setting};
use crate::domain::Policy;
use crate::domain::time::rfc3339;
use crate::engine::{Adoption, Engine, PolicyChange, PolicyImpact, recorded_ahead};
use crate::worker;

#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  tenure policy show\n  tenure policy apply --reason \"agreed with finance\""
)]
pub enum PolicyCommand {
    /// Show the policies in effect and, except with CSV, how the policy in the settings differs and what it would change
    #[command(after_help = "Examples:\n  tenure policy show\n  tenure policy show --quick")]
    Show(ShowArgs),
    /// Put the policy in the settings into effect, even if it changes more clients than the breaker allows
    #[command(after_help = "Examples:\n  tenure policy apply --reason \"agreed with finance\"")]
    Apply,
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Show how the settings differ, but not what they would change, which requires reading every client; CSV has neither
    #[arg(long)]
    quick: bool,
}

pub async fn run(context: &Context, command: PolicyCommand) -> anyhow::Result<ExitCode> {
    match command {
        PolicyCommand::Show(args) => show(context, args.quick).await,
        PolicyCommand::Apply => apply(context).await,
    }
}

async fn show(context: &Context, is_quick: bool) -> anyhow::Result<ExitCode> {
    let settings = &context.settings;
    let engine = context
        .engine()
        .await?
        .bounded(settings.sweeps.breaker, settings.clock.max_difference);
    let recorded = engine.recorded_policies().await?;
    if context.is_json() {
        for (from, policy) in &recorded {
            output::json(&json!({ "line": "policy", "from": rfc3339(*from), "policy": policy }))?;
        }
    } else {
        print_recorded(context, &recorded);
    }
    if context.is_csv() {
        // Rows of one kind only. That the settings differ is said on standard error.
        return Ok(ExitCode::SUCCESS);
    }
    preview(context, &engine, is_quick).await?;
    Ok(ExitCode::SUCCESS)
}

fn print_recorded(context: &Context, recorded: &[(DateTime<Utc>, Policy)]) {
    let head: Vec<&str> = ["effective from"]
        .into_iter()
        .chain(cells(&Policy::default()).into_iter().map(|(heading, _)| heading))
        .collect();
    let rows = recorded.iter().enumerate().map(|(place, (from, policy))| {
        // The first is effective from the beginning of time, not from when it was recorded.
        row((place > 0).then_some(*from), policy)
    });
    context.print_rows(&head, rows);
}

/// Shows how the policy of the settings differs, unless it is in effect, and then what it would change.
async fn preview(context: &Context, engine: &Engine, is_quick: bool) -> anyhow::Result<()> {
    let policy = context.settings.policy();
    let notice = worker::notice(&context.settings);
    let Some(change) = engine.policy_change(&policy, notice).await? else {
        return Ok(());
    };
    if !context.is_json() {
        print_change(&change, &policy);
    }
    let impact = if is_quick {
        None
    } else {
        let impact = engine.policy_impact(&change).await?;
        Some((impact, what_if::sums(engine, &policy).await?))
    };
    if context.is_json() {
        return output::json(&line(&change, &policy, impact.as_ref()));
    }
    let Some((impact, sums)) = impact else {
        output::line("without --quick, this command says what it would change");
        return Ok(());
    };
    output::line(at_once(&impact));
    if impact.exceeds {
        let breaker = context.settings.sweeps.breaker;
        output::line(format!(
            "the breaker holds it back: without confirmation it may change {} %, or {} clients; if the settings are right, \
             run `tenure policy apply`",
            breaker.percent, breaker.clients,
        ));
    }
    what_if::print_summary(&sums, &change.latest);
    output::line("`tenure what-if` shows the clients");
    Ok(())
}

fn print_change(change: &PolicyChange, policy: &Policy) {
    if let Some(last) = change.withdrawn.last() {
        output::line(recorded_ahead(*last));
    }
    let differing = what_if::differing(&change.latest, policy);
    if differing.is_empty() {
        return;
    }
    output::line("the policy in these settings is not in effect:");
    output::block(output::table(
        &["setting", "in effect", "in these settings"],
        differing
            .into_iter()
            .map(|Differing { key, from, to }| vec![key, from, to]),
    ));
}

/// The line about the policy of the settings, for programs.
fn line(change: &PolicyChange, policy: &Policy, impact: Option<&(PolicyImpact, Sums)>) -> Value {
    let withdraws: Vec<String> = change.withdrawn.iter().copied().map(rfc3339).collect();
    let differing = what_if::differing(&change.latest, policy).into_iter();
    let differing: Vec<Value> = differing
        .map(|Differing { key, from, to }| json!({ "setting": key, "in_effect": from, "in_settings": to }))
        .collect();
    let mut line = json!({
        "line": "settings",
        "settings": policy,
        "differing": differing,
        "withdraws": withdraws,
    });
    if let Some((impact, sums)) = impact {
        let first: Vec<String> = impact.first.iter().map(ToString::to_string).collect();
        line["at_once"] = json!({
            "clients": impact.changed,
            "of": impact.population,
            "first": first,
            "held_back": impact.exceeds,
        });
        line["what_if"] = json!(sums);
    }
    line
}

/// Whom a policy would change at once.
fn at_once(impact: &PolicyImpact) -> String {
    let mut whom: Vec<String> = impact.first.iter().map(ToString::to_string).collect();
    let others = impact.changed - whom.len() as u64;
    if others > 0 {
        whom.push(format!("and {others} more"));
    }
    format!(
        "if it took effect now, it would change {} of {} at once{}{}",
        impact.changed,
        output::counted(impact.population, "client"),
        if whom.is_empty() { "" } else { ": " },
        whom.join(", "),
    )
}

async fn apply(context: &Context) -> anyhow::Result<ExitCode> {
    context.existing().await?;
    let engine = worker::join(context.migrated().await?, &context.settings).await?;
    let policy = context.settings.policy();
    let authority = context.asked_authority();
    let adoption = engine
        .operator(&authority)
        .apply_policy(&policy, worker::notice(&context.settings))
        .await?;
    let clients = match adoption {
        Adoption::Known => engine.backfill_deadlines(&CancellationToken::new()).await?,
        _ => worker::backfill_everywhere(&engine, &CancellationToken::new()).await?,
    };
    let from = match adoption {
        Adoption::Recorded { from } => Some(from),
        _ => None,
    };
    if context.is_json() {
        output::json(&json!({ "from": from.map(rfc3339), "clients": clients }))?;
        return Ok(ExitCode::SUCCESS);
    }
    output::line(match from {
        Some(from) => format!(
            "the policy in these settings takes effect at {}; checked the deadlines of {clients} clients",
            rfc3339(from)
        ),
        None => "the policy in these settings is already in effect".into(),
    });
    Ok(ExitCode::SUCCESS)
}

fn row(from: Option<DateTime<Utc>>, policy: &Policy) -> Vec<String> {
    let from = from.map_or_else(|| "the beginning".into(), rfc3339);
    let settings = cells(policy).into_iter().map(|(_, text)| text);
    [from].into_iter().chain(settings).collect()
}

/// The settings of a policy with the headings of their columns: of access, then the durations.
fn cells(policy: &Policy) -> Vec<(&'static str, String)> {
    let warnings: Vec<String> = policy.warn_before.iter().copied().map(format_duration).collect();
    let (of_access, others): (Vec<_>, Vec<_>) = Policy::DURATIONS
        .iter()
        .map(|duration| (duration, format_setting(duration, policy)))
        .partition(|(duration, _)| duration.setting.starts_with("access."));
    let of_access = of_access
        .into_iter()
        .map(|(duration, span)| (duration.heading, span));
    let others = others.into_iter().map(|(duration, span)| match duration.setting {
        "subscriptions.grace" => (duration.heading, format!("{span} {}", policy.subscriptions_end)),
        _ => (duration.heading, span),
    });
    of_access
        .chain([
            ("warn_before", warnings.join(", ")),
            ("mature_after_jobs", policy.mature_after_jobs.to_string()),
            ("from_account_update", policy.from_account_update.to_string()),
        ])
        .chain(others)
        .collect()
}
