//! The command line: `tenure run`, `tenure demo`, and commands for operators and scripts.
//!
//! Exit codes: 0 success, 1 failure, 2 usage error (arguments or settings), 3 a sweep that left due timers for later.

mod access;
mod accesses;
mod audit;
mod check;
mod client;
mod context;
mod dead;
mod demo;
mod export;
mod forecast;
mod health;
mod history;
mod import;
mod ingest;
mod input;
mod key;
mod lanes;
mod lines;
mod lists;
mod maintain;
mod moment;
mod operator;
mod output;
mod place;
mod policy;
mod possible;
mod prune;
mod publish;
mod replay;
mod run;
mod schema;
mod shell;
mod shell_files;
mod sources;
mod statement;
mod stop;
mod subscribe;
mod sweep;
mod sweep_runs;
pub mod top;
mod verify;
mod webhook;
mod what_if;
mod why;
mod worker;
mod workers;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::broker::BrokerError;
use crate::config::SettingsError;
use crate::escape::visible;
use crate::store::StoreError;
use crate::worker::WorkerError;
use context::Context;
pub use context::UsageError;
use output::Format;

/// Track which partner may access whose account, and who is billed for what
///
/// Tenure applies events about partners and their clients, runs timers, and publishes every change.
#[derive(Debug, Parser)]
#[command(name = "tenure", version, max_term_width = HELP_COLUMNS, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// The options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Common options")]
struct Common {
    /// Read settings from this TOML file; environment variables override it
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        env = "TENURE_CONFIG",
        hide_env_values = true
    )]
    config: Option<PathBuf>,
    /// How to print results; csv is for lists and reports
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORMAT",
        global = true,
        default_value_t
    )]
    output: Format,
    /// Short for --output json
    #[arg(long, global = true, conflicts_with = "output")]
    json: bool,
    /// Say why, for the audit log
    #[arg(long, value_name = "WHY", global = true)]
    reason: Option<String>,
}

/// The widest that help is, in columns. A narrower terminal, or the variable COLUMNS without one, makes it narrower.
const HELP_COLUMNS: usize = 100;

const EXAMPLES: &str = "\
Examples:
  tenure demo
  tenure run
  tenure client show acme/c-1 --journal
  tenure sweep preview access-expiry

TIME is a time such as 2026-03-01T12:00:00Z, a date such as 2026-03-01 (0:00 UTC), a time from now such as -3d or +12h, or \
now, today, yesterday or tomorrow. DURATION is a number with a unit, such as 30d, 12h or 1y.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the worker: ingest events, sweep on schedule, serve HTTP, publish changes
    #[command(after_help = "Examples:\n  tenure run\n  tenure run --config /etc/tenure/tenure.toml")]
    Run,
    /// Simulate a year of three upstream apps in a temporary store
    #[command(after_help = "\
Examples:
  tenure demo
  tenure demo --clients 40 --seed 7
  tenure demo --serve")]
    Demo(demo::DemoArgs),
    /// Publish events from a file to RabbitMQ
    Publish(publish::PublishArgs),
    /// Declare a subscriber's queue for changes, before the subscriber first starts
    Subscribe(subscribe::SubscribeArgs),
    /// Publish past changes to one queue
    Replay(replay::ReplayArgs),
    /// Check what would become of the events in a file: applied, duplicate, refused or dead, and why. Stores nothing
    Check(check::CheckArgs),
    /// Ingest events from a file directly into the store
    Ingest(ingest::IngestArgs),
    /// Show and list clients
    #[command(subcommand)]
    Client(client::ClientCommand),
    /// Show a client's events, timers and changes as one story, past and to come
    #[command(after_help = "Examples:\n  tenure history acme/c-1\n  tenure history acme/c-1 --until 90d")]
    History(history::HistoryArgs),
    /// Show which events a client would accept, and why not the others
    #[command(after_help = "Examples:\n  tenure possible acme/c-1\n  tenure possible acme/c-1 --at +30d")]
    Possible(possible::PossibleArgs),
    /// Explain an answer about a client: what it rests on, and what would change it
    #[command(after_help = "\
Examples:
  tenure why acme/c-1
  tenure why acme/c-1 access
  tenure why acme/c-1 billable --at 2026-03-01")]
    Why(why::WhyArgs),
    /// Forecast what timers will change if no event arrives, by day and by client
    Forecast(forecast::ForecastArgs),
    /// Compare the recorded policies with another one: who would have access, and which days and changes would differ
    WhatIf(what_if::WhatIfArgs),
    /// List, show and close months: the days on which clients are billable, earn commission, have access
    #[command(subcommand)]
    Statement(statement::StatementCommand),
    /// Decide whether partners may enter accounts, or perform an action in them
    #[command(after_help = "\
Examples:
  tenure access acme/c-1 acme/c-2
  tenure access --partner acme --account a-1
  tenure access acme/c-1 --action invoice_create")]
    Access(access::AccessArgs),
    /// List who entered which account when, from the access log
    #[command(after_help = "\
