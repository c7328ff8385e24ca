//! `tenure schema`: the contracts of events and changes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::context::{Context, UsageError};
use super::output;
use crate::contracts;
use crate::domain::event::TYPES;
use crate::domain::{ChangeKind, nearest_name};
use crate::http;
use crate::wire::SchemaUris;

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  tenure schema event client.added
  tenure schema openapi > openapi.json
  tenure schema all schemas")]
pub enum SchemaCommand {
    /// Print the AsyncAPI document: exchanges, queues and messages of RabbitMQ
    #[command(after_help = "Examples:\n  tenure schema asyncapi > asyncapi.json")]
    Asyncapi,
    /// Print the OpenAPI document of the HTTP API
    #[command(after_help = "Examples:\n  tenure schema openapi > openapi.json")]
    Openapi,
    /// Print the JSON Schema of an event type
    #[command(after_help = "\
Examples:
  tenure schema event client.added
  tenure schema event client.added --data")]
    Event(TypeArgs),
    /// Print the JSON Schema of a change type
    #[command(after_help = "Examples:\n  tenure schema change access.enabled")]
    Change(TypeArgs),
    /// Write all schemas and both documents to a folder
    #[command(after_help = "Examples:\n  tenure schema all schemas")]
    All {
        /// The folder, which is created if it is missing
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct TypeArgs {
    /// The type, such as client.added
    #[arg(value_name = "TYPE")]
    kind: String,
    /// Print the schema of `data` alone, which the attribute `dataschema` names
    #[arg(long)]
    data: bool,
}

pub fn run(context: &Context, command: SchemaCommand) -> anyhow::Result<ExitCode> {
    let uris = SchemaUris::new(context.settings.http.public_url.as_deref());
    match command {
        SchemaCommand::Asyncapi => print(context, &contracts::asyncapi(&uris))?,
        SchemaCommand::Openapi => print(context, &http::openapi())?,
        SchemaCommand::Event(args) => {
            let schema = if args.data {
                contracts::data_of_event
            } else {
                contracts::event
            };
            print(
                context,
                &found(schema(&args.kind, &uris), &args.kind, "event", TYPES)?,
            )?;
        }
        SchemaCommand::Change(args) => {
            let schema = if args.data {
                contracts::data_of_change
            } else {
                contracts::change
            };
            let known: Vec<&'static str> = ChangeKind::ALL.iter().map(|kind| kind.as_str()).collect();
            print(
                context,
                &found(schema(&args.kind, &uris), &args.kind, "change", &known)?,
            )?;
        }
        SchemaCommand::All { folder } => all(&folder, &uris)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print(context: &Context, document: &Value) -> anyhow::Result<()> {
    if context.is_json() {
        return output::json(document);
    }
    let text = serde_json::to_string_pretty(document)?;
    output::block(output::Safe::lines(text.lines()));
    Ok(())
}

fn found(
    schema: Option<Value>,
    kind: &str,
    family: &str,
    known: &[&'static str],
) -> Result<Value, UsageError> {
    schema.ok_or_else(|| {
        UsageError(match nearest_name(kind, known) {
            Some(nearest) => format!("unknown {family} type `{kind}`; `{nearest}` is one"),
            None => format!(
                "unknown {family} type `{kind}`; expected one of {}",
                known.join(", ")
            ),
        })
    })
}

fn all(folder: &Path, uris: &SchemaUris) -> anyhow::Result<()> {
    let mut documents = vec![
        ("asyncapi.json".to_owned(), contracts::asyncapi(uris)),
        ("openapi.json".to_owned(), http::openapi()),
    ];
    for (place, schema) in contracts::all_schemas(uris) {
        let name = match place.strip_suffix("/data") {
            Some(whole) => format!("{whole}.data.json"),
            None => format!("{place}.json"),
        };
        documents.push((name, schema));
    }
    for (name, document) in &documents {
        let path = folder.join(name);
        let failed = || format!("cannot write {}", path.display());
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(failed)?;
        }
        let text = serde_json::to_string_pretty(document)? + "\n";
        std::fs::write(&path, text).with_context(failed)?;
    }
    output::line(format!("wrote {} files to {}", documents.len(), folder.display()));
    Ok(())
}
