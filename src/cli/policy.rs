//! `tenure policy`: the policies in effect and the confirmation of a new one.

use std::process::ExitCode;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::output;
use crate::domain::Policy;
use crate::domain::policy::PolicyDuration;
use crate::domain::time::rfc3339;
use crate::engine::{Adoption, AdoptionMode};
use crate::worker;

#[derive(Debug, Args)]
pub struct PolicyArgs {
    /// Put the policy in the settings into effect, even if it changes more clients than the breaker allows
    #[arg(long)]
    confirm: bool,
}

pub async fn run(context: &Context, args: PolicyArgs) -> anyhow::Result<ExitCode> {
    if args.confirm {
        confirm(context).await
    } else {
        show(context).await
    }
}

async fn show(context: &Context) -> anyhow::Result<ExitCode> {
    let engine = context.engine().await?;
    let recorded = engine.recorded_policies().await?;
    if context.json {
        for (from, policy) in &recorded {
            output::json(&serde_json::json!({ "from": rfc3339(*from), "policy": policy }))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let head: Vec<&str> = ["effective from"]
        .into_iter()
        .chain(cells(&Policy::default()).into_iter().map(|(heading, _)| heading))
        .collect();
    let rows = recorded.iter().enumerate().map(|(place, (from, policy))| {
        // The first is effective from the beginning of time, not from when it was recorded.
        row((place > 0).then_some(*from), policy)
    });
    output::line(output::table(&head, rows));
    Ok(ExitCode::SUCCESS)
}

async fn confirm(context: &Context) -> anyhow::Result<ExitCode> {
    context.existing().await?;
    let engine = worker::join(context.migrated().await?, &context.settings).await?;
    let policy = context.settings.policy();
    let adoption = engine
        .adopt(
            &policy,
            worker::notice(&context.settings),
            AdoptionMode::Confirmed,
        )
        .await?;
    let clients = match adoption {
        Adoption::Known => engine.backfill_deadlines(&CancellationToken::new()).await?,
        _ => worker::backfill_everywhere(&engine, &CancellationToken::new()).await?,
    };
    let from = match adoption {
        Adoption::Recorded { from } => Some(from),
        _ => None,
    };
    if context.json {
        output::json(&serde_json::json!({ "from": from.map(rfc3339), "clients": clients }))?;
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
    let warnings: Vec<String> = policy.warn_before.iter().copied().map(span).collect();
    let (of_access, others): (Vec<_>, Vec<_>) = Policy::DURATIONS
        .iter()
        .map(|duration| (duration, setting(duration, policy)))
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

/// A duration of a policy in the syntax of settings.
fn setting(duration: &PolicyDuration, policy: &Policy) -> String {
    if duration.is_never(policy) {
        "never".into()
    } else {
        span(duration.get(policy))
    }
}

/// A duration in the syntax of settings: `60d`, not `1month 29days`.
fn span(span: TimeDelta) -> String {
    let days = span.num_days();
    let rest = (span - TimeDelta::days(days)).to_std().unwrap_or_default();
    match (days, rest.is_zero()) {
        (0, _) => humantime::format_duration(rest).to_string(),
        (days, true) => format!("{days}d"),
        (days, false) => format!("{days}d {}", humantime::format_duration(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_printed_in_the_syntax_of_settings() {
        for (of, shown) in [
            (TimeDelta::days(60), "60d"),
            (TimeDelta::zero(), "0s"),
            (TimeDelta::hours(36), "1d 12h"),
            (TimeDelta::milliseconds(1500), "1s 500ms"),
        ] {
            assert_eq!(span(of), shown);
        }
    }
}
