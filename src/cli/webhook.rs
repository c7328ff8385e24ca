//! `tenure webhook`: adds, lists, pauses, resumes, replays, tests, rotates and removes endpoints of webhooks.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::context::{Context, UsageError};
use super::output;
use super::place::parse_place_or_latest;
use super::subscribe::parse_type;
use crate::config::parse_duration;
use crate::domain::ClientKey;
use crate::domain::event::OWN_SOURCE;
use crate::domain::time::rfc3339;
use crate::engine::{DeliveryStart, EndpointError, EndpointView, Engine, NewEndpoint};
use crate::store::{EndpointFilter, EndpointStatus, check_endpoint_name};
use crate::webhooks::{Message, Sender, keys};
use crate::wire::webhook::{EndpointUrl, SigningKey};

#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  tenure webhook add crm https://crm.example.com/hooks/tenure --type 'access.*'\n  tenure webhook test crm\n  tenure webhook replay crm --from 2026-03-01T00:00:00Z"
)]
pub enum WebhookCommand {
    /// Add an endpoint, and print its signing secret; it is not shown again
    #[command(after_help = "\
Examples:
  tenure webhook add crm https://crm.example.com/hooks/tenure
  tenure webhook add acme https://acme.example.com/tenure --partner acme
  tenure webhook add audit http://localhost:9000/ --type 'access.*'")]
    Add(AddArgs),
    /// List the endpoints, and how far each has received the changes
    #[command(after_help = "Examples:\n  tenure webhook list\n  tenure webhook list -o csv > webhooks.csv")]
    List,
    /// Stop sending changes to an endpoint; `resume` continues where it was
    #[command(after_help = "Examples:\n  tenure webhook pause crm --reason \"the CRM moves\"")]
    Pause(NameArgs),
    /// Continue sending changes to a paused or disabled endpoint
    #[command(after_help = "Examples:\n  tenure webhook resume crm")]
    Resume(NameArgs),
    /// Remove an endpoint with its cursor
    #[command(after_help = "Examples:\n  tenure webhook remove crm")]
    Remove(NameArgs),
    /// Send changes again, from a place on
    #[command(after_help = "\
Examples:
  tenure webhook replay crm --from 2026-03-01T00:00:00Z
  tenure webhook replay crm --from beginning")]
    Replay(ReplayArgs),
    /// Send a signed event `tenure.ping` to an endpoint, and print the response
    #[command(after_help = "Examples:\n  tenure webhook test crm")]
    Test(NameArgs),
    /// Sign with a new secret, and print it; the old one also signs for a while
    #[command(after_help = "\
Examples:
  tenure webhook rotate crm
  tenure webhook rotate crm --overlap 7d")]
    Rotate(RotateArgs),
}

#[derive(Debug, Args)]
pub struct AddArgs {
    /// The name of the endpoint: lower-case letters, digits, hyphens and underscores
    #[arg(value_parser = parse_name)]
    name: String,
    /// Where to send changes: https, or http to localhost
    #[arg(value_parser = parse_url)]
    url: EndpointUrl,
    /// Only changes of this type; `access.*` stands for all types that begin with `access.`. May be repeated
    #[arg(long = "type", value_name = "TYPE", value_parser = parse_type)]
    types: Vec<String>,
    /// Only changes of clients of this partner
    #[arg(long)]
    partner: Option<String>,
    /// Only changes of this client, partner/client
    #[arg(long, conflicts_with = "partner", value_parser = parse_client)]
    client: Option<ClientKey>,
    /// The first change: after a cursor of the feed, recorded at or after a time, `beginning`, or `latest` for those to come
    #[arg(long, value_name = "CURSOR|TIME", default_value = "latest", value_parser = parse_place_or_latest, allow_hyphen_values = true)]
    from: DeliveryStart,
    /// Read the secret from this file (whsec_…) instead of generating one
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct NameArgs {
    /// The name of the endpoint, from `tenure webhook list`
    name: String,
}

#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The name of the endpoint, from `tenure webhook list`
    name: String,
    /// The first change: after a cursor of the feed, recorded at or after a time, `beginning`, or `latest` for those to come
    #[arg(long, value_name = "CURSOR|TIME", value_parser = parse_place_or_latest, allow_hyphen_values = true)]
    from: DeliveryStart,
}

#[derive(Debug, Args)]
pub struct RotateArgs {
    /// The name of the endpoint, from `tenure webhook list`
    name: String,
    /// For how long the old secret also signs
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse_overlap, allow_hyphen_values = true)]
    overlap: TimeDelta,
    /// Read the new secret from this file (whsec_…) instead of generating one
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

/// For clap.
fn parse_name(name: &str) -> Result<String, UsageError> {
    check_endpoint_name(name).map_err(|error| UsageError(error.to_string()))?;
    Ok(name.to_owned())
}

/// For clap.
fn parse_url(url: &str) -> Result<EndpointUrl, UsageError> {
    EndpointUrl::parse(url).map_err(|error| UsageError(error.to_string()))
}

