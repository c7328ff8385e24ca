//! Invalid settings: the error names the key, the value and the origin, and says what to write.

use chrono::TimeDelta;
use tenure::config::Settings;

use super::{load, load_file, pairs};

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
        ("TENURE_ACCESS__ACTIONS", "Invoice_Create"),
        ("TENURE_ACCESS__ACTIONS", "acount_cancel"),
        ("TENURE_HTTP__PUBLIC_URL", "tenure.example.com"),
        ("TENURE_HTTP__PUBLIC_URL", "https://"),
        ("TENURE_HTTP__PUBLIC_URL", "ftp://tenure.example.com"),
        ("TENURE_SUBSCRIPTIONS__END", "sometimes"),
        ("TENURE_ACCESS__ON_SILENCE", "perhaps"),
        ("TENURE_SOURCES", "/a"),
        ("TENURE_SOURCES", "/a=59s"),
        ("TENURE_SOURCES", "/a=6"),
        ("TENURE_SOURCES", "=6h"),
        ("TENURE_SOURCES", "/a=6h,/a=7h"),
        ("TENURE_SOURCES", "{ a = 6 }"),
        ("TENURE_SOURCES", "{ a = '6h'"),
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
        ("TENURE_ACCESS__REQUEST_LAPSES", "0s"),
        ("TENURE_ACCESS__REQUEST_LAPSES", "soon"),
        ("TENURE_ACCESS__LOG", "never"),
        ("TENURE_ACCESS__LOG", "30s"),
        ("TENURE_LOG__FORMAT", "xml"),
        ("TENURE_LOG__LEVEL", "loud=very"),
        ("TENURE_LOG__LEVEL", ""),
        ("TENURE_LOG__LEVEL", "verbose"),
        ("TENURE_LOG__LEVEL", "info,verbose"),
        ("TENURE_LOG__LEVEL", "warning"),
        ("TENURE_SHUTDOWN__TIMEOUT", "2 days"),
        ("TENURE_WEBHOOKS__DELIVER", "sometimes"),
        ("TENURE_WEBHOOKS__CONCURRENCY", "0"),
        ("TENURE_WEBHOOKS__CONCURRENCY", "65"),
        ("TENURE_WEBHOOKS__TIMEOUT", "2d"),
        ("TENURE_WEBHOOKS__MAX_BACKOFF", "2h"),
        ("TENURE_WEBHOOKS__DISABLE_AFTER", "0s"),
        ("TENURE_WEBHOOKS__ALLOW_NETWORKS", "internal"),
        ("TENURE_WEBHOOKS__ALLOW_NETWORKS", "10.0.0.0/33"),
        ("TENURE_WEBHOOKS__CA_FILE", "/nowhere/ca.pem"),
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
fn an_invalid_endpoint_is_rejected_with_its_name_and_without_its_secret() {
    let secret = "secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"";
    let url = "url = \"https://crm.example.com/\"";
    for (endpoint, words) in [
        (format!("crm = {{ {url} }}"), "expected `secret` or `secret_file`"),
        (format!("crm = {{ {secret} }}"), "expected `url`"),
        (
            format!("crm = {{ {secret}, url = \"http://crm.example.com/\" }}"),
            "`url`: expected https",
        ),
        (
            format!("crm = {{ {secret}, url = \"https://10.0.0.1/\" }}"),
            "`url`: 10.0.0.1 is not an address of the public internet; to allow it, add its network to webhooks.allow_networks",
        ),
        (
            format!("crm = {{ {url}, secret = \"hunter2\" }}"),
            "`secret`: expected a secret of the Standard Webhooks",
        ),
        (
            format!("crm = {{ {url}, secret_file = \"/nowhere\" }}"),
            "`secret_file`: the file cannot be read",
        ),
        (
            format!("crm = {{ {url}, {secret}, types = [\"no.*\"] }}"),
            "there is no type of change `no.*`",
        ),
        (
            format!("crm = {{ {url}, {secret}, types = \"link.*\" }}"),
            "`types`: expected a list",
        ),
        (
            format!("crm = {{ {url}, {secret}, client = \"c-1\" }}"),
            "`client`: expected `{partner}/{client}`",
        ),
        (
            format!("crm = {{ {url}, {secret}, headers = \"a\" }}"),
            "`headers` is unknown",
        ),
        (
            format!("crm = {{ {url}, {secret}, partner = 1 }}"),
            "`partner` is not text",
        ),
        (
            format!("CRM = {{ {url}, {secret} }}"),
            "expected a name of at most 64",
        ),
        (
            "crm = \"https://crm.example.com/\"".to_owned(),
            "expected a table",
        ),
    ] {
        let in_file = load_file(&format!("[webhooks.endpoints]\n{endpoint}"), &[]).expect_err(&endpoint);
        let in_variable =
            load(&[("TENURE_WEBHOOKS__ENDPOINTS", &format!("{{ {endpoint} }}"))]).expect_err(&endpoint);
        for message in [in_file.to_string(), in_variable.to_string()] {
            assert!(
                message.contains(words) && message.contains("`webhooks.endpoints`"),
                "{message}"
            );
            assert!(
                !message.contains("hunter2") && !message.contains("MfKQ"),
                "{message}"
            );
        }
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
        (
            "[access]\nwarn_before = \"1h,2h,3h,4h,5h,6h,7h,8h,9h,10h,11h,12h,13h,14h,15h,16h,17h\"",
            "for `access.warn_before` (from ",
        ),
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
        ("TENURE_NONSENSE", "the sections are access, audit, broker"),
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
        with_file("", "from-file\n").unwrap().http.tokens[0]
            .secret
            .reveal(),
        "from-file"
    );
    for (token, text) in [("", ""), ("", "two words"), ("twice", "from-file")] {
        let message = with_file(token, text).unwrap_err().to_string();
        assert!(message.contains("`http.token_file`"), "{message}");
        assert!(!message.contains("from-file"), "{message}");
    }
}

