//! Logs and metrics: where they go, and a description of every field and metric.

mod fields;
mod metrics;
#[cfg(test)]
mod sources;

use std::env::VarError;
use std::fmt::{self, Debug, Write as _};

use metrics_exporter_prometheus::BuildError;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

pub use fields::log_fields_table;
pub use metrics::{metrics, metrics_table, read_process, render_events_by_source};

use crate::config::{LogFormat, LogLevelError, LogSettings, log_directives};
use crate::{colour, escape};

/// Libraries that log more at `info` than an operator needs; `log.level` may name them.
const QUIET: &str = "lapin=off,sqlx=warn,tokio_cron_scheduler=warn,hyper=warn,h2=warn,rustls=warn";

#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error(
        "invalid RUST_LOG \"{directives}\": {source}; expected {}. RUST_LOG overrides `log.level`",
        LogLevelError::EXPECTED
    )]
    Filter {
        directives: String,
        source: LogLevelError,
    },
    #[error("the metrics recorder cannot be installed: {0}")]
    Metrics(#[from] BuildError),
}

/// Sends logs to standard error from now on. Changes nothing if the process has a subscriber already.
///
/// # Errors
/// When `RUST_LOG` is not a valid filter.
pub fn start_logs(settings: &LogSettings) -> Result<(), TelemetryError> {
    let directives = match std::env::var("RUST_LOG") {
        Ok(given) if !given.trim().is_empty() => {
            log_directives(&given).map_err(|source| TelemetryError::Filter {
                directives: given,
                source,
            })?
        }
        Err(VarError::NotUnicode(given)) => {
            return Err(TelemetryError::Filter {
                directives: given.to_string_lossy().into_owned(),
                source: LogLevelError::NotUnicode,
            });
        }
        Ok(_) | Err(VarError::NotPresent) => settings.level.clone(),
    };
    // Each directive was validated before.
    let filter = EnvFilter::new(format!("{QUIET},{directives}"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter);
    // An error means that the process has a subscriber already.
    let _ = match settings.format {
        LogFormat::Human => lines
            .with_writer(std::io::stderr)
            .with_ansi(colour::is_coloured(&std::io::stderr()))
            .fmt_fields(debug_fn(field).delimited(" "))
            .try_init(),
        LogFormat::Json => lines
            .with_writer(|| escape::JsonLines(std::io::stderr()))
            .json()
            .flatten_event(true)
            .try_init(),
    };
    Ok(())
}

/// Writes a field for people. Its value may contain foreign text, so it is escaped.
fn field(line: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    match field.name() {
        "message" => {}
        name if line.has_ansi_escapes() => write!(line, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m")?,
        name => write!(line, "{name}=")?,
    }
    write!(escape::Visible(line.by_ref()), "{value:?}")
}