/// For clap.
fn parse_client(subject: &str) -> Result<ClientKey, UsageError> {
    ClientKey::from_subject(subject).map_err(|error| UsageError(error.to_string()))
}

/// For clap.
fn parse_overlap(text: &str) -> Result<TimeDelta, UsageError> {
    let expected = || UsageError("expected a duration such as 0s, 24h or 7d, at most 1 year".into());
    let overlap = parse_duration(text).map_err(|_| expected())?;
    Some(overlap)
        .filter(|overlap| *overlap <= TimeDelta::days(365))
        .ok_or_else(expected)
}

pub async fn run(context: &Context, command: WebhookCommand) -> anyhow::Result<ExitCode> {
    match command {
        WebhookCommand::Add(args) => add(context, args).await,
        WebhookCommand::List => list(context).await,
        WebhookCommand::Pause(args) => {
            let engine = context.maintaining_engine().await?;
            let authority = context.authority();
            usage(engine.operator(&authority).pause_endpoint(&args.name).await)?;
            done(
                context,
                &args.name,
                "paused",
                "paused; `tenure webhook resume` continues where it was",
            )
        }
        WebhookCommand::Resume(args) => {
            let engine = context.maintaining_engine().await?;
            let authority = context.authority();
            usage(engine.operator(&authority).resume_endpoint(&args.name).await)?;
            done(context, &args.name, "active", "active again")
        }
        WebhookCommand::Remove(args) => {
            let engine = context.maintaining_engine().await?;
            let authority = context.asked_authority();
            usage(engine.operator(&authority).remove_endpoint(&args.name).await)?;
            done(context, &args.name, "removed", "removed")
        }
        WebhookCommand::Replay(args) => replay(context, args).await,
        WebhookCommand::Test(args) => test(context, &args.name).await,
        WebhookCommand::Rotate(args) => rotate(context, args).await,
    }
}

/// An argument that no endpoint fits is a usage error.
fn usage<T>(done: Result<T, EndpointError>) -> anyhow::Result<T> {
    done.map_err(|error| match error {
        EndpointError::Store(error) => error.into(),
        error => UsageError(error.to_string()).into(),
    })
}

fn done(context: &Context, name: &str, status: &str, text: &str) -> anyhow::Result<ExitCode> {
    if context.is_json() {
        output::json(&json!({ "name": name, "status": status }))?;
    } else {
        output::line(format!("{name} is {text}"));
    }
    Ok(ExitCode::SUCCESS)
}

async fn add(context: &Context, args: AddArgs) -> anyhow::Result<ExitCode> {
    let (partner, client) = match args.client {
        Some(key) => (Some(key.partner.to_string()), Some(key.client.to_string())),
        None => (args.partner, None),
    };
    let filter = EndpointFilter {
        partner,
        client,
        types: args.types,
    };
    filter.check().map_err(|error| UsageError(error.to_string()))?;
    let networks = &context.settings.webhooks.allow_networks;
    networks
        .check(&args.url)
        .map_err(|error| UsageError(error.to_string()))?;
    if context.settings.webhooks.endpoints.contains_key(&args.name) {
        return Err(UsageError(EndpointError::OfSettings(args.name).to_string()).into());
    }
    let secret = secret(args.secret_file)?;
    let engine = context.working_engine().await?;
    let new = NewEndpoint {
        name: args.name.clone(),
        url: args.url.clone(),
        filter,
        secret: secret.clone(),
        start: args.from,
    };
    usage(engine.operator(&context.authority()).add_endpoint(new).await)?;
    if context.is_json() {
        output::json(&json!({ "name": args.name, "url": args.url.to_string(), "secret": secret }))?;
    } else {
        output::line(format!(
            "{} is added; the receiver verifies with this secret, which is not shown again:",
            args.name
        ));
        output::block(secret);
    }
    Ok(ExitCode::SUCCESS)
}

/// The secret in a file, or a new one.
fn secret(file: Option<PathBuf>) -> anyhow::Result<String> {
    let Some(path) = file else {
        return Ok(SigningKey::new_secret());
    };
    let text = std::fs::read_to_string(&path)
        .map_err(|error| UsageError(format!("{} cannot be read: {error}", path.display())))?;
    let secret = text.trim();
    SigningKey::parse(secret).map_err(|error| UsageError(format!("{}: {error}", path.display())))?;
    Ok(secret.to_owned())
}

