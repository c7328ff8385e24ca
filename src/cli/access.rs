//! `tenure access`: whether partners may enter accounts.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;

use super::context::{Context, UsageError};
use super::moment::{Moment, parse_moment};
use super::output;
use crate::domain::access::Decision;
use crate::domain::id::check_id;
use crate::domain::time::rfc3339;
use crate::domain::{Action, ClientKey, Id};
use crate::engine::{Question, Resource};

#[derive(Debug, Args)]
pub struct AccessArgs {
    /// The clients, each as PARTNER/CLIENT
    #[arg(
        value_name = "PARTNER/CLIENT",
        required_unless_present = "account",
        conflicts_with = "account"
    )]
    keys: Vec<String>,
    /// Instead of clients: the account with this id in the account app
    #[arg(long, requires = "partner")]
    account: Option<String>,
    /// The partner that wants to enter the account
    #[arg(long, requires = "account")]
    partner: Option<String>,
    /// Decide whether the partner may perform this action [default: whether it may enter the account]
    #[arg(long)]
    action: Option<String>,
    /// Decide as of this moment, past or future [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    at: Option<Moment>,
}

/// A decision in JSON.
#[derive(Serialize)]
struct Line<'a> {
    partner: &'a str,
    /// None: no client of the partner has the account.
    client: Option<&'a str>,
    #[serde(flatten)]
    decision: &'a Decision,
}

pub async fn run(context: &Context, args: AccessArgs) -> anyhow::Result<ExitCode> {
    let action = args
        .action
        .as_deref()
        .map(|name| context.settings.actions.read(name));
    let action = action.transpose().map_err(usage)?;
    let engine = context.engine().await?;
    let questions = questions(&args, action.as_ref(), engine.now())?;
    let answers = engine.decide_all(&questions).await?;
    let lines: Vec<Line> = questions
        .iter()
        .zip(&answers)
        .map(|(question, answer)| Line {
            partner: match &question.resource {
                Resource::Client(key) => &key.partner,
                Resource::Account { partner, .. } => partner.as_str(),
            },
            client: answer.client.as_ref().map(|key| &*key.client),
            decision: &answer.decision,
        })
        .collect();
    if context.is_json() {
        for line in &lines {
            output::json(line)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows = lines.iter().map(|line| {
        vec![
            format!("{}/{}", line.partner, line.client.unwrap_or("-")),
            if line.decision.allowed { "yes" } else { "no" }.to_owned(),
            line.decision.reason.to_owned(),
            output::moment(line.decision.expires_at),
            output::moment(line.decision.holds_until),
            assured(line.decision),
            rfc3339(line.decision.decided_at),
        ]
    });
    let head = [
        "client",
        "allowed",
        "reason",
        "expires",
        "holds until",
        "assured",
        "decided at",
    ];
    context.print_rows(&head, rows);
    Ok(ExitCode::SUCCESS)
}

/// Whether the decision is assured, or which source is silent.
fn assured(decision: &Decision) -> String {
    match &decision.silent_source {
        Some(source) => format!("no: {source} is silent"),
        None => "yes".to_owned(),
    }
}

fn questions(
    args: &AccessArgs,
    action: Option<&Action>,
    now: DateTime<Utc>,
) -> anyhow::Result<Vec<Question>> {
    let question = |resource| Question {
        resource,
        action: action.cloned(),
        at: args.at.map(|at| at.resolve(now)),
    };
    if let (Some(account), Some(partner)) = (&args.account, &args.partner) {
        check_id("partner", partner).map_err(usage)?;
        let account = Id::try_from(account.clone()).map_err(usage)?;
        let partner = partner.clone();
        return Ok(vec![question(Resource::Account { partner, account })]);
    }
    let mut questions = Vec::with_capacity(args.keys.len());
    for key in &args.keys {
        let key = ClientKey::from_subject(key).map_err(usage)?;
        questions.push(question(Resource::Client(key)));
    }
    Ok(questions)
}

fn usage(error: impl std::fmt::Display) -> UsageError {
    UsageError(error.to_string())
}
