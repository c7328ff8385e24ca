//! Settings: valid values, precedence of the layers, and errors.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use tenure::config::{LogFormat, Settings, SettingsError, StoreUrl};
use tenure::domain::policy::SubscriptionsEnd;
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
        "access.from_account_update",
        "access.mature_after_jobs",
        "access.warn_before",
        "broker.batch_max",
        "broker.ca_file",
        "broker.cert_file",
        "broker.concurrency",
        "broker.declare",
        "broker.heartbeat",
        "broker.key_file",
        "broker.lanes",
        "broker.prefetch",
        "broker.prefetch_bytes",
        "broker.relay",
        "broker.url",
        "clock.max_difference",
        "events.max_bytes",
        "events.max_clock_skew",
        "http.body_limit",
        "http.hosts",
        "http.listen",
        "http.max_connections",
        "http.max_events",
        "http.timeout",
        "http.token",
        "http.token_file",
        "log.format",
        "log.level",
        "retention.chunk",
        "retention.cron",
        "retention.dead_letters",
        "retention.journal",
        "retention.sweep_runs",
        "retention.sweep_runs_kept",
        "shutdown.timeout",
        "store.lock_timeout",
        "store.max_connections",
        "store.statement_timeout",
        "store.url",
        "subscriptions.end",
        "sweeps.breaker.clients",
        "sweeps.breaker.percent",
        "sweeps.chunk",
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

/// Each setting reaches its field.
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
        ("TENURE_SUBSCRIPTIONS__END", "paid_until"),
        ("TENURE_RETENTION__CRON", "1 2 3 * *"),
        ("TENURE_RETENTION__CHUNK", "20"),
        ("TENURE_RETENTION__DEAD_LETTERS", "never"),
        ("TENURE_RETENTION__SWEEP_RUNS", ""),
        ("TENURE_RETENTION__SWEEP_RUNS_KEPT", "21"),
        ("TENURE_RETENTION__JOURNAL", "400d"),
        ("TENURE_LOG__FORMAT", "json"),
        ("TENURE_LOG__LEVEL", "info,tenure::broker=debug"),
        ("TENURE_SHUTDOWN__TIMEOUT", "1m"),
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
    let broker = &settings.broker;
    assert_eq!(broker.url.as_ref().unwrap().reveal(), "amqp://u:p@mq:5672/%2f");
    assert_eq!((broker.lanes, broker.prefetch, broker.batch_max), (64, 17, 18));
    assert_eq!(broker.concurrency, 16);
    assert!(!broker.declare && !broker.relay);
    assert_eq!(settings.events.max_event_bytes, 2048);
    assert_eq!(settings.events.max_clock_skew, Duration::ZERO);
    assert_eq!(settings.http.token.as_ref().unwrap().reveal(), "s3cret");
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
    assert_eq!(settings.log.format, LogFormat::Json);
    assert_eq!(settings.log.level, "info,tenure::broker=debug");
    assert_eq!(settings.shutdown.timeout, Duration::from_mins(1));
}

#[test]
fn the_environment_overrides_the_file_and_the_file_overrides_the_defaults() {
    let file = "[access]\nidle = \"30d\"\nwarn_before = [\"2d\", \"5d\"]\n[broker]\nlanes = 4\n";
    let settings = load_file(file, &[("TENURE_BROKER__LANES", "8"), ("UNRELATED", "x")]).unwrap();
    assert_eq!(settings.policy().access_idle, TimeDelta::days(30));
    assert_eq!(
        settings.policy().warn_before,
        [TimeDelta::days(5), TimeDelta::days(2)]
    );
    assert_eq!(settings.broker.lanes, 8);
    assert_eq!(settings.broker.prefetch, 4000);

    let origin = |key: &str| {
        let shown = settings.shown().iter().find(|shown| shown.key == key).unwrap();
        shown.origin.clone()
    };
    assert!(origin("access.idle").ends_with("tenure.toml"));
    assert_eq!(
        origin("broker.lanes"),
        "the environment variable TENURE_BROKER__LANES"
    );
    assert_eq!(origin("broker.prefetch"), "the defaults");
}

