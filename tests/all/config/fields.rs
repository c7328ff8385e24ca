//! Each setting reaches its field.

use std::time::Duration;

use chrono::TimeDelta;
use tenure::config::{LogFormat, Settings, StoreUrl};
use tenure::domain::policy::SubscriptionsEnd;
use tenure::domain::{Policy, Sweep};

use super::load;

#[test]
fn every_duration_of_the_policy_reaches_its_field() {
    let variable = |setting: &str| format!("TENURE_{}", setting.replace('.', "__").to_uppercase());
    // Longer than the default warnings, and all different.
    let days = 40..;
    let env: Vec<(String, String)> = Policy::DURATIONS
        .iter()
        .zip(days.clone())
        .map(|(duration, days)| (variable(duration.setting), format!("{days}d")))
        .collect();
    let policy = Settings::load(None, env.into_iter()).unwrap().policy();
    for (duration, days) in Policy::DURATIONS.iter().zip(days) {
        assert_eq!(
            duration.get(&policy),
            TimeDelta::days(days),
            "{}",
            duration.setting
        );
    }
    for (setting, field) in [
        ("access.idle", policy.access_idle),
        ("access.request_lapses", policy.request_lapses),
        ("subscriptions.grace", policy.subscriptions_grace),
        ("cleanup.grace", policy.cleanup_grace),
        ("invitations.stalled_after", policy.stalled_after),
    ] {
        let duration = Policy::DURATIONS
            .iter()
            .find(|duration| duration.setting == setting);
        assert_eq!(duration.unwrap().get(&policy), field, "{setting}");
    }
}

#[test]
fn a_duration_of_the_policy_that_may_be_infinite_is_never_by_name() {
    for (value, expected) in [("never", 0), ("", 0), ("30d", 30)] {
        let settings = load(&[("TENURE_ACCESS__REQUEST_LAPSES", value)]).unwrap();
        assert_eq!(
            settings.policy().request_lapses,
            TimeDelta::days(expected),
            "{value:?}"
        );
    }
}