#[test]
fn a_wrong_token_is_named_without_its_secret() {
    let good = "name = 'a', token = 's3cret-s3cret-s3cret', scopes = ['read']";
    for (tokens, expected) in [
        ("x".to_owned(), "a list of tables"),
        ("['x']".to_owned(), "a list of tables"),
        (format!("[{{ {good}, more = 1 }}]"), "`more` is unknown"),
        (
            "[{ token = 's3cret-s3cret-s3cret', scopes = ['read'] }]".to_owned(),
            "a name",
        ),
        (good.replace("'a'", "'a b'"), "a name"),
        (
            good.replace("token = 's3cret-s3cret-s3cret',", ""),
            "`token` or `token_file`",
        ),
        (good.replace("'s3cret-s3cret-s3cret'", "'s3cret'"), "at least 16"),
        (
            good.replace("'s3cret-s3cret-s3cret'", "'s3cret s3cret s3cret'"),
            "visible ASCII",
        ),
        (format!("{good}, token_file = '/nowhere'"), "not both"),
        (
            good.replace("token = 's3cret-s3cret-s3cret'", "token_file = '/nowhere'"),
            "readable file",
        ),
        (good.replace("['read']", "[]"), "`scopes`"),
        (good.replace("['read']", "'read'"), "`scopes`"),
        (
            good.replace("['read']", "['write']"),
            "\"read\", \"publish\", \"operate\"",
        ),
        (good.replace(", scopes = ['read']", ""), "`scopes`"),
        (format!("{good}, partners = []"), "at least one partner"),
        (format!("{good}, partners = ['a b']"), "`partners`"),
        (format!("[{{ {good} }}, {{ {good} }}]"), "occurs twice"),
        (
            format!("[{{ {good} }}, {{ {} }}]", good.replace("'a'", "'b'")),
            "`a` and `b` have the same",
        ),
    ] {
        let list = if tokens.starts_with("name") {
            format!("[{{ {tokens} }}]")
        } else {
            tokens
        };
        let error = load(&[("TENURE_HTTP__TOKENS", &list)]).unwrap_err().to_string();
        assert!(
            error.contains("`http.tokens`") && error.contains(expected),
            "{list}: {error}"
        );
        assert!(!error.contains("s3cret"), "{error}");
    }
    let twice = "[{ name = 'default', token = 's3cret-s3cret-s3cret', scopes = ['read'] }]";
    let error = load(&[("TENURE_HTTP__TOKENS", twice), ("TENURE_HTTP__TOKEN", "x")]).unwrap_err();
    assert!(error.to_string().contains("`default` occurs twice"), "{error}");
}