#[test]
fn tenure_variables_override_database_url_and_amqp_url() {
    let url = |env: &[(&str, &str)]| load(env).unwrap().store.url.to_string();
    assert_eq!(url(&[("DATABASE_URL", "sqlite://a.db")]), "sqlite://a.db");
    assert_eq!(url(&[("DATABASE_URL", "")]), "sqlite://tenure.db");
    for order in [[0, 1], [1, 0]] {
        let both = [
            ("DATABASE_URL", "sqlite://a.db"),
            ("TENURE_STORE__URL", "sqlite:///b.db"),
        ];
        assert_eq!(url(&order.map(|i| both[i])), "sqlite:///b.db");
    }
    let settings = load_file(
        "store.url = \"sqlite://file.db\"",
        &[
            ("DATABASE_URL", "postgresql://db/t"),
            ("AMQP_URL", "amqps://mq/v"),
        ],
    )
    .unwrap();
    assert_eq!(settings.store.url.to_string(), "postgresql://db/t");
    assert_eq!(settings.broker.url.unwrap().to_string(), "amqps://mq/v");
}

/// The message names the key, the value and the origin.
#[test]
fn an_invalid_value_stops_the_start() {
    let cases: &[(&str, &str)] = &[
        ("TENURE_ACCESS__IDLE", "60"),
        ("TENURE_ACCESS__IDLE", "-1d"),
        ("TENURE_ACCESS__IDLE", "0s"),
        ("TENURE_ACCESS__IDLE", "1ns"),
        ("TENURE_ACCESS__IDLE", "36501d"),
        ("TENURE_ACCESS__IDLE", "1M"),
        ("TENURE_ACCESS__IDLE", "2 months"),
        ("TENURE_ACCESS__IDLE", "1y"),
        ("TENURE_ACCESS__IDLE", "30d 30d"),
        ("TENURE_RETENTION__JOURNAL", "6M"),
        ("TENURE_RETENTION__DEAD_LETTERS", "1year"),
        ("TENURE_HTTP__TIMEOUT", "1M"),
        ("TENURE_BROKER__HEARTBEAT", "1s 1s"),
        ("TENURE_ACCESS__IDLE", "99999999999999999999d"),
        ("TENURE_ACCESS__IDLE", "soon"),
        ("TENURE_ACCESS__WARN_BEFORE", "60d"),
        ("TENURE_ACCESS__WARN_BEFORE", "1d,,2d"),
        ("TENURE_ACCESS__WARN_BEFORE", "14d 7d"),
        ("TENURE_ACCESS__WARN_BEFORE", "14d 12h"),
        ("TENURE_ACCESS__WARN_BEFORE", "14d, 7d 1d"),
        ("TENURE_ACCESS__WARN_BEFORE", "14d;7d"),
        ("TENURE_ACCESS__WARN_BEFORE", "0s"),
        ("TENURE_ACCESS__MATURE_AFTER_JOBS", "-1"),
        ("TENURE_ACCESS__MATURE_AFTER_JOBS", "many"),
        ("TENURE_ACCESS__FROM_ACCOUNT_UPDATE", "perhaps"),
        ("TENURE_SUBSCRIPTIONS__END", "sometimes"),
        ("TENURE_SUBSCRIPTIONS__GRACE", "-5m"),
        ("TENURE_CLEANUP__GRACE", ""),
        ("TENURE_INVITATIONS__STALLED_AFTER", "0d"),
        ("TENURE_STORE__URL", "mysql://localhost/tenure"),
        ("TENURE_STORE__URL", "tenure.db"),
        ("TENURE_STORE__URL", "sqlite://"),
        ("TENURE_STORE__URL", "sqlite::memory:"),
        ("TENURE_STORE__URL", "sqlite://a.db?mode=ro"),
        ("TENURE_STORE__MAX_CONNECTIONS", "0"),
        ("TENURE_STORE__LOCK_TIMEOUT", "0s"),
        ("TENURE_BROKER__URL", "http://localhost"),
        ("TENURE_BROKER__URL", "localhost:5672"),
        ("TENURE_BROKER__LANES", "0"),
        ("TENURE_BROKER__LANES", "65"),
        ("TENURE_BROKER__LANES", "1.5"),
        ("TENURE_BROKER__PREFETCH", "65536"),
        ("TENURE_BROKER__CONCURRENCY", "17"),
        ("TENURE_EVENTS__MAX_BYTES", "256KiB"),
        ("TENURE_EVENTS__MAX_BYTES", "16777217"),
        ("TENURE_HTTP__LISTEN", "example.com:8080"),
        ("TENURE_HTTP__LISTEN", "127.0.0.1"),
        ("TENURE_HTTP__LISTEN", "0.0.0.0:8080"),
        ("TENURE_HTTP__LISTEN", "[::]:8080"),
        ("TENURE_HTTP__TOKEN_FILE", "/nowhere/token"),
        ("TENURE_SWEEPS__CHUNK", "0"),
        ("TENURE_SWEEPS__ACCESS_EXPIRY__CRON", "every day"),
        ("TENURE_SWEEPS__ACCESS-EXPIRY__CRON", "0 0 30 2 *"),
        ("TENURE_SWEEPS__SUBSCRIPTION_END__ENABLED", "1"),
        ("TENURE_LOG__FORMAT", "xml"),
        ("TENURE_LOG__LEVEL", "loud=very"),
        ("TENURE_LOG__LEVEL", ""),
        ("TENURE_LOG__LEVEL", "verbose"),
        ("TENURE_LOG__LEVEL", "info,verbose"),
        ("TENURE_LOG__LEVEL", "warning"),
        ("TENURE_SHUTDOWN__TIMEOUT", "2 days"),
    ];
    for (name, value) in cases {
        let key = name["TENURE_".len()..].to_lowercase().replace("__", ".");
        let key = match key.strip_prefix("sweeps.") {
            Some(rest) => format!("sweeps.{}", rest.replace('_', "-")),
            None => key,
        };
        let message = load(&[(name, value)])
            .err()
            .unwrap_or_else(|| panic!("{name}={value} was accepted"))
            .to_string();
        assert!(message.contains(&format!("`{key}`")), "{message}");
        assert!(message.contains(name), "{message}");
        assert!(message.contains(value), "{message}");
        assert!(
            message.contains(&format!("invalid value \"{value}\"")) && message.contains(": expected "),
            "{message}"
        );
    }
}