async fn list(context: &Context) -> anyhow::Result<ExitCode> {
    let endpoints = context.compared_engine().await?.endpoints().await?;
    if context.is_json() {
        for endpoint in &endpoints {
            output::json(endpoint)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows = endpoints.iter().map(row);
    let head = [
        "name",
        "status",
        "url",
        "receives",
        "lag",
        "failing since",
        "last outcome",
        "last delivered",
    ];
    context.print_rows(&head, rows);
    for endpoint in &endpoints {
        if let Some(why) = &endpoint.why
            && context.is_table()
        {
            output::line(format!("{} is disabled: {why}", endpoint.name));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn row(endpoint: &EndpointView) -> Vec<String> {
    let of = endpoint.client.as_ref().or(endpoint.partner.as_ref());
    let types = match endpoint.types.as_slice() {
        [] => "all changes".to_owned(),
        types => types.join(", "),
    };
    vec![
        endpoint.name.clone(),
        endpoint.status.as_str().to_owned(),
        endpoint.url.clone(),
        of.map_or_else(|| types.clone(), |of| format!("{types} of {of}")),
        endpoint
            .lag_seconds
            .map_or_else(|| "changes are gone".to_owned(), |seconds| format!("{seconds} s")),
        output::moment(endpoint.failing_since),
        output::words(endpoint.last_outcome.as_deref()),
        output::moment(endpoint.last_delivered_at),
    ]
}

async fn replay(context: &Context, args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let engine = context.maintaining_engine().await?;
    let authority = context.authority();
    let operator = engine.operator(&authority);
    let cursor = usage(operator.replay_endpoint(&args.name, args.from).await)?;
    let status = usage(engine.endpoint(&args.name).await)?.status;
    if context.is_json() {
        output::json(&json!({ "name": args.name, "cursor": cursor.to_string(), "status": status }))?;
        return Ok(ExitCode::SUCCESS);
    }
    output::line(match args.from {
        DeliveryStart::At(moment) => format!(
            "{} receives the changes recorded since {}: those after {cursor}",
            args.name,
            rfc3339(moment)
        ),
        DeliveryStart::Place(_) => format!("{} receives the changes after {cursor}", args.name),
    });
    if status != EndpointStatus::Active {
        output::line(format!(
            "it is {}; continue with `tenure webhook resume {}`",
            status.as_str(),
            args.name
        ));
    }
    Ok(ExitCode::SUCCESS)
}

async fn rotate(context: &Context, args: RotateArgs) -> anyhow::Result<ExitCode> {
    let secret = secret(args.secret_file)?;
    let engine = context.maintaining_engine().await?;
    let until = engine.now() + args.overlap;
    let authority = context.authority();
    let operator = engine.operator(&authority);
    usage(operator.rotate_endpoint(&args.name, secret.clone(), until).await)?;
    if context.is_json() {
        output::json(&json!({ "name": args.name, "secret": secret, "old_secret_until": rfc3339(until) }))?;
    } else {
        output::line(format!(
            "{} signs with this secret, which is not shown again, and until {} also with the old one:",
            args.name,
            rfc3339(until)
        ));
        output::block(secret);
    }
    Ok(ExitCode::SUCCESS)
}

async fn test(context: &Context, name: &str) -> anyhow::Result<ExitCode> {
    let engine = context.engine().await?;
    let endpoint = usage(engine.endpoint(name).await)?;
    let settings = &context.settings.webhooks;
    let now = engine.now();
    let keys = keys(&endpoint, settings, now).map_err(|error| UsageError(error.to_string()))?;
    let url = EndpointUrl::parse(&endpoint.url)?;
    let (id, body) = ping(&engine, name, now)?;
    let message = Message { id: &id, body: &body };
    let authority = context.authority();
    let operator = engine.operator(&authority);
    operator
        .record("webhook.test", Some(name.to_owned()), Value::Null)
        .await?;
    let began = Instant::now();
    let sent = Sender::new(settings)?.send(&url, message, &keys, now).await;
    let millis = began.elapsed().as_millis();
    let is_success = matches!(&sent, Ok(response) if response.is_success());
    if context.is_json() {
        let (status, body, error) = match &sent {
            Ok(response) => (Some(response.status), Some(&response.excerpt), None),
            Err(error) => (None, None, Some(error.to_string())),
        };
        output::json(&json!({
            "name": name, "id": id, "success": is_success, "status": status, "milliseconds": millis, "body": body, "error": error,
        }))?;
    } else {
        match &sent {
            Ok(response) => {
                output::line(format!("{url} answered {} in {millis} ms", response.status));
                if !response.excerpt.is_empty() {
                    output::line(response.excerpt.clone());
                }
            }
            Err(error) => output::line(format!("{url}: {error}")),
        }
    }
    Ok(if is_success {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// An event that is no change: it reports nothing, and its type tells receivers so.
fn ping(engine: &Engine, name: &str, now: DateTime<Utc>) -> anyhow::Result<(String, Vec<u8>)> {
    let id = format!("ping_{}", engine.now().timestamp_micros());
    let event = json!({
        "specversion": "1.0",
        "id": id,
        "source": OWN_SOURCE,
        "type": "tenure.ping",
        "time": rfc3339(now),
        "datacontenttype": "application/json",
        "data": { "endpoint": name },
    });
    Ok((id, serde_json::to_vec(&event)?))
}
