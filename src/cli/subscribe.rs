//! `tenure subscribe`: declares a subscriber's queue before the subscriber first starts.

use std::process::ExitCode;

use clap::Args;

use super::context::{Context, UsageError};
use super::output;
use crate::broker::subscription;
use crate::domain::kinds_of;

/// The longest name of a queue in AMQP, less what the dead queue adds.
const MAX_QUEUE_BYTES: usize = 250;

/// The binding that matches every routing key.
const EVERY_KEY: &str = "#";

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tenure subscribe billing --type 'billing.*' --type 'subscription.*'\n  tenure subscribe mirror\n  tenure subscribe mirror-past --no-bindings"
)]
pub struct SubscribeArgs {
    /// The queue to declare
    #[arg(value_name = "QUEUE", value_parser = parse_queue)]
    queue: String,
    /// Only changes of this type; `access.*` stands for all types that begin with `access.`. May be repeated
    #[arg(long = "type", value_name = "TYPE", value_parser = parse_type)]
    types: Vec<String>,
    /// Bind the queue to nothing: only `tenure replay` publishes to it. A queue that is bound already stays bound
    #[arg(long, conflicts_with = "types")]
    no_bindings: bool,
}

pub async fn run(context: &Context, args: SubscribeArgs) -> anyhow::Result<ExitCode> {
    if context.settings.broker.url.is_none() {
        return Err(UsageError("broker.url is empty; set AMQP_URL to the URL of RabbitMQ".into()).into());
    }
    let keys = match args.types {
        _ if args.no_bindings => Vec::new(),
        types if types.is_empty() => vec![EVERY_KEY.to_owned()],
        types => types,
    };
    subscription::declare(&context.settings.broker, &args.queue, &keys).await?;
    let dead = subscription::dead_queue(&args.queue);
    if context.is_json() {
        output::json(&serde_json::json!({ "queue": args.queue, "types": keys, "dead": dead }))?;
    } else {
        let receives = if args.no_bindings {
            format!("receives what `tenure replay --to {}` publishes", args.queue)
        } else if keys == [EVERY_KEY] {
            "receives every change from now on".to_owned()
        } else {
            format!("receives {} from now on", keys.join(", "))
        };
        output::line(format!(
            "{} {receives}; messages that it rejects go to {dead}",
            args.queue
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// For clap.
pub(super) fn parse_queue(name: &str) -> Result<String, UsageError> {
    if name.starts_with("tenure.") || name.starts_with("amq.") {
        return Err(UsageError(
            "names that begin with tenure. or amq. are reserved; choose another name".into(),
        ));
    }
    if name.is_empty() || name.len() > MAX_QUEUE_BYTES || name.chars().any(char::is_control) {
        return Err(UsageError(format!(
            "expected a name of 1 to {MAX_QUEUE_BYTES} bytes"
        )));
    }
    Ok(name.to_owned())
}

/// For clap.
pub(super) fn parse_type(pattern: &str) -> Result<String, UsageError> {
    match kinds_of(pattern) {
        Some(_) => Ok(pattern.to_owned()),
        None => Err(UsageError(
            "there is no such type of change; expected a type such as link.active, or a pattern such as access.*".into(),
        )),
    }
}