Examples:
  tenure accesses acme/c-1
  tenure accesses --partner acme --since -7d")]
    Accesses(accesses::AccessesArgs),
    /// List the partners, with the number of their clients by status
    #[command(after_help = "Examples:\n  tenure partners\n  tenure partners --limit 20")]
    Partners(lists::PartnersArgs),
    /// List the partners that have a client for an account
    #[command(after_help = "Examples:\n  tenure account a-1")]
    Account(lists::AccountArgs),
    /// List refused events, the newest first
    #[command(after_help = "\
Examples:
  tenure refusals --from -1d
  tenure refusals --code name_taken --source /space")]
    Refusals(lists::RefusalsArgs),
    /// Manage webhooks: endpoints that receive changes over HTTP
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
    /// List, run, preview, confirm, pause and resume sweeps, which fire the timers that are due
    #[command(subcommand)]
    Sweep(sweep::SweepCommand),
    /// Show or remove lanes; timers fire up to the lowest of their watermarks
    #[command(subcommand)]
    Lanes(lanes::LanesCommand),
    /// Show the expected sources, or stop expecting them; timers wait for silent ones
    #[command(subcommand)]
    Sources(sources::SourcesCommand),
    /// Show the workers that use the store, or remove one that is gone
    #[command(subcommand)]
    Workers(workers::WorkersCommand),
    /// Show the policies in effect, or put the policy in the settings into effect
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Manage dead letters: messages that are not valid events
    #[command(subcommand)]
    Dead(dead::DeadCommand),
    /// Replay clients from the event log and report differences from the stored state
    #[command(after_help = "\
Examples:
  tenure verify
  tenure verify acme/c-1
  tenure verify --partner acme")]
    Verify(verify::ScopeArgs),
    /// Replay clients from the event log, repair the stored state and publish corrections
    #[command(after_help = "\
Examples:
  tenure rebuild acme/c-1
  tenure rebuild --partner acme --reason \"verify found differences\"")]
    Rebuild(verify::ScopeArgs),
    /// List what operators did: who, how and why
    Audit(audit::AuditArgs),
    /// Remove records that are older than [retention] allows
    #[command(after_help = "Examples:\n  tenure prune --dry-run\n  tenure prune")]
    Prune(prune::PruneArgs),
    /// Write everything in the store to a file, for another store or another version
    Export(export::ExportArgs),
    /// Read an exported file into an empty store
    Import(import::ImportArgs),
    /// Create the store's tables or update them to this version
    #[command(after_help = "Examples:\n  tenure migrate")]
    Migrate,
    /// Start a new epoch of changes after restoring a backup
    #[command(after_help = "Examples:\n  tenure restored --reason \"backup of 1 March\"")]
    Restored,
    /// Watch the overview live in the terminal: whether all is well, and if not, what is wrong and what to do
    Top(top::TopArgs),
    /// Ask the worker on this machine whether it is ready; exit code 1 if not
    #[command(after_help = "Examples:\n  tenure health\n  tenure health --live")]
    Health(health::HealthArgs),
    /// Print the contracts of events and changes: JSON Schemas, AsyncAPI, OpenAPI
    #[command(subcommand)]
    Schema(schema::SchemaCommand),
    /// Print a script that completes commands in a shell
    Completions(shell_files::CompletionsArgs),
    /// Write the manual pages of all commands to a folder
    Man(shell_files::ManArgs),
    /// Show the effective settings and the origin of each, without secrets
    #[command(after_help = "Examples:\n  tenure config\n  tenure config --config /etc/tenure/tenure.toml")]
    Config,
}

impl Cli {
    /// Parses the arguments of this process.
    ///
    /// # Errors
    /// The exit code, after the error or the requested help was printed.
    pub fn from_arguments() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| {
            // The message quotes the arguments, which may contain terminal escapes.
            let arguments = std::env::args_os();
            let shown = arguments.map(|argument| visible(&argument.to_string_lossy()).into_owned());
            let error = Self::try_parse_from(shown).err().unwrap_or(error);
            let printed = error.print();
            if !error.use_stderr() {
                output::record_write(printed);
            }
            let code = u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
            unless_output_failed(code)
        })
    }

    /// Whether this is `tenure run`, which decodes messages from others.
    #[must_use]
    pub fn is_run(&self) -> bool {
        matches!(self.command, Command::Run)
    }

    /// Runs the command. Results go to standard output, errors to standard error.
    pub async fn run(self) -> ExitCode {
        let result = match self.command {
            // They are asked for while Tenure is installed, when its settings may not be complete.
            Command::Completions(args) => Ok(shell_files::completions(&args)),
            Command::Man(args) => shell_files::man(&args),
            command => command.run_with(self.common).await,
        };
        let code = match result {
            Ok(code) => code,
            Err(error) => {
                output::error_line(explain(&error));
                ExitCode::from(if is_usage_error(&error) { 2 } else { 1 })
            }
        };
        unless_output_failed(code)
    }
}

/// A script that redirects the output to a full disk must not read success from the exit code.
fn unless_output_failed(code: ExitCode) -> ExitCode {
    match output::finish() {
        Ok(()) => code,
        Err(error) => {
            output::error_line(format!("standard output: {error}; the output is incomplete"));
            if code == ExitCode::SUCCESS {
                ExitCode::FAILURE
            } else {
                code
            }
        }
    }
}

