//! Settings: the defaults and the keys here, the other subjects in the folder.

mod fields;
mod layers;
mod policy;
mod rejected;
mod secrets;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use tenure::config::{Settings, SettingsError, StoreUrl};
use tenure::domain::{Policy, Sweep};
use tenure::engine::{self, Breaker, SweepMode, SweepOptions};
use tenure::store::postgres::PostgresOptions;
use tenure::wire::{self, Limits};

fn load(env: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    Settings::load(None, pairs(env))
}

fn load_file(text: &str, env: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tenure.toml");
    std::fs::write(&path, text).unwrap();
    Settings::load(Some(&path), pairs(env))
}

fn pairs(env: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    env.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect::<Vec<_>>()
        .into_iter()
}

#[test]
fn the_defaults_are_those_of_the_lifecycles() {
    let settings = load(&[]).unwrap();
    assert_eq!(settings.policy(), Policy::default());
    assert_eq!(settings.store.url, StoreUrl::Sqlite(PathBuf::from("tenure.db")));
    assert!(settings.broker.url.is_none());
    assert_eq!(settings.broker.lanes, 1);
    assert_eq!(settings.http.listen.unwrap().to_string(), "127.0.0.1:8080");
    assert_eq!(settings.events.max_clock_skew, Duration::from_mins(5));
    assert_eq!(settings.sweeps.schedules.len(), Sweep::ALL.len());
    assert!(
        settings
            .sweeps
            .schedules
            .values()
            .all(|schedule| schedule.enabled)
    );
}

/// Types that a caller can make without settings have the same defaults as `config/default.toml`.
#[test]
fn defaults_in_code_agree_with_default_toml() {
    let settings = load(&[]).unwrap();
    assert_eq!(settings.policy(), Policy::default());
    assert_eq!(settings.events, Limits::default());
    assert_eq!(settings.store.postgres, PostgresOptions::default());
    assert_eq!(settings.http.max_events, wire::DEFAULT_MAX_EVENTS);
    assert_eq!(settings.clock.max_difference, engine::DEFAULT_TOLERANCE);
    assert_eq!(settings.sweeps.chunk, SweepOptions::new(SweepMode::ByHand).chunk);
    assert_eq!(settings.sweeps.breaker, Breaker::default());
}

#[test]
fn default_toml_has_exactly_these_keys() {
    let keys = [
        "access.actions",
        "access.from_account_update",
        "access.log",
        "access.mature_after_jobs",
        "access.on_silence",
        "access.warn_before",
        "broker.batch_max",
        "broker.ca_file",
        "broker.cert_file",
        "broker.concurrency",
        "broker.declare",
        "broker.heartbeat",
        "broker.key_file",
        "audit.keep",
        "broker.lanes",
        "broker.prefetch",
        "broker.prefetch_bytes",
        "broker.relay",
        "broker.url",
        "clock.max_difference",
        "events.max_bytes",
        "events.max_clock_skew",
        "http.body_limit",
        "http.console",
        "http.hosts",
        "http.listen",
        "http.max_connections",
        "http.max_events",
        "http.public_url",
        "http.session",
        "http.session_idle",
        "http.snapshot_timeout",
        "http.timeout",
        "http.token",
        "http.token_file",
        "http.tokens",
        "log.format",
        "log.level",
        "log.refusals_per_minute",
        "retention.chunk",
        "retention.cron",
        "retention.dead_letters",
        "retention.journal",
        "retention.sweep_runs",
        "retention.sweep_runs_kept",
        "shutdown.timeout",
        "sources",
        "store.lock_timeout",
        "store.max_connections",
        "store.statement_timeout",
        "store.url",
        "subscriptions.end",
        "sweeps.breaker.clients",
        "sweeps.breaker.percent",
        "sweeps.chunk",
        "telemetry.otlp_endpoint",
        "telemetry.otlp_headers",
        "telemetry.otlp_traces_endpoint",
        "telemetry.sampling_ratio",
        "telemetry.service_name",
        "webhooks.allow_networks",
        "webhooks.ca_file",
        "webhooks.concurrency",
        "webhooks.deliver",
        "webhooks.disable_after",
        "webhooks.endpoints",
        "webhooks.max_backoff",
        "webhooks.timeout",
    ];
    let of_policy = Policy::DURATIONS.iter().map(|duration| duration.setting);
    let keys = keys.into_iter().chain(of_policy).map(str::to_owned);
    let of_sweeps = Sweep::ALL
        .into_iter()
        .flat_map(|sweep| ["cron", "enabled"].map(|key| format!("sweeps.{sweep}.{key}")));
    let expected: BTreeSet<String> = keys.chain(of_sweeps).collect();
    let found: BTreeSet<String> = tenure::config::keys().into_iter().collect();
    assert_eq!(found, expected);
}

#[test]
fn every_key_of_default_toml_has_a_comment() {
    let mut before = "";
    for line in tenure::config::DEFAULTS.lines() {
        let is_key = line.contains(" = ") && !line.starts_with('#');
        // The section's comment explains these once for all sweeps.
        let is_explained_once = line.starts_with("cron") || line.starts_with("enabled");
        assert!(
            !is_key || is_explained_once || before.starts_with('#'),
            "no comment above `{line}`"
        );
        before = line;
    }
}

#[test]
fn the_printed_settings_can_be_read_back() {
    let settings = load(&[("TENURE_ACCESS__IDLE", "45d")]).unwrap();
    let again = load_file(&settings.redacted_toml(), &[]).unwrap();
    assert_eq!(again.redacted(), settings.redacted());
}
