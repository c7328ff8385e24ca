//! `tenure why`: the events, timers and policies that an answer about a client rests on, and what would change it.

use std::process::ExitCode;

use clap::Args;

use super::context::{Context, UsageError};
use super::key::client_key;
use super::moment::{Moment, parse_moment};
use super::output;
use crate::domain::time::rfc3339;
use crate::domain::why::{Answer, Explanation};
use crate::engine::Why;

#[derive(Debug, Args)]
#[expect(clippy::doc_markdown, reason = "a terminal would show the backticks")]
pub struct WhyArgs {
    /// The client: PARTNER/CLIENT, or PARTNER and CLIENT as two arguments
    #[arg(value_name = "PARTNER/CLIENT")]
    key: String,
    /// link, service, access, billable, commission, status_credit, connected, visible, retrieving, on_client_list, tab,
    /// view_as_client or subscription:ID [default: all of them]
    #[arg(value_name = "ANSWER", num_args = 0..=2)]
    more: Vec<String>,
    /// Ask as of this moment, past or future [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    at: Option<Moment>,
}

pub async fn run(context: &Context, args: WhyArgs) -> anyhow::Result<ExitCode> {
    // A key with a slash is complete; otherwise the next argument is the client.
    let is_complete = args.key.contains('/');
    let mut more = args.more.into_iter();
    let client = if is_complete { None } else { more.next() };
    let key = client_key(&args.key, client.as_deref())?;
    let answer = more
        .next()
        .map(|name| name.parse::<Answer>())
        .transpose()
        .map_err(|error| UsageError(error.to_string()))?;
    if let Some(left) = more.next() {
        return Err(UsageError(format!(
            "unexpected argument \"{left}\": ask for one answer, or for all of them"
        ))
        .into());
    }
    let engine = context.engine().await?;
    let at = args.at.map(|at| at.resolve(engine.now()));
    let Some(why) = engine.why(&key, answer, at).await? else {
        output::error_line(format!(
            "unknown client {key}; `tenure client list` lists the clients"
        ));
        return Ok(ExitCode::FAILURE);
    };
    if context.is_json() {
        for explanation in &why.answers {
            output::json(explanation)?;
        }
    } else if context.is_csv() {
        let rows = why.answers.iter().flat_map(rows);
        context.print_rows(&["answer", "at", "value", "part", "sentence"], rows);
    } else {
        show(&why);
    }
    if why.omitted > 0 {
        output::error_line(format!(
            "{} not shown; ask for each with subscription:ID",
            output::counted(why.omitted, "more subscription")
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// A row for each sentence of an explanation.
fn rows(explanation: &Explanation) -> Vec<Vec<String>> {
    let whole = [("answer", &explanation.sentence)].into_iter();
    let causes = explanation.causes.iter().map(|cause| ("cause", &cause.sentence));
    let supporting = explanation
        .supporting
        .iter()
        .map(|event| ("supporting", &event.sentence));
    let turns = explanation.turns.iter().map(|turn| ("turn", &turn.sentence));
    let sentences = whole.chain(causes).chain(supporting).chain(turns);
    let row = |(part, sentence): (&str, &String)| {
        vec![
            explanation.answer.to_string(),
            rfc3339(explanation.at),
            explanation.value.status.to_string(),
            part.to_owned(),
            sentence.clone(),
        ]
    };
    sentences.map(row).collect()
}

/// Prints the explanations of answers.
pub fn show(why: &Why) {
    for (number, explanation) in why.answers.iter().enumerate() {
        if number > 0 {
            output::line("");
        }
        output::line(head(explanation));
        output::paragraph("  ", &explanation.sentence);
        let causes = explanation.causes.iter().map(|cause| &cause.sentence);
        list("It rests on:", causes);
        let supporting = explanation.supporting.iter().map(|event| &event.sentence);
        list(
            "It also rests on events that other events could replace:",
            supporting,
        );
        let turns = explanation.turns.iter().map(|turn| &turn.sentence);
        list("What would change it:", turns);
    }
}

fn head(explanation: &Explanation) -> String {
    format!(
        "{} at {}: {}",
        explanation.answer,
        rfc3339(explanation.at),
        explanation.value.status
    )
}

fn list<'a>(title: &str, sentences: impl Iterator<Item = &'a String>) {
    for (number, sentence) in sentences.enumerate() {
        if number == 0 {
            output::line(format!("  {title}"));
        }
        output::paragraph("    - ", sentence);
    }
}
