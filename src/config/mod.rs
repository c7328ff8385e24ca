//! Settings: `config/default.toml`, overridden by a file, overridden by the environment.
//!
//! They are read once, at startup. Sections that another module uses unchanged are read into that module's type
//! ([`Limits`], [`Policy`], `PostgresOptions`), so nothing is copied. Within this module, sections depend on `reader`, and
//! `reader` on `redact`, never the other way round.

mod access;
pub mod amqp;
mod broker;
mod cron;
mod duration;
mod error;
mod hosts;
mod http;
mod layers;
mod level;
mod log;
mod policy;
mod reader;
mod redact;
mod retention;
mod secret;
mod service_links;
mod shown;
mod sources;
mod store;
mod sweeps;
mod telemetry;
mod tokens;
mod url_parameters;
mod webhooks;

use std::path::Path;
use std::time::Duration;

use chrono::TimeDelta;

pub use broker::{BrokerSettings, TlsFiles};
pub use cron::{CronError, CronLine};
pub use error::SettingsError;
pub use http::HttpSettings;
pub use layers::{DEFAULTS, environment, keys};
pub use level::{LogLevelError, log_directives};
pub use log::{LogFormat, LogSettings};
pub use policy::{changed_policy, format_setting, policy_settings};
pub use retention::RetentionSettings;
pub use secret::{Secret, SecretUrl};
pub use shown::Shown;
pub use sources::{OnSilence, SourceSettings};
pub use store::{StoreSettings, StoreUrl};
pub use sweeps::{Breaker, Schedule, SweepSettings};
pub use telemetry::TelemetrySettings;
pub use tokens::{AccessToken, DEFAULT_TOKEN, Partners, Scope, Scopes};
pub use webhooks::{EndpointSettings, WebhookSettings};

use crate::domain::{Actions, Policy};
use crate::store::LONGEST_BODY;
use crate::wire::Limits;
use reader::Reader;

/// All settings, validated.
#[derive(Clone, Debug)]
pub struct Settings {
    pub store: StoreSettings,
    pub broker: BrokerSettings,
    /// The section `[events]`.
    pub events: Limits,
    pub clock: ClockSettings,
    pub http: HttpSettings,
    pub webhooks: WebhookSettings,
    pub sweeps: SweepSettings,
    pub sources: SourceSettings,
    pub retention: RetentionSettings,
    pub log: LogSettings,
    pub telemetry: TelemetrySettings,
    pub shutdown: ShutdownSettings,
    /// The setting `access.actions`.
    pub actions: Actions,
    /// The setting `access.log`: for how long entries of the access log are stored. None: it is off.
    pub access_log: Option<TimeDelta>,
    policy: Policy,
    shown: Vec<Shown>,
    service_links: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
pub struct ClockSettings {
    /// Difference to the server's clock beyond which this machine's clock counts as wrong.
    pub max_difference: TimeDelta,
}

#[derive(Clone, Copy, Debug)]
pub struct ShutdownSettings {
    /// How long work in progress may take to finish.
    pub timeout: Duration,
}

impl Settings {
    /// Reads the settings from the defaults, a file and the environment. Variables of other programs are ignored.
    ///
    /// # Errors
    /// The file cannot be read, a key is unknown, or a value is invalid.
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let (settings, service_links) = layers::merge(file, env)?;
        let shown = shown::all(&settings);
        let from = Reader::new(settings);
        let longest_body = i64::try_from(LONGEST_BODY).unwrap_or(i64::MAX);
        Ok(Self {
            store: store::read(&from)?,
            broker: broker::read(&from)?,
            events: Limits {
                max_event_bytes: from.number("events.max_bytes", 1024..=longest_body)?,
                max_clock_skew: from.duration("events.max_clock_skew", reader::GRACE)?,
            },
            clock: ClockSettings {
                max_difference: from.span("clock.max_difference", reader::DIFFERENCE)?,
            },
            http: http::read(&from)?,
            webhooks: webhooks::read(&from)?,
            sweeps: sweeps::read(&from)?,
            sources: sources::read(&from)?,
            retention: retention::read(&from)?,
            log: log::read(&from)?,
            telemetry: telemetry::read(&from)?,
            shutdown: ShutdownSettings {
                timeout: from.duration("shutdown.timeout", reader::TIMEOUT)?,
            },
            actions: access::actions(&from)?,
            access_log: access::log(&from)?,
            policy: policy::read(&from)?,
            shown,
            service_links,
        })
    }

    /// Ignored environment variables: Kubernetes or Docker set them for a service whose name begins with `tenure`.
    #[must_use]
    pub fn service_links(&self) -> &[String] {
        &self.service_links
    }

    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy.clone()
    }

    /// The same settings with another policy.
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// Every setting with its value and origin, ordered by key, secrets hidden.
    #[must_use]
    pub fn shown(&self) -> &[Shown] {
        &self.shown
    }

    /// The effective settings as one object with nested sections, secrets hidden.
    #[must_use]
    pub fn redacted(&self) -> serde_json::Value {
        shown::nested(&self.shown)
    }

    /// The effective settings as TOML, with the origin of each value in a comment, secrets hidden.
    #[must_use]
    pub fn redacted_toml(&self) -> String {
        shown::toml(&self.shown)
    }
}

/// Reads a duration such as `30d` or `1h 30m`.
///
/// # Errors
/// What to write instead, if the mistake makes that clear.
pub fn parse_duration(text: &str) -> Result<TimeDelta, Option<&'static str>> {
    let duration = duration::parse(text).map_err(duration::DurationError::advice)?;
    TimeDelta::from_std(duration).map_err(|_| None)
}

/// A duration in the syntax of settings: `60d`, `1d 12h`.
#[must_use]
pub fn format_duration(span: TimeDelta) -> String {
    duration::format(span)
}
