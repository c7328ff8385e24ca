//! The command line: `tenure run`, `tenure demo` and what operators and scripts ask for.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong use (arguments or settings).

mod client;
mod context;
mod dead;
mod demo;
mod ingest;
mod input;
mod lanes;
mod lines;
mod maintain;
mod output;
mod policy;
mod prune;
mod publish;
mod run;
mod shell;
mod stop;
mod sweep;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::broker::BrokerError;
use crate::escape::visible;
use crate::store::StoreError;
use crate::worker::WorkerError;
use context::Context;
pub use context::WrongUse;

/// Knows which partner may enter whose account, and who is billed for what, at this very moment.
#[derive(Debug, Parser)]
#[command(name = "tenure", version, about, max_term_width = 100)]
pub struct Cli {
    /// A settings file (TOML); it overrides what is compiled in, and the environment overrides it.
    #[arg(long, value_name = "FILE", global = true, env = "TENURE_CONFIG")]
    config: Option<PathBuf>,
    /// Answer in JSON: one object, or for lists one object a line.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Work: take events from RabbitMQ and over HTTP, sweep on schedule, tell what changed.
    Run,
    /// Show a year of three upstream apps on an embedded store in a temporary folder.
    Demo(demo::DemoArgs),
    /// Publish events (CloudEvents: one JSON object a line, or an array of them) to RabbitMQ.
    Publish(publish::PublishArgs),
    /// Take events (CloudEvents: one JSON object a line, or an array of them) straight into the store.
    Ingest(ingest::IngestArgs),
    /// Ask about clients.
    #[command(subcommand)]
    Client(client::ClientCommand),
    /// List the sweeps; run one now, look at what it would do, pause or resume it.
    Sweep(sweep::SweepArgs),
    /// Show how far each lane of RabbitMQ has come: timers fire up to there.
    Lanes(lanes::LanesArgs),
    /// Show the durations that count, and since when, or put those of the settings into force.
    Policy(policy::PolicyArgs),
    /// Look after dead letters: messages that could not be events.
    #[command(subcommand)]
    Dead(dead::DeadCommand),
    /// Fold every client anew from the log and compare it with all that is stored.
    Verify(verify::ScopeArgs),
    /// Make what is stored agree with the log, and tell listeners what they were told wrongly.
    Rebuild(verify::ScopeArgs),
    /// Remove what has grown older than the settings in [retention] say.
    Prune(prune::PruneArgs),
    /// Bring the store's tables to this version.
    Migrate,
    /// Begin a new epoch of changes: run this after you restored a backup of the store.
    Restored,
    /// Show the settings in force, where each comes from, secrets left out.
    Config,
}

impl Cli {
    /// Reads the arguments of this process.
    ///
    /// # Errors
    /// The exit code, after what is wrong with them, or the help that was asked for, was printed.
    pub fn from_arguments() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| {
            // It quotes the arguments, and may be shown to others than those who wrote them.
            let arguments = std::env::args_os();
            let shown = arguments.map(|argument| visible(&argument.to_string_lossy()).into_owned());
            let error = Self::try_parse_from(shown).err().unwrap_or(error);
            let _ = error.print();
            u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
        })
    }

    /// Whether it is `tenure run`, which takes what others send.
    #[must_use]
    pub fn is_run(&self) -> bool {
        matches!(self.command, Command::Run)
    }

    /// Runs the command. What it has to say is on standard output, what went wrong on standard error.
    pub async fn run(self) -> ExitCode {
        let Self {
            config,
            json,
            command,
        } = self;
        let result = match Context::new(config.as_deref(), json) {
            Ok(context) => {
                let result = command.run(&context).await;
                context.close().await;
                result
            }
            Err(error) => Err(error),
        };
        match result {
            Ok(code) => code,
            Err(error) => {
                output::complain(explain(&error));
                ExitCode::from(if is_wrong_use(&error) { 2 } else { 1 })
            }
        }
    }
}

/// An error and its causes. Many errors have the words of their cause in their own: those are not said again.
fn explain(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |mut said, cause| {
        let cause = cause.to_string();
        if !said.contains(&cause) {
            said.push_str(": ");
            said.push_str(&cause);
        }
        said
    })
}

/// Settings that can only be found wrong by whoever works with them are wrong all the same.
fn is_wrong_use(error: &anyhow::Error) -> bool {
    let worker = error.downcast_ref::<WorkerError>();
    error.is::<WrongUse>()
        || matches!(
            error.downcast_ref(),
            Some(BrokerError::Settings(_) | BrokerError::Login(_))
        )
        || error.downcast_ref().is_some_and(StoreError::is_of_settings)
        || worker.is_some_and(WorkerError::is_of_settings)
}

impl Command {
    async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self {
            Self::Run => run::run(context).await,
            Self::Demo(args) => demo::run(context, args).await,
            Self::Publish(args) => publish::publish(context, args).await,
            Self::Ingest(args) => ingest::ingest(context, args).await,
            Self::Client(command) => client::run(context, command).await,
            Self::Sweep(args) => sweep::run(context, args).await,
            Self::Lanes(args) => lanes::run(context, args).await,
            Self::Policy(args) => policy::run(context, args).await,
            Self::Dead(command) => dead::run(context, command).await,
            Self::Verify(args) => verify::verify(context, args).await,
            Self::Rebuild(args) => verify::rebuild(context, args).await,
            Self::Prune(args) => prune::run(context, args).await,
            Self::Migrate => maintain::migrate(context).await,
            Self::Restored => maintain::restored(context).await,
            Self::Config => maintain::config(context),
        }
    }
}