#[test]
fn every_setting_reaches_its_field() {
    let settings = load(&[
        ("TENURE_STORE__URL", "postgres://u:p@db/tenure"),
        ("TENURE_STORE__MAX_CONNECTIONS", "7"),
        ("TENURE_STORE__STATEMENT_TIMEOUT", "7s"),
        ("TENURE_STORE__LOCK_TIMEOUT", "70ms"),
        ("TENURE_BROKER__URL", "amqp://u:p@mq:5672/%2f"),
        ("TENURE_BROKER__LANES", "64"),
        ("TENURE_BROKER__PREFETCH", "17"),
        ("TENURE_BROKER__BATCH_MAX", "18"),
        ("TENURE_BROKER__CONCURRENCY", "16"),
        ("TENURE_BROKER__DECLARE", "false"),
        ("TENURE_BROKER__RELAY", "false"),
        ("TENURE_EVENTS__MAX_BYTES", "2048"),
        ("TENURE_EVENTS__MAX_CLOCK_SKEW", "0s"),
        ("TENURE_HTTP__LISTEN", "0.0.0.0:80"),
        ("TENURE_HTTP__TOKEN", "s3cret"),
        ("TENURE_HTTP__BODY_LIMIT", "4096"),
        ("TENURE_HTTP__TIMEOUT", "9s"),
        ("TENURE_SWEEPS__CHUNK", "19"),
        ("TENURE_SWEEPS__ACCESS-EXPIRY__CRON", "1 2 3 * *"),
        ("TENURE_SWEEPS__SUBSCRIPTION_END__CRON", "0 1 2 3 * *"),
        ("TENURE_SWEEPS__STALLED_INVITATIONS__ENABLED", "false"),
        ("TENURE_ACCESS__MATURE_AFTER_JOBS", "0"),
        ("TENURE_ACCESS__FROM_ACCOUNT_UPDATE", "true"),
        ("TENURE_ACCESS__WARN_BEFORE", "1h, 2d,1h"),
        ("TENURE_ACCESS__ACTIONS", "invoice_create, report_view"),
        ("TENURE_ACCESS__LOG", "90d"),
        ("TENURE_HTTP__PUBLIC_URL", "https://tenure.example.com/"),
        ("TENURE_SUBSCRIPTIONS__END", "paid_until"),
        ("TENURE_RETENTION__CRON", "1 2 3 * *"),
        ("TENURE_RETENTION__CHUNK", "20"),
        ("TENURE_HTTP__SNAPSHOT_TIMEOUT", "90s"),
        ("TENURE_RETENTION__DEAD_LETTERS", "never"),
        ("TENURE_RETENTION__SWEEP_RUNS", ""),
        ("TENURE_RETENTION__SWEEP_RUNS_KEPT", "21"),
        ("TENURE_RETENTION__JOURNAL", "400d"),
        ("TENURE_AUDIT__KEEP", "800d"),
        ("TENURE_LOG__FORMAT", "json"),
        ("TENURE_LOG__LEVEL", "info,tenure::broker=debug"),
        ("TENURE_LOG__REFUSALS_PER_MINUTE", "60"),
        ("TENURE_TELEMETRY__OTLP_ENDPOINT", "https://otlp.example.com/tenant"),
        ("TENURE_TELEMETRY__OTLP_HEADERS", "Authorization=Basic%20eA, x-tenant=acme"),
        ("TENURE_TELEMETRY__SERVICE_NAME", "billing"),
        ("TENURE_TELEMETRY__SAMPLING_RATIO", "0.25"),
        ("TENURE_SHUTDOWN__TIMEOUT", "1m"),
        ("TENURE_WEBHOOKS__DELIVER", "false"),
        ("TENURE_WEBHOOKS__CONCURRENCY", "64"),
        ("TENURE_WEBHOOKS__TIMEOUT", "7s"),
        ("TENURE_WEBHOOKS__MAX_BACKOFF", "1h"),
        ("TENURE_WEBHOOKS__DISABLE_AFTER", "12h"),
        ("TENURE_WEBHOOKS__ALLOW_NETWORKS", "10.0.0.0/8, fd00::1"),
        (
            "TENURE_WEBHOOKS__ENDPOINTS",
            "{ crm = { url = \"https://a.example/h\", secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\", types = [\"link.*\"] } }",
        ),
    ])
    .unwrap();
    assert_eq!(
        settings.policy(),
        Policy {
            mature_after_jobs: 0,
            from_account_update: true,
            warn_before: vec![TimeDelta::days(2), TimeDelta::hours(1)],
            subscriptions_end: SubscriptionsEnd::PaidUntil,
            ..Policy::default()
        }
    );
    let StoreUrl::Postgres(url) = &settings.store.url else {
        panic!("{:?}", settings.store.url)
    };
    assert_eq!(url.reveal(), "postgres://u:p@db/tenure");
    assert_eq!(settings.store.postgres.max_connections, 7);
    assert_eq!(settings.store.postgres.statement_timeout, Duration::from_secs(7));
    assert_eq!(settings.store.postgres.lock_timeout, Duration::from_millis(70));
    let webhooks = &settings.webhooks;
    assert_eq!((webhooks.deliver, webhooks.concurrency), (false, 64));
    assert_eq!(
        (webhooks.timeout, webhooks.max_backoff, webhooks.disable_after),
        (
            Duration::from_secs(7),
            Duration::from_hours(1),
            TimeDelta::hours(12)
        )
    );
    assert!(webhooks.allow_networks.permit("10.9.9.9".parse().unwrap()));
    assert!(webhooks.allow_networks.permit("fd00::1".parse().unwrap()));
    assert!(!webhooks.allow_networks.permit("fd00::2".parse().unwrap()));
    let crm = &webhooks.endpoints["crm"];
    assert_eq!(
        (crm.url.to_string(), crm.secrets.len()),
        ("https://a.example/h".to_owned(), 1)
    );
    assert_eq!(crm.filter.types, ["link.*"]);
    let broker = &settings.broker;
    assert_eq!(broker.url.as_ref().unwrap().reveal(), "amqp://u:p@mq:5672/%2f");
    assert_eq!((broker.lanes, broker.prefetch, broker.batch_max), (64, 17, 18));
    assert_eq!(broker.concurrency, 16);
    assert!(!broker.declare && !broker.relay);
    assert_eq!(settings.events.max_event_bytes, 2048);
    assert_eq!(settings.events.max_clock_skew, Duration::ZERO);
    assert_eq!(settings.http.tokens[0].secret.reveal(), "s3cret");
    assert_eq!(
        settings.http.public_url.as_deref(),
        Some("https://tenure.example.com")
    );
    assert_eq!(settings.http.snapshot_timeout, Duration::from_secs(90));
    assert!(settings.actions.read("report_view").is_ok());
    assert!(settings.actions.read("report_edit").is_err());
    assert_eq!(settings.access_log, Some(TimeDelta::days(90)));
    assert_eq!(settings.http.body_limit, 4096);
    assert_eq!(settings.http.timeout, Duration::from_secs(9));
    assert_eq!(settings.sweeps.chunk, 19);
    let schedules = &settings.sweeps.schedules;
    assert_eq!(schedules[&Sweep::AccessExpiry].cron.with_seconds(), "0 1 2 3 * *");
    assert_eq!(
        schedules[&Sweep::SubscriptionEnd].cron.with_seconds(),
        "0 1 2 3 * *"
    );
    assert!(!schedules[&Sweep::StalledInvitations].enabled);
    let retention = &settings.retention;
    assert_eq!(retention.cron.with_seconds(), "0 1 2 3 * *");
    assert_eq!((retention.chunk, retention.sweep_runs_kept), (20, 21));
    assert_eq!((retention.dead_letters, retention.sweep_runs), (None, None));
    assert_eq!(retention.journal, Some(TimeDelta::days(400)));
    assert_eq!(retention.audit, Some(TimeDelta::days(800)));
    assert_eq!(settings.log.format, LogFormat::Json);
    assert_eq!(settings.log.level, "info,tenure::broker=debug");
    assert_eq!(settings.log.refusals_per_minute, 60);
    let telemetry = &settings.telemetry;
    assert_eq!(
        telemetry.traces_url.as_ref().unwrap().as_str(),
        "https://otlp.example.com/tenant/v1/traces"
    );
    let headers: Vec<(&str, &str)> = telemetry
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.reveal()))
        .collect();
    assert_eq!(headers, [("authorization", "Basic eA"), ("x-tenant", "acme")]);
    assert_eq!(telemetry.service_name, "billing");
    assert!(telemetry.sampling_ratio.total_cmp(&0.25).is_eq());
    assert_eq!(settings.shutdown.timeout, Duration::from_mins(1));
}

#[test]
fn the_audit_log_is_kept_for_two_years_unless_a_setting_says_otherwise() {
    let two_years = Some(TimeDelta::days(730));
    for (env, kept) in [
        (&[][..], two_years),
        (&[("TENURE_AUDIT__KEEP", "90d")], Some(TimeDelta::days(90))),
        (&[("TENURE_AUDIT__KEEP", "never")], None),
        (&[("TENURE_AUDIT__KEEP", "")], None),
    ] {
        assert_eq!(load(env).unwrap().retention.audit, kept, "{env:?}");
    }
}

#[test]
fn the_access_log_is_off_unless_it_is_switched_on() {
    for env in [
        &[][..],
        &[("TENURE_ACCESS__LOG", "off")],
        &[("TENURE_ACCESS__LOG", "")],
    ] {
        assert_eq!(load(env).unwrap().access_log, None, "{env:?}");
    }
}