#[test]
fn an_ambiguous_value_is_rejected_with_what_to_write() {
    for (text, words) in [
        (
            "[access]\nidle = \"1M\"",
            "write 1m for a minute, 30d for a month",
        ),
        ("[access]\nidle = \"2months\"", "write days, such as 30d"),
        ("[retention]\njournal = \"1y\"", "write days, such as 365d"),
        (
            "[access]\nwarn_before = \"14d 7d\"",
            "separate durations with commas",
        ),
        ("[access]\nwarn_before = \"14d 12h\"", "without a space (1d12h)"),
        ("[access]\nwarn_before = [\"14d 7d\"]", "of a list with commas"),
        ("[log]\nlevel = \"verbose\"", "`verbose` is not a level"),
        ("[log]\nlevel = \"info, tenure=noisy\"", "`noisy` is not a level"),
    ] {
        let message = load_file(text, &[]).expect_err(text).to_string();
        assert!(message.contains(words), "{message}");
    }
    let settings = load_file(
        "[access]\nwarn_before = [\"1d 12h\", \"2h\"]\n[log]\nlevel = \"info, tenure::broker = debug\"",
        &[("TENURE_ACCESS__IDLE", "1w 1d")],
    )
    .unwrap();
    let policy = settings.policy();
    assert_eq!(policy.warn_before, [TimeDelta::hours(36), TimeDelta::hours(2)]);
    assert_eq!(policy.access_idle, TimeDelta::days(8));
    assert_eq!(settings.log.level, "info,tenure::broker=debug");
}