/// An error and its causes, except those that the error's own text already contains.
fn explain(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |mut text, cause| {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        text
    })
}

/// Includes settings that only their user can find invalid, such as a wrong password.
fn is_usage_error(error: &anyhow::Error) -> bool {
    let worker = error.downcast_ref::<WorkerError>();
    error.is::<UsageError>()
        || error.is::<SettingsError>()
        || matches!(
            error.downcast_ref(),
            Some(BrokerError::Settings(_) | BrokerError::Login(_))
        )
        || error.downcast_ref().is_some_and(StoreError::is_of_settings)
        || worker.is_some_and(WorkerError::is_of_settings)
}

impl Command {
    async fn run_with(self, common: Common) -> anyhow::Result<ExitCode> {
        let format = if common.json { Format::Json } else { common.output };
        let context = Context::new(common.config.as_deref(), format, common.reason)?;
        if context.is_csv() && !self.prints_rows() {
            return Err(UsageError("this command prints no rows: use --output table or json".into()).into());
        }
        let result = Box::pin(self.run(&context)).await;
        context.close().await;
        result
    }

    /// Whether the results are rows, which can be comma-separated values.
    fn prints_rows(&self) -> bool {
        match self {
            Self::Client(command) => matches!(command, client::ClientCommand::List(_)),
            Self::Webhook(command) => matches!(command, webhook::WebhookCommand::List),
            Self::Dead(command) => matches!(command, dead::DeadCommand::List(_)),
            Self::Sweep(command) => matches!(
                command,
                sweep::SweepCommand::List
                    | sweep::SweepCommand::Preview(_)
                    | sweep::SweepCommand::Runs(_)
                    | sweep::SweepCommand::Show(_)
            ),
            Self::Lanes(command) => matches!(command, lanes::LanesCommand::List),
            Self::Sources(command) => matches!(command, sources::SourcesCommand::List),
            Self::Workers(command) => matches!(command, workers::WorkersCommand::List),
            Self::Policy(command) => matches!(command, policy::PolicyCommand::Show(_)),
            Self::Statement(command) => !matches!(command, statement::StatementCommand::Close(_)),
            Self::Check(_)
            | Self::Why(_)
            | Self::Verify(_)
            | Self::Rebuild(_)
            | Self::History(_)
            | Self::Possible(_)
            | Self::Forecast(_)
            | Self::WhatIf(_)
            | Self::Access(_)
            | Self::Accesses(_)
            | Self::Partners(_)
            | Self::Account(_)
            | Self::Refusals(_)
            | Self::Audit(_) => true,
            _ => false,
        }
    }

    async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self {
            Self::Run => run::run(context).await,
            Self::Demo(args) => demo::run(context, args).await,
            Self::Publish(args) => publish::publish(context, args).await,
            Self::Subscribe(args) => subscribe::run(context, args).await,
            Self::Replay(args) => replay::run(context, args).await,
            Self::Check(args) => check::check(context, args).await,
            Self::Ingest(args) => ingest::ingest(context, args).await,
            Self::Client(command) => client::run(context, command).await,
            Self::History(args) => history::run(context, args).await,
            Self::Possible(args) => possible::run(context, args).await,
            Self::Why(args) => why::run(context, args).await,
            Self::Forecast(args) => forecast::run(context, args).await,
            Self::WhatIf(args) => what_if::run(context, args).await,
            Self::Statement(command) => statement::run(context, command).await,
            Self::Access(args) => access::run(context, args).await,
            Self::Accesses(args) => accesses::run(context, args).await,
            Self::Partners(args) => lists::partners(context, args).await,
            Self::Account(args) => lists::account(context, args).await,
            Self::Refusals(args) => lists::refusals(context, args).await,
            Self::Webhook(command) => webhook::run(context, command).await,
            Self::Sweep(command) => sweep::run(context, command).await,
            Self::Lanes(command) => lanes::run(context, command).await,
            Self::Sources(command) => sources::run(context, command).await,
            Self::Workers(command) => workers::run(context, command).await,
            Self::Policy(command) => policy::run(context, command).await,
            Self::Dead(command) => dead::run(context, command).await,
            Self::Verify(args) => verify::verify(context, args).await,
            Self::Rebuild(args) => verify::rebuild(context, args).await,
            Self::Audit(args) => audit::run(context, args).await,
            Self::Prune(args) => prune::run(context, args).await,
            Self::Export(args) => export::export(context, args).await,
            Self::Import(args) => import::import(context, args).await,
            Self::Migrate => maintain::migrate(context).await,
            Self::Restored => maintain::restored(context).await,
            Self::Top(args) => top::run(context, args).await,
            Self::Health(args) => health::run(context, args).await,
            Self::Schema(command) => schema::run(context, command),
            Self::Completions(args) => Ok(shell_files::completions(&args)),
            Self::Man(args) => shell_files::man(&args),
            Self::Config => maintain::config(context),
        }
    }
}