#[test]
fn an_error_in_a_file_names_the_file() {
    for (text, words) in [
        ("lanes = 4", "unknown setting `lanes`"),
        ("[broker]\nlane = 4", "this section has broker.batch_max"),
        ("[access]\nIdle = \"1d\"", "did you mean `access.idle`?"),
        (
            "[sweeps.access_expiry]\nenabled = false",
            "did you mean `sweeps.access-expiry.enabled`?",
        ),
        ("access = 4", "unknown setting `access`"),
        ("[access.idle]\ndays = 4", "no keys of its own"),
        ("[broker]\nlanes = 4.0", "invalid value 4.0 for `broker.lanes`"),
        ("[access]\nidle = 60", "invalid value 60 for `access.idle`"),
        (
            "[access]\nwarn_before = [1, 2]",
            "invalid value [1,2] for `access.warn_before`",
        ),
        ("[access]\nidle = \"2d\"", "for `access.warn_before`"),
        ("[store]\nurl = 5", "expected a string"),
        ("[access", "is not valid TOML"),
    ] {
        let message = load_file(text, &[]).expect_err(text).to_string();
        assert!(message.contains(words), "{message}");
        assert!(
            message.contains("tenure.toml") || message.contains("the defaults"),
            "{message}"
        );
    }
    let missing = Settings::load(Some("/nowhere/tenure.toml".as_ref()), pairs(&[]))
        .unwrap_err()
        .to_string();
    assert!(
        missing.contains("cannot read the settings file /nowhere/tenure.toml: No such file"),
        "{missing}"
    );
}

#[test]
fn a_list_in_the_environment_may_have_the_syntax_of_a_file() {
    let settings = load(&[
        ("TENURE_HTTP__HOSTS", "[\"a.example\", '10.0.0.7']"),
        ("TENURE_ACCESS__WARN_BEFORE", "[\"14d\", \"7d\"]"),
    ])
    .unwrap();
    assert_eq!(settings.http.hosts, ["a.example", "10.0.0.7"]);
    assert_eq!(
        settings.policy().warn_before,
        [TimeDelta::days(14), TimeDelta::days(7)]
    );
    let settings = load(&[
        ("TENURE_HTTP__HOSTS", "[::1], a"),
        ("TENURE_ACCESS__WARN_BEFORE", "[]"),
    ])
    .unwrap();
    assert_eq!(settings.http.hosts, ["::1", "a"]);
    assert!(settings.policy().warn_before.is_empty());
    for list in ["[\"14d 7d\"]", "[14d]", "[\"14d\""] {
        assert!(load(&[("TENURE_ACCESS__WARN_BEFORE", list)]).is_err(), "{list}");
    }
}

#[test]
fn log_directives_that_match_nothing_are_refused() {
    for level in [
        "info=debug",
        "Tenure=info",
        "tenure::brokr=debug",
        "tenure:broker=debug",
        "[x]=info",
    ] {
        let message = load(&[("TENURE_LOG__LEVEL", level)])
            .expect_err(level)
            .to_string();
        assert!(message.contains("`log.level`"), "{message}");
    }
    let settings = load(&[("TENURE_LOG__LEVEL", "tenure::broker=debug")]).unwrap();
    assert_eq!(settings.log.level, "warn,tenure::broker=debug");
}

#[test]
fn an_unknown_variable_gets_a_suggestion() {
    for (name, words) in [
        ("TENURE_ACCESS_IDLE", "did you mean `TENURE_ACCESS__IDLE`?"),
        ("TENURE_ACCESS__IDEL", "TENURE_ACCESS__IDLE"),
        ("TENURE_NONSENSE", "the sections are access, broker"),
        (
            "TENURE_SWEEPS__ACCESSEXPIRY__CRON",
            "did you mean `TENURE_SWEEPS__ACCESS_EXPIRY__CRON`?",
        ),
    ] {
        let message = load(&[(name, "1")]).expect_err(name).to_string();
        assert!(message.contains(name) && message.contains(words), "{message}");
    }
    // Read by the command line and by the tests.
    load(&[("TENURE_CONFIG", "x"), ("TENURE_TEST_SEEDS", "9")]).unwrap();
}

#[test]
fn a_setting_in_both_spellings_is_rejected() {
    let message = load(&[
        ("TENURE_SWEEPS__ACCESS-EXPIRY__ENABLED", "true"),
        ("TENURE_SWEEPS__ACCESS_EXPIRY__ENABLED", "false"),
    ])
    .unwrap_err()
    .to_string();
    assert!(message.contains("is set twice"), "{message}");
}

#[test]
fn an_address_other_than_loopback_requires_a_token() {
    load(&[("TENURE_HTTP__LISTEN", "127.0.0.2:1")]).unwrap();
    load(&[("TENURE_HTTP__LISTEN", "[::1]:1")]).unwrap();
    load(&[("TENURE_HTTP__LISTEN", "localhost:1")]).unwrap();
    assert!(
        load(&[("TENURE_HTTP__LISTEN", "")])
            .unwrap()
            .http
            .listen
            .is_none()
    );

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let with_file = |token: &str, text: &str| {
        std::fs::write(&file, text).unwrap();
        load(&[
            ("TENURE_HTTP__LISTEN", "0.0.0.0:1"),
            ("TENURE_HTTP__TOKEN", token),
            ("TENURE_HTTP__TOKEN_FILE", file.to_str().unwrap()),
        ])
    };
    assert_eq!(
        with_file("", "from-file\n").unwrap().http.token.unwrap().reveal(),
        "from-file"
    );
    for (token, text) in [("", ""), ("", "two words"), ("twice", "from-file")] {
        let message = with_file(token, text).unwrap_err().to_string();
        assert!(message.contains("`http.token_file`"), "{message}");
        assert!(!message.contains("from-file"), "{message}");
    }
}

#[test]
fn secrets_are_never_shown() {
    let secrets = [
        (
            "TENURE_STORE__URL",
            "postgres://me:hunter2@db/t?sslmode=require&password=hunter2",
        ),
        ("TENURE_BROKER__URL", "amqp://me:hunter2@mq/v"),
        ("TENURE_HTTP__TOKEN", "hunter2"),
    ];
    let settings = load(&secrets).unwrap();
    for shown in [
        settings.redacted().to_string(),
        settings.redacted_toml(),
        format!("{settings:?}"),
        format!("{} {}", settings.store.url, settings.broker.url.as_ref().unwrap()),
    ] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let redacted = settings.redacted();
    assert_eq!(
        redacted["store"]["url"],
        "postgres://me:***@db/t?sslmode=require&password=***"
    );
    assert_eq!(redacted["broker"]["url"], "amqp://me:***@mq/v");
    assert_eq!(redacted["http"]["token"], "***");
    assert_eq!(redacted["sweeps"]["access-expiry"]["enabled"], true);

    // Nor in the error for a URL that does not parse.
    for (name, value) in [
        ("TENURE_STORE__URL", "mysql://me:hunter2@db/t"),
        ("TENURE_STORE__URL", "postgres://me:pa?hunter2@db/t"),
        ("TENURE_STORE__URL", "postgres://me:hun/hunter2@db:port/t"),
        ("TENURE_BROKER__URL", "me:hunter2@mq"),
        ("TENURE_BROKER__URL", "http://me:a@hunter2@mq"),
        ("TENURE_HTTP__TOKEN", "hunter2 hunter2"),
        ("DATABASE_URL", "host=localhost user=u password=hunter2 dbname=x"),
        ("DATABASE_URL", "Server=h;User Id=u;Password=hunter2;Database=x"),
        ("DATABASE_URL", "postgres://u:hunter2"),
        ("DATABASE_URL", "postgres://u:hunter2/h/db"),
        ("DATABASE_URL", "postgres:u:hunter2@h/db"),
        ("DATABASE_URL", "sqlite:x.db;password=hunter2"),
        ("AMQP_URL", "amqp://u:hunter2"),
        ("AMQP_URL", "user=u;password=hunter2;host=h"),
        ("AMQP_URL", "h:5672 u hunter2"),
        ("TENURE_HTTP__LISTEN", "u:hunter2@127.0.0.1:80"),
        ("TENURE_HTTP__LISTEN", "u:hunter2"),
        ("TENURE_HTTP__HOSTS", "u:hunter2@h"),
        ("TENURE_BROKER__LANES", "amqp://u:hunter2@h"),
        ("TENURE_BROKER__CA_FILE", "amqp://u:hunter2@h"),
        ("TENURE_STORE__URL postgres://u:hunter2@h", "x"),
    ] {
        let message = load(&[(name, value)]).expect_err(value).to_string();
        assert!(!message.contains("hunter2"), "{message}");
    }
    for file in [
        "[store]\n\"postgres://u:hunter2@h/db\" = 1",
        "\"postgres://u:hunter2@h/db\" = 1",
        "[\"amqp://u:hunter2@h\"]\nurl = 1",
        "[store]\n\"postgres://u:hunter2@h/db\" = 1\n\"postgres://u:hunter2@h/db\" = 2",
    ] {
        let message = load_file(file, &[]).expect_err(file).to_string();
        assert!(!message.contains("hunter2"), "{message}");
    }
    // Refused or not: as long as it is in force, `tenure config` shows it.
    let url = "postgres://h/db?user=u:hunter2";
    let shown = load(&[("DATABASE_URL", url)]).map_or_else(
        |error| error.to_string(),
        |settings| settings.redacted_toml() + &settings.store.url.to_string(),
    );
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn the_printed_settings_can_be_read_back() {
    let settings = load(&[("TENURE_ACCESS__IDLE", "45d")]).unwrap();
    let again = load_file(&settings.redacted_toml(), &[]).unwrap();
    assert_eq!(again.redacted(), settings.redacted());
}

#[test]
fn an_invalid_file_is_named_without_its_contents() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tenure.toml");
    std::fs::write(&file, "[store]\nurl = \"postgres://me:hunter2@db/t\n").unwrap();
    let error = Settings::load(Some(&file), std::iter::empty())
        .unwrap_err()
        .to_string();
    assert!(error.contains("tenure.toml"), "{error}");
    assert!(error.contains("line 2"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

/// The variables that Kubernetes sets for services of a release called `tenure`, and Docker for a link.
#[test]
fn service_links_are_ignored_and_misspelt_settings_are_rejected() {
    let links = [
        ("TENURE_SERVICE_HOST", "10.0.0.9"),
        ("TENURE_SERVICE_PORT", "8080"),
        ("TENURE_SERVICE_PORT_HTTP", "8080"),
        ("TENURE_PORT", "tcp://10.0.0.9:8080"),
        ("TENURE_PORT_8080_TCP", "tcp://10.0.0.9:8080"),
        ("TENURE_PORT_8080_TCP_PROTO", "tcp"),
        ("TENURE_PORT_8080_TCP_PORT", "8080"),
        ("TENURE_PORT_8080_TCP_ADDR", "10.0.0.9"),
        ("TENURE_RABBITMQ_SERVICE_HOST", "fd00::5"),
        ("TENURE_RABBITMQ_PORT", "tcp://[fd00::5]:5672"),
        ("TENURE_POSTGRESQL_SERVICE_PORT_TCP_POSTGRESQL", "5432"),
        ("TENURE_HTTP_PORT_8080_UDP", "udp://10.0.0.7:8080"),
        ("TENURE_HTTP_TOKEN_SERVICE_HOST", "10.0.0.3"),
        ("TENURE_CONFIG_PORT", "tcp://10.0.0.3:80"),
        ("TENURE_DB_NAME", "/worker/db"),
        ("TENURE_DB_ENV_POSTGRES_PASSWORD", "x"),
        ("TENURE_RABBITMQ_ENV_RABBITMQ__X", "x"),
        ("TENURE_PORT_8080_TCP_START", "tcp://1.2.3.4:8080"),
        ("TENURE_PORT_8080_TCP_END", "tcp://1.2.3.4:8090"),
        ("TENURE_PORT_8080_TCP_PORT_START", "8080"),
        ("TENURE_PORT_8080_TCP_PORT_END", "8090"),
        ("TENURE__DB_SERVICE_HOST", "10.0.0.1"),
        ("TENURE_MQ_PORT_5672_TCP_ADDR", "fe80::1%eth0"),
    ];
    let settings = load(&[&links[..], &[("TENURE_BROKER__LANES", "3")]].concat()).unwrap();
    assert_eq!(settings.broker.lanes, 3);
    let mut names = links.map(|(name, _)| name);
    names.sort_unstable();
    assert_eq!(settings.service_links(), names);
    for (name, value) in [
        ("TENURE_PORT", "8080"),
        ("TENURE_HTTP_PORT", "8080"),
        ("TENURE_HTTP__PORT", "tcp://10.0.0.9:8080"),
        ("TENURE_SERVICE_HOST", "tenure.example.com"),
        ("TENURE_SERVICE_URL", "http://10.0.0.9"),
        ("TENURE_STORE_URL", "postgres://u:p@10.0.0.9:5432/x"),
        ("TENURE_CONFIGURATION", "x"),
        ("TENURE_DB_NAME", "tenure"),
        ("TENURE_DB_ENV_POSTGRES_PASSWORD", "x"),
        ("TENURE_HTTP__SERVICE_PORT", "8080"),
    ] {
        let message = load(&[(name, value)]).expect_err(name).to_string();
        assert!(message.contains(name), "{message}");
    }
}
